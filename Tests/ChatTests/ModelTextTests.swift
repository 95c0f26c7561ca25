import AutoGLMJSON
import AutoGLMJinja
import AutoGLMText
import Foundation
import TestKit
import Testing

@testable import AutoGLMChat

/// What clients and makers leave out, or arrange otherwise than a template wants it.
@Suite struct ModelTextTests {
    private static let date = TemplateDate(year: 2024, month: 7, day: 26)
    private static let bare: JSONValue = ["type": "function", "function": ["name": "get"]]
    private static let question: JSONValue = ["role": "user", "content": "Q?"]

    private static func text(published name: String) throws -> ModelText {
        let source = try String(
            contentsOfFile: SharedData.path("chat-templates/templates/\(name).jinja"),
            encoding: .utf8)
        let tokenizer = name.hasPrefix("glm-4-") ? try ByteVocabulary.tokenizer() : nil
        let given = "{%- set bos_token = '' -%}{%- set eos_token = '' -%}" + source
        return try ModelText(tokenizer: tokenizer, templates: ["default": given], name: name)
    }

    private static func call(_ id: String?, _ arguments: String) -> JSONValue {
        let call: JSONValue = [
            "type": "function", "function": ["name": "get", "arguments": .string(arguments)],
        ]
        return id.map { call.setting("id", .string($0)) } ?? call
    }

    private static func result(_ id: String?, _ content: String) -> JSONValue {
        let result: JSONValue = ["role": "tool", "content": .string(content)]
        return id.map { result.setting("tool_call_id", .string($0)) } ?? result
    }

    private static func prompt(
        _ text: ModelText, _ messages: [JSONValue], _ tools: [JSONValue] = []
    ) throws -> String {
        try text.render(Conversation(messages: messages, tools: tools), now: date).text
    }

    // MARK: Tools

    /// Description and parameters are optional in OpenAI's API, and some clients send null.
    @Test(.enabled(if: SharedData.isPresent), arguments: ConversationTests.names)
    func toolsMayBeBare(name: String) throws {
        let text = try Self.text(published: name)
        let null: JSONValue = [
            "type": "function",
            "function": ["name": "other", "description": nil, "parameters": nil],
        ]
        let prompt = try Self.prompt(text, [Self.question], [Self.bare, null])
        #expect(prompt.contains("Q?"))
        #expect(prompt.contains("get") && prompt.contains("other"))
    }

    @Test func nullParametersAreNone() {
        let tool: JSONValue = [
            "type": "function", "function": ["name": "get", "parameters": nil],
        ]
        let text = "<tool_call>get<arg_key>a</arg_key><arg_value>1</arg_value></tool_call>"
        for tools in [[tool], [Self.bare]] {
            let reading = TurnReading.everySplit(text) {
                TurnParserTests.parser(GLM45.self, tools: tools)
            }
            #expect(reading.arguments(0) == ["a": "1"])
        }
        let line = TurnReading.everySplit("get\n{\"a\": 1}") {
            TurnParserTests.parser(GLM4.self, tools: [tool])
        }
        #expect(line.arguments(0) == ["a": 1])
    }

    /// A tool that makes the template fail is told in the family's words.
    @Test func toolsThatFailAreTold() throws {
        let source =
            "{% if tools %}{{ raise_exception('none') }}{% endif %}"
            + "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
            + "<｜tool▁call▁begin｜>{{ c.function.name }}{{ c.function.arguments | tojson }}"
            + "{% endfor %}{% endfor %}"
        let text = try ModelText(tokenizer: nil, templates: ["default": source], name: "d")
        let prompt = try Self.prompt(
            text,
            [
                Self.question, ["role": "assistant", "tool_calls": [Self.call("1", "{\"a\": 1}")]],
                Self.result("1", "R"),
            ], [Self.bare])
        #expect(prompt.contains("## Tools") && prompt.contains("### get"))
        #expect(prompt.contains("<｜tool▁call▁begin｜>get{\"a\": 1}R"))
        // What it raises for another reason is still raised.
        let never = try ModelText(
            tokenizer: nil, templates: ["default": "{{ raise_exception('never') }}"], name: "n")
        #expect(throws: TemplateError.self) { try Self.prompt(never, [Self.question], [Self.bare]) }
    }

