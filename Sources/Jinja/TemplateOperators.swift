import OrderedCollections

/// Arithmetic, comparison and membership with Python's rules.
extension TemplateInterpreter {
    // MARK: Numbers

    static func plainInteger(_ value: TemplateValue) -> Int? {
        switch value {
        case .int(let number): number
        case .bool(let flag): flag ? 1 : 0
        default: nil
        }
    }

    static func number(_ value: TemplateValue) -> Double? {
        switch value {
        case .int(let number): Double(number)
        case .bool(let flag): flag ? 1 : 0
        case .double(let number): number
        case .big(let digits): Double(digits)
        default: nil
        }
    }

    /// A value where Python needs an integer.
    func integer(_ value: TemplateValue) throws(TemplateError) -> Int {
        if case .undefined(let undefined) = value { throw undefined.error }
        guard let number = Self.plainInteger(value) else {
            throw TemplateError(
                .type, "'\(value.typeName)' object cannot be interpreted as an integer")
        }
        return number
    }

    func unary(_ operation: TemplateExpression.Unary, _ value: TemplateValue)
        throws(TemplateError) -> TemplateValue
    {
        if operation == .not { return .bool(!value.isTrue) }
        switch value {
        case .undefined(let undefined): throw undefined.error
        case .int, .bool:
            let number = Self.plainInteger(value) ?? 0
            return .int(operation == .minus ? 0 &- number : number)
        case .double(let number): return .double(operation == .minus ? -number : number)
        case .big(let digits):
            if operation == .plus { return value }
            return .big(digits.hasPrefix("-") ? String(digits.dropFirst()) : "-" + digits)
        default:
            let sign = operation == .minus ? "-" : "+"
            throw TemplateError(
                .type, "bad operand type for unary \(sign): '\(value.typeName)'")
        }
    }

    func arithmetic(
        _ operation: TemplateExpression.Arithmetic, _ left: TemplateValue, _ right: TemplateValue
    ) throws(TemplateError) -> TemplateValue {
        if case .undefined(let undefined) = left { throw undefined.error }
        if case .text(let format) = left, operation == .modulo {
            return try checked(self.format(format, with: right).marked(format.isMarkup))
        }
        if case .undefined(let undefined) = right { throw undefined.error }
        if let a = Self.plainInteger(left), let b = Self.plainInteger(right) {
            return try integers(operation, a, b)
        }
        if let a = Self.number(left), let b = Self.number(right) {
            return try doubles(operation, a, b)
        }
        if operation == .add, let sum = try concatenation(left, right) { return sum }
        if operation == .multiply, let product = try repetition(left, right) { return product }
        throw mismatch(operation, left, right)
    }

    private func integers(_ operation: TemplateExpression.Arithmetic, _ a: Int, _ b: Int)
        throws(TemplateError) -> TemplateValue
    {
        let result: (partialValue: Int, overflow: Bool)
        switch operation {
        case .add: result = a.addingReportingOverflow(b)
        case .subtract: result = a.subtractingReportingOverflow(b)
        case .multiply: result = a.multipliedReportingOverflow(by: b)
        case .divide:
            guard b != 0 else { throw TemplateError(.zeroDivision, "division by zero") }
            return .double(Double(a) / Double(b))
        case .floorDivide, .modulo:
            guard b != 0 else {
                throw TemplateError(.zeroDivision, "integer division or modulo by zero")
            }
            if b == -1 { return operation == .modulo ? .int(0) : try integers(.subtract, 0, a) }
            let (quotient, remainder) = a.quotientAndRemainder(dividingBy: b)
            let rounds = remainder != 0 && (remainder < 0) != (b < 0)
            if operation == .modulo { return .int(rounds ? remainder + b : remainder) }
            return .int(rounds ? quotient - 1 : quotient)
        case .power: return try power(a, b)
        }
        guard !result.overflow else { throw Self.tooLarge }
        return .int(result.partialValue)
    }

    private static var tooLarge: TemplateError {
        TemplateError(.overflow, "a result needs more than 64 bits; templates may not compute that")
    }

    private func power(_ base: Int, _ exponent: Int) throws(TemplateError) -> TemplateValue {
        if exponent < 0 { return try doubles(.power, Double(base), Double(exponent)) }
        var result = 1
        var factor = base
        var rest = exponent
        while rest > 0 {
            if rest & 1 == 1 {
                let (product, overflow) = result.multipliedReportingOverflow(by: factor)
                guard !overflow else { throw Self.tooLarge }
                result = product
            }
            rest >>= 1
            if rest > 0 {
                let (square, overflow) = factor.multipliedReportingOverflow(by: factor)
                guard !overflow else { throw Self.tooLarge }
                factor = square
            }
        }
        return .int(result)
    }

