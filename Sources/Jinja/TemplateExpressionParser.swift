/// Expressions, with Jinja's precedence: conditional, or, and, not, comparison, `+ -`, `~`,
/// `* / // %`, `**`, unary, postfix, filters and tests.
extension TemplateParser {
    mutating func expression(withConditional: Bool = true) throws(TemplateError)
        -> TemplateExpression
    {
        try nested { (parser: inout Self) throws(TemplateError) in
            withConditional ? try parser.conditional() : try parser.disjunction()
        }
    }

    /// An expression, or several with commas between, which are a tuple.
    mutating func tuple(
        withConditional: Bool = true, stopsAt word: String? = nil, emptyAllowed: Bool = false
    ) throws(TemplateError) -> TemplateExpression {
        var items: [TemplateExpression] = []
        var isTuple = false
        while true {
            if !items.isEmpty || isTuple {
                guard skip(",") else { break }
                isTuple = true
            }
            if isTupleEnd(word) { break }
            items.append(try expression(withConditional: withConditional))
            if !isSymbol(",") { break }
            isTuple = true
        }
        if !isTuple, let only = items.first { return only }
        if !isTuple && !emptyAllowed {
            throw error("Expected an expression, got '\(token.words)'")
        }
        return .tuple(items)
    }

    private func isTupleEnd(_ word: String?) -> Bool {
        switch token {
        case .variableEnd, .blockEnd, .symbol(")"): true
        case .name(let name): name == word
        default: false
        }
    }

    private mutating func conditional() throws(TemplateError) -> TemplateExpression {
        let outer = (isConditional, unknownName)
        var value = try disjunction()
        guard isName("if") else { return value }
        // Only now is it known that the value was conditional.
        (isConditional, unknownName) = (true, outer.1)
        defer { isConditional = outer.0 }
        while skipName("if") {
            let test = try disjunction()
            let otherwise = skipName("else") ? try expression() : nil
            value = .conditional(test: test, then: value, otherwise: otherwise)
        }
        return value
    }

    private mutating func disjunction() throws(TemplateError) -> TemplateExpression {
        var items = [try conjunction()]
        while skipName("or") { items.append(try conjunction()) }
        return items.count == 1 ? items[0] : .or(items)
    }

    private mutating func conjunction() throws(TemplateError) -> TemplateExpression {
        var items = [try negation()]
        while skipName("and") { items.append(try negation()) }
        return items.count == 1 ? items[0] : .and(items)
    }

    private mutating func negation() throws(TemplateError) -> TemplateExpression {
        var isNegated = false
        var seen = false
        while skipName("not") {
            isNegated.toggle()
            seen = true
        }
        let value = try comparison()
        if !seen { return value }
        // `not not x` is a boolean too.
        let inverted = TemplateExpression.unary(.not, value)
        return isNegated ? inverted : .unary(.not, inverted)
    }

    private static let comparisons: [String: TemplateExpression.Comparison] = [
        "==": .equal, "!=": .notEqual, "<": .less, "<=": .lessEqual, ">": .greater,
        ">=": .greaterEqual,
    ]

    private mutating func comparison() throws(TemplateError) -> TemplateExpression {
        let first = try sum()
        var rest: [(TemplateExpression.Relation, TemplateExpression)] = []
        while true {
            if case .symbol(let text) = token, let relation = Self.comparisons[text] {
                advance()
                rest.append((.order(relation), try sum()))
            } else if skipName("in") {
                rest.append((.isIn(negated: false), try sum()))
            } else if isName("not"), peek() == .name("in") {
                advance()
                advance()
                rest.append((.isIn(negated: true), try sum()))
            } else {
                break
            }
        }
        return rest.isEmpty ? first : .compare(first, rest)
    }

    private mutating func sum() throws(TemplateError) -> TemplateExpression {
        let first = try concatenation()
        var rest: [(TemplateExpression.Arithmetic, TemplateExpression)] = []
        while true {
            if skip("+") {
                rest.append((.add, try concatenation()))
            } else if skip("-") {
                rest.append((.subtract, try concatenation()))
            } else {
                return rest.isEmpty ? first : .arithmetic(first, rest)
            }
        }
    }

    private mutating func concatenation() throws(TemplateError) -> TemplateExpression {
        var items = [try product()]
        while skip("~") { items.append(try product()) }
        return items.count == 1 ? items[0] : .concat(items)
    }

