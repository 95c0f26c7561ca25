import AutoGLMJSON
import OrderedCollections

/// What the keywords of one schema ask, as a shape.
extension SchemaNormalizer {
    /// Keywords that only describe.
    private static let silent: Set<String> = [
        "$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$comment",
        "$defs", "definitions", "$vocabulary", "title", "description", "default", "examples",
        "example", "deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType",
        "contentSchema",
    ]
    private static let enforced: Set<String> = [
        "type", "enum", "const", "properties", "required", "additionalProperties",
        "patternProperties", "propertyNames", "minProperties", "maxProperties", "items",
        "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains",
        "minContains", "maxContains", "minLength", "maxLength", "pattern", "format", "minimum",
        "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "divisibleBy", "allOf",
        "anyOf", "oneOf", "not", "if", "then", "else", "dependencies", "dependentRequired",
        "dependentSchemas", "$ref", "$dynamicRef", "$recursiveRef", "unevaluatedProperties",
        "unevaluatedItems", "nullable",
    ]

    func shape(of place: SchemaPlace) throws(GrammarError) -> Shape {
        do {
            return try keywordShape(of: place)
        } catch {
            throw error.at(Self.visible(place.path))
        }
    }

    static func visible(_ path: String) -> String {
        String(path.prefix { $0 != "?" })
    }

    private func keywordShape(of place: SchemaPlace) throws(GrammarError) -> Shape {
        let schema = place.value
        var hasSiblings = false
        var hasReference = false
        for (key, _) in schema.objectValue ?? [:] {
            if Self.silent.contains(key) { continue }
            if key == "$ref" { hasReference = true } else { hasSiblings = true }
            if !Self.enforced.contains(key) {
                annotate(Self.visible(place.path) + "/" + SchemaDocument.escaped(key))
            }
        }
        if hasReference, schema["$ref"]?.stringValue != nil {
            if !hasSiblings || !document.honoursSiblingsOfReference {
                return try shape(try reference(place))
            }
        }
        var result = try typed(place)
        if let values = try givenValues(place) {
            result = try intersection(result, try self.shape(values: values, place))
        }
        for part in try conjuncts(place) {
            if result.isEmpty { return result }
            result = try intersection(result, try shape(part))
        }
        if schema["oneOf"] != nil, !result.isEmpty {
            result = try exactlyOne(of: try schemas(place, "oneOf"), within: result)
        }
        return result
    }

    func reference(_ place: SchemaPlace) throws(GrammarError) -> Formula {
        let name = place.value["$ref"]?.stringValue ?? ""
        guard let target = document.resolve(name, from: place) else {
            throw .unsupported(
                "the reference \(name.prefix(80)), which leads out of the schema",
                path: Self.visible(place.path) + "/$ref")
        }
        return try schema(target)
    }

    /// What must hold beside the keywords that speak of one type.
    func conjuncts(_ place: SchemaPlace) throws(GrammarError) -> [Formula] {
        let schema = place.value
        var parts: [Formula] = []
        if schema["$ref"]?.stringValue != nil { parts.append(try reference(place)) }
        if schema["$dynamicRef"] != nil || schema["$recursiveRef"] != nil {
            parts.append(try dynamicReference(place))
        }
        if schema["allOf"] != nil { parts += try schemas(place, "allOf") }
        if schema["anyOf"] != nil { parts.append(formulas.any(try schemas(place, "anyOf"))) }
        if schema["not"] != nil { parts.append(formulas.not(try self.schema(place, "not"))) }
        if schema["if"] != nil { parts.append(try condition(place)) }
        parts += try dependencies(place).map { $0.formula }
        return parts
    }

