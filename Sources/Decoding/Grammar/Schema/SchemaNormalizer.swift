import AutoGLMJSON
import OrderedCollections

/// Brings combinations of schemas into normal form: what `allOf`, `oneOf`, `not`, `if` and the
/// rest come to for each type. Types are independent, so siblings intersect type by type; children
/// stay formulas and are worked out when something needs them.
///
/// The rules are those of JSON Schema 2020-12 with the spellings of drafts 4 to 7. What has no
/// exact normal form here is refused with its path.
final class SchemaNormalizer {
    typealias Formula = FormulaTable.Formula

    let document: SchemaDocument
    var formulas = FormulaTable()
    var regex: RegexTable
    var budget: GrammarBudget
    /// Keywords and formats that are read by nobody, as the standard allows: where they stand.
    private(set) var annotations: [String] = []

    private(set) var places: [SchemaPlace] = []
    private var placeIndex: [String: Int32] = [:]
    private var shapes: [Formula: Shape] = [:]
    private var pending: Set<Formula> = []
    /// How many values deep a look ahead is; one that comes back to where it began knows nothing.
    private var probes = 0
    var patterns: [String: RegexTable.Node] = [:]

    init(_ root: JSONValue, regex: RegexTable, budget: GrammarBudget) {
        document = SchemaDocument(root)
        self.regex = regex
        self.budget = budget
    }

    // MARK: Schemas

    func schema(_ place: SchemaPlace) throws(GrammarError) -> Formula {
        switch place.value {
        case .bool(true): return FormulaTable.always
        case .bool(false): return FormulaTable.never
        case .object(let members):
            if members.isEmpty { return FormulaTable.always }
        default:
            throw .invalid(
                reason: "a schema must be an object or a boolean, not \(place.value.kind)",
                path: place.path)
        }
        if let known = placeIndex[place.path] { return formulas.schema(known) }
        if places.count >= budget.limits.schemas {
            throw .tooLarge("more than \(budget.limits.schemas) schemas", path: place.path)
        }
        let id = Int32(places.count)
        places.append(place)
        placeIndex[place.path] = id
        return formulas.schema(id)
    }

    func schema(_ place: SchemaPlace, _ keys: String...) throws(GrammarError) -> Formula {
        var found = place
        for key in keys {
            guard let next = document.child(found, key) else { return FormulaTable.always }
            found = next
        }
        return try schema(found)
    }

    /// The schemas of a list such as `allOf`.
    func schemas(_ place: SchemaPlace, _ key: String) throws(GrammarError) -> [Formula] {
        guard let list = document.child(place, key) else { return [] }
        guard let count = list.value.arrayValue?.count, count > 0 else {
            throw .invalid(reason: "\(key) must be a list of schemas", path: list.path)
        }
        var found: [Formula] = []
        for index in 0..<count { found.append(try schema(list, String(index))) }
        return found
    }

    /// A schema that is not in the document, in the words of one that is.
    func made(
        _ value: JSONValue, for place: SchemaPlace, _ mark: String
    ) throws(GrammarError) -> Formula {
        try schema(SchemaPlace(value: value, path: place.path + "?" + mark, base: place.base))
    }

    func annotate(_ path: String) {
        if annotations.count < 100, !annotations.contains(path) { annotations.append(path) }
    }

    // MARK: Shapes

    func shape(_ formula: Formula) throws(GrammarError) -> Shape {
        if let known = shapes[formula] { return known }
        try budget.spend(20)
        guard pending.insert(formula).inserted else {
            if probes > 0 { throw .deadEnd }
            throw .unsupported("a $ref that leads to itself without a value between", path: nil)
        }
        if pending.count > 8 * budget.limits.depth {
            throw .tooLarge("schemas that refer to each other too deeply")
        }
        defer { pending.remove(formula) }
        let result: Shape
        switch formulas[formula] {
        case .always: result = .anything
        case .never: result = .nothing
        case .schema(let id): result = try shape(of: places[Int(id)])
        case .not(let id): result = try violation(of: places[Int(id)])
        case .any(let parts):
            var union = Shape.nothing
            for part in parts { union.formUnion(try shape(part)) }
            result = union
        case .all(let parts):
            var all: [Shape] = []
            for part in parts { all.append(try shape(part)) }
            all.sort { $0.alternativeCount < $1.alternativeCount }
            var product = all[0]
            for other in all.dropFirst() { product = try intersection(product, other) }
            result = product
        }
        if result.alternativeCount > budget.limits.alternatives {
            throw .tooLarge("a value with more than \(budget.limits.alternatives) alternatives")
        }
        shapes[formula] = result
        return result
    }

    /// A shape, or nil while it is being worked out further up.
    func shapeIfKnown(_ formula: Formula) throws(GrammarError) -> Shape? {
        if let known = shapes[formula] { return known }
        if pending.contains(formula) { return nil }
        probes += 1
        defer { probes -= 1 }
        do {
            return try shape(formula)
        } catch .deadEnd {
            return nil
        }
    }

    // MARK: Intersection

