/// The machine: a pushdown parser as a lazily filled deterministic automaton.
///
/// A *configuration* is a sorted set of threads, interned to one number, with a row of successors
/// by byte that is filled on first use. Copying, forking and going back are copying one number.
/// A configuration never leads nowhere: steps whose rest nobody can complete are not taken.
///
/// Not thread-safe; ``Grammar`` holds a lock around it.
final class Automaton {
    var tables: GrammarTables
    var frames = FrameTable()
    var objects = Interned<ObjectState>()
    var arrays = Interned<ArrayState>()
    var keys = Interned<KeyState>()
    var keyPatterns = Interned<[Int32]>()
    var numbers = Interned<NumberState>()
    var uniqueItems = Interned<UniqueItem>()
    var itemSets = Interned<[[UInt8]]>()
    var texts = Interned<TextNode>()
    var freeKeyLives: [FreeKey: Bool] = [:]
    /// States of regular expressions that texts have come to, with their successors by byte: a
    /// lazy automaton of its own, shared by all positions. The same for keys without a name.
    var regexStates = Interned<RegexState>()
    let regexCells = RowTable(capacity: Automaton.regexStatesMax * 2)
    var keyStates = Interned<FreeKey>()
    let keyCells = RowTable(capacity: Automaton.keyStatesMax)
    var keySets: [Int32: KeySet] = [:]
    var keyOrder: [Int32] = []
    /// Keys' states after which any key at all can come, whatever is written.
    var openKeys: [Int32: Bool] = [:]
    var regexOwed: [Int] = []
    var bounded = Interned<BoundedState>()
    var contentSets: [Int32: ContentSet] = [:]
    var setBytes = 0
    var contentOrder: [Int32] = []
    var suffixSets: [Int32: [UInt64]] = [:]
    var suffixOrder: [Int32] = []

    private var threads: [Int32] = []
    /// Where each configuration's threads begin in `threads`; one more at the end.
    private var starts: [Int32] = [0]
    private var slots: [Int32] = Array(repeating: -1, count: 1 << 10)
    let rows: RowTable
    private var specials: [UInt64: Int32] = [:]
    private var accepting: [Int8] = []
    /// Masks that took long, with the oldest first.
    var masks: [Int32: [UInt64]] = [:]
    var maskOrder: [Int32] = []
    let start: Int32

    /// Configurations after which the machine is replaced by a new one, and those which it has
    /// room for: a mask begun below the first bound ends below the second.
    static let configurationsMax = 1 << 15
    static let missesMax = 20_000
    static let regexStatesMax = 1 << 14
    static let keyStatesMax = 1 << 13
    static let threadsMax = 256

    private(set) var misses = 0
    /// What regular expressions may work in one operation: a fifth of a second at the worst. The
    /// machine would otherwise search for seconds in a language that a client has thought out.
    static let regexWorkMax = 60_000
    private(set) var regexWorkEnd = Automaton.regexWorkMax
    /// Threads of the step that is being taken.
    var out: [Int32] = []
    /// Expression frames already entered in this step: rules may begin with empty ones in a ring.
    var entered: [Int32] = []
    /// Why a step could not be taken.
    var failure: GrammarError?

    struct TextNode: Hashable, Sendable {
        var before: Int32
        var byte: UInt8
    }
    struct FreeKey: Hashable {
        var rule: Int32
        var node: Int32
        var patterns: Int32
        /// Within a character.
        var lexer: UInt8
    }

    init(_ tables: GrammarTables) {
        self.tables = tables
        rows = RowTable(capacity: Self.configurationsMax + Self.missesMax + 1_024)
        let first = frames.intern(Frame(kind: .expression, a: tables.root, b: 0, parent: 0))
        threads = [first]
        starts = [0, 1]
        rows.append()
        accepting = [-1]
        start = 0
        insertSlot(0)
    }

    /// A machine with one place of another and none of its rows: for a text whose own states are
    /// too many to be found again from its beginning.
    init(moving configuration: Int32, of other: Automaton) {
        tables = other.tables
        objects = other.objects
        arrays = other.arrays
        keys = other.keys
        keyPatterns = other.keyPatterns
        numbers = other.numbers
        itemSets = other.itemSets
        texts = other.texts
        freeKeyLives = other.freeKeyLives
        regexStates = other.regexStates
        regexOwed = other.regexOwed
        for _ in regexOwed { regexCells.append() }
        bounded = other.bounded
        rows = RowTable(capacity: Self.configurationsMax + Self.missesMax + 1_024)
        start = 0
        for thread in other.threads(of: configuration) { out.append(copy(thread, of: other)) }
        out.sort()
        threads = out
        starts = [0, Int32(threads.count)]
        rows.append()
        accepting = [-1]
        insertSlot(0)
    }

