/// A strict JSON reader (RFC 8259) for request bodies.
///
/// It refuses what parsers disagree about and attackers therefore use: duplicate keys, lone
/// surrogates, a byte order mark, numbers beyond a double, invalid UTF-8, deep nesting. It runs in
/// time linear in the input, and recurses at most `depthMax` deep.
package struct WireParser {
    /// Nesting a request may have.
    package static let depthMax = 64
    /// Values in one body: bounds memory at a few times the body's 8 MiB.
    package static let valuesMax = 2_000_000
    /// No number that means anything is longer.
    package static let numberBytesMax = 1_024

    private let bytes: [UInt8]
    private var position = 0
    private var values = 0
    private let depthMax: Int

    private init(bytes: [UInt8], depthMax: Int) {
        self.bytes = bytes
        self.depthMax = depthMax
    }

    /// Reads one JSON text.
    /// - Throws: ``WireSyntaxError`` with the byte offset; it never quotes the text.
    package static func parse(
        _ bytes: [UInt8], depthMax: Int = WireParser.depthMax
    ) throws(WireSyntaxError) -> WireValue {
        var parser = WireParser(bytes: bytes, depthMax: depthMax)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
            throw parser.error("it starts with a byte order mark")
        }
        parser.skipSpace()
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        if parser.position < bytes.count { throw parser.error("text follows the value") }
        return value
    }

    private func error(_ reason: String) -> WireSyntaxError {
        WireSyntaxError(reason: reason, offset: position)
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            default: return
            }
        }
    }

    private mutating func value(depth: Int) throws(WireSyntaxError) -> WireValue {
        values += 1
        if values > Self.valuesMax { throw error("more than \(Self.valuesMax) values") }
        guard let byte = current else { throw error("it ends early") }
        switch byte {
        case UInt8(ascii: "{"): return try object(depth: depth + 1)
        case UInt8(ascii: "["): return try array(depth: depth + 1)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try literal("true", .bool(true))
        case UInt8(ascii: "f"): return try literal("false", .bool(false))
        case UInt8(ascii: "n"): return try literal("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("unexpected character")
        }
    }

    private mutating func literal(
        _ word: String, _ value: WireValue
    ) throws(WireSyntaxError) -> WireValue {
        for byte in word.utf8 {
            guard current == byte else { throw error("unexpected character") }
            position += 1
        }
        return value
    }

    private mutating func object(depth: Int) throws(WireSyntaxError) -> WireValue {
        guard depth <= depthMax else { throw error("nesting deeper than \(depthMax)") }
        position += 1
        var members: [WireObject.Member] = []
        // Small objects are scanned; a large one gets a set, or 100,000 keys would take n².
        var seen: Set<String> = []
        skipSpace()
        if current == UInt8(ascii: "}") {
            position += 1
            return .object(WireObject())
        }
        while true {
            guard current == UInt8(ascii: "\"") else { throw error("expected a key") }
            let key = try string()
            let isDuplicate: Bool
            if members.count < 16 {
                isDuplicate = members.contains { $0.key == key }
            } else {
                if seen.isEmpty { seen = Set(members.map(\.key)) }
                isDuplicate = !seen.insert(key).inserted
            }
            if isDuplicate { throw error("duplicate key") }
            skipSpace()
            guard current == UInt8(ascii: ":") else { throw error("expected ':'") }
            position += 1
            skipSpace()
            members.append(.init(key: key, value: try value(depth: depth)))
            skipSpace()
            switch current {
            case UInt8(ascii: ","):
                position += 1
                skipSpace()
            case UInt8(ascii: "}"):
                position += 1
                return .object(WireObject(members))
            default: throw error("expected ',' or '}'")
            }
        }
    }

    private mutating func array(depth: Int) throws(WireSyntaxError) -> WireValue {
        guard depth <= depthMax else { throw error("nesting deeper than \(depthMax)") }
        position += 1
        var elements: [WireValue] = []
        skipSpace()
        if current == UInt8(ascii: "]") {
            position += 1
            return .array([])
        }
        while true {
            elements.append(try value(depth: depth))
            skipSpace()
            switch current {
            case UInt8(ascii: ","):
                position += 1
                skipSpace()
            case UInt8(ascii: "]"):
                position += 1
                return .array(elements)
            default: throw error("expected ',' or ']'")
            }
        }
    }

    private mutating func digits() throws(WireSyntaxError) {
        let start = position
        while let byte = current, byte >= 0x30, byte <= 0x39 { position += 1 }
        if position == start { throw error("expected a digit") }
    }

    private mutating func number() throws(WireSyntaxError) -> WireValue {
        let start = position
        var isInteger = true
        if current == UInt8(ascii: "-") { position += 1 }
        if current == UInt8(ascii: "0") { position += 1 } else { try digits() }
        if current == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try digits()
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isInteger = false
            position += 1
            if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
            try digits()
        }
        guard position - start <= Self.numberBytesMax else {
            throw error("a number longer than \(Self.numberBytesMax) characters")
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let int = Int64(text) { return .int(int) }
        guard let double = Double(text), double.isFinite else {
            throw error("a number beyond the range of a double")
        }
        return .double(double)
    }

    private mutating func string() throws(WireSyntaxError) -> String {
        position += 1
        let start = position
        while let byte = current, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"),
            byte >= 0x20
        {
            position += 1
        }
        if current == UInt8(ascii: "\"") {
            defer { position += 1 }
            return try utf8(bytes[start..<position])
        }
        return try escapedString(from: start)
    }

    private mutating func escapedString(from start: Int) throws(WireSyntaxError) -> String {
        var text = Array(bytes[start..<position])
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                defer { position += 1 }
                return try utf8(text[...])
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &text)
            case 0..<0x20: throw error("a control character inside a string")
            default:
                text.append(byte)
                position += 1
            }
        }
        throw error("a string without an end")
    }

    private func utf8(_ slice: ArraySlice<UInt8>) throws(WireSyntaxError) -> String {
        guard let text = String(validating: slice, as: UTF8.self) else {
            throw error("invalid UTF-8 in a string")
        }
        return text
    }

    private mutating func escape(into text: inout [UInt8]) throws(WireSyntaxError) {
        guard let byte = current else { throw error("a string without an end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hex4()
            if (0xD800..<0xDC00).contains(code) {
                guard current == UInt8(ascii: "\\"), position + 1 < bytes.count,
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw error("a lone surrogate") }
                position += 2
                let low = try hex4()
                guard (0xDC00..<0xE000).contains(low) else { throw error("a lone surrogate") }
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw error("a lone surrogate") }
            text.append(contentsOf: String(scalar).utf8)
        default: throw error("an unknown escape")
        }
    }

    private mutating func hex4() throws(WireSyntaxError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = current else { throw error("a string without an end") }
            let digit: UInt8
            switch byte {
            case 0x30...0x39: digit = byte - 0x30
            case 0x41...0x46: digit = byte - 0x41 + 10
            case 0x61...0x66: digit = byte - 0x61 + 10
            default: throw error("expected four hexadecimal digits")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }
}
