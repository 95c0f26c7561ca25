import AutoGLMDecoding

// Requests and what comes of them, field by field. ProcessMessageTests hold that nothing that such
// a value has stays behind.

extension GenerationRequest: WireValue {
    /// Tokens of the longest context that can be asked for.
    private static let promptMax = 1 << 24
    private static let tenantBytesMax = 4_096

    /// All but the constraint, which crosses as a ``FormText``.
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.list(&prompt, max: Self.promptMax, "the prompt", of: 0) {
            (c, token) throws(WireError) in try c.integer(&token)
        }
        try sampling.wire(&c)
        try c.integer(&priority)
        try c.text(&tenant, max: Self.tenantBytesMax, "the tenant")
        try c.flag(&promptLogprobs)
        try c.optional(&deadline, of: .zero, wireDuration)
        try c.optional(&queueTimeout, of: .zero, wireDuration)
        try timeline.wire(&c)
    }
}

extension SamplingParameters: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        // Scalars follow their own table.
        for field in Self.fields {
            var value = field.value(in: self)
            try c.optional(&value, of: field.zero) { (c, value) throws(WireError) in
                try value.wire(&c)
            }
            if c.isReading, let value { field.set(value, in: &self) }
        }
        var biases = logitBias.map { TokenLogprob(token: $0.key, logprob: $0.value) }
        try c.list(&biases, max: Self.logitBiasMax, "logit_bias", of: .empty, wireValue)
        if c.isReading {
            logitBias = Dictionary(biases.map { ($0.token, $0.logprob) }) { $1 }
        }
        try c.list(&stopTokens, max: Self.stopTokensMax, "stop_token_ids", of: 0) {
            (c, token) throws(WireError) in try c.integer(&token)
        }
        try c.list(&stopStrings, max: Self.stopStringsMax, "stop", of: "") {
            (c, string) throws(WireError) in
            try c.text(&string, max: Self.stopStringBytesMax, "stop")
        }
        try c.flag(&ignoreEOS)
        try c.optional(&topLogprobs, of: 0) { (c, count) throws(WireError) in
            try c.integer(&count, in: 0...Self.topLogprobsMax, "top_logprobs")
        }
        if c.isReading {
            // What the ranges of the table forbid would be our own mistake, or a broken front.
            do { for field in Self.fields { try field.check(self) } } catch {
                throw WireError("\(error)")
            }
        }
    }
}

extension SamplingField {
    fileprivate var zero: SamplingValue {
        switch kind {
        case .number: .number(0)
        case .integer, .bound, .seed: .integer(0)
        }
    }
}

extension SamplingValue {
    /// The field decides which of the two it is.
    fileprivate mutating func wire(_ c: inout WireCoder) throws(WireError) {
        switch self {
        case .number(var number):
            try c.number(&number)
            self = .number(number)
        case .integer(var number):
            try c.integer(&number)
            self = .integer(number)
        }
    }
}

extension RequestTimeline: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try stamp(&received, &c)
        try stamp(&rendered, &c)
        try stamp(&admitted, &c)
        try stamp(&started, &c)
        try stamp(&firstToken, &c)
        try stamp(&lastToken, &c)
        try stamp(&written, &c)
    }

    private func stamp(_ instant: inout Instant?, _ c: inout WireCoder) throws(WireError) {
        try c.optional(&instant, of: MachineClock.origin) { (c, value) throws(WireError) in
            try c.instant(&value)
        }
    }
}

extension TokenLogprob: WireValue {
    fileprivate static let empty = TokenLogprob(token: 0, logprob: 0)

    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.integer(&token, in: 0...Int32.max, "a token")
        try c.number(&logprob)
    }
}

extension TokenEvent: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.integer(&token, in: 0...Int32.max, "a token")
        try c.optional(&logprob, of: 0) { (c, value) throws(WireError) in try c.number(&value) }
        try c.list(
            &top, max: SamplingParameters.topLogprobsMax, "top_logprobs",
            of: TokenLogprob(token: 0, logprob: 0), wireValue)
    }
}

extension Usage: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.size(&promptTokens, "prompt tokens")
        try c.size(&cachedTokens, "cached tokens")
        try c.size(&completionTokens, "output tokens")
        try timeline.wire(&c)
    }
}

