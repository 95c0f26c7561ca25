import AutoGLMScheduling
import Dispatch
import Synchronization

/// What callers tell the engine thread.
enum EngineCommand: Sendable {
    case submit(Submission)
    case abort(SequenceID)
    /// Keep at most so many blocks of prefix cache, and give back the memory of what is free.
    case shed(cachedMax: Int)
    /// Fail everything that waits or runs with "shutting down", then leave the thread.
    case stop
}

/// An admitted request on its way to the engine thread.
struct Submission: Sendable {
    let sequence: SequenceRequest
    let request: GenerationRequest
    let seed: UInt64
    let sink: any TokenSink
    /// Which of the sink's sequences it is.
    let choice: Int
    /// The engine has got stuck in a step with this request: it is computed by itself.
    let isSuspect: Bool
}

/// Commands from any thread to the engine thread.
///
/// Bounded without a count of its own: admission bounds the submissions, and each live request
/// is aborted once. The engine takes all there is at a step boundary, and parks only when idle.
final class Mailbox: Sendable {
    private struct State {
        var commands: [EngineCommand] = []
        var isParked = false
    }
    private let state = Mutex(State())
    private let wakeUp = DispatchSemaphore(value: 0)

    func post(_ command: EngineCommand) {
        let wasParked = state.withLock { state in
            state.commands.append(command)
            defer { state.isParked = false }
            return state.isParked
        }
        if wasParked { wakeUp.signal() }
    }

    /// Asks a parked engine thread for a sign of life.
    func nudge() {
        let wasParked = state.withLock { state in
            defer { state.isParked = false }
            return state.isParked
        }
        if wasParked { wakeUp.signal() }
    }

    /// Everything that has arrived; with `blocking`, waits until there is something.
    /// - Parameter onWake: called whenever the thread has been woken.
    func takeAll(blocking: Bool, onWake: () -> Void) -> [EngineCommand] {
        while true {
            let commands = state.withLock { state in
                let commands = state.commands
                state.commands = []
                state.isParked = blocking && commands.isEmpty
                return commands
            }
            guard blocking, commands.isEmpty else { return commands }
            wakeUp.wait()
            onWake()
        }
    }
}