    func intersection(_ left: Shape, _ right: Shape) throws(GrammarError) -> Shape {
        if left == .anything { return right }
        if right == .anything { return left }
        var result = Shape()
        result.allowsNull = left.allowsNull && right.allowsNull
        result.allowsTrue = left.allowsTrue && right.allowsTrue
        result.allowsFalse = left.allowsFalse && right.allowsFalse
        for a in left.numbers {
            for b in right.numbers {
                guard let both = a.intersection(b) else {
                    throw .unsupported("a common multiple over \(Multiple.unitsMax)")
                }
                if !both.isEmpty, !result.numbers.contains(both) { result.numbers.append(both) }
            }
        }
        var strings = Shape()
        for a in left.strings {
            for b in right.strings {
                guard let both = try intersection(a, b) else { continue }
                var one = Shape()
                one.strings = [both]
                strings.formUnion(one)
            }
        }
        result.strings = strings.strings
        for a in left.arrays {
            for b in right.arrays {
                let both = try intersection(a, b)
                if let both, !result.arrays.contains(both) { result.arrays.append(both) }
            }
        }
        for a in left.objects {
            for b in right.objects {
                let both = try intersection(a, b)
                if let both, !result.objects.contains(both) { result.objects.append(both) }
            }
            if result.objects.count > budget.limits.alternatives {
                throw .tooLarge("more than \(budget.limits.alternatives) alternatives of an object")
            }
        }
        return result
    }

    /// What a step of a regular expression's derivatives costs, in those of the compiler.
    private static let stepsOfWork = 50

    func intersection(
        _ a: StringShape, _ b: StringShape
    ) throws(GrammarError) -> StringShape? {
        try budget.spend(5)
        var result = a
        result.lengthMin = max(a.lengthMin, b.lengthMin)
        result.lengthMax = min(a.lengthMax, b.lengthMax)
        if result.lengthMin > result.lengthMax { return nil }
        result.pattern = regex.conjoined([a.pattern, b.pattern])
        if result.pattern == RegexTable.none { return nil }
        if let literals = a.literals ?? b.literals {
            let others = a.literals == nil ? nil : b.literals.map { Set($0) }
            var left: [[UInt8]] = []
            for text in literals where others?.contains(text) ?? true {
                if try contains(text, result) { left.append(text) }
            }
            if left.isEmpty { return nil }
            return StringShape(literals: left)
        }
        if result.pattern != RegexTable.anything {
            var effort = budget.limits.searchStates
            let before = regex.work
            let isLive = try regex.isLive(
                regex.initial(result.pattern), effort: &effort,
                workMax: before + budget.stepsLeft / Self.stepsOfWork)
            try budget.spend(Self.stepsOfWork * (regex.work - before))
            if !isLive { return nil }
        }
        return result
    }

    /// Whether a text is in a shape, its literals apart.
    private func contains(
        _ text: [UInt8], _ shape: StringShape
    ) throws(GrammarError) -> Bool {
        let count = text.reduce(0) { $1 & 0xC0 == 0x80 ? $0 : $0 + 1 }
        guard count >= shape.lengthMin, count <= shape.lengthMax else { return false }
        return try matches(text, shape.pattern)
    }

    func matches(_ text: [UInt8], _ pattern: RegexTable.Node) throws(GrammarError) -> Bool {
        if pattern == RegexTable.anything { return true }
        try budget.spend(1 + text.count)
        var state = regex.initial(pattern)
        for byte in text {
            state = regex.step(state, byte)
            if state.node == RegexTable.none { return false }
        }
        return regex.accepts(state)
    }

    func intersection(_ a: ArrayShape, _ b: ArrayShape) throws(GrammarError) -> ArrayShape? {
        if a == ArrayShape() { return b }
        if b == ArrayShape() { return a }
        try budget.spend(10 + a.prefix.count + b.prefix.count)
        var result = a
        result.prefix = (0..<max(a.prefix.count, b.prefix.count)).map {
            formulas.all([a.item($0), b.item($0)])
        }
        result.rest = formulas.all([a.rest, b.rest])
        result.countMin = max(a.countMin, b.countMin)
        result.countMax = min(a.countMax, b.countMax)
        result.isUnique = a.isUnique || b.isUnique
        for one in b.containing where !result.containing.contains(one) {
            result.containing.append(one)
        }
        if result.countMin > result.countMax { return nil }
        for index in 0..<min(result.countMin, result.prefix.count + 1) {
            if try shapeIfKnown(result.item(index))?.isEmpty ?? false { return nil }
        }
        return result
    }

    func intersection(_ a: ObjectShape, _ b: ObjectShape) throws(GrammarError) -> ObjectShape? {
        if a == ObjectShape() { return b }
        if b == ObjectShape() { return a }
        try budget.spend(20)
        var result = a
        for group in b.groups where !result.groups.contains(group) { result.groups.append(group) }
        for one in b.existing where !result.existing.contains(one) { result.existing.append(one) }
        if a.required != b.required {
            result.required = Array(Set(a.required).union(b.required)).sorted {
                $0.lexicographicallyPrecedes($1)
            }
        }
        result.countMin = max(a.countMin, b.countMin)
        result.countMax = min(a.countMax, b.countMax)
        if result.countMin > result.countMax || result.required.count > result.countMax {
            return nil
        }
        // What two schemas say about a required key often settles that they exclude each other.
        for name in result.required {
            let value = try self.value(of: name, in: result)
            if try shapeIfKnown(value)?.isEmpty ?? false { return nil }
        }
        return result
    }

    /// What the value of a key must satisfy.
    func value(
        of name: [UInt8], in shape: ObjectShape
    ) throws(GrammarError) -> Formula {
        var parts: [Formula] = []
        for group in shape.groups {
            try budget.spend(1 + group.properties.count / 8)
            var isNamed = false
            if let property = group.properties.first(where: { $0.name == name }) {
                parts.append(property.value)
                isNamed = true
            }
            for pattern in group.patterns where try matches(name, pattern.keys) {
                parts.append(pattern.value)
                isNamed = true
            }
            if !isNamed { parts.append(group.additional) }
        }
        return parts.count == 1 ? parts[0] : formulas.all(parts)
    }
}
