/// Parses template source into statements. Everything a template may ever refer to by name of
/// filter, test or statement is checked here, once, at load.
struct TemplateParser {
    private var tokens: [TemplateLexer.Positioned]
    private var position = 0
    private(set) var symbols = TemplateSymbols()
    private var depth = 0
    /// Loops around the current statement inside the current function-like body.
    private var loopDepth = 0
    /// Tags that would close the blocks now open, innermost last, for messages.
    private var openTags: [(tag: String, closers: [String])] = []
    /// Names read inside the macro bodies now being parsed.
    var macroUses: [Set<String>] = []
    /// Inside an `if` (and not in a loop or macro within it) Jinja leaves an unknown filter or
    /// test to be an error when reached: published templates name engine-specific filters there.
    var isConditional = false
    /// An unknown name that is an error unless the expression turns out to be conditional.
    var unknownName: TemplateError?

    private init(_ tokens: [TemplateLexer.Positioned]) { self.tokens = tokens }

    static func parse(_ source: String) throws(TemplateError) -> (
        body: [TemplateStatement], symbols: TemplateSymbols
    ) {
        var parser = TemplateParser(try TemplateLexer.tokenize(source))
        let body = try parser.statements(until: [])
        if let unknown = parser.unknownName { throw unknown }
        return (body, parser.symbols)
    }

    // MARK: Tokens

    var token: TemplateLexer.Token { tokens[position].token }
    var line: Int { tokens[position].line }

    mutating func advance() { if position + 1 < tokens.count { position += 1 } }

    func peek(_ count: Int = 1) -> TemplateLexer.Token {
        tokens[min(position + count, tokens.count - 1)].token
    }

    func isSymbol(_ text: String) -> Bool { token == .symbol(text) }
    func isName(_ text: String) -> Bool { token == .name(text) }

    mutating func skip(_ symbol: String) -> Bool {
        if isSymbol(symbol) { advance(); return true }
        return false
    }

    mutating func skipName(_ name: String) -> Bool {
        if isName(name) { advance(); return true }
        return false
    }

    mutating func expect(_ symbol: String) throws(TemplateError) {
        guard isSymbol(symbol) else {
            throw error("expected token '\(symbol)', got '\(token.words)'")
        }
        advance()
    }

    mutating func expectName() throws(TemplateError) -> String {
        guard case .name(let name) = token else {
            throw error("expected token 'name', got '\(token.words)'")
        }
        advance()
        return name
    }

    mutating func expectKeyword(_ word: String) throws(TemplateError) {
        guard isName(word) else {
            throw error("expected token '\(word)', got '\(token.words)'")
        }
        advance()
    }

    private mutating func expectBlockEnd() throws(TemplateError) {
        guard token == .blockEnd else {
            throw error("expected token 'end of statement block', got '\(token.words)'")
        }
        advance()
    }

    func error(_ message: String, _ kind: TemplateError.Kind = .syntax) -> TemplateError {
        TemplateError(kind, message, line: line)
    }

    mutating func symbol(_ name: String) -> Int {
        if !macroUses.isEmpty { macroUses[macroUses.count - 1].insert(name) }
        return symbols.intern(name)
    }

    mutating func nested<Result>(
        _ body: (inout TemplateParser) throws(TemplateError) -> Result
    ) throws(TemplateError) -> Result {
        depth += 1
        defer { depth -= 1 }
        guard depth <= TemplateLimits.sourceDepth else {
            throw error(
                "expressions or blocks are nested more than \(TemplateLimits.sourceDepth) deep",
                .limit)
        }
        return try body(&self)
    }

    // MARK: Statements

    /// Statements up to, not including, one of the closing tags (whose name is then current).
    private mutating func statements(until closers: Set<String>) throws(TemplateError)
        -> [TemplateStatement]
    {
        var result: [TemplateStatement] = []
        while true {
            let line = line
            switch token {
            case .data(let bytes):
                advance()
                let text = TemplateText(bytes: bytes, trusted: true)
                result.append(TemplateStatement(line: line, kind: .text(text)))
            case .variableBegin:
                advance()
                let value = try tuple()
                guard token == .variableEnd else {
                    throw error(
                        "expected token 'end of print statement', got '\(token.words)'")
                }
                advance()
                result.append(TemplateStatement(line: line, kind: .print(value)))
            case .blockBegin:
                advance()
                if case .name(let name) = token, closers.contains(name) { return result }
                result += try nested { (parser: inout Self) throws(TemplateError) in
                    try parser.statement()
                }
            case .end:
                if closers.isEmpty { return result }
                throw unexpectedEnd()
            default:
                throw error("unexpected '\(token.words)'")
            }
        }
    }

