/// A test (`x is …`) as named in the source.
enum TemplateTest: Sendable {
    enum Name: Sendable {
        case boolean, callable, defined, divisibleby, escaped, even, isFalse, filter, float
        case integer, iterable, lower, mapping, none, number, odd, sameas, sequence, string
        case test, isTrue, undefined, upper, isIn
        case compare(TemplateExpression.Comparison)
    }
    case known(Name)
    case unknown(String)

    init(name: String) { self = Self.names[name].map { .known($0) } ?? .unknown(name) }

    private static let names: [String: Name] = [
        "boolean": .boolean, "callable": .callable, "defined": .defined,
        "divisibleby": .divisibleby, "escaped": .escaped, "even": .even, "false": .isFalse,
        "filter": .filter, "float": .float, "integer": .integer, "iterable": .iterable,
        "lower": .lower, "mapping": .mapping, "none": .none, "number": .number, "odd": .odd,
        "sameas": .sameas, "sequence": .sequence, "string": .string, "test": .test,
        "true": .isTrue, "undefined": .undefined, "upper": .upper, "in": .isIn,
        "eq": .compare(.equal), "==": .compare(.equal), "equalto": .compare(.equal),
        "ne": .compare(.notEqual), "!=": .compare(.notEqual),
        "lt": .compare(.less), "<": .compare(.less), "lessthan": .compare(.less),
        "le": .compare(.lessEqual), "<=": .compare(.lessEqual),
        "gt": .compare(.greater), ">": .compare(.greater), "greaterthan": .compare(.greater),
        "ge": .compare(.greaterEqual), ">=": .compare(.greaterEqual),
    ]
}

extension TemplateInterpreter {
    func check(_ test: TemplateTest, _ value: TemplateValue, _ given: TemplateCall)
        throws(TemplateError) -> Bool
    {
        guard case .known(let name) = test else {
            guard case .unknown(let name) = test else { return false }
            throw TemplateError(.runtime, "No test named '\(name)' found.")
        }
        switch name {
        case .compare(let comparison):
            return try compare(comparison, value, argument(given))
        case .isIn: return try contains(argument(given), value)
        case .sameas: return isSame(value, try argument(given))
        case .divisibleby:
            let divisor = try argument(given)
            return try isEqual(arithmetic(.modulo, value, divisor), .int(0))
        case .even, .odd:
            let rest = try arithmetic(.modulo, value, .int(2))
            return try isEqual(rest, .int(name == .even ? 0 : 1))
        case .lower, .upper:
            let text = try text(of: value)
            return try TemplateMethods.hasCase(text, upper: name == .upper)
        case .filter:
            if case .known = TemplateFilter(name: try text(of: value).string) { return true }
            return false
        case .test:
            if case .known = TemplateTest(name: try text(of: value).string) { return true }
            return false
        default: return Self.hasType(name, value)
        }
    }

    private func argument(_ given: TemplateCall) throws(TemplateError) -> TemplateValue {
        guard let first = given.positional.first ?? given.keywords.first?.value else {
            throw TemplateError(.type, "a test is missing its argument")
        }
        return first
    }

    private static func hasType(_ name: TemplateTest.Name, _ value: TemplateValue) -> Bool {
        switch (name, value) {
        case (.defined, .undefined): false
        case (.defined, _): true
        case (.undefined, .undefined): true
        case (.none, .none): true
        case (.boolean, .bool): true
        case (.isTrue, .bool(let flag)): flag
        case (.isFalse, .bool(let flag)): !flag
        case (.integer, .int), (.integer, .big): true
        case (.float, .double): true
        case (.number, .int), (.number, .big), (.number, .double), (.number, .bool): true
        case (.string, .text): true
        case (.escaped, .text(let text)): text.isMarkup
        case (.mapping, .dict): true
        case (.sequence, .text), (.sequence, .list), (.sequence, .tuple), (.sequence, .dict),
            (.sequence, .range), (.sequence, .undefined):
            true
        case (.iterable, .text), (.iterable, .list), (.iterable, .tuple), (.iterable, .dict),
            (.iterable, .range), (.iterable, .view), (.iterable, .generator),
            (.iterable, .undefined), (.iterable, .loop):
            true
        case (.callable, .macro), (.callable, .function), (.callable, .method),
            (.callable, .joiner), (.callable, .undefined), (.callable, .loop):
            true
        default: false
        }
    }
}

extension TemplateTest.Name: Equatable {}
