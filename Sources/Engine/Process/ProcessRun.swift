import AutoGLMDecoding
import AutoGLMScheduling
import Synchronization

/// An engine in a process of its own, seen from the process that faces clients.
///
/// A thread starts it, reads what it says and waits for its end; the system ends the process with
/// that thread, so it lives as long as this run. A second thread writes to it: whoever posts a
/// command never waits, however slow the engine is. What is posted before the engine has loaded its
/// model is kept.
final class ProcessRun: EngineRun {
    /// All that is needed to start one, again and again.
    struct Launch: Sendable {
        var isolation: EngineIsolation
        var configuration: EngineConfiguration
        var onProgress: (@Sendable (_ what: String, _ done: Int, _ total: Int) -> Void)?
        /// What the first one loaded: the next ones have to load the same.
        var expected: EngineDescription?
    }

    let epoch: Int
    let restartsMax = RestartBudget.most - 1
    private let launch: Launch
    /// Before it is started: an engine that dies at once is not started as fast as we can.
    private let pause: Duration
    private let mailbox = Mailbox()
    /// Raised when the model is loaded, and when the process has ended.
    private let settled = Signal()
    private let ended = Signal()
    private let abandoned = Signal()
    private let beats = Atomic<UInt64>(0)
    private let failures = Atomic<UInt64>(0)
    private let state: Mutex<State>

    private struct State {
        var phase = EngineRunPhase.starting
        var child: EngineChild?
        var shared: EngineShared?
        var description: EngineDescription?
        /// Why there is no model, in the process' own words.
        var refusal: String?
        var lastBeat = EngineBeat()
        var workingSince: ContinuousClock.Instant?
        var suspects: [SequenceID] = []
        var blamesSuspects = true
    }

    private init(epoch: Int, _ launch: Launch, pause: Duration, _ shared: EngineShared?) {
        self.epoch = epoch
        self.launch = launch
        self.pause = pause
        state = Mutex(State(shared: shared))
    }

    /// Starts the threads; the process follows.
    /// - Returns: nil when the system refuses one.
    static func start(
        epoch: Int = 0, _ launch: Launch, pause: Duration = .zero, _ shared: EngineShared? = nil
    ) -> ProcessRun? {
        let run = ProcessRun(epoch: epoch, launch, pause: pause, shared)
        guard let thread = EngineThread({ run.live() }) else { return nil }
        thread.detach()
        return run
    }

    /// Waits until the model is loaded. Blocks.
    /// - Throws: ``EngineProcessError``
    func loaded() throws(EngineProcessError) -> EngineDescription {
        while !settled.wait(milliseconds: 1_000) {}
        let (description, refusal, phase) = state.withLock {
            ($0.description, $0.refusal, $0.phase)
        }
        if let description { return description }
        if let refusal { throw .notLoaded(refusal) }
        if case .ended(let reason) = phase { throw .diedLoading(reason: reason) }
        throw .diedLoading(reason: "without a word")
    }

    /// From now on what the engine says goes there.
    func report(to shared: EngineShared) { state.withLock { $0.shared = shared } }

    // MARK: EngineRun

    var phase: EngineRunPhase { state.withLock { $0.phase } }
    var progress: UInt64 { beats.load(ordering: .relaxed) }
    var failedSteps: UInt64 { failures.load(ordering: .relaxed) }
    var blamesSuspects: Bool { state.withLock { $0.blamesSuspects } }
    var isAbandoned: Bool { abandoned.isRaised }

    var suspects: [SequenceID] {
        let (child, known) = state.withLock { ($0.child, $0.suspects) }
        return child?.notes.read() ?? known
    }

    var processMemory: Int? {
        guard let process = state.withLock({ $0.child?.identifier }) else { return 0 }
        return MemoryLimits.resident(process: process)
    }

    func post(_ command: EngineCommand) { mailbox.post(command) }

    /// It asks itself.
    func nudge() {}

    func abandon() {
        abandoned.raise()
        state.withLock { $0.child }?.kill()
    }

    func join(patience: Duration) {
        if phase == .starting { abandon() }
        if !ended.wait(milliseconds: Int32(patience / .milliseconds(1))) { abandon() }
        _ = ended.wait(milliseconds: 2_000)
    }

