/// Just enough protocol buffers to read a SentencePiece model: fields in order, nothing copied.
struct ProtobufReader {
    enum Value {
        case integer(UInt64)
        case fixed32(UInt32)
        case fixed64(UInt64)
        case bytes(Range<Int>)
    }

    struct Malformed: Error {
        var offset: Int
    }

    let bytes: [UInt8]
    private(set) var position: Int
    private let end: Int

    init(_ bytes: [UInt8], range: Range<Int>? = nil) {
        self.bytes = bytes
        position = range?.lowerBound ?? 0
        end = range?.upperBound ?? bytes.count
    }

    /// The next field's number and value; nil at the end.
    mutating func next() throws(Malformed) -> (field: Int, value: Value)? {
        guard position < end else { return nil }
        let start = position
        let key = try varint()
        let field = Int(truncatingIfNeeded: key >> 3 & 0x1FFF_FFFF)
        guard field > 0 else { throw Malformed(offset: start) }
        switch key & 7 {
        case 0: return (field, .integer(try varint()))
        case 1:
            let low = UInt64(try fixed32())
            return (field, .fixed64(low | UInt64(try fixed32()) << 32))
        case 2:
            let length = try varint()
            guard length <= UInt64(end - position) else { throw Malformed(offset: start) }
            let range = position..<position + Int(length)
            position = range.upperBound
            return (field, .bytes(range))
        case 5: return (field, .fixed32(try fixed32()))
        default: throw Malformed(offset: start)
        }
    }

    private mutating func varint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while position < end, shift < 64 {
            let byte = bytes[position]
            position += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw Malformed(offset: position)
    }

    private mutating func fixed32() throws(Malformed) -> UInt32 {
        guard end - position >= 4 else { throw Malformed(offset: position) }
        var value: UInt32 = 0
        for index in 0..<4 { value |= UInt32(bytes[position + index]) << UInt32(index * 8) }
        position += 4
        return value
    }
}
