/// Keys without a name: which there are, and what they may hold.
extension SchemaLowering {
    struct FreeKeys {
        /// For all of them, when there are no patterns.
        var options: [ObjectRule.Option] = []
        var patterns: [Int32] = []
        var classes: [UInt64: [ObjectRule.Option]] = [:]
        /// Keys of the classes that have few: they become names.
        var listed: [[UInt8]] = []
        var isEvery = false
        var isFew = false
        var least = Int.max
    }

    private static let patternsMax = 60

    mutating func freeKeys(_ shape: ObjectShape) throws(GrammarError) -> FreeKeys {
        var keys = FreeKeys()
        var patterns: [RegexTable.Node] = []
        for group in shape.groups {
            for pattern in group.patterns where !patterns.contains(pattern.keys) {
                patterns.append(pattern.keys)
            }
        }
        for one in shape.existing where !patterns.contains(one.keys) { patterns.append(one.keys) }
        if patterns.isEmpty {
            keys.options = options([(normalizer.formulas.all(shape.groups.map(\.additional)), 0)])
            return keys
        }
        if patterns.count > Self.patternsMax {
            throw .tooLarge("more than \(Self.patternsMax) patterns of keys in one object")
        }
        keys.patterns = patterns.map { normalizer.regex.initial($0).code }
        let (classes, isComplete) = try reachableClasses(keys.patterns)
        keys.isEvery = isComplete
        var kept: [RegexTable.Node] = []
        for matched in classes.sorted() {
            let ways = ways(shape, patterns, matched)
            if ways.allSatisfy({ $0.0 == FormulaTable.never }) {
                keys.isEvery = false
                continue
            }
            let language = language(patterns, matched)
            let survey = try KeySurvey(language, normalizer)
            if let words = survey.words {
                keys.listed += words
                keys.isEvery = false
                continue
            }
            kept.append(language)
            keys.isFew = keys.isFew || survey.hasFewBelow
            let (least, isOver) = keys.classes.isEmpty
                ? (survey.least, false) : keys.least.addingReportingOverflow(survey.least)
            keys.least = isOver ? .max : least
            keys.classes[matched] = options(ways)
        }
        // What one class has few of another may have more of.
        if keys.isEvery { keys.isFew = false } else if keys.isFew, kept.count > 1 {
            let all = normalizer.regex.alternated(kept)
            keys.isFew = try KeySurvey(all, normalizer).hasFewBelow
        }
        return keys
    }

    /// What keys that match these patterns and no other may hold.
    private func ways(
        _ shape: ObjectShape, _ patterns: [RegexTable.Node], _ matched: UInt64
    ) -> [(Formula, UInt32)] {
        func matches(_ keys: RegexTable.Node) -> Bool {
            matched >> UInt64(patterns.firstIndex(of: keys) ?? 0) & 1 == 1
        }
        var parts: [Formula] = []
        for group in shape.groups {
            let own = group.patterns.filter { matches($0.keys) }
            parts += own.isEmpty ? [group.additional] : own.map(\.value)
        }
        var ways = [(normalizer.formulas.all(parts), UInt32(0))]
        for (index, one) in shape.existing.enumerated() where matches(one.keys) {
            ways = with(one, index, ways)
        }
        return ways
    }

    /// The keys that match these patterns and no other.
    private func language(_ patterns: [RegexTable.Node], _ matched: UInt64) -> RegexTable.Node {
        var parts: [RegexTable.Node] = []
        for (index, pattern) in patterns.enumerated() {
            let isIn = matched >> UInt64(index) & 1 == 1
            parts.append(isIn ? pattern : normalizer.regex.complemented(pattern))
        }
        return normalizer.regex.conjoined(parts)
    }

    /// Which sets of patterns a key can match, as far as a bounded search finds; a key of another
    /// set is not offered.
    private func reachableClasses(
        _ patterns: [Int32]
    ) throws(GrammarError) -> (Set<UInt64>, isComplete: Bool) {
        let start = patterns.map { RegexState(code: $0) }
        var found: Set<UInt64> = []
        var order = [start]
        var seen: Set<[RegexState]> = [start]
        var at = 0
        let bytes = normalizer.regex.representatives(patterns.map { RegexState(code: $0).node })
        while at < order.count, at < 2_000 {
            let states = order[at]
            at += 1
            try normalizer.budget.spend(2 * states.count * bytes.count)
            var matched: UInt64 = 0
            for (index, state) in states.enumerated() where normalizer.regex.accepts(state) {
                matched |= 1 << UInt64(index)
            }
            found.insert(matched)
            for byte in bytes {
                let next = states.map { normalizer.regex.step($0, byte) }
                if seen.insert(next).inserted { order.append(next) }
            }
        }
        return (found, at == order.count)
    }
}

