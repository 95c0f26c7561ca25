import CAutoGLMKernels

/// The machine's own limits, measured: what `doctor` prints and `bench` divides by.
package struct MachineProbe: Sendable {
    /// Bytes per second read from memory with 1, 2, … threads (doubling, then all).
    package var bandwidth: [(threads: Int, bytesPerSecond: Double)]
    /// Operations per second of all threads, a multiplication and an addition being two; 0 where
    /// the processor lacks the instruction.
    package var f32PerSecond: Double
    /// Of the faster way to multiply bf16: dot products, or f32 after widening.
    package var bf16PerSecond: Double
    package var int8PerSecond: Double

    /// Takes half a second, or some seconds where fresh pages are slow to get.
    /// - Parameter bytes: memory to read, well above the last-level cache.
    /// - Throws: ``BackendError/outOfMemory(requestedBytes:)``
    package static func measure(threads: Int? = nil, bytes: Int = 1 << 30) throws(BackendError)
        -> MachineProbe
    {
        let all = try ThreadPool(threads: threads)
        let memory = try writtenMemory(bytes, all)
        var counts: [Int] = []
        var count = 1
        while count < all.threads {
            counts.append(count)
            count *= 2
        }
        counts.append(all.threads)
        var bandwidth: [(threads: Int, bytesPerSecond: Double)] = []
        for count in counts {
            let pool = count == all.threads ? all : try ThreadPool(threads: count)
            let rate = unsafe k_probe_bandwidth(pool.handle, memory.base, memory.bytes, 3)
            bandwidth.append((count, rate))
        }
        let set = InstructionSet.best.kernels
        let f32 = unsafe k_probe_f32(all.handle, set)
        return unsafe MachineProbe(
            bandwidth: bandwidth, f32PerSecond: f32,
            bf16PerSecond: max(f32, k_probe_bf16(all.handle, set)),
            int8PerSecond: k_probe_int8(all.handle, set))
    }

    /// Bytes per second that all threads read from memory.
    /// - Parameter bytes: memory to read. 512 MiB took up to 2 s on a virtual machine whose fresh
    ///   pages are slow to get.
    /// - Throws: ``BackendError/outOfMemory(requestedBytes:)``
    package static func bandwidth(threads: Int?, bytes: Int) throws(BackendError) -> Double {
        let all = try ThreadPool(threads: threads)
        let memory = try writtenMemory(bytes, all)
        return unsafe k_probe_bandwidth(all.handle, memory.base, memory.bytes, 2)
    }

    /// Pages that were never written may all be one page of zeros.
    private static func writtenMemory(_ bytes: Int, _ threads: ThreadPool) throws(BackendError)
        -> OwnedBuffer
    {
        let memory = try OwnedBuffer(bytes: bytes)
        threads.share(memory.bytes >> 20) { range, _ in
            for piece in range {
                unsafe (memory.base + (piece << 20)).initializeMemory(
                    as: UInt8.self, repeating: UInt8(truncatingIfNeeded: piece), count: 1 << 20)
            }
        }
        return memory
    }
}
