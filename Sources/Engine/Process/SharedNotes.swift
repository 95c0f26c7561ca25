import AutoGLMCompute
import AutoGLMScheduling
import Glibc

/// Memory that the two processes share: which sequences the engine is computing. It is there to be
/// read when the engine has died in the middle of that, at a fraction of the price of a message.
///
/// Written and read as a file is, so that neither can disturb the other with what it writes.
final class SharedNotes: Sendable {
    let descriptor: Int32
    private static let sequencesMax = 8_192

    /// Takes over a descriptor.
    init(_ descriptor: Int32) { self.descriptor = descriptor }

    convenience init?() {
        guard let descriptor = ProcessTies.sharedMemory() else { return nil }
        self.init(descriptor)
    }

    deinit { _ = close(descriptor) }

    func write(_ ids: [SequenceID]) {
        var coder = WireCoder()
        var ids = Array(ids.prefix(Self.sequencesMax))
        try? coder.list(&ids, max: Self.sequencesMax, "notes", of: SequenceID(0), wireValue)
        _ = unsafe coder.bytes.withUnsafeBytes {
            unsafe pwrite(descriptor, $0.baseAddress, $0.count, 0)
        }
    }

    /// What was written last; none where that makes no sense.
    func read() -> [SequenceID] {
        var bytes = [UInt8](repeating: 0, count: 4 + 8 * Self.sequencesMax)
        let count = unsafe bytes.withUnsafeMutableBytes {
            unsafe pread(descriptor, $0.baseAddress, $0.count, 0)
        }
        var coder = WireCoder(reading: bytes, 0..<max(count, 0))
        var ids: [SequenceID] = []
        try? coder.list(&ids, max: Self.sequencesMax, "notes", of: SequenceID(0), wireValue)
        return ids
    }
}
