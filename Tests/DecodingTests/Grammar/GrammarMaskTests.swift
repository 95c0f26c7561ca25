import AutoGLMDecoding
import AutoGLMJSON
import AutoGLMText
import Foundation
import TestKit
import Testing

@Suite struct GrammarMaskTests {
    static let glmArguments = MemberStyle(
        beforeKey: "<arg_key>", afterKey: "</arg_key>\n<arg_value>", afterValue: "</arg_value>\n")

    private static func weather() throws -> JSONValue {
        try JSONValue.parse(
            #"""
            {"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer",
            "minimum":1,"maximum":14},"units":{"enum":["C","F"]},"where":{"type":"object",
            "properties":{"lat":{"type":"number"}},"required":["lat"],"additionalProperties":false}},
            "required":["city"],"additionalProperties":false}
            """#)
    }

    private static func sources() throws -> [GrammarSource] {
        let schemas = [
            "true", #"{"type":"object"}"#,
            #"{"type":"object","properties":{"name":{"enum":["abc","ab","中文"]},"na":{"type":"string","maxLength":4}},"required":["na"],"additionalProperties":false}"#,
            #"{"type":"array","items":{"type":"integer","minimum":7,"maximum":1234},"minItems":2,"maxItems":3}"#,
            #"{"type":"array","items":{"enum":["aa","ab","b",null,1]},"uniqueItems":true,"minItems":4}"#,
            #"{"type":"string","pattern":"^(ab|中)+é?$","maxLength":9}"#,
            #"{"type":"number","minimum":-1.25,"exclusiveMaximum":0.5}"#,
            #"{"type":"number","multipleOf":0.25,"minimum":1,"maximum":3}"#,
            #"{"type":"object","patternProperties":{"^a{2,3}$":{"type":"null"}},"additionalProperties":false,"minProperties":1}"#,
            #"{"type":"object","minProperties":2,"maxProperties":2,"propertyNames":{"maxLength":3},"required":["abc"]}"#,
            #"{"type":"array","contains":{"type":"string"},"minContains":2,"maxContains":2,"maxItems":4}"#,
            #"{"not":{"type":["object","array","string"]}}"#,
            #"{"type":"array","uniqueItems":true,"items":{"type":"string"}}"#,
            #"{"type":"array","uniqueItems":true,"minItems":3}"#,
            #"{"type":"object","additionalProperties":{"type":"integer"},"minProperties":3}"#,
            #"{"type":"string","pattern":"^[a-z]+(\\\\|\")?$","minLength":3,"maxLength":5}"#,
            #"{"type":"object","properties":{"na":{"type":"null"}},"patternProperties":{"^a":{"type":"integer"},"b$":{"minimum":3}},"additionalProperties":false}"#,
            #"{"anyOf":[{"type":"array","uniqueItems":true},{"items":{"type":"integer"}}],"type":"array"}"#,
        ]
        var sources: [GrammarSource] = try schemas.map { .schema(try JSONValue.parse($0)) }
        sources.append(.regex("(ab|aa)+c?[0-9]{2,4}"))
        sources.append(.choice(["abc", "ab", "name", "中文"]))
        sources.append(.gbnf("root ::= \"[[\" item (\", \" item)* \"]\" \"]\"\nitem ::= [a-c]+ | \"{\\\"\" item"))
        sources.append(.expression(.sequence([
            .literal("<tool_call>f\n"), .members(try weather(), glmArguments),
        ])))
        sources.append(.schema(try weather(), keepsKeyOrder: true))
        return sources
    }

    /// Random legal walks: at each place the mask is what asking every token by itself says, some
    /// token is always legal, and a copy of the state is a fork.
    @Test func masksAreExactAndHaveNoDeadEnds() throws {
        let trie = Grammars.fewTokens
        let random = CounterRandom(seed: 7)
        var draw = 0
        for source in try Self.sources() {
            let grammar = try Grammars.compile(source, trie)
            var mask = TokenMask(count: trie.tokenCount)
            for _ in 0..<12 {
                var state = grammar.makeState()
                var text = ""
                for _ in 0..<40 {
                    do { try state.fill(&mask) } catch {
                        Issue.record("\(error): \(source) after \(text)")
                        break
                    }
                    for token in 0..<Int32(trie.tokenCount) {
                        #expect(mask[token] == state.allows(token), "\(source) token \(token)")
                    }
                    #expect(mask[0] == state.isComplete)
                    let allowed = mask.allowed.filter { $0 != 0 }
                    if allowed.isEmpty { break }
                    let token = allowed[Int(random.bits(at: draw) % UInt64(allowed.count))]
                    draw += 1
                    text += String(decoding: trie.bytes(of: token), as: UTF8.self)
                    let fork = state
                    let read68 = state.accept(token)
                    #expect(read68)
                    if draw % 7 == 0 { #expect(fork.allows(token)) }
                }
            }
        }
    }

    /// The same with the tokens of GLM-4, of which a sample is asked by itself.
    @Test(.enabled(if: SharedData.isPresent)) func masksOfARealVocabularyAreExact() throws {
        let tokenizer = try Tokenizer.load(directory: SharedData.path("tokenizers/glm-4-9b-chat"))
        let trie = TokenTrie(tokens: (0..<Int32(tokenizer.vocabularyCount)).map {
            tokenizer.isSpecial($0) ? [] : tokenizer.tokenBytes($0)
        }, endTokens: [151_329])
        let random = CounterRandom(seed: 3)
        var draw = 0
        for source in try Self.sources().prefix(8) {
            let grammar = try Grammars.compile(source, trie)
            var mask = TokenMask(count: trie.tokenCount)
            for _ in 0..<2 {
                var state = grammar.makeState()
                for _ in 0..<8 {
                    try state.fill(&mask)
                    for token in stride(from: Int32(draw % 5), to: Int32(trie.tokenCount), by: 5) {
                        if mask[token] != state.allows(token) {
                            Issue.record("\(source) token \(token)")
                        }
                    }
                    let allowed = mask.allowed.filter { $0 != 151_329 }
                    if allowed.isEmpty { break }
                    state.accept(allowed[Int(random.bits(at: draw) % UInt64(allowed.count))])
                    draw += 1
                }
            }
        }
    }

    @Test func forcedTextIsAllThatCanCome() throws {
        let grammar = try Grammars.schema(
            #"{"type":"object","properties":{"city":{"const":"Paris"}},"required":["city"],"additionalProperties":false}"#)
        var state = grammar.makeState()
        #expect(state.forcedText() == Array("{".utf8))
        let read110 = state.accept(text: "{\"".utf8)
        #expect(read110)
        #expect(state.forcedText() == Array("city\"".utf8))
        let read113 = state.accept(text: "city\": \"".utf8)
        #expect(read113)
        #expect(state.forcedText() == Array("Paris\"".utf8))
        #expect(!state.isComplete)
        let read117 = state.accept(text: "Paris\"}".utf8)
        #expect(read117)
        #expect(state.isFinished)
    }

    @Test func argumentsAsXML() throws {
        let grammar = try Grammars.compile(.expression(.sequence([
            .literal("<tool_call>get_weather\n"), .members(try Self.weather(), Self.glmArguments),
            .literal("</tool_call>"),
        ])))
        func call(_ members: (String, String)...) -> String {
            "<tool_call>get_weather\n" + members.map {
                "<arg_key>\($0.0)</arg_key>\n<arg_value>\($0.1)</arg_value>\n"
            }.joined() + "</tool_call>"
        }
        #expect(Grammars.accepts(grammar, call(("city", "São \"Paulo\" < 3"))))
        #expect(Grammars.accepts(grammar, call(("days", "3"), ("city", "x"), ("units", "C"))))
        #expect(Grammars.accepts(grammar, call(("city", "x"), ("where", #"{"lat": 1.5}"#))))
        #expect(!Grammars.accepts(grammar, call(("days", "3"))))
        #expect(!Grammars.accepts(grammar, call(("city", "x"), ("days", "15"))))
        #expect(!Grammars.accepts(grammar, call(("city", "x"), ("days", "\"3\""))))
        #expect(!Grammars.accepts(grammar, call(("city", "x"), ("units", "K"))))
        #expect(!Grammars.accepts(grammar, call(("city", "x"), ("city", "y"))))
        #expect(!Grammars.accepts(grammar, call(("city", "x</arg_value>\n"))))
    }

    /// Free text until a trigger, special tokens, and a call that is decided by the first line.
    @Test func framesAroundText() throws {
        let trie = Grammars.fewTokens
        let call = GrammarExpression.sequence([
            .literal("name\n"), .json(["type": "object"]), .special(0),
        ])
        let grammar = try Grammars.compile(
            .expression(.choice([call, .textWithout(pattern: "^name\n")])), trie)
        var state = grammar.makeState()
        let read152 = state.accept(text: "name".utf8)
        #expect(read152)
        #expect(state.isComplete)
        let read155 = state.accept(text: "\n{}".utf8)
        #expect(read155)
        #expect(!state.isFinished)
        #expect(state.allows(0))
        let read159 = state.accept(0)
        #expect(read159)
        #expect(state.isFinished)
        #expect(Grammars.accepts(grammar, "names\n{"))
        #expect(!Grammars.accepts(grammar, "name\nx"))

        let until = try Grammars.compile(.expression(.sequence([
            .textWithout(pattern: "<tool_call>"), .literal("<tool_call>"), .literal("f"),
        ])))
        #expect(Grammars.accepts(until, "a <tool_cal <tool_call>f"))
        #expect(!Grammars.accepts(until, "a <tool_call>g"))
    }

    @Test func grammarsOfLlamaCpp() throws {
        let tree = try Grammars.compile(.gbnf("root ::= \"(\" root* \")\" # nested\n"))
        #expect(Grammars.accepts(tree, "(()(()))"))
        #expect(!Grammars.accepts(tree, "(()"))
        let counted = try Grammars.compile(.gbnf("root ::= x{2,3} \"!\"\nx ::= [a-z] | \"(\" root? \")\""))
        #expect(Grammars.accepts(counted, "ab!"))
        for (text, code) in [
            ("root ::= root \"a\" | \"b\"", "grammar_unsupported"), ("x ::= \"a\"", "grammar_invalid"),
            ("root ::= y", "grammar_invalid"), ("root ::= \"a", "grammar_invalid"),
            ("root ::= \"a\" root", "grammar_unsatisfiable"),
        ] {
            #expect { try Grammars.compile(.gbnf(text)) } throws: { error in
                (error as? GrammarError)?.code == code
            }
        }
    }

    @Test(.enabled(if: SharedData.isPresent)) func grammarsOfTheReferenceData() throws {
        let folder = try #require(SharedData.url("grammars/gbnf"))
        func grammar(_ name: String) throws -> Grammar {
            try Grammars.compile(.gbnf(try String(
                contentsOf: folder.appendingPathComponent(name), encoding: .utf8)))
        }
        #expect(Grammars.accepts(try grammar("json.gbnf"), #"{"a": [1, -2.5, "x\n", null], "b": {}}"#))
        #expect(!Grammars.accepts(try grammar("json.gbnf"), #"{"a": [1, }"#))
        #expect(Grammars.accepts(try grammar("json_arr.gbnf"), "[\n1,\n2]"))
        #expect(Grammars.accepts(try grammar("list.gbnf"), "- one\n- two\n"))
        #expect(Grammars.accepts(try grammar("japanese.gbnf"), "こんにちは 世界"))
        #expect(Grammars.accepts(try grammar("english.gbnf"), "Hello, world!"))
    }

    @Test func theCacheIsBounded() throws {
        let cache = GrammarCache(vocabulary: Grammars.noTokens, countMax: 3)
        let first = try cache.grammar(for: .regex("a"))
        #expect(try cache.grammar(for: .regex("a")) === first)
        for count in 1...5 { _ = try cache.grammar(for: .regex("b{\(count)}")) }
        #expect(cache.count == 3)
        #expect(try cache.grammar(for: .regex("a")) !== first)
    }

    @Test func compilationCanBeCancelled() throws {
        let enumeration = JSONValue.array((0..<30_000).map { .string("v\($0)") })
        #expect(throws: GrammarError.cancelled) {
            try Grammar.compile(
                .schema(["enum": enumeration]), vocabulary: Grammars.noTokens, isCancelled: { true })
        }
    }

    /// A machine that has grown too large is replaced, and the sequence goes on where it was.
    @Test func longTextsOutliveTheirMachine() throws {
        let grammar = try Grammars.compile(
            .schema(["type": "string", "maxLength": 200_000]), Grammars.fewTokens)
        var state = grammar.makeState()
        var mask = TokenMask(count: Grammars.fewTokens.tokenCount)
        let read226 = state.accept(text: "\"".utf8)
        #expect(read226)
        for _ in 0..<3 {
            let read229 = state.accept(text: String(repeating: "ab", count: 20_000).utf8)
            #expect(read229)
            try state.fill(&mask)
            #expect(mask[0] == false && mask[1 + 0x22])
        }
        let read234 = state.accept(text: "\"".utf8)
        #expect(read234)
        #expect(state.isFinished)
    }
}
