import Synchronization

/// A compiled grammar over one vocabulary: what a request's answer must look like.
///
/// The seam with the engine: ``compile(_:vocabulary:limits:isCancelled:)`` before admission, on a
/// thread that may take milliseconds; ``makeState()`` into each sequence; per token
/// ``GrammarState/fill(_:)`` (or ``GrammarState/allows(_:)`` first, when greedy), then
/// ``GrammarState/accept(_:)``. Threads may share a grammar: a lock lets one at a time at its
/// machine, for microseconds.
package final class Grammar: Sendable {
    /// What it was compiled from.
    package let source: GrammarSource
    package let vocabulary: TokenTrie
    /// Schema keywords and formats that nothing enforces, as JSON pointers.
    package let annotations: [String]
    let tables: GrammarTables
    private let current: Mutex<SharedAutomaton>

    private init(
        _ source: GrammarSource, _ tables: GrammarTables, _ annotations: [String],
        _ vocabulary: TokenTrie
    ) {
        self.source = source
        self.tables = tables
        self.annotations = annotations
        self.vocabulary = vocabulary
        current = Mutex(SharedAutomaton(tables))
    }

    /// - Parameters:
    ///   - style: which of the equal texts of a JSON value there are.
    ///   - isCancelled: asked about every millisecond.
    /// - Throws: why the grammar is refused, with the place.
    package static func compile(
        _ source: GrammarSource, vocabulary: TokenTrie, style: GrammarStyle = .judging,
        limits: GrammarLimits = GrammarLimits(),
        isCancelled: @escaping () -> Bool = { false }
    ) throws(GrammarError) -> Grammar {
        var compiler = GrammarCompiler(limits, style, isCancelled: isCancelled)
        try compiler.compile(source)
        let grammar = Grammar(source, compiler.tables, compiler.annotations, vocabulary)
        try grammar.tryFirstMask()
        return grammar
    }

    /// A grammar whose first mask is over the budget is refused before anybody waits for it. (One
    /// without a token to begin with is left to the step: vocabularies of tests have none.)
    private func tryFirstMask() throws(GrammarError) {
        var state = makeState()
        var mask = TokenMask(count: vocabulary.tokenCount)
        do {
            try state.fill(&mask)
        } catch .deadEnd {
            return
        } catch {
            throw error.at("#")
        }
    }

    /// The machine that sequences share; a new one where the last has grown too large. Sequences
    /// that hold the old one move by reading their text again.
    func automaton() -> SharedAutomaton {
        current.withLock { shared in
            if shared.isFull { shared = SharedAutomaton(tables) }
            return shared
        }
    }

    /// Where a text begins.
    package func makeState() -> GrammarState { GrammarState(self) }

    /// About the memory it takes.
    package var byteCount: Int { automaton().byteCount + 4_096 }

    /// States found so far.
    package var stateCount: Int { automaton().read { $0.configurationCount } }
}

/// A machine with the lock around it.
///
/// Unchecked: `automaton` is touched under `lock` alone.
final class SharedAutomaton: @unchecked Sendable {
    private let lock = Mutex(())
    private let automaton: Automaton

    init(_ tables: GrammarTables) { automaton = Automaton(tables) }

    private init(_ automaton: Automaton) { self.automaton = automaton }

    /// A machine of its own for one place of this one.
    func moved(_ configuration: Int32) -> SharedAutomaton {
        SharedAutomaton(read { Automaton(moving: configuration, of: $0) })
    }

    func read<Result>(_ body: (Automaton) -> Result) -> Result {
        lock.withLock { _ in body(automaton) }
    }

    var isFull: Bool { read { $0.isFull } }
    var byteCount: Int { read { $0.byteCount } }
}

