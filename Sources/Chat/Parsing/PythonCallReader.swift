import AutoGLMJSON
import OrderedCollections

/// Reads calls written as Python, `f(a="x", b=[1, None])`: keyword arguments with literal values.
struct PythonCallReader {
    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        skipSpace()
    }

    var isAtEnd: Bool { position >= bytes.count }

    private var current: UInt8 { position < bytes.count ? bytes[position] : 0 }

    private mutating func skipSpace() {
        while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) {
            position += 1
        }
    }

    private mutating func skip(_ byte: UInt8) -> Bool {
        skipSpace()
        guard current == byte else { return false }
        position += 1
        return true
    }

    private mutating func readName() -> String? {
        skipSpace()
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            let isPart =
                byte >= 0x80 || byte == 0x5F || byte == 0x2E || byte == 0x2D
                || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A) || (byte >= 0x30 && byte <= 0x39)
            if !isPart { break }
            position += 1
        }
        return start == position
            ? nil : String(decoding: bytes[start..<position], as: UTF8.self)
    }

    /// One call; nil where the text is none. Commas and semicolons after it are passed.
    mutating func readCall() -> ParsedCall? {
        guard let name = readName(), skip(0x28) else { return nil }
        var arguments: OrderedDictionary<String, JSONValue> = [:]
        while !skip(0x29) {
            guard let key = readName(), skip(0x3D), let value = readValue() else { return nil }
            arguments[key] = value
            if skip(0x2C) { continue }
            guard skip(0x29) else { return nil }
            break
        }
        while skip(0x2C) || skip(0x3B) {}
        skipSpace()
        let json = JSONValue.object(arguments).serialized(.readable)
        return ParsedCall(name: name, arguments: json)
    }

    private mutating func readValue() -> JSONValue? {
        skipSpace()
        depth += 1
        defer { depth -= 1 }
        guard depth <= 64 else { return nil }
        switch current {
        case 0x22, 0x27: return readString().map { .string($0) }
        case 0x5B: return readList(closedBy: 0x5D)
        case 0x28: return readList(closedBy: 0x29)
        case 0x7B: return readDict()
        default: return readWord()
        }
    }

    private mutating func readWord() -> JSONValue? {
        let start = position
        let ends: [UInt8] = [0x2C, 0x29, 0x5D, 0x7D, 0x3A, 0x20, 0x0A]
        while position < bytes.count, !ends.contains(current) {
            position += 1
        }
        let word = String(decoding: bytes[start..<position], as: UTF8.self)
        switch word {
        case "True", "true": return .bool(true)
        case "False", "false": return .bool(false)
        case "None", "null": return .null
        default:
            let digits = word.filter { $0 != "_" }
            return Int64(digits).map { .int($0) } ?? Double(digits).map { .double($0) }
        }
    }

    private mutating func readList(closedBy close: UInt8) -> JSONValue? {
        position += 1
        var items: [JSONValue] = []
        while !skip(close) {
            guard let value = readValue() else { return nil }
            items.append(value)
            if skip(0x2C) { continue }
            guard skip(close) else { return nil }
            break
        }
        return .array(items)
    }

    private mutating func readDict() -> JSONValue? {
        position += 1
        var members: OrderedDictionary<String, JSONValue> = [:]
        while !skip(0x7D) {
            guard case .string(let key)? = readValue(), skip(0x3A), let value = readValue() else {
                return nil
            }
            members[key] = value
            if skip(0x2C) { continue }
            guard skip(0x7D) else { return nil }
            break
        }
        return .object(members)
    }

    private mutating func readString() -> String? {
        let quote = current
        let isTriple =
            position + 2 < bytes.count && bytes[position + 1] == quote
            && bytes[position + 2] == quote
        let width = isTriple ? 3 : 1
        position += width
        let start = position
        while position < bytes.count {
            if current == 0x5C {
                position += 2
            } else if current == quote
                && (!isTriple || bytes[position...].starts(with: [quote, quote, quote]))
            {
                let body = Array(bytes[start..<position])
                position += width
                return PythonEscapes.unescape(body)
            } else {
                position += 1
            }
        }
        return nil
    }
}

/// Escapes of Python's string literals.
enum PythonEscapes {
    private static let plain: [UInt8: UInt8] = [
        UInt8(ascii: "n"): 0x0A, UInt8(ascii: "t"): 0x09, UInt8(ascii: "r"): 0x0D,
        UInt8(ascii: "a"): 0x07, UInt8(ascii: "b"): 0x08, UInt8(ascii: "f"): 0x0C,
        UInt8(ascii: "v"): 0x0B, UInt8(ascii: "\\"): 0x5C, 0x22: 0x22, 0x27: 0x27,
    ]

    /// - Returns: nil for half an escape or one of no character.
    static func unescape(_ bytes: [UInt8]) -> String? {
        var result: [UInt8] = []
        var rest = bytes[...]
        while let byte = rest.popFirst() {
            guard byte == 0x5C, let escape = rest.popFirst() else {
                result.append(byte)
                continue
            }
            if let byte = plain[escape] {
                result.append(byte)
            } else if let digits = digits(of: escape) {
                let text = String(decoding: rest.prefix(digits), as: UTF8.self)
                guard let code = UInt32(text, radix: 16),
                    rest.count >= digits, let scalar = Unicode.Scalar(code)
                else { return nil }
                rest.removeFirst(digits)
                result.append(contentsOf: String(scalar).utf8)
            } else if escape != 0x0A {
                // An unknown escape stands for itself, in Python too.
                result.append(contentsOf: [0x5C, escape])
            }
        }
        return String(validating: result, as: UTF8.self)
    }

    private static func digits(of escape: UInt8) -> Int? {
        switch escape {
        case UInt8(ascii: "x"): 2
        case UInt8(ascii: "u"): 4
        case UInt8(ascii: "U"): 8
        default: nil
        }
    }
}
