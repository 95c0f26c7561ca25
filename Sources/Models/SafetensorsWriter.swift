import AutoGLMJSON
import FoundationEssentials

#if canImport(Musl)
import Musl
#else
import Glibc
#endif

/// Writes one safetensors file from front to back, tensor by tensor, holding none of them.
///
/// The header comes first in the file but is known last, so room is left for it; the format lets
/// a header end in spaces.
final class SafetensorsWriter {
    private struct Entry {
        var name: String
        var type: String
        var shape: [Int]
        var bytes: Range<Int>
    }
    let path: String
    private let descriptor: Int32
    private let dataStart: Int
    private var entries: [Entry] = []
    private var offset = 0

    /// - Parameter headerBytes: at least as many as the header will need.
    init(path: String, headerBytes: Int) throws(CheckpointError) {
        self.path = path
        descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        // Pages of the file start where pages of the data do.
        dataStart = (8 + headerBytes + 4095) & ~4095
        guard descriptor >= 0 else { throw failure(errno) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
    }

    private func failure(_ code: Int32) -> CheckpointError { unwritable(path, code) }

    /// Starts a tensor; ``write(_:)`` must follow until it is whole.
    func begin(_ name: String, type: String, shape: [Int], byteCount: Int) {
        precondition(entries.last.map { $0.bytes.upperBound == offset } ?? true, "a tensor cut")
        entries.append(
            Entry(name: name, type: type, shape: shape, bytes: offset..<offset + byteCount))
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        precondition(offset + bytes.count <= entries.last?.bytes.upperBound ?? 0, "too many bytes")
        try unsafe put(bytes, at: dataStart + offset)
        offset += bytes.count
    }

    func write(_ floats: [Float]) throws(CheckpointError) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(floats.count * 4)
        for value in floats {
            for shift in stride(from: 0, to: 32, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> UInt32(shift)))
            }
        }
        try put(bytes: bytes, at: dataStart + offset)
        offset += bytes.count
    }

    /// Copies bytes of another file, a piece at a time.
    func copy(_ tensor: CheckpointTensor) throws(CheckpointError) {
        var done = 0
        while done < tensor.byteCount {
            let count = min(4 << 20, tensor.byteCount - done)
            let piece = try tensor.file.bytes(at: tensor.offset + done, count: count)
            try put(bytes: piece, at: dataStart + offset)
            offset += count
            done += count
        }
    }

    /// Writes the header and brings everything to the disk.
    /// - Returns: the size of the file.
    func finish(metadata: [(key: String, value: String)]) throws(CheckpointError) -> Int {
        precondition(entries.last.map { $0.bytes.upperBound == offset } ?? true, "a tensor cut")
        var options = JSONWriteOptions.compact
        options.escapes = JSONWriteOptions.Escapes(letters: [], coversDelete: false)
        var json = JSONWriter(options)
        json.beginObject()
        json.key("__metadata__")
        json.beginObject()
        for (key, value) in metadata {
            json.key(key)
            json.string(value)
        }
        json.endObject()
        for entry in entries {
            json.key(entry.name)
            json.beginObject()
            json.key("dtype")
            json.string(entry.type)
            json.key("shape")
            json.beginArray()
            for size in entry.shape { json.int(size) }
            json.endArray()
            json.key("data_offsets")
            json.beginArray()
            json.int(entry.bytes.lowerBound)
            json.int(entry.bytes.upperBound)
            json.endArray()
            json.endObject()
        }
        json.endObject()
        var header = json.bytes
        guard header.count <= dataStart - 8 else {
            throw .unsupported(
                what: "a header of \(header.count) bytes", file: path,
                remedy: "\(dataStart - 8) were set aside")
        }
        header += [UInt8](repeating: 0x20, count: dataStart - 8 - header.count)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        try put(bytes: length + header, at: 0)
        guard fsync(descriptor) == 0 else { throw failure(errno) }
        return dataStart + offset
    }

    private func put(bytes: [UInt8], at start: Int) throws(CheckpointError) {
        let code = unsafe bytes.withUnsafeBytes { unsafe pour($0, at: start) }
        if code != 0 { throw failure(code) }
    }

    private func put(_ bytes: UnsafeRawBufferPointer, at start: Int) throws(CheckpointError) {
        let code = unsafe pour(bytes, at: start)
        if code != 0 { throw failure(code) }
    }

    private func pour(_ bytes: UnsafeRawBufferPointer, at start: Int) -> Int32 {
        unsafe AutoGLMModels.pour(bytes, into: descriptor, at: start)
    }
}
