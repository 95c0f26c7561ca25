/// Token masks: the token trie walked along the machine's rows.
///
/// Measured with GLM-4's 151,552 tokens (341,000 nodes): walking all of them inside a JSON string
/// takes a millisecond; the set of plain tokens and the tree of the other 5,800 take 8 µs.
extension Automaton {
    /// Sets the bits of the tokens that can follow.
    func fill(_ mask: inout TokenMask, _ configuration: Int32, _ trie: TokenTrie) {
        if let known = masks[configuration] {
            mask.copy(known)
            return
        }
        if let equal = uncounted(configuration, trie) {
            fill(&mask, equal, trie)
            return
        }
        let (room, isAlone) = plainRoom(configuration, longest: trie.plain.count - 1)
        mask.copy(trie.plain[room])
        // Where strings are all there is, plain tokens are allowed by their length alone.
        let isCovered = room > 0 && (isAlone || room == trie.plain.count - 1)
        let visited = unsafe mask.withWords { words in
            unsafe walk(isCovered ? trie.rest : trie.all, configuration, words)
        }
        for token in tables.specialTokens where Int(token) < mask.count {
            if successor(configuration, token: token) >= 0 { mask[token] = true }
        }
        if accepts(configuration) {
            for token in trie.endTokens { mask[token] = true }
        }
        trie.completeTwins(&mask)
        if (visited ?? 0) > Self.nodesWorthKeeping { keep(mask.words, configuration) }
    }

    /// The configuration with the least counts whose mask is the same: while more characters fit
    /// into a string than any token has, how many do makes no difference to one token.
    private func uncounted(_ configuration: Int32, _ trie: TokenTrie) -> Int32? {
        out.removeAll(keepingCapacity: true)
        for thread in threads(of: configuration) {
            var frame = frames[thread]
            guard frame.kind == .text else { return nil }
            let rule = tables.strings[Int(frame.a)]
            let least = Int32(clamping: rule.lengthMin)
            guard rule.lengthMax < 1 << 26, frame.b >> 5 > least,
                rule.lengthMax - Int(frame.b >> 5) > trie.depthMax
            else { return nil }
            frame.b = least << 5 | frame.b & 31
            out.append(frames.intern(frame))
        }
        return intern()
    }

    private static let nodesWorthKeeping = 3_000
    private static let masksMax = 128

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
                        at += Int(node.extent & 0xFF_FFFF)
                        continue
                    }
                    unsafe stack[depth] = next
                    let token = Int(node.content >> 8) - 1
                    if token >= 0 { unsafe words[token >> 6] |= 1 << UInt64(token & 63) }
                    at += 1
                    if misses > Self.missesMax {
                        failure = .tooLarge(
                            "more than \(Self.missesMax) new states for one token")
                        break
                    }
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
        case .text where frame.b & 31 == 0:
            let most = tables.strings[Int(frame.a)].lengthMax
            return most == .max ? .max : most - Int(frame.b >> 5)
        case .pattern where frame.b == 0, .match:
            return tables.regex.loopsOnPlainText(RegexState(code: frame.a)) ? .max : nil
        case .key:
            let key = keys[frame.b]
            guard key.lexer == StringLexer.start, isFree(key, frame.a) else { return nil }
            return .max
        case .uniqueItem:
            guard tables.values[Int(frame.b)].texts == nil else { return nil }
            return plainRoom(thread: uniqueItems[frame.a].thread)
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
        return found
    }
}
