import AutoGLMJSON
import OrderedCollections

/// What breaks a schema, as a shape: the union over its keywords of what breaks each.
extension SchemaNormalizer {
    func violation(of place: SchemaPlace) throws(GrammarError) -> Shape {
        do {
            return try keywordViolation(of: place)
        } catch {
            throw error.at(Self.visible(place.path))
        }
    }

    private func keywordViolation(of place: SchemaPlace) throws(GrammarError) -> Shape {
        try budget.spend(50)
        let schema = place.value
        if schema["$ref"]?.stringValue != nil, !document.honoursSiblingsOfReference {
            return try shape(formulas.not(try reference(place)))
        }
        let types = try SchemaTypes(place)
        guard types.combined.isEmpty else {
            throw .unsupported("the opposite of a type that is a schema")
        }
        var result = Shape()
        // The shape of each violation leaves the other types alone; `type` itself adds those.
        result.formUnion(Self.others(types.names))
        for part in try conjuncts(place) where part != FormulaTable.always {
            result.formUnion(try shape(try opposite(part, place)))
        }
        if let values = try givenValues(place) {
            result.formUnion(try without(values, place))
        }
        if schema["oneOf"] != nil {
            result.formUnion(try notExactlyOne(try schemas(place, "oneOf")))
        }
        if types.names.contains("number") || types.names.contains("integer") {
            result.numbers += try brokenNumbers(place)
        }
        if types.names.contains("string") { result.strings += try brokenStrings(place) }
        if types.names.contains("array") { result.arrays += try brokenArrays(place) }
        if types.names.contains("object") { result.objects += try brokenObjects(place) }
        return result
    }

    /// `dependencies` are negated as a whole: absent ∨ (present ∧ needs) has overlapping halves.
    private func opposite(
        _ part: Formula, _ place: SchemaPlace
    ) throws(GrammarError) -> Formula {
        for dependency in try dependencies(place) where dependency.formula == part {
            return dependency.negation
        }
        return formulas.not(part)
    }

    private static func others(_ names: Set<String>) -> Shape {
        var shape = Shape()
        shape.allowsNull = !names.contains("null")
        shape.allowsTrue = !names.contains("boolean")
        shape.allowsFalse = shape.allowsTrue
        if !names.contains("number") {
            let rule = NumberRule(excluded: names.contains("integer") ? [.integer] : [])
            shape.numbers = [rule]
        }
        if !names.contains("string") { shape.strings = [StringShape()] }
        if !names.contains("array") { shape.arrays = [ArrayShape()] }
        if !names.contains("object") { shape.objects = [ObjectShape()] }
        return shape
    }

    private func notExactlyOne(_ parts: [Formula]) throws(GrammarError) -> Shape {
        var result = try shape(formulas.all(parts.map { formulas.not($0) }))
        for (index, first) in parts.enumerated() {
            for second in parts[(index + 1)...] {
                result.formUnion(try intersection(try shape(first), try shape(second)))
            }
        }
        return result
    }

    /// Everything but these values.
    private func without(
        _ values: [JSONValue], _ place: SchemaPlace
    ) throws(GrammarError) -> Shape {
        var result = Shape.anything
        var texts: [RegexTable.Node] = []
        var numbers: [Decimal] = []
        for (index, value) in values.enumerated() {
            switch value {
            case .null: result.allowsNull = false
            case .bool(true): result.allowsTrue = false
            case .bool(false): result.allowsFalse = false
            case .string(let text): texts.append(regex.literal(text))
            case .int, .bigInt, .double:
                if let number = Self.decimal(value) { numbers.append(number) }
            case .array(let elements):
                var shape = Shape.anything
                shape.arrays = try notEqual(elements, place, index)
                result = try intersection(result, shape)
            case .object(let members):
                var shape = Shape.anything
                shape.objects = try notEqual(members.map { ($0, $1) }, place, index)
                result = try intersection(result, shape)
            }
        }
        if !texts.isEmpty {
            let pattern = regex.complemented(regex.alternated(texts))
            result.strings = [StringShape(pattern: pattern)]
        }
        if !numbers.isEmpty {
            numbers.sort { $0 < $1 }
            result.numbers = []
            var rule = NumberRule()
            for number in numbers where number != rule.lower {
                rule.upper = number
                rule.upperIsOpen = true
                result.numbers.append(rule)
                rule = NumberRule(lower: number, lowerIsOpen: true)
            }
            result.numbers.append(rule)
        }
        return result
    }

