import AutoGLMCompute
import AutoGLMJSON
import FoundationEssentials

/// What the headers of one or more files say.
package struct WeightFiles: Sendable {
    package var tensors: [CheckpointTensor] = []
    /// What the first file says beside its tensors.
    package var metadata: [String: String] = [:]

    fileprivate mutating func add(_ other: WeightFiles) {
        if tensors.isEmpty { metadata = other.metadata }
        tensors.append(contentsOf: other.tensors)
    }
}

/// Reads the headers of safetensors files; single ones and those split by an index.
///
/// A header is taken only when it describes its file exactly: every byte of data belongs to one
/// tensor, no more and no less, and every size follows from a shape and a type. What is left to
/// go wrong after that is the disk.
/// - SeeAlso: huggingface/safetensors, format description in its README.
package enum Safetensors {
    private static let headerLimit = 100_000_000
    private static let dimensionsLimit = 16

    /// What a directory holds: the shards its index names, or all its files.
    static func weights(inDirectory directory: String) throws(CheckpointError) -> WeightFiles {
        let index = directory + "/model.safetensors.index.json"
        if FileManager.default.fileExists(atPath: index) {
            return try weights(index: index, directory: directory)
        }
        var names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory)
        } catch {
            throw .unreadable(file: directory, reason: "cannot be listed")
        }
        names = names.filter { $0.hasSuffix(".safetensors") }.sorted()
        // A single file wins over others beside it, such as adapters or a consolidated copy.
        if names.contains("model.safetensors") { names = ["model.safetensors"] }
        guard !names.isEmpty else {
            throw .notFound(
                path: directory, remedy: "expected model.safetensors or its shards in it")
        }
        var weights = WeightFiles()
        for name in names {
            weights.add(try self.weights(of: CheckpointFile(path: directory + "/" + name)))
        }
        return weights
    }

    private static func weights(index: String, directory: String)
        throws(CheckpointError) -> WeightFiles
    {
        let file = try CheckpointFile(path: index)
        let bytes = try file.bytes(at: 0, count: file.byteCount, limit: headerLimit)
        let json: JSONValue
        do { json = try JSONValue.parse(bytes, options: .checkpointFile) } catch {
            throw .malformed(
                file: index, offset: error.offset, field: "JSON", reason: error.explanation)
        }
        guard let map = json["weight_map"]?.dictionary else {
            throw .malformed(
                file: index, offset: nil, field: "weight_map", reason: "no such object")
        }
        var shards: [String: Set<String>] = [:]
        for (tensor, value) in map {
            // A shard lies beside its index: a path must not lead the reader elsewhere.
            guard case .string(let shard) = value, shard.hasSuffix(".safetensors"),
                !shard.contains("/"), !shard.contains("\0")
            else {
                throw .malformed(
                    file: index, offset: nil, field: "weight_map of \(excerpt(tensor))",
                    reason: "not the name of a safetensors file in this directory")
            }
            shards[shard, default: []].insert(tensor)
        }
        var weights = WeightFiles()
        for (shard, wanted) in shards.sorted(by: { $0.key < $1.key }) {
            var found = try self.weights(of: CheckpointFile(path: directory + "/" + shard))
            found.tensors.removeAll { !wanted.contains($0.name) }
            if found.tensors.count != wanted.count {
                let missing = wanted.subtracting(found.tensors.map(\.name)).min() ?? ""
                throw .missingTensor(
                    name: missing, checkpoint: directory + "/" + shard,
                    remedy: "the index says it is there; download the file again")
            }
            weights.add(found)
        }
        return weights
    }

    /// Reads and validates the header of one file.
    package static func weights(of file: CheckpointFile) throws(CheckpointError) -> WeightFiles {
        var (entries, metadata, dataStart) = try header(of: file)
        return WeightFiles(
            tensors: try validate(&entries, in: file, dataStart: dataStart), metadata: metadata)
    }

    private static func header(of file: CheckpointFile)
        throws(CheckpointError) -> (entries: [Entry], metadata: [String: String], dataStart: Int)
    {
        guard file.byteCount >= 8 else {
            throw .malformed(
                file: file.path, offset: 0, field: "header length",
                reason: "the file has only \(file.byteCount) bytes")
        }
        let length = try file.bytes(at: 0, count: 8).reversed()
            .reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= UInt64(headerLimit), length <= UInt64(file.byteCount - 8) else {
            throw .malformed(
                file: file.path, offset: 0, field: "header length",
                reason: "\(formatBytes(Int(clamping: length))); the file has "
                    + "\(formatBytes(file.byteCount)), the limit is \(formatBytes(headerLimit))")
        }
        let header = try file.bytes(at: 8, count: Int(length))
        do {
            let (entries, metadata) = try parse(header)
            return (entries, metadata, 8 + Int(length))
        } catch {
            throw .malformed(
                file: file.path, offset: 8 + error.offset, field: "header",
                reason: error.explanation)
        }
    }

    private struct Entry {
        var name: String
        var type: DataType?
        var shape: [Int]?
        var begin = 0
        var end = -1
    }

    private static func parse(_ header: [UInt8])
        throws(JSONError) -> (entries: [Entry], metadata: [String: String])
    {
        var cursor = JSONCursor(header)
        var entries: [Entry] = []
        var names: Set<String> = []
        var metadata: [String: String] = [:]
        try cursor.readMembers { (cursor, name) throws(JSONError) in
            guard names.insert(name).inserted else {
                throw cursor.error(.unusable("\(excerpt(name)) is there twice"))
            }
            if name == "__metadata__" {
                try cursor.readMembers { (cursor, key) throws(JSONError) in
                    metadata[key] = try cursor.readString()
                }
            } else {
                entries.append(try entry(name, &cursor))
            }
        }
        try cursor.expectEnd()
        return (entries, metadata)
    }

    private static func entry(_ name: String, _ cursor: inout JSONCursor)
        throws(JSONError) -> Entry
    {
        var entry = Entry(name: name)
        try cursor.readMembers { (cursor, key) throws(JSONError) in
            switch key {
            case "dtype":
                let type = try cursor.readString()
                guard let known = DataType(rawValue: type) else {
                    throw cursor.error(
                        .unusable("type \(excerpt(type)) of \(excerpt(name)) is unknown"))
                }
                entry.type = known
            case "shape": entry.shape = try counts(&cursor, limit: dimensionsLimit)
            case "data_offsets":
                let offsets = try counts(&cursor, limit: 2)
                guard offsets.count == 2, offsets[0] <= offsets[1] else {
                    throw cursor.error(
                        .unusable(
                            "data_offsets of \(excerpt(name)) are not a start and an end after it"))
                }
                (entry.begin, entry.end) = (offsets[0], offsets[1])
            default: _ = try cursor.readValue()
            }
        }
        guard entry.type != nil, entry.shape != nil, entry.end >= 0 else {
            throw cursor.error(
                .unusable("\(excerpt(name)) lacks dtype, shape or data_offsets"))
        }
        return entry
    }

    /// Whole numbers from 0, as counts and offsets must be.
    private static func counts(_ cursor: inout JSONCursor, limit: Int)
        throws(JSONError) -> [Int]
    {
        var counts: [Int] = []
        try cursor.readElements { (cursor) throws(JSONError) in
            guard counts.count < limit else {
                throw cursor.error(.unusable("more than \(limit) numbers"))
            }
            let count = try cursor.readInt()
            guard count >= 0 else {
                throw cursor.error(.unusable("a whole number from 0 to \(Int.max) expected"))
            }
            counts.append(Int(count))
        }
        return counts
    }

    /// Checks that the tensors cover the data exactly: no hole, no overlap, nothing left over.
    private static func validate(
        _ entries: inout [Entry], in file: CheckpointFile, dataStart: Int
    ) throws(CheckpointError) -> [CheckpointTensor] {
        entries.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
        let dataBytes = file.byteCount - dataStart
        var tensors: [CheckpointTensor] = []
        tensors.reserveCapacity(entries.count)
        var end = 0
        for entry in entries {
            guard let type = entry.type, let shape = entry.shape else { continue }
            func refuse(_ field: String, _ reason: String) -> CheckpointError {
                let (start, overflow) = dataStart.addingReportingOverflow(entry.begin)
                return .malformed(
                    file: file.path, offset: overflow ? nil : start,
                    field: "\(field) of tensor \(excerpt(entry.name))", reason: reason)
            }
            guard entry.begin == end else {
                throw refuse(
                    "data_offsets", "starts at \(entry.begin), the one before ends at \(end)")
            }
            guard entry.end <= dataBytes else {
                throw refuse("data_offsets", "ends at \(entry.end) of \(dataBytes) bytes of data")
            }
            guard let bytes = type.bytes(of: shape) else {
                throw refuse("shape", "\(excerpt("\(shape)")) has more bytes than can be counted")
            }
            guard bytes == entry.end - entry.begin else {
                throw refuse(
                    "shape", "\(excerpt("\(shape)")) needs \(bytes) bytes, "
                        + "data_offsets give \(entry.end - entry.begin)")
            }
            tensors.append(CheckpointTensor(
                name: entry.name, type: type.elements, shape: shape, file: file,
                offset: dataStart + entry.begin, byteCount: bytes))
            end = entry.end
        }
        guard end == dataBytes else {
            throw .malformed(
                file: file.path, offset: dataStart + end, field: "data",
                reason: "\(dataBytes - end) bytes that belong to no tensor")
        }
        return tensors
    }
}

