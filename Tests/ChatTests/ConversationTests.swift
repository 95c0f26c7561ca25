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
}
