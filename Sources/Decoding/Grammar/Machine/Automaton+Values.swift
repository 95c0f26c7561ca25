/// Values, strings, numbers and arrays.
extension Automaton {
    // MARK: White space

    /// Between the parts of a value: nothing, one space, or a line break and up to 64 blanks. More
    /// would be legal and endless: models have filled whole answers with it.
    func stepSpace(_ frame: Frame, _ byte: UInt8) {
        let ended: Int32 = 100
        let end: Int32 = tables.style == .writing ? 33 : 65
        switch byte {
        case 0x20 where frame.a == 0: push(.space, ended, 0, frame.parent)
        case 0x0A where frame.a == 0: push(.space, 1, 0, frame.parent)
        case 0x20 where frame.a >= 1 && frame.a < end, 0x09 where frame.a >= 1 && frame.a < end:
            push(.space, frame.a + 1, 0, frame.parent)
        default: step(frame.parent, Int32(byte))
        }
    }

    func spaced(_ thread: Int32) -> Int32 { frame(.space, 0, 0, thread) }

    // MARK: Beginning a value

    func begin(_ index: Int32, _ parent: Int32, _ byte: UInt8) {
        let rule = tables.values[Int(index)]
        switch byte {
        case UInt8(ascii: "n"):
            if rule.words & ValueRule.null != 0 { push(.word, 1, 3, parent) }
        case UInt8(ascii: "t"):
            if rule.words & ValueRule.isTrue != 0 { push(.word, 5, 3, parent) }
        case UInt8(ascii: "f"):
            if rule.words & ValueRule.isFalse != 0 { push(.word, 9, 4, parent) }
        case 0x22:
            if rule.literals >= 0, let node = tables.trie.child(rule.literals, byte) {
                push(.literal, node, 0, parent)
            }
            for string in rule.strings {
                let rule = tables.strings[Int(string)]
                if rule.pattern < 0 {
                    push(.text, string, 0, parent)
                } else if rule.isBounded {
                    let content = regexNumber(RegexState(code: rule.pattern))
                    if content < 0 { continue }
                    let state = BoundedState(content: content, begun: 0, lexer: 0)
                    push(.bounded, string, bounded.intern(state), parent)
                } else {
                    push(.pattern, rule.pattern, 0, parent)
                }
            }
        case 0x30...0x39, 0x2D:
            if rule.hasPlainNumber || rule.hasPlainInteger {
                let phase: Int32 = byte == 0x2D ? 0 : byte == 0x30 ? 1 : 2
                push(.plainNumber, phase, rule.hasPlainNumber ? 0 : 1, parent)
            }
            if rule.numberLiterals >= 0, let node = tables.trie.child(rule.numberLiterals, byte) {
                push(.numberLiteral, node, 0, parent)
            }
            for number in rule.numbers { beginNumber(number, parent, byte) }
        case UInt8(ascii: "["):
            for array in rule.arrays {
                let count = tables.arrays[Int(array)].containing.count
                let state = arrays.intern(ArrayState(
                    rule: array, count: 0, counted: Array(repeating: 0, count: count),
                    items: itemSets.intern([])))
                push(.space, 0, 0, frame(.arrayFirst, state, 0, parent))
            }
        case UInt8(ascii: "{"):
            for object in rule.objects {
                let seen = RankSet(count: tables.objects[Int(object)].names.count)
                let state = objects.intern(
                    ObjectState(rule: object, seen: seen, count: 0, proven: 0))
                push(.space, 0, 0, frame(.objectFirst, state, 0, parent))
            }
        default: break
        }
    }

    private static let words = Array("nulltruefalse".utf8)

    func stepWord(_ frame: Frame, _ byte: UInt8) {
        guard Self.words[Int(frame.a)] == byte else { return }
        if frame.b == 1 { out.append(frame.parent) } else {
            push(.word, frame.a + 1, frame.b - 1, frame.parent)
        }
    }

    func stepLiteral(_ frame: Frame, _ byte: UInt8) {
        if let node = tables.trie.child(frame.a, byte) {
            // The closing quote ends a string; a number may always go on.
            if frame.kind == .literal, tables.trie.nodes[Int(node)].terminal >= 0 {
                out.append(frame.parent)
            } else {
                push(frame.kind, node, 0, frame.parent)
            }
        }
        if frame.kind == .numberLiteral, tables.trie.nodes[Int(frame.a)].terminal >= 0 {
            step(frame.parent, Int32(byte))
        }
    }

    // MARK: Strings

