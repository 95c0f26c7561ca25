/// Regular languages over UTF-8 text as hash-consed nodes, read byte by byte through Brzozowski's
/// derivatives (Brzozowski 1964; Owens, Reppy, Turon 2009). Counts, intersection and complement
/// are nodes like any other, so `a{0,100000}` is one node and costs nothing before it is read.
///
/// Classes are read as sets of scalars with the bytes of a character held in a `tail` node; a
/// byte automaton of `\p{L}` would have hundreds of nodes before the first byte.
///
/// A state is a node and what precedes it, which only assertions look at: see ``RegexState``.
struct RegexTable: Sendable {
    typealias Node = Int32

    enum Kind: UInt8 { case
        empty, epsilon, set, tail, concatenation, alternation, conjunction, complement, repetition,
        start, end, lineStart, lineEnd, boundary, noBoundary
    }

    struct Flags: OptionSet {
        let rawValue: UInt8
        /// Accepts the empty text wherever it stands.
        static let nullable = Flags(rawValue: 1)
        /// Contains `^`, which is dead after the first byte.
        static let start = Flags(rawValue: 2)
        /// Contains an assertion that looks at the byte before.
        static let looksBack = Flags(rawValue: 4)
        /// May be empty without being the empty node: only a search can tell.
        static let doubtful = Flags(rawValue: 8)
        /// Contains a complement: not a part of all texts byte by byte.
        static let complement = Flags(rawValue: 16)
    }

    struct Content: Hashable {
        var kind: Kind
        var a: Int32 = 0
        var b: Int32 = 0
        var c: Int32 = 0
        var list: [Node] = []
    }

    static let none: Node = 0
    static let epsilon: Node = 1
    /// Any text at all.
    static let anything: Node = 3

    private(set) var nodes: [Content] = []
    private(set) var flags: [Flags] = []
    private var index: [Content: Node] = [:]
    private(set) var sets: [ScalarSet] = []
    private var setIndex: [ScalarSet: Int32] = [:]
    private var derivatives: [UInt64: Node] = [:]
    private var stripped: [Node: Node] = [:]
    /// What searches have found out: state → whether some text is accepted from it.
    var liveStates: [RegexState: Bool] = [:]
    var loopingStates: [RegexState: Bool] = [:]
    /// Steps taken so far: what budgets are counted in. About a microsecond each.
    private(set) var work = 0
    private var shortest: [Node: Int] = [:]

    init() {
        _ = intern(Content(kind: .empty))
        _ = intern(Content(kind: .epsilon))
        let any = set(.all)
        let anything = repeated(any, 0, Self.unbounded)
        precondition(anything == Self.anything)
    }

    static let unbounded = Int32.max

    // MARK: Building

    private mutating func intern(_ content: Content) -> Node {
        if let known = index[content] { return known }
        let node = Node(nodes.count)
        let own = flags(of: content)
        nodes.append(content)
        flags.append(own)
        index[content] = node
        return node
    }

    private func flags(of content: Content) -> Flags {
        func has(_ node: Node, _ flag: Flags) -> Bool { flags[Int(node)].contains(flag) }
        var own: Flags = []
        var parts: [Node] = content.list
        switch content.kind {
        case .empty, .set, .tail: break
        case .epsilon: own = .nullable
        case .concatenation:
            parts = [content.a, content.b]
            if parts.allSatisfy({ has($0, .nullable) }) { own = .nullable }
        case .alternation:
            if parts.contains(where: { has($0, .nullable) }) { own = .nullable }
        case .conjunction:
            if parts.allSatisfy({ has($0, .nullable) }) { own = .nullable }
            own.insert(.doubtful)
        case .complement:
            parts = [content.a]
            own = [.doubtful, .complement]
            // An assertion inside makes it depend on the place; `accepts` looks in detail.
        case .repetition:
            parts = [content.a]
            if content.b == 0 || has(content.a, .nullable) { own = .nullable }
        case .start: own = [.start, .doubtful]
        case .end: own = [.doubtful]
        case .lineStart, .boundary, .noBoundary: own = [.looksBack, .doubtful]
        case .lineEnd: own = [.doubtful]
        }
        for part in parts {
            own.formUnion(flags[Int(part)].intersection([
                .start, .looksBack, .doubtful, .complement,
            ]))
        }
        return own
    }

    mutating func set(_ set: ScalarSet) -> Node {
        if set.isEmpty { return Self.none }
        return intern(Content(kind: .set, a: setID(set)))
    }

