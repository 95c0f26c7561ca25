/// Objects: which keys may come, in any order or the schema's.
extension Automaton {
    func stepMember(_ frame: Frame, _ byte: UInt8) {
        let state = objects[frame.a]
        let rule = tables.objects[Int(state.rule)]
        switch byte {
        case UInt8(ascii: "}"):
            if frame.kind != .objectKey, isComplete(state, rule) { out.append(frame.parent) }
        case UInt8(ascii: ","):
            if frame.kind == .objectNext, canAdd(state, rule) {
                push(.space, 0, 0, self.frame(.objectKey, frame.a, 0, frame.parent))
            }
        case 0x22:
            if frame.kind != .objectNext, canAdd(state, rule) {
                push(.key, frame.a, keys.intern(firstKey(rule)), frame.parent)
            }
        default: break
        }
    }

    private func firstKey(_ rule: ObjectRule) -> KeyState {
        let patterns = rule.patterns.isEmpty ? -1 : keyPatterns.intern(rule.patterns)
        return KeyState(node: rule.trie, lexer: StringLexer.start, patterns: patterns)
    }

    func isComplete(_ state: ObjectState, _ rule: ObjectRule) -> Bool {
        Int(state.count) >= rule.countMin && state.proven == rule.existing
            && rule.required.countMissing(in: state.seen) == 0
    }

    /// Members that must still come.
    private func owed(_ state: ObjectState, _ rule: ObjectRule) -> Int {
        rule.required.countMissing(in: state.seen)
    }

    private func hasRoom(_ state: ObjectState, _ rule: ObjectRule) -> Bool {
        rule.countMax == .max || Int(state.count) < rule.countMax
    }

    /// Whether a member can be added that nobody asked for.
    func hasFreeRoom(_ state: ObjectState, _ rule: ObjectRule) -> Bool {
        if rule.countMax == .max { return true }
        let proofs = (rule.existing & ~state.proven).nonzeroBitCount
        return Int(state.count) + owed(state, rule) + proofs < rule.countMax
    }

    func canAdd(_ state: ObjectState, _ rule: ObjectRule) -> Bool {
        hasRoom(state, rule) && isLive(firstKey(rule), state, rule)
    }

    /// Whether the key can be finished: as a name that is still to be had, or as a free one.
    func isLive(_ key: KeyState, _ state: ObjectState, _ rule: ObjectRule) -> Bool {
        if key.node >= 0 {
            let node = tables.trie.nodes[Int(key.node)]
            let range = Int(node.low)..<Int(node.high)
            let free = hasFreeRoom(state, rule) || state.proven != rule.existing
            if hasName(range, free ? rule.usable : rule.required, state, rule) { return true }
        }
        guard hasFreeRoom(state, rule) || state.proven != rule.existing,
            !tables.keepsKeyOrder || owed(state, rule) == 0
        else { return false }
        return canBeFree(key, state.rule, rule)
    }

    func hasName(
        _ range: Range<Int>, _ names: RankSet, _ state: ObjectState, _ rule: ObjectRule
    ) -> Bool {
        guard names.hasMember(in: range, notIn: state.seen) else { return false }
        guard tables.keepsKeyOrder else { return true }
        return range.contains { rank in
            names.contains(rank) && !state.seen.contains(rank) && isInOrder(rank, state, rule)
        }
    }

    /// Whether no required name of the schema's order is left out before this one.
    private func isInOrder(_ rank: Int, _ state: ObjectState, _ rule: ObjectRule) -> Bool {
        let order = rule.names[rank].order
        return !rule.names.indices.contains {
            rule.names[$0].order < order && rule.required.contains($0) && !state.seen.contains($0)
        }
    }

    func canBeFree(_ key: KeyState, _ index: Int32, _ rule: ObjectRule) -> Bool {
        if rule.patterns.isEmpty { return !rule.free.isEmpty }
        if rule.classes.isEmpty { return false }
        if rule.allowsEveryKey { return true }
        let memo = FreeKey(
            rule: index, node: key.node, patterns: key.patterns,
            lexer: key.lexer < StringLexer.afterBackslash ? key.lexer : StringLexer.start)
        if let known = freeKeyLives[memo] { return known }
        let result = findsFreeKey(key, rule)
        if failure == nil { freeKeyLives[memo] = result }
        return result
    }

    /// A bounded search for a free key that begins so. Breadth first: such keys are short.
    private func findsFreeKey(_ key: KeyState, _ rule: ObjectRule) -> Bool {
        let start = keyPatterns[key.patterns].map { RegexState(code: $0) }
        let bytes = tables.regex.representatives(start.map(\.node)) + [0x7E, 0x23, 0x80, 0xA0]
        struct Place: Hashable { var node: Int32, states: [RegexState], lexer: UInt8 }
        let lexer = key.lexer < StringLexer.afterBackslash ? key.lexer : 0
        var order = [Place(node: key.node, states: start, lexer: lexer)]
        var seen = Set(order)
        var at = 0
        while at < order.count, at < 500 {
            let place = order[at]
            at += 1
            if tables.regex.work > regexWorkEnd {
                failure = .tooLarge("patterns of keys with too many states")
                return false
            }
            let isName = place.node >= 0 && tables.trie.nodes[Int(place.node)].terminal >= 0
            if place.lexer == 0, !isName, rule.classes[matched(place.states)] != nil {
                return true
            }
            for byte in bytes {
                guard let lexer = StringLexer.character(place.lexer, byte) else { continue }
                let node = place.node < 0 ? -1 : tables.trie.child(place.node, byte) ?? -1
                let states = place.states.map { tables.regex.step($0, byte) }
                let next = Place(node: node, states: states, lexer: lexer)
                if seen.insert(next).inserted { order.append(next) }
            }
        }
        return false
    }