    private func notEqual(
        _ elements: [JSONValue], _ place: SchemaPlace, _ index: Int
    ) throws(GrammarError) -> [ArrayShape] {
        var result = [ArrayShape(countMin: elements.count + 1)]
        if !elements.isEmpty { result.append(ArrayShape(countMax: elements.count - 1)) }
        for (item, element) in elements.enumerated() {
            var shape = ArrayShape(countMin: elements.count, countMax: elements.count)
            shape.prefix = Array(repeating: FormulaTable.always, count: elements.count)
            shape.prefix[item] = formulas.not(
                try constant(element, place, "enum/\(index)/\(item)"))
            result.append(shape)
        }
        return result
    }

    private func notEqual(
        _ members: [(String, JSONValue)], _ place: SchemaPlace, _ index: Int
    ) throws(GrammarError) -> [ObjectShape] {
        var result = [ObjectShape(countMin: members.count + 1)]
        for (key, value) in members {
            let name = Array(key.utf8)
            result.append(Self.absent(name))
            result.append(Self.present(
                name, formulas.not(try constant(value, place, "enum/\(index)/\(key)"))))
        }
        return result
    }

    private static func absent(_ name: [UInt8]) -> ObjectShape {
        present(name, FormulaTable.never, isRequired: false)
    }

    private static func present(
        _ name: [UInt8], _ value: Formula, isRequired: Bool = true
    ) -> ObjectShape {
        ObjectShape(
            groups: [.init(properties: [.init(name: name, value: value)])],
            required: isRequired ? [name] : [])
    }

    // MARK: Type by type

    private func brokenNumbers(_ place: SchemaPlace) throws(GrammarError) -> [NumberRule] {
        var result: [NumberRule] = []
        func below(_ value: Decimal, isOpen: Bool) {
            result.append(NumberRule(upper: value, upperIsOpen: isOpen))
        }
        func above(_ value: Decimal, isOpen: Bool) {
            result.append(NumberRule(lower: value, lowerIsOpen: isOpen))
        }
        let isOpenBelow = place.value["exclusiveMinimum"]?.boolValue ?? false
        let isOpenAbove = place.value["exclusiveMaximum"]?.boolValue ?? false
        if let low = try number(place, "minimum") { below(low, isOpen: !isOpenBelow) }
        if let high = try number(place, "maximum") { above(high, isOpen: !isOpenAbove) }
        if place.value["exclusiveMinimum"]?.boolValue == nil,
            let low = try number(place, "exclusiveMinimum") { below(low, isOpen: false) }
        if place.value["exclusiveMaximum"]?.boolValue == nil,
            let high = try number(place, "exclusiveMaximum") { above(high, isOpen: false) }
        for key in ["multipleOf", "divisibleBy"] {
            guard let multiple = try multiple(place, key) else { continue }
            result.append(NumberRule(excluded: [multiple]))
        }
        return result
    }

    private func brokenStrings(_ place: SchemaPlace) throws(GrammarError) -> [StringShape] {
        var result: [StringShape] = []
        let shortest = try least(place, "minLength")
        if shortest > 0 { result.append(StringShape(lengthMax: shortest - 1)) }
        if let longest = try limit(place, "maxLength"), longest < budget.limits.minimumCount {
            result.append(StringShape(lengthMin: longest + 1))
        }
        for node in [try pattern(place), try format(place)] {
            guard let node else { continue }
            let pattern = regex.complemented(node)
            let shape = StringShape(pattern: pattern)
            if let live = try intersection(shape, StringShape()) { result.append(live) }
        }
        return result
    }

