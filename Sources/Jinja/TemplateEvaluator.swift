import OrderedCollections

/// Expressions: names, literals, displays, logic and calls.
extension TemplateInterpreter {
    func evaluate(_ expression: TemplateExpression, _ scope: TemplateScope)
        throws(TemplateError) -> TemplateValue
    {
        try spend(1)
        switch expression {
        case .literal(let literal): return Self.value(of: literal)
        case .name(let symbol): return try lookUp(symbol, scope)
        default: break
        }
        try enter()
        defer { leave() }
        return try evaluateCompound(expression, scope)
    }

    private static func value(of literal: TemplateExpression.Literal) -> TemplateValue {
        switch literal {
        case .none: .none
        case .bool(let value): .bool(value)
        case .int(let value): .int(value)
        case .big(let digits): .big(digits)
        case .double(let value): .double(value)
        case .text(let text): .text(text)
        }
    }

    private func evaluateCompound(_ expression: TemplateExpression, _ scope: TemplateScope)
        throws(TemplateError) -> TemplateValue
    {
        switch expression {
        case .literal, .name: return .none  // handled above
        case .attribute(let base, let key):
            return try attribute(evaluate(base, scope), key)
        case .item(let base, let index):
            let value = try evaluate(base, scope)
            return try item(value, evaluate(index, scope))
        case .slice(let base, let slice):
            return try evaluate(slice, of: evaluate(base, scope), scope)
        case .call(let callee, let arguments):
            let function = try evaluate(callee, scope)
            return try call(function, evaluate(arguments, scope))
        case .filter(let base, let filter, let arguments):
            guard let base else { return .none }
            let value = try evaluate(base, scope)
            return try apply(filter, to: value, evaluate(arguments, scope))
        case .test(let base, let test, let arguments):
            let value = try evaluate(base, scope)
            return .bool(try check(test, value, evaluate(arguments, scope)))
        case .unary(let operation, let operand):
            return try unary(operation, evaluate(operand, scope))
        case .arithmetic(let first, let rest):
            return try evaluateArithmetic(first, rest, scope)
        case .concat(let items):
            var text = TemplateText()
            for item in items { text.append(try self.text(of: evaluate(item, scope))) }
            return try checked(text)
        case .and(let items): return try evaluateLogic(items, stopsAt: false, scope)
        case .or(let items): return try evaluateLogic(items, stopsAt: true, scope)
        case .compare(let first, let rest): return try evaluateComparison(first, rest, scope)
        case .conditional(let test, let then, let otherwise):
            if try evaluate(test, scope).isTrue { return try evaluate(then, scope) }
            guard let otherwise else {
                let hint =
                    "the inline if-expression evaluated to false and no else section was defined."
                return .undefined(TemplateUndefined(.hint(hint)))
            }
            return try evaluate(otherwise, scope)
        case .list(let items): return .list(try list(evaluateAll(items, scope)))
        case .tuple(let items): return .tuple(try list(evaluateAll(items, scope)))
        case .dict(let items): return try evaluateDict(items, scope)
        }
    }

    private func evaluateAll(_ items: [TemplateExpression], _ scope: TemplateScope)
        throws(TemplateError) -> [TemplateValue]
    {
        var values: [TemplateValue] = []
        values.reserveCapacity(items.count)
        for item in items { values.append(try evaluate(item, scope)) }
        return values
    }

    private func evaluateArithmetic(
        _ first: TemplateExpression,
        _ rest: [(TemplateExpression.Arithmetic, TemplateExpression)], _ scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var value = try evaluate(first, scope)
        for (operation, operand) in rest {
            value = try arithmetic(operation, value, evaluate(operand, scope))
        }
        return value
    }

    private func evaluateLogic(
        _ items: [TemplateExpression], stopsAt stop: Bool, _ scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var value = TemplateValue.none
        for item in items {
            value = try evaluate(item, scope)
            if value.isTrue == stop { break }
        }
        return value
    }

    private func evaluateComparison(
        _ first: TemplateExpression, _ rest: [(TemplateExpression.Relation, TemplateExpression)],
        _ scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var left = try evaluate(first, scope)
        for (relation, operand) in rest {
            let right = try evaluate(operand, scope)
            let holds: Bool
            switch relation {
            case .order(let comparison): holds = try compare(comparison, left, right)
            case .isIn(let negated): holds = try contains(right, left) != negated
            }
            if !holds { return .bool(false) }
            left = right
        }
        return .bool(true)
    }

    private func evaluateDict(
        _ items: [(TemplateExpression, TemplateExpression)], _ scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var entries: TemplateDict.Entries = [:]
        for (keyExpression, valueExpression) in items {
            let key = try evaluate(keyExpression, scope)
            let value = try evaluate(valueExpression, scope)
            try insert(key, value, into: &entries)
        }
        return .dict(try dict(entries))
    }

    /// Python keeps the first of two equal keys and the last value.
    func insert(
        _ key: TemplateValue, _ value: TemplateValue, into entries: inout TemplateDict.Entries
    ) throws(TemplateError) {
        let hashed = try dictKey(key)
        entries[hashed] = TemplateEntry(key: entries[hashed]?.key ?? key, value: value)
    }

