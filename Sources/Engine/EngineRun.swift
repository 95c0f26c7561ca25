import AutoGLMCompute
import AutoGLMModels
import AutoGLMScheduling
import Synchronization

/// One life of the engine: a thread, its mailbox, and what it lets others see of its progress.
///
/// An engine that hangs is abandoned and a new run takes its place. Each run has scheduler, model,
/// KV blocks and mailbox of its own; what they share (``EngineShared``, the channels) takes from a
/// run only what bears the epoch of the present one.
final class EngineRun: Sendable {
    /// Counts the runs of an engine, from 0.
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

    init(epoch: Int, spare: (any ModelSpare)?) {
        self.epoch = epoch
        self.spare = spare
    }

    /// Starts the thread.
    /// - Returns: nil when the system refuses one.
    static func start(
        _ model: any CausalLM, epoch: Int, _ limits: Scheduler.Limits, _ shared: EngineShared
    ) -> EngineRun? {
        let run = EngineRun(epoch: epoch, spare: model.spare)
        let box = ModelBox(model)
        let shape = shared.shape
        let thread = EngineThread {
            let runner = ModelRunner(
                box.model, rowWidth: shape.rowWidth, vocabulary: shape.vocabulary, run: run)
            var loop = EngineLoop(
                scheduler: Scheduler(limits: limits), runner: runner, shared: shared, run: run)
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

    /// The sequences whose computing has begun; empty when it has ended.
    func note(stepping ids: [SequenceID]) { stepping.withLock { $0 = ids } }

    // MARK: Everybody's side

    /// Only ever grows; stands still while the engine hangs, and while it is idle and not nudged.
    var progress: UInt64 { beats.load(ordering: .relaxed) &+ (spare?.pulse.count ?? 0) }

    var failedSteps: UInt64 { failures.load(ordering: .relaxed) }

    /// Those in whose step the engine is right now.
    var suspects: [SequenceID] { stepping.withLock { $0 } }

    var isAbandoned: Bool { abandoned.load(ordering: .acquiring) }

    /// The thread may go on for ever, or end when it wakes up; nobody waits for it any more.
    func abandon() {
        abandoned.store(true, ordering: .releasing)
        thread.withLock { thread in
            thread?.detach()
            thread = nil
        }
    }

    /// Waits for the thread's end for as long as it gets on.
    /// - Parameter patience: how long it may stand still.
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
}
