import AutoGLMJSON
import TestKit
import Testing

@testable import AutoGLMChat

/// What counts as a call and what does not.
@Suite struct TurnRulesTests {
    private static let tools = TurnParserTests.tools

    private static func read(
        _ text: String, _ family: any Family.Type, endsWithCall: Bool = false
    ) -> TurnReading {
        TurnParserTests.read(text, family, endsWithCall: endsWithCall)
    }

    /// A call of a tool that was not offered is content, without the marks.
    @Test func whatWasNotOfferedIsContent() {
        let glm = "<tool_call>steal\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"
        let reading = Self.read(glm, GLM45.self)
        #expect(reading.calls.isEmpty)
        #expect(reading.content == "steal\na\n1\n")
        let hermes = "<tool_call>{\"name\": \"steal\", \"arguments\": {}}</tool_call>"
        #expect(Self.read(hermes, Hermes.self).calls.isEmpty)
        #expect(
            Self.read(hermes, Hermes.self).content == "{\"name\": \"steal\", \"arguments\": {}}")
        let qwen =
            "<tool_call>\n<function=steal>\n<parameter=a>\n1\n</parameter>\n</function>\n"
            + "</tool_call>"
        #expect(Self.read(qwen, Qwen3Coder.self).calls.isEmpty)
        #expect(!Self.read(qwen, Qwen3Coder.self).content.contains("tool_call>"))
        let mistral = "[TOOL_CALLS]steal[ARGS]{\"a\": 1}"
        #expect(Self.read(mistral, Mistral.self).calls.isEmpty)
        #expect(Self.read(mistral, Mistral.self).content == "steal{\"a\": 1}")
        let line = "steal\n{\"a\": 1}"
        #expect(Self.read(line, GLM4.self, endsWithCall: true).calls.isEmpty)
        #expect(Self.read(line, GLM4.self, endsWithCall: true).content == line)
        let olmo = "<function_calls>steal(a=1)</function_calls>"
        #expect(Self.read(olmo, OLMo.self).content == "steal(a=1)")
        #expect(Self.read(olmo, OLMo.self).calls.isEmpty)
    }

    /// Calls around one that is none are calls all the same.
    @Test func oneBadCallSpoilsNoOther() {
        let good = "<tool_call>{\"name\": \"get\", \"arguments\": {\"a\": 1}}</tool_call>"
        let bad = "<tool_call>{\"name\": \"steal\", \"arguments\": {}}</tool_call>"
        let reading = Self.read(good + bad + good, Hermes.self)
        #expect(reading.calls.map(\.name) == ["get", "get"])
        #expect(!reading.content.contains("tool_call"))
    }

    @Test func malformedMarkupShowsNoMarks() {
        let cases: [(String, any Family.Type)] = [
            ("<tool_call>no call</tool_call>", Hermes.self),
            ("<tool_call>{\"name\": 7}</tool_call>", Hermes.self),
            ("<tool_call></tool_call>", GLM45.self),
            ("<tool_call>get\n<arg_key>a</arg_key></tool_call>", GLM45.self),
            ("<tool_call>no function</tool_call>", Qwen3Coder.self),
            ("<function_calls>get(</function_calls>", OLMo.self),
            ("<tool_call>get\n<arg_key>a</arg_key>\n<arg_value>never closed", GLM45.self),
        ]
        for (text, family) in cases {
            let reading = Self.read("Before. " + text + " After.", family)
            #expect(reading.calls.isEmpty, "\(text)")
            for mark in ["<tool_call>", "</tool_call>", "arg_key>", "function_calls>"] {
                #expect(!reading.content.contains(mark), "\(text): \(reading.content)")
            }
            #expect(reading.content.hasPrefix("Before."))
        }
    }

    /// A closing mark inside an argument is text of the argument.
    @Test func marksInsideArgumentsAreText() {
        let glm =
            "<tool_call>get_weather<arg_key>city</arg_key><arg_value>ends with </tool_call> here"
            + "</arg_value></tool_call>"
        #expect(Self.read(glm, GLM45.self).arguments(0) == ["city": "ends with </tool_call> here"])
        #expect(Self.read(glm, GLM45.self).content.isEmpty)
        let qwen =
            "<tool_call>\n<function=get_weather>\n<parameter=city>\na </tool_call> b\n"
            + "</parameter>\n</function>\n</tool_call>"
        #expect(Self.read(qwen, Qwen3Coder.self).arguments(0) == ["city": "a </tool_call> b"])
        let olmo = "<function_calls>get_weather(city=\"a </function_calls> b\")</function_calls>"
        #expect(Self.read(olmo, OLMo.self).arguments(0) == ["city": "a </function_calls> b"])
        let line = "get_weather\n{\"city\": \"<|assistant|>\"}"
        // There the mark is a token of its own; as text of a string it does not occur.
        #expect(Self.read(line, GLM4.self).calls.map(\.name) == ["get_weather"])
    }

    /// A value that the model forgot to close does not swallow the call behind it.
    @Test func aForgottenClosingTagEndsWithItsCall() {
        let text =
            "<tool_call>get_weather<arg_key>city</arg_key><arg_value>A</tool_call>\n"
            + "<tool_call>get_weather<arg_key>city</arg_key><arg_value>B</arg_value></tool_call>"
        let reading = Self.read(text, GLM45.self)
        #expect(reading.calls.count == 2)
        #expect(reading.arguments(0) == ["city": "A"])
        #expect(reading.arguments(1) == ["city": "B"])
    }

    // MARK: GLM-4

    @Test(arguments: [
        "get\n{\"a\": 1}", "get\r\n{\"a\": 1}", "get \n{\"a\": 1}", "\nget\n{\"a\": 1}",
        " get\t\n{\"a\": 1}", "get\n\n{\"a\": 1}", "get\n {\"a\": 1}",
    ])
    func glm4CallsMayBeUntidy(text: String) {
        let reading = Self.read(text, GLM4.self, endsWithCall: true)
        #expect(reading.calls.map(\.name) == ["get"])
        #expect(reading.arguments(0) == ["a": 1])
        #expect(reading.content.isEmpty)
    }

    @Test(arguments: [
        "get\n```python\ntool_call(a=1)\n```", "get\r\n```python\r\ntool_call(a=1)\r\n```",
        "\nget\n ```python\ntool_call(a=1)\n```", " get \n```python\ntool_call( a = 1 )\n```\n",
        "\n get\t\n\n```\ntool_call(a=1,)```", "get\ntool_call(a=1)",
    ])
    func chatGLM3CallsMayBeUntidy(text: String) {
        let reading = Self.read(text, ChatGLM3.self, endsWithCall: true)
        #expect(reading.calls.map(\.name) == ["get"])
        #expect(reading.arguments(0) == ["a": 1])
        #expect(reading.content.isEmpty)
        let other = text.replacing("get", with: "steal")
        #expect(Self.read(other, ChatGLM3.self, endsWithCall: true).calls.isEmpty)
    }

    @Test(arguments: [
        "get\nis a word.", "get\n{curly", "get\n[1]", "get\n{ not JSON", "get out\n{\"a\": 1}",
        "get", "get\n",
    ])
    func glm4CallsNeedJSON(text: String) {
        let reading = Self.read(text, GLM4.self)
        #expect(reading.calls.isEmpty)
        #expect(reading.content == text)
    }

    @Test func glm4LoneNamesNeedTheTurnsEnd() {
        for text in ["get", "get\n", "\nget\r\n"] {
            #expect(Self.read(text, GLM4.self, endsWithCall: true).calls.map(\.name) == ["get"])
            #expect(Self.read(text, GLM4.self, endsWithCall: true).arguments(0) == [:])
        }
    }

    @Test func glm4EmptyArguments() {
        #expect(Self.read("get\n{}", GLM4.self).calls.map(\.arguments) == ["{}"])
        #expect(Self.read("get\n{ }", GLM4.self).calls.map(\.arguments) == ["{ }"])
    }

    /// Built-in tools of the AllTools form take what is written, as one argument.
    @Test func glm4BuiltInTools() {
        let reading = TurnReading.everySplit("python\nprint(1)\nprint(2)", endsWithCall: true) {
            TurnParserTests.parser(GLM4.self, tools: [["type": "python"]])
        }
        #expect(reading.calls.map(\.name) == ["python"])
        #expect(reading.arguments(0) == ["code": "print(1)\nprint(2)"])
    }

    // MARK: Arguments

    @Test func nullArgumentsAreNone() {
        for arguments in ["null", " null ", "{}", "\"{}\""] {
            let text = "<tool_call>{\"name\": \"get\", \"arguments\": \(arguments)}</tool_call>"
            #expect(Self.read(text, Hermes.self).calls.map(\.arguments) == ["{}"], "\(arguments)")
        }
        let first = "<tool_call>{\"arguments\": null, \"name\": \"get\"}</tool_call>"
        #expect(Self.read(first, Hermes.self).calls.map(\.arguments) == ["{}"])
        let none = "<tool_call>{\"name\": \"get\"}</tool_call>"
        #expect(Self.read(none, Hermes.self).calls.map(\.arguments) == ["{}"])
        let llama = "{\"name\": \"get\", \"parameters\": null}"
        #expect(Self.read(llama, Llama3.self).calls.map(\.arguments) == ["{}"])
    }

    /// What stands where an object should and is none is not taken for no arguments.
    @Test func argumentsThatAreNoObjectAreShown() {
        for (written, read) in [
            ("maybe", "maybe"), ("5", "5"), ("\"half", "\"half"), ("<", "<"), ("null", "{}"),
            ("", "{}"),
        ] {
            // In a string the mark would be text.
            for ending in written == "\"half" ? [""] : ["", "</tool_call>"] {
                let text = "<tool_call>{\"name\": \"get\", \"arguments\": " + written + ending
                #expect(Self.read(text, Hermes.self).calls.map(\.arguments) == [read], "\(text)")
            }
            let llama = "{\"name\": \"get\", \"parameters\": " + written
            #expect(Self.read(llama, Llama3.self).calls.map(\.arguments) == [read], "\(llama)")
        }
    }

    // MARK: Special tokens

    @Test func specialTokensAreMarksOrNothing() {
        var parser = TurnParserTests.parser(Hermes.self, reasoning: ReasoningTags())
        var reading = TurnReading()
        reading.take(parser.push(special: "<think>"))
        reading.take(parser.push("hm"))
        reading.take(parser.push(special: "</think>"))
        reading.take(parser.push("A"))
        for odd in ["<|odd|>", "<|im_start|>", "[INST]", "<arg_key>"] {
            #expect(parser.push(special: odd).isEmpty)
        }
        reading.take(parser.push("B"))
        reading.take(parser.push(special: "<tool_call>"))
        reading.take(parser.push("{\"name\": \"get\", \"arguments\": {\"a\": "))
        reading.take(parser.push(special: "<|odd|>"))
        reading.take(parser.push("1}}"))
        reading.take(parser.push(special: "</tool_call>"))
        reading.take(parser.finish())
        #expect(reading.reasoning == "hm")
        #expect(reading.content == "AB")
        #expect(reading.calls == [.init(name: "get", arguments: "{\"a\": 1}", isEnded: true)])
    }

    @Test func specialMarksOfGLM() {
        var parser = TurnParserTests.parser(GLM45.self, reasoning: ReasoningTags())
        var reading = TurnReading()
        for (text, isSpecial) in [
            ("<think>", true), ("</think>", true), ("Hi.", false), ("<tool_call>", true),
            ("get_weather", false), ("<arg_key>", true), ("days", false), ("</arg_key>", true),
            ("<arg_value>", true), ("3", false), ("</arg_value>", true), ("</tool_call>", true),
        ] {
            reading.take(isSpecial ? parser.push(special: text) : parser.push(text))
        }
        reading.take(parser.finish())
        #expect(reading.content == "Hi." && reading.reasoning.isEmpty)
        #expect(reading.arguments(0) == ["days": 3])
        // Without tags of thinking, they are no text either.
        var plain = TurnParserTests.parser(GLM4.self)
        #expect(plain.push(special: "<think>").isEmpty)
        #expect(plain.push("x") == [.content("x")])
    }
}

