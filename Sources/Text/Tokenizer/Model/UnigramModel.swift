/// One position of the Viterbi lattice: the best way to reach it.
struct LatticeNode: Sendable {
    var score: Double
    var start: Int32
    var id: TokenID
}

/// Unigram language model segmentation (Kudo 2018, as in SentencePiece): the most probable
/// sequence of pieces by Viterbi, linear in the text.
struct UnigramModel: Sendable {
    var pieces: PieceTable
    var scores: [Double]
    var trie: ByteTrie
    /// -1 where the vocabulary has no `<0xXX>`; empty without byte fallback.
    var byteIDs: [TokenID]
    var unknownID: TokenID?
    var fusesUnknown: Bool
    /// SentencePiece adds scores in single precision, the tokenizers library in double; ties
    /// fall differently.
    var singlePrecision: Bool
    private let unknownScore: Double

    /// An unknown character costs this much more than the rarest piece.
    private static let unknownPenalty = 10.0

    init(
        pieces: PieceTable, scores: [Double], searchable: (Int) -> Bool, byteIDs: [TokenID],
        unknownID: TokenID?, fusesUnknown: Bool, singlePrecision: Bool
    ) {
        self.pieces = pieces
        self.scores = scores
        self.byteIDs = byteIDs
        self.unknownID = unknownID
        self.fusesUnknown = fusesUnknown
        self.singlePrecision = singlePrecision
        var trie = ByteTrie()
        var lowest = Double.infinity
        for id in scores.indices where searchable(id) {
            trie.insert(Array(pieces.bytes(of: TokenID(id))), value: TokenID(id))
            lowest = min(lowest, scores[id])
        }
        self.trie = trie
        unknownScore = (lowest.isFinite ? lowest : 0) - Self.unknownPenalty
    }

    func encode(
        _ bytes: [UInt8], _ start: Int, _ end: Int, scratch: inout EncodeScratch,
        into output: inout [TokenID]
    ) {
        openLattice(end - start, &scratch)
        _ = relax(bytes, start, start, end, end, &scratch)
        backtrack(bytes, start, end, scratch.lattice, into: &output)
    }

    func openLattice(_ count: Int, _ scratch: inout EncodeScratch) {
        let unreached = LatticeNode(score: -.infinity, start: -1, id: -1)
        scratch.lattice.removeAll(keepingCapacity: true)
        scratch.lattice.append(contentsOf: repeatElement(unreached, count: count + 1))
        scratch.lattice[0].score = 0
    }

    /// Finds the best ways from the positions `first` to `stop` of a word from `start` to `end`.
    /// - Returns: the position to go on from.
    func relax(
        _ bytes: [UInt8], _ start: Int, _ first: Int, _ stop: Int, _ end: Int,
        _ scratch: inout EncodeScratch
    ) -> Int {
        var index = first
        while index < stop {
            let length = max(UTF8Scan.scalarLength(bytes, at: index, end: end), 1)
            let here = scratch.lattice[index - start].score
            var hasSingle = false
            trie.forEachPrefix(of: bytes, from: index, end: end) { stop, id in
                if stop == index + length { hasSingle = true }
                relax(
                    &scratch.lattice[stop - start], here, scores[Int(id)], from: index - start, id)
            }
            if !hasSingle {
                relax(
                    &scratch.lattice[index + length - start], here, unknownScore,
                    from: index - start, -1)
            }
            index += length
        }
        return index
    }

    @inline(__always)
    private func relax(
        _ node: inout LatticeNode, _ score: Double, _ step: Double, from start: Int, _ id: TokenID
    ) {
        let sum = singlePrecision ? Double(Float(score) + Float(step)) : score + step
        if node.start < 0 || sum > node.score {
            node = LatticeNode(score: sum, start: Int32(truncatingIfNeeded: start), id: id)
        }
    }

    func backtrack(
        _ bytes: [UInt8], _ start: Int, _ end: Int, _ lattice: [LatticeNode],
        into output: inout [TokenID]
    ) {
        let first = output.count
        var position = end - start
        // Ids come out back to front; so do the bytes of an unknown character.
        var fusing = false
        while position > 0 {
            let node = lattice[position]
            let from = Int(node.start)
            if node.id >= 0 {
                output.append(node.id)
                fusing = false
            } else if !byteIDs.isEmpty {
                for index in (start + from..<start + position).reversed() {
                    output.append(byteIDs[Int(bytes[index])])
                }
            } else if let unknownID {
                if !(fusing && fusesUnknown) { output.append(unknownID) }
                fusing = true
            }
            position = from
        }
        output[first...].reverse()
    }
}

/// A trie over bytes whose edges live in one hash table: prefixes of a text at a position are
/// found with one probe per byte.
struct ByteTrie: Sendable {
    private var edges: [UInt64] = [UInt64](repeating: 0, count: 16)
    private var targets: [Int32] = [Int32](repeating: 0, count: 16)
    private var edgeCount = 0
    /// Value of each node, -1 for none; node 0 is the root.
    private var values: [TokenID] = [-1]
    /// Bytes that start some entry: lets a scan over plain text skip quickly.
    private(set) var startsEntry = [Bool](repeating: false, count: 256)

    var isEmpty: Bool { edgeCount == 0 }

    /// The key is never 0: the byte is stored plus one.
    @inline(__always)
    private static func key(_ node: Int32, _ byte: UInt8) -> UInt64 {
        UInt64(UInt32(bitPattern: node)) << 16 | UInt64(byte) &+ 1
    }

    @inline(__always)
    private func slot(_ key: UInt64) -> Int {
        let hash = key &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: hash >> 32) & (edges.count &- 1)
    }

    @inline(__always)
    private func child(_ node: Int32, _ byte: UInt8) -> Int32 {
        let key = Self.key(node, byte)
        var index = slot(key)
        while true {
            let found = edges[index]
            if found == key { return targets[index] }
            if found == 0 { return -1 }
            index = (index &+ 1) & (edges.count &- 1)
        }
    }

    mutating func insert(_ bytes: [UInt8], value: TokenID) {
        guard let first = bytes.first else { return }
        startsEntry[Int(first)] = true
        var node: Int32 = 0
        for byte in bytes {
            var next = child(node, byte)
            if next < 0 {
                next = Int32(truncatingIfNeeded: values.count)
                values.append(-1)
                addEdge(Self.key(node, byte), to: next)
            }
            node = next
        }
        if values[Int(node)] < 0 { values[Int(node)] = value }
    }

    private mutating func addEdge(_ key: UInt64, to target: Int32) {
        if (edgeCount + 1) * 2 > edges.count {
            let old = zip(edges, targets).filter { $0.0 != 0 }
            let count = edges.count * 2
            edges = [UInt64](repeating: 0, count: count)
            targets = [Int32](repeating: 0, count: count)
            for (key, target) in old { place(key, target) }
        }
        place(key, target)
        edgeCount += 1
    }

    private mutating func place(_ key: UInt64, _ target: Int32) {
        var index = slot(key)
        while edges[index] != 0 { index = (index + 1) & (edges.count - 1) }
        edges[index] = key
        targets[index] = target
    }

    /// Calls `body` with the end and the value of every entry that starts at `start`, shortest
    /// first.
    @inline(__always)
    func forEachPrefix(
        of bytes: [UInt8], from start: Int, end: Int, _ body: (Int, TokenID) -> Void
    ) {
        var node: Int32 = 0
        var index = start
        while index < end {
            node = child(node, bytes[index])
            if node < 0 { return }
            index &+= 1
            let value = values[Int(node)]
            if value >= 0 { body(index, value) }
        }
    }
}
