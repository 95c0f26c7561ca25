@testable import AutoGLMChat
import AutoGLMJSON
import Foundation
import OrderedCollections
import TestKit
import Testing

@Suite struct TurnParserTests {
    static let tools: [JSONValue] = [
        [
            "type": "function",
            "function": [
                "name": "get_weather",
                "parameters": [
                    "type": "object",
                    "properties": [
                        "city": ["type": "string"], "days": ["type": "integer"],
                        "units": ["type": "array"],
                    ],
                ],
            ],
        ],
        ["type": "function", "function": ["name": "get", "parameters": ["type": "object"]]],
    ]

    static func read(
        _ text: String, _ family: any Family.Type, tools: [JSONValue]? = tools,
        reasoning: ReasoningTags? = nil, startsInReasoning: Bool = false,
        endsWithCall: Bool = false
    ) -> TurnReading {
        TurnReading.everySplit(text, endsWithCall: endsWithCall) {
            TurnParser(
                family.grammar, tools: ToolSchemas(tools), reasoning: reasoning,
                startsInReasoning: startsInReasoning)
        }
    }

    static func parser(
        _ family: any Family.Type, tools: [JSONValue]? = tools, reasoning: ReasoningTags? = nil
    ) -> TurnParser {
        TurnParser(
            family.grammar, tools: ToolSchemas(tools), reasoning: reasoning,
            startsInReasoning: false)
    }

    // MARK: GLM-4

    @Test func glm4Answer() {
        let reading = Self.read("\n你好，get_weather\n{}", GLM4.self)
        #expect(reading.content == "你好，get_weather\n{}")
        #expect(reading.calls.isEmpty)
    }

