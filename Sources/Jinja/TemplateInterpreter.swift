import OrderedCollections

/// Walks a template's statements and writes the prompt.
///
/// One interpreter renders one prompt. It holds every budget; anything whose cost depends on data
/// calls ``spend(_:)`` first.
final class TemplateInterpreter {
    let limits: TemplateLimits
    let date: TemplateDate
    let symbols: TemplateSymbols
    private let provide: (String) throws(TemplateError) -> TemplateValue?

    private var stepsLeft: Int
    private var depth = 0
    private(set) var line = 0
    /// What is being written: the prompt, or the text of the block being captured.
    private var output = TemplateText()
    private var outputLimit: Int
    /// Values of the variables given and of the global functions, filled on first use.
    private var globals: [TemplateValue?]
    /// Things that can hold each other in circles or long chains; emptied at the end.
    private var namespaces: [TemplateNamespace] = []
    private var capturedScopes: [TemplateScope] = []

    /// How a run of statements ended.
    enum Flow { case normal, breakLoop, continueLoop }

    init(
        symbols: TemplateSymbols, limits: TemplateLimits, date: TemplateDate,
        provide: @escaping (String) throws(TemplateError) -> TemplateValue?
    ) {
        self.symbols = symbols
        self.limits = limits
        self.date = date
        self.provide = provide
        stepsLeft = limits.steps
        outputLimit = limits.outputBytes
        globals = Array(repeating: nil, count: symbols.names.count)
    }

    func render(_ body: [TemplateStatement]) throws(TemplateError) -> TemplateText {
        defer {
            for namespace in namespaces { namespace.values = [:] }
            for scope in capturedScopes { scope.clear() }
        }
        _ = try run(body, TemplateScope(parent: nil))
        return output
    }

    // MARK: Budgets

    @inline(__always)
    func spend(_ steps: Int) throws(TemplateError) {
        stepsLeft -= steps
        if stepsLeft < 0 { throw stepsExceeded() }
    }

    /// Pays for touching so many bytes.
    @inline(__always)
    func spend(bytes: Int) throws(TemplateError) { try spend(bytes >> 6) }

    private func stepsExceeded() -> TemplateError {
        TemplateError(
            .limit,
            "the template needs more than \(limits.steps) steps for this conversation; shorten it, "
                + "or use a template that does less work")
    }

    func nested<Result>(_ body: () throws(TemplateError) -> Result) throws(TemplateError) -> Result
    {
        try enter()
        defer { depth -= 1 }
        return try body()
    }

    @inline(__always)
    func enter() throws(TemplateError) {
        depth += 1
        if depth > limits.depth {
            depth -= 1
            throw TemplateError(
                .limit, "expressions, blocks and macros are nested more than \(limits.depth) deep")
        }
    }

    @inline(__always)
    func leave() { depth -= 1 }

    /// Pays for a string about to be used, and checks its size.
    func checked(_ text: TemplateText) throws(TemplateError) -> TemplateValue {
        try check(stringBytes: text.count)
        return .text(text)
    }

    func check(stringBytes count: Int) throws(TemplateError) {
        guard count <= limits.stringBytes else {
            throw TemplateError(
                .limit, "a string would have \(count) bytes; at most \(limits.stringBytes) are "
                    + "allowed")
        }
        try spend(bytes: count)
    }

    func list(_ items: [TemplateValue]) throws(TemplateError) -> TemplateList {
        try spend(items.count >> 1)
        guard items.count <= limits.elements else {
            throw TemplateError(
                .limit,
                "a list would have \(items.count) elements; at most \(limits.elements) are allowed")
        }
        let list = TemplateList(items)
        try check(containerDepth: list.depth)
        return list
    }

    func dict(_ entries: TemplateDict.Entries) throws(TemplateError) -> TemplateDict {
        try spend(entries.count)
        let dict = TemplateDict(entries)
        try check(containerDepth: dict.depth)
        return dict
    }

    func check(containerDepth depth: Int) throws(TemplateError) {
        guard depth <= limits.containerDepth else {
            throw TemplateError(
                .limit,
                "lists or mappings are nested more than \(limits.containerDepth) deep")
        }
    }

    // MARK: Names

    func lookUp(_ symbol: Int, _ scope: TemplateScope) throws(TemplateError) -> TemplateValue {
        var current: TemplateScope? = scope
        while let here = current {
            if let value = here.own(symbol) { return value }
            current = here.parent
        }
        if let value = globals[symbol] { return value }
        let name = symbols.names[symbol]
        let value: TemplateValue =
            if let given = try provide(name) {
                given
            } else if let function = TemplateFunction(rawValue: name) {
                .function(function)
            } else {
                .undefined(TemplateUndefined(.name(name)))
            }
        globals[symbol] = value
        return value
    }

    func makeNamespace() throws(TemplateError) -> TemplateNamespace {
        try spend(32)
        let namespace = TemplateNamespace()
        namespaces.append(namespace)
        return namespace
    }