    private func unexpectedEnd() -> TemplateError {
        guard let open = openTags.last else { return error("Unexpected end of template.") }
        let wanted = open.closers.sorted().map { "'\($0)'" }.joined(separator: " or ")
        return error(
            "Unexpected end of template. Jinja was looking for the following tags: \(wanted). "
                + "The innermost block that needs to be closed is '\(open.tag)'.")
    }

    /// The body of a block up to one of its closing tags; the tag's name is consumed.
    private mutating func body(_ tag: String, until closers: String...) throws(TemplateError)
        -> (statements: [TemplateStatement], closer: String)
    {
        try expectBlockEnd()
        openTags.append((tag, closers))
        let result = try statements(until: Set(closers))
        openTags.removeLast()
        return (result, try expectName())
    }

    private mutating func statement() throws(TemplateError) -> [TemplateStatement] {
        let line = line
        guard case .name(let tag) = token else {
            throw error("tag name expected")
        }
        advance()
        if tag == "print" {
            var kinds: [TemplateStatement] = []
            while token != .blockEnd {
                if !kinds.isEmpty { try expect(",") }
                kinds.append(TemplateStatement(line: line, kind: .print(try expression())))
            }
            try expectBlockEnd()
            return kinds
        }
        let kind = try statementKind(tag)
        try expectBlockEnd()
        return [TemplateStatement(line: line, kind: kind)]
    }

    private mutating func statementKind(_ tag: String) throws(TemplateError)
        -> TemplateStatement.Kind
    {
        switch tag {
        case "if": return try branch()
        case "for": return try loop()
        case "set": return try assignment()
        case "macro": return try macro()
        case "call": return try callBlock()
        case "filter":
            let chain = try filterChain(nil, startsInline: true)
            return .filterBlock(chain, try body(tag, until: "endfilter").statements)
        case "with": return try withBlock()
        case "generation":
            return .scope(try isolated { (parser: inout Self) throws(TemplateError) in
                try parser.body(tag, until: "endgeneration").statements
            })
        case "autoescape":
            _ = try expression()
            return .scope(try body(tag, until: "endautoescape").statements)
        case "block": return try block()
        case "break", "continue":
            guard loopDepth > 0 else { throw error("'\(tag)' not properly in loop") }
            return tag == "break" ? .breakLoop : .continueLoop
        case "include", "import", "from", "extends":
            throw error(
                "'\(tag)' is refused: a chat template may use nothing but the values given",
                .security)
        default:
            throw error("Encountered unknown tag '\(tag)'.")
        }
    }

    /// Parses a body that is a function of its own: `break` does not reach out of it.
    private mutating func isolated<Result>(
        _ parse: (inout TemplateParser) throws(TemplateError) -> Result
    ) throws(TemplateError) -> Result {
        let outer = (loopDepth, isConditional)
        (loopDepth, isConditional) = (0, false)
        defer { (loopDepth, isConditional) = outer }
        return try parse(&self)
    }

    private mutating func branch() throws(TemplateError) -> TemplateStatement.Kind {
        let outer = isConditional
        isConditional = true
        defer { isConditional = outer }
        var arms: [(TemplateExpression, [TemplateStatement])] = []
        var otherwise: [TemplateStatement] = []
        while true {
            let test = try tuple(withConditional: false)
            let arm = try body("if", until: "elif", "else", "endif")
            arms.append((test, arm.statements))
            if arm.closer == "elif" { continue }
            if arm.closer == "else" { otherwise = try body("if", until: "endif").statements }
            return .branch(arms, otherwise: otherwise)
        }
    }

    private mutating func loop() throws(TemplateError) -> TemplateStatement.Kind {
        let outer = isConditional
        isConditional = false
        defer { isConditional = outer }
        let target = try self.target(namespaces: false)
        try expectKeyword("in")
        let sequence = try tuple(withConditional: false, stopsAt: "recursive")
        let filter = skipName("if") ? try expression() : nil
        let recursive = skipName("recursive")
        loopDepth += 1
        let main = try body("for", until: "endfor", "else")
        loopDepth -= 1
        var otherwise: [TemplateStatement] = []
        if main.closer == "else" { otherwise = try body("for", until: "endfor").statements }
        return .loop(
            TemplateLoop(
                target: target, sequence: sequence, filter: filter, recursive: recursive,
                body: main.statements, otherwise: otherwise))
    }

    private mutating func assignment() throws(TemplateError) -> TemplateStatement.Kind {
        let target = try self.target(namespaces: true)
        if skip("=") { return .set(target, try tuple()) }
        var filter: TemplateExpression?
        if isSymbol("|") { filter = try filterChain(nil, startsInline: false) }
        return .setBlock(target, filter: filter, try body("set", until: "endset").statements)
    }

