/// The tokens of a vocabulary by their bytes, as a flat tree in depth-first order: the walk goes
/// to the next node, or over a subtree.
///
/// Made once per tokenizer. Tokens that are whole characters without need of an escape — nearly
/// all — are kept as one set by length besides, and a second, small tree has the others: inside of
/// a JSON string only those are walked.
package final class TokenTrie: Sendable {
    struct Node: Sendable {
        /// Byte in the low 8 bits, token + 1 above; 0 when no token ends here.
        var content: UInt32
        /// Nodes of the subtree in the low 24 bits, depth above (of a first byte 1).
        var extent: UInt32
    }

    /// Bits of a mask.
    package let tokenCount: Int
    /// Tokens that end the text.
    package let endTokens: [Int32]
    /// The bytes of each token; none for those that stand for no text.
    package let tokens: [[UInt8]]
    let all: [Node]
    let rest: [Node]
    /// `plain[n]`: tokens of at most n whole characters, none of which a JSON string escapes.
    let plain: [[UInt64]]
    let depthMax: Int
    let strings: StringTokens
    /// Tokens with the same bytes as one of a smaller number.
    private let twins: [(Int32, same: Int32)]

    /// - Parameter tokens: the bytes of each token; none for those that stand for no text (special
    ///   tokens must be among these: a grammar reaches them by number).
    package init(tokens: [[UInt8]], endTokens: [Int32]) {
        precondition(tokens.count < 1 << 24)
        // The walk keeps a stack by depth; a longer token is no text that anyone writes.
        self.tokens = tokens.map { $0.count < 250 ? $0 : [] }
        self.endTokens = endTokens
        tokenCount = tokens.count
        var lengths: [Int] = Array(repeating: 0, count: tokens.count)
        var others: [Int32] = []
        var ids: [Int32] = []
        for (id, bytes) in tokens.enumerated() where !bytes.isEmpty {
            guard bytes.count < 250 else { continue }
            ids.append(Int32(id))
            lengths[id] = Self.plainLength(bytes)
            if lengths[id] == 0 { others.append(Int32(id)) }
        }
        let sorted = Self.sorted(ids, tokens)
        var twins: [(Int32, same: Int32)] = []
        all = Self.build(sorted, tokens, &twins)
        self.twins = twins
        var ignored: [(Int32, same: Int32)] = []
        rest = Self.build(Self.sorted(others, tokens), tokens, &ignored)
        let longest = min(lengths.max() ?? 0, 64)
        let words = (tokens.count + 63) / 64
        var sets = [[UInt64]](repeating: [UInt64](repeating: 0, count: words), count: longest + 2)
        for id in ids where lengths[Int(id)] > 0 {
            let first = min(lengths[Int(id)], longest + 1)
            sets[first][Int(id) >> 6] |= 1 << UInt64(id & 63)
        }
        for length in sets.indices.dropFirst() {
            for word in 0..<words { sets[length][word] |= sets[length - 1][word] }
        }
        plain = sets
        var different = self.tokens
        for (twin, _) in twins { different[Int(twin)] = [] }
        strings = StringTokens(different)
        depthMax = tokens.reduce(0) { max($0, $1.count) }
    }

    /// Characters of a token that JSON strings hold as they are; 0 for others.
    private static func plainLength(_ bytes: [UInt8]) -> Int {
        var state: UInt8 = 0
        var count = 0
        for byte in bytes {
            if byte < 0x20 || byte == 0x22 || byte == 0x5C { return 0 }
            if state == 0 { count += 1 }
            guard let next = StringLexer.character(state, byte) else { return 0 }
            state = next
        }
        return state == 0 ? count : 0
    }

    private static func sorted(_ ids: [Int32], _ tokens: [[UInt8]]) -> [Int32] {
        ids.sorted { left, right in
            let (a, b) = (tokens[Int(left)], tokens[Int(right)])
            return a == b ? left < right : a.lexicographicallyPrecedes(b)
        }
    }

    /// A tree of distinct strings by number; `ids` in the order of their bytes.
    static func trie(_ ids: [Int32], _ strings: [[UInt8]]) -> [Node] {
        var ignored: [(Int32, same: Int32)] = []
        return build(ids, strings, &ignored)
    }

    private static func build(
        _ ids: [Int32], _ tokens: [[UInt8]], _ twins: inout [(Int32, same: Int32)]
    ) -> [Node] {
        var nodes: [Node] = []
        // Nodes whose subtree is not closed yet, one for each byte of the token before.
        var open: [Int] = []
        var before: [UInt8] = []
        func close(to depth: Int) {
            while open.count > depth {
                let index = open.removeLast()
                nodes[index].extent = UInt32(nodes.count - index) | UInt32(open.count + 1) << 24
            }
        }
        for id in ids {
            let bytes = tokens[Int(id)]
            var shared = 0
            while shared < min(before.count, bytes.count), before[shared] == bytes[shared] {
                shared += 1
            }
            close(to: shared)
            for byte in bytes[shared...] {
                open.append(nodes.count)
                nodes.append(Node(content: UInt32(byte), extent: 0))
            }
            let last = open[bytes.count - 1]
            if nodes[last].content >> 8 == 0 {
                nodes[last].content |= UInt32(id + 1) << 8
            } else {
                twins.append((id, Int32(nodes[last].content >> 8) - 1))
            }
            before = bytes
        }
        close(to: 0)
        return nodes
    }

    /// The text of a token; none for those that stand for no text.
    package func bytes(of token: Int32) -> [UInt8] { tokens[Int(token)] }

    /// Visits the tokens that a text begins with.
    func forEachToken(beginning text: [UInt8], _ body: (Int32) -> Void) {
        var at = 0
        var depth = 1
        while at < all.count, depth <= text.count, Int(all[at].extent >> 24) == depth {
            if UInt8(truncatingIfNeeded: all[at].content) != text[depth - 1] {
                at += Int(all[at].extent & 0xFF_FFFF)
                continue
            }
            if all[at].content >> 8 > 0 { body(Int32(all[at].content >> 8) - 1) }
            at += 1
            depth += 1
        }
    }

    /// Gives tokens of equal bytes equal bits.
    func completeTwins(_ mask: inout TokenMask) {
        for (token, same) in twins where mask[same] { mask[token] = true }
    }
}
