import AutoGLMCompute
import AutoGLMJSON
import FoundationEssentials

extension ModelConfig {
    /// Reads `config.json`, and stop tokens out of the `generation_config.json` beside it.
    ///
    /// Three spellings are understood: transformers 4 (`rope_theta`, `rope_scaling`),
    /// transformers 5 (`rope_parameters`) and the original ChatGLM repositories
    /// (`padded_vocab_size`, `multi_query_group_num`, …). Unknown keys are ignored.
    static func read(directory: String, fileName: String, generation: ConfigObject?)
        throws(CheckpointError) -> (config: ModelConfig, architecture: any Architecture.Type)
    {
        let path = directory + "/" + fileName
        guard FileManager.default.fileExists(atPath: path) else {
            throw .notFound(path: directory, remedy: "expected \(fileName) in it")
        }
        let json = try ConfigObject(file: path)
        let modelType = try json.string("model_type")
        guard let name = try json.strings("architectures").first ?? modelType else {
            throw .configuration(
                file: path, key: "architectures", value: "missing",
                reason: "it must name the architecture")
        }
        let architecture = try AutoGLMModels.architecture(
            named: name, isGGUF: false, file: path)
        var config =
            json.has("padded_vocab_size") || json.has("multi_query_group_num")
            ? try ModelConfig(chatGLM: json, architecture: name)
            : try ModelConfig(
                transformers: json, architecture: name, defaults: architecture.defaults)
        config.name = directory.split(separator: "/").last.map(String.init) ?? name
        try config.readTokens(json)
        if let generation { try config.readTokens(generation) }
        if let quantization = try json.object("quantization_config") {
            config.quantization = try QuantizationConfig(quantization)
        }
        try config.validate()
        return (config, architecture)
    }

    private init(
        transformers json: ConfigObject, architecture: String, defaults: ConfigDefaults
    ) throws(CheckpointError) {
        let hidden = try json.required("hidden_size")
        let heads = try json.required("num_attention_heads")
        let positions = try json.integer("max_position_embeddings") ?? 2_048
        // Checked here because the lines below divide by them and multiply.
        for (key, value) in [("hidden_size", hidden), ("num_attention_heads", heads)]
        where !(1...Limits.hidden.upperBound).contains(value) {
            throw .configuration(
                file: json.file, key: key, value: "\(value)",
                reason: "must be from 1 to \(Limits.hidden.upperBound)")
        }
        let headDim: Int
        if let given = try json.integer("head_dim") {
            headDim = given
        } else {
            guard hidden % heads == 0 else {
                throw .configuration(
                    file: json.file, key: "num_attention_heads", value: "\(heads)",
                    reason: "must divide hidden_size \(hidden), as head_dim is not given")
            }
            headDim = hidden / heads
        }
        let rope = try RopeConfig(
            json, headDim: headDim, contextLength: positions,
            partialFactor: defaults.partialRotaryFactor)
        self.init(
            file: json.file, architecture: architecture, name: architecture,
            vocabulary: try json.required("vocab_size"), hidden: hidden,
            layers: try json.required("num_hidden_layers"), heads: heads,
            kvHeads: try json.integer("num_key_value_heads") ?? heads, headDim: headDim,
            feedForward: try json.required("intermediate_size"),
            normEpsilon: Float(try json.number("rms_norm_eps") ?? defaults.normEpsilon),
            contextLength: max(positions, rope.contextScaled ?? 0), rope: rope,
            tiedEmbeddings: try json.bool("tie_word_embeddings") ?? false,
            attentionBias: try json.bool("attention_bias"),
            queryKeyNorm: try json.bool("use_qk_norm"),
            mixture: try MixtureConfig(json),
            nextTokenLayers: try json.integer("num_nextn_predict_layers") ?? 0)
        if let activation = try json.string("hidden_act", "hidden_activation"),
            !["silu", "swish"].contains(activation)
        {
            throw .unsupported(
                what: "activation \(excerpt(activation))", file: json.file,
                remedy: "only silu is")
        }
        if try json.bool("mlp_bias") == true {
            throw .unsupported(
                what: "mlp_bias", file: json.file, remedy: "only feed-forward blocks without are")
        }
        try limitToWindow(json)
    }

    /// A window no smaller than the context changes nothing, so the context is cut to it.
    private mutating func limitToWindow(_ json: ConfigObject) throws(CheckpointError) {
        let uses: Bool
        if let flag = try json.bool("use_sliding_window") {
            let fullLayers = try json.integer("max_window_layers") ?? 0
            uses = flag && fullLayers < layers
        } else {
            uses = try json.strings("layer_types").contains("sliding_attention")
        }
        guard uses, let window = try json.integer("sliding_window"), window < contextLength else {
            return
        }
        warnings.append(
            "context limited to the attention window of \(window) of \(contextLength) tokens")
        contextLength = window
    }

