import AutoGLMCompute
import AutoGLMJSON

extension ModelConfig {
    /// Reads the configuration out of GGUF metadata.
    /// - SeeAlso: ggml-org/ggml, docs/gguf.md, "Standardized key-value pairs".
    static func read(_ file: GGUF, _ tokenizer: GGUFTokenizer)
        throws(CheckpointError) -> (config: ModelConfig, architecture: any Architecture.Type)
    {
        let metadata = GGUFMetadata(file: file.path, values: file.metadata)
        guard let name = try metadata.string("general.architecture") else {
            throw metadata.refuse(
                "general.architecture", "missing", "it must name the architecture")
        }
        let architecture = try AutoGLMModels.architecture(
            named: name, isGGUF: true, file: file.path)
        return (try ModelConfig(file, metadata, name, tokenizer), architecture)
    }

    private init(
        _ file: GGUF, _ metadata: GGUFMetadata, _ architecture: String, _ tokenizer: GGUFTokenizer
    ) throws(CheckpointError) {
        func key(_ name: String) -> String { "\(architecture).\(name)" }
        let hidden = try metadata.required(key("embedding_length"))
        let heads = try metadata.required(key("attention.head_count"))
        guard Limits.heads.contains(heads) else {
            throw metadata.refuse(
                key("attention.head_count"), "\(heads)",
                "must be from 1 to \(Limits.heads.upperBound)")
        }
        let headDim = try metadata.integer(key("attention.key_length")) ?? hidden / heads
        if let values = try metadata.integer(key("attention.value_length")), values != headDim {
            throw .unsupported(
                what: "keys of \(headDim) and values of \(values) dimensions", file: file.path,
                remedy: "both must have the same")
        }
        if try metadata.integer(key("attention.key_length")) == nil, hidden % heads != 0 {
            throw metadata.refuse(
                key("embedding_length"), "\(hidden)", "must be a multiple of the \(heads) heads")
        }
        let following = try metadata.integer(key("nextn_predict_layers")) ?? 0
        let blocks = try metadata.required(key("block_count"))
        guard (0...64).contains(following), Limits.layers.contains(blocks) else {
            throw metadata.refuse(
                key("block_count"), "\(blocks)", "must be from 1 to \(Limits.layers.upperBound)")
        }
        let rope = try RopeConfig(metadata, architecture, headDim: headDim)
        let statedVocabulary = try metadata.integer(key("vocab_size"))
        let embedding = file.tensors.first { $0.name == "token_embd.weight" }
        self.init(
            file: file.path, architecture: architecture,
            name: try metadata.string("general.name") ?? architecture,
            vocabulary: embedding?.shape.first ?? statedVocabulary ?? tokenizer.tokens.count,
            hidden: hidden, layers: blocks - following, heads: heads,
            kvHeads: try metadata.integer(key("attention.head_count_kv")) ?? heads,
            headDim: headDim, feedForward: try metadata.required(key("feed_forward_length")),
            normEpsilon: Float(
                try metadata.number(key("attention.layer_norm_rms_epsilon")) ?? 1e-5),
            contextLength: max(
                try metadata.required(key("context_length")), rope.contextScaled ?? 0),
            rope: rope,
            // Decided by whether an output projection is there.
            tiedEmbeddings: false,
            mixture: try MixtureConfig(metadata, architecture), nextTokenLayers: following,
            stopTokens: tokenizer.stopTokens, beginToken: tokenizer.begin)
        mendConversion()
    }

    /// The public converter writes wrong numbers for glm-4-9b-chat in transformers layout: it
    /// looks for keys of the original layout and falls back to defaults. Such files are known by
    /// all three defaults together.
    private mutating func mendConversion() {
        guard architecture == "chatglm", vocabulary == 151_552, contextLength == hidden,
            rope.theta == 10_000, abs(normEpsilon - 1e-5) < 1e-8
        else { return }
        let isLong = kvHeads == 4
        contextLength = isLong ? 1_048_576 : 131_072
        rope.theta = isLong ? 1e8 : 5e6
        normEpsilon = 1.5625e-7
        warnings.append(
            "context length, rope base and norm epsilon of this file are a converter's defaults; "
                + "taken instead: \(contextLength), \(rope.theta), \(normEpsilon)")
    }
}

extension RopeConfig {
    init(_ metadata: GGUFMetadata, _ architecture: String, headDim: Int) throws(CheckpointError) {
        func key(_ name: String) -> String { "\(architecture).rope.\(name)" }
        theta = try metadata.number(key("freq_base")) ?? 10_000
        rotatedDims = try metadata.integer(key("dimension_count")) ?? headDim
        pairing = nil
        let context = try metadata.integer("\(architecture).context_length") ?? 0
        let factor = try metadata.number(key("scaling.factor")) ?? 1
        let original = try metadata.integer(key("scaling.original_context_length"))
        switch try metadata.string(key("scaling.type")) ?? "none" {
        case "none":
            if let factor = try metadata.number(key("scale_linear")), factor != 1, factor != 0 {
                scaling = .linear(factor: factor, originalContext: context)
            }
        case "linear": scaling = .linear(factor: factor, originalContext: original ?? context)
        case "yarn":
            var yarn = Yarn(factor: factor, originalContext: original ?? context)
            yarn.betaFast = try metadata.number(key("scaling.yarn_beta_fast")) ?? 32
            yarn.betaSlow = try metadata.number(key("scaling.yarn_beta_slow")) ?? 1
            scaling = .yarn(yarn)
        case let other:
            throw .unsupported(
                what: "rope scaling \(excerpt(other))", file: metadata.file,
                remedy: "known are none, linear, yarn")
        }
        if original != nil { contextScaled = scaling.contextLength }
    }
}

extension MixtureConfig {
    init?(_ metadata: GGUFMetadata, _ architecture: String) throws(CheckpointError) {
        func key(_ name: String) -> String { "\(architecture).\(name)" }
        guard let experts = try metadata.integer(key("expert_count")), experts != 0 else {
            return nil
        }
        if let gating = try metadata.integer(key("expert_gating_func")), gating != 0, gating != 2 {
            throw .unsupported(
                what: "expert gating function \(gating)", file: metadata.file,
                remedy: "only sigmoid (2) is")
        }
        self.init(
            experts: experts, expertsPerToken: try metadata.required(key("expert_used_count")),
            sharedExperts: try metadata.integer(key("expert_shared_count")) ?? 0,
            feedForward: try metadata.required(key("expert_feed_forward_length")),
            denseLayers: try metadata.integer(key("leading_dense_block_count")) ?? 0,
            groups: try metadata.integer(key("expert_group_count")) ?? 1,
            groupsPerToken: try metadata.integer(key("expert_group_used_count")) ?? 1,
            normalizesWeights: try metadata.bool(key("expert_weights_norm")) ?? true,
            scale: Float(try metadata.number(key("expert_weights_scale")) ?? 1))
    }
}
