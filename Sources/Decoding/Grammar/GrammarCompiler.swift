import AutoGLMJSON
import OrderedCollections

/// Turns a source into the machine's tables, within a budget.
struct GrammarCompiler {
    private(set) var tables = GrammarTables()
    private(set) var annotations: [String] = []
    private var budget: GrammarBudget

    init(
        _ limits: GrammarLimits, _ style: GrammarStyle = .judging,
        isCancelled: @escaping () -> Bool
    ) {
        budget = GrammarBudget(limits, isCancelled: isCancelled)
        tables.style = style
        tables.integersHaveNoPoint = style == .writing
    }

    mutating func compile(_ source: GrammarSource) throws(GrammarError) {
        let size = source.byteCount
        if size > budget.limits.sourceBytes {
            throw .tooLarge("a source of \(size) bytes, more than \(budget.limits.sourceBytes)")
        }
        if case .schema = source { tables.isMixed = false }
        tables.root = try add(source)
        try settleExpressions()
        tables.hasGuardedArrays = tables.arrays.contains { $0.isGuarded }
        tables.mayRunOut = tables.arrays.contains { $0.isGuarded && $0.mayRunOut }
        tables.hasFewKeys = tables.objects.contains { $0.hasFewKeys && !$0.classes.isEmpty }
        tables.isGuarded = tables.hasGuardedArrays || tables.objects.contains { $0.allowsFreeKeys }
    }

    private mutating func add(_ source: GrammarSource) throws(GrammarError) -> Int32 {
        switch source {
        case .schema(let schema, let keepsKeyOrder):
            // The order of one schema is no hardship to the others beside it.
            if keepsKeyOrder { tables.keepsKeyOrder = true }
            return add(rule: .value(try value(schema)))
        case .regex(let pattern):
            try budget.spend(100 + pattern.utf8.count)
            return match(try RegexParser.parse(pattern, into: &tables.regex))
        case .choice(let options):
            return add(rule: .choice(try literals(options)))
        case .gbnf(let text):
            return try GBNFParser.parse(text, into: &self)
        case .expression(let expression):
            return try add(expression)
        }
    }

    // MARK: Expressions

    mutating func add(rule: ExpressionRule) -> Int32 {
        tables.expressions.append(rule)
        return Int32(tables.expressions.count - 1)
    }

    mutating func replace(_ expression: Int32, by rule: ExpressionRule) {
        tables.expressions[Int(expression)] = rule
    }

    mutating func spend(_ steps: Int) throws(GrammarError) { try budget.spend(steps) }

    mutating func match(_ node: RegexTable.Node) -> Int32 {
        add(rule: .match(tables.regex.initial(node).code))
    }

    mutating func withRegex<Result>(
        _ body: (inout RegexTable) throws(GrammarError) -> Result
    ) throws(GrammarError) -> Result {
        try body(&tables.regex)
    }

    /// One regular expression of them all: a trie by itself, since its derivatives are shared.
    private mutating func literals(_ options: [String]) throws(GrammarError) -> [Int32] {
        if options.isEmpty { throw .unsatisfiable() }
        try budget.spend(options.reduce(0) { $0 + 4 * $1.utf8.count })
        let node = tables.regex.alternated(options.map { tables.regex.literal($0) })
        return [match(node)]
    }

    private mutating func value(_ schema: JSONValue) throws(GrammarError) -> Int32 {
        let normalizer = try self.normalizer(schema)
        return try lower(try normalizer.schema(normalizer.document.rootPlace), normalizer)
    }

    private func normalizer(_ schema: JSONValue) throws(GrammarError) -> SchemaNormalizer {
        if Self.depth(of: schema, limit: budget.limits.depth) > budget.limits.depth {
            throw .tooLarge("a schema nested over \(budget.limits.depth) deep", path: "#")
        }
        return SchemaNormalizer(schema, regex: tables.regex, budget: budget)
    }

    private mutating func lower(
        _ formula: FormulaTable.Formula, _ normalizer: SchemaNormalizer
    ) throws(GrammarError) -> Int32 {
        var lowering = SchemaLowering(normalizer, into: tables)
        let value: Int32
        do {
            value = try lowering.lower(formula)
        } catch {
            throw error.at("#")
        }
        tables = lowering.tables
        budget = normalizer.budget
        for place in normalizer.annotations where !annotations.contains(place) {
            annotations.append(place)
        }
        return value
    }

