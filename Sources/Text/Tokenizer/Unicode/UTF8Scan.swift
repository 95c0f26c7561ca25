/// UTF-8 by hand: the tokenizer works on bytes and must know scalars without making strings.
enum UTF8Scan {
    /// Length in bytes of the well-formed scalar at `index`, or 0 if there is none.
    @inline(__always)
    static func scalarLength(_ bytes: borrowing [UInt8], at index: Int, end: Int) -> Int {
        let lead = bytes[index]
        if lead < 0x80 { return 1 }
        let (length, low, high) = leadRule(lead)
        guard length > 0, index + length <= end else { return 0 }
        guard bytes[index + 1] >= low, bytes[index + 1] <= high else { return 0 }
        if length > 2, bytes[index + 2] & 0xC0 != 0x80 { return 0 }
        if length > 3, bytes[index + 3] & 0xC0 != 0x80 { return 0 }
        return length
    }

    /// Sequence length announced by a lead byte ≥ 0x80 and the range its second byte may
    /// take (Unicode, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF).
    @inline(__always)
    static func leadRule(_ lead: UInt8) -> (length: Int, low: UInt8, high: UInt8) {
        switch lead {
        case 0xC2...0xDF: (2, 0x80, 0xBF)
        case 0xE0: (3, 0xA0, 0xBF)
        case 0xE1...0xEC, 0xEE...0xEF: (3, 0x80, 0xBF)
        case 0xED: (3, 0x80, 0x9F)
        case 0xF0: (4, 0x90, 0xBF)
        case 0xF1...0xF3: (4, 0x80, 0xBF)
        case 0xF4: (4, 0x80, 0x8F)
        default: (0, 0, 0)
        }
    }

    /// The scalar at `index` and its length. A byte that starts no well-formed scalar reads
    /// as U+FFFD of length 1, so that a scan over any bytes makes progress.
    @inline(__always)
    static func decode(
        _ bytes: borrowing [UInt8], at index: Int, end: Int
    ) -> (scalar: UInt32, length: Int) {
        let lead = bytes[index]
        if lead < 0x80 { return (UInt32(lead), 1) }
        let length = scalarLength(bytes, at: index, end: end)
        switch length {
        case 2: return (UInt32(lead & 0x1F) << 6 | UInt32(bytes[index + 1] & 0x3F), 2)
        case 3:
            let tail = UInt32(bytes[index + 1] & 0x3F) << 6 | UInt32(bytes[index + 2] & 0x3F)
            return (UInt32(lead & 0x0F) << 12 | tail, 3)
        case 4:
            let middle = UInt32(bytes[index + 1] & 0x3F) << 12
            let tail = UInt32(bytes[index + 2] & 0x3F) << 6 | UInt32(bytes[index + 3] & 0x3F)
            return (UInt32(lead & 0x07) << 18 | middle | tail, 4)
        default: return (0xFFFD, 1)
        }
    }

    static func append(_ scalar: Unicode.Scalar, to bytes: inout [UInt8]) {
        append(code: scalar.value, to: &bytes)
    }

    /// Appends the UTF-8 form of `code`, which must be a Unicode scalar value.
    @inline(__always)
    static func append(code: UInt32, to bytes: inout [UInt8]) {
        switch code {
        case 0..<0x80:
            bytes.append(UInt8(code))
        case 0x80..<0x800:
            bytes.append(UInt8(0xC0 | code >> 6))
            bytes.append(UInt8(0x80 | code & 0x3F))
        case 0x800..<0x10000:
            bytes.append(UInt8(0xE0 | code >> 12))
            bytes.append(UInt8(0x80 | code >> 6 & 0x3F))
            bytes.append(UInt8(0x80 | code & 0x3F))
        default:
            bytes.append(UInt8(0xF0 | code >> 18 & 0x07))
            bytes.append(UInt8(0x80 | code >> 12 & 0x3F))
            bytes.append(UInt8(0x80 | code >> 6 & 0x3F))
            bytes.append(UInt8(0x80 | code & 0x3F))
        }
    }
}