/// How far one sequence's text is in a grammar. A value: a copy is a fork, and keeping one is how
/// to go back (after a rejected draft, say).
package struct GrammarState: Sendable {
    private let grammar: Grammar
    private var shared: SharedAutomaton
    private var place = Automaton.Place()
    /// What has been accepted: bytes, and 256 + token for tokens without text.
    private var symbols: [Int32] = []

    init(_ grammar: Grammar) {
        self.grammar = grammar
        shared = grammar.automaton()
    }

    /// Bits of the masks.
    package var tokenCount: Int { grammar.vocabulary.tokenCount }

    /// The text so far is complete: the sequence may end.
    package var isComplete: Bool { shared.read { $0.accepts(configuration) } }

    /// Nothing can follow: the sequence ends without another step.
    package var isFinished: Bool {
        shared.read { automaton in
            automaton.accepts(configuration)
                && !(UInt8.min...UInt8.max).contains { automaton.successor(configuration, $0) >= 0 }
                && !automaton.tables.specialTokens.contains {
                    automaton.successor(configuration, token: $0) >= 0
                }
        }
    }

    /// Sets the bits of exactly the tokens that can come next, end tokens included when the text
    /// is complete.
    ///
    /// - Throws: ``GrammarError/deadEnd`` when there are none; ``GrammarError/tooLarge`` when the
    ///   place has more ways than anyone should wait for.
    package mutating func fill(_ mask: inout TokenMask) throws(GrammarError) {
        precondition(mask.count >= tokenCount)
        try moveIfFull()
        let failure = shared.read { automaton -> GrammarError? in
            automaton.beginOperation()
            automaton.fill(&mask, configuration, grammar.vocabulary)
            if automaton.tables.isGuarded { removeRepeated(&mask, automaton) }
            grammar.vocabulary.completeTwins(&mask)
            return automaton.failure ?? (mask.isEmpty ? .deadEnd : nil)
        }
        if let failure {
            // Half a mask is no mask.
            mask.removeAll()
            throw failure
        }
    }

    /// Whether one token can come next: the bit that ``fill(_:)`` gives it, for much less.
    package func allows(_ token: Int32) -> Bool {
        guard token >= 0, Int(token) < tokenCount else { return false }
        return shared.read { automaton in
            if grammar.vocabulary.endTokens.contains(token), automaton.accepts(configuration) {
                return true
            }
            automaton.beginOperation()
            return next(automaton, token).configuration >= 0
        }
    }

    /// Takes a token. An end token changes nothing.
    ///
    /// - Returns: whether it was allowed; if not, nothing has changed.
    @discardableResult
    package mutating func accept(_ token: Int32) -> Bool {
        guard token >= 0, Int(token) < tokenCount else { return false }
        let vocabulary = grammar.vocabulary
        guard (try? moveIfFull()) != nil else { return false }
        let next = shared.read { automaton in
            automaton.beginOperation()
            return self.next(automaton, token)
        }
        if next.configuration >= 0 {
            place = next
            let bytes = vocabulary.tokens[Int(token)]
            if bytes.isEmpty { symbols.append(256 + token) } else {
                symbols.append(contentsOf: bytes.lazy.map { Int32($0) })
            }
            return true
        }
        return vocabulary.endTokens.contains(token) && isComplete
    }

    /// Takes text that need not be made of tokens.
    @discardableResult
    package mutating func accept(text: some Sequence<UInt8>) -> Bool {
        var state = self
        var rest = text.map { Int32($0) }[...]
        while !rest.isEmpty {
            guard (try? state.moveIfFull()) != nil else { return false }
            let part = rest.prefix(4_096)
            state.place = state.shared.read { automaton in
                Self.read(part, automaton, from: state.place, after: state.symbols)
            }
            guard state.configuration >= 0 else { return false }
            state.symbols += part
            rest = rest.dropFirst(part.count)
        }
        self = state
        return true
    }

    /// The bytes that must come, whatever is sampled, up to `limit`.
    package func forcedText(limit: Int = 4_096) -> [UInt8] {
        shared.read { automaton in
            automaton.beginOperation()
            var result: [UInt8] = []
            var place = configuration
            while result.count < limit,
                let byte = automaton.forcedByte(place) {
                let next = automaton.successor(place, byte)
                if automaton.failure != nil { break }
                result.append(byte)
                place = next
            }
            return result
        }
    }

    private var configuration: Int32 { place.configuration }

    private func next(_ automaton: Automaton, _ token: Int32) -> Automaton.Place {
        let bytes = grammar.vocabulary.tokens[Int(token)]
        var place = self.place
        if bytes.isEmpty {
            place.configuration = automaton.tables.specialTokens.contains(token)
                ? automaton.successor(configuration, token: token) : RowTable.dead
            return place
        }
        let count = symbols.count
        for (index, byte) in bytes.enumerated() {
            automaton.advance(&place, byte, at: count + index) { start, end in
                start < count
                    ? symbols[start..<min(end, count)].map { UInt8(truncatingIfNeeded: $0) }
                        + bytes[..<max(0, end - count)]
                    : Array(bytes[(start - count)..<(end - count)])
            }
            if place.configuration < 0 { break }
        }
        return place
    }

    private func removeRepeated(_ mask: inout TokenMask, _ automaton: Automaton) {
        automaton.removeRepeated(
            &mask, place.json, grammar.vocabulary,
            written: { symbols[$0...].map { UInt8(truncatingIfNeeded: $0) } },
            survives: { next(automaton, $0).configuration >= 0 })
    }

    private static func read(
        _ symbols: ArraySlice<Int32>, _ automaton: Automaton, from start: Automaton.Place,
        after before: [Int32] = []
    ) -> Automaton.Place {
        var place = start
        for (index, symbol) in symbols.enumerated() {
            automaton.beginOperation()
            if symbol < 256 {
                automaton.advance(&place, UInt8(symbol), at: before.count + index) { start, end in
                    let first = symbols.startIndex - before.count
                    let early = start < before.count ? before[start..<min(end, before.count)] : []
                    let late = end > before.count
                        ? symbols[(first + max(start, before.count))..<(first + end)] : []
                    return (early + late).map { UInt8(truncatingIfNeeded: $0) }
                }
            } else {
                place.configuration = automaton.successor(
                    place.configuration, token: symbol - 256)
            }
            if place.configuration < 0 { break }
        }
        return place
    }

    private static let replayMax = 10_000

    /// A machine that has found too many states is left for a new one.
    private mutating func moveIfFull() throws(GrammarError) {
        guard shared.isFull else { return }
        if symbols.count > Self.replayMax {
            shared = shared.moved(configuration)
            place.configuration = 0
            guard !shared.isFull else { throw .tooLarge("a text with too many states") }
            return
        }
        let fresh = grammar.automaton()
        let place = fresh.read { Self.read(symbols[...], $0, from: Automaton.Place()) }
        guard place.configuration >= 0 else { throw .tooLarge("a text with too many states") }
        shared = fresh
        self.place = place
    }
}
