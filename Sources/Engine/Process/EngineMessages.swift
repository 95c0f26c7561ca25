import AutoGLMCompute
import AutoGLMDecoding
import AutoGLMScheduling

/// What the engine's process is to load and how: all of ``EngineOptions`` that it needs.
struct EngineConfiguration: Sendable {
    var modelPath = ""
    /// Everything but what is called back, and what concerns the queue.
    var options = EngineOptions()
    /// Tokens that may be sampled; nil allows all rows.
    var vocabulary: Int?
    /// What ends a turn.
    var stopTokens: [Int32] = []
    /// The moment from which all times count.
    var start: RequestTimeline.Instant = ContinuousClock.now
}

/// What became of it.
package struct EngineDescription: Sendable, Equatable {
    package var shape = EngineShape(
        rowWidth: 0, vocabulary: 0, contextMax: 0, blocks: 0, blockTokens: 0, stopTokens: [])
    package var name = ""
    /// Prompt and output tokens of one request at most.
    package var contextMax = 0
    /// Identifies model file, compute precision, formats and kernel set: equal fingerprints and
    /// equal requests give equal bytes.
    package var fingerprint = ""
    /// Seconds since 1970 of the newest weight file, for `created` in `/v1/models`.
    package var created = 0
    /// Bytes of weights in memory, and those that a step of one token reads.
    package var weightBytes = 0
    package var weightBytesPerStep = 0
    /// Bytes of keys and values of one token.
    package var bytesPerToken = 0
    package var warnings: [String] = []
}

/// An admitted sequence on its way.
struct SubmittedSequence: Sendable {
    /// Without its prompt, which the request has.
    var sequence = SequenceRequest(id: SequenceID(0), prompt: [], maxTokens: 0)
    var request = GenerationRequest(prompt: [])
    var seed: UInt64 = 0
    var isSuspect = false
    /// The request's constraint, which is compiled anew.
    var form: FormText?
}

/// What a constraint is compiled from.
struct FormText: Sendable {
    /// The grammar's source as text: see `GrammarSource.text`.
    var source = ""
    var goesOn = false
}

extension FormText {
    init(_ constraint: Constraint) {
        self.init(source: constraint.grammar.source.text, goesOn: constraint.goesOn)
    }
}

/// The vocabulary over which the forms of what is submitted later are compiled. It is sent before
/// the first of them: most engines never see one.
struct FormVocabulary: Sendable {
    /// The bytes of each token; none for those that stand for no text.
    var tokens: [[UInt8]] = []
    var endTokens: [Int32] = []
}

/// A sign of life.
struct EngineBeat: Sendable, Equatable {
    var progress: UInt64 = 0
    var failedSteps: UInt64 = 0
}

extension TokenEvent {
    static let empty = TokenEvent(token: 0)
}

extension Finish {
    static let empty = Finish(reason: .length, usage: Usage())
}

// MARK: Their fields

extension EngineConfiguration: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.text(&modelPath, max: 4_096, "the model's path")
        try c.choice(&options.compute.precision, "the precision")
        try c.choice(&options.compute.cacheFormat, "the cache's format")
        try c.optional(&options.compute.activationScaling, of: .exact) {
            (c, value) throws(WireError) in try c.choice(&value, "the scaling")
        }
        try c.optional(&options.compute.threads, of: 1, size)
        try c.optional(&options.compute.instructionSet, of: "") {
            (c, value) throws(WireError) in try c.text(&value, max: 64, "the instruction set")
        }
        try c.optional(&options.weightFormat, of: .f32) {
            (c, value) throws(WireError) in try c.choice(&value, "the weights' format")
        }
        try c.optional(&options.contextMax, of: 0, size)
        try c.optional(&options.cacheBytes, of: 0, size)
        try c.optional(&options.cacheBlocks, of: 0, size)
        try c.size(&options.blockTokens, "tokens per block")
        try c.size(&options.sequencesMax, "sequences")
        try c.size(&options.stepTokens, "tokens per step")
        try c.duration(&options.queueTimeout)
        try c.flag(&options.prefixCache)
        try c.optional(&vocabulary, of: 0, size)
        try c.list(&stopTokens, max: 4_096, "stop tokens", of: 0) {
            (c, value) throws(WireError) in try c.integer(&value)
        }
        try c.instant(&start)
    }
}

