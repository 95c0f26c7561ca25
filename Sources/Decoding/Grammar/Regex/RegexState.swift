/// Where a text stands in a regular language: a node, and the kind of byte before it as far as the
/// node's assertions care.
struct RegexState: Hashable, Sendable {
    enum Before: UInt8, Sendable { case start, newline, word, other }

    var node: RegexTable.Node
    var before: Before

    static let dead = RegexState(node: RegexTable.none, before: .other)

    static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x5F, 0x61...0x7A: true
        default: false
        }
    }

    /// As one number, for frames; the inverse of ``init(code:)``.
    var code: Int32 { node << 2 | Int32(before.rawValue) }

    init(node: RegexTable.Node, before: Before) {
        self.node = node
        self.before = before
    }

    init(code: Int32) {
        node = code >> 2
        before = Before(rawValue: UInt8(code & 3)) ?? .other
    }
}

extension RegexTable {
    /// Where every text begins.
    func initial(_ node: Node) -> RegexState {
        let needsPlace = !flags[Int(node)].isDisjoint(with: [.start, .looksBack])
        return RegexState(node: node, before: needsPlace ? .start : .other)
    }

    func accepts(_ state: RegexState) -> Bool {
        accepts(state.node, state.before, next: nil)
    }

    /// The state after a byte; dead states may go unnoticed until ``isLive(_:effort:)`` is asked.
    mutating func step(_ state: RegexState, _ byte: UInt8) -> RegexState {
        let node = withoutStart(derivative(state.node, byte, state.before))
        guard flags[Int(node)].contains(.looksBack) else {
            return RegexState(node: node, before: .other)
        }
        let before: RegexState.Before =
            byte == 0x0A ? .newline : RegexState.isWord(byte) ? .word : .other
        return RegexState(node: node, before: before)
    }

    /// The bytes that can make a difference to texts of `node`: one of each class.
    func representatives(_ roots: [Node]) -> [UInt8] {
        var cuts = Set<UInt8>([0])
        var isUniform = true
        var visited: Set<Node> = []
        var pending = roots
        while let next = pending.popLast() {
            guard visited.insert(next).inserted else { continue }
            let content = nodes[Int(next)]
            switch content.kind {
            case .set, .tail:
                guard content.a >= 0 else { continue }
                let set = sets[Int(content.a)]
                isUniform = isUniform && set.isUniformBeyondASCII
                for range in set.ranges where range.lowerBound < 0x80 {
                    cuts.insert(UInt8(range.lowerBound))
                    if range.upperBound < 0x7F { cuts.insert(UInt8(range.upperBound + 1)) }
                }
            case .concatenation: pending += [content.a, content.b]
            case .alternation, .conjunction: pending += content.list
            case .complement, .repetition: pending.append(content.a)
            case .lineStart, .lineEnd: cuts.formUnion([0x0A, 0x0B])
            case .boundary, .noBoundary:
                cuts.formUnion([0x30, 0x3A, 0x41, 0x5B, 0x5F, 0x60, 0x61, 0x7B])
            default: break
            }
        }
        let wide: [UInt8] = isUniform ? [0xC3, 0xA0] : Array(0x80...0xF4)
        return cuts.sorted().reversed() + wide
    }

    /// Whether any text is accepted from `state`: a breadth-first search, remembered.
    ///
    /// - Parameters:
    ///   - effort: states the search may visit; it is counted down.
    ///   - workMax: where ``work`` must stay below.
    /// - Throws: ``GrammarError/tooLarge`` when the effort is spent.
    mutating func isLive(
        _ state: RegexState, effort: inout Int, workMax: Int = .max
    ) throws(GrammarError) -> Bool {
        if state.node == Self.none { return false }
        if flags[Int(state.node)].isDisjoint(with: .doubtful) { return true }
        if let known = liveStates[state] { return known }
        var order = [state]
        var cameFrom: [RegexState: Int] = [state: -1]
        let bytes = representatives([state.node])
        var at = 0
        while at < order.count {
            let current = order[at]
            if accepts(current) || liveStates[current] == true
                || flags[Int(current.node)].isDisjoint(with: .doubtful) {
                var back = at
                while back >= 0 {
                    liveStates[order[back]] = true
                    back = cameFrom[order[back]] ?? -1
                }
                return true
            }
            effort -= 1
            if effort < 0 || work > workMax {
                throw .tooLarge("a regular expression whose emptiness takes too long to decide")
            }
            for byte in bytes {
                let next = step(current, byte)
                if next.node == Self.none || liveStates[next] == false { continue }
                if cameFrom[next] == nil {
                    cameFrom[next] = at
                    order.append(next)
                }
            }
            at += 1
        }
        for dead in order { liveStates[dead] = false }
        return false
    }

    /// Whether every character that JSON strings hold unescaped leads from `state` to itself.
    mutating func loopsOnPlainText(_ state: RegexState) -> Bool {
        if state.node == Self.anything { return true }
        if let known = loopingStates[state] { return known }
        let result = findsLoop(state)
        loopingStates[state] = result
        return result
    }

    private mutating func findsLoop(_ state: RegexState) -> Bool {
        let bytes = representatives([state.node])
        guard !bytes.contains(0x81) else { return false }
        // A class may begin below a character that is escaped and go on above it.
        let plain = bytes.filter { $0 >= 0x20 && $0 < 0x80 } + [0x20, 0x23, 0x5D]
        for byte in plain where byte != 0x22 && byte != 0x5C {
            if step(state, byte) != state { return false }
        }
        for character: [UInt8] in [[0xC3, 0xA0], [0xE1, 0xA0, 0xA0], [0xF1, 0xA0, 0xA0, 0xA0]] {
            var next = state
            for byte in character { next = step(next, byte) }
            if next != state { return false }
        }
        return true
    }
}