    /// b: characters begun, as far as a bound depends on them, and the lexer's state.
    func stepText(_ frame: Frame, _ byte: UInt8) {
        let rule = tables.strings[Int(frame.a)]
        let lexer = UInt8(frame.b & 31)
        let count = Int(frame.b >> 5)
        if lexer == StringLexer.start, byte == 0x22 {
            if count >= rule.lengthMin { out.append(frame.parent) }
            return
        }
        guard let next = StringLexer.step(lexer, byte, isCanonical: false) else { return }
        var begun = count
        if lexer == StringLexer.start {
            if count >= rule.lengthMax { return }
            begun += 1
            if rule.lengthMax >= 1 << 26 { begun = min(begun, rule.lengthMin) }
        }
        push(.text, frame.a, Int32(begun << 5) | Int32(next.state), frame.parent)
    }

    func stepPattern(_ frame: Frame, _ byte: UInt8) {
        let state = regexNumber(RegexState(code: frame.a))
        let lexer = UInt8(frame.b)
        if state < 0 { return }
        if lexer == StringLexer.start, byte == 0x22 {
            if tables.regex.accepts(regexStates[state]) { out.append(frame.parent) }
            return
        }
        if let (next, lexer) = contentStep(state, lexer, byte) {
            let code = regexStates[next].code
            push(.pattern, code, Int32(lexer), frame.parent)
        }
    }

    /// A string under a pattern and bounds of its length: b is a ``BoundedState``.
    func stepBounded(_ frame: Frame, _ byte: UInt8) {
        let state = bounded[frame.b]
        let rule = tables.strings[Int(frame.a)]
        if state.lexer == StringLexer.start, byte == 0x22 {
            let isLong = Int(state.begun) >= rule.lengthMin
            if isLong, tables.regex.accepts(regexStates[state.content]) {
                out.append(frame.parent)
            }
            return
        }
        guard let (next, lexer) = contentStep(state.content, state.lexer, byte) else { return }
        var after = BoundedState(content: next, begun: state.begun, lexer: lexer)
        if state.lexer == StringLexer.start { after.begun += 1 }
        let fits = lexer < StringLexer.afterBackslash
            ? canFit(after, rule)
            : StringLexer.targets(lexer).contains {
                let content = regexSuccessor(next, $0)
                return content >= 0
                    && canFit(BoundedState(content: content, begun: after.begun, lexer: 0), rule)
            }
        guard fits else { return }
        if rule.lengthMax == .max { after.begun = min(after.begun, Int32(rule.lengthMin)) }
        push(.bounded, frame.a, bounded.intern(after), frame.parent)
    }

    /// Whether a text of the content's language has a length between the bounds.
    private func canFit(_ state: BoundedState, _ rule: StringRule) -> Bool {
        let begun = Int(state.begun)
        let length = begun + owed(state.content)
        if length > rule.lengthMax { return false }
        // Within a character it is too early to ask.
        if length >= rule.lengthMin || state.lexer != StringLexer.start { return true }
        let any = tables.regex.set(.all)
        let most = rule.lengthMax == .max
            ? RegexTable.unbounded : Int32(clamping: rule.lengthMax - begun)
        let lengths = tables.regex.repeated(any, Int32(clamping: rule.lengthMin - begun), most)
        let content = regexStates[state.content].node
        // The node first: `initial` would read the table as it was before.
        let both = tables.regex.conjoined([content, lengths])
        return isLive(tables.regex.initial(both))
    }

    /// Characters of the shortest way to a text's end.
    @inline(__always)
    func owed(_ content: Int32) -> Int { regexOwed[Int(content)] }

    func regexNumber(_ state: RegexState) -> Int32 {
        let number = regexStates.intern(state)
        while regexOwed.count <= Int(number) {
            if regexCells.count == regexCells.capacity {
                failure = .tooLarge("a regular expression with too many states")
                return RowTable.dead
            }
            regexOwed.append(tables.regex.lengthMin(state.node) ?? 0)
            regexCells.append()
        }
        return number
    }

    /// One more byte of a canonical string, the closing quote apart; nil when none goes on so.
    @inline(__always)
    func contentStep(_ state: Int32, _ lexer: UInt8, _ byte: UInt8) -> (Int32, UInt8)? {
        guard let next = StringLexer.step(lexer, byte, isCanonical: true) else { return nil }
        if let decoded = next.decoded {
            let after = regexSuccessor(state, decoded)
            return after >= 0 ? (after, next.state) : nil
        }
        let goesOn = StringLexer.targets(next.state).contains { regexSuccessor(state, $0) >= 0 }
        return goesOn ? (state, next.state) : nil
    }

