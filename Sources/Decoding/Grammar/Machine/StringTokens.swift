/// The tokens of a vocabulary by what they are inside of a JSON string: *content* (no closing
/// quote) or *crossing*: content, the closing quote, and a suffix.
///
/// A mask inside of a string is then two sets put together: the content that can come, which
/// depends on the string alone, and the crossing tokens whose content can end where it does (the
/// string's matter) and whose suffix can follow (the matter of what the string stands in). Both are
/// shared by all positions that have them in common. GLM-4 has 1,324 crossing tokens with 584
/// suffixes, so the second half is 21 words.
struct StringTokens: Sendable {
    typealias Node = TokenTrie.Node

    /// `content[n]`: tokens of at most n characters begun, with any escapes; and the longer ones.
    let content: [[UInt64]]
    let longContent: [(token: Int32, length: Int)]
    /// The same with canonical escapes only, of any length.
    let canonicalContent: [UInt64]
    /// Crossing tokens; sets of them are bits by their place here.
    let crossing: [Int32]
    /// `ending[n]`: crossing tokens of at most n characters before the quote.
    let ending: [[UInt64]]
    let canonicalEnding: [UInt64]
    /// The crossing tokens by all of their bytes.
    let crossingTrie: [Node]
    /// Suffixes, each with its tokens' places in `crossing`.
    let suffixTrie: [Node]
    let suffixes: [[Int32]]

    static let lengthMax = 64

    init(_ tokens: [[UInt8]]) {
        let words = (tokens.count + 63) / 64
        var byLength = [[UInt64]](
            repeating: Array(repeating: 0, count: words), count: Self.lengthMax + 1)
        var long: [(token: Int32, length: Int)] = []
        var canonical = byLength[0]
        var found: [(token: Int32, length: Int, isCanonical: Bool, suffix: [UInt8])] = []
        for (id, bytes) in tokens.enumerated() where !bytes.isEmpty {
            guard let part = Self.part(bytes, isCanonical: false) else { continue }
            let isCanonical = Self.part(bytes, isCanonical: true) != nil
            let length = part.length
            if let suffix = part.suffix {
                found.append((Int32(id), length, isCanonical, Array(bytes[suffix...])))
                continue
            }
            if length > Self.lengthMax { long.append((Int32(id), length)) } else {
                byLength[length][id >> 6] |= 1 << UInt64(id & 63)
            }
            if isCanonical { canonical[id >> 6] |= 1 << UInt64(id & 63) }
        }
        for length in byLength.indices.dropFirst() {
            for word in 0..<words { byLength[length][word] |= byLength[length - 1][word] }
        }
        content = byLength
        longContent = long
        canonicalContent = canonical
        crossing = found.map(\.token)
        let few = (found.count + 63) / 64
        var endings = [[UInt64]](
            repeating: Array(repeating: 0, count: few),
            count: (found.map(\.length).max() ?? 0) + 1)
        var canonicalEndings = [UInt64](repeating: 0, count: few)
        var bySuffix: [[UInt8]: [Int32]] = [:]
        for (place, one) in found.enumerated() {
            for length in one.length..<endings.count {
                endings[length][place >> 6] |= 1 << UInt64(place & 63)
            }
            if one.isCanonical { canonicalEndings[place >> 6] |= 1 << UInt64(place & 63) }
            bySuffix[one.suffix, default: []].append(Int32(place))
        }
        ending = endings
        canonicalEnding = canonicalEndings
        let sorted = bySuffix.keys.sorted { $0.lexicographicallyPrecedes($1) }
        suffixes = sorted.map { bySuffix[$0] ?? [] }
        // The empty suffix, if it is there, is the first and has no node.
        let hasEmpty = sorted.first?.isEmpty ?? false
        let ids = sorted.indices.dropFirst(hasEmpty ? 1 : 0).map { Int32($0) }
        suffixTrie = TokenTrie.trie(ids, sorted)
        crossingTrie = TokenTrie.trie(crossing.sorted {
            tokens[Int($0)].lexicographicallyPrecedes(tokens[Int($1)])
        }, tokens)
        hasEmptySuffix = hasEmpty
        var quoting: [[UInt8]: [Int32]] = [:]
        var many: [Int32] = [], closing: [Int32] = [], lists: [Int32] = []
        for (id, bytes) in tokens.enumerated() {
            let quotes = Self.quotes(bytes)
            if quotes.count >= 4 { many.append(Int32(id)) }
            for (open, close) in zip(quotes, quotes.dropFirst()) {
                quoting[Array(bytes[(open + 1)..<close]), default: []].append(Int32(id))
            }
            if bytes.contains(where: { $0 == 0x5D || $0 == 0x7D }) { closing.append(Int32(id)) }
            if Self.holdsItemAfterComma(bytes) { lists.append(Int32(id)) }
        }
        self.quoting = quoting
        withManyQuotes = many
        self.closing = closing
        self.lists = lists
        escaping = crossing.filter { token in
            let bytes = tokens[Int(token)]
            return bytes[..<(Self.quotes(bytes).first ?? 0)].contains(0x5C)
        }
    }

