import CAutoGLMKernels
import Glibc

/// Zeroed memory of its own, in huge pages where the system grants them.
///
/// Weights, KV blocks and step memory live here rather than in mapped files: a file truncated
/// under a running server must not kill it. Pages become resident when they are first touched.
@safe
final class OwnedBuffer {
    let bytes: Int
    let base: UnsafeMutableRawPointer

    /// - Throws: ``BackendError/outOfMemory(requestedBytes:)``
    init(bytes: Int) throws(BackendError) {
        guard bytes >= 0, bytes < Int.max / 2 else {
            throw .outOfMemory(requestedBytes: bytes)
        }
        let rounded = max(4096, (bytes + 4095) & ~4095)
        let memory = unsafe mmap(
            nil, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let memory = unsafe memory, unsafe memory != MAP_FAILED else {
            throw .outOfMemory(requestedBytes: bytes)
        }
        unsafe base = memory
        self.bytes = rounded
        if rounded >= 4 << 20 { unsafe _ = madvise(memory, rounded, MADV_HUGEPAGE) }
    }

    /// Writes zeros; whole pages are given back to the system and read as zeros.
    func erase(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes)
        let page = 4096
        let first = (range.lowerBound + page - 1) / page * page
        let last = range.upperBound / page * page
        guard first < last, unsafe madvise(base + first, last - first, MADV_DONTNEED) == 0 else {
            unsafe _ = memset(base + range.lowerBound, 0, range.count)
            return
        }
        unsafe _ = memset(base + range.lowerBound, 0, first - range.lowerBound)
        unsafe _ = memset(base + last, 0, range.upperBound - last)
    }

    deinit { unsafe _ = munmap(base, bytes) }

    /// Gives the pages back to the system; they read as zeros from now on. Whoever is still at work
    /// on them, on whatever thread, computes nonsense, but touches nothing else.
    func discard() { erase(0..<bytes) }

    func floats(at offset: Int = 0) -> UnsafeMutablePointer<Float> {
        unsafe (base + offset).assumingMemoryBound(to: Float.self)
    }
}
