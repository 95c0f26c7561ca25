import AutoGLMCompute
import AutoGLMJSON
import FoundationEssentials

/// A GGUF file, version 2 or 3, or all parts of a split one: metadata and where the tensors lie.
///
/// Everything is checked before anything is built: counts against the bytes that are left, sizes
/// with checked arithmetic, extents against the file and against each other.
/// - SeeAlso: ggml-org/ggml, docs/gguf.md.
package struct GGUF: Sendable {
    package let path: String
    package private(set) var metadata: [String: GGUFValue]
    package private(set) var tensors: [CheckpointTensor]

    package init(path: String) throws(CheckpointError) {
        let part = try Part(CheckpointFile(path: path))
        guard let count = try part.integer("split.count"), count > 1 else {
            (self.path, metadata, tensors) = (path, part.metadata, part.tensors)
            return
        }
        self = try GGUF(parts: count, first: part)
    }

    /// Joins the parts of a split file, whichever of them was named.
    private init(parts count: Int, first named: Part) throws(CheckpointError) {
        let path = named.file.path
        guard count <= 9_999, let name = PartName(path), name.count == count else {
            throw .malformed(
                file: path, offset: nil, field: "split.count",
                reason: "\(count) parts, but the file is not named …-00001-of-\(count).gguf")
        }
        self.path = path
        metadata = [:]
        tensors = []
        for index in 1...count {
            let part =
                index == name.index ? named : try Part(CheckpointFile(path: name.path(of: index)))
            guard try part.integer("split.no") == index - 1,
                try part.integer("split.count") == count
            else {
                throw .malformed(
                    file: part.file.path, offset: nil, field: "split.no",
                    reason: "not part \(index) of \(count)")
            }
            if index == 1 { metadata = part.metadata }
            tensors.append(contentsOf: part.tensors)
        }
        if let total = try named.integer("split.tensors.count"), total != tensors.count {
            throw .malformed(
                file: path, offset: nil, field: "split.tensors.count",
                reason: "\(total), but the parts hold \(tensors.count) tensors")
        }
    }

    /// Whether two file names are parts of one split file.
    static func isPart(_ name: String, of other: String) -> Bool {
        guard let a = PartName(name), let b = PartName(other) else { return false }
        return a.prefix == b.prefix && a.count == b.count
    }

    /// `model-00002-of-00005.gguf`
    private struct PartName {
        let prefix: String
        let index: Int
        let count: Int

        init?(_ path: String) {
            let words = path.split(separator: "-", omittingEmptySubsequences: false)
            guard words.count >= 4, words[words.count - 2] == "of",
                words[words.count - 1].hasSuffix(".gguf"),
                let index = Int(words[words.count - 3]),
                let count = Int(words[words.count - 1].dropLast(5)), (1...count).contains(index)
            else { return nil }
            self.index = index
            self.count = count
            prefix = words.dropLast(3).joined(separator: "-")
        }

        func path(of index: Int) -> String {
            func digits(_ number: Int) -> String {
                let text = String(number)
                return String(repeating: "0", count: max(0, 5 - text.count)) + text
            }
            return "\(prefix)-\(digits(index))-of-\(digits(count)).gguf"
        }
    }
}

extension GGUF {
    /// One file.
    struct Part {
        let file: CheckpointFile
        private(set) var metadata: [String: GGUFValue] = [:]
        private(set) var tensors: [CheckpointTensor] = []

        init(_ file: CheckpointFile) throws(CheckpointError) {
            self.file = file
            var cursor = GGUFCursor(file)
            guard try cursor.integer(UInt32.self, "magic") == 0x4655_4747 else {
                throw .malformed(
                    file: file.path, offset: 0, field: "magic", reason: "this is no GGUF file")
            }
            let version = try cursor.integer(UInt32.self, "version")
            guard (2...3).contains(version) else {
                throw .malformed(
                    file: file.path, offset: 4, field: "version",
                    reason: version.byteSwapped < 16
                        ? "the file is big-endian, only little-endian files are read"
                        : "\(version), but 2 and 3 are known")
            }
            // A tensor takes at least 33 bytes of the head, a value 14.
            let tensorCount = try cursor.count("tensor count", elementBytes: 33)
            let valueCount = try cursor.count("metadata count", elementBytes: 14)
            for _ in 0..<valueCount {
                let key = try cursor.string("metadata key", limit: 65_535, isName: true)
                let value = try cursor.value(excerpt(key))
                guard metadata.updateValue(value, forKey: key) == nil else {
                    throw cursor.failure(excerpt(key), "is there twice")
                }
            }
            try readTensors(tensorCount, &cursor)
        }

