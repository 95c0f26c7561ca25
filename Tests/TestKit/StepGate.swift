import AutoGLMCompute
import Dispatch
import Synchronization

/// Makes the steps of a model hang, and lets go of them.
package final class StepGate: StepPulse {
    private struct State {
        var isOpen = false
        var hanging = 0
        var entered = 0
        var zeroed = 0
        var models = 1
        var refusals = 0
    }
    private let state = Mutex(State())
    private let opened = DispatchSemaphore(value: 0)
    private let beats = Atomic<UInt64>(0)

    package init() {}

    // MARK: For the model

    /// Returns when the gate is open.
    package func pass() {
        let isOpen = state.withLock { state in
            state.entered += 1
            if !state.isOpen { state.hanging += 1 }
            return state.isOpen
        }
        if isOpen { return }
        opened.wait()
        state.withLock { $0.hanging -= 1 }
    }

    /// Takes the time given, with or without signs of life.
    package func dawdle(_ time: Duration, beating: Bool) {
        let end = ContinuousClock.now + time
        while ContinuousClock.now < end {
            _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(20))
            if beating { beats.add(1, ordering: .relaxed) }
        }
    }

    package var count: UInt64 { beats.load(ordering: .relaxed) }

    package func noteZeroed(_ count: Int) { state.withLock { $0.zeroed += count } }

    /// - Throws: as long as ``refuse(_:)`` says.
    package func noteModel() throws(BackendError) {
        let isRefused = state.withLock { state in
            if state.refusals > 0 {
                state.refusals -= 1
                return true
            }
            state.models += 1
            return false
        }
        if isRefused { throw .outOfMemory(requestedBytes: 1) }
    }

    // MARK: For the test

    /// Lets go of everything that hangs, and of what comes.
    package func open() {
        let hanging = state.withLock { state in
            state.isOpen = true
            return state.hanging
        }
        for _ in 0..<hanging { opened.signal() }
    }

    /// The next models cannot be made.
    package func refuse(_ count: Int) { state.withLock { $0.refusals = count } }

    package var hanging: Int { state.withLock { $0.hanging } }
    /// Steps that came to the gate.
    package var entered: Int { state.withLock { $0.entered } }
    /// KV blocks made zero so far.
    package var zeroed: Int { state.withLock { $0.zeroed } }
    /// Models made so far, the first included.
    package var models: Int { state.withLock { $0.models } }
}