    func matched(_ states: [RegexState]) -> UInt64 {
        var result: UInt64 = 0
        for (index, state) in states.enumerated() where tables.regex.accepts(state) {
            result |= 1 << UInt64(index)
        }
        return result
    }

    // MARK: Keys

    func stepKey(_ frame: Frame, _ byte: UInt8) {
        let key = keys[frame.b]
        let state = objects[frame.a]
        let rule = tables.objects[Int(state.rule)]
        if key.lexer == StringLexer.start, byte == 0x22 {
            closeKey(key, state, rule, frame.parent)
            return
        }
        guard let next = StringLexer.step(key.lexer, byte, isCanonical: true) else { return }
        if let decoded = next.decoded {
            if let after = self.key(key, next.state, decoded, state, rule) {
                push(.key, frame.a, keys.intern(after), frame.parent)
            }
        } else {
            let goesOn = StringLexer.targets(next.state).contains {
                self.key(key, 0, $0, state, rule) != nil
            }
            var after = key
            after.lexer = next.state
            if goesOn { push(.key, frame.a, keys.intern(after), frame.parent) }
        }
    }

    /// The key with one more byte of decoded text; nil when no key begins so.
    private func key(
        _ key: KeyState, _ lexer: UInt8, _ byte: UInt8, _ state: ObjectState, _ rule: ObjectRule
    ) -> KeyState? {
        var next = key
        next.lexer = lexer
        next.node = key.node < 0 ? -1 : tables.trie.child(key.node, byte) ?? -1
        if key.patterns >= 0 {
            let states = keyPatterns[key.patterns].map {
                tables.regex.step(RegexState(code: $0), byte).code
            }
            next.patterns = keyPatterns.intern(states)
        }
        return isLive(next, state, rule) ? next : nil
    }

    func closeKey(
        _ key: KeyState, _ state: ObjectState, _ rule: ObjectRule, _ parent: Int32
    ) {
        let rank = key.node < 0 ? -1 : tables.trie.nodes[Int(key.node)].terminal
        let options: [ObjectRule.Option]
        if rank >= 0 {
            guard accepts(name: Int(rank), state, rule) else { return }
            options = rule.names[Int(rank)].options
        } else {
            guard !tables.keepsKeyOrder || owed(state, rule) == 0 else { return }
            if key.patterns >= 0 {
                let states = keyPatterns[key.patterns].map { RegexState(code: $0) }
                options = rule.classes[matched(states)] ?? []
            } else {
                options = rule.free
            }
        }
        finishKey(Int(rank), options, state, rule, parent)
    }

    /// Adds what follows a key, as a name or, at rank -1, as a free one.
    func finishKey(
        _ rank: Int, _ options: [ObjectRule.Option], _ state: ObjectState, _ rule: ObjectRule,
        _ parent: Int32
    ) {
        for option in options {
            guard let next = self.state(state, rule, adding: rank, option) else { continue }
            let after = frame(.space, 0, 0, frame(.objectNext, next, 0, parent))
            let value = frame(.space, 0, 0, frame(.value, option.value, 0, after))
            let colon = frame(.colon, 0, 0, value)
            if tables.style == .writing { out.append(colon) } else { push(.space, 0, 0, colon) }
        }
    }

    func accepts(name rank: Int, _ state: ObjectState, _ rule: ObjectRule) -> Bool {
        rule.usable.contains(rank) && !state.seen.contains(rank)
            && (!tables.keepsKeyOrder || isInOrder(rank, state, rule))
    }

    /// The object with one more member; nil when the members that must come would not fit.
    func state(
        _ state: ObjectState, _ rule: ObjectRule, adding rank: Int, _ option: ObjectRule.Option
    ) -> Int32? {
        let isRequired = rank >= 0 && rule.required.contains(rank)
        let proves = option.proves & ~state.proven
        if !isRequired, proves == 0, !hasFreeRoom(state, rule) { return nil }
        var next = state
        next.proven |= option.proves
        if rank >= 0 {
            next.seen.insert(rank)
            if tables.keepsKeyOrder {
                let order = rule.names[rank].order
                for (other, name) in rule.names.enumerated() where name.order < order {
                    next.seen.insert(other)
                }
            }
        }
        if rule.countMax < .max || Int(state.count) < rule.countMin { next.count += 1 }
        if rule.countMin > 0, !canReachLeast(next, rule) { return nil }
        if next.proven != rule.existing, !canProve(next, rule) { return nil }
        return objects.intern(next)
    }

    /// Whether a member is left for each key that must exist.
    private func canProve(_ state: ObjectState, _ rule: ObjectRule) -> Bool {
        var left = rule.existing & ~state.proven
        for option in rule.free { left &= ~option.proves }
        for options in rule.classes.values { for option in options { left &= ~option.proves } }
        if left == 0 { return true }
        for (rank, name) in rule.names.enumerated() where !state.seen.contains(rank) {
            for option in name.options { left &= ~option.proves }
        }
        return left == 0
    }

    /// Whether enough names are left for `minProperties`, where no key is free.
    private func canReachLeast(_ state: ObjectState, _ rule: ObjectRule) -> Bool {
        if rule.allowsFreeKeys { return true }
        return rule.usable.countMissing(in: state.seen) >= rule.countMin - Int(state.count)
    }
}