    @Test func aTemplateForToolsAloneTakesNone() throws {
        let source = "{% for t in tools %}{{ t | tojson }}{% endfor %}"
            + "{% for m in messages %}{{ m.content }}{% endfor %}"
        let text = try ModelText(tokenizer: nil, templates: ["tool_use": source], name: "t")
        #expect(try Self.prompt(text, [Self.question]) == "Q?")
    }

    // MARK: Turns

    /// Templates that take one call a turn get a turn for each, before its own result.
    @Test(.enabled(if: SharedData.isPresent), arguments: ConversationTests.names)
    func severalCallsOfOneTurn(name: String) throws {
        let text = try Self.text(published: name)
        let calls = [
            Self.call("aB3dE6gH9", "{\"a\": \"erste9\"}"),
            Self.call("zY8xW5vU2", "{\"a\": \"zweite9\"}"),
        ]
        let prompt = try Self.prompt(
            text,
            [
                Self.question,
                ["role": "assistant", "content": nil, "tool_calls": .array(calls)],
                // In the order in which they were ready.
                Self.result("zY8xW5vU2", "R2"), Self.result("aB3dE6gH9", "R1"),
                ["role": "assistant", "content": "A."], Self.question,
            ], [Self.bare])
        for word in ["erste9", "zweite9", "R1", "R2"] {
            let count = prompt.split(separator: word, omittingEmptySubsequences: false).count
            #expect(count == 2, "\(word): \(prompt)")
        }
    }

    @Test(.enabled(if: SharedData.isPresent)) func callsAreSeparated() throws {
        let text = try Self.text(published: "meta-llama-Llama-3.1-8B-Instruct")
        for ids in [["1", "2"], [nil, nil]] as [[String?]] {
            let calls = [Self.call(ids[0], "{\"a\": 1}"), Self.call(ids[1], "{\"b\": 2}")]
            let turn: JSONValue = ["role": "assistant", "content": nil]
            let results = [Self.result(ids[0], "R1"), Self.result(ids[1], "R2")]
            let together = try Self.prompt(
                text, [Self.question, turn.setting("tool_calls", .array(calls))] + results)
            let apart = try Self.prompt(
                text,
                [
                    Self.question, turn.setting("tool_calls", [calls[0]]), results[0],
                    turn.setting("tool_calls", [calls[1]]), results[1],
                ])
            #expect(together == apart)
        }
    }