    private func dynamicReference(_ place: SchemaPlace) throws(GrammarError) -> Formula {
        let key = place.value["$dynamicRef"] != nil ? "$dynamicRef" : "$recursiveRef"
        let name = place.value[key]?.stringValue ?? ""
        let anchor = name.split(separator: "#", omittingEmptySubsequences: false).last ?? ""
        let isStatic = key == "$dynamicRef"
            ? (document.dynamicAnchors[String(anchor)] ?? 0) <= 1
            : document.root["$recursiveAnchor"]?.boolValue != true
        guard isStatic, let target = document.resolve(name, from: place) else {
            throw .unsupported(
                "a \(key) that depends on where it is reached from",
                path: Self.visible(place.path) + "/" + key)
        }
        return try schema(target)
    }

    /// (if ∧ then) ∨ (¬if ∧ else)
    private func condition(_ place: SchemaPlace) throws(GrammarError) -> Formula {
        let test = try schema(place, "if")
        let met = formulas.all([test, try schema(place, "then")])
        let unmet = formulas.all([formulas.not(test), try schema(place, "else")])
        if try schema(place, "then") == FormulaTable.always,
            try schema(place, "else") == FormulaTable.always { return FormulaTable.always }
        return formulas.any([met, unmet])
    }

    struct Dependency {
        var formula: Formula
        var negation: Formula
    }

    /// A key is absent, or it is there and brings what depends on it.
    func dependencies(_ place: SchemaPlace) throws(GrammarError) -> [Dependency] {
        var found: [Dependency] = []
        for keyword in ["dependencies", "dependentRequired", "dependentSchemas"] {
            guard let list = document.child(place, keyword) else { continue }
            guard let members = list.value.objectValue else {
                throw .invalid(reason: "\(keyword) must be an object", path: list.path)
            }
            for (key, value) in members {
                let needs: Formula
                if value.arrayValue != nil || value.stringValue != nil {
                    let names = value.arrayValue ?? [value]
                    needs = try made(
                        .object(["required": .array(names)]), for: list, "needs\(key)")
                } else {
                    needs = try schema(list, key)
                }
                let absent = try made(
                    .object(["properties": .object([key: false])]), for: list, "absent\(key)")
                let present = try made(
                    .object(["type": "object", "required": [.string(key)]]), for: list,
                    "present\(key)")
                found.append(Dependency(
                    formula: formulas.any([absent, formulas.all([present, needs])]),
                    negation: formulas.all([present, formulas.not(needs)])))
            }
        }
        return found
    }

    /// oneOf: where no two of the schemas can hold at once it is anyOf, else each comes with the
    /// opposite of those that it can meet.
    private func exactlyOne(
        of parts: [Formula], within outer: Shape
    ) throws(GrammarError) -> Shape {
        var shapes: [Shape] = []
        for part in parts { shapes.append(try intersection(outer, try shape(part))) }
        var result = Shape.nothing
        for (index, own) in shapes.enumerated() where !own.isEmpty {
            var own = own
            for (other, shape) in shapes.enumerated() where other != index && !shape.isEmpty {
                if own.isEmpty || parts[other] == parts[index] { own = .nothing; break }
                if try intersection(own, shape).isEmpty { continue }
                own = try intersection(own, try self.shape(formulas.not(parts[other])))
            }
            result.formUnion(own)
        }
        return result
    }

    // MARK: Values by name

    /// `enum` and `const`; nil without either.
    func givenValues(_ place: SchemaPlace) throws(GrammarError) -> [JSONValue]? {
        var values: [JSONValue]?
        if let list = place.value["enum"] {
            guard let members = list.arrayValue else {
                throw .invalid(reason: "enum must be a list", path: place.path + "/enum")
            }
            values = members
        }
        if let value = place.value["const"] {
            values = values.map { $0.filter { Self.isEqual($0, value) } } ?? [value]
        }
        return values
    }