private func size(_ coder: inout WireCoder, _ value: inout Int) throws(WireError) {
    try coder.size(&value, "a setting")
}

extension EngineDescription: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try shape.wire(&c)
        try c.text(&name, max: 4_096, "the model's name")
        try c.size(&contextMax, "the context")
        try c.text(&fingerprint, max: 64, "the fingerprint")
        try c.integer(&created)
        try c.size(&weightBytes, "the weights' bytes")
        try c.size(&weightBytesPerStep, "the weights' bytes per step")
        try c.size(&bytesPerToken, "bytes per token")
        try c.list(&warnings, max: 256, "warnings", of: "") { (c, value) throws(WireError) in
            try c.text(&value, max: 4_096, "a warning")
        }
    }
}

extension EngineShape: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        let most = Int(Int32.max)
        try c.integer(&rowWidth, in: 0...most, "the logits' width")
        try c.integer(&vocabulary, in: 0...most, "the vocabulary")
        try c.integer(&contextMax, in: 0...most, "the context")
        try c.integer(&blocks, in: 0...most, "KV blocks")
        try c.integer(&blockTokens, in: 0...most, "tokens per block")
        try c.list(&stopTokens, max: 4_096, "stop tokens", of: 0) {
            (c, value) throws(WireError) in try c.integer(&value)
        }
    }
}

extension SequenceID: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        var number = value
        try c.integer(&number)
        self = SequenceID(number)
    }
}

extension SubmittedSequence: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try request.wire(&c)
        try sequence.id.wire(&c)
        try c.size(&sequence.maxTokens, "output tokens")
        try c.integer(&sequence.priority, in: 0...9, "the priority")
        try c.duration(&sequence.arrival)
        try c.optional(&sequence.startBy, of: .zero, wireDuration)
        try c.optional(&sequence.finishBy, of: .zero, wireDuration)
        try c.integer(&seed)
        try c.flag(&isSuspect)
        try c.optional(&form, of: FormText(), wireValue)
        if c.isReading {
            sequence.prompt = request.prompt
            sequence.tenant = request.tenant
            sequence.wantsPromptLogits = request.promptLogprobs
        }
    }
}

extension FormText: WireValue {
    /// JSON in which every byte of the longest source is escaped.
    private static let bytesMax = 8 * GrammarLimits().sourceBytes

    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.text(&source, max: Self.bytesMax, "a form")
        try c.flag(&goesOn)
    }
}

extension FormVocabulary: WireValue {
    /// What the vocabulary's tree has room for.
    private static let tokensMax = 1 << 24 - 1
    private static let tokenBytesMax = 256

    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.list(&tokens, max: Self.tokensMax, "tokens", of: []) {
            (c, bytes) throws(WireError) in
            try c.list(&bytes, max: Self.tokenBytesMax, "a token's bytes", of: 0) {
                (c, byte) throws(WireError) in try c.integer(&byte)
            }
        }
        let last = Int32(clamping: tokens.count - 1)
        try c.list(&endTokens, max: 4_096, "end tokens", of: 0) {
            (c, token) throws(WireError) in
            try c.integer(&token)
            guard token >= 0, token <= last else { throw WireError("an end token is none") }
        }
    }
}

func wireDuration(_ coder: inout WireCoder, _ value: inout Duration) throws(WireError) {
    try coder.duration(&value)
}

extension EngineBeat: WireValue {
    mutating func wire(_ c: inout WireCoder) throws(WireError) {
        try c.integer(&progress)
        try c.integer(&failedSteps)
    }
}