    func evaluate(_ arguments: TemplateArguments, _ scope: TemplateScope)
        throws(TemplateError) -> TemplateCall
    {
        var call = TemplateCall()
        call.positional = try evaluateAll(arguments.positional, scope)
        for (name, value) in arguments.keywords {
            call.keywords.append((name, try evaluate(value, scope)))
        }
        if let star = arguments.star {
            call.positional.append(contentsOf: try iterate(evaluate(star, scope)))
        }
        guard let doubleStar = arguments.doubleStar else { return call }
        guard case .dict(let dict) = try evaluate(doubleStar, scope) else {
            throw TemplateError(.type, "argument after ** must be a mapping")
        }
        for entry in dict.entries.values {
            guard case .text(let name) = entry.key else {
                throw TemplateError(.type, "keywords must be strings")
            }
            call.keywords.append((name.string, entry.value))
        }
        return call
    }

    /// The filters of a `{% filter %}` or `{% set x | f %}` block, applied to its text.
    func evaluateBlockFilter(
        _ expression: TemplateExpression, _ input: TemplateValue, _ scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        try enter()
        defer { leave() }
        guard case .filter(let base, let filter, let arguments) = expression else {
            throw TemplateError(.syntax, "expected a filter")
        }
        let value = if let base { try evaluateBlockFilter(base, input, scope) } else { input }
        return try apply(filter, to: value, evaluate(arguments, scope))
    }

    // MARK: Calls

    func call(_ function: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try enter()
        defer { leave() }
        switch function {
        case .undefined(let undefined): throw undefined.error
        case .macro(let macro): return try call(macro, given)
        case .function(let function): return try call(function, given)
        case .method(let method): return try call(method, given)
        case .joiner(let joiner):
            if joiner.isUsed { return joiner.separator }
            joiner.isUsed = true
            return .text("")
        case .loop(let loop): return try recurse(loop, given)
        default:
            throw TemplateError(.type, "'\(function.typeName)' object is not callable")
        }
    }

    private func recurse(_ loop: TemplateLoopState, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        guard loop.definition.recursive else {
            throw TemplateError(
                .type, "The loop must have the 'recursive' marker to be called recursively.")
        }
        let items = try iterate(given.positional.first ?? .none)
        return .text(
            try captured { () throws(TemplateError) in
                try run(loop.definition, over: items, depth: loop.depth + 1, loop.scope)
            })
    }

    private func call(_ function: TemplateFunction, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        var given = given
        given.name = function.rawValue
        switch function {
        case .range: return try makeRange(given)
        case .dict: return try makeDict(given)
        case .namespace:
            let namespace = try makeNamespace()
            guard case .dict(let dict) = try makeDict(given) else { return .none }
            for entry in dict.entries.values {
                namespace.values[try text(of: entry.key).string] = entry.value
            }
            return .namespace(namespace)
        case .joiner:
            try given.check(["sep"])
            return .joiner(TemplateJoiner(given.argument(0, "sep") ?? .text(", ")))
        case .cycler:
            guard !given.positional.isEmpty else {
                throw TemplateError(.runtime, "at least one item has to be provided")
            }
            return .cycler(TemplateCycler(given.positional))
        case .raiseException:
            let words = try text(of: given.argument(0, "message") ?? .none).string
            throw TemplateError(.raised, words)
        case .strftimeNow:
            guard case .text(let format)? = given.argument(0, "format") else {
                throw TemplateError(.type, "strftime_now() needs a format string")
            }
            return .text(date.formatted(format.string))
        }
    }

    /// The largest count of `range` in Jinja's sandbox.
    private static let rangeMax = 100_000

    private func makeRange(_ given: TemplateCall) throws(TemplateError) -> TemplateValue {
        var numbers: [Int] = []
        for value in given.positional { numbers.append(try integer(value)) }
        guard (1...3).contains(numbers.count), given.keywords.isEmpty else {
            throw TemplateError(
                .type, "range expected 1 to 3 arguments, got \(numbers.count)")
        }
        let step = numbers.count == 3 ? numbers[2] : 1
        guard step != 0 else {
            throw TemplateError(.value, "range() arg 3 must not be zero")
        }
        let (start, stop) = numbers.count == 1 ? (0, numbers[0]) : (numbers[0], numbers[1])
        guard
            let range = TemplateRange(start: start, stop: stop, step: step, limit: Self.rangeMax)
        else {
            throw TemplateError(
                .overflow, "Range too big. The sandbox blocks ranges larger than MAX_RANGE "
                    + "(\(Self.rangeMax)).")
        }
        return .range(range)
    }

    private func makeDict(_ given: TemplateCall) throws(TemplateError) -> TemplateValue {
        var entries: TemplateDict.Entries = [:]
        if let first = given.positional.first {
            if case .dict(let dict) = first {
                entries = dict.entries
            } else {
                for pair in try iterate(first) {
                    let items = try iterate(pair)
                    guard items.count == 2 else {
                        throw TemplateError(
                            .value, "dictionary update sequence element has length "
                                + "\(items.count); 2 is required")
                    }
                    try insert(items[0], items[1], into: &entries)
                }
            }
        }
        for (name, value) in given.keywords {
            try insert(.text(name), value, into: &entries)
        }
        return .dict(try dict(entries))
    }
}