    func successor(
        _ shared: EngineShared, _ limits: Scheduler.Limits
    ) throws -> (any EngineRun)? {
        let (since, description) = state.withLock { ($0.workingSince, $0.description) }
        let worked = since.map { ContinuousClock.now - $0 } ?? .zero
        var launch = launch
        launch.expected = description ?? launch.expected
        launch.onProgress = nil
        // As many as at the start, however much memory is free now.
        launch.configuration.options.cacheBlocks = shared.shape.blocks
        let longer = min(max(pause * 2, .milliseconds(250)), .seconds(2))
        guard
            let run = ProcessRun.start(
                epoch: epoch + 1, launch, pause: worked > .seconds(10) ? .zero : longer, shared)
        else { throw EngineError.noThread }
        return run
    }

    // MARK: The reading thread

    private func live() {
        let begin = ContinuousClock.now
        while ContinuousClock.now - begin < pause, !abandoned.wait(milliseconds: 50) {
            beats.add(1, ordering: .relaxed)
        }
        let (reason, isOwnFault) = isAbandoned ? ("abandoned", false) : converse()
        state.withLock { state in
            state.suspects = state.child?.notes.read() ?? []
            // One that was abandoned because it hung is to blame; one that died may be.
            if !isAbandoned { state.blamesSuspects = isOwnFault }
            state.phase = .ended(reason: reason)
            state.child = nil
            state.shared = nil
        }
        ended.raise()
        settled.raise()
        // So that the writing thread sees it.
        mailbox.post(.stop)
    }

    /// - Returns: why the process ended, and whether that came from what it computed.
    private func converse() -> (reason: String, isOwnFault: Bool) {
        let child: EngineChild
        do throws(EngineProcessError) { child = try .start(launch.isolation) } catch {
            return ("\(error)", false)
        }
        state.withLock { $0.child = child }
        if isAbandoned { child.kill() }
        let onLine = launch.isolation.onLine
        EngineThread { child.readLines(onLine) }?.detach()
        var problem: String?
        do throws(WireError) {
            var coder = WireCoder()
            try EngineFrame.configure(launch.configuration).write(to: &coder)
            _ = child.socket.send(coder.bytes)
            var reader = FrameReader(child.socket, isForEngine: false)
            while let frame = try reader.next() { try take(frame, child) }
        } catch {
            problem = "\(error)"
            child.kill()
        }
        child.socket.shut()
        let end = child.wait()
        let refusal = state.withLock { $0.refusal }
        let reasons = [problem, refusal, "\(end)"].compactMap(\.self)
        return (reasons.joined(separator: "; "), end.isOwnFault)
    }

    private func take(_ frame: EngineFrame, _ child: EngineChild) throws(WireError) {
        switch frame {
        case .loading(let done, let total):
            beats.add(1, ordering: .relaxed)
            launch.onProgress?("", done, total)
        case .ready(let description): try begin(description, child)
        case .failed(let reason): state.withLock { $0.refusal = reason }
        case .beat(let beat):
            let isNews = state.withLock { state in
                defer { state.lastBeat = beat }
                return state.lastBeat.progress != beat.progress
            }
            if isNews { beats.add(1, ordering: .relaxed) }
            failures.store(beat.failedSteps, ordering: .relaxed)
        default:
            let (shared, rows) = state.withLock {
                ($0.shared, $0.description?.shape.rowWidth ?? 0)
            }
            guard let shared else { throw WireError("\(frame.kind) before it was asked anything") }
            try shared.take(frame, rowWidth: rows, epoch: epoch)
        }
    }

    private func begin(
        _ description: EngineDescription, _ child: EngineChild
    ) throws(WireError) {
        guard launch.expected == nil || launch.expected == description else {
            throw WireError("the model's files are others than at the start")
        }
        guard EngineThread({ [self] in write(to: child) }).map({ $0.detach() }) != nil else {
            throw WireError(EngineError.noThread.description)
        }
        state.withLock { state in
            state.description = description
            state.phase = .working
            state.workingSince = .now
        }
        settled.raise()
    }

    // MARK: The writing thread

    private func write(to child: EngineChild) {
        /// That which the other side compiles forms over.
        var known: TokenTrie?
        while true {
            let commands = mailbox.takeAll(blocking: true) {}
            if ended.isRaised || isAbandoned { return }
            var coder = WireCoder()
            for command in commands {
                do throws(WireError) {
                    if let trie = command.vocabulary, trie !== known {
                        try EngineFrame.vocabulary(FormVocabulary(trie)).write(to: &coder)
                        known = trie
                    }
                    try EngineFrame(command).write(to: &coder)
                } catch {
                    guard case .submit(let submission) = command else { continue }
                    let shared = state.withLock { $0.shared }
                    shared?.fail(submission.sequence.id, .stepFailed("\(error)"))
                }
            }
            // What cannot be sent is lost with the process; the reading thread sees its end.
            _ = child.socket.send(coder.bytes)
        }
    }
}

