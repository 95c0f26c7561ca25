/// Working memory of one encoding call, reused by later calls: merge state and a cache of words.
///
/// A tokenizer hands one to each call that runs at the same time, so nothing here is shared.
struct EncodeScratch: Sendable {
    var symbols: [MergeSymbol] = []
    var ranks: [UInt64] = []
    var heap = MergeHeap()
    var words = WordCache()
    var shortWords = ShortWordCache()
    var lattice: [LatticeNode] = []

    /// Room for a word of so many symbols: 40 bytes each.
    mutating func reserve(symbols count: Int) {
        symbols.reserveCapacity(count)
        heap.reserve(count)
    }

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

    mutating func reserve(_ count: Int) { entries.reserveCapacity(count) }

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

/// A word of at most 15 bytes: the bytes, and their number in the top byte.
struct ShortWord: Sendable, Equatable {
    static let bytesMax = 15

    var low: UInt64 = 0
    var high: UInt64 = 0

    init() {}

    @inline(__always)
    init(_ bytes: [UInt8], _ start: Int, _ end: Int) {
        let middle = min(start &+ 8, end)
        var index = middle
        while index > start {
            index &-= 1
            low = low << 8 | UInt64(bytes[index])
        }
        index = end
        while index > middle {
            index &-= 1
            high = high << 8 | UInt64(bytes[index])
        }
        high |= UInt64(truncatingIfNeeded: end &- start) << 56
    }

    @inline(__always)
    var line: Int {
        let mixed = (low ^ high &* 0x9E37_79B9_7F4A_7C15) &* 0xD6E8_FEB8_6659_FD93
        return Int(truncatingIfNeeded: mixed >> 51)
    }
}

/// The first of two caches of words: the word itself lies in the line, 32 bytes in all, so that
/// a common word costs one load from the 256 KiB that stay near the core.
struct ShortWordCache: Sendable {
    private struct Line: Sendable {
        var word = ShortWord()
        var first: TokenID = 0
        var second: TokenID = 0
        var third: TokenID = 0
        var count: Int32 = 0
    }

    static let idCountMax = 3
    private static let lineCount = 1 << 13
    private var lines: [Line] = []

    @inline(__always)
    func append(_ word: ShortWord, to output: inout [TokenID]) -> Bool {
        let index = word.line
        guard index < lines.count else { return false }
        let line = lines[index]
        guard line.word == word else { return false }
        output.append(line.first)
        if line.count > 1 {
            output.append(line.second)
            if line.count > 2 { output.append(line.third) }
        }
        return true
    }

    @inline(__always)
    mutating func insert(_ word: ShortWord, _ ids: [TokenID], from start: Int) {
        let count = ids.count &- start
        guard count > 0, count <= Self.idCountMax else { return }
        if lines.isEmpty { lines = [Line](repeating: Line(), count: Self.lineCount) }
        var line = Line()
        line.word = word
        line.first = ids[start]
        if count > 1 { line.second = ids[start &+ 1] }
        if count > 2 { line.third = ids[start &+ 2] }
        line.count = Int32(truncatingIfNeeded: count)
        lines[word.line] = line
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
        if keys.count + (end - start) > Self.keyBytesMax
            || ids.count + found.count > Self.idCountMax
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