    private func doubles(_ operation: TemplateExpression.Arithmetic, _ a: Double, _ b: Double)
        throws(TemplateError) -> TemplateValue
    {
        switch operation {
        case .add: return .double(a + b)
        case .subtract: return .double(a - b)
        case .multiply: return .double(a * b)
        case .divide:
            guard b != 0 else { throw TemplateError(.zeroDivision, "float division by zero") }
            return .double(a / b)
        case .floorDivide, .modulo:
            guard b != 0 else { throw TemplateError(.zeroDivision, "float modulo") }
            var remainder = a.truncatingRemainder(dividingBy: b)
            if remainder != 0 && (remainder < 0) != (b < 0) { remainder += b }
            return .double(
                operation == .modulo ? remainder : ((a - remainder) / b).rounded())
        case .power:
            guard let result = TemplateNumbers.power(a, b) else {
                throw TemplateError(
                    .value, "powers of floats are limited to whole exponents and square roots")
            }
            return .double(result)
        }
    }

    private func concatenation(_ left: TemplateValue, _ right: TemplateValue)
        throws(TemplateError) -> TemplateValue?
    {
        switch (left, right) {
        case (.text(let a), .text(let b)):
            return .text(try sum(a, b))
        case (.list(let a), .list(let b)):
            try spend((a.items.count + b.items.count) >> 1)
            return .list(try list(a.items + b.items))
        case (.tuple(let a), .tuple(let b)):
            try spend((a.items.count + b.items.count) >> 1)
            return .tuple(try list(a.items + b.items))
        case (.text, _):
            throw TemplateError(
                .type, "can only concatenate str (not \"\(right.typeName)\") to str")
        case (.list, _):
            throw TemplateError(
                .type, "can only concatenate list (not \"\(right.typeName)\") to list")
        case (.tuple, _):
            throw TemplateError(
                .type, "can only concatenate tuple (not \"\(right.typeName)\") to tuple")
        default: return nil
        }
    }

    private func repetition(_ left: TemplateValue, _ right: TemplateValue)
        throws(TemplateError) -> TemplateValue?
    {
        let (sequence, count): (TemplateValue, Int)
        if let times = Self.plainInteger(right) {
            (sequence, count) = (left, max(times, 0))
        } else if let times = Self.plainInteger(left) {
            (sequence, count) = (right, max(times, 0))
        } else {
            return nil
        }
        switch sequence {
        case .text(let text):
            let (size, overflow) = text.count.multipliedReportingOverflow(by: count)
            try check(stringBytes: overflow ? Int.max : size)
            return .text(repeated(text, size == 0 ? 0 : count).marked(text.isMarkup))
        case .list(let list): return .list(try repeated(list, count))
        case .tuple(let list): return .tuple(try repeated(list, count))
        default: return nil
        }
    }

    /// By doubling: a short text repeated millions of times must not cost a step each.
    private func repeated(_ text: TemplateText, _ count: Int) -> TemplateText {
        var result = TemplateText()
        var power = text
        var rest = count
        while rest > 0 {
            if rest & 1 == 1 { result.append(power) }
            rest >>= 1
            if rest > 0 {
                let copy = power
                power.append(copy)
            }
        }
        return result
    }

    private func repeated(_ sequence: TemplateList, _ count: Int) throws(TemplateError)
        -> TemplateList
    {
        let (size, overflow) = sequence.items.count.multipliedReportingOverflow(by: count)
        guard !overflow, size <= limits.elements else {
            throw TemplateError(
                .limit, "a repeated list would exceed \(limits.elements) elements")
        }
        try spend(size)
        var items: [TemplateValue] = []
        if size > 0 { for _ in 0..<count { items.append(contentsOf: sequence.items) } }
        return try list(items)
    }

    private func mismatch(
        _ operation: TemplateExpression.Arithmetic, _ left: TemplateValue, _ right: TemplateValue
    ) -> TemplateError {
        let symbol =
            switch operation {
            case .add: "+"
            case .subtract: "-"
            case .multiply: "*"
            case .divide: "/"
            case .floorDivide: "//"
            case .modulo: "%"
            case .power: "** or pow()"
            }
        return TemplateError(
            .type, "unsupported operand type(s) for \(symbol): "
                + "'\(left.typeName)' and '\(right.typeName)'")
    }

    // MARK: Comparison

    func compare(
        _ comparison: TemplateExpression.Comparison, _ left: TemplateValue, _ right: TemplateValue
    ) throws(TemplateError) -> Bool {
        switch comparison {
        case .equal: return try isEqual(left, right)
        case .notEqual: return !(try isEqual(left, right))
        case .less: return try isLess(left, right, "<")
        case .greater: return try isLess(right, left, ">")
        // NaN is below nothing and above nothing, so `<=` is not the negation of `>`.
        case .lessEqual:
            if try isLess(left, right, "<=") { return true }
            return try isEqual(left, right)
        case .greaterEqual:
            if try isLess(right, left, ">=") { return true }
            return try isEqual(left, right)
        }
    }

