package import AutoGLMJSON

/// What an answer must look like.
package enum GrammarSource: Sendable, Hashable {
    /// A JSON value that satisfies a schema (2020-12, or drafts 4 to 7). Members come in any order,
    /// or in the schema's, as OpenAI promises for `strict`.
    case schema(JSONValue, keepsKeyOrder: Bool = false)
    /// A whole text that matches a regular expression (RE2's syntax).
    case regex(String)
    /// llama.cpp's grammars; the text is what the rule `root` stands for.
    case gbnf(String)
    case choice([String])
    case expression(GrammarExpression)

    /// Any JSON object: `response_format: {"type": "json_object"}`.
    package static let anyObject = GrammarSource.schema(["type": "object"])

    /// Bytes of source text, for its limit and the cache.
    package var byteCount: Int {
        switch self {
        case .schema(let schema, keepsKeyOrder: _): schema.serialized(.compact).utf8.count
        case .regex(let text), .gbnf(let text): text.utf8.count
        case .choice(let options): options.reduce(0) { $0 + $1.utf8.count }
        case .expression(let expression): expression.byteCount
        }
    }
}

/// The language in which tool formats are written: what stands around values typed by a schema.
/// `<tool_call>NAME` and arguments as XML, say, are
/// `.sequence([.literal("<tool_call>NAME\n"), .members(schema, style), .literal("</tool_call>")])`.
package indirect enum GrammarExpression: Sendable, Hashable {
    case literal(String)
    /// Text that matches as a whole.
    case regex(String)
    /// Text in which no match of a regular expression is found: everything up to a trigger is
    /// `.textWithout(pattern: "<tool_call>")`; `^(a|b)\n` keeps tools' names from beginning it.
    case textWithout(pattern: String)
    /// A JSON value that satisfies a schema.
    case json(JSONValue)
    /// The members of an object that satisfies a schema, in a form that is not JSON.
    case members(JSONValue, MemberStyle)
    /// A token that stands for no text.
    case special(Int32)
    case sequence([GrammarExpression])
    case choice([GrammarExpression])
    case repetition(GrammarExpression, least: Int, most: Int?)
    /// A whole source as a part: thinking may stand before any.
    case form(GrammarSource)

    var byteCount: Int {
        switch self {
        case .literal(let text), .regex(let text), .textWithout(let text): text.utf8.count
        case .json(let schema), .members(let schema, _):
            schema.serialized(.compact).utf8.count
        case .special: 4
        case .sequence(let parts), .choice(let parts): parts.reduce(0) { $0 + $1.byteCount }
        case .repetition(let body, least: _, most: _): body.byteCount
        case .form(let source): source.byteCount
        }
    }
}

extension GrammarExpression {
    /// A text in which these words are tokens without text, and line breaks perhaps left out.
    package static func pieces(
        of text: String, tokens: [String: Int32], linesAreOptional: Bool = false
    ) -> [GrammarExpression] {
        let words = tokens.map { (text: Array($0.key.utf8), token: $0.value) }
        var parts: [GrammarExpression] = []
        var plain: [UInt8] = []
        var rest = Array(text.utf8)[...]
        func flush() {
            if plain.isEmpty { return }
            parts.append(.literal(String(decoding: plain, as: UTF8.self)))
            plain = []
        }
        while let byte = rest.first {
            if let word = words.first(where: { rest.starts(with: $0.text) }) {
                flush()
                parts.append(.special(word.token))
                rest = rest.dropFirst(word.text.count)
            } else if linesAreOptional, byte == 0x0A {
                flush()
                parts.append(.repetition(.literal("\n"), least: 0, most: 1))
                rest = rest.dropFirst()
            } else {
                plain.append(byte)
                rest = rest.dropFirst()
            }
        }
        flush()
        return parts
    }
}

/// What a grammar is for: JSON has many texts for one value.
package enum GrammarStyle: Sendable {
    /// To tell whether a text is of the form: any text of a value is.
    case judging
    /// To lead who writes: integers without point or exponent, which strict readers take for
    /// reals, and no blanks before a colon; lines are indented by 32 columns at most.
    case writing
}