/// How many texts a language has: what keys that must differ are counted with.
struct KeySurvey {
    /// All of them, when they are few.
    private(set) var words: [[UInt8]]?
    /// Whether there are beginnings after which only finitely many can follow.
    private(set) var hasFewBelow = true
    /// So many there are at least.
    private(set) var least = 1

    private static let statesMax = 1_000
    private static let wordsMax = 256

    private var states: [RegexState] = []
    /// By state: a byte of each class that leads on, the class's last byte, and where it leads.
    private var edges: [[(low: UInt8, high: UInt8, to: Int)]] = []
    private var accepting: [Bool] = []

    init(_ language: RegexTable.Node, _ normalizer: SchemaNormalizer) throws(GrammarError) {
        guard try explore(language, normalizer) else { return }
        let live = liveStates()
        guard live[0] else {
            words = []
            return
        }
        let counts = count(live)
        hasFewBelow = states.indices.contains { live[$0] && counts[$0] < .max }
        least = counts[0]
        if least <= Self.wordsMax { words = list(live) }
    }

    /// - Returns: whether all of the language's states have been found.
    private mutating func explore(
        _ language: RegexTable.Node, _ normalizer: SchemaNormalizer
    ) throws(GrammarError) -> Bool {
        let bytes = normalizer.regex.representatives([language])
        let cuts = bytes.filter { $0 < 0x80 }.sorted()
        let wide = bytes.filter { $0 >= 0x80 }
        var index: [RegexState: Int] = [:]
        func number(_ state: RegexState) -> Int {
            if let known = index[state] { return known }
            index[state] = states.count
            states.append(state)
            return states.count - 1
        }
        _ = number(normalizer.regex.initial(language))
        var at = 0
        while at < states.count {
            if states.count > Self.statesMax { return false }
            try normalizer.budget.spend(2 * bytes.count)
            let state = states[at]
            accepting.append(normalizer.regex.accepts(state))
            edges.append([])
            for (place, byte) in cuts.enumerated() {
                let next = normalizer.regex.step(state, byte)
                if next.node == RegexTable.none { continue }
                let high = place + 1 < cuts.count ? cuts[place + 1] - 1 : 0x7F
                edges[at].append((byte, high, number(next)))
            }
            for byte in wide {
                let next = normalizer.regex.step(state, byte)
                if next.node == RegexTable.none { continue }
                // Two bytes for a class that holds all beyond ASCII.
                let isAll = wide.count == 2
                edges[at].append((isAll ? 0x80 : byte, isAll ? 0xFF : byte, number(next)))
            }
            at += 1
        }
        return true
    }

    private func liveStates() -> [Bool] {
        var before = [[Int]](repeating: [], count: states.count)
        for (state, own) in edges.enumerated() { for edge in own { before[edge.to].append(state) } }
        var live = accepting
        var pending = states.indices.filter { accepting[$0] }
        while let state = pending.popLast() {
            for other in before[state] where !live[other] {
                live[other] = true
                pending.append(other)
            }
        }
        return live
    }

    /// By state, how many texts lead from it to an end; `Int.max` for infinitely many.
    private func count(_ live: [Bool]) -> [Int] {
        var counts = [Int](repeating: .max, count: states.count)
        var open = states.map { _ in 0 }
        var before = [[Int]](repeating: [], count: states.count)
        for (state, own) in edges.enumerated() where live[state] {
            for edge in own where live[edge.to] {
                before[edge.to].append(state)
                open[state] += 1
            }
        }
        var pending = states.indices.filter { live[$0] && open[$0] == 0 }
        while let state = pending.popLast() {
            var count = accepting[state] ? 1 : 0
            for edge in edges[state] where live[edge.to] {
                // Enough is counted: this need not be exact beyond what is listed.
                let ways = (Int(edge.high) - Int(edge.low) + 1) * min(counts[edge.to], 1 << 24)
                count = min(count + ways, 1 << 40)
            }
            counts[state] = count
            for other in before[state] {
                open[other] -= 1
                if open[other] == 0 { pending.append(other) }
            }
        }
        return counts
    }

    private func list(_ live: [Bool]) -> [[UInt8]] {
        var found: [[UInt8]] = []
        var pending: [(Int, [UInt8])] = [(0, [])]
        while let (state, text) = pending.popLast() {
            if accepting[state] { found.append(text) }
            for edge in edges[state] where live[edge.to] {
                for byte in edge.low...edge.high { pending.append((edge.to, text + [byte])) }
            }
        }
        return found
    }
}