    @inline(__always)
    func regexSuccessor(_ state: Int32, _ byte: UInt8) -> Int32 {
        let known = regexCells[state, byte]
        return known != RowTable.unknown ? known : regexMiss(state, byte)
    }

    @inline(never)
    private func regexMiss(_ state: Int32, _ byte: UInt8) -> Int32 {
        if failure != nil { return RowTable.dead }
        let next = tables.regex.step(regexStates[state], byte)
        let number = isLive(next) ? regexNumber(next) : RowTable.dead
        if failure == nil { regexCells[state, byte] = number }
        return number
    }

    func isLive(_ state: RegexState) -> Bool {
        if state.node == RegexTable.none { return false }
        var effort = 4_000
        do {
            return try tables.regex.isLive(state, effort: &effort, workMax: regexWorkEnd)
        } catch {
            failure = error
            return false
        }
    }

    // MARK: Numbers

    /// 0 sign, 1 zero, 2 digits, 3 point, 4 decimals, 5 e, 6 its sign, 7 its digits. Of an
    /// integer's decimals only zeros are read (b = 1): 1.0 is an integer.
    func stepPlainNumber(_ frame: Frame, _ byte: UInt8) {
        let isDigit = (0x30...0x39).contains(byte)
        let mayBeAny = frame.b == 0 || byte == 0x30
        var next: Int32 = -1
        switch (frame.a, byte) {
        case (0, _) where isDigit: next = byte == 0x30 ? 1 : 2
        case (2, _) where isDigit: next = 2
        case (1, 0x2E), (2, 0x2E):
            if frame.b == 0 || !tables.integersHaveNoPoint { next = 3 }
        case (3, _) where isDigit && mayBeAny, (4, _) where isDigit && mayBeAny: next = 4
        case (1, 0x65), (2, 0x65), (4, 0x65), (1, 0x45), (2, 0x45), (4, 0x45):
            if frame.b == 0 { next = 5 }
        case (5, 0x2B), (5, 0x2D): next = 6
        case (5, _) where isDigit, (6, _) where isDigit, (7, _) where isDigit: next = 7
        default: break
        }
        if next >= 0 {
            push(.plainNumber, next, frame.b, frame.parent)
        } else if Self.plainNumberEnds(frame.a), !isDigit {
            step(frame.parent, Int32(byte))
        }
    }

    static func plainNumberEnds(_ phase: Int32) -> Bool {
        phase == 1 || phase == 2 || phase == 4 || phase == 7
    }

    private func beginNumber(_ number: Int32, _ parent: Int32, _ byte: UInt8) {
        let rule = tables.numbers[Int(number)]
        let state = NumberState(rule: number, first: byte)
        if let canonical = state.checked(rule) { pushNumber(canonical, rule, parent) }
    }

    private func pushNumber(_ state: NumberState, _ rule: NumberRule, _ parent: Int32) {
        if state.isFree(rule) {
            let phase: Int32 = state.phase == .zero ? 1 : 2
            push(.plainNumber, phase, rule.multiple == nil ? 0 : 1, parent)
        } else {
            push(.number, numbers.intern(state), 0, parent)
        }
    }

    func stepNumber(_ frame: Frame, _ byte: UInt8) {
        let state = numbers[frame.a]
        let rule = tables.numbers[Int(state.rule)]
        if rule.multiple?.scale == 0 {
            if byte == 0x2E, tables.integersHaveNoPoint { return }
            if byte | 0x20 == 0x65, tables.style == .writing { return }
        }
        if let next = state.next(byte, rule) {
            pushNumber(next, rule, frame.parent)
        } else if !(0x30...0x39).contains(byte), state.isComplete(rule) {
            step(frame.parent, Int32(byte))
        }
    }

    // MARK: Arrays

    func stepArray(_ frame: Frame, _ byte: UInt8) {
        let state = arrays[frame.a]
        let rule = tables.arrays[Int(state.rule)]
        switch frame.kind {
        case .arrayFirst where byte == UInt8(ascii: "]"),
            .arrayNext where byte == UInt8(ascii: "]"):
            if isComplete(state, rule) { out.append(frame.parent) }
        case .arrayFirst, .arrayItem: item(state, rule, frame.parent, byte)
        case .arrayNext where byte == UInt8(ascii: ","):
            let next = self.frame(.arrayItem, frame.a, 0, frame.parent)
            if canAdd(state, rule) { push(.space, 0, 0, next) }
        default: break
        }
    }

