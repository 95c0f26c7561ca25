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
        var result: [UInt8] = []
        result.reserveCapacity(piece.count)
        append(piece, to: &result)
        return result
    }

    static func append(_ piece: some Collection<UInt8>, to result: inout [UInt8]) {
        let start = result.count
        let table = byteOfScalar
        var lead = 0
        for byte in piece {
            var code = Int(byte)
            if byte >= 0x80 {
                if lead == 0, (0xC2...0xC5).contains(byte) {
                    lead = Int(byte & 0x1F) << 6
                    continue
                }
                code = lead != 0 && byte < 0xC0 ? lead | Int(byte & 0x3F) : 0x17F
                lead = 0
            } else if lead != 0 {
                code = 0x17F
            }
            guard table[code] >= 0 else {
                // U+017F stands for no byte: the piece is not written in the alphabet.
                result.removeSubrange(start...)
                result.append(contentsOf: piece)
                return
            }
            result.append(UInt8(truncatingIfNeeded: table[code]))
        }
        if lead != 0 {
            result.removeSubrange(start...)
            result.append(contentsOf: piece)
        }
    }
}
