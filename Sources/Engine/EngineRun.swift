import AutoGLMScheduling

/// One life of the engine, and what it lets others see of its progress.
///
/// An engine that hangs or dies is abandoned and a new run takes its place. Each run has scheduler,
/// model, KV blocks and mailbox of its own; what they share (``EngineShared``, the channels) takes
/// from a run only what bears the epoch of the present one. ``ThreadRun`` is a thread of this
/// process, ``ProcessRun`` a process of its own.
protocol EngineRun: AnyObject, Sendable {
    /// Counts the runs of an engine, from 0.
    var epoch: Int { get }
    var phase: EngineRunPhase { get }
    /// Only ever grows; stands still while the engine hangs, and while it is idle and not nudged.
    var progress: UInt64 { get }
    var failedSteps: UInt64 { get }
    /// Those in whose step the engine is, or was when it ended.
    var suspects: [SequenceID] { get }
    /// Its end may have come from what it computed.
    var blamesSuspects: Bool { get }
    /// The weights are in another process, which takes so much memory.
    var processMemory: Int? { get }
    var isAbandoned: Bool { get }

    /// Gives a command to the engine thread, which takes it between two steps. Never waits.
    func post(_ command: EngineCommand)
    /// Asks a parked engine thread for a sign of life.
    func nudge()
    /// It may go on for ever, or end when it wakes up; nobody waits for it any more.
    func abandon()
    /// Waits for its end for as long as it gets on.
    /// - Parameter patience: how long it may stand still.
    func join(patience: Duration)

    /// Restarts within ``RestartBudget/window`` before that is no remedy.
    var restartsMax: Int { get }
    /// Starts the run that takes its place. It has been abandoned.
    /// - Returns: nil when there is nothing to start one with.
    func successor(
        _ shared: EngineShared, _ limits: Scheduler.Limits
    ) throws -> (any EngineRun)?
}

enum EngineRunPhase: Equatable {
    /// It reads its weights, and keeps what is posted until it has.
    case starting
    case working
    /// It has ended, and nobody had told it to.
    case ended(reason: String)
}