    @Test func glm4Call() {
        let reading = Self.read("get_weather\n{\"city\": \"北京\"}", GLM4.self)
        #expect(reading.content.isEmpty)
        #expect(
            reading.calls == [
                .init(name: "get_weather", arguments: "{\"city\": \"北京\"}", isEnded: true)
            ])
    }

    /// A name that begins another name, and a line that is no tool's name.
    @Test(arguments: ["get", "get_weather"]) func glm4NamesByWholeLine(name: String) {
        #expect(Self.read("\(name)\n{}", GLM4.self).calls.map(\.name) == [name])
        #expect(Self.read("\(name)x\n{}", GLM4.self).calls.isEmpty)
        #expect(Self.read("\(name)x\n{}", GLM4.self).content == "\(name)x\n{}")
    }

    @Test func glm4SeveralCallsAndAnAnswer() {
        let text =
            "get_weather\n{\"city\": \"A\"}\n<|assistant|>get\n{\"a\": 1}<|assistant|>\nDone."
        let reading = Self.read(text, GLM4.self)
        #expect(reading.calls.map(\.name) == ["get_weather", "get"])
        #expect(reading.calls.map(\.arguments) == ["{\"city\": \"A\"}", "{\"a\": 1}"])
        #expect(reading.content == "Done.")
    }

    @Test func glm4LoneName() {
        #expect(Self.read("get", GLM4.self, endsWithCall: true).calls.map(\.name) == ["get"])
        let answered = Self.read("get", GLM4.self, endsWithCall: false)
        #expect(answered.calls.isEmpty && answered.content == "get")
    }

    @Test func glm4WithoutTools() {
        let reading = Self.read("\nget\n{}", GLM4.self, tools: [])
        #expect(reading.content == "get\n{}" && reading.calls.isEmpty)
    }

    @Test func glm4AfterThinking() {
        let reading = Self.read(
            "I should call.</think>\n\nget\n{}", GLM4.self, reasoning: ReasoningTags(),
            startsInReasoning: true)
        #expect(reading.reasoning == "I should call.")
        #expect(reading.content == "get\n{}" || reading.calls.map(\.name) == ["get"])
    }

    // MARK: Others

    @Test func chatGLM3() {
        let text =
            "get_weather\n ```python\n"
            + "tool_call(city='北京', days=3, units=[\"C\", None])\n```"
        let reading = Self.read(text, ChatGLM3.self)
        #expect(reading.calls.map(\.name) == ["get_weather"])
        #expect(
            reading.arguments(0) == ["city": "北京", "days": 3, "units": ["C", nil]])
        #expect(Self.read("\n 你好", ChatGLM3.self).content == "你好")
    }

    @Test func glmXMLTypes() {
        let text =
            "\n<think>hm</think>\nLet me look.\n<tool_call>get_weather\n<arg_key>city</arg_key>\n"
            + "<arg_value>12</arg_value>\n<arg_key>days</arg_key>\n<arg_value>12</arg_value>\n"
            + "<arg_key>units</arg_key>\n<arg_value>[\"C\"]</arg_value>\n</tool_call>"
        let reading = Self.read(text, GLM45.self, reasoning: ReasoningTags())
        #expect(reading.reasoning == "hm")
        #expect(reading.content == "Let me look.")
        #expect(reading.arguments(0) == ["city": "12", "days": 12, "units": ["C"]])
    }

    @Test func hermes() {
        let text =
            "Sure.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": \"}\\\"</tool\"}}\n"
            + "</tool_call>\n<tool_call>\n{\"arguments\": {\"b\": [1, {}]}, \"name\": \"get\"}\n"
            + "</tool_call>\n<tool_call>{\"name\": \"get\", \"arguments\": \"{\\\"c\\\": 1}\"}"
            + "</tool_call><tool_call>no call</tool_call>"
        let reading = Self.read(text, Hermes.self)
        let wanted = ["{\"a\": \"}\\\"</tool\"}", "{\"b\": [1, {}]}", "{\"c\": 1}"]
        #expect(reading.calls.map(\.arguments) == wanted)
        #expect(reading.content == "Sure.no call")
    }

    /// Arguments are reported as they come, not at the end.
    @Test func hermesStreamsArguments() {
        var parser = Self.parser(Hermes.self, tools: nil)
        var reading = TurnReading()
        reading.take(parser.push("<tool_call>{\"name\": \"f\", \"arguments\": {\"text\": \"abc"))
        #expect(reading.calls.map(\.arguments) == ["{\"text\": \"abc"])
        reading.take(parser.push("def\"}}</tool_call>"))
        let arguments = "{\"text\": \"abcdef\"}"
        #expect(reading.calls == [.init(name: "f", arguments: arguments, isEnded: true)])
    }

    /// A mark inside a string of the arguments is text.
    @Test func hermesKeepsMarksInStrings() {
        let arguments = "{\"code\": \"</tool_call>\"}"
        let text = "<tool_call>{\"name\": \"get\", \"arguments\": \(arguments)}</tool_call>"
        #expect(Self.read(text, Hermes.self).calls.map(\.arguments) == [arguments])
    }

    @Test func llama3() {
        let call = "{\"name\": \"get\", \"parameters\": {\"a\": 1}}"
        #expect(Self.read(call, Llama3.self).calls.map(\.arguments) == ["{\"a\": 1}"])
        #expect(Self.read("\(call); \(call)", Llama3.self).calls.count == 2)
        #expect(Self.read("<|python_tag|>\(call)", Llama3.self).calls.count == 1)
        let other = "{\"name\": \"Alice\", \"age\": 3} is JSON"
        #expect(Self.read(other, Llama3.self).content == other)
        #expect(Self.read(call, Llama3.self, tools: []).content == call)
        #expect(Self.read("Hello {x}", Llama3.self).content == "Hello {x}")
    }

    @Test func familiesAreDetected() throws {
        func family(_ template: String, _ special: [String] = []) -> String {
            let evidence = FamilyEvidence(templates: [template], addedTokens: special)
            return families.first { $0.recognises(evidence) }?.name ?? ""
        }
        let expected: [(String, any Family.Type)] = [
            ("GLM-4.5", GLM45.self), ("GLM-4.7-Flash", GLM45.self),
            ("Qwen-Qwen3-0.6B", Hermes.self), ("Qwen3-Coder", Qwen3Coder.self),
            ("meta-llama-Llama-3.1-8B-Instruct", Llama3.self),
            ("Mistral-Small-3.2-24B-Instruct-2506", Mistral.self),
            ("deepseek-ai-DeepSeek-V3.1", DeepSeek.self),
            ("microsoft-Phi-3.5-mini-instruct", Plain.self),
        ]
        for (name, wanted) in expected {
            guard let url = SharedData.url("chat-templates/templates/\(name).jinja") else { return }
            let source = try String(contentsOf: url, encoding: .utf8)
            #expect(family(source) == wanted.name, "\(name)")
        }
        let glm = ["<|user|>", "<|observation|>", "<sop>"]
        #expect(family("", glm) == GLM4.name)
        #expect(family("", glm + ["sop"]) == ChatGLM3.name)
    }

    @Test func openReasoningIsSeenInThePrompt() {
        #expect(ReasoningTags().isOpen(at: "<|assistant|>\n<think>\n"))
        #expect(!ReasoningTags().isOpen(at: "<|assistant|>\n<think></think>"))
    }

    // MARK: Properties

    /// Every ground truth of a public benchmark, written in a format and read back.
    @Test(
        .enabled(if: SharedData.isPresent),
        arguments: [GLM45.self, GLM4.self, Hermes.self] as [any Family.Type])
    func roundTrip(family: any Family.Type) throws {
        let url = try #require(SharedData.url("tool-calling/bfcl/simple_python.jsonl"))
        let lines = try String(contentsOf: url, encoding: .utf8).split(separator: "\n").prefix(150)
        var count = 0
        for line in lines {
            let row = try JSONValue.parse(String(line))
            guard let function = row["function"]?[0] ?? row["functions"]?[0],
                let name = function["name"]?.stringValue,
                let truth = (row["ground_truth"] ?? row["answer"])?[0]?[name]?.objectValue
            else { continue }
            // Each argument lists the values accepted; "" means that it may be left out.
            let arguments = truth.compactMapValues { $0[0] == "" ? nil : $0[0] }
            count += 1
            let json = JSONValue.object(arguments).serialized()
            var text = ""
            switch family.name {
            case GLM4.name: text = "\(name)\n\(json)"
            case Hermes.name:
                text = "<tool_call>\n{\"name\": \"\(name)\", \"arguments\": \(json)}\n</tool_call>"
            default:
                text = "<tool_call>\(name)\n"
                for (key, value) in arguments {
                    let shown = value.stringValue ?? value.serialized()
                    text += "<arg_key>\(key)</arg_key>\n<arg_value>\(shown)</arg_value>\n"
                }
                text += "</tool_call>"
            }
            var parser = Self.parser(family, tools: [["function": function]])
            var reading = TurnReading()
            for byte in text.utf8 { reading.take(parser.push(utf8: [byte])) }
            reading.take(parser.finish())
            #expect(reading.calls.map(\.name) == [name])
            if family.name != GLM45.name {
                #expect(reading.arguments(0) == .object(arguments), "\(text)")
            }
        }
        #expect(count == 150)
    }

    /// One byte per chunk, half-open tags and unfinished JSON: time grows with length.
    @Test(arguments: [
        ("{\"a\":", Hermes.self), ("<tool_call>{\"a\":", Hermes.self),
        ("<tool_call", GLM45.self), ("<tool_call>f<arg_key>", GLM45.self), ("get\n{", GLM4.self),
        ("{\"a\":", Llama3.self), ("<think>", GLM45.self), ("[TOOL_CALLS]{", Mistral.self),
        (" ", GLM45.self),
        ("<tool_call>f<arg_key>a</arg_key><arg_value></tool_call>", GLM45.self),
        ("<function_calls>f('</function_calls>", OLMo.self), ("get \n", GLM4.self),
    ] as [(String, any Family.Type)])
    func linearTime(unit: String, family: any Family.Type) {
        func seconds(_ size: Int) -> Double {
            let bytes = Array(String(repeating: unit, count: size / unit.utf8.count).utf8)
            var parser = Self.parser(family, tools: Self.tools, reasoning: ReasoningTags())
            let clock = ThreadClock()
            for byte in bytes { _ = parser.push(utf8: CollectionOfOne(byte)) }
            _ = parser.finish()
            return clock.seconds
        }
        _ = seconds(1000)
        let small = min(seconds(10_000), seconds(10_000))
        let large = min(seconds(40_000), seconds(40_000))
        // Four times the text: linear is 4, quadratic is 16.
        #expect(large / small < 8, "\(unit): \(small) s, then \(large) s")
    }
}
