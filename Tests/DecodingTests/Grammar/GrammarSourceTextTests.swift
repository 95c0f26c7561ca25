import AutoGLMDecoding
import AutoGLMJSON
import Testing

/// Sources written down and read back, for a process that compiles them again.
@Suite struct GrammarSourceTextTests {
    static let style: MemberStyle = {
        var style = MemberStyle(
            beforeKey: "<k>", afterKey: "</k>\n", afterValue: "ä\u{1}", marks: ["<k>", "</v>"])
        style.tokens = ["<k>": 7, "</k>": 9, "": 0]
        style.linesAreOptional = true
        return style
    }()

    static let schema: JSONValue = [
        "type": "object", "properties": ["b": ["const": 1.0], "a": ["maximum": 1e300, "x": -0.0]],
        "enum": [nil, true, .bigInt("123456789012345678901234567890"), "\u{2028}\u{7F}\u{0}終"],
    ]

    static let expressions: [GrammarExpression] = [
        .literal("a\"\\\n"), .regex("[a-z]{0,2}"), .textWithout(pattern: "^(a|b)\n"),
        .json(schema), .members(schema, style), .special(0), .special(.max),
        .repetition(.literal("x"), least: 0, most: nil),
        .repetition(.literal("x"), least: 2, most: .max), .sequence([]), .choice([]),
        .form(.regex("x")), .form(.schema(schema, keepsKeyOrder: true)),
    ]

    static let sources: [GrammarSource] = [
        .schema(schema), .schema(schema, keepsKeyOrder: true), .schema(true), .anyObject,
        .regex(""), .gbnf("root ::= \"x\""), .choice(["", "a", "\u{1F600}"]), .choice([]),
        .expression(.choice(expressions)),
        .expression(.sequence([.choice(expressions), .sequence(expressions)])),
    ] + expressions.map { .expression($0) }

    @Test(arguments: sources.indices)
    func nothingIsLost(index: Int) throws {
        let source = Self.sources[index]
        let copy = try GrammarSource(text: source.text)
        #expect(copy == source)
        #expect(copy.text == source.text)
    }

    @Test func membersKeepTheirOrder() throws {
        guard case .schema(let copy, true) = try GrammarSource(
            text: GrammarSource.schema(Self.schema, keepsKeyOrder: true).text)
        else {
            Issue.record("another source")
            return
        }
        #expect(copy.serialized() == Self.schema.serialized())
    }

    @Test(arguments: [
        "", "{", "[]", "{}", "null", #"{"schemas":{}}"#, #"{"schema":{}}"#, #"{"regex":1}"#,
        #"{"choice":[1]}"#, #"{"expression":{"special":-1}}"#,
        #"{"expression":{"special":4294967296}}"#, #"{"expression":{"members":{}}}"#,
        #"{"expression":{"repetition":{"literal":"x"},"least":-1,"most":null}}"#,
        #"{"expression":{"form":{"expression":"x"}}}"#,
    ])
    func whatNothingHasWrittenIsRefused(text: String) {
        #expect(throws: GrammarError.self) { try GrammarSource(text: text) }
    }

    /// The reader recurses, and has its limit from the JSON below it.
    @Test func depthHasALimit() {
        let deep = #"{"expression":"# + String(repeating: #"{"sequence":["#, count: 10_000)
        let closed = deep + String(repeating: "]}", count: 10_000) + "}"
        #expect(throws: GrammarError.self) { try GrammarSource(text: closed) }
    }
}