    private func isComplete(_ state: ArrayState, _ rule: ArrayRule) -> Bool {
        Int(state.count) >= rule.countMin
            && zip(state.counted, rule.containing).allSatisfy { Int($0) >= $1.least }
    }

    private func canAdd(_ state: ArrayState, _ rule: ArrayRule) -> Bool {
        guard Int(state.count) < rule.countMax else { return false }
        return !ways(state, rule).isEmpty
    }

    /// The items that may come next: those after which every `contains` can still be met.
    private func ways(_ state: ArrayState, _ rule: ArrayRule) -> [ArrayRule.Item] {
        let place = min(Int(state.count), rule.items.count - 1)
        let items = rule.items[place]
        if rule.containing.isEmpty { return items }
        return items.filter { item in
            var missing = 0
            for (index, one) in rule.containing.enumerated() {
                let counts = item.counts >> UInt32(index) & 1 == 1
                let now = Int(state.counted[index]) + (counts ? 1 : 0)
                if now > one.most { return false }
                missing = max(missing, one.least - now)
            }
            return rule.countMax == .max || missing <= rule.countMax - Int(state.count) - 1
        }
    }

    private func item(_ state: ArrayState, _ rule: ArrayRule, _ parent: Int32, _ byte: UInt8) {
        guard Int(state.count) < rule.countMax else { return }
        for item in ways(state, rule) {
            var next = state
            for (index, one) in rule.containing.enumerated()
            where item.counts >> UInt32(index) & 1 == 1 {
                // Beyond what a bound asks the number makes no difference.
                let most = one.most < .max ? one.most : one.least
                next.counted[index] = min(next.counted[index] + 1, Int32(clamping: most))
            }
            let counts = rule.countMax < .max
                || Int(state.count) < max(rule.countMin, rule.items.count - 1)
            if counts { next.count += 1 }
            let array = arrays.intern(next)
            if rule.isUnique, !rule.isGuarded {
                let inner = frame(.value, item.value, 0, 0)
                let unique = uniqueItems.intern(
                    UniqueItem(array: array, thread: inner, text: -1))
                step(frame(.uniqueItem, unique, item.value, parent), Int32(byte))
            } else {
                begin(item.value, frame(.space, 0, 0, frame(.arrayNext, array, 0, parent)), byte)
            }
        }
    }

    // MARK: Unique items

    /// The item's own thread takes the byte; where it ends, the item must be a new one.
    func stepUniqueItem(_ frame: Frame, _ byte: UInt8) {
        let item = uniqueItems[frame.a]
        if ends(item.thread), let array = adding(item.text, to: item.array) {
            let next = self.frame(.arrayNext, array, 0, frame.parent)
            step(self.frame(.space, 0, 0, next), Int32(byte))
        }
        let outer = out
        out.removeAll(keepingCapacity: true)
        step(item.thread, Int32(byte))
        let inner = out
        out = outer
        if inner.isEmpty { return }
        let text = texts.intern(TextNode(before: item.text, byte: byte))
        for thread in inner {
            if thread == 0 {
                guard let array = adding(text, to: item.array) else { continue }
                push(.space, 0, 0, self.frame(.arrayNext, array, 0, frame.parent))
            } else if canFinish(text, item.array, value: frame.b) {
                let next = uniqueItems.intern(
                    UniqueItem(array: item.array, thread: thread, text: text))
                push(.uniqueItem, next, frame.b, frame.parent)
            }
        }
    }

    private func bytes(of text: Int32) -> [UInt8] {
        var result: [UInt8] = []
        var node = text
        while node >= 0 {
            result.append(texts[node].byte)
            node = texts[node].before
        }
        return result.reversed()
    }

    /// The array with one more item, or nil when it stands already.
    private func adding(_ text: Int32, to array: Int32) -> Int32? {
        var state = arrays[array]
        var items = itemSets[state.items]
        let item = CanonicalJSON.key(of: bytes(of: text))
        if items.contains(item) { return nil }
        items.append(item)
        items.sort { $0.lexicographicallyPrecedes($1) }
        state.items = itemSets.intern(items)
        return arrays.intern(state)
    }

    /// Whether a new item begins so; only few items at all can make it fail.
    private func canFinish(_ text: Int32, _ array: Int32, value: Int32) -> Bool {
        guard let all = tables.values[Int(value)].texts else { return true }
        let items = itemSets[arrays[array].items]
        let begun = bytes(of: text)
        return all.contains { $0.starts(with: begun) && !items.contains(CanonicalJSON.key(of: $0)) }
    }
}
