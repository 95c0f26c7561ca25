/// Turns the formulas that are reachable from a schema's root into the machine's tables, and drops
/// what no value satisfies: an alternative that needs an impossible key or item, a key that has no
/// value. What is left always leads somewhere, so that masks have no dead ends.
struct SchemaLowering {
    typealias Formula = FormulaTable.Formula

    let normalizer: SchemaNormalizer
    var tables: GrammarTables
    private var known: [Formula: Int32] = [:]
    private var pending: [Formula] = []
    /// Value rules of this schema begin here.
    private var first = 0
    private var names: [[[UInt8]]: Int32] = [:]

    init(_ normalizer: SchemaNormalizer, into tables: GrammarTables) {
        self.normalizer = normalizer
        self.tables = tables
        first = tables.values.count
        if normalizer.document.draft.rawValue <= 4 { self.tables.integersHaveNoPoint = true }
    }

    /// The value rule of a formula, with all that it refers to.
    mutating func lower(_ root: Formula) throws(GrammarError) -> Int32 {
        let rule = value(root)
        while let formula = pending.popLast() {
            let index = Int(known[formula] ?? 0)
            let shape = try normalizer.shape(formula)
            tables.values[index] = try lowered(shape)
        }
        for index in first..<tables.values.count { countTexts(index) }
        for index in tables.arrays.indices { settleDistinct(index) }
        try drop()
        if tables.values[Int(rule)].isEmpty { throw .unsatisfiable(path: "#") }
        tables.regex = normalizer.regex
        return rule
    }

    private mutating func value(_ formula: Formula) -> Int32 {
        if let rule = known[formula] { return rule }
        let rule = Int32(tables.values.count)
        tables.values.append(ValueRule())
        known[formula] = rule
        pending.append(formula)
        return rule
    }

    private mutating func lowered(_ shape: Shape) throws(GrammarError) -> ValueRule {
        try normalizer.budget.spend(10)
        var rule = ValueRule()
        if shape.allowsNull { rule.words |= ValueRule.null }
        if shape.allowsTrue { rule.words |= ValueRule.isTrue }
        if shape.allowsFalse { rule.words |= ValueRule.isFalse }
        var literals: [[UInt8]] = []
        // One number is written in one way: a model that may write 1 as 1000…e-0028 will.
        let points = Set(shape.numbers.compactMap(\.text))
        let areLiterals = tables.style == .writing || points.count > 3
        if !points.isEmpty, areLiterals { rule.numberLiterals = trie(pointTexts(points)) }
        for number in shape.numbers where !areLiterals || number.text == nil {
            if number.isPlain {
                if number.multiple == nil { rule.hasPlainNumber = true } else {
                    rule.hasPlainInteger = true
                }
            } else {
                rule.numbers.append(Int32(tables.numbers.count))
                tables.numbers.append(number)
            }
        }
        for string in shape.strings {
            if let texts = string.literals {
                try normalizer.budget.spend(texts.count)
                literals += texts.map { [0x22] + StringLexer.canonical($0) + [0x22] }
            } else {
                rule.strings.append(self.string(string))
            }
        }
        if !literals.isEmpty { rule.literals = trie(literals) }
        for array in shape.arrays { rule.arrays.append(try self.array(array)) }
        for object in shape.objects { rule.objects.append(try self.object(object)) }
        return rule
    }

    private mutating func trie(_ texts: [[UInt8]]) -> Int32 {
        let sorted = texts.sorted { $0.lexicographicallyPrecedes($1) }
        if let root = names[sorted] { return root }
        let root = tables.trie.add(sorted: sorted)
        names[sorted] = root
        return root
    }

    private mutating func string(_ shape: StringShape) -> Int32 {
        var rule = StringRule(
            lengthMin: shape.lengthMin, lengthMax: shape.lengthMax, pattern: -1)
        if shape.pattern != RegexTable.anything {
            // Counted apart, lengths do not multiply the pattern's states.
            let isFree = shape.lengthMin == 0 && shape.lengthMax == .max
            rule.isBounded = !isFree && normalizer.regex.lengthMin(shape.pattern) != nil
            let node = rule.isBounded
                ? shape.pattern
                : normalizer.regex.conjoined([shape.pattern, normalizer.lengths(shape)])
            rule.pattern = normalizer.regex.initial(node).code
        }
        tables.strings.append(rule)
        return Int32(tables.strings.count - 1)
    }

    // MARK: Arrays

