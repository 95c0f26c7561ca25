/// How one sequence picks its tokens and when it ends.
///
/// The defaults are those of OpenAI's API: plain sampling from the model's distribution.
public struct SamplingParameters: Sendable, Hashable {
    /// Divides the logits. 0 is greedy decoding: the most likely token, the lowest id on a tie.
    public var temperature: Float = 1
    /// Keeps the smallest set of tokens whose probabilities sum to at least this: 1 keeps all, 0
    /// the most likely one.
    public var topP: Float = 1
    /// Keeps this many of the most likely tokens; 0 and -1 keep all.
    public var topK: Int = 0
    /// Drops tokens less likely than this share of the most likely one; 0 keeps all.
    public var minP: Float = 0
    /// Divides positive and multiplies negative logits of tokens in the prompt or the output.
    public var repetitionPenalty: Float = 1
    /// Subtracted from a token's logit once per occurrence in the output.
    public var frequencyPenalty: Float = 0
    /// Subtracted from the logit of each token that occurs in the output.
    public var presencePenalty: Float = 0
    /// Added to the logits of these tokens; -100 bans a token for practical purposes.
    public var logitBias: [Int32: Float] = [:]
    /// Makes sampling repeatable; nil picks a fresh seed for each request.
    public var seed: UInt64?
    /// Tokens that end the output, beside those of the model.
    public var stopTokens: [Int32] = []
    /// Texts that end the output; they are not part of it.
    public var stopStrings: [String] = []
    /// Go on after the model's own end-of-text tokens.
    public var ignoreEOS = false
    /// Output tokens at most; nil means as many as the context and the KV blocks hold.
    public var maxTokens: Int?
    /// Tokens before which neither a stop token nor a stop string ends the output.
    public var minTokens = 0
    /// nil reports no log-probabilities, 0 those of the chosen tokens, n also the n best.
    public var topLogprobs: Int?

    public init() {}

    /// The most likely token each time.
    public static var greedy: SamplingParameters {
        var parameters = SamplingParameters()
        parameters.temperature = 0
        return parameters
    }
}

/// A sampling parameter out of its range.
public struct ParameterError: Error, Equatable, CustomStringConvertible {
    /// The parameter as OpenAI's API spells it, for example `top_p`.
    public let parameter: String
    public let value: String
    public let limit: String
    public let remedy: String

    public init(parameter: String, value: String, limit: String, remedy: String) {
        self.parameter = parameter
        self.value = value
        self.limit = limit
        self.remedy = remedy
    }

    public var description: String {
        "\(parameter) is \(value), but must be \(limit). \(remedy)"
    }
}

extension SamplingParameters {
    package static let stopStringsMax = 16
    package static let stopStringBytesMax = 256
    package static let stopTokensMax = 64
    package static let topLogprobsMax = 20
    package static let logitBiasMax = 1024

    /// Checks every range once, so that later code can trust the values.
    /// - Parameter vocabulary: token ids are below this.
    public func validate(vocabulary: Int) throws(ParameterError) {
        for field in Self.fields { try field.check(self) }
        if let maxTokens { try check("min_tokens", minTokens, in: 0...maxTokens) }
        if let topLogprobs {
            try check("top_logprobs", topLogprobs, in: 0...Self.topLogprobsMax)
        }
        try validateLists(vocabulary: vocabulary)
    }

    private func validateLists(vocabulary: Int) throws(ParameterError) {
        try check("logit_bias", logitBias.count, in: 0...Self.logitBiasMax, unit: " entries")
        for (token, bias) in logitBias {
            try check("logit_bias", Int(token), in: 0...(vocabulary - 1), unit: " (a token id)")
            try check("logit_bias.\(token)", bias, in: -100...100)
        }
        try check("stop_token_ids", stopTokens.count, in: 0...Self.stopTokensMax, unit: " ids")
        for token in stopTokens {
            try check("stop_token_ids", Int(token), in: 0...(vocabulary - 1))
        }
        try check("stop", stopStrings.count, in: 0...Self.stopStringsMax, unit: " strings")
        for string in stopStrings {
            try check("stop", string.utf8.count, in: 1...Self.stopStringBytesMax, unit: " bytes")
        }
    }

    private func check<Value: Comparable>(
        _ parameter: String, _ value: Value, in range: ClosedRange<Value>, unit: String = ""
    ) throws(ParameterError) {
        // A NaN is in no range, so it is refused here as well.
        guard !range.contains(value) else { return }
        throw ParameterError(
            parameter: parameter, value: "\(value)\(unit)",
            limit: "from \(range.lowerBound) to \(range.upperBound)\(unit)",
            remedy: "Give a value in that range, or leave the parameter out.")
    }
}
