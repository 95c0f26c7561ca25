package enum SamplingError: Error, Equatable {
    /// A logit is NaN or +∞.
    case notANumber
    /// Every token is forbidden by bias or grammar.
    case nothingAllowed
    /// A grammar can be followed no further.
    case grammar(GrammarError)
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
    /// - Parameter isConstrained: a grammar allowed it, and knows better than `minTokens`.
    package func isStop(_ token: Int32, isConstrained: Bool = false) -> Bool {
        (isConstrained || outputCount >= parameters.minTokens) && stopTokens.contains(token)
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
        // The raw row is needed after the token is known, and processors change it.
        let raw = parameters.topLogprobs == nil ? [] : unsafe Array(row)
        let token = try unsafe pick(row, mask, &scratch)
        return try reported(token, raw)
    }

    /// The same under a grammar, which is not told of the token.
    ///
    /// When greedy, the best token is asked about first: most often it is allowed, and no mask is
    /// needed. The token is the one that the mask gives.
    /// - Parameter mask: room for what the grammar allows, as long as its vocabulary.
    package func sample(
        _ row: UnsafeMutableBufferPointer<Float>, grammar: inout GrammarState,
        mask: inout TokenMask, scratch: inout SamplerScratch
    ) throws(SamplingError) -> SampledToken {
        let raw = parameters.topLogprobs == nil ? [] : unsafe Array(row)
        let token = try unsafe pick(row, &grammar, &mask, &scratch)
        return try reported(token, raw)
    }

    private func reported(_ token: Int32, _ raw: [Float]) throws(SamplingError) -> SampledToken {
        guard let top = parameters.topLogprobs else { return SampledToken(token: token) }
        do {
            let found = try unsafe raw.withUnsafeBufferPointer { raw in
                try unsafe LogProbabilities(raw, token: token, top: top)
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
        unsafe penalize(row)
        let isEarly = outputCount < parameters.minTokens
        if isEarly { unsafe banStops(row) }
        if let mask { unsafe mask.apply(to: row) }
        return try unsafe choose(row, forbids: isEarly || mask != nil, &scratch)
    }

    private func pick(
        _ row: UnsafeMutableBufferPointer<Float>, _ grammar: inout GrammarState,
        _ mask: inout TokenMask, _ scratch: inout SamplerScratch
    ) throws(SamplingError) -> Int32 {
        unsafe penalize(row)
        let isEarly = outputCount < parameters.minTokens
        if parameters.temperature == 0, !isEarly {
            let values = UnsafeBufferPointer(row)
            if let maximum = unsafe VectorMath.maximum(values),
                let token = unsafe VectorMath.firstIndex(of: maximum, in: values),
                grammar.allows(Int32(token))
            {
                return Int32(token)
            }
        }
        do { try grammar.fill(&mask) } catch { throw .grammar(error) }
        // A text that can only end does so, however short it is.
        if isEarly, mask.allowsOthers(than: stopTokens) { unsafe banStops(row) }
        unsafe mask.apply(to: row)
        return try unsafe choose(row, forbids: true, &scratch)
    }

    /// - Parameter forbids: whether anything may have been forbidden.
    private func choose(
        _ row: UnsafeMutableBufferPointer<Float>, forbids: Bool,
        _ scratch: inout SamplerScratch
    ) throws(SamplingError) -> Int32 {
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

    private func penalize(_ row: UnsafeMutableBufferPointer<Float>) {
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
    }

    private func banStops(_ row: UnsafeMutableBufferPointer<Float>) {
        for token in stopTokens where token >= 0 && Int(token) < row.count {
            unsafe row[Int(token)] = -.infinity
        }
    }
}
