import AutoGLMDecoding
import AutoGLMScheduling
import Glibc
import TestKit
import Testing

@testable import AutoGLMEngine

/// The messages between the two processes of `serve --isolate`.
@Suite struct ProcessMessageTests {
    // MARK: Samples in which nothing is as it is by default

    static let instant = MachineClock.origin + .nanoseconds(7_654_321_987_654_321)

    static func timeline() -> RequestTimeline {
        var timeline = RequestTimeline(received: instant)
        timeline.rendered = instant + .nanoseconds(1)
        timeline.admitted = instant + .nanoseconds(20)
        timeline.started = instant + .nanoseconds(300)
        timeline.firstToken = instant + .nanoseconds(4_000)
        timeline.lastToken = instant + .nanoseconds(50_000)
        timeline.written = instant + .nanoseconds(600_000)
        return timeline
    }

    static func sampling() -> SamplingParameters {
        var sampling = SamplingParameters()
        sampling.temperature = 0.7
        sampling.topP = 0.9
        sampling.topK = 40
        sampling.minP = 0.1
        sampling.repetitionPenalty = 1.1
        sampling.frequencyPenalty = -0.5
        sampling.presencePenalty = 1.5
        sampling.logitBias = [7: -2.25]
        sampling.seed = .max - 3
        sampling.stopTokens = [1, 5]
        sampling.stopStrings = ["Ende", "終"]
        sampling.ignoreEOS = true
        sampling.maxTokens = 17
        sampling.minTokens = 3
        sampling.topLogprobs = 4
        return sampling
    }

    static func request() -> GenerationRequest {
        var request = GenerationRequest(prompt: [3, 1, 4, 1, 5, -9], sampling: sampling())
        request.priority = 7
        request.tenant = "key 3"
        request.promptLogprobs = true
        request.deadline = .milliseconds(1_234)
        request.queueTimeout = Duration(secondsComponent: 5, attosecondsComponent: 7)
        request.timeline = timeline()
        return request
    }

    static let event = TokenEvent(
        token: 9, logprob: -0.125,
        top: [TokenLogprob(token: 9, logprob: -0.125), TokenLogprob(token: 2, logprob: -.infinity)])

    static func usage() -> Usage {
        var usage = Usage()
        usage.promptTokens = 6
        usage.cachedTokens = 2
        usage.completionTokens = 11
        usage.timeline = timeline()
        return usage
    }

    static func report() -> StepReport {
        var report = StepReport()
        report.seconds = 0.012
        report.batchTokens = 20
        report.prefillTokens = 16
        report.decodeTokens = 4
        report.contextTokens = 900
        report.sequences = 5
        report.running = 6
        report.waiting = 7
        report.waitingByPriority = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        report.blocksTotal = 100
        report.blocksUsed = 50
        report.blocksCached = 30
        report.preemptions = 3
        return report
    }

    static func description() -> EngineDescription {
        var description = EngineDescription()
        description.shape = EngineShape(
            rowWidth: 64, vocabulary: 60, contextMax: 512, blocks: 99, blockTokens: 16,
            stopTokens: [1, 2])
        description.name = "tiny"
        description.contextMax = 500
        description.fingerprint = "fp_0123456789abcdef"
        description.created = 1_700_000_000
        description.weightBytes = 2_000_000
        description.weightBytesPerStep = 1_000_000
        description.bytesPerToken = 4_096
        description.warnings = ["small", "and slow"]
        return description
    }

    static func configuration() -> EngineConfiguration {
        var configuration = EngineConfiguration()
        configuration.modelPath = "/models/ä"
        configuration.options.compute.precision = .f32
        configuration.options.compute.cacheFormat = .int8
        configuration.options.compute.activationScaling = .row
        configuration.options.compute.threads = 3
        configuration.options.compute.instructionSet = "scalar"
        configuration.options.weightFormat = .int4
        configuration.options.contextMax = 77
        configuration.options.cacheBytes = 1 << 33
        configuration.options.cacheBlocks = 5
        configuration.options.blockTokens = 32
        configuration.options.sequencesMax = 9
        configuration.options.stepTokens = 100
        configuration.options.queueTimeout = .seconds(3)
        configuration.options.prefixCache = false
        configuration.vocabulary = 60
        configuration.stopTokens = [1, 2, 3]
        configuration.start = instant
        return configuration
    }

