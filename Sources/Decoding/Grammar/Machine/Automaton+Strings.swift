/// What can follow inside of a string, kept by the state of its content alone.
struct ContentSet: Sendable {
    /// Tokens that stay inside, as words of a mask; when there are few, as a list.
    var words: [UInt64] = []
    var list: [Int32] = []
    /// Crossing tokens whose closing quote may come where it does: bits by place.
    var ending: [UInt64]
    /// Characters that are owed at least, and at most, after one of the tokens; and how many a
    /// token has with what is owed then.
    var owedMin = Int.max
    var owedMax = 0
    var lengthMax = 0

    /// Keeps a mask's words as what is smaller.
    mutating func keep(_ all: [UInt64]) {
        let count = all.reduce(0) { $0 + $1.nonzeroBitCount }
        if count > 2_000 {
            words = all
            return
        }
        list.reserveCapacity(count)
        for (index, word) in all.enumerated() {
            var left = word
            while left != 0 {
                list.append(Int32(index << 6 | left.trailingZeroBitCount))
                left &= left - 1
            }
        }
    }

    var byteCount: Int { words.count * 8 + list.count * 4 + ending.count * 8 }
}

/// The same for keys that no name stands for, while their object has room for one.
struct KeySet: Sendable {
    var content: ContentSet
    /// By the patterns that the key matches there: where the closing quote may come.
    var endings: [UInt64: [UInt64]] = [:]
}

/// Masks inside of strings and keys: see ``StringTokens``.
extension Automaton {
    /// Adds the tokens that can follow on a thread inside of a string; false where there is no
    /// shorter way than a walk.
    func addString(_ thread: Int32, _ mask: inout TokenMask, _ trie: TokenTrie) -> Bool {
        let frame = frames[thread]
        let strings = trie.strings
        switch frame.kind {
        case .text where frame.b & 31 == 0:
            let rule = tables.strings[Int(frame.a)]
            let begun = Int(frame.b >> 5)
            let room = rule.lengthMax == .max ? .max : rule.lengthMax - begun
            strings.addContent(atMost: room, &mask)
            let ending = strings.ending(rule.lengthMin - begun, room)
            addCrossing(ending, after: frame.parent, &mask, trie)
            return true
        case .pattern where frame.b == 0:
            let content = regexNumber(RegexState(code: frame.a))
            if content < 0 { return true }
            let set = contentSet(content, trie)
            add(set, &mask)
            addCrossing(set.ending, after: frame.parent, &mask, trie)
            return true
        case .bounded: return addBounded(frame, &mask, trie)
        case .key: return addKey(frame, &mask, trie)
        default: return false
        }
    }

    private func addBounded(_ frame: Frame, _ mask: inout TokenMask, _ trie: TokenTrie) -> Bool {
        let state = bounded[frame.b]
        let rule = tables.strings[Int(frame.a)]
        let owed = rule.lengthMin - Int(state.begun)
        // Whether short content can still become long enough is asked string by string.
        guard state.lexer == StringLexer.start, owed <= 1 else { return false }
        let room = rule.lengthMax == .max ? .max : rule.lengthMax - Int(state.begun)
        let set = contentSet(state.content, trie)
        if room >= set.lengthMax {
            add(set, &mask)
        } else if set.owedMin == set.owedMax {
            var fitting = TokenMask(count: trie.tokenCount)
            trie.strings.addContent(atMost: room - set.owedMax, &fitting)
            var own = TokenMask(count: trie.tokenCount)
            add(set, &own)
            mask.formUnion(zip(own.words, fitting.words).map { $0 & $1 })
        } else {
            var fitting: [Int32] = []
            walkContent(
                trie.all, from: state.content, trie.depthMax,
                by: { self.regexSuccessor($0, $1) },
                staying: { token, after, length in
                    if length + self.owed(after) <= room { fitting.append(Int32(token)) }
                })
            for token in fitting { mask[token] = true }
        }
        let fitting = trie.strings.ending(owed, room)
        addCrossing(zip(set.ending, fitting).map { $0 & $1 }, after: frame.parent, &mask, trie)
        return true
    }

