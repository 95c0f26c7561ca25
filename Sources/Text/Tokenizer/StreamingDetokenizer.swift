/// Token ids to text as they arrive, never half a character.
///
/// The concatenation of all that `push` and `flush` return equals `Tokenizer.decode` of the same
/// ids. A byte sequence that can still become a character is held back; one that no longer can
/// becomes U+FFFD, one per maximal subpart.
package struct StreamingDetokenizer: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecial: Bool
    private var pending: [UInt8] = []
    private var spacesToDrop: Int

    /// - Parameter continues: the ids go on from a text before them, so that the space before
    ///   the first word is real and not the tokenizer's dummy prefix.
    package init(_ tokenizer: Tokenizer, skipSpecial: Bool = true, continues: Bool = false) {
        self.tokenizer = tokenizer
        self.skipSpecial = skipSpecial
        spacesToDrop = continues ? 0 : tokenizer.leadingSpacesDropped
    }

    package mutating func push(_ id: TokenID) -> String {
        if skipSpecial, tokenizer.isSpecial(id) { return "" }
        var bytes = tokenizer.tokenBytes(id)[...]
        while spacesToDrop > 0, let first = bytes.first {
            guard first == 0x20 else {
                spacesToDrop = 0
                break
            }
            bytes.removeFirst()
            spacesToDrop -= 1
        }
        pending.append(contentsOf: bytes)
        let ready = Self.readyCount(pending)
        guard ready > 0 else { return "" }
        let text = String(decoding: pending[..<ready], as: UTF8.self)
        pending.removeFirst(ready)
        return text
    }

    /// What was held back: an unfinished character becomes U+FFFD.
    package mutating func flush() -> String {
        defer { pending.removeAll() }
        return String(decoding: pending, as: UTF8.self)
    }

    /// How many bytes can be decoded now: all but an unfinished, still valid character at the
    /// end. Everything invalid before it is final.
    static func readyCount(_ bytes: [UInt8]) -> Int {
        let count = bytes.count
        for back in 1...3 where back <= count {
            let lead = bytes[count - back]
            if lead & 0xC0 == 0x80 { continue }
            guard lead >= 0x80 else { return count }
            let (length, low, high) = UTF8Scan.leadRule(lead)
            guard length > back else { return count }
            if back >= 2 {
                let second = bytes[count - back + 1]
                if second < low || second > high { return count }
            }
            return count - back
        }
        return count
    }
}
