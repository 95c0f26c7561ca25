import AutoGLMCompute
import AutoGLMModels
import AutoGLMScheduling
import Synchronization

/// An engine on a thread of this process.
final class ThreadRun: EngineRun {
    let epoch: Int
    let mailbox = Mailbox()
    /// Raised when the thread has left its loop.
    let ended = Signal()
    let spare: (any ModelSpare)?
    private let beats = Atomic<UInt64>(0)
    private let abandoned = Atomic<Bool>(false)
    private let failures = Atomic<UInt64>(0)
    private let stepping = Mutex<[SequenceID]>([])
    private let thread = Mutex<EngineThread?>(nil)
    private let onStepping: (@Sendable ([SequenceID]) -> Void)?

    private init(
        epoch: Int, spare: (any ModelSpare)?, onStepping: (@Sendable ([SequenceID]) -> Void)?
    ) {
        self.epoch = epoch
        self.spare = spare
        self.onStepping = onStepping
    }

    /// Starts the thread.
    /// - Parameter onStepping: called on it with the sequences that it is about to compute, and
    ///   with none when that is done.
    /// - Returns: nil when the system refuses one.
    static func start(
        _ model: any CausalLM, epoch: Int, _ limits: Scheduler.Limits,
        _ surroundings: any EngineSurroundings,
        onStepping: (@Sendable ([SequenceID]) -> Void)? = nil
    ) -> ThreadRun? {
        let run = ThreadRun(epoch: epoch, spare: model.spare, onStepping: onStepping)
        let box = ModelBox(model)
        let shape = surroundings.shape
        let thread = EngineThread {
            let runner = ModelRunner(
                box.model, rowWidth: shape.rowWidth, vocabulary: shape.vocabulary, run: run)
            var loop = EngineLoop(
                scheduler: Scheduler(limits: limits), runner: runner,
                surroundings: surroundings, run: run)
            loop.work()
            run.ended.raise()
        }
        guard let thread else { return nil }
        run.thread.withLock { $0 = thread }
        return run
    }

    /// Carries the model to the engine thread.
    /// Unchecked: whoever starts a run gives the model away, and only the engine thread opens the
    /// box.
    private final class ModelBox: @unchecked Sendable {
        let model: any CausalLM
        init(_ model: any CausalLM) { self.model = model }
    }

    // MARK: The engine thread's side

    /// Something has been done: a step, a sequence's token, an answer to a nudge.
    func beat() { beats.add(1, ordering: .relaxed) }

    /// A step or a part of one has failed.
    func noteFailure() { failures.add(1, ordering: .relaxed) }

    /// The sequences whose computing has begun; empty when all of the step is done, sampling and
    /// delivery included.
    func note(stepping ids: [SequenceID]) {
        let isNews = stepping.withLock { stepping in
            defer { stepping = ids }
            return !(stepping.isEmpty && ids.isEmpty)
        }
        if isNews { onStepping?(ids) }
    }

    // MARK: Everybody's side

    var phase: EngineRunPhase { .working }

    var progress: UInt64 { beats.load(ordering: .relaxed) &+ (spare?.pulse.count ?? 0) }

    var failedSteps: UInt64 { failures.load(ordering: .relaxed) }

    var suspects: [SequenceID] { stepping.withLock { $0 } }

    var blamesSuspects: Bool { true }

    var processMemory: Int? { nil }

    var isAbandoned: Bool { abandoned.load(ordering: .acquiring) }

    func post(_ command: EngineCommand) { mailbox.post(command) }

    func nudge() { mailbox.nudge() }

    func abandon() {
        abandoned.store(true, ordering: .releasing)
        thread.withLock { thread in
            thread?.detach()
            thread = nil
        }
    }

    func join(patience: Duration) {
        var last = progress
        var silence = Duration.zero
        while !ended.wait(milliseconds: 50) {
            silence = progress == last ? silence + .milliseconds(50) : .zero
            last = progress
            if silence >= patience { return abandon() }
        }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }

    var restartsMax: Int { RestartBudget.most }

    func successor(
        _ shared: EngineShared, _ limits: Scheduler.Limits
    ) throws -> (any EngineRun)? {
        guard let spare else { return nil }
        spare.discardCache()
        let model = try spare.model(blocks: limits.blocks)
        guard let run = ThreadRun.start(model, epoch: epoch + 1, limits, shared) else {
            throw EngineError.noThread
        }
        return run
    }
}
