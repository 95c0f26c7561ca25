/// Working memory of one encoding call, reused by later calls: merge state and a cache of words.
///
/// A tokenizer hands one to each call that runs at the same time, so nothing here is shared.
struct EncodeScratch: Sendable {
    var symbols: [MergeSymbol] = []
    var ranks: [UInt64] = []
    var heap = MergeHeap()
    var words = WordCache()
    var lattice: [LatticeNode] = []

    /// Gives back what a very long word made large; the pool keeps scratches for ever.
    mutating func shrink() {
        if symbols.capacity > 1 << 16 { symbols = [] }
        if ranks.capacity > 1 << 16 { ranks = [] }
        if heap.entries.capacity > 1 << 16 { heap = MergeHeap() }
        if lattice.capacity > 1 << 16 { lattice = [] }
    }
}

/// A stretch of the word being merged; a linked list in an array.
struct MergeSymbol: Sendable {
    var start: Int32
    /// Exclusive; equal to `start` once merged into the symbol before.
    var end: Int32
    var id: TokenID
    var previous: Int32
    var next: Int32
    /// Stands for itself and never merges (a byte of an unknown character, an unknown token).
    var isFrozen = false
}

/// Candidate merges, lowest rank first and leftmost among equals.
struct MergeHeap: Sendable {
    struct Entry: Sendable {
        var rank: UInt32
        var position: Int32
        var merged: TokenID
        /// Bytes that the merged symbol spans; another value means the candidate is stale.
        var length: Int32

        @inline(__always)
        func precedes(_ other: Entry) -> Bool {
            rank != other.rank ? rank < other.rank : position < other.position
        }
    }

    private(set) var entries: [Entry] = []

    mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].precedes(entries[parent]) else { return }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> Entry? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return last }
        entries[0] = last
        var parent = 0
        while true {
            var child = parent * 2 + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1].precedes(entries[child]) { child += 1 }
            guard entries[child].precedes(entries[parent]) else { break }
            entries.swapAt(child, parent)
            parent = child
        }
        return first
    }
}

/// Token ids of words met before: direct-mapped, so that no choice of words makes it slow, and
/// bounded: it starts afresh when its arenas are full.
struct WordCache: Sendable {
    private struct Line: Sendable {
        var hash: UInt64 = 0
        var keyStart: UInt32 = 0
        var keyLength: UInt32 = 0
        var idStart: UInt32 = 0
        var idCount: UInt32 = 0
    }

    private static let lineCount = 1 << 14
    private static let keyBytesMax = 1 << 20
    private static let idCountMax = 1 << 18
    /// Longer words are rare and not worth their place.
    static let wordBytesMax = 64

    private var lines: [Line] = []
    private var keys: [UInt8] = []
    private var ids: [TokenID] = []

    @inline(__always)
    func append(
        _ bytes: [UInt8], _ start: Int, _ end: Int, hash: UInt64, to output: inout [TokenID]
    ) -> Bool {
        if lines.isEmpty { return false }
        let line = lines[Int(truncatingIfNeeded: hash) & (Self.lineCount &- 1)]
        guard line.hash == hash, Int(line.keyLength) == end &- start else { return false }
        var own = Int(line.keyStart)
        var other = start
        while other < end {
            if keys[own] != bytes[other] { return false }
            own &+= 1
            other &+= 1
        }
        var index = Int(line.idStart)
        let last = index &+ Int(line.idCount)
        while index < last {
            output.append(ids[index])
            index &+= 1
        }
        return true
    }

    mutating func insert(
        _ bytes: [UInt8], _ start: Int, _ end: Int, hash: UInt64, ids found: ArraySlice<TokenID>
    ) {
        if keys.count + (end - start) > Self.keyBytesMax || ids.count + found.count > Self.idCountMax
        {
            lines.removeAll(keepingCapacity: true)
            keys.removeAll(keepingCapacity: true)
            ids.removeAll(keepingCapacity: true)
        }
        if lines.isEmpty { lines = [Line](repeating: Line(), count: Self.lineCount) }
        lines[Int(truncatingIfNeeded: hash) & (Self.lineCount - 1)] = Line(
            hash: hash, keyStart: UInt32(keys.count), keyLength: UInt32(end - start),
            idStart: UInt32(ids.count), idCount: UInt32(found.count))
        keys.append(contentsOf: bytes[start..<end])
        ids.append(contentsOf: found)
    }
}