    /// Equality of JSON Schema: numbers by value, objects without order.
    static func isEqual(_ left: JSONValue, _ right: JSONValue) -> Bool {
        if let a = decimal(left), let b = decimal(right) { return a == b }
        switch (left, right) {
        case (.array(let a), .array(let b)):
            return a.count == b.count && zip(a, b).allSatisfy { isEqual($0, $1) }
        case (.object(let a), .object(let b)):
            return a.count == b.count
                && a.allSatisfy { key, value in b[key].map { isEqual(value, $0) } ?? false }
        default: return left == right
        }
    }

    static func decimal(_ value: JSONValue) -> Decimal? {
        switch value {
        case .int(let number): Decimal(Int(number))
        case .bigInt(let digits): Decimal(text: digits)
        case .double(let number): Decimal(text: number.description)
        default: nil
        }
    }

    func shape(values: [JSONValue], _ place: SchemaPlace) throws(GrammarError) -> Shape {
        var result = Shape()
        var literals: [[UInt8]] = []
        for (index, value) in values.enumerated() {
            try budget.spend(2)
            switch value {
            case .null: result.allowsNull = true
            case .bool(true): result.allowsTrue = true
            case .bool(false): result.allowsFalse = true
            case .int, .bigInt, .double:
                let number = Self.decimal(value)
                let rule = NumberRule(lower: number, upper: number)
                if !result.numbers.contains(rule) { result.numbers.append(rule) }
            case .string(let text): literals.append(Array(text.utf8))
            case .array(let elements):
                var shape = ArrayShape()
                for (item, element) in elements.enumerated() {
                    shape.prefix.append(
                        try constant(element, place, "enum/\(index)/\(item)"))
                }
                shape.rest = FormulaTable.never
                shape.countMin = elements.count
                shape.countMax = elements.count
                result.arrays.append(shape)
            case .object(let members):
                result.objects.append(try shape(members.map { ($0, $1) }, place, index))
            }
        }
        if !literals.isEmpty {
            var seen: Set<[UInt8]> = []
            result.strings = [StringShape(literals: literals.filter { seen.insert($0).inserted })]
        }
        return result
    }

    private func shape(
        _ members: [(String, JSONValue)], _ place: SchemaPlace, _ index: Int
    ) throws(GrammarError) -> ObjectShape {
        var group = ObjectShape.Group(additional: FormulaTable.never)
        for (key, value) in members {
            group.properties.append(.init(
                name: Array(key.utf8), value: try constant(value, place, "enum/\(index)/\(key)")))
        }
        let names = group.properties.map(\.name)
        return ObjectShape(
            groups: [group], required: names.sorted { $0.lexicographicallyPrecedes($1) })
    }

    func constant(
        _ value: JSONValue, _ place: SchemaPlace, _ mark: String
    ) throws(GrammarError) -> Formula {
        try made(.object(["const": value]), for: place, mark)
    }

    // MARK: Type by type

    private func typed(_ place: SchemaPlace) throws(GrammarError) -> Shape {
        let types = try SchemaTypes(place)
        var shape = Shape()
        shape.allowsNull = types.names.contains("null")
        shape.allowsTrue = types.names.contains("boolean")
        shape.allowsFalse = shape.allowsTrue
        for part in types.combined {
            shape.formUnion(try self.shape(try schema(part)))
        }
        if types.names.contains("number") || types.names.contains("integer") {
            var rule = try numberRule(place)
            if !types.names.contains("number") {
                guard let both = rule.intersection(NumberRule(multiple: .integer)) else {
                    throw .unsupported("a common multiple over \(Multiple.unitsMax)")
                }
                rule = both
            }
            if !rule.isEmpty { shape.numbers = [rule] }
        }
        if types.names.contains("string"), let string = try stringShape(place) {
            shape.strings = [string]
        }
        if types.names.contains("array"), let array = try arrayShape(place) {
            shape.arrays.append(array)
        }
        if types.names.contains("object"), let object = try objectShape(place) {
            shape.objects.append(object)
        }
        return shape
    }

