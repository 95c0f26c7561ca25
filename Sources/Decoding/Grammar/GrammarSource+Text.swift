import AutoGLMJSON
import OrderedCollections

// A source as text, for a process that compiles it again: JSON, an object with one member that
// says which case it is. Sources that are equal may differ in their text by the order of keys in
// `tokens` alone, which are sorted.

extension GrammarSource {
    /// Nothing of the source is lost: ``init(text:)`` gives an equal one.
    package var text: String { json.serialized(.compact) }

    /// - Throws: `invalid` for what ``text`` never is.
    package init(text: String) throws(GrammarError) {
        let json: JSONValue
        do { json = try JSONValue.parse(text) } catch {
            throw .invalid(reason: "a source that is \(error)")
        }
        try self.init(json)
    }

    fileprivate var json: JSONValue {
        switch self {
        case .schema(let schema, let keepsKeyOrder):
            ["schema": schema, "keepsKeyOrder": .bool(keepsKeyOrder)]
        case .regex(let text): ["regex": .string(text)]
        case .gbnf(let text): ["gbnf": .string(text)]
        case .choice(let options): ["choice": .array(options.map { .string($0) })]
        case .expression(let expression): ["expression": expression.json]
        }
    }

    fileprivate init(_ json: JSONValue) throws(GrammarError) {
        guard let (kind, value) = json.objectValue?.elements.first else { throw .unreadable }
        switch kind {
        case "schema": self = .schema(value, keepsKeyOrder: try json.flag("keepsKeyOrder"))
        case "regex": self = .regex(try value.string())
        case "gbnf": self = .gbnf(try value.string())
        case "choice": self = .choice(try value.strings())
        case "expression": self = .expression(try GrammarExpression(value))
        default: throw .unreadable
        }
    }
}

extension GrammarExpression {
    fileprivate var json: JSONValue {
        switch self {
        case .literal(let text): ["literal": .string(text)]
        case .regex(let text): ["regex": .string(text)]
        case .textWithout(let pattern): ["textWithout": .string(pattern)]
        case .json(let schema): ["json": schema]
        case .members(let schema, let style): ["members": schema, "style": style.json]
        case .special(let token): ["special": .int(Int64(token))]
        case .sequence(let parts): ["sequence": .array(parts.map(\.json))]
        case .choice(let options): ["choice": .array(options.map(\.json))]
        case .repetition(let body, let least, let most):
            [
                "repetition": body.json, "least": .int(Int64(least)),
                "most": most.map { .int(Int64($0)) } ?? .null,
            ]
        case .form(let source): ["form": source.json]
        }
    }

    fileprivate init(_ json: JSONValue) throws(GrammarError) {
        guard let (kind, value) = json.objectValue?.elements.first else { throw .unreadable }
        switch kind {
        case "literal": self = .literal(try value.string())
        case "regex": self = .regex(try value.string())
        case "textWithout": self = .textWithout(pattern: try value.string())
        case "json": self = .json(value)
        case "members": self = .members(value, try MemberStyle(try json.member("style")))
        case "special": self = .special(try value.token())
        case "sequence": self = .sequence(try Self.list(value))
        case "choice": self = .choice(try Self.list(value))
        case "repetition":
            let most = try json.member("most")
            self = .repetition(
                try GrammarExpression(value), least: try json.member("least").count(),
                most: most.isNull ? nil : try most.count())
        case "form": self = .form(try GrammarSource(value))
        default: throw .unreadable
        }
    }

    private static func list(_ json: JSONValue) throws(GrammarError) -> [GrammarExpression] {
        var parts: [GrammarExpression] = []
        for part in try json.elements() { parts.append(try GrammarExpression(part)) }
        return parts
    }
}

extension MemberStyle {
    fileprivate var json: JSONValue {
        let tokens = self.tokens.sorted { $0.key < $1.key }
        return [
            "beforeKey": .string(beforeKey), "afterKey": .string(afterKey),
            "afterValue": .string(afterValue),
            "marks": .array(marks.map { .string($0) }),
            "words": .array(tokens.map { .string($0.key) }),
            "tokens": .array(tokens.map { .int(Int64($0.value)) }),
            "linesAreOptional": .bool(linesAreOptional),
        ]
    }

    fileprivate init(_ json: JSONValue) throws(GrammarError) {
        self.init(
            beforeKey: try json.member("beforeKey").string(),
            afterKey: try json.member("afterKey").string(),
            afterValue: try json.member("afterValue").string(),
            marks: try json.member("marks").strings())
        let words = try json.member("words").strings()
        for (word, token) in zip(words, try json.member("tokens").elements()) {
            tokens[word] = try token.token()
        }
        linesAreOptional = try json.flag("linesAreOptional")
    }
}

extension GrammarError {
    fileprivate static let unreadable = GrammarError.invalid(
        reason: "a source that nothing has written")
}

extension JSONValue {
    fileprivate func member(_ name: String) throws(GrammarError) -> JSONValue {
        guard let value = self[name] else { throw .unreadable }
        return value
    }

    fileprivate func flag(_ name: String) throws(GrammarError) -> Bool {
        guard let flag = try member(name).boolValue else { throw .unreadable }
        return flag
    }

    fileprivate func string() throws(GrammarError) -> String {
        guard let text = stringValue else { throw .unreadable }
        return text
    }

    fileprivate func elements() throws(GrammarError) -> [JSONValue] {
        guard let elements = arrayValue else { throw .unreadable }
        return elements
    }

    fileprivate func strings() throws(GrammarError) -> [String] {
        var texts: [String] = []
        for element in try elements() { texts.append(try element.string()) }
        return texts
    }

    fileprivate func count() throws(GrammarError) -> Int {
        guard let count = intValue, count >= 0, let small = Int(exactly: count) else {
            throw .unreadable
        }
        return small
    }

    fileprivate func token() throws(GrammarError) -> Int32 {
        guard let number = intValue, number >= 0, let token = Int32(exactly: number) else {
            throw .unreadable
        }
        return token
    }
}