    private func add(_ set: ContentSet, _ mask: inout TokenMask) {
        if set.words.isEmpty {
            for token in set.list { mask[token] = true }
        } else {
            mask.formUnion(set.words)
        }
    }

    private func addCrossing(
        _ ending: [UInt64], after thread: Int32, _ mask: inout TokenMask, _ trie: TokenTrie
    ) {
        if ending.allSatisfy({ $0 == 0 }) { return }
        out.removeAll(keepingCapacity: true)
        out.append(thread)
        addCrossing(ending, at: intern(), &mask, trie)
    }

    /// - Parameter configuration: where the text stands after the closing quote.
    private func addCrossing(
        _ ending: [UInt64], at configuration: Int32, _ mask: inout TokenMask, _ trie: TokenTrie
    ) {
        if configuration < 0 { return }
        let following = suffixSet(configuration, trie)
        addCrossing(zip(ending, following).map { $0 & $1 }, &mask, trie)
    }

    private func addCrossing(_ set: [UInt64], _ mask: inout TokenMask, _ trie: TokenTrie) {
        let crossing = trie.strings.crossing
        for (index, word) in set.enumerated() {
            var left = word
            while left != 0 {
                mask[crossing[index << 6 | left.trailingZeroBitCount]] = true
                left &= left - 1
            }
        }
    }

    /// The crossing tokens whose suffix can come at a place.
    private func suffixSet(_ configuration: Int32, _ trie: TokenTrie) -> [UInt64] {
        if let known = suffixSets[configuration] { return known }
        let strings = trie.strings
        var set = [UInt64](repeating: 0, count: strings.canonicalEnding.count)
        func add(_ suffix: Int) {
            for place in strings.suffixes[suffix] {
                set[Int(place) >> 6] |= 1 << UInt64(place & 63)
            }
        }
        if strings.hasEmptySuffix { add(0) }
        walk(strings.suffixTrie, configuration, trie.depthMax) { add($0) }
        if failure == nil {
            if suffixOrder.count >= 1_024 { suffixSets[suffixOrder.removeFirst()] = nil }
            suffixSets[configuration] = set
            suffixOrder.append(configuration)
        }
        return set
    }

    /// Visits the strings of a tree that the machine can read.
    private func walk(
        _ nodes: [TokenTrie.Node], _ configuration: Int32, _ depthMax: Int, _ body: (Int) -> Void
    ) {
        var stack = [Int32](repeating: configuration, count: depthMax + 1)
        var at = 0
        while at < nodes.count, failure == nil {
            let node = nodes[at]
            let depth = Int(node.extent >> 24)
            let next = successor(stack[depth - 1], UInt8(truncatingIfNeeded: node.content))
            if next < 0 {
                at += Int(node.extent & 0xFF_FFFF)
                continue
            }
            stack[depth] = next
            if node.content >> 8 > 0 { body(Int(node.content >> 8) - 1) }
            at += 1
        }
    }

    // MARK: Patterns

    private static let setBytesMax = 4 << 20

    /// What can follow in a string of which a regular expression is in a state.
    private func contentSet(_ state: Int32, _ trie: TokenTrie) -> ContentSet {
        if let known = contentSets[state] { return known }
        let set = foundContent(state, trie)
        if failure == nil {
            contentSets[state] = set
            contentOrder.append(state)
            setBytes += set.byteCount
            while setBytes > Self.setBytesMax, contentOrder.count > 1 {
                let oldest = contentOrder.removeFirst()
                setBytes -= contentSets[oldest]?.byteCount ?? 0
                contentSets[oldest] = nil
            }
        }
        return set
    }