    // MARK: Statements

    func run(_ statements: [TemplateStatement], _ scope: TemplateScope) throws(TemplateError)
        -> Flow
    {
        try enter()
        defer { leave() }
        for statement in statements {
            try spend(1)
            line = statement.line
            let flow = try run(statement, scope)
            if flow != .normal { return flow }
        }
        return .normal
    }

    private func run(_ statement: TemplateStatement, _ scope: TemplateScope) throws(TemplateError)
        -> Flow
    {
        switch statement.kind {
        case .text(let text):
            try write(text)
        case .print(let expression):
            try write(evaluate(expression, scope))
        case .branch(let arms, let otherwise):
            for (test, body) in arms where try evaluate(test, scope).isTrue {
                return try run(body, scope)
            }
            return otherwise.isEmpty ? .normal : try run(otherwise, scope)
        case .loop(let loop):
            let items = try iterate(evaluate(loop.sequence, scope))
            try run(loop, over: items, depth: 1, scope)
        case .set(let target, let expression):
            try assign(target, evaluate(expression, scope), scope)
        case .setBlock(let target, let filter, let body):
            try runSetBlock(target, filter, body, scope)
        case .macro(let name, let definition):
            try spend(32)
            capturedScopes.append(scope)
            scope.set(name, .macro(TemplateMacroValue(definition, scope: scope)))
        case .callBlock(let callee, let arguments, let definition):
            let function = try evaluate(callee, scope)
            var given = try evaluate(arguments, scope)
            let caller = TemplateMacroValue(definition, scope: scope)
            given.keywords.append(("caller", .macro(caller)))
            try write(call(function, given))
        case .filterBlock(let filter, let body):
            let (text, flow) = try capture(body, TemplateScope(parent: scope))
            try write(evaluateBlockFilter(filter, .text(text), scope))
            return flow
        case .with(let assignments, let body):
            let inner = TemplateScope(parent: scope)
            for (target, expression) in assignments {
                try assign(target, evaluate(expression, scope), inner)
            }
            return try run(body, inner)
        case .scope(let body):
            return try run(body, TemplateScope(parent: scope))
        case .breakLoop: return .breakLoop
        case .continueLoop: return .continueLoop
        }
        return .normal
    }

    private func runSetBlock(
        _ target: TemplateTarget, _ filter: TemplateExpression?, _ body: [TemplateStatement],
        _ scope: TemplateScope
    ) throws(TemplateError) {
        let (text, _) = try capture(body, TemplateScope(parent: scope))
        guard let filter else { return try assign(target, .text(text), scope) }
        try assign(target, evaluateBlockFilter(filter, .text(text), scope), scope)
    }

    private func write(_ value: TemplateValue) throws(TemplateError) {
        if case .text(let text) = value { return try write(text) }
        try write(text(of: value))
    }

    private func write(_ text: TemplateText) throws(TemplateError) {
        try spend(bytes: text.count)
        guard output.count + text.count <= outputLimit else {
            throw TemplateError(
                .limit, "the rendered text exceeds \(outputLimit) bytes; shorten the conversation")
        }
        output.append(text)
    }

    /// Runs statements, collecting what they write.
    func capture(_ body: [TemplateStatement], _ scope: TemplateScope) throws(TemplateError)
        -> (TemplateText, Flow)
    {
        var flow = Flow.normal
        let text = try captured { () throws(TemplateError) in flow = try run(body, scope) }
        return (text, flow)
    }

    /// What a piece of work writes, for work other than a run of statements.
    func captured(_ work: () throws(TemplateError) -> Void) throws(TemplateError) -> TemplateText {
        let outer = (output, outputLimit)
        output = TemplateText()
        outputLimit = limits.stringBytes
        defer { (output, outputLimit) = outer }
        try work()
        return output
    }

    func assign(_ target: TemplateTarget, _ value: TemplateValue, _ scope: TemplateScope)
        throws(TemplateError)
    {
        switch target {
        case .name(let symbol):
            scope.set(symbol, value)
        case .namespace(let symbol, let attribute):
            guard case .namespace(let namespace) = try lookUp(symbol, scope) else {
                throw TemplateError(
                    .runtime, "cannot assign attribute on non-namespace object")
            }
            namespace.values[attribute] = value
        case .tuple(let targets):
            let items = try iterate(value)
            guard items.count == targets.count else {
                let words =
                    items.count > targets.count
                    ? "too many values to unpack (expected \(targets.count))"
                    : "not enough values to unpack "
                        + "(expected \(targets.count), got \(items.count))"
                throw TemplateError(.value, words)
            }
            for (target, item) in zip(targets, items) { try assign(target, item, scope) }
        }
    }

    // MARK: Loops