/// What a schema makes of a value that was written without quotes.
@Suite struct ArgumentTypesTests {
    private static let root: JSONValue = [
        "type": "object",
        "$defs": [
            "count": ["type": "integer"], "again": ["$ref": "#/$defs/count"],
            "loop": ["$ref": "#/$defs/loop"], "a/b": ["type": "boolean"],
            "point": ["type": "object", "properties": ["x": ["type": "number"]]],
        ],
    ]

    private static func read(_ schema: JSONValue, _ text: String) -> JSONValue {
        ArgumentTypes(schema, root: root).value(text)
    }

    @Test(arguments: [
        (["type": "string"], "12", "12"), (["type": "integer"], "12", 12),
        (["type": "integer"], " 12\n", 12), (["type": "integer"], "3.0", 3),
        (["type": "integer"], "3.5", "3.5"), (["type": "number"], "3.5", 3.5),
        (["type": "number"], "3", 3), (["type": "boolean"], "True", true),
        (["type": "boolean"], "yes", "yes"), (["type": "null"], "null", nil),
        (["type": "array"], "[1, 2]", [1, 2]), (["type": "array"], "{}", "{}"),
        (["type": "object"], "{\"a\": 1}", ["a": 1]), (["type": "object"], "a", "a"),
        ([:], "12", "12"), ([:], "[1]", [1]), ([:], "{\"a\": null}", ["a": nil]),
        // A leading zero is no JSON number: it stays the text it is where texts are admitted.
        (["type": ["string", "integer"]], "007", "007"), (["type": "integer"], "007", 7),
    ] as [(JSONValue, String, JSONValue)])
    func plainTypes(schema: JSONValue, text: String, value: JSONValue) {
        #expect(Self.read(schema, text) == value)
    }

