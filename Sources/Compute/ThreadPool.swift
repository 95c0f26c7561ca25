import CAutoGLMKernels

/// The worker threads of one backend; the thread that calls is one of them.
@safe
final class ThreadPool {
    let handle: OpaquePointer
    let threads: Int
    let pulse: PoolPulse

    /// Scratch of one thread: a tile of a product, or the state of one unit of attention.
    static let scratchBytes = 4 << 20

    init(threads requested: Int?) throws(BackendError) {
        let wanted = requested ?? Int(k_cores())
        guard (1...Int(K_THREADS_LIMIT)).contains(wanted) else {
            throw .unsupported(
                what: "\(wanted) threads", remedy: "choose from 1 to \(K_THREADS_LIMIT)")
        }
        guard let pool = unsafe k_pool_create(Int32(wanted), ThreadPool.scratchBytes) else {
            throw .outOfMemory(requestedBytes: wanted * ThreadPool.scratchBytes)
        }
        unsafe handle = pool
        pulse = unsafe PoolPulse(pool)
        threads = wanted
    }

    deinit {
        pulse.end()
        unsafe k_pool_destroy(handle)
    }

    /// Runs `body` for pieces of `0..<items` on all threads, each with the number of its thread.
    /// Not for steps: closures may allocate.
    func share(_ items: Int, _ body: (Range<Int>, Int) -> Void) {
        withoutActuallyEscaping(body) { escaping in
            var closure = escaping
            unsafe withUnsafeMutablePointer(to: &closure) { context in
                unsafe k_pool_for(
                    handle, Int32(clamping: items), 1, 8,
                    { context, begin, end, thread in
                        let body = unsafe context!.assumingMemoryBound(
                            to: ((Range<Int>, Int) -> Void).self)
                        unsafe body.pointee(Int(begin)..<Int(end), Int(thread))
                    }, context)
            }
        }
    }
}