    private mutating func array(_ shape: ArrayShape) throws(GrammarError) -> Int32 {
        try normalizer.budget.spend(shape.prefix.count + 1)
        if shape.containing.count > 4 {
            throw .tooLarge("more than 4 `contains` on one array")
        }
        var items: [[ArrayRule.Item]] = []
        for index in 0...shape.prefix.count { items.append(item(shape, index)) }
        tables.arrays.append(ArrayRule(
            items: items, countMin: shape.countMin, countMax: shape.countMax,
            isUnique: shape.isUnique,
            containing: shape.containing.map { ($0.least, $0.most) }, distinct: nil))
        return Int32(tables.arrays.count - 1)
    }

    /// An item with every way to count for the `contains` there are: as one of them; and where
    /// their number is bounded above, expressly as none.
    private mutating func item(_ shape: ArrayShape, _ index: Int) -> [ArrayRule.Item] {
        var ways: [(Formula, UInt32)] = [(shape.item(index), 0)]
        for (place, one) in shape.containing.enumerated() {
            let isBounded = one.most < .max
            ways = ways.flatMap { formula, counts in
                let member = normalizer.formulas.all([formula, one.item])
                let other = isBounded
                    ? normalizer.formulas.all([formula, normalizer.formulas.not(one.item)])
                    : formula
                return [(other, counts), (member, counts | 1 << UInt32(place))]
            }
        }
        return ways.filter { $0.0 != FormulaTable.never }.map {
            ArrayRule.Item(value: value($0.0), counts: $0.1)
        }
    }

    // MARK: Objects

    private mutating func object(_ shape: ObjectShape) throws(GrammarError) -> Int32 {
        var order: [[UInt8]: Int32] = [:]
        for group in shape.groups {
            for property in group.properties where order[property.name] == nil {
                order[property.name] = Int32(order.count)
            }
        }
        for name in shape.required where order[name] == nil { order[name] = Int32(order.count) }
        if shape.existing.count > 8 { throw .tooLarge("more than 8 keys that must exist") }
        let free = try freeKeys(shape)
        for name in free.listed where order[name] == nil { order[name] = Int32(order.count) }
        let sorted = order.keys.sorted { $0.lexicographicallyPrecedes($1) }
        try normalizer.budget.spend(4 * sorted.count)
        var rule = ObjectRule(
            names: [], trie: trie(sorted), usable: RankSet(count: sorted.count),
            required: RankSet(count: sorted.count), requiredCount: shape.required.count,
            free: free.options, patterns: free.patterns, classes: free.classes,
            countMin: shape.countMin, countMax: shape.countMax,
            existing: shape.existing.isEmpty ? 0 : (1 << UInt32(shape.existing.count)) - 1)
        rule.allowsEveryKey = free.isEvery
        rule.hasFewKeys = free.isFew
        rule.freeLeast = free.least
        let values = try self.values(of: sorted, in: shape)
        for (rank, name) in sorted.enumerated() {
            var ways = [(values[rank], UInt32(0))]
            for (index, one) in shape.existing.enumerated()
            where try normalizer.matches(name, one.keys) {
                ways = with(one, index, ways)
            }
            rule.names.append(.init(options: options(ways), order: order[name] ?? 0))
        }
        for name in shape.required {
            if let rank = sorted.firstIndex(of: name) { rule.required.insert(rank) }
        }
        tables.objects.append(rule)
        return Int32(tables.objects.count - 1)
    }

    /// What each name's value must satisfy: found by one pass over every group's properties.
    private mutating func values(
        of names: [[UInt8]], in shape: ObjectShape
    ) throws(GrammarError) -> [Formula] {
        var parts: [[UInt8]: [Formula]] = [:]
        for name in names { parts[name] = [] }
        for group in shape.groups {
            var own: [[UInt8]: [Formula]] = [:]
            for property in group.properties {
                own[property.name, default: []].append(property.value)
            }
            for pattern in group.patterns {
                for name in names where try normalizer.matches(name, pattern.keys) {
                    own[name, default: []].append(pattern.value)
                }
            }
            for name in names { parts[name]?.append(contentsOf: own[name] ?? [group.additional]) }
        }
        return names.map { normalizer.formulas.all(parts[$0] ?? []) }
    }

    func with(
        _ one: ObjectShape.Existing, _ index: Int, _ ways: [(Formula, UInt32)]
    ) -> [(Formula, UInt32)] {
        ways.flatMap { formula, proves in
            [
                (formula, proves),
                (normalizer.formulas.all([formula, one.value]), proves | 1 << UInt32(index)),
            ]
        }
    }

