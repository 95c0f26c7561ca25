/// Byte-pair encoding of one word (Sennrich et al. 2016), for every flavour in use.
///
/// The flavours differ in three things: what a word is cut into at first (bytes or characters),
/// which neighbours may merge and how early (a list of pairs, or any concatenation that is in
/// the vocabulary), and what becomes of characters outside the vocabulary.
struct BPEModel: Sendable {
    enum Rule: Sendable {
        /// tokenizer.json and merges.txt: listed pairs in order.
        case pairs(PairTable)
        /// tiktoken and SentencePiece: two neighbours merge when their concatenation is a piece;
        /// its rank is looked up by id.
        case concatenation(ranks: [UInt32])
    }

    enum Alphabet: Sendable {
        case bytes
        case characters
    }

    let pieces: PieceTable
    let alphabet: Alphabet
    // The rule taken apart: matching an enum with a table inside would retain the table for
    // every pair of symbols looked at.
    private let mergesPairs: Bool
    private let pairs: PairTable
    private let ranks: [UInt32]
    /// A word that is a piece is that piece, whatever the merges would make of it
    /// (tiktoken, `ignore_merges`).
    let takesWholeWords: Bool
    /// Ids of the 256 single bytes (-1 where there is none): the symbols of `.bytes`, the
    /// fallback of `.characters`; empty when characters have no byte fallback.
    let byteIDs: [TokenID]
    let unknownID: TokenID?
    let fusesUnknown: Bool

    static let never = UInt64.max

    init(
        pieces: PieceTable, rule: Rule, alphabet: Alphabet, takesWholeWords: Bool,
        byteIDs: [TokenID], unknownID: TokenID?, fusesUnknown: Bool
    ) {
        self.pieces = pieces
        self.alphabet = alphabet
        self.takesWholeWords = takesWholeWords
        self.byteIDs = byteIDs
        self.unknownID = unknownID
        self.fusesUnknown = fusesUnknown
        switch rule {
        case .pairs(let table):
            (mergesPairs, pairs, ranks) = (true, table, [])
        case .concatenation(let byID):
            (mergesPairs, pairs, ranks) = (false, PairTable(capacity: 0), byID)
        }
    }

    /// Appends the ids of `bytes[start..<end]` to `output`.
    @inline(__always)
    func encode(
        _ bytes: [UInt8], _ start: Int, _ end: Int, scratch: inout EncodeScratch,
        into output: inout [TokenID]
    ) {
        guard end &- start <= ShortWord.bytesMax else {
            encodeLong(bytes, start, end, scratch: &scratch, into: &output)
            return
        }
        let word = ShortWord(bytes, start, end)
        if scratch.shortWords.append(word, to: &output) { return }
        let first = output.count
        encodeLong(bytes, start, end, scratch: &scratch, into: &output)
        scratch.shortWords.insert(word, output, from: first)
    }

    @inline(never)
    private func encodeLong(
        _ bytes: [UInt8], _ start: Int, _ end: Int, scratch: inout EncodeScratch,
        into output: inout [TokenID]
    ) {
        let length = end &- start
        if length > WordCache.wordBytesMax {
            encodeUncached(bytes, start, end, scratch: &scratch, into: &output)
            return
        }
        let hash = PieceTable.hash(bytes, start, end)
        if takesWholeWords {
            let whole = pieces.id(of: bytes, start, end, hash: hash)
            if whole >= 0 {
                output.append(whole)
                return
            }
        }
        if scratch.words.append(bytes, start, end, hash: hash, to: &output) { return }
        let first = output.count
        encodeUncached(bytes, start, end, scratch: &scratch, into: &output)
        scratch.words.insert(bytes, start, end, hash: hash, ids: output[first...])
    }