extension EngineCommand {
    /// Of the constraint of what is submitted.
    fileprivate var vocabulary: TokenTrie? {
        guard case .submit(let submission) = self else { return nil }
        return submission.request.constraint?.grammar.vocabulary
    }
}

extension FormVocabulary {
    fileprivate init(_ trie: TokenTrie) {
        self.init(tokens: trie.tokens, endTokens: trie.endTokens)
    }
}

extension EngineFrame {
    fileprivate init(_ command: EngineCommand) {
        switch command {
        case .submit(let submission):
            self = .submit(
                SubmittedSequence(
                    sequence: submission.sequence, request: submission.request,
                    seed: submission.seed, isSuspect: submission.isSuspect,
                    form: submission.request.constraint.map { FormText($0) }))
        case .abort(let id): self = .abort(id)
        case .shed(let cachedMax): self = .shed(cachedMax: cachedMax)
        case .stop: self = .stop
        }
    }
}

extension EngineShared {
    /// Does what the engine thread of this process would have done itself.
    /// - Parameter rowWidth: tokens are below this.
    /// - Throws: for what no engine says.
    fileprivate func take(
        _ frame: EngineFrame, rowWidth: Int, epoch: Int
    ) throws(WireError) {
        switch frame {
        case .started(let ids): started(ids, epoch: epoch)
        case .leftQueue(let id): leftQueue(id, epoch: epoch)
        case .ended(let id): ended(id, epoch: epoch)
        case .prompt(let id, let events, let usage):
            for event in events { try event.check(rowWidth) }
            guard let (sink, choice) = sink(of: id) else { return }
            sink.push(prompt: events, of: choice, usage: usage, from: epoch)
        case .token(let id, let event, let usage):
            try event.check(rowWidth)
            guard let (sink, choice) = sink(of: id) else { return }
            sink.push(event, of: choice, usage: usage, from: epoch)
        case .finish(let id, let finish, let last):
            try last?.check(rowWidth)
            guard let (sink, choice) = sink(of: id) else { return }
            sink.finish(finish, of: choice, last: last, from: epoch)
        case .failure(let id, let error):
            guard let (sink, choice) = sink(of: id) else { return }
            sink.fail(error, choice: choice, from: epoch)
        case .step(let report, let isStep, let newTokens):
            self.report(report, isStep: isStep, newTokens: newTokens, epoch: epoch)
        case .didShed(let used, let cached): didShed(used: used, cached: cached, epoch: epoch)
        case .stopped: didStop(epoch: epoch)
        default: throw WireError("a message \(frame.kind) from an engine")
        }
    }

    /// Where a live sequence's output goes; none for one that has ended.
    private func sink(of id: SequenceID) -> (any TokenSink, Int)? {
        state.withLock { state in
            state.live[id].map { ($0.submission.sink, $0.choice) }
        }
    }
}

extension TokenEvent {
    fileprivate func check(_ rowWidth: Int) throws(WireError) {
        guard token < rowWidth, top.allSatisfy({ $0.token < rowWidth }) else {
            throw WireError("a token beyond the vocabulary of \(rowWidth)")
        }
    }
}

extension Engine {
    /// Starts an engine in a process of its own, and waits until it has loaded the model. Blocks.
    /// - Throws: ``EngineProcessError``, ``EngineError``
    package static func isolated(
        _ isolation: EngineIsolation, modelPath: String, options: EngineOptions, vocabulary: Int?,
        stopTokens: [Int32]
    ) throws -> (engine: Engine, description: EngineDescription) {
        var configuration = EngineConfiguration()
        configuration.modelPath = modelPath
        configuration.options = options
        configuration.vocabulary = vocabulary
        configuration.stopTokens = stopTokens
        let launch = ProcessRun.Launch(
            isolation: isolation, configuration: configuration, onProgress: options.onProgress)
        guard let run = ProcessRun.start(launch) else { throw EngineError.noThread }
        let description = try run.loaded()
        let shared = EngineShared(
            options: options, shape: description.shape, start: configuration.start)
        run.report(to: shared)
        let engine = try Engine(shared, Scheduler.Limits(description.shape, options), run)
        return (engine, description)
    }
}