    func limit(_ place: SchemaPlace, _ key: String) throws(GrammarError) -> Int? {
        guard let value = place.value[key] else { return nil }
        if let count = value.intValue, count >= 0 { return Int(count) }
        if let number = value.doubleValue, number >= 0, number == number.rounded() { return .max }
        throw .invalid(
            reason: "\(key) must be a whole number from 0", path: place.path + "/" + key)
    }

    func least(_ place: SchemaPlace, _ key: String) throws(GrammarError) -> Int {
        let count = try limit(place, key) ?? 0
        if count > budget.limits.minimumCount {
            throw .tooLarge(
                "\(key) \(count), more than \(budget.limits.minimumCount)",
                path: place.path + "/" + key)
        }
        return count
    }

    func number(_ place: SchemaPlace, _ key: String) throws(GrammarError) -> Decimal? {
        guard let value = place.value[key] else { return nil }
        guard let number = Self.decimal(value) else {
            throw .invalid(reason: "\(key) must be a number", path: place.path + "/" + key)
        }
        return number
    }

    private func numberRule(_ place: SchemaPlace) throws(GrammarError) -> NumberRule {
        var rule = NumberRule()
        rule.lower = try number(place, "minimum")
        rule.upper = try number(place, "maximum")
        // Booleans until draft 4.
        if let flag = place.value["exclusiveMinimum"]?.boolValue {
            rule.lowerIsOpen = flag && rule.lower != nil
        } else if let low = try number(place, "exclusiveMinimum") {
            rule = rule.intersection(NumberRule(lower: low, lowerIsOpen: true)) ?? rule
        }
        if let flag = place.value["exclusiveMaximum"]?.boolValue {
            rule.upperIsOpen = flag && rule.upper != nil
        } else if let high = try number(place, "exclusiveMaximum") {
            rule = rule.intersection(NumberRule(upper: high, upperIsOpen: true)) ?? rule
        }
        for key in ["multipleOf", "divisibleBy"] {
            rule.multiple = try multiple(place, key) ?? rule.multiple
        }
        return rule
    }

    func multiple(_ place: SchemaPlace, _ key: String) throws(GrammarError) -> Multiple? {
        guard let value = try number(place, key) else { return nil }
        if value.isZero || value.isNegative {
            throw .invalid(reason: "\(key) must be above 0", path: place.path + "/" + key)
        }
        guard let multiple = Multiple(value) else {
            throw .unsupported(
                "a multipleOf with more than 12 digits", path: place.path + "/" + key)
        }
        return multiple
    }

    private func stringShape(_ place: SchemaPlace) throws(GrammarError) -> StringShape? {
        var shape = StringShape()
        shape.lengthMin = try least(place, "minLength")
        shape.lengthMax = try limit(place, "maxLength") ?? .max
        if shape.lengthMin > shape.lengthMax { return nil }
        var parts: [RegexTable.Node] = []
        if let pattern = try pattern(place) { parts.append(pattern) }
        if let format = try format(place) { parts.append(format) }
        if parts.isEmpty { return shape }
        shape.pattern = regex.conjoined(parts)
        return try intersection(shape, StringShape())
    }

    func pattern(_ place: SchemaPlace) throws(GrammarError) -> RegexTable.Node? {
        guard let value = place.value["pattern"] else { return nil }
        guard let text = value.stringValue else {
            throw .invalid(reason: "pattern must be a string", path: place.path + "/pattern")
        }
        return try search(text, at: place.path + "/pattern")
    }

    func search(_ text: String, at path: String) throws(GrammarError) -> RegexTable.Node {
        if let known = patterns[text] { return known }
        do {
            try budget.spend(20 + text.utf8.count)
            let node = try RegexParser.parseSearch(text, into: &regex)
            patterns[text] = node
            return node
        } catch {
            throw error.at(Self.visible(path))
        }
    }