    private mutating func setID(_ set: ScalarSet) -> Int32 {
        if let known = setIndex[set] { return known }
        let id = Int32(sets.count)
        sets.append(set)
        setIndex[set] = id
        return id
    }

    mutating func assertion(_ kind: Kind) -> Node { intern(Content(kind: kind)) }

    mutating func literal(_ text: String) -> Node {
        var node = Self.epsilon
        for scalar in text.unicodeScalars.reversed() {
            node = concatenated(set(ScalarSet(scalar.value)), node)
        }
        return node
    }

    mutating func concatenated(_ first: Node, _ second: Node) -> Node {
        if first == Self.none || second == Self.none { return Self.none }
        if first == Self.epsilon { return second }
        if second == Self.epsilon { return first }
        if first == Self.anything, second == Self.anything { return first }
        let content = nodes[Int(first)]
        if content.kind == .concatenation {
            return concatenated(content.a, concatenated(content.b, second))
        }
        return intern(Content(kind: .concatenation, a: first, b: second))
    }

    mutating func repeated(_ node: Node, _ least: Int32, _ most: Int32) -> Node {
        if most == 0 || node == Self.epsilon { return Self.epsilon }
        if node == Self.none { return least == 0 ? Self.epsilon : Self.none }
        if least == 1, most == 1 { return node }
        let least = flags[Int(node)].contains(.nullable) ? 0 : least
        let content = nodes[Int(node)]
        if content.kind == .repetition, let (low, high) = Self.nested(content, least, most) {
            return repeated(content.a, low, high)
        }
        if content.kind == .alternation, content.list.contains(Self.epsilon) {
            let others = alternated(content.list.filter { $0 != Self.epsilon })
            return repeated(others, 0, most)
        }
        return intern(Content(kind: .repetition, a: node, b: least, c: most))
    }

    /// The bounds of `(x{i,j}){k,l}` as one count, where the counts reached have no gaps.
    private static func nested(
        _ inner: Content, _ least: Int32, _ most: Int32
    ) -> (Int32, Int32)? {
        guard inner.b <= 1, most > 0 else { return nil }
        let low = inner.b == 0 ? 0 : least
        if inner.c == unbounded || most == unbounded {
            return inner.c > 0 ? (low, unbounded) : nil
        }
        let (product, overflow) = inner.c.multipliedReportingOverflow(by: most)
        return overflow ? nil : (low, product)
    }

    mutating func alternated(_ options: [Node]) -> Node {
        var found: [Node] = []
        for option in options where option != Self.none {
            let content = nodes[Int(option)]
            if content.kind == .alternation { found += content.list } else { found.append(option) }
        }
        if found.count > 1 {
            found = Array(Set(found)).sorted()
            if found.contains(Self.anything),
                !found.contains(where: { flags[Int($0)].contains(.complement) }) {
                return Self.anything
            }
            mergeSets(&found)
            mergeCounts(&found)
        }
        if found.isEmpty { return Self.none }
        if found.count == 1 { return found[0] }
        return intern(Content(kind: .alternation, list: found.sorted()))
    }

    /// `a|b` as `[ab]`.
    private mutating func mergeSets(_ options: inout [Node]) {
        let single = options.filter { nodes[Int($0)].kind == .set }
        guard single.count > 1 else { return }
        let merged = ScalarSet(single.flatMap { sets[Int(nodes[Int($0)].a)].ranges })
        options.removeAll { nodes[Int($0)].kind == .set }
        options.append(set(merged))
    }

    /// `x{0,3}y|x{0,7}y` as `x{0,7}y`: what keeps counts under a loop from multiplying.
    private mutating func mergeCounts(_ options: inout [Node]) {
        struct Key: Hashable { var body: Node, least: Int32, rest: Node }
        var best: [Key: (most: Int32, node: Node)] = [:]
        var dropped: Set<Node> = []
        for option in options {
            var content = nodes[Int(option)]
            var rest = Self.epsilon
            if content.kind == .concatenation {
                rest = content.b
                content = nodes[Int(content.a)]
            }
            guard content.kind == .repetition else { continue }
            let key = Key(body: content.a, least: content.b, rest: rest)
            if let other = best[key] {
                dropped.insert(other.most < content.c ? other.node : option)
                if other.most >= content.c { continue }
            }
            best[key] = (content.c, option)
        }
        if !dropped.isEmpty { options.removeAll { dropped.contains($0) } }
    }