    private static func depth(of value: JSONValue, limit: Int) -> Int {
        if limit < 0 { return 1 }
        switch value {
        case .array(let elements):
            return 1 + (elements.map { depth(of: $0, limit: limit - 1) }.max() ?? 0)
        case .object(let members):
            return 1 + (members.values.map { depth(of: $0, limit: limit - 1) }.max() ?? 0)
        default: return 1
        }
    }

    private mutating func add(_ expression: GrammarExpression) throws(GrammarError) -> Int32 {
        try budget.spend(10)
        switch expression {
        case .literal(let text): return match(tables.regex.literal(text))
        case .regex(let pattern):
            return match(try RegexParser.parse(pattern, into: &tables.regex))
        case .textWithout(let pattern):
            let found = try RegexParser.parseSearch(pattern, into: &tables.regex, dialect: .re2)
            return match(tables.regex.complemented(found))
        case .json(let schema): return add(rule: .value(try value(schema)))
        case .members(let schema, let style): return try members(schema, style)
        case .special(let token):
            if !tables.specialTokens.contains(token) { tables.specialTokens.append(token) }
            return add(rule: .special(token))
        case .sequence(let parts):
            var rules: [Int32] = []
            for part in parts { rules.append(try add(part)) }
            return add(rule: .sequence(rules))
        case .choice(let options):
            var rules: [Int32] = []
            for option in options { rules.append(try add(option)) }
            return add(rule: .choice(rules))
        case .repetition(let body, let least, let most):
            let rule = try add(body)
            return add(rule: .repetition(
                rule, least: Int32(clamping: least), most: Int32(clamping: most ?? .max)))
        case .form(let source): return try add(source)
        }
    }

    // MARK: Members that are not JSON

    private mutating func members(
        _ schema: JSONValue, _ style: MemberStyle
    ) throws(GrammarError) -> Int32 {
        let normalizer = try self.normalizer(schema)
        let formula = try normalizer.schema(normalizer.document.rootPlace)
        let (strings, objects) = (tables.strings.count, tables.objects.count)
        let value = try lower(formula, normalizer)
        try keepOut(style.marks, strings: strings, objects: objects)
        let beforeKey = try add(.sequence(style.pieces(style.beforeKey)))
        let afterKey = try add(.sequence(style.pieces(style.afterKey)))
        var options: [Int32] = []
        for object in tables.values[Int(value)].objects {
            let rule = tables.objects[Int(object)]
            if rule.existing != 0 {
                throw .unsupported("keys that must exist, outside of JSON", path: "#")
            }
            var values: [Int32] = []
            for (rank, name) in rule.names.enumerated() {
                try checkKey(self.name(rank, rule))
                var ways: [Int32] = []
                for option in name.options { ways.append(try member(option.value, style)) }
                values.append(ways.isEmpty ? -1 : add(rule: .choice(ways)))
            }
            var free: [Int32] = []
            // Without patterns of its own, whether or not marks are kept out of its keys.
            let isFree = rule.patterns.count == (style.marks.isEmpty ? 0 : 1)
            let others = isFree ? rule.classes[0] ?? rule.free : []
            if !others.isEmpty {
                let names = tables.regex.alternated(rule.names.indices.map {
                    tables.regex.literal(String(
                        decoding: name($0, rule), as: UTF8.self))
                })
                let plain = try RegexParser.parse("[^<>=\\s]{1,64}", into: &tables.regex)
                let key = tables.regex.conjoined([plain, tables.regex.complemented(names)])
                for option in others {
                    free.append(add(rule: .sequence([
                        beforeKey, match(key), afterKey, try member(option.value, style),
                    ])))
                }
            }
            let rest = free.isEmpty ? -1 : add(rule: .choice(free))
            tables.members.append(MembersRule(
                object: object, values: values, beforeKey: beforeKey, afterKey: afterKey,
                free: rest))
            options.append(add(rule: .members(Int32(tables.members.count - 1))))
        }
        if options.isEmpty { throw .unsatisfiable(path: "#") }
        return add(rule: .choice(options))
    }