    func isEqual(_ left: TemplateValue, _ right: TemplateValue) throws(TemplateError) -> Bool {
        try spend(1)
        switch (left, right) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.text(let a), .text(let b)):
            if a.count != b.count { return false }
            try spend(bytes: a.count)
            return a == b
        case (.int(let a), .int(let b)): return a == b
        case (.bool(let a), .bool(let b)): return a == b
        case (.big(let a), .big(let b)): return a == b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            if a === b { return true }
            if a.items.count != b.items.count { return false }
            for (x, y) in zip(a.items, b.items) where !(try isEqual(x, y)) { return false }
            return true
        case (.dict(let a), .dict(let b)):
            if a === b { return true }
            if a.entries.count != b.entries.count { return false }
            for (key, entry) in a.entries {
                guard let other = b.entries[key], try isEqual(entry.value, other.value) else {
                    return false
                }
            }
            return true
        case (.range(let a), .range(let b)):
            return a.count == b.count
                && (a.count == 0 || (a.start == b.start && (a.count == 1 || a.step == b.step)))
        default:
            if let a = Self.number(left), let b = Self.number(right) { return a == b }
            return isSame(left, right)
        }
    }

    /// `left is right` in Python, as far as it is defined.
    func isSame(_ left: TemplateValue, _ right: TemplateValue) -> Bool {
        switch (left, right) {
        case (.none, .none): true
        case (.bool(let a), .bool(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.text(let a), .text(let b)): a == b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): a === b
        case (.dict(let a), .dict(let b)): a === b
        case (.namespace(let a), .namespace(let b)): a === b
        case (.macro(let a), .macro(let b)): a === b
        case (.loop(let a), .loop(let b)): a === b
        case (.generator(let a), .generator(let b)): a === b
        case (.undefined(let a), .undefined(let b)): a === b
        case (.function(let a), .function(let b)): a == b
        default: false
        }
    }

    private func isLess(_ left: TemplateValue, _ right: TemplateValue, _ symbol: String)
        throws(TemplateError) -> Bool
    {
        try spend(1)
        switch (left, right) {
        case (.text(let a), .text(let b)):
            try spend(bytes: min(a.count, b.count))
            return a.bytes.lexicographicallyPrecedes(b.bytes)
        case (.int(let a), .int(let b)): return a < b
        case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
            for (x, y) in zip(a.items, b.items) where !(try isEqual(x, y)) {
                return try isLess(x, y, symbol)
            }
            return a.items.count < b.items.count
        case (.undefined(let undefined), _), (_, .undefined(let undefined)):
            throw undefined.error
        default:
            if let a = Self.number(left), let b = Self.number(right) { return a < b }
            let swapped = symbol.hasPrefix(">")
            let (a, b) = swapped ? (right, left) : (left, right)
            throw TemplateError(
                .type, "'\(symbol)' not supported between instances of "
                    + "'\(a.typeName)' and '\(b.typeName)'")
        }
    }

    func isLess(_ left: TemplateValue, _ right: TemplateValue) throws(TemplateError) -> Bool {
        try isLess(left, right, "<")
    }

    // MARK: Membership

    /// `value in container`.
    func contains(_ container: TemplateValue, _ value: TemplateValue) throws(TemplateError) -> Bool
    {
        switch container {
        case .text(let text):
            if case .undefined(let undefined) = value { throw undefined.error }
            guard case .text(let needle) = value else {
                throw TemplateError(
                    .type,
                    "'in <string>' requires string as left operand, not \(value.typeName)")
            }
            try spend(bytes: text.count)
            return text.find(needle) != nil
        case .dict(let dict): return dict.entries[try dictKey(value)] != nil
        case .view(let view) where view.kind == .keys:
            return view.dict.entries[try dictKey(value)] != nil
        case .none, .bool, .int, .big, .double, .macro, .function, .method, .joiner, .cycler,
            .namespace:
            throw TemplateError(
                .type, "argument of type '\(container.typeName)' is not iterable")
        default:
            for item in try iterate(container) where try isEqual(item, value) { return true }
            return false
        }
    }

    /// The key Python's hash and equality would give a value.
    func dictKey(_ value: TemplateValue) throws(TemplateError) -> TemplateDictKey {
        switch value {
        case .none: return .none
        case .bool(let flag): return .int(flag ? 1 : 0)
        case .int(let number): return .int(number)
        case .big(let digits): return .big(digits)
        case .double(let number): return Int(exactly: number).map { .int($0) } ?? .double(number)
        case .text(let text): return .text(text.bytes)
        case .tuple(let tuple) where tuple.depth == 1:
            var keys: [TemplateDictKey] = []
            for item in tuple.items { keys.append(try dictKey(item)) }
            try spend(keys.count)
            return .tuple(keys)
        default:
            throw TemplateError(.type, "unhashable type: '\(value.typeName)'")
        }
    }
}