    mutating func conjoined(_ parts: [Node]) -> Node {
        var found: [Node] = []
        for part in parts {
            let content = nodes[Int(part)]
            if content.kind == .conjunction { found += content.list } else { found.append(part) }
        }
        if found.contains(Self.none) { return Self.none }
        found = Array(Set(found)).sorted()
        if found.count > 1, found.contains(Self.anything),
            found.contains(where: {
                $0 != Self.anything && !flags[Int($0)].contains(.complement)
            }) {
            found.removeAll { $0 == Self.anything }
        }
        if found.isEmpty { return Self.anything }
        if found.count == 1 { return found[0] }
        return intern(Content(kind: .conjunction, list: found))
    }

    /// All texts but those of `node`.
    mutating func complemented(_ node: Node) -> Node {
        if node == Self.none { return Self.anything }
        if node == Self.anything { return Self.none }
        return conjoined([Self.anything, opposite(node)])
    }

    /// All strings of bytes but those of `node`; inside a conjunction with texts only.
    private mutating func opposite(_ node: Node) -> Node {
        let content = nodes[Int(node)]
        if content.kind == .complement { return content.a }
        return intern(Content(kind: .complement, a: node))
    }

    /// All texts in which a text of `node` is found. Anchors at the ends of an alternative are
    /// resolved here: what has none left is never doubtful, and needs no searches.
    mutating func found(_ node: Node) -> Node {
        let content = nodes[Int(node)]
        if content.kind == .alternation {
            return alternated(content.list.map { found($0) })
        }
        var parts: [Node] = []
        var rest = node
        while nodes[Int(rest)].kind == .concatenation {
            parts.append(nodes[Int(rest)].a)
            rest = nodes[Int(rest)].b
        }
        parts.append(rest)
        let first = parts.prefix { nodes[Int($0)].kind == .start }.count
        let last = parts.dropFirst(first).reversed().prefix { nodes[Int($0)].kind == .end }.count
        var result = last > 0 ? Self.epsilon : Self.anything
        for part in parts.dropFirst(first).dropLast(last).reversed() {
            result = concatenated(part, result)
        }
        return first > 0 ? result : concatenated(Self.anything, result)
    }

    // MARK: Reading

    /// Whether `node` accepts the empty text between what precedes and `next` (nil: the end).
    func accepts(_ node: Node, _ before: RegexState.Before, next: UInt8?) -> Bool {
        let own = flags[Int(node)]
        if own.isDisjoint(with: .doubtful) { return own.contains(.nullable) }
        let content = nodes[Int(node)]
        switch content.kind {
        case .empty, .set, .tail: return false
        case .epsilon: return true
        case .concatenation:
            return accepts(content.a, before, next: next) && accepts(content.b, before, next: next)
        case .alternation: return content.list.contains { accepts($0, before, next: next) }
        case .conjunction: return content.list.allSatisfy { accepts($0, before, next: next) }
        case .complement: return !accepts(content.a, before, next: next)
        case .repetition: return content.b == 0 || accepts(content.a, before, next: next)
        case .start: return before == .start
        case .end: return next == nil
        case .lineStart: return before == .start || before == .newline
        case .lineEnd: return next == nil || next == 0x0A
        case .boundary: return (before == .word) != (next.map(RegexState.isWord) ?? false)
        case .noBoundary: return (before == .word) == (next.map(RegexState.isWord) ?? false)
        }
    }

    mutating func derivative(
        _ node: Node, _ byte: UInt8, _ before: RegexState.Before
    ) -> Node {
        let content = nodes[Int(node)]
        switch content.kind {
        case .empty, .epsilon, .start, .end, .lineStart, .lineEnd, .boundary, .noBoundary:
            return Self.none
        case .set: return first(content.a, byte)
        case .tail: return next(content, byte)
        default: break
        }
        let key = UInt64(UInt32(bitPattern: node)) << 10 | UInt64(byte) << 2
            | UInt64(before.rawValue)
        if let known = derivatives[key] { return known }
        work += 1 + content.list.count
        let result = composed(content, byte, before)
        if derivatives.count > 1 << 18 { derivatives.removeAll(keepingCapacity: true) }
        derivatives[key] = result
        return result
    }