    /// Keys stand as they are between marks.
    private func checkKey(_ bytes: [UInt8]) throws(GrammarError) {
        let isPlain = !bytes.contains { [0x0A, 0x0D, 0x3C, 0x3D, 0x3E].contains($0) }
        let hasSpace = bytes.first == 0x20 || bytes.last == 0x20
        if bytes.isEmpty || !isPlain || hasSpace {
            throw .unsupported(
                "the key \(String(decoding: bytes, as: UTF8.self)), outside of JSON",
                path: "#/properties")
        }
    }

    /// Takes texts out of all strings and free keys from these rules on.
    private mutating func keepOut(
        _ marks: [String], strings: Int, objects: Int
    ) throws(GrammarError) {
        if marks.isEmpty { return }
        let anything = RegexTable.anything
        let found = tables.regex.concatenated(
            anything, tables.regex.concatenated(
                tables.regex.alternated(marks.map { tables.regex.literal($0) }), anything))
        let absent = tables.regex.complemented(found)
        try budget.spend(10 * (tables.strings.count - strings + tables.objects.count - objects))
        for index in strings..<tables.strings.count {
            let string = tables.strings[index]
            var parts = [absent]
            if string.pattern >= 0 {
                parts.append(RegexState(code: string.pattern).node)
            } else if string.lengthMin > 0 || string.lengthMax < Int.max {
                parts.append(tables.regex.repeated(
                    tables.regex.set(.all), Int32(clamping: string.lengthMin),
                    Int32(clamping: string.lengthMax)))
            }
            let node = tables.regex.conjoined(parts)
            tables.strings[index].pattern = tables.regex.initial(node).code
        }
        let start = tables.regex.initial(found).code
        for index in objects..<tables.objects.count
        where tables.objects[index].allowsFreeKeys {
            // One pattern more; keys that match it are in no class.
            if tables.objects[index].patterns.isEmpty {
                tables.objects[index].classes = [0: tables.objects[index].free]
                tables.objects[index].free = []
            }
            tables.objects[index].patterns.append(start)
            tables.objects[index].allowsEveryKey = false
        }
    }

    private func name(_ rank: Int, _ rule: ObjectRule) -> [UInt8] {
        var result: [UInt8] = []
        var node = rule.trie
        while tables.trie.nodes[Int(node)].terminal != Int32(rank) {
            let parent = tables.trie.nodes[Int(node)]
            guard let next = (parent.firstChild..<parent.firstChild + Int32(parent.childCount))
                .first(where: {
                    let child = tables.trie.nodes[Int($0)]
                    return Int(child.low) <= rank && rank < Int(child.high)
                })
            else { break }
            result.append(tables.trie.nodes[Int(next)].byte)
            node = next
        }
        return result
    }