/// The types a safetensors file may name.
private enum DataType: String {
    case bool = "BOOL", u8 = "U8", i8 = "I8", u16 = "U16", i16 = "I16", u32 = "U32", i32 = "I32"
    case u64 = "U64", i64 = "I64", f16 = "F16", bf16 = "BF16", f32 = "F32", f64 = "F64"
    case c64 = "C64", f4 = "F4", f6e2m3 = "F6_E2M3", f6e3m2 = "F6_E3M2"
    case f8e5m2 = "F8_E5M2", f8e4m3 = "F8_E4M3", f8e8m0 = "F8_E8M0"

    var bits: Int {
        switch self {
        case .f4: 4
        case .f6e2m3, .f6e3m2: 6
        case .bool, .u8, .i8, .f8e5m2, .f8e4m3, .f8e8m0: 8
        case .u16, .i16, .f16, .bf16: 16
        case .u32, .i32, .f32: 32
        case .u64, .i64, .f64, .c64: 64
        }
    }

    var elements: ElementType {
        switch self {
        case .f32: .stored(.f32)
        case .f16: .stored(.f16)
        case .bf16: .stored(.bf16)
        case .i8, .i16, .i32, .i64: .integer(bits: bits, signed: true)
        case .u8, .u16, .u32, .u64: .integer(bits: bits, signed: false)
        default: .other(rawValue)
        }
    }

    /// nil where the product overflows or is not a whole number of bytes. A zero dimension does
    /// not excuse an overflow of the others, as in the reference.
    func bytes(of shape: [Int]) -> Int? {
        var total = bits
        for dimension in shape {
            let (product, overflow) = total.multipliedReportingOverflow(by: max(dimension, 1))
            if overflow { return nil }
            total = product
        }
        if shape.contains(0) { return 0 }
        return total % 8 == 0 ? total / 8 : nil
    }
}
