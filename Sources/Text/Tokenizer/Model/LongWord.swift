/// A word too long to be encoded in one go: its merges, or its lattice, advanced in slices.
///
/// Clients choose how long a word is (megabytes of spaces, a text without any), so one word must
/// not hold a thread any more than one text may.
struct LongWord: Sendable {
    /// Words from here on are worth slices: some milliseconds each.
    static let bytesMin = 16 << 10
    let start: Int
    let end: Int
    fileprivate var phase = Phase.cut
    fileprivate var position: Int
    fileprivate var scratch = EncodeScratch()

    fileprivate enum Phase: Sendable {
        case cut, candidates, merge, done
    }

    init(_ start: Int, _ end: Int) {
        (self.start, self.end) = (start, end)
        position = start
    }

    var isDone: Bool { phase == .done }
}

extension BPEModel {
    /// Goes on with `word` for about `budget` symbols; its ids are appended when it is done.
    /// The same steps, in the same order, as for a short word.
    /// - Returns: the symbols looked at.
    func advance(
        _ word: inout LongWord, _ bytes: [UInt8], budget: Int, into output: inout [TokenID]
    ) -> Int {
        var spent = 0
        while spent < budget, !word.isDone {
            switch word.phase {
            case .cut:
                if word.position == word.start {
                    let whole = takesWholeWords ? pieces.id(of: bytes, word.start, word.end) : -1
                    if whole >= 0 {
                        output.append(whole)
                        word.phase = .done
                        continue
                    }
                    // At once: growing by doubling would take up to three times as much.
                    word.scratch.reserve(symbols: word.end - word.start)
                }
                let stop = Self.limit(word.position, budget - spent, word.end)
                let next = cut(bytes, word.position, stop, word.end, into: &word.scratch.symbols)
                spent += next - word.position
                word.position = next
                guard next == word.end else { continue }
                endCut(&word.scratch.symbols)
                word.phase = .candidates
                word.position = 0
            case .candidates:
                let last = word.scratch.symbols.count - 1
                let stop = Self.limit(word.position, budget - spent, last)
                spent += max(stop - word.position, 1)
                pushCandidates(bytes, word.position, stop, &word.scratch)
                word.position = max(stop, word.position)
                if stop >= last { word.phase = .merge }
            case .merge:
                // A merge moves about in memory: it counts four times.
                let merged = merge(bytes, &word.scratch, count: max((budget - spent) / 4, 1))
                spent += merged.count * 4
                guard merged.isDone else { continue }
                emit(bytes, word.scratch.symbols, into: &output)
                word.phase = .done
            case .done: break
            }
        }
        return spent
    }

    private static func limit(_ position: Int, _ count: Int, _ end: Int) -> Int {
        count < end - position ? position + count : end
    }
}

extension UnigramModel {
    /// Goes on with `word` for about `budget` bytes; its ids are appended when it is done.
    /// - Returns: the bytes looked at.
    func advance(
        _ word: inout LongWord, _ bytes: [UInt8], budget: Int, into output: inout [TokenID]
    ) -> Int {
        if word.position == word.start { openLattice(word.end - word.start, &word.scratch) }
        let stop = budget < word.end - word.position ? word.position + budget : word.end
        let next = relax(bytes, word.start, word.position, stop, word.end, &word.scratch)
        let spent = next - word.position
        word.position = next
        if next == word.end {
            backtrack(bytes, word.start, word.end, word.scratch.lattice, into: &output)
            word.phase = .done
        }
        return max(spent, 1)
    }
}