    private mutating func composed(
        _ content: Content, _ byte: UInt8, _ before: RegexState.Before
    ) -> Node {
        switch content.kind {
        case .concatenation:
            let taken = concatenated(derivative(content.a, byte, before), content.b)
            guard accepts(content.a, before, next: byte) else { return taken }
            return alternated([taken, derivative(content.b, byte, before)])
        case .alternation:
            return alternated(content.list.map { derivative($0, byte, before) })
        case .conjunction:
            return conjoined(content.list.map { derivative($0, byte, before) })
        case .complement: return opposite(derivative(content.a, byte, before))
        case .repetition:
            let skips = accepts(content.a, before, next: byte)
            let rest = repeated(
                content.a, skips ? 0 : max(0, content.b - 1),
                content.c == Self.unbounded ? content.c : content.c - 1)
            return concatenated(derivative(content.a, byte, before), rest)
        default: return Self.none
        }
    }

    /// A class by the first byte of a character.
    private mutating func first(_ set: Int32, _ byte: UInt8) -> Node {
        switch byte {
        case 0..<0x80: sets[Int(set)].contains(UInt32(byte)) ? Self.epsilon : Self.none
        case 0xC2...0xDF: tail(set, UInt32(byte & 0x1F), 1)
        case 0xE0...0xEF: tail(set, UInt32(byte & 0x0F), 2)
        case 0xF0...0xF4: tail(set, UInt32(byte & 0x07), 3)
        default: Self.none
        }
    }

    /// What is left of a character of `set` whose leading bits are `value`.
    private mutating func tail(_ set: Int32, _ value: UInt32, _ bytesLeft: Int32) -> Node {
        if set < 0 { return intern(Content(kind: .tail, a: -1, b: 0, c: bytesLeft)) }
        let shift = UInt32(6 * bytesLeft)
        // E0 and F0 begin no shorter character's overlong form.
        let least: UInt32 = value > 0 ? value << shift : bytesLeft == 2 ? 0x800 : 0x10000
        let range = least...((value + 1) << shift) - 1
        guard sets[Int(set)].intersects(range) else { return Self.none }
        // E0, ED, F0 and F4 restrict their next byte; the others share one node.
        let isPlain = value != 0 && value << shift != 0xD000 && value << shift != 0x100000
        if isPlain, sets[Int(set)].covers(range) { return tail(-1, 0, bytesLeft) }
        return intern(Content(kind: .tail, a: set, b: Int32(value), c: bytesLeft))
    }

    private mutating func next(_ tail: Content, _ byte: UInt8) -> Node {
        guard byte & 0xC0 == 0x80 else { return Self.none }
        if tail.a < 0 {
            return tail.c == 1 ? Self.epsilon : self.tail(-1, 0, tail.c - 1)
        }
        // Overlong forms.
        if tail.b == 0, byte < (tail.c == 2 ? 0xA0 : 0x90) { return Self.none }
        let value = UInt32(tail.b) << 6 | UInt32(byte & 0x3F)
        if tail.c == 1 { return sets[Int(tail.a)].contains(value) ? Self.epsilon : Self.none }
        return self.tail(tail.a, value, tail.c - 1)
    }

    /// Characters of the shortest text of `node`, one begun already apart; nil when only a search
    /// could tell.
    mutating func lengthMin(_ node: Node) -> Int? {
        if !flags[Int(node)].isDisjoint(with: .doubtful) { return nil }
        if let known = shortest[node] { return known }
        let content = nodes[Int(node)]
        var length = 0
        switch content.kind {
        case .set: length = 1
        case .concatenation:
            length = (lengthMin(content.a) ?? 0) + (lengthMin(content.b) ?? 0)
        case .alternation: length = content.list.map { lengthMin($0) ?? 0 }.min() ?? 0
        case .repetition:
            let (product, isOver) = (lengthMin(content.a) ?? 0)
                .multipliedReportingOverflow(by: Int(content.b))
            length = isOver ? .max : product
        default: break
        }
        length = min(length, 1 << 40)
        shortest[node] = length
        return length
    }

    /// `node` where `^` can no longer hold.
    mutating func withoutStart(_ node: Node) -> Node {
        guard flags[Int(node)].contains(.start) else { return node }
        if let known = stripped[node] { return known }
        let content = nodes[Int(node)]
        let result: Node
        switch content.kind {
        case .start: result = Self.none
        case .concatenation:
            result = concatenated(withoutStart(content.a), withoutStart(content.b))
        case .alternation: result = alternated(content.list.map { withoutStart($0) })
        case .conjunction: result = conjoined(content.list.map { withoutStart($0) })
        case .complement: result = opposite(withoutStart(content.a))
        case .repetition: result = repeated(withoutStart(content.a), content.b, content.c)
        default: result = node
        }
        stripped[node] = result
        return result
    }
}
