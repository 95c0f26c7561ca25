import AutoGLMCompute
import AutoGLMDecoding
import AutoGLMModels
import AutoGLMScheduling
import Glibc
import Synchronization

/// The engine's half of two processes: it has weights, KV blocks and scheduler, computes what the
/// other half sends, and tells it what comes of that. It opens no port and writes no file.
package final class EngineHost: EngineSurroundings {
    let shape: EngineShape
    let queueTimeout: Duration
    let start: RequestTimeline.Instant
    private let outbox: Outbox
    private let forms = FormQueue()

    /// The descriptors that the process is started with.
    package static let channel: Int32 = 3
    package static let memory: Int32 = 4
    /// sysexits.h's EX_SOFTWARE: what came through the channel made no sense.
    private static let exitCode: Int32 = 70
    private static let oomAdjustment = 500

    init(
        shape: EngineShape, queueTimeout: Duration, start: RequestTimeline.Instant, outbox: Outbox
    ) {
        self.shape = shape
        self.queueTimeout = queueTimeout
        self.start = start
        self.outbox = outbox
    }

    // MARK: The process

    /// Serves the process that has started this one until it says stop or ends. Blocks.
    /// - Parameters:
    ///   - parent: that process.
    ///   - report: called with the line that explains an exit code other than 0.
    /// - Returns: the exit code.
    package static func run(parent: Int32, report: (String) -> Void) -> Int32 {
        // The front decides what signals mean, and tells; a terminal sends them to both.
        for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { _ = signal(number, SIG_IGN) }
        guard isSocket(channel), ProcessTies.follow(parent: parent) else {
            report("this command is started by serve --isolate, for itself")
            return 64
        }
        // A dump would hold what clients have sent.
        var limit = rlimit(rlim_cur: 0, rlim_max: 0)
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
        offerToEndFirst()
        MemoryLimits.settleAllocator()
        let socket = FrameSocket(channel)
        var reader = FrameReader(socket, isForEngine: true)
        do {
            let outbox = Outbox(socket)
            let heart = EngineHeart(outbox, socket)
            guard EngineThread({ heart.beat() }).map({ $0.detach() }) != nil else {
                throw EngineError.noThread
            }
            guard case .configure(let configuration)? = try reader.next() else {
                throw WireError("the first message is no configuration")
            }
            guard let host = load(configuration, outbox, heart) else { return 1 }
            return try host.serve(&reader, heart)
        } catch {
            report("\(error)")
            return exitCode
        }
    }

    /// When memory runs out, the system is to end this process, which is replaced, and not the
    /// front: it counts as if it had so many thousandths of all memory more. Where that cannot be
    /// said (no `/proc`), the one with more memory ends, which is mostly this one.
    private static func offerToEndFirst() {
        let file = unsafe open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { _ = close(file) }
        var digits = [UInt8](repeating: 0, count: 16)
        let count = unsafe digits.withUnsafeMutableBytes {
            unsafe pread(file, $0.baseAddress, $0.count, 0)
        }
        let words = digits.prefix(max(count, 0)).filter { $0 > 0x20 }
        let inherited = Int(String(decoding: words, as: UTF8.self)) ?? 0
        let raised = Array("\(min(inherited + oomAdjustment, 1_000))".utf8)
        _ = unsafe raised.withUnsafeBytes { unsafe pwrite(file, $0.baseAddress, $0.count, 0) }
    }

    private static func isSocket(_ descriptor: Int32) -> Bool {
        var status = stat()
        return unsafe fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    /// - Returns: nil after having told why there is no engine.
    private static func load(
        _ configuration: EngineConfiguration, _ outbox: Outbox, _ heart: EngineHeart
    ) -> EngineHost? {
        var options = configuration.options
        options.onProgress = { _, done, total in
            outbox.add(.loading(done: done, total: total))
            _ = outbox.flush()
        }
        do {
            let loaded = try LoadedModel(
                try ModelSource(configuration.modelPath), options: options,
                vocabulary: configuration.vocabulary, stopTokens: configuration.stopTokens)
            let host = EngineHost(
                shape: loaded.description.shape, queueTimeout: options.queueTimeout,
                start: configuration.start, outbox: outbox)
            let notes = SharedNotes(memory)
            let run = ThreadRun.start(
                loaded.model, epoch: 0, Scheduler.Limits(host.shape, options), host,
                onStepping: { notes.write($0) })
            guard let run else { throw EngineError.noThread }
            guard EngineThread({ host.forms.work() }).map({ $0.detach() }) != nil else {
                throw EngineError.noThread
            }
            heart.follow(run)
            outbox.add(.ready(loaded.description))
            host.flush()
            return host
        } catch {
            let reason = "\(error)".utf8.prefix(8_000)
            outbox.add(.failed(reason: String(decoding: reason, as: UTF8.self)))
            _ = outbox.flush()
            return nil
        }
    }

    private func serve(
        _ reader: inout FrameReader, _ heart: EngineHeart
    ) throws -> Int32 {
        guard let run = heart.run else { return Self.exitCode }
        while let frame = try reader.next() {
            switch frame {
            case .submit(let submitted): accept(submitted, run)
            case .vocabulary(let vocabulary):
                guard vocabulary.tokens.count <= shape.vocabulary else {
                    throw WireError("\(vocabulary.tokens.count) tokens are more than there are")
                }
                forms.add(vocabulary)
            case .abort(let id):
                if forms.forget(id) { end(id, .cancelled) } else { run.post(.abort(id)) }
            case .shed(let cachedMax): run.post(.shed(cachedMax: cachedMax))
            case .stop:
                for id in forms.forgetAll() { end(id, .shuttingDown) }
                run.post(.stop)
                run.join(patience: .seconds(5))
                _ = outbox.flush()
                return 0
            default: throw WireError("a message \(frame.kind) in the middle")
            }
        }
        // Nobody is there any more.
        return 0
    }

    private func accept(_ submitted: SubmittedSequence, _ run: ThreadRun) {
        let id = submitted.sequence.id
        if let problem = problem(submitted) { return end(id, .stepFailed(problem)) }
        guard let form = submitted.form else { return post(submitted, nil, run) }
        forms.add(form, of: id) { [self] result in
            switch result {
            case .success(let constraint): post(submitted, constraint, run)
            case .failure(let error):
                // The front has compiled it: this is not the client's fault.
                end(id, .stepFailed("a form did not compile again: \(error)"))
            }
        }
    }

    private func post(
        _ submitted: SubmittedSequence, _ constraint: Constraint?, _ run: ThreadRun
    ) {
        let id = submitted.sequence.id
        var request = submitted.request
        request.constraint = constraint
        run.post(
            .submit(
                Submission(
                    sequence: submitted.sequence, request: request, seed: submitted.seed,
                    sink: FrameSink(id: id, outbox: outbox) { run.post(.abort(id)) },
                    choice: 0, isSuspect: submitted.isSuspect)))
    }

    /// The end of a sequence that the engine thread has never seen.
    private func end(_ id: SequenceID, _ error: GenerationError) {
        outbox.add(.failure(id, error))
        ended(id, epoch: 0)
        flush()
    }

    /// The front has checked it; but a front gone wrong must not become an engine gone wrong.
    private func problem(_ submitted: SubmittedSequence) -> String? {
        let request = submitted.request
        do { try request.sampling.validate(vocabulary: shape.vocabulary) } catch {
            return "\(error)"
        }
        guard request.prompt.allSatisfy({ $0 >= 0 && $0 < shape.vocabulary }) else {
            return "a prompt token beyond the vocabulary of \(shape.vocabulary)"
        }
        let room = min(shape.contextMax, shape.blocks * shape.blockTokens) - request.prompt.count
        guard !request.prompt.isEmpty, submitted.sequence.maxTokens <= room else {
            return "\(request.prompt.count) prompt tokens and room for \(room) more"
        }
        return nil
    }

    // MARK: What the engine thread tells

    func started(_ ids: [SequenceID], epoch: Int) { outbox.add(.started(ids)) }

    func leftQueue(_ id: SequenceID, epoch: Int) { outbox.add(.leftQueue(id)) }

    func ended(_ id: SequenceID, epoch: Int) {
        outbox.add(.ended(id))
        outbox.forget(id)
    }

    func report(_ report: StepReport, isStep: Bool, newTokens: Int, epoch: Int) {
        outbox.add(.step(report, isStep: isStep, newTokens: newTokens))
    }

    func didShed(used: Int, cached: Int, epoch: Int) {
        outbox.add(.didShed(used: used, cached: cached))
        MemoryLimits.giveBack()
    }

    func didStop(epoch: Int) { outbox.add(.stopped) }

    /// What the socket does not take now, the heart's thread sends.
    func flush() { _ = outbox.flush() }
}

/// A sequence's output on its way to the other process.
private struct FrameSink: TokenSink {
    let id: SequenceID
    let outbox: Outbox
    let abort: @Sendable () -> Void

    func push(_ event: TokenEvent, of choice: Int, usage: Usage, from epoch: Int) {
        send(.token(id, event, usage))
    }

    func push(prompt: [TokenEvent], of choice: Int, usage: Usage, from epoch: Int) {
        for start in stride(from: 0, to: prompt.count, by: EngineFrame.promptEventsMax) {
            let end = min(start + EngineFrame.promptEventsMax, prompt.count)
            send(.prompt(id, Array(prompt[start..<end]), usage))
        }
    }

    func finish(_ finish: Finish, of choice: Int, last: TokenEvent?, from epoch: Int) {
        send(.finish(id, finish, last: last))
    }

    func fail(_ error: GenerationError, choice: Int, from epoch: Int?) {
        send(.failure(id, error))
    }

    private func send(_ frame: EngineFrame) {
        guard outbox.add(output: frame, of: id) == .lostNow else { return }
        outbox.add(
            .failure(id, .stepFailed("the process that faces clients does not take its output")))
        abort()
    }
}

/// Signs of life, ten times a second, from a thread of its own; it also sends what the engine
/// thread could not send without waiting.
final class EngineHeart: Sendable {
    private let outbox: Outbox
    private let socket: FrameSocket
    private let followed = Mutex<ThreadRun?>(nil)

    init(_ outbox: Outbox, _ socket: FrameSocket) {
        self.outbox = outbox
        self.socket = socket
    }

    var run: ThreadRun? { followed.withLock { $0 } }

    /// From now on the engine's progress counts; before, that the process runs.
    func follow(_ run: ThreadRun) { followed.withLock { $0 = run } }

    func beat() {
        let never = Signal()
        var beat = EngineBeat()
        var silence = Duration.zero
        while true {
            _ = never.wait(milliseconds: Int32(StallDetector.tick / .milliseconds(1)))
            if let run {
                silence = run.progress == beat.progress ? silence + StallDetector.tick : .zero
                if silence >= EngineWatch.nudgeAfter { run.nudge() }
                beat = EngineBeat(progress: run.progress, failedSteps: run.failedSteps)
            } else {
                beat.progress += 1
            }
            if !outbox.flush() {
                outbox.add(.beat(beat))
                if !outbox.flush() { continue }
            }
            repeat { socket.waitWritable(milliseconds: 100) } while outbox.flush()
        }
    }
}
