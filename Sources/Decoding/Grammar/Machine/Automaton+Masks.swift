/// Token masks: the token trie walked along the machine's rows.
///
/// Measured with GLM-4's 151,552 tokens (341,000 nodes): walking all of them inside a JSON string
/// takes a millisecond; the set of plain tokens and the tree of the other 5,800 take 8 µs.
extension Automaton {
    /// Sets the bits of the tokens that can follow: string by string from sets, the rest by a walk.
    func fill(_ mask: inout TokenMask, _ configuration: Int32, _ trie: TokenTrie) {
        mask.removeAll()
        var others: [Int32] = []
        for thread in threads(of: configuration) where !addString(thread, &mask, trie) {
            others.append(thread)
        }
        if !others.isEmpty {
            out = others
            let place = others.count == threads(of: configuration).count ? configuration : intern()
            if place >= 0 { walk(&mask, place, trie) }
        }
        for token in tables.specialTokens where Int(token) < mask.count {
            if successor(configuration, token: token) >= 0 { mask[token] = true }
        }
        if accepts(configuration) {
            for token in trie.endTokens { mask[token] = true }
        }
    }

    private func walk(_ mask: inout TokenMask, _ configuration: Int32, _ trie: TokenTrie) {
        if let known = masks[configuration] { return mask.formUnion(known) }
        let (room, isAlone) = plainRoom(configuration, longest: trie.plain.count - 1)
        // Where such text is all there is, plain tokens are allowed by their length alone.
        let isCovered = room > 0 && (isAlone || room == trie.plain.count - 1)
        let nodes = isCovered ? trie.rest : trie.all
        var own = mask
        own.removeAll()
        own.formUnion(trie.plain[room])
        let visited = unsafe own.withWords { words in unsafe walk(nodes, configuration, words) }
        mask.formUnion(own.words)
        if visited ?? 0 > Self.nodesWorthKeeping, failure == nil { keep(own.words, configuration) }
    }

    private static let nodesWorthKeeping = 1_000
    private static let masksMax = 256

    private func keep(_ words: [UInt64], _ configuration: Int32) {
        if maskOrder.count >= Self.masksMax {
            masks[maskOrder.removeFirst()] = nil
        }
        masks[configuration] = words
        maskOrder.append(configuration)
    }

    /// - Returns: nodes visited.
    private func walk(
        _ nodes: [TokenTrie.Node], _ configuration: Int32, _ words: UnsafeMutablePointer<UInt64>
    ) -> Int {
        var visited = 0
        unsafe withUnsafeTemporaryAllocation(of: Int32.self, capacity: 256) { stack in
            unsafe nodes.withUnsafeBufferPointer { nodes in
                unsafe stack[0] = configuration
                var at = 0
                while at < nodes.count {
                    let node = unsafe nodes[at]
                    let depth = Int(node.extent >> 24)
                    let next = unsafe successor(
                        stack[depth - 1], UInt8(truncatingIfNeeded: node.content))
                    visited += 1
                    if next < 0 {
                        if failure != nil { break }
                        at += Int(node.extent & 0xFF_FFFF)
                        continue
                    }
                    unsafe stack[depth] = next
                    let token = Int(node.content >> 8) - 1
                    if token >= 0 { unsafe words[token >> 6] |= 1 << UInt64(token & 63) }
                    at += 1
                    if failure != nil { break }
                }
            }
        }
        return visited
    }

    /// How many plain characters the text can go on with whatever they are, and whether nothing
    /// else can come than the strings in which it is so.
    private func plainRoom(_ configuration: Int32, longest: Int) -> (Int, isAlone: Bool) {
        var room = 0
        var isAlone = true
        for thread in threads(of: configuration) {
            if let own = plainRoom(thread: thread) {
                room = max(room, min(own, longest))
            } else {
                isAlone = false
            }
        }
        return (room, isAlone)
    }

    private func plainRoom(thread: Int32) -> Int? {
        let frame = frames[thread]
        switch frame.kind {
        case .match:
            return tables.regex.loopsOnPlainText(RegexState(code: frame.a)) ? .max : nil
        default: return nil
        }
    }

    /// The one byte that can come, when there is only one and the text is not complete.
    func forcedByte(_ configuration: Int32) -> UInt8? {
        if accepts(configuration) { return nil }
        for token in tables.specialTokens where successor(configuration, token: token) >= 0 {
            return nil
        }
        var found: UInt8?
        for byte in UInt8.min...UInt8.max where successor(configuration, byte) >= 0 {
            if found != nil { return nil }
            found = byte
        }
        return failure == nil ? found : nil
    }
}