    private func brokenArrays(_ place: SchemaPlace) throws(GrammarError) -> [ArrayShape] {
        let schema = place.value
        var result: [ArrayShape] = []
        func refuse(_ key: String) -> GrammarError {
            .unsupported(
                "the opposite of \(key)", path: Self.visible(place.path) + "/" + key)
        }
        let least = try least(place, "minItems")
        if least > 0 { result.append(ArrayShape(countMax: least - 1)) }
        if let most = try limit(place, "maxItems"), most < budget.limits.minimumCount {
            result.append(ArrayShape(countMin: most + 1))
        }
        if schema["uniqueItems"]?.boolValue == true { throw refuse("uniqueItems") }
        if schema["unevaluatedItems"] != nil { throw refuse("unevaluatedItems") }
        let prefixKey = schema["items"]?.arrayValue != nil ? "items" : "prefixItems"
        var count = 0
        if schema[prefixKey] != nil {
            for (index, item) in try schemas(place, prefixKey).enumerated() {
                count = index + 1
                if item == FormulaTable.always { continue }
                var shape = ArrayShape(countMin: index + 1)
                shape.prefix = Array(repeating: FormulaTable.always, count: index)
                    + [formulas.not(item)]
                result.append(shape)
            }
        }
        let restKey = prefixKey == "items" ? "additionalItems" : "items"
        let rest = try self.schema(place, restKey)
        if rest == FormulaTable.never {
            result.append(ArrayShape(countMin: count + 1))
        } else if rest != FormulaTable.always {
            if count > 0 { throw refuse(restKey) }
            result.append(ArrayShape(containing: [
                .init(item: formulas.not(rest), least: 1, most: .max)
            ]))
        }
        if schema["contains"] != nil {
            let item = try self.schema(place, "contains")
            let least = schema["minContains"] == nil ? 1 : try self.least(place, "minContains")
            if least == 1 {
                result.append(ArrayShape(rest: formulas.not(item)))
            } else if least > 1 {
                result.append(ArrayShape(containing: [
                    .init(item: item, least: 0, most: least - 1)
                ]))
            }
            if let most = try limit(place, "maxContains"), most < budget.limits.minimumCount {
                result.append(ArrayShape(containing: [
                    .init(item: item, least: most + 1, most: .max)
                ]))
            }
        }
        return result
    }

    private func brokenObjects(_ place: SchemaPlace) throws(GrammarError) -> [ObjectShape] {
        var result: [ObjectShape] = []
        let least = try least(place, "minProperties")
        if least > 0 { result.append(ObjectShape(countMax: least - 1)) }
        if let most = try limit(place, "maxProperties"), most < budget.limits.minimumCount {
            result.append(ObjectShape(countMin: most + 1))
        }
        for name in try required(place) { result.append(Self.absent(name)) }
        if place.value["unevaluatedProperties"] != nil {
            throw .unsupported(
                "the opposite of unevaluatedProperties",
                path: Self.visible(place.path) + "/unevaluatedProperties")
        }
        if let names = document.child(place, "propertyNames") {
            let keys = regex.complemented(try keyLanguage(try schema(names)))
            result += Self.existing(keys, FormulaTable.always)
        }
        guard let group = try group(place) else { return result }
        for property in group.properties where property.value != FormulaTable.always {
            result.append(Self.present(property.name, formulas.not(property.value)))
        }
        for pattern in group.patterns where pattern.value != FormulaTable.always {
            result += Self.existing(pattern.keys, formulas.not(pattern.value))
        }
        if group.additional != FormulaTable.always {
            let names = group.properties.map {
                regex.literal(String(decoding: $0.name, as: UTF8.self))
            }
            let others = regex.complemented(
                regex.alternated(names + group.patterns.map(\.keys)))
            result += Self.existing(others, formulas.not(group.additional))
        }
        return result
    }

    private static func existing(_ keys: RegexTable.Node, _ value: Formula) -> [ObjectShape] {
        if keys == RegexTable.none { return [] }
        return [ObjectShape(existing: [.init(keys: keys, value: value)])]
    }
}
