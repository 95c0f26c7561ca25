/// The vocabulary: piece bytes by id, and id by piece bytes.
///
/// All pieces lie in one arena; the hash table is open-addressed with a 32-bit tag beside the
/// id, so that a lookup touches one line and compares bytes only on a match. Looking up a slice
/// of the text costs no allocation.
struct PieceTable: Sendable {
    private var arena: [UInt8] = []
    private var starts: [UInt32] = []
    private var lengths: [UInt32] = []
    /// `tag << 32 | id + 1`; 0 is empty. The count is a power of two, at most half filled.
    private var slots: [UInt64] = [0, 0]
    private var slotMask = 1
    private var used = 0
    private(set) var lengthMax = 0
    /// Pieces that equal an earlier one, and the first such pair.
    private(set) var repeated: (count: Int, earlier: Int, later: Int)?

    /// Ids are file input: room for four times the largest real vocabulary, not for a typo.
    static let idMax = 1 << 20

    init(capacity: Int = 0) {
        reserve(capacity)
    }

    private mutating func reserve(_ capacity: Int) {
        var count = 16
        while count < capacity * 2 { count *= 2 }
        slots = [UInt64](repeating: 0, count: count)
        slotMask = count - 1
        starts.reserveCapacity(capacity)
        lengths.reserveCapacity(capacity)
    }

    /// One more than the largest id.
    var count: Int { starts.count }

    /// Where the bytes of `id` lie in the arena; empty for ids never inserted.
    @inline(__always)
    private func range(_ id: Int) -> Range<Int> {
        let start = Int(starts[id])
        return start..<start + Int(lengths[id])
    }

    func bytes(of id: TokenID) -> ArraySlice<UInt8> {
        guard id >= 0, Int(id) < count else { return [] }
        return arena[range(Int(id))]
    }

    /// FNV-1a with a final mix: pieces are short, and the slot comes from the low bits.
    @inline(__always)
    static func hash(_ bytes: [UInt8], _ start: Int, _ end: Int) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var index = start
        while index < end {
            hash = (hash ^ UInt64(bytes[index])) &* 0x0000_0100_0000_01B3
            index &+= 1
        }
        hash ^= hash >> 32
        hash = hash &* 0x9E37_79B9_7F4A_7C15
        return hash ^ hash >> 29
    }

    /// The id of `bytes[start..<end]`, or -1.
    @inline(__always)
    func id(of bytes: [UInt8], _ start: Int, _ end: Int) -> TokenID {
        if end - start > lengthMax { return -1 }
        return id(of: bytes, start, end, hash: Self.hash(bytes, start, end))
    }

    @inline(__always)
    func id(of bytes: [UInt8], _ start: Int, _ end: Int, hash: UInt64) -> TokenID {
        let tag = hash >> 32
        var slot = Int(truncatingIfNeeded: hash) & slotMask
        while true {
            let entry = slots[slot]
            if entry == 0 { return -1 }
            if entry >> 32 == tag {
                let id = Int(entry & 0xFFFF_FFFF) &- 1
                if equal(id, bytes, start, end) { return TokenID(truncatingIfNeeded: id) }
            }
            slot = (slot &+ 1) & slotMask
        }
    }

    @inline(__always)
    private func equal(_ id: Int, _ bytes: [UInt8], _ start: Int, _ end: Int) -> Bool {
        guard Int(lengths[id]) == end &- start else { return false }
        var own = Int(starts[id])
        var other = start
        while other < end {
            if arena[own] != bytes[other] { return false }
            own &+= 1
            other &+= 1
        }
        return true
    }

    func id(of bytes: some Collection<UInt8>) -> TokenID? {
        let copy = Array(bytes)
        let found = id(of: copy, 0, copy.count)
        return found < 0 ? nil : found
    }

    /// Records the bytes of `id`. With `searchable` false (special tokens) text never finds it.
    /// The first of two equal pieces is the one found.
    /// - Returns: false when `id` is out of range or taken.
    mutating func insert(_ bytes: [UInt8], id: Int, searchable: Bool = true) -> Bool {
        guard id >= 0, id < Self.idMax, arena.count + bytes.count < Int(UInt32.max) else {
            return false
        }
        while starts.count <= id {
            starts.append(UInt32.max)
            lengths.append(0)
        }
        guard starts[id] == UInt32.max else { return false }
        starts[id] = UInt32(arena.count)
        lengths[id] = UInt32(bytes.count)
        arena.append(contentsOf: bytes)
        if searchable, !bytes.isEmpty { index(bytes, id: id) }
        return true
    }

    private mutating func index(_ bytes: [UInt8], id: Int) {
        if (used + 1) * 2 > slots.count { grow() }
        let hash = Self.hash(bytes, 0, bytes.count)
        lengthMax = max(lengthMax, bytes.count)
        var slot = Int(truncatingIfNeeded: hash) & slotMask
        while slots[slot] != 0 {
            if slots[slot] >> 32 == hash >> 32,
                equal(Int(slots[slot] & 0xFFFF_FFFF) - 1, bytes, 0, bytes.count)
            {
                let earlier = Int(slots[slot] & 0xFFFF_FFFF) - 1
                repeated = repeated.map { ($0.count + 1, $0.earlier, $0.later) } ?? (1, earlier, id)
                return
            }
            slot = (slot + 1) & slotMask
        }
        slots[slot] = (hash & ~0xFFFF_FFFF) | UInt64(id + 1)
        used += 1
    }

    private mutating func grow() {
        let old = slots
        slots = [UInt64](repeating: 0, count: old.count * 2)
        slotMask = slots.count - 1
        for entry in old where entry != 0 {
            let id = Int(entry & 0xFFFF_FFFF) - 1
            let span = range(id)
            let hash = Self.hash(arena, span.lowerBound, span.upperBound)
            var slot = Int(truncatingIfNeeded: hash) & slotMask
            while slots[slot] != 0 { slot = (slot + 1) & slotMask }
            slots[slot] = entry
        }
    }

    /// Gives ids that were skipped an empty piece, so that every id below `count` can be read.
    mutating func seal() {
        for id in starts.indices where starts[id] == UInt32.max { starts[id] = 0 }
    }
}
