/// Memory of one step: taken in order, given back all at once or down to a mark.
///
/// The first steps may need more than there is: then another chunk is added, and the next step
/// begins with one chunk of the whole size. From then on a step allocates nothing.
@safe
struct StepArena {
    private var chunks: [OwnedBuffer] = []
    /// Bytes of all chunks before the current one.
    private var before = 0
    private var used = 0
    private var current = -1
    private var peak = 0

    private static let chunkBytesMin = 4 << 20

    /// The state for ``release(to:)``.
    var offset: Int { before + used }

    mutating func reset() throws(BackendError) {
        peak = max(peak, before + used)
        if chunks.count > 1 {
            let total = chunks.reduce(0) { $0 + $1.bytes }
            chunks.removeAll(keepingCapacity: true)
            current = -1
            chunks.append(try OwnedBuffer(bytes: total))
        }
        current = chunks.isEmpty ? -1 : 0
        before = 0
        used = 0
    }

    mutating func release(to offset: Int) {
        precondition(offset <= before + used, "a mark of another step")
        while offset < before {
            current -= 1
            before -= chunks[current].bytes
        }
        used = offset - before
    }

    /// 64-byte aligned; nil when the system has no more.
    mutating func take(_ bytes: Int) -> UnsafeMutableRawPointer? {
        let size = (bytes + 63) & ~63
        if current >= 0, used + size <= chunks[current].bytes {
            defer { used += size }
            return unsafe chunks[current].base + used
        }
        if current >= 0 { before += chunks[current].bytes }
        current += 1
        if current == chunks.count || chunks[current].bytes < size {
            let total = chunks.reduce(0) { $0 + $1.bytes }
            guard let chunk = try? OwnedBuffer(bytes: max(size, total, StepArena.chunkBytesMin))
            else {
                current -= 1
                if current >= 0 { before -= chunks[current].bytes }
                return nil
            }
            chunks.insert(chunk, at: current)
        }
        used = size
        return unsafe chunks[current].base
    }
}