    private func foundContent(_ state: Int32, _ trie: TokenTrie) -> ContentSet {
        let strings = trie.strings
        var set = ContentSet(ending: strings.canonicalEnding)
        for index in set.ending.indices { set.ending[index] = 0 }
        var words = [UInt64](repeating: 0, count: (trie.tokenCount + 63) / 64)
        let isLoop = tables.regex.loopsOnPlainText(regexStates[state])
        if isLoop {
            words = trie.plain[trie.plain.count - 1]
            set.owedMin = owed(state)
            set.owedMax = set.owedMin
            set.lengthMax = trie.depthMax + set.owedMax
        }
        walkContent(
            isLoop ? trie.rest : trie.all, from: state, trie.depthMax,
            by: { self.regexSuccessor($0, $1) },
            staying: { token, after, length in
                words[token >> 6] |= 1 << UInt64(token & 63)
                let owed = self.owed(after)
                set.owedMin = min(set.owedMin, owed)
                set.owedMax = max(set.owedMax, owed)
                set.lengthMax = max(set.lengthMax, length + owed)
            })
        walkEndings(
            strings, from: state, trie.depthMax, by: { self.regexSuccessor($0, $1) },
            { before, place in
                if self.tables.regex.accepts(self.regexStates[before]) {
                    set.ending[place >> 6] |= 1 << UInt64(place & 63)
                }
            })
        set.keep(words)
        return set
    }

    /// Visits the tokens that stay inside of a string, with the state and the characters then.
    private func walkContent(
        _ nodes: [TokenTrie.Node], from state: Int32, _ depthMax: Int,
        by successor: (Int32, UInt8) -> Int32, staying: (Int, Int32, Int) -> Void
    ) {
        var scan = ContentScan(state, depthMax)
        do {
            var at = 0
            while at < nodes.count {
                let node = nodes[at]
                guard scan.read(node, by: successor) else {
                    if failure != nil { return }
                    at += Int(node.extent & 0xFF_FFFF)
                    continue
                }
                if node.content >> 8 > 0 {
                    let depth = Int(node.extent >> 24)
                    let (next, length) = scan.place(depth)
                    staying(Int(node.content >> 8) - 1, next, length)
                }
                at += 1
            }
        }
    }

    /// Visits the crossing tokens by the state in which their quote comes.
    private func walkEndings(
        _ strings: StringTokens, from state: Int32, _ depthMax: Int,
        by successor: (Int32, UInt8) -> Int32, _ body: (Int32, Int) -> Void
    ) {
        let nodes = strings.crossingTrie
        var scan = ContentScan(state, depthMax)
        var at = 0
        while at < nodes.count, failure == nil {
            let node = nodes[at]
            let depth = Int(node.extent >> 24)
            let end = at + Int(node.extent & 0xFF_FFFF)
            if UInt8(truncatingIfNeeded: node.content) == 0x22, scan.isOutside(depth - 1) {
                let before = scan.place(depth - 1).state
                for below in at..<end where nodes[below].content >> 8 > 0 {
                    body(before, strings.place(Int(nodes[below].content >> 8) - 1))
                }
                at = end
            } else {
                at = scan.read(node, by: successor) ? at + 1 : end
            }
        }
    }

    // MARK: Keys

    /// A key that may be anything: the same tokens as in any string, but where one closes a name
    /// that has a value of its own.
    private func addKey(_ frame: Frame, _ mask: inout TokenMask, _ trie: TokenTrie) -> Bool {
        let key = keys[frame.b]
        let state = objects[frame.a]
        let rule = tables.objects[Int(state.rule)]
        var free = key
        free.node = -1
        guard key.lexer == StringLexer.start, isLive(free, state, rule) else { return false }
        let strings = trie.strings
        var ending = strings.canonicalEnding
        if key.patterns < 0 {
            mask.formUnion(strings.canonicalContent)
            keepFollowed(&ending, closed(free, frame), trie)
        } else {
            let set = keySet(state.rule, rule, key.patterns, trie)
            add(set.content, &mask)
            ending = ending.map { _ in 0 }
            for (matched, own) in set.endings {
                out.removeAll(keepingCapacity: true)
                finishKey(-1, rule.classes[matched] ?? [], state, rule, frame.parent)
                var own = own
                keepFollowed(&own, intern(), trie)
                for index in ending.indices { ending[index] |= own[index] }
            }
            if key.node >= 0, !rule.allowsEveryKey { addNameParts(key, state, rule, &mask, trie) }
        }
        if key.node >= 0 { addNames(frame, key, &ending, trie) }
        addCrossing(ending, &mask, trie)
        return true
    }