    private init(chatGLM json: ConfigObject, architecture: String) throws(CheckpointError) {
        for (key, wanted) in [
            ("rmsnorm", true), ("post_layer_norm", true), ("add_bias_linear", false),
            ("apply_residual_connection_post_layernorm", false), ("prefix_projection", false),
        ] {
            if let value = try json.bool(key), value != wanted {
                throw .unsupported(
                    what: "\(key) = \(value)", file: json.file, remedy: "only \(wanted) is")
            }
        }
        let heads = try json.required("num_attention_heads")
        let headDim = try json.required("kv_channels")
        let grouped = try json.bool("multi_query_attention") ?? false
        let context = try json.required("seq_length")
        let ratio = try json.number("rope_ratio") ?? 1
        self.init(
            file: json.file, architecture: architecture, name: architecture,
            vocabulary: try json.required("padded_vocab_size", "vocab_size"),
            hidden: try json.required("hidden_size"),
            layers: try json.required("num_layers", "num_hidden_layers"), heads: heads,
            kvHeads: grouped ? try json.required("multi_query_group_num") : heads,
            headDim: headDim, feedForward: try json.required("ffn_hidden_size"),
            normEpsilon: Float(try json.number("layernorm_epsilon") ?? 1e-5),
            contextLength: context,
            // Half of each head turns, whatever the configuration is called.
            rope: RopeConfig(
                theta: 10_000 * ratio, rotatedDims: headDim / 2,
                pairing: try json.bool("original_rope") == false ? .halves : .interleaved),
            tiedEmbeddings: try json.bool("tie_word_embeddings") ?? false,
            attentionBias: try json.bool("add_qkv_bias") ?? false)
    }

    /// The ids of both files count: makers list the end of text in one and turns in the other.
    private mutating func readTokens(_ json: ConfigObject) throws(CheckpointError) {
        stopTokens.append(contentsOf: try json.tokens("eos_token_id"))
        beginToken = try json.tokens("bos_token_id").first ?? beginToken
    }
}

extension RopeConfig {
    /// Reads `rope_parameters`, or `rope_theta` with `rope_scaling`.
    init(
        _ json: ConfigObject, headDim: Int, contextLength: Int, partialFactor: Double
    ) throws(CheckpointError) {
        let modern = try json.object("rope_parameters")
        let former = try json.object("rope_scaling")
        let formerFactor = try json.number("partial_rotary_factor")
        let formerTheta = try json.number("rope_theta")
        let factor = try modern?.number("partial_rotary_factor") ?? formerFactor ?? partialFactor
        guard factor > 0, factor <= 1 else {
            throw json.refuse(
                "partial_rotary_factor", .double(factor), "must be above 0 and at most 1")
        }
        // A product below must fit Int.
        guard ModelConfig.Limits.headDim.contains(headDim) else {
            throw json.refuse(
                "head_dim", .int(Int64(headDim)),
                "must be from 2 to \(ModelConfig.Limits.headDim.upperBound)")
        }
        theta = try modern?.number("rope_theta") ?? formerTheta ?? 10_000
        rotatedDims = Int(Double(headDim) * factor)
        pairing = nil
        // Whoever stretches a model adds the former key, whatever is there already.
        for candidate in [former, modern] {
            guard let candidate else { continue }
            scaling = try Self.scaling(candidate, contextLength: contextLength)
            if scaling == .none { continue }
            contextScaled = scaling.contextLength
            return
        }
    }

    private static func scaling(_ json: ConfigObject, contextLength: Int)
        throws(CheckpointError) -> Scaling
    {
        let kind = try json.string("rope_type", "type") ?? "default"
        let original = try json.integer("original_max_position_embeddings")
        func factor() throws(CheckpointError) -> Double {
            if let factor = try json.number("factor") { return factor }
            guard let original, original > 0 else {
                throw .configuration(
                    file: json.file, key: json.prefix + "factor", value: "missing",
                    reason: "\(excerpt(kind)) scaling needs it")
            }
            return Double(contextLength) / Double(original)
        }
        switch kind {
        case "default": return .none
        case "linear":
            return .linear(factor: try factor(), originalContext: original ?? contextLength)
        case "dynamic":
            return .dynamic(factor: try factor(), originalContext: original ?? contextLength)
        case "yarn":
            var yarn = Yarn(factor: try factor(), originalContext: original ?? contextLength)
            yarn.betaFast = try json.number("beta_fast") ?? yarn.betaFast
            yarn.betaSlow = try json.number("beta_slow") ?? yarn.betaSlow
            yarn.attentionFactor = try json.number("attention_factor")
            yarn.scale = try json.number("mscale")
            yarn.scaleAllDims = try json.number("mscale_all_dim")
            yarn.truncates = try json.bool("truncate") ?? true
            return .yarn(yarn)
        case "llama3":
            return .llama3(
                factor: try factor(), lowFrequency: try json.number("low_freq_factor") ?? 1,
                highFrequency: try json.number("high_freq_factor") ?? 4,
                originalContext: original ?? contextLength)
        default:
            throw .unsupported(
                what: "rope scaling \(excerpt(kind))", file: json.file,
                remedy: "known are default, linear, dynamic, yarn, llama3")
        }
    }
}

extension MixtureConfig {
    /// nil for a model without experts.
    init?(_ json: ConfigObject) throws(CheckpointError) {
        guard let experts = try json.integer("n_routed_experts", "num_experts") else { return nil }
        self.init(
            experts: experts,
            expertsPerToken: try json.required("num_experts_per_tok"),
            sharedExperts: try json.integer("n_shared_experts") ?? 0,
            feedForward: try json.required("moe_intermediate_size"),
            denseLayers: try json.integer("first_k_dense_replace") ?? 0,
            groups: try json.integer("n_group") ?? 1,
            groupsPerToken: try json.integer("topk_group") ?? 1,
            normalizesWeights: try json.bool("norm_topk_prob") ?? true,
            scale: Float(try json.number("routed_scaling_factor") ?? 1))
    }
}
