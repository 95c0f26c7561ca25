/// A JSON text read from a file of a checkpoint, as a tree.
package enum ConfigValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
    case array([ConfigValue])
    case object([String: ConfigValue])
}

struct JSONFailure: Error {
    let offset: Int
    let reason: String
}

/// Reads JSON from bytes, either as a tree or, for headers with very many entries, token by
/// token without building one.
///
/// Written for the files beside weights: strict about structure, but `NaN` and `Infinity`, which
/// Python writes into config.json, are numbers when `acceptsNonFinite` is set.
struct JSONScanner {
    private let bytes: [UInt8]
    private(set) var position = 0
    private let acceptsNonFinite: Bool
    /// Deeper nesting is refused: a file must not choose how much stack is used.
    private static let depthLimit = 64

    init(_ bytes: [UInt8], acceptsNonFinite: Bool) {
        self.bytes = bytes
        self.acceptsNonFinite = acceptsNonFinite
    }

    /// Parses a whole text.
    static func parse(_ bytes: [UInt8]) throws(JSONFailure) -> ConfigValue {
        var scanner = JSONScanner(bytes, acceptsNonFinite: true)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { scanner.position = 3 }
        let value = try scanner.value()
        try scanner.finish()
        return value
    }

    func failure(_ reason: String) -> JSONFailure {
        JSONFailure(offset: position, reason: reason)
    }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    /// The next byte that is not white space; 0 at the end.
    mutating func peek() -> UInt8 {
        skipSpace()
        return position < bytes.count ? bytes[position] : 0
    }

    mutating func expect(_ character: Unicode.Scalar) throws(JSONFailure) {
        guard peek() == UInt8(ascii: character) else {
            throw failure("'\(character)' expected")
        }
        position += 1
    }

    /// Consumes `character` when it is next.
    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek() == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    mutating func finish() throws(JSONFailure) {
        skipSpace()
        guard position == bytes.count else { throw failure("text after the end of the JSON value") }
    }

    mutating func value(depth: Int = 0) throws(JSONFailure) -> ConfigValue {
        guard depth < Self.depthLimit else {
            throw failure("nested deeper than \(Self.depthLimit)")
        }
        switch peek() {
        case UInt8(ascii: "{"):
            position += 1
            return try object(depth: depth)
        case UInt8(ascii: "["):
            position += 1
            var values: [ConfigValue] = []
            if take("]") { return .array(values) }
            repeat { values.append(try value(depth: depth + 1)) } while take(",")
            try expect("]")
            return .array(values)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "N") where acceptsNonFinite: return try word("NaN", .number(.nan))
        case UInt8(ascii: "I") where acceptsNonFinite:
            return try word("Infinity", .number(.infinity))
        default: return try number()
        }
    }

    private mutating func object(depth: Int) throws(JSONFailure) -> ConfigValue {
        var members: [String: ConfigValue] = [:]
        if take("}") { return .object(members) }
        repeat {
            guard peek() == UInt8(ascii: "\"") else { throw failure("a key expected") }
            let key = try string()
            try expect(":")
            members[key] = try value(depth: depth + 1)
        } while take(",")
        try expect("}")
        return .object(members)
    }

    private mutating func word(_ word: StaticString, _ value: ConfigValue)
        throws(JSONFailure) -> ConfigValue
    {
        for byte in word.description.utf8 {
            guard position < bytes.count, bytes[position] == byte else {
                throw failure("'\(word)' expected")
            }
            position += 1
        }
        return value
    }

    /// A whole number that fits `Int` and is not negative, as counts and offsets must be.
    mutating func count() throws(JSONFailure) -> Int {
        _ = peek()
        let start = position
        guard case .integer(let value) = try number(), value >= 0 else {
            position = start
            throw failure("a whole number from 0 to \(Int.max) expected")
        }
        return value
    }

    private mutating func number() throws(JSONFailure) -> ConfigValue {
        let start = position
        if position < bytes.count, bytes[position] == UInt8(ascii: "-") {
            position += 1
            if acceptsNonFinite, position < bytes.count, bytes[position] == UInt8(ascii: "I") {
                return try word("Infinity", .number(-.infinity))
            }
        }
        var isInteger = true
        let digits = position
        skipDigits()
        guard position > digits, position - digits == 1 || bytes[digits] != UInt8(ascii: "0")
        else { throw JSONFailure(offset: start, reason: "a JSON value expected") }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            let fraction = position
            skipDigits()
            guard position > fraction else { throw failure("a digit expected") }
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if position < bytes.count,
                bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-")
            {
                position += 1
            }
            let exponent = position
            skipDigits()
            guard position > exponent else { throw failure("a digit expected") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let value = Double(text) else { throw failure("'\(excerpt(text))' is no number") }
        return .number(value)
    }

    private mutating func skipDigits() {
        while position < bytes.count, bytes[position] &- UInt8(ascii: "0") < 10 { position += 1 }
    }

    // MARK: Strings

    mutating func string() throws(JSONFailure) -> String {
        try expect("\"")
        let start = position
        while position < bytes.count {
            switch bytes[position] {
            case UInt8(ascii: "\""):
                let text = String(validating: bytes[start..<position], as: UTF8.self)
                guard let text else { throw failure("a string that is not UTF-8") }
                position += 1
                return text
            case UInt8(ascii: "\\"):
                return try escapedString(from: start)
            case 0..<0x20: throw failure("a control character in a string")
            default: position += 1
            }
        }
        throw failure("the text ends within a string")
    }

    private mutating func escapedString(from start: Int) throws(JSONFailure) -> String {
        var text = Array(bytes[start..<position])
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw failure("a string that is not UTF-8")
                }
                return string
            case UInt8(ascii: "\\"): text.append(contentsOf: try escape())
            case 0..<0x20: throw failure("a control character in a string")
            default: text.append(byte)
            }
        }
        throw failure("the text ends within a string")
    }

    private mutating func escape() throws(JSONFailure) -> [UInt8] {
        guard position < bytes.count else { throw failure("the text ends within a string") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"):
            var code = try hexUnit()
            if (0xD800..<0xDC00).contains(code) {
                guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw failure("half a surrogate pair") }
                position += 2
                let low = try hexUnit()
                guard (0xDC00..<0xE000).contains(low) else {
                    throw failure("half a surrogate pair")
                }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw failure("half a surrogate pair") }
            return Array(String(Character(scalar)).utf8)
        default: throw failure("an unknown escape in a string")
        }
    }

    private mutating func hexUnit() throws(JSONFailure) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard position < bytes.count,
                let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue
            else { throw failure("four hexadecimal digits expected") }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }
}
