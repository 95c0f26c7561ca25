import AutoGLMCompute

/// Reads the head of a GGUF file piece by piece, never past the end and never more than asked.
struct GGUFCursor {
    let file: CheckpointFile
    private(set) var offset = 0
    private var window: [UInt8] = []
    private var windowStart = 0
    private static let windowBytes = 1 << 20
    /// A head of this size is a mistake or an attack: real ones have 5 to 15 MB.
    private static let headLimit = 1 << 30

    init(_ file: CheckpointFile) { self.file = file }

    var bytesLeft: Int { min(file.byteCount, Self.headLimit) - offset }

    func failure(_ field: String, _ reason: String) -> CheckpointError {
        .malformed(file: file.path, offset: offset, field: field, reason: reason)
    }

    private mutating func need(_ count: Int, _ field: String) throws(CheckpointError) {
        guard count <= bytesLeft else {
            throw failure(field, "the file ends \(count - bytesLeft) bytes too early")
        }
        let end = windowStart + window.count
        if offset >= windowStart, offset + count <= end { return }
        window = try file.bytes(
            at: offset, count: min(max(count, Self.windowBytes), file.byteCount - offset))
        windowStart = offset
    }

    mutating func integer<T: FixedWidthInteger>(_ type: T.Type, _ field: String)
        throws(CheckpointError) -> T
    {
        let size = T.bitWidth / 8
        try need(size, field)
        var value: T = 0
        for index in (0..<size).reversed() {
            value = (size == 1 ? 0 : value << 8)
                | T(truncatingIfNeeded: window[offset - windowStart + index])
        }
        offset += size
        return value
    }

    /// A count of things that take at least `elementBytes` each in what is left of the file.
    mutating func count(_ field: String, elementBytes: Int) throws(CheckpointError) -> Int {
        let start = offset
        let value = try integer(UInt64.self, field)
        guard value <= UInt64(max(bytesLeft, 0) / elementBytes) else {
            offset = start
            throw failure(field, "\(value), but only \(bytesLeft) bytes follow")
        }
        return Int(value)
    }

    /// - Parameter isName: names must be UTF-8; other texts are mended.
    mutating func string(_ field: String, limit: Int = .max, isName: Bool = false)
        throws(CheckpointError) -> String
    {
        let count = try count("length of \(field)", elementBytes: 1)
        guard count <= limit else {
            throw failure(
                "length of \(field)", "\(formatBytes(count)), the limit is \(formatBytes(limit))")
        }
        try need(count, field)
        let start = offset - windowStart
        let bytes = window[start..<start + count]
        if isName {
            guard let text = String(validating: bytes, as: UTF8.self), !text.isEmpty else {
                throw failure(field, "empty or not UTF-8")
            }
            offset += count
            return text
        }
        offset += count
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A value of GGUF metadata.
package enum GGUFValue: Sendable, Equatable {
    case unsigned(UInt64)
    case signed(Int64)
    case float(Double)
    case bool(Bool)
    case string(String)
    case array(GGUFArray)
}

package enum GGUFArray: Sendable, Equatable {
    /// Unsigned 64-bit values above `Int64.max` are refused on reading.
    case integers([Int64])
    case floats([Float])
    case bools([Bool])
    case strings([String])
    case arrays([GGUFArray])
}

extension GGUFCursor {
    /// The type codes of GGUF values and their sizes.
    private enum Code: UInt32 {
        case u8, i8, u16, i16, u32, i32, f32, bool, string, array, u64, i64, f64

        /// The fewest bytes one value takes.
        var bytes: Int {
            switch self {
            case .u8, .i8, .bool: 1
            case .u16, .i16: 2
            case .u32, .i32, .f32: 4
            case .u64, .i64, .f64, .string: 8
            case .array: 12
            }
        }
    }

    private mutating func code(_ field: String) throws(CheckpointError) -> Code {
        let start = offset
        let value = try integer(UInt32.self, "type of \(field)")
        guard let code = Code(rawValue: value) else {
            offset = start
            throw failure("type of \(field)", "\(value) is unknown")
        }
        return code
    }

    mutating func value(_ field: String) throws(CheckpointError) -> GGUFValue {
        let code = try code(field)
        switch code {
        case .u8: return .unsigned(UInt64(try integer(UInt8.self, field)))
        case .u16: return .unsigned(UInt64(try integer(UInt16.self, field)))
        case .u32: return .unsigned(UInt64(try integer(UInt32.self, field)))
        case .u64: return .unsigned(try integer(UInt64.self, field))
        case .i8, .i16, .i32, .i64: return .signed(try signed(code, field))
        case .f32: return .float(Double(Float(bitPattern: try integer(UInt32.self, field))))
        case .f64: return .float(Double(bitPattern: try integer(UInt64.self, field)))
        case .bool: return .bool(try bool(field))
        case .string: return .string(try string(field))
        case .array: return .array(try array(field, depth: 0))
        }
    }

    private mutating func signed(_ code: Code, _ field: String) throws(CheckpointError) -> Int64 {
        switch code {
        case .u8: return Int64(try integer(UInt8.self, field))
        case .i8: return Int64(try integer(Int8.self, field))
        case .u16: return Int64(try integer(UInt16.self, field))
        case .i16: return Int64(try integer(Int16.self, field))
        case .u32: return Int64(try integer(UInt32.self, field))
        case .i32: return Int64(try integer(Int32.self, field))
        case .i64: return try integer(Int64.self, field)
        default:
            let value = try integer(UInt64.self, field)
            guard let value = Int64(exactly: value) else {
                throw failure(field, "\(value) is above \(Int64.max)")
            }
            return value
        }
    }

    private mutating func bool(_ field: String) throws(CheckpointError) -> Bool {
        let value = try integer(UInt8.self, field)
        guard value <= 1 else { throw failure(field, "\(value) is neither true nor false") }
        return value == 1
    }

    private mutating func array(_ field: String, depth: Int) throws(CheckpointError) -> GGUFArray {
        guard depth < 4 else { throw failure(field, "lists nested deeper than 4") }
        let code = try code(field)
        let count = try count("count of \(field)", elementBytes: code.bytes)
        switch code {
        case .f32, .f64:
            var values: [Float] = []
            values.reserveCapacity(count)
            for _ in 0..<count {
                values.append(
                    code == .f32
                        ? Float(bitPattern: try integer(UInt32.self, field))
                        : Float(Double(bitPattern: try integer(UInt64.self, field))))
            }
            return .floats(values)
        case .bool:
            var values: [Bool] = []
            for _ in 0..<count { values.append(try bool(field)) }
            return .bools(values)
        case .string:
            var values: [String] = []
            values.reserveCapacity(count)
            for _ in 0..<count { values.append(try string(field)) }
            return .strings(values)
        case .array:
            var values: [GGUFArray] = []
            for _ in 0..<count { values.append(try array(field, depth: depth + 1)) }
            return .arrays(values)
        default:
            var values: [Int64] = []
            values.reserveCapacity(count)
            for _ in 0..<count { values.append(try signed(code, field)) }
            return .integers(values)
        }
    }
}