extension Finish: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.choice(&reason, "the end's reason")
        try c.optional(&stopToken, of: 0) { (c, token) throws(WireError) in
            try c.integer(&token, in: 0...Int32.max, "a token")
        }
        try c.optional(&stopString, of: "") { (c, text) throws(WireError) in
            try c.text(&text, max: SamplingParameters.stopStringBytesMax, "stop")
        }
        try usage.wire(&c)
    }
}

extension GrammarError: WireValue {
    private static let textBytesMax = 4_096

    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        var number: UInt8
        var (text, path) = ("", path.map { shortened($0, to: Self.textBytesMax) })
        switch self {
        case .invalid(let reason, _): (number, text) = (0, reason)
        case .unsupported(let thing, _): (number, text) = (1, thing)
        case .tooLarge(let thing, _): (number, text) = (2, thing)
        case .unsatisfiable: number = 3
        case .deadEnd: number = 4
        case .cancelled: number = 5
        }
        text = shortened(text, to: Self.textBytesMax)
        try c.integer(&number)
        try c.text(&text, max: Self.textBytesMax, "a reason")
        try c.optional(&path, of: "") { (c, path) throws(WireError) in
            try c.text(&path, max: Self.textBytesMax, "a path")
        }
        switch number {
        case 0: self = .invalid(reason: text, path: path)
        case 1: self = .unsupported(text, path: path)
        case 2: self = .tooLarge(text, path: path)
        case 3: self = .unsatisfiable(path: path)
        case 4: self = .deadEnd
        case 5: self = .cancelled
        default: throw WireError("a grammar's error of the unknown kind \(number)")
        }
    }
}

/// At most so many bytes of it.
private func shortened(_ text: String, to count: Int) -> String {
    guard text.utf8.count > count else { return text }
    // A character that is cut through becomes three bytes.
    return String(decoding: text.utf8.prefix(count - 8), as: UTF8.self)
}

extension GenerationError: WireValue {
    private static let reasonBytesMax = 8_192

    /// A number for each case, two times, a text and a grammar's error: what some case needs, all
    /// have.
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        var number: UInt8
        var (first, second, text) = (Duration.zero, Duration.zero, "")
        var grammar: GrammarError?
        switch self {
        case .queueTimeout(let waited, let limit): (number, first, second) = (0, waited, limit)
        case .deadlineExceeded(let limit): (number, first) = (1, limit)
        case .notANumber: number = 2
        case .stepFailed(let reason):
            (number, text) = (3, shortened(reason, to: Self.reasonBytesMax))
        case .engineRestarted: number = 4
        case .shuttingDown: number = 5
        case .cancelled: number = 6
        case .grammar(let error): (number, grammar) = (7, error)
        }
        try c.integer(&number)
        try c.duration(&first)
        try c.duration(&second)
        try c.text(&text, max: Self.reasonBytesMax, "a reason")
        try c.optional(&grammar, of: .deadEnd, wireValue)
        switch number {
        case 0: self = .queueTimeout(waited: first, limit: second)
        case 1: self = .deadlineExceeded(limit: first)
        case 2: self = .notANumber
        case 3: self = .stepFailed(text)
        case 4: self = .engineRestarted
        case 5: self = .shuttingDown
        case 6: self = .cancelled
        case 7:
            guard let grammar else { throw WireError("a grammar's error without one") }
            self = .grammar(grammar)
        default: throw WireError("an error of the unknown kind \(number)")
        }
    }
}

extension StepReport: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.number(&seconds)
        guard seconds.isFinite else { throw WireError("a step's time is not a number") }
        try c.size(&batchTokens, "rows")
        try c.size(&prefillTokens, "prompt rows")
        try c.size(&decodeTokens, "output rows")
        try c.size(&contextTokens, "positions read")
        try c.size(&sequences, "sequences")
        try c.size(&running, "running")
        try c.size(&waiting, "waiting")
        try c.list(&waitingByPriority, max: 10, "priorities", of: 0) {
            (c, count) throws(WireError) in try c.size(&count, "waiting")
        }
        try c.size(&blocksTotal, "KV blocks")
        try c.size(&blocksUsed, "KV blocks used")
        try c.size(&blocksCached, "KV blocks cached")
        try c.integer(&preemptions)
    }
}