    mutating func options(_ ways: [(Formula, UInt32)]) -> [ObjectRule.Option] {
        ways.filter { $0.0 != FormulaTable.never }.map {
            ObjectRule.Option(value: value($0.0), proves: $0.1)
        }
    }

    // MARK: What no value satisfies

    /// The least fixpoint of what can be written, then everything else is taken away.
    private mutating func drop() throws(GrammarError) {
        var can = Array(repeating: false, count: tables.values.count)
        for index in 0..<first { can[index] = true }
        var hasChanged = true
        while hasChanged {
            hasChanged = false
            try normalizer.budget.spend(tables.values.count - first)
            for index in (first..<can.count).reversed() where !can[index] {
                if canWrite(tables.values[index], can) {
                    can[index] = true
                    hasChanged = true
                }
            }
        }
        for index in tables.values.indices.dropFirst(first) {
            let rule = tables.values[index]
            tables.values[index].arrays = rule.arrays.filter { canWrite(array: $0, can) }
            tables.values[index].objects = rule.objects.filter { canWrite(object: $0, can) }
            for array in rule.arrays { prune(array: Int(array), can) }
            for object in rule.objects { prune(object: Int(object), can) }
        }
    }

    private func canWrite(_ rule: ValueRule, _ can: [Bool]) -> Bool {
        rule.words != 0 || rule.literals >= 0 || rule.hasPlainNumber || rule.hasPlainInteger
            || !rule.numbers.isEmpty || !rule.strings.isEmpty || rule.numberLiterals >= 0
            || rule.arrays.contains { canWrite(array: $0, can) }
            || rule.objects.contains { canWrite(object: $0, can) }
    }

    private func canWrite(array index: Int32, _ can: [Bool]) -> Bool {
        let rule = tables.arrays[Int(index)]
        let least = max(rule.countMin, rule.containing.map(\.least).max() ?? 0)
        if least > rule.countMax { return false }
        for place in 0..<min(least, rule.items.count) {
            if !rule.items[place].contains(where: { can[Int($0.value)] }) { return false }
        }
        if rule.countMin > rule.countMax { return false }
        let last = rule.items[rule.items.count - 1].filter { can[Int($0.value)] }
        for (place, one) in rule.containing.enumerated() where one.least > 0 {
            let counts = { (item: ArrayRule.Item) in
                item.counts >> UInt32(place) & 1 == 1 && can[Int(item.value)]
            }
            let early = rule.items.dropLast().prefix(rule.countMax)
                .count { $0.contains(where: counts) }
            if early < one.least, !last.contains(where: counts) { return false }
        }
        return true
    }

    private func canWrite(object index: Int32, _ can: [Bool]) -> Bool {
        let rule = tables.objects[Int(index)]
        var names = 0
        for (rank, name) in rule.names.enumerated() {
            let isPossible = name.options.contains { can[Int($0.value)] }
            if isPossible { names += 1 } else if rule.required.contains(rank) { return false }
        }
        let options = rule.free + rule.classes.values.flatMap { $0 }
        let free = options.filter { can[Int($0.value)] }
        for place in 0..<UInt32(rule.existing.nonzeroBitCount) {
            let proves = { (option: ObjectRule.Option) in
                option.proves >> place & 1 == 1 && can[Int(option.value)]
            }
            if !free.contains(where: proves), !rule.names.contains(where: {
                $0.options.contains(where: proves)
            }) { return false }
        }
        let (most, _) = names.addingReportingOverflow(free.isEmpty ? 0 : rule.freeLeast)
        return rule.requiredCount <= rule.countMax && (most < 0 || most >= rule.countMin)
    }

    private mutating func prune(array index: Int, _ can: [Bool]) {
        for place in tables.arrays[index].items.indices {
            tables.arrays[index].items[place].removeAll { !can[Int($0.value)] }
            if tables.arrays[index].items[place].isEmpty {
                tables.arrays[index].countMax = min(tables.arrays[index].countMax, place)
            }
        }
    }

    private mutating func prune(object index: Int, _ can: [Bool]) {
        for rank in tables.objects[index].names.indices {
            tables.objects[index].names[rank].options.removeAll { !can[Int($0.value)] }
            if !tables.objects[index].names[rank].options.isEmpty {
                tables.objects[index].usable.insert(rank)
            }
        }
        tables.objects[index].free.removeAll { !can[Int($0.value)] }
        for (matched, options) in tables.objects[index].classes {
            let left = options.filter { can[Int($0.value)] }
            tables.objects[index].classes[matched] = left.isEmpty ? nil : left
            if left.isEmpty { tables.objects[index].allowsEveryKey = false }
        }
    }

    // MARK: Finite sets