    @inline(never)
    private func encodeUncached(
        _ bytes: [UInt8], _ start: Int, _ end: Int, scratch: inout EncodeScratch,
        into output: inout [TokenID]
    ) {
        if takesWholeWords {
            let whole = pieces.id(of: bytes, start, end)
            if whole >= 0 {
                output.append(whole)
                return
            }
        }
        scratch.symbols.removeAll(keepingCapacity: true)
        _ = cut(bytes, start, end, end, into: &scratch.symbols)
        endCut(&scratch.symbols)
        // Few symbols: looking for the lowest rank again after each merge beats a heap.
        if scratch.symbols.count <= 24 {
            mergeFew(bytes, &scratch)
        } else {
            mergeMany(bytes, &scratch)
        }
        emit(bytes, scratch.symbols, into: &output)
    }

    // MARK: First cut

    /// Cuts from `start` until `stop` or a little further, within a word that ends at `end`.
    /// - Returns: where the next symbol begins.
    func cut(
        _ bytes: [UInt8], _ start: Int, _ stop: Int, _ end: Int,
        into symbols: inout [MergeSymbol]
    ) -> Int {
        var index = start
        while index < stop {
            switch alphabet {
            case .bytes:
                append(index, index + 1, id: byteIDs[Int(bytes[index])], to: &symbols)
                index += 1
            case .characters:
                let length = max(UTF8Scan.scalarLength(bytes, at: index, end: end), 1)
                cutCharacter(bytes, index, index + length, into: &symbols)
                index += length
            }
        }
        return index
    }

    func endCut(_ symbols: inout [MergeSymbol]) {
        if let last = symbols.indices.last { symbols[last].next = -1 }
    }

