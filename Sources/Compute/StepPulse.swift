import CAutoGLMKernels
import Synchronization

/// Counts what a device gets done while a step runs; any thread may ask.
///
/// A step may take minutes where the model is large and the machine slow; one whose pulse stands
/// still hangs.
package protocol StepPulse: Sendable {
    /// Only ever grows.
    var count: UInt64 { get }
}

/// The pieces of work that a thread pool has finished.
///
/// It does not hold the pool: whoever asks must not be the one who has to wait for its threads when
/// it goes.
final class PoolPulse: StepPulse {
    /// The pool's address, 0 once it is gone. The lock keeps it there while it is asked.
    private let pool: Mutex<Int>

    init(_ pool: OpaquePointer) { self.pool = Mutex(Int(bitPattern: pool)) }

    var count: UInt64 {
        pool.withLock { pool in
            guard let handle = unsafe OpaquePointer(bitPattern: pool) else { return 0 }
            return unsafe k_pool_beats(handle)
        }
    }

    func end() { pool.withLock { $0 = 0 } }
}
