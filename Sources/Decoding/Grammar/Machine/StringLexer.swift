/// The inside of a JSON string, byte by byte: valid UTF-8 and escapes.
///
/// Where decoded text is compared (keys, patterns, enums) only the canonical escape of a character
/// is read: nobody needs the others, and every text then has one spelling.
enum StringLexer {
    /// At a character's beginning.
    static let start: UInt8 = 0
    static let afterBackslash: UInt8 = 8
    static let count: UInt8 = 25
    private static let canonicalU: UInt8 = 9
    private static let freeU: UInt8 = 14

    struct Step {
        var state: UInt8
        /// The byte of decoded text that is now known.
        var decoded: UInt8?
    }

    /// Nil when no string goes on so. The closing quote is the caller's.
    @inline(__always)
    static func step(_ state: UInt8, _ byte: UInt8, isCanonical: Bool) -> Step? {
        if state == start {
            if byte == 0x5C { return Step(state: afterBackslash) }
            if byte < 0x20 || byte == 0x22 { return nil }
            if byte < 0x80 { return Step(state: start, decoded: byte) }
        }
        if state < afterBackslash {
            return character(state, byte).map { Step(state: $0, decoded: byte) }
        }
        return escape(state, byte, isCanonical)
    }

    /// UTF-8 by itself: states 0…7, 0 between characters.
    static func character(_ state: UInt8, _ byte: UInt8) -> UInt8? {
        switch (state, byte) {
        case (0, 0..<0x80): 0
        case (0, 0xC2...0xDF): 1
        case (0, 0xE0): 4
        case (0, 0xED): 5
        case (0, 0xE1...0xEF): 2
        case (0, 0xF0): 6
        case (0, 0xF4): 7
        case (0, 0xF1...0xF3): 3
        case (1, 0x80...0xBF): 0
        case (2, 0x80...0xBF), (4, 0xA0...0xBF), (5, 0x80...0x9F): 1
        case (3, 0x80...0xBF), (6, 0x90...0xBF), (7, 0x80...0x8F): 2
        default: nil
        }
    }

    private static func escape(_ state: UInt8, _ byte: UInt8, _ isCanonical: Bool) -> Step? {
        switch state {
        case afterBackslash:
            switch byte {
            case 0x22, 0x5C: return Step(state: start, decoded: byte)
            case UInt8(ascii: "n"): return Step(state: start, decoded: 10)
            case UInt8(ascii: "t"): return Step(state: start, decoded: 9)
            case UInt8(ascii: "r"): return Step(state: start, decoded: 13)
            case UInt8(ascii: "b"): return Step(state: start, decoded: 8)
            case UInt8(ascii: "f"): return Step(state: start, decoded: 12)
            case UInt8(ascii: "u"): return Step(state: isCanonical ? canonicalU : freeU)
            case UInt8(ascii: "/") where !isCanonical: return Step(state: start, decoded: byte)
            default: return nil
            }
        case canonicalU, 10: return byte == 0x30 ? Step(state: state + 1) : nil
        case 11: return byte == 0x30 ? Step(state: 12) : byte == 0x31 ? Step(state: 13) : nil
        case 12, 13:
            guard let digit = hexadecimal(byte) else { return nil }
            let value = (state - 12) << 4 | digit
            if [8, 9, 10, 12, 13].contains(value) { return nil }
            return Step(state: start, decoded: value)
        default: return free(state, byte)
        }
    }

    /// Four digits of any character, two such escapes for a surrogate pair.
    private static func free(_ state: UInt8, _ byte: UInt8) -> Step? {
        let digit = hexadecimal(byte)
        switch state {
        case freeU:
            guard let digit else { return nil }
            return Step(state: digit == 13 ? 18 : 15)
        case 15, 16: return digit == nil ? nil : Step(state: state + 1)
        case 17: return digit == nil ? nil : Step(state: start, decoded: 0x3F)
        case 18:
            guard let digit, digit < 12 else { return nil }
            return Step(state: digit < 8 ? 16 : 19)
        case 19: return digit == nil ? nil : Step(state: 20)
        case 20: return digit == nil ? nil : Step(state: 21)
        case 21: return byte == 0x5C ? Step(state: 22) : nil
        case 22: return byte == UInt8(ascii: "u") ? Step(state: 23) : nil
        case 23: return digit == 13 ? Step(state: 24) : nil
        case 24: return digit.map { $0 >= 12 } ?? false ? Step(state: 16) : nil
        default: return nil
        }
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }

    /// What a canonical escape that has come so far can still stand for.
    static func targets(_ state: UInt8) -> [UInt8] {
        let named: Set<UInt8> = [8, 9, 10, 12, 13]
        switch state {
        case afterBackslash: return [0x22, 0x5C] + Array(0..<0x20)
        case canonicalU, 10, 11: return (0..<0x20).filter { !named.contains($0) }
        case 12: return (0..<0x10).filter { !named.contains($0) }
        case 13: return Array(0x10..<0x20)
        default: return []
        }
    }

    /// A text as a canonical string has it between its quotes.
    static func canonical(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        for byte in text {
            switch byte {
            case 0x22, 0x5C: result += [0x5C, byte]
            case 8: result += Array("\\b".utf8)
            case 9: result += Array("\\t".utf8)
            case 10: result += Array("\\n".utf8)
            case 12: result += Array("\\f".utf8)
            case 13: result += Array("\\r".utf8)
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                result += Array(("\\u00" + (byte < 16 ? "0" : "") + digits).utf8)
            default: result.append(byte)
            }
        }
        return result
    }
}