    private func append(
        _ start: Int, _ end: Int, id: TokenID, frozen: Bool = false,
        to symbols: inout [MergeSymbol]
    ) {
        let count = Int32(truncatingIfNeeded: symbols.count)
        symbols.append(
            MergeSymbol(
                start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: end),
                id: id, previous: count - 1, next: count + 1, isFrozen: frozen))
    }

    private func cutCharacter(
        _ bytes: [UInt8], _ start: Int, _ end: Int, into symbols: inout [MergeSymbol]
    ) {
        let id = pieces.id(of: bytes, start, end)
        if id >= 0 {
            append(start, end, id: id, to: &symbols)
            return
        }
        // Under `.concatenation` an unknown character may still be part of a known piece; it
        // falls back only once the merging is over.
        if !mergesPairs {
            append(start, end, id: -1, to: &symbols)
            return
        }
        if hasFallback(bytes, start, end) {
            for index in start..<end {
                append(index, index + 1, id: byteIDs[Int(bytes[index])], to: &symbols)
            }
        } else if let unknownID {
            if fusesUnknown, let last = symbols.indices.last, symbols[last].isFrozen {
                symbols[last].end = Int32(truncatingIfNeeded: end)
            } else {
                append(start, end, id: unknownID, frozen: true, to: &symbols)
            }
        }
    }

    private func hasFallback(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Bool {
        !byteIDs.isEmpty && bytes[start..<end].allSatisfy { byteIDs[Int($0)] >= 0 }
    }

    // MARK: Merging

    /// `rank << 32 | merged id`, or `never`.
    @inline(__always)
    private func candidate(
        _ bytes: [UInt8], _ left: MergeSymbol, _ right: MergeSymbol
    ) -> UInt64 {
        if mergesPairs {
            return left.isFrozen || right.isFrozen ? Self.never : pairs.merge(left.id, right.id)
        }
        let id = pieces.id(of: bytes, Int(left.start), Int(right.end))
        return id < 0 ? Self.never : UInt64(ranks[Int(id)]) << 32 | UInt64(UInt32(id))
    }

    private func mergeFew(_ bytes: [UInt8], _ scratch: inout EncodeScratch) {
        var count = scratch.symbols.count
        scratch.ranks.removeAll(keepingCapacity: true)
        for index in 0..<max(count - 1, 0) {
            scratch.ranks.append(
                candidate(bytes, scratch.symbols[index], scratch.symbols[index + 1]))
        }
        while count > 1 {
            var best = Self.never
            var at = -1
            for index in 0..<count - 1 where scratch.ranks[index] >> 32 < best >> 32 {
                best = scratch.ranks[index]
                at = index
            }
            guard at >= 0 else { return }
            scratch.symbols[at].end = scratch.symbols[at + 1].end
            scratch.symbols[at].id = TokenID(truncatingIfNeeded: best & 0xFFFF_FFFF)
            scratch.symbols.remove(at: at + 1)
            scratch.ranks.remove(at: at)
            count -= 1
            if at < count - 1 {
                scratch.ranks[at] = candidate(
                    bytes, scratch.symbols[at], scratch.symbols[at + 1])
            }
            if at > 0 {
                scratch.ranks[at - 1] = candidate(
                    bytes, scratch.symbols[at - 1], scratch.symbols[at])
            }
        }
    }

    /// n log n in the length of the word, so that a megabyte without a space is no attack.
    private func mergeMany(_ bytes: [UInt8], _ scratch: inout EncodeScratch) {
        scratch.heap.removeAll()
        pushCandidates(bytes, 0, scratch.symbols.count - 1, &scratch)
        _ = merge(bytes, &scratch, count: .max)
    }

    func pushCandidates(
        _ bytes: [UInt8], _ start: Int, _ end: Int, _ scratch: inout EncodeScratch
    ) {
        var index = start
        while index < end {
            pushCandidate(bytes, Int32(truncatingIfNeeded: index), &scratch)
            index += 1
        }
    }

    /// At most `count` candidates, best first.
    func merge(
        _ bytes: [UInt8], _ scratch: inout EncodeScratch, count: Int
    ) -> (count: Int, isDone: Bool) {
        var looked = 0
        while looked < count {
            guard let entry = scratch.heap.pop() else {
                scratch.symbols.removeAll { $0.end == $0.start }
                return (looked, true)
            }
            looked += 1
            let left = Int(entry.position)
            let symbol = scratch.symbols[left]
            guard symbol.end > symbol.start, symbol.next >= 0 else { continue }
            let right = Int(symbol.next)
            // Boundaries only ever vanish, so an equal span means an unchanged pair.
            guard scratch.symbols[right].end - symbol.start == entry.length else { continue }
            let after = scratch.symbols[right].next
            scratch.symbols[left].end = scratch.symbols[right].end
            scratch.symbols[left].id = entry.merged
            scratch.symbols[left].next = after
            scratch.symbols[right].end = scratch.symbols[right].start
            if after >= 0 {
                scratch.symbols[Int(after)].previous = entry.position
                pushCandidate(bytes, entry.position, &scratch)
            }
            if symbol.previous >= 0 { pushCandidate(bytes, symbol.previous, &scratch) }
        }
        return (looked, false)
    }

    @inline(__always)
    private func pushCandidate(_ bytes: [UInt8], _ left: Int32, _ scratch: inout EncodeScratch) {
        let symbol = scratch.symbols[Int(left)]
        let neighbour = scratch.symbols[Int(symbol.next)]
        let found = candidate(bytes, symbol, neighbour)
        guard found != Self.never else { return }
        scratch.heap.push(
            MergeHeap.Entry(
                rank: UInt32(truncatingIfNeeded: found >> 32), position: left,
                merged: TokenID(truncatingIfNeeded: found & 0xFFFF_FFFF),
                length: neighbour.end - symbol.start))
    }

    // MARK: Result

    func emit(_ bytes: [UInt8], _ symbols: [MergeSymbol], into output: inout [TokenID]) {
        var afterUnknown = false
        for symbol in symbols {
            if symbol.id >= 0 {
                output.append(symbol.id)
                afterUnknown = false
                continue
            }
            let range = Int(symbol.start)..<Int(symbol.end)
            if hasFallback(bytes, range.lowerBound, range.upperBound) {
                for index in range { output.append(byteIDs[Int(bytes[index])]) }
                afterUnknown = false
            } else if let unknownID {
                if !(fusesUnknown && afterUnknown) { output.append(unknownID) }
                afterUnknown = true
            }
        }
    }
}