    private func keepFollowed(_ ending: inout [UInt64], _ place: Int32, _ trie: TokenTrie) {
        if place < 0 {
            ending = ending.map { _ in 0 }
            return
        }
        let following = suffixSet(place, trie)
        for index in ending.indices { ending[index] &= following[index] }
    }

    private static let keySetsMax = 64

    private func keySet(
        _ index: Int32, _ rule: ObjectRule, _ patterns: Int32, _ trie: TokenTrie
    ) -> KeySet {
        let start = keyNumber(FreeKey(
            rule: index, node: -1, patterns: patterns, lexer: StringLexer.start))
        if start < 0 { return KeySet(content: ContentSet(ending: [])) }
        if let known = keySets[start] { return known }
        var words = [UInt64](repeating: 0, count: (trie.tokenCount + 63) / 64)
        if isOpen(start, rule) {
            words = trie.strings.canonicalContent
        } else {
            let isLoop = loops(start, rule)
            if isLoop { words = trie.plain[trie.plain.count - 1] }
            walkContent(
                isLoop ? trie.rest : trie.all, from: start, trie.depthMax,
                by: { self.keySuccessor($0, $1, rule) },
                staying: { token, _, _ in words[token >> 6] |= 1 << UInt64(token & 63) })
        }
        var set = KeySet(content: ContentSet(ending: []))
        set.content.keep(words)
        let none = trie.strings.canonicalEnding.map { _ in UInt64(0) }
        walkEndings(
            trie.strings, from: start, trie.depthMax, by: { self.keySuccessor($0, $1, rule) },
            { before, place in
                let codes = self.keyPatterns[self.keyStates[before].patterns]
                let matched = self.matched(codes.map { RegexState(code: $0) })
                if rule.classes[matched] == nil { return }
                set.endings[matched, default: none][place >> 6] |= 1 << UInt64(place & 63)
            })
        if failure == nil {
            if keyOrder.count >= Self.keySetsMax { keySets[keyOrder.removeFirst()] = nil }
            keySets[start] = set
            keyOrder.append(start)
        }
        return set
    }

    private func keyNumber(_ key: FreeKey) -> Int32 {
        let number = keyStates.intern(key)
        while keyCells.count <= Int(number) {
            if keyCells.count == keyCells.capacity {
                failure = .tooLarge("patterns of keys with too many states")
                return RowTable.dead
            }
            keyCells.append()
        }
        return number
    }

    private func keySuccessor(_ key: Int32, _ byte: UInt8, _ rule: ObjectRule) -> Int32 {
        let known = keyCells[key, byte]
        if known != RowTable.unknown || failure != nil { return known }
        var next = keyStates[key]
        next.patterns = keyPatterns.intern(keyPatterns[next.patterns].map {
            tables.regex.step(RegexState(code: $0), byte).code
        })
        guard let lexer = StringLexer.character(next.lexer, byte) else { return RowTable.dead }
        next.lexer = lexer
        let state = KeyState(node: -1, lexer: lexer, patterns: next.patterns)
        let number = canBeFree(state, next.rule, rule) ? keyNumber(next) : RowTable.dead
        if failure == nil { keyCells[key, byte] = number }
        return number
    }

    private static let openKeysMax = 300

    /// Whether every state that a key can come to can be finished: then all content is legal, and
    /// no tree need be walked.
    private func isOpen(_ key: Int32, _ rule: ObjectRule) -> Bool {
        if rule.allowsEveryKey { return true }
        if let known = openKeys[key] { return known }
        let codes = keyPatterns[keyStates[key].patterns]
        let bytes = tables.regex.representatives(codes.map { RegexState(code: $0).node })
            + [0x7E, 0x23]
        var order = [key]
        var seen: Set<Int32> = [key]
        var at = 0
        var isOpen = true
        while at < order.count, isOpen {
            let place = order[at]
            at += 1
            for byte in bytes {
                let lexer = keyStates[place].lexer
                guard StringLexer.character(lexer, byte) != nil else { continue }
                let next = keySuccessor(place, byte, rule)
                if next < 0 { isOpen = false }
                if next >= 0, seen.insert(next).inserted { order.append(next) }
            }
            if order.count > Self.openKeysMax { isOpen = false }
        }
        if failure != nil { return false }
        // Where one leads is open as well; of others nothing is known but the first.
        if isOpen { for state in order { openKeys[state] = true } } else { openKeys[key] = false }
        return isOpen
    }