    func format(_ place: SchemaPlace) throws(GrammarError) -> RegexTable.Node? {
        guard let name = place.value["format"]?.stringValue else { return nil }
        guard let pattern = SchemaFormats.patterns[name] else {
            annotate(Self.visible(place.path) + "/format")
            return nil
        }
        let key = "\u{0}" + name
        if let known = patterns[key] { return known }
        let node = try RegexParser.parse(pattern, into: &regex, dialect: .re2)
        patterns[key] = node
        return node
    }

    private func arrayShape(_ place: SchemaPlace) throws(GrammarError) -> ArrayShape? {
        var shape = ArrayShape()
        let schema = place.value
        let prefixKey = schema["prefixItems"] != nil
            ? "prefixItems" : schema["items"]?.arrayValue != nil ? "items" : nil
        if let prefixKey {
            if schema[prefixKey]?.arrayValue?.isEmpty == false {
                shape.prefix = try schemas(place, prefixKey)
            }
            shape.rest = try self.schema(
                place, prefixKey == "items" ? "additionalItems" : "items")
        } else {
            shape.rest = try self.schema(place, "items")
        }
        shape.countMin = try least(place, "minItems")
        shape.countMax = try limit(place, "maxItems") ?? .max
        shape.isUnique = schema["uniqueItems"]?.boolValue ?? false
        if schema["contains"] != nil {
            let least = schema["minContains"] == nil ? 1 : try least(place, "minContains")
            let most = try limit(place, "maxContains") ?? .max
            let item = try self.schema(place, "contains")
            if least > 0 || most < .max {
                shape.containing = [.init(item: item, least: least, most: most)]
            }
            if least > most || least > shape.countMax { return nil }
        }
        if schema["unevaluatedItems"] != nil { shape.rest = try unevaluatedItems(place, shape) }
        return shape.countMin > shape.countMax ? nil : shape
    }

    private static let applicators = [
        "$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "then", "else",
        "dependentSchemas", "dependencies", "not",
    ]

    /// Where nothing beside it can have looked at an item, the keyword is `items`.
    private func unevaluatedItems(
        _ place: SchemaPlace, _ shape: ArrayShape
    ) throws(GrammarError) -> Formula {
        let inner = try schema(place, "unevaluatedItems")
        if inner == FormulaTable.always { return shape.rest }
        let others = Self.applicators + ["contains"]
        let hasRest = place.value["items"] != nil && place.value["items"]?.arrayValue == nil
            || place.value["additionalItems"] != nil
        if hasRest { return shape.rest }
        if others.contains(where: { place.value[$0] != nil }) {
            throw .unsupported(
                "unevaluatedItems beside keywords that may look at items",
                path: Self.visible(place.path) + "/unevaluatedItems")
        }
        return inner
    }

    private func objectShape(_ place: SchemaPlace) throws(GrammarError) -> ObjectShape? {
        var shape = ObjectShape()
        let schema = place.value
        shape.countMin = try least(place, "minProperties")
        shape.countMax = try limit(place, "maxProperties") ?? .max
        shape.required = try required(place)
        if shape.countMin > shape.countMax || shape.required.count > shape.countMax { return nil }
        if let group = try group(place) { shape.groups = [group] }
        if let names = document.child(place, "propertyNames") {
            let keys = try keyLanguage(try self.schema(names))
            let others = regex.complemented(keys)
            if others != RegexTable.none {
                shape.groups.append(.init(
                    patterns: [.init(keys: others, value: FormulaTable.never)]))
            }
        }
        if schema["unevaluatedProperties"] != nil {
            try readUnevaluated(place, &shape)
        }
        for name in shape.required {
            let value = try value(of: name, in: shape)
            if value == FormulaTable.never { return nil }
        }
        return shape
    }

    func required(_ place: SchemaPlace) throws(GrammarError) -> [[UInt8]] {
        var names: Set<[UInt8]> = []
        if let list = place.value["required"], list.boolValue == nil {
            guard let elements = list.arrayValue else {
                throw .invalid(reason: "required must be a list", path: place.path + "/required")
            }
            for element in elements {
                guard let name = element.stringValue else {
                    throw .invalid(
                        reason: "required must hold names", path: place.path + "/required")
                }
                names.insert(Array(name.utf8))
            }
        }
        return names.sorted { $0.lexicographicallyPrecedes($1) }
    }