    func run(
        _ loop: TemplateLoop, over sequence: [TemplateValue], depth: Int, _ scope: TemplateScope
    ) throws(TemplateError) {
        var items = sequence
        if let filter = loop.filter {
            items = []
            for item in sequence {
                try spend(1)
                let inner = TemplateScope(parent: scope)
                try assign(loop.target, item, inner)
                if try evaluate(filter, inner).isTrue { items.append(item) }
            }
        }
        if items.isEmpty {
            if !loop.otherwise.isEmpty {
                _ = try run(loop.otherwise, TemplateScope(parent: scope))
            }
            return
        }
        let state = TemplateLoopState(items, depth: depth, definition: loop, scope: scope)
        var inner = TemplateScope(parent: scope)
        for (index, item) in items.enumerated() {
            try spend(1)
            state.index = index
            // Every round has fresh variables; the storage is reused unless a macro kept it.
            if isKnownUniquelyReferenced(&inner) {
                inner.clear()
            } else {
                inner = TemplateScope(parent: scope)
            }
            inner.set(TemplateSymbols.loop, .loop(state))
            try assign(loop.target, item, inner)
            if try run(loop.body, inner) == .breakLoop { break }
        }
    }

    // MARK: Macros

    func call(_ macro: TemplateMacroValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        let definition = macro.definition
        let scope = TemplateScope(parent: macro.scope)
        var keywords = given.keywords
        var caller: TemplateValue?
        if let index = keywords.firstIndex(where: { $0.name == "caller" }),
            !definition.parameters.contains(where: { $0.name == "caller" })
        {
            caller = keywords.remove(at: index).value
        }
        for (index, parameter) in definition.parameters.enumerated() {
            if index < given.positional.count {
                scope.set(parameter.symbol, given.positional[index])
            } else if let match = keywords.firstIndex(where: { $0.name == parameter.name }) {
                scope.set(parameter.symbol, keywords.remove(at: match).value)
            } else if let fallback = parameter.fallback {
                scope.set(parameter.symbol, try evaluate(fallback, scope))
            } else {
                let hint = "parameter '\(parameter.name)' was not provided"
                scope.set(parameter.symbol, .undefined(TemplateUndefined(.hint(hint))))
            }
        }
        try bindExtras(of: given, keywords, caller, definition, scope)
        let outerLine = line
        defer { line = outerLine }
        return .text(try capture(definition.body, scope).0)
    }

    private func bindExtras(
        of given: TemplateCall, _ keywords: [(name: String, value: TemplateValue)],
        _ caller: TemplateValue?, _ definition: TemplateMacro, _ scope: TemplateScope
    ) throws(TemplateError) {
        if definition.takesCaller {
            let none = TemplateUndefined(.hint("No caller defined"))
            scope.set(TemplateSymbols.caller, caller ?? .undefined(none))
        } else if caller != nil {
            throw TemplateError(
                .type, "macro '\(definition.name)' was invoked with two values for the special "
                    + "caller argument or takes none")
        }
        let extra = given.positional.dropFirst(definition.parameters.count)
        if definition.takesPositional {
            scope.set(TemplateSymbols.varargs, .tuple(try list(Array(extra))))
        } else if !extra.isEmpty {
            throw TemplateError(
                .type, "macro '\(definition.name)' takes not more than "
                    + "\(definition.parameters.count) argument(s)")
        }
        if definition.takesKeywords {
            var entries: TemplateDict.Entries = [:]
            for (name, value) in keywords {
                entries[.text(Array(name.utf8))] = TemplateEntry(key: .text(name), value: value)
            }
            scope.set(TemplateSymbols.kwargs, .dict(try dict(entries)))
        } else if let surplus = keywords.first {
            throw TemplateError(
                .type,
                "macro '\(definition.name)' takes no keyword argument '\(surplus.name)'")
        }
    }
}

/// Arguments of a call, evaluated.
struct TemplateCall {
    var positional: [TemplateValue] = []
    var keywords: [(name: String, value: TemplateValue)] = []
    /// What is called, for messages.
    var name = ""

    /// The argument at a position or under a name, as a Python signature would bind it.
    func argument(_ index: Int, _ name: String) -> TemplateValue? {
        if index < positional.count { return positional[index] }
        return keywords.first { $0.name == name }?.value
    }

    /// Refuses arguments beyond a signature's.
    func check(_ names: [String], required: Int = 0) throws(TemplateError) {
        guard positional.count <= names.count else {
            throw TemplateError(
                .type, "\(name)() takes at most \(names.count) arguments "
                    + "(\(positional.count) given)")
        }
        for keyword in keywords {
            guard let index = names.firstIndex(of: keyword.name) else {
                throw TemplateError(
                    .type, "\(name)() got an unexpected keyword argument '\(keyword.name)'")
            }
            guard index >= positional.count else {
                throw TemplateError(
                    .type, "\(name)() got multiple values for argument '\(keyword.name)'")
            }
        }
        for index in 0..<required where argument(index, names[index]) == nil {
            throw TemplateError(
                .type, "\(name)() missing required argument '\(names[index])'")
        }
    }
}