    static func submitted() -> SubmittedSequence {
        let request = request()
        return SubmittedSequence(
            sequence: SequenceRequest(
                id: SequenceID(12), prompt: request.prompt, maxTokens: 17, priority: 7,
                tenant: request.tenant, arrival: .milliseconds(5), startBy: .seconds(6),
                finishBy: .seconds(7), wantsPromptLogits: true),
            request: request, seed: 99, isSuspect: true,
            form: FormText(source: #"{"regex":"ä"}"#, goesOn: true))
    }

    static let vocabulary = FormVocabulary(tokens: [[0xFF, 0], [], [0x61]], endTokens: [1, 2])

    static let errors: [GenerationError] = [
        .queueTimeout(waited: .milliseconds(3), limit: .seconds(30)),
        .deadlineExceeded(limit: .seconds(2)), .notANumber, .stepFailed("out of ä"),
        .engineRestarted, .shuttingDown, .cancelled, .grammar(.deadEnd), .grammar(.cancelled),
        .grammar(.invalid(reason: "ä", path: "#/a")), .grammar(.unsupported("x")),
        .grammar(.tooLarge("much", path: "#")), .grammar(.unsatisfiable(path: "#/b")),
    ]

    static func frames() -> [EngineFrame] {
        let id = SequenceID(.max)
        var finish = Finish(reason: .stop, stopToken: 3, stopString: "x", usage: usage())
        var all: [EngineFrame] = [
            .configure(configuration()), .submit(submitted()), .abort(id), .shed(cachedMax: 4),
            .stop, .vocabulary(vocabulary), .loading(done: 1, total: 2), .ready(description()),
            .failed(reason: "no file"),
            .beat(EngineBeat(progress: .max, failedSteps: 2)), .started([id, SequenceID(1)]),
            .leftQueue(id), .ended(id), .prompt(id, [TokenEvent(token: 4), event], usage()),
            .token(id, event, usage()), .finish(id, finish, last: event),
            .step(report(), isStep: true, newTokens: 8), .didShed(used: 1, cached: 2), .stopped,
        ]
        finish.reason = .length
        finish.stopToken = nil
        finish.stopString = nil
        all += [.finish(id, finish, last: nil), .token(id, TokenEvent(token: 0), Usage())]
        return all + errors.map { .failure(id, $0) }
    }

    private func bytes(_ frame: EngineFrame) throws -> [UInt8] {
        var coder = WireCoder()
        try frame.write(to: &coder)
        return coder.bytes
    }

    private func read(_ bytes: [UInt8], isForEngine: Bool) throws -> EngineFrame {
        try EngineFrame.read(bytes, 4..<bytes.count, isForEngine: isForEngine)
    }

    // MARK: Tests

    @Test func everyMessageCrossesAsItIs() throws {
        let frames = Self.frames()
        #expect(Set(frames.map(\.kind)) == Set(FrameKind.allCases))
        for frame in frames {
            let bytes = try bytes(frame)
            #expect(bytes.count - 4 <= frame.kind.bytesMax)
            let copy = try read(bytes, isForEngine: frame.kind.isForEngine)
            #expect("\(copy)" == "\(frame)")
            #expect(try self.bytes(copy) == bytes)
        }
    }

    /// A property that is added to one of these values has to cross as well: in the sample it must
    /// have another value than by default, and then the test above sees whether it does.
    @Test func samplesLeaveNothingAtItsDefault() {
        func check(_ sample: Any, _ plain: Any, except: Set<String> = []) {
            for (mine, theirs) in zip(
                Mirror(reflecting: sample).children, Mirror(reflecting: plain).children)
            where !except.contains(mine.label ?? "") {
                #expect(
                    "\(mine.value)" != "\(theirs.value)",
                    "\(type(of: sample)).\(mine.label ?? "?") has to cross")
            }
        }
        check(Self.sampling(), SamplingParameters())
        // Its constraint crosses as the text it was compiled from.
        check(Self.request(), GenerationRequest(prompt: []), except: ["constraint"])
        check(Self.timeline(), RequestTimeline())
        check(Self.usage(), Usage())
        check(Self.report(), StepReport())
        check(Self.description(), EngineDescription())
        check(Self.event, TokenEvent(token: 0))
        check(Self.submitted(), SubmittedSequence())
        check(
            Self.submitted().sequence,
            SequenceRequest(id: SequenceID(0), prompt: [], maxTokens: 0))
        if let form = Self.submitted().form { check(form, FormText()) }
        check(Self.vocabulary, FormVocabulary())
        check(Self.configuration(), EngineConfiguration(), except: ["options"])
        // What is called back, and what the queue needs, stays with the front.
        check(
            Self.configuration().options, EngineOptions(),
            except: [
                "queueRequests", "queueTokens", "isolation", "onProgress", "onStep",
                "restartAfter", "onIncident",
            ])
    }

    @Test func manyBiasesAndAllSeedsCross() throws {
        var generator = SplitMix64(seed: 5)
        for _ in 0..<50 {
            var sampling = SamplingParameters()
            sampling.seed = generator.next()
            sampling.topP = Float.random(in: 0...1, using: &generator)
            for token in 0..<Int32.random(in: 0...900, using: &generator) {
                sampling.logitBias[token] = Float.random(in: -100...100, using: &generator)
            }
            var coder = WireCoder()
            var sent = sampling
            try sent.wire(&coder)
            var reader = WireCoder(reading: coder.bytes, 0..<coder.bytes.count)
            var copy = SamplingParameters()
            try copy.wire(&reader)
            #expect(copy == sampling)
        }
    }

    @Test func whatIsCutOffIsNoMessage() throws {
        for frame in Self.frames() {
            let bytes = try bytes(frame)
            for count in 4..<bytes.count {
                #expect(throws: WireError.self, "\(frame.kind), \(count) bytes") {
                    try read(Array(bytes[..<count]), isForEngine: frame.kind.isForEngine)
                }
            }
            #expect(throws: WireError.self) {
                try read(bytes + [0], isForEngine: frame.kind.isForEngine)
            }
            // None that goes the other way.
            #expect(throws: WireError.self) {
                try read(bytes, isForEngine: !frame.kind.isForEngine)
            }
        }
    }

    @Test func lengthsAreCheckedByBothSides() throws {
        for kind in FrameKind.allCases {
            #expect(throws: WireError.self) {
                try EngineFrame.kind(
                    kind.rawValue, byteCount: kind.bytesMax + 1, isForEngine: kind.isForEngine)
            }
        }
        for number in UInt8.min...UInt8.max where FrameKind(rawValue: number) == nil {
            #expect(throws: WireError.self) {
                try EngineFrame.kind(number, byteCount: 1, isForEngine: number < 64)
            }
        }
        // Too long to be sent: nothing of it is.
        var long = Self.request()
        long.tenant = String(repeating: "x", count: 5_000)
        var coder = WireCoder()
        try EngineFrame.stop.write(to: &coder)
        let before = coder.bytes
        #expect(throws: WireError.self) {
            try EngineFrame.submit(SubmittedSequence(request: long)).write(to: &coder)
        }
        #expect(throws: WireError.self) {
            try EngineFrame.failed(reason: String(repeating: "x", count: 9_000)).write(to: &coder)
        }
        #expect(coder.bytes == before)
        // A count beyond what is there makes no room for it.
        var started = try bytes(.started([SequenceID(1)]))
        started[5...8] = [0xFF, 0xFF, 0, 0]
        #expect(throws: WireError.self) { try read(started, isForEngine: false) }
        started[5...8] = [0xFF, 0xFF, 0xFF, 0xFF]
        #expect(throws: WireError.self) { try read(started, isForEngine: false) }
    }

    /// Whatever the bytes are, reading them ends; what is read can be written.
    @Test func flippedBytesAreSurvived() throws {
        var generator = SplitMix64(seed: 11)
        let frames = try Self.frames().map { (try bytes($0), $0.kind.isForEngine) }
        for _ in 0..<20_000 {
            guard var (bytes, isForEngine) = frames.randomElement(using: &generator) else { return }
            for _ in 0...Int.random(in: 0...3, using: &generator) {
                let index = Int.random(in: 4..<bytes.count, using: &generator)
                bytes[index] = UInt8.random(in: .min ... .max, using: &generator)
            }
            guard let frame = try? read(bytes, isForEngine: isForEngine) else { continue }
            _ = try? self.bytes(frame)
        }
    }

    @Test func aVocabularyHasOnlyItsOwnEndTokens() throws {
        for end in [Int32(-1), 3] {
            var vocabulary = Self.vocabulary
            vocabulary.endTokens = [1, end]
            #expect(throws: WireError.self) { try bytes(.vocabulary(vocabulary)) }
        }
    }

    /// What is longer than its place is cut, not lost.
    @Test func longReasonsAreCut() throws {
        let long = String(repeating: "ä", count: 9_001)
        for error in [
            GenerationError.stepFailed(long), .grammar(.tooLarge(long, path: "#/" + long)),
        ] {
            let bytes = try bytes(.failure(SequenceID(1), error))
            guard case .failure(_, let copy) = try read(bytes, isForEngine: false) else {
                Issue.record("another message")
                continue
            }
            #expect("\(copy)".contains("äää"))
        }
    }

    @Test func framesComeInPiecesThroughASocket() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let (sender, receiver) = (FrameSocket(ends[0]), FrameSocket(ends[1]))
        var coder = WireCoder()
        var long = Self.submitted()
        long.request.prompt = Array(0..<200_000)
        let frames: [EngineFrame] = [.stop, .submit(long), .abort(SequenceID(4)), .stop]
        for frame in frames { try frame.write(to: &coder) }
        let bytes = coder.bytes
        EngineThread {
            var start = 0
            var piece = 1
            while start < bytes.count {
                let end = min(start + piece, bytes.count)
                _ = sender.send(Array(bytes[start..<end]))
                start = end
                piece = piece * 3 % 70_001 + 1
            }
            sender.shut()
        }?.detach()
        var reader = FrameReader(receiver, isForEngine: true)
        for frame in frames { #expect(try reader.next()?.kind == frame.kind) }
        #expect(try reader.next() == nil)
    }

    /// The engine thread is never held up by a front that does not read: output is lost, the
    /// account of what has ended is not.
    @Test func aFrontThatDoesNotReadLosesOutputAndNothingElse() throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let (sender, receiver) = (FrameSocket(ends[0]), FrameSocket(ends[1]))
        let outbox = Outbox(sender, bytesMax: 1 << 20)
        let (id, other) = (SequenceID(1), SequenceID(2))
        let start = ContinuousClock.now
        var lostNow = 0
        for _ in 0..<50_000 {
            if outbox.add(output: .token(id, Self.event, Self.usage()), of: id) == .lostNow {
                lostNow += 1
            }
            _ = outbox.flush()
        }
        #expect(lostNow == 1)
        #expect(ContinuousClock.now - start < .seconds(20))
        outbox.add(.ended(id))
        outbox.forget(id)
        EngineThread {
            while outbox.flush() { sender.waitWritable(milliseconds: 100) }
            // Now there is room again.
            _ = outbox.add(output: .token(other, Self.event, Self.usage()), of: other)
            while outbox.flush() { sender.waitWritable(milliseconds: 100) }
            sender.shut()
        }?.detach()
        var reader = FrameReader(receiver, isForEngine: false)
        var kinds: [FrameKind] = []
        while let frame = try reader.next() { kinds.append(frame.kind) }
        #expect(kinds.suffix(2) == [.ended, .token])
        #expect(kinds.count > 1_000)
    }

    @Test func notesAreReadAsTheyWereWritten() throws {
        let notes = try #require(SharedNotes())
        #expect(notes.read().isEmpty)
        notes.write([SequenceID(4), SequenceID(.max)])
        notes.write([SequenceID(5)])
        #expect(notes.read() == [SequenceID(5)])
        notes.write([])
        #expect(notes.read().isEmpty)
        let nonsense: [UInt8] = [0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3]
        #expect(pwrite(notes.descriptor, nonsense, nonsense.count, 0) == nonsense.count)
        #expect(notes.read().isEmpty)
    }

    @Test func aProcessEndIsReadFromItsStatus() {
        #expect(ProcessEnd(status: 70 << 8) == .exit(70))
        #expect(ProcessEnd(status: 9) == .signal(9))
        #expect(ProcessEnd(status: 0x86) == .signal(6))
        #expect(!ProcessEnd.signal(9).isOwnFault && ProcessEnd.signal(11).isOwnFault)
        #expect(!ProcessEnd.exit(70).isOwnFault)
    }
}
