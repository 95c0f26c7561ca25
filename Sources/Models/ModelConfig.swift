import AutoGLMJSON

/// What a model is, read from `config.json` or from GGUF metadata; every number is checked.
package struct ModelConfig: Sendable {
    /// The file it was read from; for messages.
    package var file: String
    /// As the file spells it: `GlmForCausalLM`, or `chatglm` in a GGUF file.
    package var architecture: String
    package var name: String
    /// Rows of the embedding and of the output projection, padding included.
    package var vocabulary: Int
    package var hidden: Int
    package var layers: Int
    package var heads: Int
    package var kvHeads: Int
    package var headDim: Int
    /// Features of a dense feed-forward block.
    package var feedForward: Int
    package var normEpsilon: Float
    package var contextLength: Int
    package var rope: RopeConfig
    package var tiedEmbeddings: Bool
    /// Whether query, key and value projections have a bias; nil where the file does not say.
    package var attentionBias: Bool?
    /// Whether queries and keys are normalised head by head; nil where the file does not say.
    package var queryKeyNorm: Bool?
    package var mixture: MixtureConfig?
    /// Layers after the last that predict further tokens (MTP); ignored.
    package var nextTokenLayers: Int = 0
    /// End of text and end of turn, ascending.
    package var stopTokens: [Int] = []
    package var beginToken: Int?
    package var quantization: QuantizationConfig?
    /// What a person should know about this configuration; one line each.
    package var warnings: [String] = []
}

/// A routed mixture of experts in all layers after the first `denseLayers`.
package struct MixtureConfig: Sendable, Equatable {
    package var experts: Int
    package var expertsPerToken: Int
    package var sharedExperts: Int
    /// Features of one expert.
    package var feedForward: Int
    package var denseLayers: Int
    package var groups: Int
    package var groupsPerToken: Int
    package var normalizesWeights: Bool
    package var scale: Float
}

extension ModelConfig {
    /// The numbers no model comes near. They keep every product of sizes below far from
    /// overflow, and a typing error from becoming an allocation.
    enum Limits {
        static let layers = 1...1_000
        static let hidden = 1...(1 << 18)
        static let heads = 1...4_096
        static let headDim = 2...4_096
        static let feedForward = 1...(1 << 20)
        static let vocabulary = 1...(1 << 24)
        static let contextLength = 1...(1 << 28)
        static let experts = 1...4_096
    }

    /// Ids that the vocabulary lacks can never be sampled; they are left out, with a warning.
    /// - Precondition: ``validate()`` has passed.
    mutating func dropImpossibleTokens() {
        let impossible = stopTokens.filter { !(0..<vocabulary).contains($0) }
        if !impossible.isEmpty {
            stopTokens.removeAll { impossible.contains($0) }
            warnings.append(
                "stop tokens \(excerpt("\(impossible)")) ignored: the vocabulary has "
                    + "\(vocabulary) rows")
        }
        stopTokens = Set(stopTokens).sorted()
        if let token = beginToken, !(0..<vocabulary).contains(token) { beginToken = nil }
    }

    /// Checks every number, and what no single number shows.
    /// - Throws: ``CheckpointError/configuration(file:key:value:reason:)``
    func validate() throws(CheckpointError) {
        func refuse(_ key: String, _ value: String, _ reason: String) -> CheckpointError {
            .configuration(file: file, key: key, value: value, reason: reason)
        }
        func check(_ key: String, _ value: Int, _ range: ClosedRange<Int>) throws(CheckpointError) {
            guard range.contains(value) else {
                throw refuse(
                    key, "\(value)",
                    "must be from \(range.lowerBound) to \(range.upperBound)")
            }
        }
        try check("number of layers", layers, Limits.layers)
        try check("hidden size", hidden, Limits.hidden)
        try check("number of heads", heads, Limits.heads)
        try check("number of key-value heads", kvHeads, Limits.heads)
        try check("head size", headDim, Limits.headDim)
        try check("feed-forward size", feedForward, Limits.feedForward)
        try check("vocabulary size", vocabulary, Limits.vocabulary)
        try check("context length", contextLength, Limits.contextLength)
        try check("number of next-token layers", nextTokenLayers, 0...64)
        guard heads % kvHeads == 0 else {
            throw refuse(
                "number of key-value heads", "\(kvHeads)", "must divide the \(heads) heads")
        }
        guard normEpsilon > 0, normEpsilon < 0.1 else {
            throw refuse("norm epsilon", "\(normEpsilon)", "must be above 0 and below 0.1")
        }
        try rope.validate(headDim: headDim, file: file)
        guard let mixture else { return }
        try check("number of experts", mixture.experts, Limits.experts)
        try check("experts per token", mixture.expertsPerToken, 1...mixture.experts)
        try check("number of shared experts", mixture.sharedExperts, 0...64)
        try check("expert feed-forward size", mixture.feedForward, Limits.feedForward)
        try check("number of leading dense layers", mixture.denseLayers, 0...layers)
        try check("number of expert groups", mixture.groups, 1...mixture.experts)
        try check("expert groups per token", mixture.groupsPerToken, 1...mixture.groups)
        guard mixture.experts % mixture.groups == 0,
            mixture.expertsPerToken
                <= mixture.experts / mixture.groups * mixture.groupsPerToken
        else {
            throw refuse(
                "number of expert groups", "\(mixture.groups)",
                "must divide the \(mixture.experts) experts and leave "
                    + "\(mixture.expertsPerToken) to choose from")
        }
        guard mixture.scale.isFinite, mixture.scale > 0 else {
            throw refuse("routed scaling factor", "\(mixture.scale)", "must be above 0")
        }
    }
}