    private static let products: [String: TemplateExpression.Arithmetic] = [
        "*": .multiply, "/": .divide, "//": .floorDivide, "%": .modulo,
    ]

    private mutating func product() throws(TemplateError) -> TemplateExpression {
        let first = try power()
        var rest: [(TemplateExpression.Arithmetic, TemplateExpression)] = []
        while case .symbol(let text) = token, let operation = Self.products[text] {
            advance()
            rest.append((operation, try power()))
        }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func power() throws(TemplateError) -> TemplateExpression {
        let first = try unary()
        var rest: [(TemplateExpression.Arithmetic, TemplateExpression)] = []
        while skip("**") { rest.append((.power, try unary())) }
        return rest.isEmpty ? first : .arithmetic(first, rest)
    }

    private mutating func unary(withFilter: Bool = true) throws(TemplateError)
        -> TemplateExpression
    {
        let value: TemplateExpression
        if isSymbol("-") || isSymbol("+") {
            let operation: TemplateExpression.Unary = isSymbol("-") ? .minus : .plus
            advance()
            let operand = try nested { (parser: inout Self) throws(TemplateError) in
                try parser.unary(withFilter: false)
            }
            value = .unary(operation, operand)
        } else {
            value = try primary()
        }
        let extended = try postfix(value)
        return withFilter ? try filterChain(extended, startsInline: false) : extended
    }

    // MARK: Primaries

    private mutating func primary() throws(TemplateError) -> TemplateExpression {
        switch token {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.none)
            default: return .name(symbol(name))
            }
        case .string(var text):
            advance()
            while case .string(let more) = token {
                text += more
                advance()
            }
            return .literal(.text(TemplateText(text)))
        case .integer(let digits):
            advance()
            return .literal(Int(digits).map { .int($0) } ?? .big(digits))
        case .float(let value):
            advance()
            return .literal(.double(value))
        case .symbol("("):
            advance()
            let value = try nested { (parser: inout Self) throws(TemplateError) in
                try parser.tuple(emptyAllowed: true)
            }
            try expect(")")
            return value
        case .symbol("["): return try listDisplay()
        case .symbol("{"): return try dictDisplay()
        default:
            throw error("unexpected '\(token.words)'")
        }
    }

    private mutating func listDisplay() throws(TemplateError) -> TemplateExpression {
        try expect("[")
        var items: [TemplateExpression] = []
        while !isSymbol("]") {
            if !items.isEmpty { try expect(",") }
            if isSymbol("]") { break }
            items.append(try expression())
        }
        try expect("]")
        return .list(items)
    }

    private mutating func dictDisplay() throws(TemplateError) -> TemplateExpression {
        try expect("{")
        var items: [(TemplateExpression, TemplateExpression)] = []
        while !isSymbol("}") {
            if !items.isEmpty { try expect(",") }
            if isSymbol("}") { break }
            let key = try expression()
            try expect(":")
            items.append((key, try expression()))
        }
        try expect("}")
        return .dict(items)
    }

    // MARK: Postfix, filters, tests

    private mutating func postfix(_ base: TemplateExpression) throws(TemplateError)
        -> TemplateExpression
    {
        var value = base
        var count = 0
        while true {
            if skip(".") {
                switch token {
                case .name(let name):
                    advance()
                    value = .attribute(value, TemplateKey(name))
                case .integer(let digits):
                    advance()
                    value = .item(value, .literal(.int(Int(digits) ?? Int.max)))
                default:
                    throw error("expected name or number")
                }
            } else if isSymbol("[") {
                value = try subscripted(value)
            } else if isSymbol("(") {
                value = .call(value, try arguments())
            } else {
                return value
            }
            count += 1
            try checkChain(count)
        }
    }

    /// Every link of a chain is a level of the tree.
    private func checkChain(_ count: Int) throws(TemplateError) {
        guard count <= TemplateLimits.sourceDepth else {
            throw error(
                "an expression chains more than \(TemplateLimits.sourceDepth) operations", .limit)
        }
    }

    private mutating func subscripted(_ base: TemplateExpression) throws(TemplateError)
        -> TemplateExpression
    {
        try expect("[")
        var items: [TemplateExpression] = []
        while !isSymbol("]") {
            if !items.isEmpty { try expect(",") }
            if let slice = try sliceOrNil(&items) {
                guard items.isEmpty, isSymbol("]") else {
                    throw error("a slice must be the only subscript")
                }
                advance()
                return .slice(base, slice)
            }
        }
        try expect("]")
        guard let first = items.first else { throw error("expected subscript expression") }
        return .item(base, items.count == 1 ? first : .tuple(items))
    }

    /// Reads one subscript: a slice is returned, a plain expression appended to `items`.
    private mutating func sliceOrNil(_ items: inout [TemplateExpression]) throws(TemplateError)
        -> TemplateExpression.Slice?
    {
        var slice = TemplateExpression.Slice()
        if !isSymbol(":") {
            let value = try expression()
            if !isSymbol(":") {
                items.append(value)
                return nil
            }
            slice.start = value
        }
        try expect(":")
        if !isSymbol(":") && !isSymbol("]") && !isSymbol(",") { slice.stop = try expression() }
        if skip(":"), !isSymbol("]") && !isSymbol(",") { slice.step = try expression() }
        return slice
    }

    mutating func arguments() throws(TemplateError) -> TemplateArguments {
        var result = TemplateArguments()
        var isFirst = true
        try expect("(")
        while !isSymbol(")") {
            if !isFirst { try expect(",") }
            if !isFirst, isSymbol(")") { break }
            isFirst = false
            if skip("*") {
                guard result.star == nil && result.doubleStar == nil else {
                    throw error("invalid syntax for function call expression")
                }
                result.star = try expression()
            } else if skip("**") {
                guard result.doubleStar == nil else {
                    throw error("invalid syntax for function call expression")
                }
                result.doubleStar = try expression()
            } else if case .name(let name) = token, peek() == .symbol("=") {
                advance()
                advance()
                result.keywords.append((name, try expression()))
            } else {
                guard result.keywords.isEmpty && result.star == nil && result.doubleStar == nil
                else { throw error("invalid syntax for function call expression") }
                result.positional.append(try expression())
            }
        }
        try expect(")")
        return result
    }

    /// The filters, tests and calls after a value; for a filter block the first filter comes
    /// without its `|`.
    mutating func filterChain(_ base: TemplateExpression?, startsInline: Bool)
        throws(TemplateError) -> TemplateExpression
    {
        var value = base
        var inline = startsInline
        var count = 0
        while true {
            if inline || isSymbol("|") {
                if !inline { advance() }
                inline = false
                value = try filter(value)
            } else if let tested = value, base != nil, isName("is") {
                advance()
                value = try test(tested)
            } else if let callee = value, base != nil, isSymbol("(") {
                value = .call(callee, try arguments())
            } else {
                break
            }
            count += 1
            try checkChain(count)
        }
        guard let value else { throw error("expected a filter") }
        return value
    }

    private mutating func dottedName() throws(TemplateError) -> String {
        var name = try expectName()
        while isSymbol("."), case .name(let more) = peek() {
            advance()
            advance()
            name += "." + more
        }
        return name
    }

    private mutating func filter(_ base: TemplateExpression?) throws(TemplateError)
        -> TemplateExpression
    {
        let name = try dottedName()
        let filter = TemplateFilter(name: name)
        if case .unknown = filter, !isConditional, unknownName == nil {
            unknownName = error("No filter named '\(name)'.", .unknownName)
        }
        return .filter(base, filter, isSymbol("(") ? try arguments() : TemplateArguments())
    }

    private mutating func test(_ base: TemplateExpression) throws(TemplateError)
        -> TemplateExpression
    {
        let isNegated = skipName("not")
        let name = try dottedName()
        let test = TemplateTest(name: name)
        if case .unknown = test, !isConditional, unknownName == nil {
            unknownName = error("No test named '\(name)'.", .unknownName)
        }
        var arguments = TemplateArguments()
        switch token {
        case .symbol("("):
            arguments = try self.arguments()
        case .name("else"), .name("or"), .name("and"):
            break
        case .name("is"):
            throw error("You cannot chain multiple tests with is")
        case .name, .string, .integer, .float, .symbol("["), .symbol("{"):
            // `x if y is defined and …`: words that go on with the surrounding expression.
            if case .name(let word) = token, ["if", "not", "in", "recursive"].contains(word) {
                if word != "not" { break }
            }
            let value = try primary()
            arguments.positional = [try postfix(value)]
        default:
            break
        }
        let result = TemplateExpression.test(base, test, arguments)
        return isNegated ? .unary(.not, result) : result
    }
}
