/// Rules around values: sequences, choices, repetitions, raw text.
extension Automaton {
    /// A piece of grammar begins.
    func enter(_ frame: Frame, _ thread: Int32, _ symbol: Int32) {
        if entered.contains(thread) { return }
        entered.append(thread)
        switch tables.expressions[Int(frame.a)] {
        case .sequence(let parts):
            step(rest(of: parts, frame.a, 0, frame.parent), symbol)
        case .choice(let options):
            for option in options {
                step(self.frame(.expression, option, 0, frame.parent), symbol)
            }
        case .repetition:
            step(self.frame(.repetition, frame.a, 0, frame.parent), symbol)
        case .match(let code):
            step(self.frame(.match, code, 0, frame.parent), symbol)
        case .value(let value):
            if symbol < 256 { begin(value, frame.parent, UInt8(symbol)) }
        case .members(let members):
            let state = firstMembers(members)
            step(self.frame(.members, members, state, frame.parent), symbol)
        case .special(let token):
            if symbol == 256 + token { out.append(frame.parent) }
        }
    }

    /// What follows the first `count` parts of a sequence. The last part has the sequence's own
    /// continuation, so that right recursion does not grow the chain.
    private func rest(
        of parts: [Int32], _ sequence: Int32, _ count: Int, _ parent: Int32
    ) -> Int32 {
        if count == parts.count { return parent }
        let isLast = count == parts.count - 1
        let after = isLast ? parent : frame(.sequence, sequence, Int32(count + 1), parent)
        return frame(.expression, parts[count], 0, after)
    }

    private func firstMembers(_ members: Int32) -> Int32 {
        let object = tables.members[Int(members)].object
        let seen = RankSet(count: tables.objects[Int(object)].names.count)
        return objects.intern(ObjectState(rule: object, seen: seen, count: 0, proven: 0))
    }

    func continueExpression(_ frame: Frame, _ thread: Int32, _ symbol: Int32) {
        switch frame.kind {
        case .sequence:
            if case .sequence(let parts) = tables.expressions[Int(frame.a)] {
                step(rest(of: parts, frame.a, Int(frame.b), frame.parent), symbol)
            }
        case .repetition: stepRepetition(frame, thread, symbol)
        case .match:
            let state = RegexState(code: frame.a)
            if symbol < 256 {
                let next = tables.regex.step(state, UInt8(symbol))
                // Text that is read to its end is left at once, unless it can go on.
                if isLive(next) {
                    if next.node == RegexTable.epsilon { out.append(frame.parent) } else {
                        push(.match, next.code, 0, frame.parent)
                    }
                }
            }
            if tables.regex.accepts(state) { step(frame.parent, symbol) }
        case .members: stepMembers(frame, symbol)
        case .memberKey: stepMemberKey(frame, symbol)
        default: break
        }
    }

    private func stepRepetition(_ frame: Frame, _ thread: Int32, _ symbol: Int32) {
        if entered.contains(thread) { return }
        entered.append(thread)
        guard case .repetition(let body, let least, let most) = tables.expressions[Int(frame.a)]
        else { return }
        if frame.b >= least { step(frame.parent, symbol) }
        if frame.b < most {
            let count = most == .max ? min(frame.b + 1, least) : frame.b + 1
            let after = self.frame(.repetition, frame.a, count, frame.parent)
            step(self.frame(.expression, body, 0, after), symbol)
        }
    }

    func expressionEnds(_ frame: Frame, _ thread: Int32) -> Bool {
        switch frame.kind {
        case .match:
            return tables.regex.accepts(RegexState(code: frame.a)) && ends(frame.parent)
        case .members:
            let state = objects[frame.b]
            return isComplete(state, tables.objects[Int(state.rule)]) && ends(frame.parent)
        case .sequence:
            guard case .sequence(let parts) = tables.expressions[Int(frame.a)] else {
                return false
            }
            return ends(rest(of: parts, frame.a, Int(frame.b), frame.parent))
        default: break
        }
        if entered.contains(thread) { return false }
        entered.append(thread)
        switch tables.expressions[Int(frame.a)] {
        case .sequence(let parts): return ends(rest(of: parts, frame.a, 0, frame.parent))
        case .choice(let options):
            return options.contains { ends(self.frame(.expression, $0, 0, frame.parent)) }
        case .repetition(let body, let least, let most):
            let count = frame.kind == .repetition ? frame.b : 0
            if count >= least, ends(frame.parent) { return true }
            guard count < least else { return false }
            // The rest of them must be empty.
            _ = most
            let after = self.frame(.repetition, frame.a, least, frame.parent)
            return ends(self.frame(.expression, body, 0, after))
        case .match(let code):
            return tables.regex.accepts(RegexState(code: code)) && ends(frame.parent)
        case .members(let members):
            return ends(self.frame(.members, members, firstMembers(members), frame.parent))
        case .value, .special: return false
        }
    }

    // MARK: Members that are not JSON

    /// Before a member, or after the last; b: the object's state.
    private func stepMembers(_ frame: Frame, _ symbol: Int32) {
        let state = objects[frame.b]
        let rule = tables.objects[Int(state.rule)]
        if isComplete(state, rule) { step(frame.parent, symbol) }
        let members = tables.members[Int(frame.a)]
        if hasMember(state, rule, members, root: rule.trie) {
            let key = self.frame(.memberKey, frame.a, rule.trie, self.frame(
                .members, frame.a, frame.b, frame.parent))
            step(self.frame(.expression, members.beforeKey, 0, key), symbol)
        }
        if members.free >= 0, canAdd(state, rule) {
            let option = ObjectRule.Option(value: 0, proves: 0)
            guard let next = self.state(state, rule, adding: -1, option) else { return }
            let after = self.frame(.members, frame.a, next, frame.parent)
            step(self.frame(.expression, members.free, 0, after), symbol)
        }
    }

    private func hasMember(
        _ state: ObjectState, _ rule: ObjectRule, _ members: MembersRule, root: Int32
    ) -> Bool {
        let node = tables.trie.nodes[Int(root)]
        return (Int(node.low)..<Int(node.high)).contains {
            members.values[$0] >= 0 && accepts(name: $0, state, rule)
                && self.state(state, rule, adding: $0, .init(value: 0, proves: 0)) != nil
        }
    }

    /// Inside of a name, b: its trie's node; the parent is the object before this member.
    private func stepMemberKey(_ frame: Frame, _ symbol: Int32) {
        let outer = frames[frame.parent]
        let state = objects[outer.b]
        let rule = tables.objects[Int(state.rule)]
        let members = tables.members[Int(frame.a)]
        if symbol < 256, let node = tables.trie.child(frame.b, UInt8(symbol)),
            hasMember(state, rule, members, root: node) {
            push(.memberKey, frame.a, node, frame.parent)
        }
        let rank = Int(tables.trie.nodes[Int(frame.b)].terminal)
        guard rank >= 0, members.values[rank] >= 0, accepts(name: rank, state, rule),
            let next = self.state(state, rule, adding: rank, .init(value: 0, proves: 0))
        else { return }
        let after = self.frame(.members, frame.a, next, outer.parent)
        let value = self.frame(.expression, members.values[rank], 0, after)
        step(self.frame(.expression, members.afterKey, 0, value), symbol)
    }
}