    private func copy(_ thread: Int32, of other: Automaton) -> Int32 {
        var chain: [Frame] = []
        var next = thread
        while next > 0 {
            chain.append(other.frames[next])
            next = other.frames[next].parent
        }
        var copied: Int32 = 0
        for frame in chain.reversed() {
            var frame = frame
            frame.parent = copied
            if frame.kind == .uniqueItem {
                var item = other.uniqueItems[frame.a]
                item.thread = copy(item.thread, of: other)
                frame.a = uniqueItems.intern(item)
            }
            copied = frames.intern(frame)
        }
        return copied
    }

    /// Whether it has grown so much that its users should move to a new one.
    var isFull: Bool {
        rows.count > Self.configurationsMax || frames.count > 1 << 20
            || tables.regex.nodes.count > 1 << 18 || regexOwed.count > Self.regexStatesMax
            || keyCells.count > Self.keyStatesMax / 2
    }

    var configurationCount: Int { rows.count }

    /// About the memory taken.
    var byteCount: Int {
        rows.count * 1_100 + frames.count * 40 + tables.regex.nodes.count * 150
            + tables.trie.nodes.count * 20 + (regexOwed.count + keyCells.count) * 1_100 
            + setBytes + masks.count * 19_000
    }

    func threads(of configuration: Int32) -> ArraySlice<Int32> {
        threads[Int(starts[Int(configuration)])..<Int(starts[Int(configuration) + 1])]
    }

    // MARK: Interning

    private static func hash(_ threads: ArraySlice<Int32>) -> Int {
        var hash: UInt64 = 0x9E37_79B9_7F4A_7C15
        for thread in threads {
            hash = (hash ^ UInt64(UInt32(bitPattern: thread))) &* 0xBF58_476D_1CE4_E5B9
            hash ^= hash >> 29
        }
        return Int(truncatingIfNeeded: hash)
    }

    private func insertSlot(_ configuration: Int32) {
        let mask = slots.count - 1
        var slot = Self.hash(threads(of: configuration)) & mask
        while slots[slot] >= 0 { slot = (slot + 1) & mask }
        slots[slot] = configuration
    }

    /// The configuration of the threads in `out`.
    func intern() -> Int32 {
        if out.isEmpty { return RowTable.dead }
        if out.count > 1 {
            out.sort()
            var kept = 1
            for index in 1..<out.count where out[index] != out[kept - 1] {
                out[kept] = out[index]
                kept += 1
            }
            out.removeLast(out.count - kept)
            if kept > Self.threadsMax {
                failure = .tooLarge("a place with more than \(Self.threadsMax) ways to go on")
                return RowTable.dead
            }
        }
        let mask = slots.count - 1
        var slot = Self.hash(out[...]) & mask
        while slots[slot] >= 0 {
            if threads(of: slots[slot]) == out[...] { return slots[slot] }
            slot = (slot + 1) & mask
        }
        guard rows.count < rows.capacity else {
            failure = .tooLarge("more than \(rows.capacity) states in one mask")
            return RowTable.dead
        }
        let configuration = Int32(rows.count)
        threads += out
        starts.append(Int32(threads.count))
        rows.append()
        accepting.append(-1)
        slots[slot] = configuration
        if rows.count * 2 > slots.count {
            slots = Array(repeating: -1, count: slots.count * 4)
            for index in 0..<rows.count { insertSlot(Int32(index)) }
        }
        return configuration
    }

    // MARK: Steps

    @inline(__always)
    func successor(_ configuration: Int32, _ byte: UInt8) -> Int32 {
        let known = rows[configuration, byte]
        return known != RowTable.unknown ? known : miss(configuration, byte)
    }

    @inline(never)
    private func miss(_ configuration: Int32, _ byte: UInt8) -> Int32 {
        if failure != nil { return RowTable.dead }
        let next = advance(configuration, by: Int32(byte))
        // What a budget has cut short is not known.
        if failure == nil { rows[configuration, byte] = next }
        return next
    }

