import AutoGLMScheduling

/// The kinds of messages between the two processes: their numbers, directions and greatest lengths.
/// The one table; everything else follows from it.
enum FrameKind: UInt8, CaseIterable {
    // To the engine
    case configure = 1
    case submit, abort, shed, stop, vocabulary
    // From the engine
    case loading = 64
    case ready, failed, beat, started, leftQueue, ended, prompt, token, finish, failure, step,
        didShed, stopped

    /// The kind and what follows it.
    var bytesMax: Int {
        switch self {
        // A prompt of the longest context there can be, 2²⁴ tokens, and the rest of a request.
        case .submit: (64 << 20) + (8 << 20)
        // A million tokens of 60 bytes.
        case .vocabulary: 64 << 20
        case .configure, .ready, .started, .prompt: 1 << 20
        case .failed, .failure: 16 << 10
        case .finish, .token, .step: 4 << 10
        case .abort, .shed, .stop, .loading, .beat, .leftQueue, .ended, .didShed, .stopped: 64
        }
    }

    var isForEngine: Bool { rawValue < FrameKind.loading.rawValue }
}

/// A message. On the wire: the length of what follows (4 bytes), the kind (1), the fields.
enum EngineFrame {
    case configure(EngineConfiguration)
    case submit(SubmittedSequence)
    case abort(SequenceID)
    case shed(cachedMax: Int)
    case stop
    case vocabulary(FormVocabulary)

    /// Bytes of weights read, and in all.
    case loading(done: Int, total: Int)
    case ready(EngineDescription)
    /// The model cannot be loaded; the process ends.
    case failed(reason: String)
    case beat(EngineBeat)
    case started([SequenceID])
    case leftQueue(SequenceID)
    case ended(SequenceID)
    case prompt(SequenceID, [TokenEvent], Usage)
    case token(SequenceID, TokenEvent, Usage)
    case finish(SequenceID, Finish, last: TokenEvent?)
    case failure(SequenceID, GenerationError)
    case step(StepReport, isStep: Bool, newTokens: Int)
    case didShed(used: Int, cached: Int)
    case stopped

    var kind: FrameKind {
        switch self {
        case .configure: .configure
        case .submit: .submit
        case .abort: .abort
        case .shed: .shed
        case .stop: .stop
        case .vocabulary: .vocabulary
        case .loading: .loading
        case .ready: .ready
        case .failed: .failed
        case .beat: .beat
        case .started: .started
        case .leftQueue: .leftQueue
        case .ended: .ended
        case .prompt: .prompt
        case .token: .token
        case .finish: .finish
        case .failure: .failure
        case .step: .step
        case .didShed: .didShed
        case .stopped: .stopped
        }
    }

    /// To be read into.
    private init(empty kind: FrameKind) {
        let id = SequenceID(0)
        switch kind {
        case .configure: self = .configure(EngineConfiguration())
        case .submit: self = .submit(SubmittedSequence())
        case .abort: self = .abort(id)
        case .shed: self = .shed(cachedMax: 0)
        case .stop: self = .stop
        case .vocabulary: self = .vocabulary(FormVocabulary())
        case .loading: self = .loading(done: 0, total: 0)
        case .ready: self = .ready(EngineDescription())
        case .failed: self = .failed(reason: "")
        case .beat: self = .beat(EngineBeat())
        case .started: self = .started([])
        case .leftQueue: self = .leftQueue(id)
        case .ended: self = .ended(id)
        case .prompt: self = .prompt(id, [], Usage())
        case .token: self = .token(id, .empty, Usage())
        case .finish: self = .finish(id, .empty, last: nil)
        case .failure: self = .failure(id, .cancelled)
        case .step: self = .step(StepReport(), isStep: false, newTokens: 0)
        case .didShed: self = .didShed(used: 0, cached: 0)
        case .stopped: self = .stopped
        }
    }

    // MARK: Bytes

    /// Appends the frame, its length first.
    /// - Throws: when something in it is longer than the other side would take; nothing is
    ///   appended then.
    func write(to coder: inout WireCoder) throws(WireError) {
        let start = coder.openLength()
        do throws(WireError) {
            var kind = kind.rawValue
            try coder.integer(&kind)
            var frame = self
            try frame.wire(&coder)
        } catch {
            coder.drop(from: start)
            throw error
        }
        try coder.closeLength(start, max: kind.bytesMax)
    }

