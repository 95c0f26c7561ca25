/// General categories as the split patterns need them: `\p{L}`, `\p{N}`, `\s`, `\p{M}`, …
///
/// One byte per code point up to `UnicodeData.limit` (201 KiB, built once in well under a
/// millisecond): a lookup is one load, where Foundation would search ranges.
enum ScalarClasses {
    static let upper: UInt8 = 1  // Lu, Lt
    static let lower: UInt8 = 2  // Ll
    static let caseless: UInt8 = 4  // Lm, Lo
    static let mark: UInt8 = 8  // M
    static let number: UInt8 = 16  // N
    static let whitespace: UInt8 = 32  // White_Space, which is what \s means
    static let punctuation: UInt8 = 64  // P
    static let symbol: UInt8 = 128  // S
    static let letter: UInt8 = upper | lower | caseless

    /// Flags by code point. Hot loops keep a copy of this array: reading the global costs a
    /// once-check each time.
    static let table: [UInt8] = makeTable()

    @inline(__always)
    static func flags(of code: UInt32, in table: [UInt8]) -> UInt8 {
        if Int(code) < UnicodeData.limit { return table[Int(code)] }
        // Above the table only the variation selectors have a class of their own.
        return (0xE0100...0xE01EF).contains(code) ? mark : 0
    }

    private static func makeTable() -> [UInt8] {
        var table = [UInt8](repeating: 0, count: UnicodeData.limit)
        var position = 0
        var count = 0
        for byte in UnicodeData.classes.utf8 {
            if (0x30...0x39).contains(byte) {
                count = count * 10 + Int(byte - 0x30)
                continue
            }
            let run = max(count, 1)
            let value = flags(letter: byte)
            if value != 0 {
                for index in position..<min(position + run, table.count) { table[index] = value }
            }
            position += run
            count = 0
        }
        return table
    }

    private static func flags(letter: UInt8) -> UInt8 {
        switch letter {
        case UInt8(ascii: "u"): upper
        case UInt8(ascii: "l"): lower
        case UInt8(ascii: "x"): caseless
        case UInt8(ascii: "m"): mark
        case UInt8(ascii: "n"): number
        case UInt8(ascii: "w"): whitespace
        case UInt8(ascii: "p"): punctuation
        case UInt8(ascii: "s"): symbol
        default: 0
        }
    }
}
