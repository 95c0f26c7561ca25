/// Merges of a BPE file: which two ids become which one, and how early.
struct PairTable: Sendable {
    private var keys: [UInt64]
    /// `rank << 32 | id of the merged piece`
    private var values: [UInt64]
    private let mask: Int
    private static let empty = UInt64.max

    init(capacity: Int) {
        var count = 16
        while count < capacity * 2 { count *= 2 }
        keys = [UInt64](repeating: Self.empty, count: count)
        values = [UInt64](repeating: 0, count: count)
        mask = count - 1
    }

    @inline(__always)
    private func slot(_ key: UInt64) -> Int {
        let hash = key &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: hash >> 32 ^ hash) & mask
    }

    /// At most the `capacity` given at the start; the first of two equal pairs counts.
    mutating func insert(_ left: TokenID, _ right: TokenID, rank: Int, merged: TokenID) {
        let key = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
        var index = slot(key)
        while keys[index] != Self.empty {
            if keys[index] == key { return }
            index = (index + 1) & mask
        }
        keys[index] = key
        values[index] =
            UInt64(UInt32(truncatingIfNeeded: rank)) << 32 | UInt64(UInt32(bitPattern: merged))
    }

    /// `rank << 32 | merged id`, or `UInt64.max` when the two do not merge.
    @inline(__always)
    func merge(_ left: TokenID, _ right: TokenID) -> UInt64 {
        let key = UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
        var index = slot(key)
        while true {
            let found = keys[index]
            // Empty first: two unknown symbols (-1, -1) have the empty key.
            if found == Self.empty { return UInt64.max }
            if found == key { return values[index] }
            index = (index &+ 1) & mask
        }
    }
}
