package enum SamplingError: Error, Equatable {
    /// A logit is NaN or +∞.
    case notANumber
    /// Every token is forbidden by bias or grammar.
    case nothingAllowed
}

package struct SampledToken {
    package var token: Int32
    /// nil unless asked for.
    package var logprob: Float?
    package var top: [(token: Int32, logprob: Float)] = []
}

/// Room for intermediate values, shared by all samplers of one thread.
package struct SamplerScratch {
    var weights: [Float] = []
    var ids: [Int32] = []
    var histogram: [Double] = []
    package init() {}
}

/// Picks the tokens of one request.
///
/// Order of steps: log-probabilities of the raw row; penalties; logit bias; stop tokens banned
/// before `minTokens`; grammar mask; then greedy, or temperature, min-p, top-k, top-p and a draw.
/// Each token depends on its logits, on the parameters and on (seed, output position) alone.
///
/// - SeeAlso: Holtzman et al. 2020 (top-p); Keskar et al. 2019 (repetition penalty);
///   Nguyen et al. 2024 (min-p).
package struct Sampler {
    package let parameters: SamplingParameters
    private let stopTokens: [Int32]
    private let random: CounterRandom
    private let penalizes: Bool
    /// Occurrences in the output; 0 for tokens that occur in the prompt only.
    private var counts: [Int32: Int32] = [:]
    private var outputCount = 0

    /// - Parameters:
    ///   - stopTokens: tokens that end the output, those of the model included.
    ///   - seed: the request's seed, or a fresh one.
    package init(
        _ parameters: SamplingParameters, stopTokens: [Int32], seed: UInt64, prompt: [Int32]
    ) {
        self.parameters = parameters
        self.stopTokens = stopTokens
        random = CounterRandom(seed: seed)
        penalizes =
            parameters.repetitionPenalty != 1 || parameters.frequencyPenalty != 0
            || parameters.presencePenalty != 0
        if parameters.repetitionPenalty != 1 {
            for token in prompt { counts[token] = 0 }
        }
    }

    /// Whether this token ends the output (before ``accept(_:)``).
    package func isStop(_ token: Int32) -> Bool {
        outputCount >= parameters.minTokens && stopTokens.contains(token)
    }

    /// Counts a token as part of the output.
    package mutating func accept(_ token: Int32) {
        outputCount += 1
        if penalizes { counts[token, default: 0] += 1 }
    }

    /// Picks the next token.
    /// - Parameters:
    ///   - row: logits of the real vocabulary, padding rows left off; changed in place.
    ///   - mask: what a grammar allows, if there is one.
    package func sample(
        _ row: UnsafeMutableBufferPointer<Float>, mask: TokenMask? = nil,
        scratch: inout SamplerScratch
    ) throws(SamplingError) -> SampledToken {
        guard parameters.topLogprobs != nil else {
            let token = try unsafe pick(row, mask, &scratch)
            return SampledToken(token: token, logprob: nil)
        }
        // The raw row is needed after the token is known, and processors change it.
        let raw = unsafe Array(row)
        let token = try unsafe pick(row, mask, &scratch)
        do {
            let found = try unsafe raw.withUnsafeBufferPointer { raw in
                try unsafe LogProbabilities(raw, token: token, top: parameters.topLogprobs ?? 0)
            }
            return SampledToken(token: token, logprob: found.logprob, top: found.top)
        } catch {
            throw .notANumber
        }
    }

    private func pick(
        _ row: UnsafeMutableBufferPointer<Float>, _ mask: TokenMask?,
        _ scratch: inout SamplerScratch
    ) throws(SamplingError) -> Int32 {
        let forbids = unsafe process(row, mask)
        let values = UnsafeBufferPointer(row)
        guard let maximum = unsafe VectorMath.maximum(values) else {
            // -∞ everywhere comes of forbidding, if anything was forbidden.
            let isEmpty = unsafe values.allSatisfy { $0 == -.infinity }
            throw forbids && isEmpty ? .nothingAllowed : .notANumber
        }
        if parameters.temperature == 0 {
            guard let token = unsafe VectorMath.firstIndex(of: maximum, in: values) else {
                throw .notANumber
            }
            return Int32(token)
        }
        var candidates = unsafe Candidates(
            values, maximum: maximum, temperature: parameters.temperature,
            minP: parameters.minP, scratch: &scratch)
        if parameters.topK > 0 { unsafe candidates.keep(count: parameters.topK, values) }
        if parameters.topP < 1 { unsafe candidates.keep(mass: parameters.topP, values) }
        let token = candidates.draw(random.uniform(at: outputCount))
        candidates.giveBack(to: &scratch)
        return token
    }

    /// - Returns: whether anything may have been forbidden.
    private func process(_ row: UnsafeMutableBufferPointer<Float>, _ mask: TokenMask?) -> Bool {
        for (token, count) in counts where Int(token) < row.count {
            var logit = unsafe row[Int(token)]
            let penalty = parameters.repetitionPenalty
            logit = logit > 0 ? logit / penalty : logit * penalty
            logit -= Float(count) * parameters.frequencyPenalty
            if count > 0 { logit -= parameters.presencePenalty }
            unsafe row[Int(token)] = logit
        }
        for (token, bias) in parameters.logitBias where Int(token) < row.count {
            unsafe row[Int(token)] += bias
        }
        var forbids = false
        if outputCount < parameters.minTokens {
            forbids = true
            for token in stopTokens where token >= 0 && Int(token) < row.count {
                unsafe row[Int(token)] = -.infinity
            }
        }
        if let mask {
            forbids = true
            unsafe mask.apply(to: row)
        }
        return forbids
    }
}