    /// A value and what follows it: strings as they are, everything else as JSON. Where a value
    /// may be both, raw text that reads as JSON is left to JSON.
    private mutating func member(
        _ value: Int32, _ style: MemberStyle
    ) throws(GrammarError) -> Int32 {
        let rule = tables.values[Int(value)]
        let ending = tables.regex.literal(style.afterValue)
        let closing = try add(.sequence(style.pieces(style.afterValue)))
        let anything = RegexTable.anything
        let holdsEnding = tables.regex.concatenated(
            anything, tables.regex.concatenated(ending, anything))
        var texts: [RegexTable.Node] = []
        for string in rule.strings {
            let string = tables.strings[Int(string)]
            let any = tables.regex.set(.all)
            var parts: [RegexTable.Node] = []
            if string.pattern >= 0 { parts.append(RegexState(code: string.pattern).node) }
            if string.pattern < 0 || string.isBounded {
                parts.append(tables.regex.repeated(
                    any, Int32(clamping: string.lengthMin), Int32(clamping: string.lengthMax)))
            }
            texts.append(tables.regex.conjoined(parts))
        }
        if rule.literals >= 0 {
            var literals: [String] = []
            tables.trie.forEach(below: rule.literals) { text in
                if let value = try? JSONValue.parse(text).stringValue { literals.append(value) }
            }
            texts += literals.map { tables.regex.literal($0) }
        }
        var ways: [Int32] = []
        var others = rule
        others.strings = []
        others.literals = -1
        if !texts.isEmpty {
            var parts = [tables.regex.alternated(texts), tables.regex.complemented(holdsEnding)]
            if !others.isEmpty {
                let json = try RegexParser.parse(
                    #"\s*(-?[0-9](?s:.*)|true|false|null|[\[{"](?s:.*))\s*"#, into: &tables.regex)
                parts.append(tables.regex.complemented(json))
            }
            let raw = tables.regex.conjoined(parts)
            ways.append(
                style.tokens.isEmpty && !style.linesAreOptional
                    ? match(tables.regex.concatenated(raw, ending))
                    : add(rule: .sequence([match(raw), closing])))
        }
        if !others.isEmpty {
            tables.values.append(others)
            let json = add(rule: .value(Int32(tables.values.count - 1)))
            ways.append(add(rule: .sequence([json, closing])))
        }
        return add(rule: .choice(ways))
    }

    // MARK: What leads nowhere

    /// Takes away what no text satisfies and refuses rules that begin with themselves.
    private mutating func settleExpressions() throws(GrammarError) {
        let count = tables.expressions.count
        var can = Array(repeating: false, count: count)
        var isEmpty = can
        var hasChanged = true
        while hasChanged {
            hasChanged = false
            try budget.spend(count)
            for index in 0..<count {
                let now = try settled(tables.expressions[index], can, isEmpty)
                if now.can != can[index] || now.isEmpty != isEmpty[index] {
                    can[index] = now.can
                    isEmpty[index] = now.isEmpty
                    hasChanged = true
                }
            }
        }
        guard can[Int(tables.root)] else { throw .unsatisfiable() }
        for index in 0..<count {
            if case .choice(let options) = tables.expressions[index] {
                tables.expressions[index] = .choice(options.filter { can[Int($0)] })
            }
        }
        try refuseLeftRecursion(isEmpty)
    }

    private mutating func settled(
        _ rule: ExpressionRule, _ can: [Bool], _ isEmpty: [Bool]
    ) throws(GrammarError) -> (can: Bool, isEmpty: Bool) {
        switch rule {
        case .sequence(let parts):
            return (parts.allSatisfy { can[Int($0)] }, parts.allSatisfy { isEmpty[Int($0)] })
        case .choice(let options):
            return (
                options.contains { can[Int($0)] },
                options.contains { can[Int($0)] && isEmpty[Int($0)] }
            )
        case .repetition(let body, let least, _):
            return (least == 0 || can[Int(body)], least == 0 || isEmpty[Int(body)])
        case .match(let code):
            var effort = budget.limits.searchStates
            let state = RegexState(code: code)
            let isLive = try tables.regex.isLive(state, effort: &effort)
            return (isLive, tables.regex.accepts(state))
        case .value(let value): return (!tables.values[Int(value)].isEmpty, false)
        case .members: return (true, true)
        case .special: return (true, false)
        }
    }

    private func refuseLeftRecursion(_ isEmpty: [Bool]) throws(GrammarError) {
        var state = Array(repeating: UInt8(0), count: tables.expressions.count)
        var stack: [(rule: Int32, next: Int)] = [(tables.root, 0)]
        for root in tables.expressions.indices {
            if state[root] == 0 { stack.append((Int32(root), 0)) }
            while let (rule, next) = stack.popLast() {
                if next == 0, state[Int(rule)] == 2 { continue }
                let children = leftmost(rule, isEmpty)
                if next == 0 { state[Int(rule)] = 1 }
                guard next < children.count else {
                    state[Int(rule)] = 2
                    continue
                }
                stack.append((rule, next + 1))
                let child = children[next]
                if state[Int(child)] == 1 {
                    throw .unsupported("a rule that begins with itself (left recursion)")
                }
                if state[Int(child)] == 0 { stack.append((child, 0)) }
            }
        }
    }

    private func leftmost(_ rule: Int32, _ isEmpty: [Bool]) -> [Int32] {
        switch tables.expressions[Int(rule)] {
        case .sequence(let parts):
            let count = parts.prefix { isEmpty[Int($0)] }.count
            return Array(parts.prefix(count + 1))
        case .choice(let options): return options
        case .repetition(let body, _, _): return [body]
        default: return []
        }
    }
}