        private mutating func readTensors(_ count: Int, _ cursor: inout GGUFCursor)
            throws(CheckpointError)
        {
            let alignment = try integer("general.alignment") ?? 32
            guard alignment >= 8, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
                throw cursor.failure(
                    "general.alignment", "\(alignment) is not a power of two from 8 to 1048576")
            }
            var infos: [TensorInfo] = []
            var names: Set<String> = []
            for _ in 0..<count {
                let info = try TensorInfo(&cursor)
                guard names.insert(info.name).inserted else {
                    throw cursor.failure("tensor \(excerpt(info.name))", "is there twice")
                }
                guard info.offset % alignment == 0 else {
                    throw cursor.failure(
                        "offset of tensor \(excerpt(info.name))",
                        "\(info.offset) is not a multiple of \(alignment)")
                }
                infos.append(info)
            }
            let dataStart = (cursor.offset + alignment - 1) / alignment * alignment
            let dataBytes = max(0, file.byteCount - dataStart)
            var end = 0
            for info in infos.sorted(by: { $0.offset < $1.offset }) {
                let field = "data of tensor \(excerpt(info.name))"
                guard info.offset >= end else {
                    throw cursor.failure(field, "overlaps the one before")
                }
                let (last, overflow) = info.offset.addingReportingOverflow(info.byteCount)
                guard !overflow, last <= dataBytes else {
                    throw cursor.failure(
                        field, "\(info.byteCount) bytes at \(info.offset), "
                            + "the file has \(dataBytes) bytes of data")
                }
                end = last
                tensors.append(CheckpointTensor(
                    name: info.name, type: info.type, shape: info.shape, file: file,
                    offset: dataStart + info.offset, byteCount: info.byteCount))
            }
        }

        func integer(_ key: String) throws(CheckpointError) -> Int? {
            try GGUFMetadata(file: file.path, values: metadata).integer(key)
        }
    }

    private struct TensorInfo {
        let name: String
        let type: ElementType
        let shape: [Int]
        let offset: Int
        let byteCount: Int

        init(_ cursor: inout GGUFCursor) throws(CheckpointError) {
            name = try cursor.string("tensor name", limit: 255, isName: true)
            let field = "tensor \(excerpt(name))"
            let dimensions = try cursor.integer(UInt32.self, "dimensions of \(field)")
            guard (1...4).contains(dimensions) else {
                throw cursor.failure("dimensions of \(field)", "\(dimensions), 1 to 4 are known")
            }
            var shape: [Int] = []
            var elements = 1
            for _ in 0..<dimensions {
                let size = try cursor.integer(UInt64.self, "shape of \(field)")
                let (product, overflow) = elements.multipliedReportingOverflow(
                    by: Int(clamping: size))
                guard size > 0, size < 1 << 40, !overflow, product < 1 << 50 else {
                    throw cursor.failure("shape of \(field)", "dimension \(size) is impossible")
                }
                // The file lists the contiguous dimension first.
                shape.insert(Int(size), at: 0)
                elements = product
            }
            self.shape = shape
            let code = try cursor.integer(UInt32.self, "type of \(field)")
            guard let known = GGMLType.all[code] else {
                throw cursor.failure("type of \(field)", "type \(code) is unknown or not supported")
            }
            type = known.type
            guard let columns = shape.last, columns % known.block.values == 0 else {
                throw cursor.failure(
                    "shape of \(field)", "rows are not multiples of \(known.block.values) values")
            }
            byteCount = elements / known.block.values * known.block.bytes
            let offset = try cursor.integer(UInt64.self, "offset of \(field)")
            guard let offset = Int(exactly: offset) else {
                throw cursor.failure("offset of \(field)", "\(offset) is outside the file")
            }
            self.offset = offset
        }
    }
}

/// What a type number of ggml stands for.
private struct GGMLType {
    let type: ElementType
    let block: (values: Int, bytes: Int)

    private init(_ type: ElementType, _ block: (values: Int, bytes: Int)) {
        self.type = type
        self.block = block
    }

    static let all: [UInt32: GGMLType] = {
        var types: [UInt32: GGMLType] = [:]
        for type in ForeignType.all { types[type.ggml] = GGMLType(.other(type.name), type.block) }
        for (number, bits) in [(24, 8), (25, 16), (26, 32), (27, 64)] as [(UInt32, Int)] {
            types[number] = GGMLType(.integer(bits: bits, signed: true), (1, bits / 8))
        }
        for type in StoredType.allCases { types[type.ggml] = GGMLType(.stored(type), type.block) }
        return types
    }()
}