    /// Reads what follows a length.
    /// - Parameter isForEngine: the direction from which the bytes came.
    static func read(
        _ bytes: [UInt8], _ range: Range<Int>, isForEngine: Bool
    ) throws(WireError) -> EngineFrame {
        var coder = WireCoder(reading: bytes, range)
        var number: UInt8 = 0
        try coder.integer(&number)
        let kind = try self.kind(number, byteCount: range.count, isForEngine: isForEngine)
        var frame = EngineFrame(empty: kind)
        try frame.wire(&coder)
        try coder.finish()
        return frame
    }

    /// - Throws: for a kind that does not exist or goes the other way, or one that is too long.
    static func kind(
        _ number: UInt8, byteCount: Int, isForEngine: Bool
    ) throws(WireError) -> FrameKind {
        guard let kind = FrameKind(rawValue: number), kind.isForEngine == isForEngine else {
            throw WireError("a message of the unknown kind \(number)")
        }
        guard byteCount <= kind.bytesMax else {
            throw WireError(
                "a message \(kind) of \(byteCount) bytes; the limit is \(kind.bytesMax)")
        }
        return kind
    }

    private mutating func wire(_ c: inout WireCoder) throws(WireError) {
        switch self {
        case .configure(var value):
            try value.wire(&c)
            self = .configure(value)
        case .submit(var value):
            try value.wire(&c)
            self = .submit(value)
        case .abort(var id):
            try id.wire(&c)
            self = .abort(id)
        case .shed(var cachedMax):
            try c.size(&cachedMax, "blocks to keep")
            self = .shed(cachedMax: cachedMax)
        case .stop, .stopped: break
        case .vocabulary(var value):
            try value.wire(&c)
            self = .vocabulary(value)
        case .loading(var done, var total):
            try c.size(&done, "bytes read")
            try c.size(&total, "bytes in all")
            self = .loading(done: done, total: total)
        case .ready(var value):
            try value.wire(&c)
            self = .ready(value)
        case .failed(var reason):
            try c.text(&reason, max: 8_192, "a reason")
            self = .failed(reason: reason)
        case .beat(var value):
            try value.wire(&c)
            self = .beat(value)
        case .started(var ids):
            try c.list(&ids, max: 100_000, "sequences", of: SequenceID(0), wireValue)
            self = .started(ids)
        default: try wireOutput(&c)
        }
    }

    /// What comes out of sequences and steps.
    private mutating func wireOutput(_ c: inout WireCoder) throws(WireError) {
        switch self {
        case .leftQueue(var id):
            try id.wire(&c)
            self = .leftQueue(id)
        case .ended(var id):
            try id.wire(&c)
            self = .ended(id)
        case .prompt(var id, var events, var usage):
            try id.wire(&c)
            try c.list(&events, max: Self.promptEventsMax, "prompt tokens", of: .empty, wireValue)
            try usage.wire(&c)
            self = .prompt(id, events, usage)
        case .token(var id, var event, var usage):
            try id.wire(&c)
            try event.wire(&c)
            try usage.wire(&c)
            self = .token(id, event, usage)
        case .finish(var id, var finish, var last):
            try id.wire(&c)
            try finish.wire(&c)
            try c.optional(&last, of: .empty, wireValue)
            self = .finish(id, finish, last: last)
        case .failure(var id, var error):
            try id.wire(&c)
            try error.wire(&c)
            self = .failure(id, error)
        case .step(var report, var isStep, var newTokens):
            try report.wire(&c)
            try c.flag(&isStep)
            try c.size(&newTokens, "new tokens")
            self = .step(report, isStep: isStep, newTokens: newTokens)
        case .didShed(var used, var cached):
            try c.size(&used, "blocks used")
            try c.size(&cached, "blocks cached")
            self = .didShed(used: used, cached: cached)
        default: preconditionFailure("\(kind) has fields that are not written")
        }
    }

    /// Longer lists of prompt tokens go in several messages: 1,024 with 20 alternatives each take
    /// 180 KiB.
    static let promptEventsMax = 1_024
}

/// As an element of a list.
func wireValue<T: WireValue>(_ coder: inout WireCoder, _ value: inout T) throws(WireError) {
    try value.wire(&coder)
}