    private mutating func withBlock() throws(TemplateError) -> TemplateStatement.Kind {
        var assignments: [(TemplateTarget, TemplateExpression)] = []
        while token != .blockEnd {
            if !assignments.isEmpty { try expect(",") }
            let target = try self.target(namespaces: false)
            try expect("=")
            assignments.append((target, try expression()))
        }
        return .with(assignments, try body("with", until: "endwith").statements)
    }

    private mutating func block() throws(TemplateError) -> TemplateStatement.Kind {
        let name = try expectName()
        while case .name = token { advance() }
        return .scope(try isolated { (parser: inout Self) throws(TemplateError) in
            let statements = try parser.body("block", until: "endblock").statements
            _ = parser.skipName(name)
            return statements
        })
    }

    private mutating func macro() throws(TemplateError) -> TemplateStatement.Kind {
        let name = try expectName()
        let definition = try macroDefinition(name, tag: "macro", closer: "endmacro")
        return .macro(name: symbol(name), definition)
    }

    private mutating func callBlock() throws(TemplateError) -> TemplateStatement.Kind {
        // `{% call(a, b) f(x) %}`: the parameters come first, then the call, then the body.
        let parameters = isSymbol("(") ? try self.parameters() : []
        guard case .call(let callee, let arguments) = try expression() else {
            throw error("expected call")
        }
        let definition = try macroDefinition(
            "caller", tag: "call", closer: "endcall", parameters: parameters)
        return .callBlock(callee, arguments, definition)
    }

    private mutating func macroDefinition(
        _ name: String, tag: String, closer: String,
        parameters given: [TemplateMacro.Parameter]? = nil
    ) throws(TemplateError) -> TemplateMacro {
        macroUses.append([])
        let (parameters, statements) = try isolated { (parser: inout Self) throws(TemplateError) in
            let parameters = if let given { given } else { try parser.parameters() }
            return (parameters, try parser.body(tag, until: closer).statements)
        }
        let uses = macroUses.removeLast()
        // What an inner macro reads, the outer one may have to provide as well.
        if !macroUses.isEmpty { macroUses[macroUses.count - 1].formUnion(uses) }
        return TemplateMacro(name: name, parameters: parameters, body: statements, uses: uses)
    }

    private mutating func parameters() throws(TemplateError) -> [TemplateMacro.Parameter] {
        var result: [TemplateMacro.Parameter] = []
        try expect("(")
        while !isSymbol(")") {
            if !result.isEmpty { try expect(",") }
            let name = try expectName()
            let fallback = skip("=") ? try expression() : nil
            if fallback == nil, let last = result.last, last.fallback != nil {
                throw error("non-default argument follows default argument")
            }
            result.append(
                TemplateMacro.Parameter(
                    name: name, symbol: symbols.intern(name), fallback: fallback))
        }
        try expect(")")
        return result
    }

    // MARK: Targets

    private mutating func target(namespaces: Bool) throws(TemplateError) -> TemplateTarget {
        let first = try targetItem(namespaces: namespaces)
        guard isSymbol(",") else { return first }
        var items = [first]
        while skip(",") {
            if isName("in") || isSymbol("=") || token == .blockEnd { break }
            items.append(try targetItem(namespaces: namespaces))
        }
        return .tuple(items)
    }

    private mutating func targetItem(namespaces: Bool) throws(TemplateError) -> TemplateTarget {
        if skip("(") {
            let inner = try nested { (parser: inout Self) throws(TemplateError) in
                try parser.target(namespaces: namespaces)
            }
            try expect(")")
            return inner
        }
        let name = try expectName()
        if TemplateSymbols.reserved.contains(name) || name == "loop" && !namespaces {
            throw error("can't assign to '\(name)'")
        }
        if namespaces, skip(".") {
            return .namespace(symbol(name), attribute: try expectName())
        }
        return .name(symbols.intern(name))
    }
}

/// The names of a template as small integers.
struct TemplateSymbols: Sendable {
    private(set) var names: [String] = []
    private var indices: [String: Int] = [:]

    static let reserved: Set<String> = ["true", "false", "none", "True", "False", "None"]

    init() {
        for name in ["loop", "caller", "varargs", "kwargs"] { _ = intern(name) }
    }

    static let loop = 0
    static let caller = 1
    static let varargs = 2
    static let kwargs = 3

    mutating func intern(_ name: String) -> Int {
        if let index = indices[name] { return index }
        names.append(name)
        indices[name] = names.count - 1
        return names.count - 1
    }
}