    @Test func integersOfAnySize() {
        #expect(
            Self.read(["type": "integer"], "12345678901234567890123")
                == .bigInt("12345678901234567890123"))
        #expect(
            Self.read(["type": "number"], "-12345678901234567890123")
                == .bigInt("-12345678901234567890123"))
        #expect(Self.read(["type": "integer"], "9223372036854775807") == .int(.max))
        #expect(Self.read(["type": "string"], "12345678901234567890123").stringValue != nil)
    }

    @Test func references() {
        #expect(Self.read(["$ref": "#/$defs/count"], "6") == 6)
        #expect(Self.read(["$ref": "#/$defs/again"], "6") == 6)
        #expect(Self.read(["$ref": "#/$defs/a~1b"], "true") == true)
        #expect(Self.read(["$ref": "#/$defs/point"], "{\"x\": 1}") == ["x": 1])
        // Nowhere, elsewhere, or for ever: nothing is known of the type.
        for reference in ["#/$defs/none", "https://example.org/x", "#/$defs/loop", "#"] {
            #expect(Self.read(["$ref": .string(reference)], "6x") == "6x")
        }
    }

    /// An argument may stand in any part of the schema of all arguments.
    @Test func membersOfParts() {
        let number: JSONValue = ["properties": ["n": ["type": "integer"]]]
        let text: JSONValue = ["properties": ["n": ["type": "string"]]]
        func read(_ schema: JSONValue, _ text: String = "6") -> JSONValue {
            ArgumentTypes(schema, argument: "n").value(text)
        }
        #expect(read(number) == 6 && read(text) == "6")
        #expect(read(["$ref": "#/$defs/all", "$defs": ["all": number]]) == 6)
        #expect(read(["$ref": "#/$defs/all", "$defs": ["all": text]]) == "6")
        #expect(read(["allOf": [["properties": ["m": [:]]], number]]) == 6)
        #expect(read(["anyOf": [number, ["properties": ["m": [:]]]]]) == 6)
        #expect(read(["oneOf": [number, text]]) == 6)
        #expect(read(["oneOf": [number, text]], "six") == "six")
        #expect(read(["additionalProperties": ["type": "integer"]]) == 6)
        #expect(read(["properties": [:], "additionalProperties": false]) == "6")
        let tools = ToolSchemas([
            [
                "name": "get",
                "parameters": ["allOf": [["$ref": "#/$defs/a"]], "$defs": ["a": number]],
            ]
        ])
        #expect(tools.value("6", of: "n", in: "get") == 6)
    }

    /// References that meet again and again are given up, not followed.
    @Test func schemasOfManyPathsAreGivenUp() {
        let ways = JSONValue.array(Array(repeating: ["$ref": "#/$defs/a"], count: 12))
        for key in ["anyOf", "oneOf", "allOf"] {
            let node = JSONValue(members: [(key, ways)])
            let schema: JSONValue = [
                "$defs": ["a": node], "properties": ["n": ["$ref": "#/$defs/a"]],
                "allOf": [["$ref": "#/$defs/a"]],
            ]
            let clock = ThreadClock()
            #expect(ArgumentTypes(schema, argument: "n").value("6") == "6")
            #expect(ArgumentTypes(schema, argument: "m").value("6") == "6")
            #expect(clock.seconds < 1)
        }
    }

    @Test func combinations() {
        #expect(Self.read(["allOf": [["type": "integer"]]], "6") == 6)
        #expect(Self.read(["allOf": [["$ref": "#/$defs/count"], ["minimum": 1]]], "6") == 6)
        #expect(
            Self.read(["allOf": [["type": ["integer", "string"]], ["type": "integer"]]], "6") == 6)
        #expect(
            Self.read(["allOf": [["type": "number"], ["type": "integer"]]], "6.0") == 6)
        for key in ["anyOf", "oneOf"] {
            let union: JSONValue = .object([key: [["type": "string"], ["type": "integer"]]])
            #expect(Self.read(union, "null") == "null")
            #expect(Self.read(union, "12") == 12)
            let optional: JSONValue = .object([key: [["type": "integer"], ["type": "null"]]])
            #expect(Self.read(optional, "null") == nil)
            #expect(Self.read(optional, "12") == 12)
            #expect(Self.read(optional, "x") == "x")
            // One branch says nothing: then nothing is known.
            let open: JSONValue = .object([key: [["type": "integer"], [:]]])
            #expect(Self.read(open, "12") == "12")
        }
        #expect(Self.read(["type": ["integer", "null"]], "null") == nil)
        #expect(Self.read(["type": "string", "nullable": true], "null") == nil)
        #expect(Self.read(["type": "string"], "null") == "null")
        #expect(Self.read(["properties": ["x": [:]]], "{\"x\": 1}") == ["x": 1])
        #expect(Self.read(["items": [:]], "[1]") == [1])
    }

    @Test func constants() {
        #expect(Self.read(["const": 7], "7") == 7)
        #expect(Self.read(["const": 7], "7.0") == 7)
        #expect(Self.read(["const": "7"], "7") == "7")
        #expect(Self.read(["enum": [1, "2", nil]], "1") == 1)
        #expect(Self.read(["enum": [1, "2", nil]], "2") == "2")
        #expect(Self.read(["enum": [1, "2", nil]], "null") == nil)
        #expect(Self.read(["enum": ["a", "b"]], " a\n") == "a")
        // What is none of them stays what was written; the tool's own check says so.
        #expect(Self.read(["enum": ["a", "b"]], "c") == "c")
        #expect(Self.read(["anyOf": [["const": 1], ["const": "x"]]], "1") == 1)
        #expect(Self.read(["anyOf": [["const": 1], ["const": "x"]]], "x") == "x")
    }
}
