/// GPT-2's printable stand-ins for the 256 bytes, in which byte-level vocabularies are written:
/// printable Latin-1 stands for itself, every other byte for U+0100 onwards in order.
enum ByteAlphabet {
    /// Byte by code point below 0x180, -1 where the character stands for no byte.
    private static let byteOfScalar: [Int16] = {
        var table = [Int16](repeating: -1, count: 0x180)
        var next = 0x100
        for byte in 0..<256 {
            if (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE {
                table[byte] = Int16(byte)
            } else {
                table[next] = Int16(byte)
                next += 1
            }
        }
        return table
    }()

    /// The bytes that `piece` (UTF-8) stands for; `piece` itself when it is not written in the
    /// alphabet, as some added tokens are not.
    static func decode(_ piece: some Collection<UInt8>) -> [UInt8] {
        let table = byteOfScalar
        var result: [UInt8] = []
        result.reserveCapacity(piece.count)
        var lead: UInt32 = 0
        for byte in piece {
            let code: Int
            if byte < 0x80, lead == 0 {
                code = Int(byte)
            } else if (0xC2...0xC5).contains(byte), lead == 0 {
                lead = UInt32(byte & 0x1F)
                continue
            } else if byte & 0xC0 == 0x80, lead != 0 {
                code = Int(lead << 6 | UInt32(byte & 0x3F))
                lead = 0
            } else {
                return Array(piece)
            }
            guard table[code] >= 0 else { return Array(piece) }
            result.append(UInt8(table[code]))
        }
        return lead == 0 ? result : Array(piece)
    }
}