    func group(_ place: SchemaPlace) throws(GrammarError) -> ObjectShape.Group? {
        var group = ObjectShape.Group()
        if let list = document.child(place, "properties") {
            guard let members = list.value.objectValue else {
                throw .invalid(reason: "properties must be an object", path: list.path)
            }
            group.properties.reserveCapacity(members.count)
            for key in members.keys {
                let value = try schema(list, key)
                group.properties.append(.init(name: Array(key.utf8), value: value))
            }
        }
        if let list = document.child(place, "patternProperties") {
            for key in list.value.objectValue?.keys ?? [] {
                group.patterns.append(.init(
                    keys: try search(key, at: list.path + "/" + SchemaDocument.escaped(key)),
                    value: try schema(list, key)))
            }
        }
        group.additional = try schema(place, "additionalProperties")
        return group == ObjectShape.Group() ? nil : group
    }

    /// The keys that a schema for names allows.
    func keyLanguage(_ names: Formula) throws(GrammarError) -> RegexTable.Node {
        var options: [RegexTable.Node] = []
        for string in try shape(names).strings {
            if let literals = string.literals {
                for text in literals {
                    options.append(regex.literal(String(decoding: text, as: UTF8.self)))
                }
                continue
            }
            options.append(regex.conjoined([string.pattern, lengths(string)]))
        }
        return regex.alternated(options)
    }

    /// The texts of a shape's lengths.
    func lengths(_ string: StringShape) -> RegexTable.Node {
        if string.lengthMin == 0, string.lengthMax == .max { return RegexTable.anything }
        let most = Int32(clamping: string.lengthMax)
        let any = regex.set(.all)
        return regex.repeated(any, Int32(clamping: string.lengthMin), most)
    }

    private func readUnevaluated(
        _ place: SchemaPlace, _ shape: inout ObjectShape
    ) throws(GrammarError) {
        let inner = try schema(place, "unevaluatedProperties")
        if inner == FormulaTable.always || place.value["additionalProperties"] != nil { return }
        if Self.applicators.contains(where: { place.value[$0] != nil }) {
            throw .unsupported(
                "unevaluatedProperties beside keywords that may look at properties",
                path: Self.visible(place.path) + "/unevaluatedProperties")
        }
        if shape.groups.isEmpty || place.value["properties"] == nil
            && place.value["patternProperties"] == nil {
            shape.groups.insert(.init(), at: 0)
        }
        shape.groups[0].additional = inner
    }
}

/// The `type` of a schema, with what draft 3 and OpenAPI write there.
struct SchemaTypes {
    private(set) var names: Set<String>
    /// Draft 3 puts whole schemas beside names.
    private(set) var combined: [SchemaPlace] = []

    static let all: Set<String> = [
        "null", "boolean", "integer", "number", "string", "array", "object",
    ]

    init(_ place: SchemaPlace) throws(GrammarError) {
        guard let type = place.value["type"] else {
            names = Self.all
            return
        }
        names = []
        for (index, entry) in (type.arrayValue ?? [type]).enumerated() {
            if let name = entry.stringValue {
                if name == "any" {
                    names = Self.all
                } else if Self.all.contains(name) {
                    names.insert(name)
                } else {
                    throw .invalid(
                        reason: "there is no type \(name.prefix(40))", path: place.path + "/type")
                }
            } else if entry.objectValue != nil {
                combined.append(SchemaPlace(
                    value: entry, path: "\(place.path)/type/\(index)", base: place.base))
            } else {
                throw .invalid(
                    reason: "type must be a name or a list of names", path: place.path + "/type")
            }
        }
        if place.value["nullable"]?.boolValue == true { names.insert("null") }
    }
}
