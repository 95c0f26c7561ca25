import AutoGLMJSON
import AutoGLMJinja
import AutoGLMText
import Foundation
import TestKit
import Testing

@testable import AutoGLMChat

/// A conversation with two calls, their results and thinking, through every published template at
/// hand: the prompt against Jinja2's rendering of a history arranged as its authors document it.
@Suite struct ConversationTests {
    private static let file = "Tests/ChatTests/conversations.json"

    private static func fixture() throws -> JSONValue {
        let url = SharedData.repository.appendingPathComponent(file)
        return try JSONValue.parse(Array(try Data(contentsOf: url)))
    }

    static let names: [String] = {
        guard SharedData.isPresent, let rendered = try? fixture()["rendered"]?.arrayValue else {
            return []
        }
        return rendered.compactMap { $0["template"]?.stringValue }
    }()

    @Test func thereAreConversations() throws {
        #expect(try Self.fixture()["rendered"]?.arrayValue?.count ?? 0 > 12)
    }

    @Test(.enabled(if: SharedData.isPresent), arguments: names)
    func theHistoryIsArranged(name: String) throws {
        let fixture = try Self.fixture()
        let wanted = try #require(
            fixture["rendered"]?.arrayValue?.first { $0["template"]?.stringValue == name })
        let source = try String(
            contentsOfFile: SharedData.path("chat-templates/templates/\(name).jinja"),
            encoding: .utf8)
        // GLM-4 is known by its special tokens: its template builds them from the roles.
        let tokenizer = name.hasPrefix("glm-4-") ? try ByteVocabulary.tokenizer() : nil
        let given = "{%- set bos_token = '' -%}{%- set eos_token = '' -%}" + source
        let text = try ModelText(tokenizer: tokenizer, templates: ["default": given], name: name)
        #expect(text.familyName == wanted["family"]?.stringValue)
        let conversation = Conversation(
            messages: try #require(fixture["messages"]?.arrayValue),
            tools: try #require(fixture["tools"]?.arrayValue))
        let prompt = try text.render(
            conversation, now: TemplateDate(year: 2024, month: 7, day: 26)
        ).text
        #expect(prompt == wanted["prompt"]?.stringValue)
    }

    /// What a model of each family writes for the second call of the conversation, whose argument
    /// holds a closing tag, quotes and a line break.
    static let written: [(family: String, text: String)] = [
        ("glm-4", "查询包裹\n{\"order_id\": \"A\\\"</tool_call>\\n7\"}"),
        ("glm-4-0414", "查询包裹\n{\"order_id\": \"A\\\"</tool_call>\\n7\"}"),
        (
            "chatglm3",
            "查询包裹\n```python\ntool_call(order_id='A\"</tool_call>\\n7')\n```"
        ),
        (
            "hermes",
            "<tool_call>\n{\"name\": \"查询包裹\", \"arguments\": "
                + "{\"order_id\": \"A\\\"</tool_call>\\n7\"}}\n</tool_call>"
        ),
        (
            "llama-3",
            "{\"name\": \"查询包裹\", \"parameters\": "
                + "{\"order_id\": \"A\\\"</tool_call>\\n7\"}}"
        ),
        ("mistral", "[TOOL_CALLS]查询包裹[ARGS]{\"order_id\": \"A\\\"</tool_call>\\n7\"}"),
        (
            "mistral",
            "[TOOL_CALLS][{\"name\": \"查询包裹\", \"arguments\": "
                + "{\"order_id\": \"A\\\"</tool_call>\\n7\"}}]"
        ),
        (
            "deepseek",
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>查询包裹<｜tool▁sep｜>"
                + "{\"order_id\": \"A\\\"</tool_call>\\n7\"}"
                + "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        ),
        (
            "glm-4.5",
            "<tool_call>查询包裹\n<arg_key>order_id</arg_key>\n"
                + "<arg_value>A\"</tool_call>\n7</arg_value>\n</tool_call>"
        ),
        (
            "qwen3-coder",
            "<tool_call>\n<function=查询包裹>\n<parameter=order_id>\nA\"</tool_call>\n7\n"
                + "</parameter>\n</function>\n</tool_call>"
        ),
        (
            "olmo-3",
            "<function_calls>\n查询包裹(order_id=\"A\\\"</tool_call>\\n7\")\n</function_calls>"
        ),
    ]

    @Test(arguments: written) func theCallIsRead(family: String, text: String) throws {
        let tools = try #require(try Self.fixture()["tools"]?.arrayValue)
        let known = try #require(families.first { $0.name == family })
        for thought in [nil, "Now the parcel."] as [String?] {
            let tags = known.thinking
            let whole = (thought.map { tags.open + $0 + tags.close + "\n" } ?? "") + text
            let reading = TurnReading.everySplit(whole, endsWithCall: true) {
                TurnParser(
                    known.grammar, tools: ToolSchemas(tools), reasoning: tags,
                    startsInReasoning: false)
            }
            #expect(reading.calls.map(\.name) == ["查询包裹"], "\(reading.content)")
            guard !reading.calls.isEmpty else { continue }
            #expect(reading.arguments(0) == ["order_id": "A\"</tool_call>\n7"])
            #expect(reading.reasoning == thought ?? "")
            let isSilent = reading.content.allSatisfy { $0.isWhitespace }
            #expect(isSilent, "\(reading.content)")
        }
    }
}
