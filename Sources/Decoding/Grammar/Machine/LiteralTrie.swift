/// Sets of byte strings, many tries in one table. Children of a node stand side by side; the
/// strings below a node have consecutive ranks, so what is left of them is a range of bits.
struct LiteralTrie: Sendable {
    struct Node: Sendable {
        var byte: UInt8
        var childCount: UInt16 = 0
        var firstChild: Int32 = 0
        /// The rank of the string that ends here, or -1.
        var terminal: Int32 = -1
        /// Ranks of the strings that go through or end here.
        var low: Int32
        var high: Int32
    }

    private(set) var nodes: [Node] = []

    /// Adds a trie of distinct strings.
    ///
    /// - Parameter sorted: in the order of their bytes; the index is the rank.
    /// - Returns: the root.
    mutating func add(sorted strings: [[UInt8]]) -> Int32 {
        let root = Int32(nodes.count)
        nodes.append(Node(byte: 0, low: 0, high: Int32(strings.count)))
        var pending: [(node: Int, depth: Int)] = [(Int(root), 0)]
        while let (node, depth) = pending.popLast() {
            var at = Int(nodes[node].low)
            let end = Int(nodes[node].high)
            if at < end, strings[at].count == depth {
                nodes[node].terminal = Int32(at)
                at += 1
            }
            nodes[node].firstChild = Int32(nodes.count)
            while at < end {
                let byte = strings[at][depth]
                let first = at
                while at < end, strings[at][depth] == byte { at += 1 }
                nodes[node].childCount += 1
                pending.append((nodes.count, depth + 1))
                nodes.append(Node(byte: byte, low: Int32(first), high: Int32(at)))
            }
        }
        return root
    }

    func child(_ node: Int32, _ byte: UInt8) -> Int32? {
        let parent = nodes[Int(node)]
        var low = Int(parent.firstChild)
        var high = low + Int(parent.childCount)
        while low < high {
            let middle = (low + high) / 2
            if nodes[middle].byte < byte { low = middle + 1 } else { high = middle }
        }
        guard low < Int(parent.firstChild) + Int(parent.childCount), nodes[low].byte == byte else {
            return nil
        }
        return Int32(low)
    }
}

/// Small sets of ranks as bits.
struct RankSet: Hashable, Sendable {
    private(set) var words: [UInt64]

    init(count: Int) { words = Array(repeating: 0, count: (count + 63) / 64) }

    func contains(_ rank: Int) -> Bool { words[rank >> 6] >> UInt64(rank & 63) & 1 == 1 }

    mutating func insert(_ rank: Int) { words[rank >> 6] |= 1 << UInt64(rank & 63) }

    mutating func remove(_ rank: Int) { words[rank >> 6] &= ~(1 << UInt64(rank & 63)) }

    /// Members that are not in `other`.
    func countMissing(in other: RankSet) -> Int {
        var count = 0
        for index in words.indices { count += (words[index] & ~other.words[index]).nonzeroBitCount }
        return count
    }

    /// Whether a rank of `range` is a member and not one of `other`.
    func hasMember(in range: Range<Int>, notIn other: RankSet) -> Bool {
        if range.isEmpty { return false }
        let first = range.lowerBound >> 6
        let last = (range.upperBound - 1) >> 6
        for index in first...last {
            var word = words[index] & ~other.words[index]
            if index == first { word &= UInt64.max << UInt64(range.lowerBound & 63) }
            if index == last { word &= UInt64.max >> UInt64(63 - (range.upperBound - 1) & 63) }
            if word != 0 { return true }
        }
        return false
    }
}