    /// Whether all plain characters lead from a key's state to itself.
    private func loops(_ key: Int32, _ rule: ObjectRule) -> Bool {
        keyPatterns[keyStates[key].patterns].allSatisfy {
            tables.regex.loopsOnPlainText(RegexState(code: $0))
        }
    }

    /// Adds the tokens that are a part of a name, which no free key may begin with.
    private func addNameParts(
        _ key: KeyState, _ state: ObjectState, _ rule: ObjectRule, _ mask: inout TokenMask,
        _ trie: TokenTrie
    ) {
        let isFree = hasFreeRoom(state, rule) || state.proven != rule.existing
        let names = isFree ? rule.usable : rule.required
        var found: [Int32] = []
        walkContent(
            trie.all, from: key.node, trie.depthMax,
            by: { node, byte in
                guard let child = self.tables.trie.child(node, byte) else { return RowTable.dead }
                let own = self.tables.trie.nodes[Int(child)]
                let isLive = self.hasName(Int(own.low)..<Int(own.high), names, state, rule)
                return isLive ? child : RowTable.dead
            },
            staying: { token, _, _ in found.append(Int32(token)) })
        for token in found { mask[token] = true }
    }

    private func closed(_ key: KeyState, _ frame: Frame) -> Int32 {
        out.removeAll(keepingCapacity: true)
        let state = objects[frame.a]
        closeKey(key, state, tables.objects[Int(state.rule)], frame.parent)
        return intern()
    }

    /// Works out anew the crossing tokens that close a name.
    private func addNames(
        _ frame: Frame, _ key: KeyState, _ ending: inout [UInt64], _ trie: TokenTrie
    ) {
        let nodes = trie.strings.crossingTrie
        var names = [Int32](repeating: key.node, count: trie.depthMax + 1)
        var lexers = [UInt8](repeating: 0, count: trie.depthMax + 1)
        var at = 0
        while at < nodes.count, failure == nil {
            let node = nodes[at]
            let depth = Int(node.extent >> 24)
            let byte = UInt8(truncatingIfNeeded: node.content)
            let end = at + Int(node.extent & 0xFF_FFFF)
            let name = names[depth - 1]
            if lexers[depth - 1] == StringLexer.start, byte == 0x22 {
                if tables.trie.nodes[Int(name)].terminal >= 0 {
                    var own = key
                    own.node = name
                    addSuffixes(trie.strings, at, end, closed(own, frame), &ending)
                }
                at = end
                continue
            }
            let step = StringLexer.step(lexers[depth - 1], byte, isCanonical: true)
            let child = step.flatMap { step in
                step.decoded.map { tables.trie.child(name, $0) } ?? name
            }
            guard let step, let child else {
                at = end
                continue
            }
            names[depth] = child
            lexers[depth] = step.state
            at += 1
        }
    }

    private func addSuffixes(
        _ strings: StringTokens, _ quote: Int, _ end: Int, _ configuration: Int32,
        _ ending: inout [UInt64]
    ) {
        let nodes = strings.crossingTrie
        let base = Int(nodes[quote].extent >> 24)
        var places = [configuration]
        for index in quote..<end {
            let node = nodes[index]
            let depth = Int(node.extent >> 24) - base
            if depth > 0 {
                places.removeLast(places.count - depth)
                let before = places[depth - 1]
                let byte = UInt8(truncatingIfNeeded: node.content)
                places.append(before < 0 ? before : successor(before, byte))
            }
            guard node.content >> 8 > 0 else { continue }
            let place = strings.place(Int(node.content >> 8) - 1)
            let bit: UInt64 = 1 << UInt64(place & 63)
            ending[place >> 6] &= ~bit
            if places[depth] >= 0 { ending[place >> 6] |= bit }
        }
    }
}
