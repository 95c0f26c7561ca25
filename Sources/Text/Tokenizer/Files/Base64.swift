/// Standard base64 (RFC 4648 §4): tiktoken's ranks and precompiled character maps.
enum Base64 {
    private static let values: [Int8] = {
        var table = [Int8](repeating: -1, count: 256)
        let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        for (value, byte) in digits.utf8.enumerated() { table[Int(byte)] = Int8(value) }
        return table
    }()

    /// Nil for any character outside the alphabet and for lengths that no encoder writes.
    static func decode(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let table = values
        var body = text
        if body.last == UInt8(ascii: "=") { body.removeLast() }
        if body.last == UInt8(ascii: "=") { body.removeLast() }
        guard body.count % 4 != 1 else { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(body.count * 3 / 4)
        var bits: UInt32 = 0
        var count = 0
        for byte in body {
            let value = table[Int(byte)]
            if value < 0 { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                result.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            }
        }
        return result
    }
}