    /// Who judges takes 1.0 for 1 as well.
    private func pointTexts(_ points: Set<[UInt8]>) -> [[UInt8]] {
        points.flatMap { text in
            let isInteger = !text.contains(0x2E) && !text.contains(0x65)
            return isInteger && !tables.integersHaveNoPoint ? [text, text + [0x2E, 0x30]] : [text]
        }
    }

    /// All texts of a value that has few: what unique items are counted with.
    private mutating func countTexts(_ index: Int) {
        let rule = tables.values[index]
        guard !rule.hasPlainNumber, !rule.hasPlainInteger, rule.strings.isEmpty,
            rule.arrays.isEmpty, rule.objects.isEmpty, rule.numbers.count <= 64,
            rule.numberLiterals < 0 || tables.style == .writing
        else { return }
        var texts: Set<[UInt8]> = []
        if rule.words & ValueRule.null != 0 { texts.insert(Array("null".utf8)) }
        if rule.words & ValueRule.isTrue != 0 { texts.insert(Array("true".utf8)) }
        if rule.words & ValueRule.isFalse != 0 { texts.insert(Array("false".utf8)) }
        for number in rule.numbers {
            guard let values = tables.numbers[Int(number)].wholeValues(limit: 256) else { return }
            texts.formUnion(values.map { Array(String($0).utf8) })
        }
        for root in [rule.literals, rule.numberLiterals] where root >= 0 {
            guard tables.trie.nodes[Int(root)].high <= 4_096 else { return }
            tables.trie.forEach(below: root) { texts.insert($0) }
        }
        tables.values[index].texts = texts.sorted { $0.lexicographicallyPrecedes($1) }
    }

    private mutating func settleDistinct(_ index: Int) {
        let rule = tables.arrays[index]
        let items = rule.items.joined()
        tables.arrays[index].isGuarded = rule.isUnique && rule.countMax > 1
            && items.contains { tables.values[Int($0.value)].texts == nil }
        tables.arrays[index].mayRunOut = items.contains {
            let value = tables.values[Int($0.value)]
            return !value.hasPlainNumber && !value.hasPlainInteger && value.arrays.isEmpty
                && value.objects.isEmpty && value.strings.allSatisfy {
                    let string = tables.strings[Int($0)]
                    return string.pattern >= 0 || string.lengthMax < 8
                }
        }
        guard rule.isUnique, rule.items.count == 1, rule.items[0].count == 1,
            let texts = tables.values[Int(rule.items[0][0].value)].texts
        else { return }
        tables.arrays[index].distinct = texts.count
        tables.arrays[index].countMax = min(rule.countMax, texts.count)
    }
}

extension NumberRule {
    /// The only member: in plain digits, and with an exponent where those would be many.
    fileprivate var text: [UInt8]? {
        guard let lower, lower == upper, contains(lower) else { return nil }
        var digits = lower.digits.map { $0 + 0x30 }
        if lower.isZero { digits = [0x30] }
        if abs(lower.exponent) >= 32 {
            digits += Array("e\(lower.exponent)".utf8)
        } else if lower.exponent >= 0 {
            digits += Array(repeating: 0x30, count: lower.exponent)
        } else {
            let missing = 1 - lower.pointPosition
            if missing > 0 { digits = Array(repeating: 0x30, count: missing) + digits }
            digits.insert(0x2E, at: digits.count + lower.exponent)
        }
        return (lower.isNegative ? [0x2D] : []) + digits
    }

    /// The members, when they are few whole numbers.
    func wholeValues(limit: Int) -> [Int]? {
        guard let lower, let upper else { return nil }
        if lower == upper {
            let (down, up) = lower.scaled(0)
            return down == up && abs(down) < 1 << 53 ? [Int(down)] : nil
        }
        guard let multiple, multiple.scale == 0, multiple.units == 1 else { return nil }
        let least = lower.scaled(0).up
        let most = upper.scaled(0).down
        guard abs(least) < 1 << 53, most - least < Int128(limit) else { return nil }
        return (least...max(least, most)).map { Int($0) }.filter {
            contains(Decimal($0))
        }
    }
}

extension LiteralTrie {
    func forEach(below root: Int32, _ body: ([UInt8]) -> Void) {
        var pending: [(Int32, [UInt8])] = [(root, [])]
        while let (node, text) = pending.popLast() {
            let content = nodes[Int(node)]
            if content.terminal >= 0 { body(text) }
            for child in content.firstChild..<content.firstChild + Int32(content.childCount) {
                pending.append((child, text + [nodes[Int(child)].byte]))
            }
        }
    }
}