    let hasEmptySuffix: Bool

    // Tokens that can finish what must not stand twice: see ``JSONGuard``.

    /// Tokens by the whole texts between quotes in them.
    let quoting: [[UInt8]: [Int32]]
    /// Two of them in one token.
    let withManyQuotes: [Int32]
    /// Crossing tokens with an escape before the quote.
    let escaping: [Int32]
    /// Tokens that close a container.
    let closing: [Int32]
    /// Tokens that may hold a whole item after a comma.
    let lists: [Int32]

    /// Visits the crossing tokens that begin with a text.
    func forEachCrossing(beginning text: [UInt8], _ body: (Int32) -> Void) {
        var at = 0
        var depth = 1
        while at < crossingTrie.count, Int(crossingTrie[at].extent >> 24) == depth {
            let size = Int(crossingTrie[at].extent & 0xFF_FFFF)
            guard UInt8(truncatingIfNeeded: crossingTrie[at].content) == text[depth - 1] else {
                at += size
                continue
            }
            if depth == text.count {
                for below in at..<at + size where crossingTrie[below].content >> 8 > 0 {
                    body(Int32(crossingTrie[below].content >> 8) - 1)
                }
                return
            }
            at += 1
            depth += 1
        }
    }

    private static func quotes(_ bytes: [UInt8]) -> [Int] {
        var places: [Int] = []
        var isEscaped = false
        for (place, byte) in bytes.enumerated() {
            if isEscaped { isEscaped = false } else if byte == 0x5C { isEscaped = true } else
            if byte == 0x22 { places.append(place) }
        }
        return places
    }

    private static func holdsItemAfterComma(_ bytes: [UInt8]) -> Bool {
        guard let comma = bytes.firstIndex(of: UInt8(ascii: ",")), comma + 1 < bytes.count else {
            return false
        }
        // `true`, `false` and `null` are decided by their first letter.
        let first = bytes[(comma + 1)...].first { $0 > 0x20 } ?? 0
        if [0x74, 0x66, 0x6E].contains(first) { return true }
        return bytes[(comma + 2)...].contains {
            [0x22, 0x2C, 0x5D, 0x7D, 0x20, 0x0A].contains($0)
        }
    }

    /// Adds the content of at most so many characters; all of it for `Int.max`.
    func addContent(atMost length: Int, _ mask: inout TokenMask) {
        if length < 0 { return }
        mask.formUnion(content[min(length, Self.lengthMax)])
        if length > Self.lengthMax {
            for (token, own) in longContent where own <= length { mask[token] = true }
        }
    }

    /// Crossing tokens with so many characters before the quote.
    func ending(_ least: Int, _ most: Int) -> [UInt64] {
        var set = ending[max(0, min(most, ending.count - 1))]
        if most < 0 || least > most { return set.map { _ in 0 } }
        if least > 0 {
            let short = ending[min(least - 1, ending.count - 1)]
            for index in set.indices { set[index] &= ~short[index] }
        }
        return set
    }

    /// The place of a crossing token.
    func place(_ token: Int) -> Int {
        var low = 0
        var high = crossing.count - 1
        while low < high {
            let middle = (low + high) / 2
            if Int(crossing[middle]) < token { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// - Returns: characters begun before the closing quote, and where the suffix begins; nil when
    ///   no string goes on so.
    private static func part(
        _ bytes: [UInt8], isCanonical: Bool
    ) -> (length: Int, suffix: Int?)? {
        var state = StringLexer.start
        var length = 0
        for (index, byte) in bytes.enumerated() {
            if state == StringLexer.start {
                if byte == 0x22 { return (length, index + 1) }
                length += 1
            }
            guard let next = StringLexer.step(state, byte, isCanonical: isCanonical) else {
                return nil
            }
            state = next.state
        }
        return (length, nil)
    }
}