    /// A template that knows no results and no calls shows both as words.
    @Test func resultsReachEveryModel() throws {
        let source =
            "{% for m in messages %}{% if m.role not in ['user', 'assistant', 'system'] %}"
            + "{{ raise_exception('role') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
        let skips =
            "{% for m in messages %}{% if m.role in ['user', 'assistant'] %}"
            + "[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}"
        for template in [source, skips] {
            let text = try ModelText(tokenizer: nil, templates: ["default": template], name: "p")
            let prompt = try Self.prompt(
                text,
                [
                    Self.question,
                    [
                        "role": "assistant", "content": nil,
                        "tool_calls": [Self.call("1", "{\"a\": 1}")],
                    ],
                    Self.result("1", "R"),
                ])
            #expect(
                prompt == "[user]Q?[assistant]<tool_call>\n"
                    + "{\"name\": \"get\", \"arguments\": {\"a\": 1}}\n</tool_call>"
                    + "[user]R")
        }
    }

    // MARK: Templates by name

    private static let plainTemplate = "plain{% for m in messages %}{{ m.content }}{% endfor %}"
    private static let toolTemplate =
        "tools{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}"

    private static func expectTwo(_ text: ModelText) throws {
        #expect(try prompt(text, [question]) == "plainQ?")
        let withTools = try prompt(text, [question], [bare])
        #expect(withTools.hasPrefix("tools[{") && withTools.hasSuffix("Q?"))
    }

    @Test func toolUseInAList() throws {
        let directory = try TemporaryDirectory()
        let config: JSONValue = [
            "chat_template": [
                ["name": "default", "template": .string(Self.plainTemplate)],
                ["name": "tool_use", "template": .string(Self.toolTemplate)],
            ]
        ]
        try Data(config.serialized().utf8).write(
            to: directory.url.appendingPathComponent("tokenizer_config.json"))
        try Data("{}".utf8).write(to: directory.url.appendingPathComponent("config.json"))
        try Self.expectTwo(ModelText(path: directory.path))
    }

    @Test func toolUseInADirectory() throws {
        let directory = try TemporaryDirectory()
        let folder = directory.url.appendingPathComponent("additional_chat_templates")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (file, source) in [
            ("chat_template.jinja", Self.plainTemplate),
            ("additional_chat_templates/tool_use.jinja", Self.toolTemplate), ("config.json", "{}"),
        ] {
            try Data(source.utf8).write(to: directory.url.appendingPathComponent(file))
        }
        try Self.expectTwo(ModelText(path: directory.path))
    }

    @Test func toolUseInAGGUFFile() throws {
        var writer = GGUFWriter()
        writer.metadata = [
            ("general.architecture", .string("qwen2")), ("qwen2.context_length", .u32(4_096)),
            ("qwen2.embedding_length", .u32(64)), ("qwen2.block_count", .u32(1)),
            ("qwen2.feed_forward_length", .u32(64)), ("qwen2.attention.head_count", .u32(8)),
            ("tokenizer.ggml.model", .string("gpt2")), ("tokenizer.ggml.pre", .string("qwen2")),
            ("tokenizer.ggml.tokens", .strings(["a", "b", "ab"])),
            ("tokenizer.ggml.merges", .strings(["a b"])),
            ("tokenizer.chat_template", .string(Self.plainTemplate)),
            ("tokenizer.chat_template.tool_use", .string(Self.toolTemplate)),
        ]
        let directory = try TemporaryDirectory()
        let path = directory.path + "/m.gguf"
        try Data(writer.file()).write(to: URL(fileURLWithPath: path))
        try Self.expectTwo(ModelText(path: path))
    }

    // MARK: Ends

    /// A role's token ends the turn, whatever the configuration lists; where it begins another
    /// part of the same answer, it does not.
    @Test func roleTokensEndTheTurn() throws {
        let special = [
            "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "[INST]",
            "<｜User｜>",
        ]
        let tokenizer = try ByteVocabulary.tokenizer(extra: special)
        func stops(_ template: String) throws -> Set<TokenID> {
            let text = try ModelText(
                tokenizer: tokenizer, templates: ["default": template], name: "m")
            return Set(text.stopTokens(configured: [], vocabulary: tokenizer.vocabularyCount))
        }
        func ids(_ texts: [String]) -> Set<TokenID> {
            Set(texts.compactMap { tokenizer.id(of: $0) })
        }
        let everywhere = ids([
            "<|user|>", "<|system|>", "<|observation|>", "<|im_start|>", "<|start_header_id|>",
        ])
        #expect(everywhere.count == 5)
        let segment = ids(["<|assistant|>"])
        for (mark, splits) in [
            ("<|observation|>", true), ("<arg_key>", false), ("<tool_call>", false),
            ("<|python_tag|>", false),
        ] {
            let stops = try stops("{% for m in messages %}{{ m.content }}{% endfor %}" + mark)
            #expect(stops.isSuperset(of: everywhere), "\(mark)")
            #expect(stops.isDisjoint(with: segment) == splits, "\(mark)")
        }
        #expect(try stops("[TOOL_CALLS]").isSuperset(of: ids(["[INST]"])))
        #expect(try stops("<｜tool▁call▁begin｜>").isSuperset(of: ids(["<｜User｜>"])))
    }
}