    private func advance(_ configuration: Int32, by symbol: Int32) -> Int32 {
        out.removeAll(keepingCapacity: true)
        entered.removeAll(keepingCapacity: true)
        let ways = Int(starts[Int(configuration) + 1] - starts[Int(configuration)])
        misses += 1 + ways / 16
        if misses > Self.missesMax || tables.regex.work > regexWorkEnd {
            failure = .tooLarge("more than \(Self.missesMax) new states in one step")
            return RowTable.dead
        }
        let low = Int(starts[Int(configuration)])
        let high = Int(starts[Int(configuration) + 1])
        for index in low..<high { step(threads[index], symbol) }
        return intern()
    }

    /// The successor by a token without text.
    func successor(_ configuration: Int32, token: Int32) -> Int32 {
        let key = UInt64(UInt32(bitPattern: configuration)) << 32
            | UInt64(UInt32(bitPattern: token))
        if let known = specials[key] { return known }
        if failure != nil { return RowTable.dead }
        let next = advance(configuration, by: 256 + token)
        if failure == nil { specials[key] = next }
        return next
    }

    /// An operation begins, with all of its budget.
    func beginOperation() {
        misses = 0
        failure = nil
        regexWorkEnd = tables.regex.work + Self.regexWorkMax
    }

    /// Whether the text may end here.
    func accepts(_ configuration: Int32) -> Bool {
        let known = accepting[Int(configuration)]
        if known >= 0 { return known == 1 }
        entered.removeAll(keepingCapacity: true)
        let result = threads(of: configuration).contains { ends($0) }
        accepting[Int(configuration)] = result ? 1 : 0
        return result
    }

    @inline(__always)
    func push(_ kind: Frame.Kind, _ a: Int32 = 0, _ b: Int32 = 0, _ parent: Int32) {
        out.append(frames.intern(Frame(kind: kind, a: a, b: b, parent: parent)))
    }

    @inline(__always)
    func frame(_ kind: Frame.Kind, _ a: Int32 = 0, _ b: Int32 = 0, _ parent: Int32) -> Int32 {
        frames.intern(Frame(kind: kind, a: a, b: b, parent: parent))
    }

    /// Adds to `out` every thread that `thread` can be after `symbol`: a byte, or 256 and a token.
    func step(_ thread: Int32, _ symbol: Int32) {
        let frame = frames[thread]
        switch frame.kind {
        case .done: return
        case .expression: return enter(frame, thread, symbol)
        case .sequence, .repetition, .match, .members, .memberKey:
            return continueExpression(frame, thread, symbol)
        default: break
        }
        guard symbol < 256 else { return }
        let byte = UInt8(symbol)
        switch frame.kind {
        case .space: stepSpace(frame, byte)
        case .value: begin(frame.a, frame.parent, byte)
        case .word: stepWord(frame, byte)
        case .text: stepText(frame, byte)
        case .pattern: stepPattern(frame, byte)
        case .bounded: stepBounded(frame, byte)
        case .literal, .numberLiteral: stepLiteral(frame, byte)
        case .plainNumber: stepPlainNumber(frame, byte)
        case .number: stepNumber(frame, byte)
        case .arrayFirst, .arrayNext, .arrayItem: stepArray(frame, byte)
        case .uniqueItem: stepUniqueItem(frame, byte)
        case .objectFirst, .objectNext, .objectKey: stepMember(frame, byte)
        case .key: stepKey(frame, byte)
        case .colon: if byte == UInt8(ascii: ":") { out.append(frame.parent) }
        default: return
        }
    }

    /// Whether nothing need come before the end.
    func ends(_ thread: Int32) -> Bool {
        let frame = frames[thread]
        switch frame.kind {
        case .done: return true
        case .plainNumber:
            return Self.plainNumberEnds(frame.a) && ends(frame.parent)
        case .number:
            let state = numbers[frame.a]
            return state.isComplete(tables.numbers[Int(state.rule)]) && ends(frame.parent)
        case .numberLiteral:
            return tables.trie.nodes[Int(frame.a)].terminal >= 0 && ends(frame.parent)
        case .expression, .sequence, .repetition, .match, .members:
            return expressionEnds(frame, thread)
        default: return false
        }
    }
}
