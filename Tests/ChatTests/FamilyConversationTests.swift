@testable import AutoGLMChat
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMJinja
import AutoGLMText
import Foundation
import TestKit
import Testing

/// A conversation of four turns, with thinking, two calls and their results, through every family's
/// template: prompts as transformers renders a history arranged by hand, and the events of what
/// models write. `make_family_conversations.py` writes the cases.
@Suite struct FamilyConversationTests {
    static let cases = FamilyCase.all

    @Test(arguments: cases) func familyIsRecognised(_ given: FamilyCase) throws {
        guard let text = try given.text(), !given.family.isEmpty else { return }
        #expect(text.familyName == given.family)
    }

    @Test(arguments: cases) func promptsAreThoseOfTransformers(_ given: FamilyCase) throws {
        guard let text = try given.text() else { return }
        for (count, prompt) in zip(FamilyCase.turns, given.prompts) {
            let rendered = try text.render(given.conversation(count), now: FamilyCase.now)
            #expect(rendered.text == prompt)
        }
        guard let unthinking = given.unthinking else { return }
        var conversation = given.conversation(2)
        conversation.thinks = false
        #expect(try text.render(conversation, now: FamilyCase.now).text == unthinking)
    }

    /// Nothing a client wrote becomes a special token, and an added one neither.
    @Test(arguments: cases) func clientTextStaysText(_ given: FamilyCase) throws {
        guard let text = try given.text() else { return }
        let injected = Array(FamilyCase.messages[1].content.utf8)
        let prompt = given.prompts[0]
        guard prompt.contains(FamilyCase.messages[1].content) else { return }
        let tokens = try text.prompt(given.conversation(2), now: FamilyCase.now)
        // Bytes are the tokens 0…255.
        let found = tokens.indices.contains { start in
            tokens[start...].starts(with: injected.map { TokenID($0) })
        }
        #expect(found)
    }

    @Test(arguments: cases) func turnsAreReadAtEverySplit(_ given: FamilyCase) throws {
        guard let text = try given.text() else { return }
        for (prompt, output) in zip(given.prompts, given.outputs) {
            let bytes = Array(output.text.utf8)
            let rules = given.rules(text, prompt: prompt)
            for cut in 0...bytes.count {
                var parser = try #require(rules.parser)
                var events = parser.push(utf8: bytes[..<cut])
                events += parser.push(utf8: bytes[cut...])
                events += parser.finish(endsWithCall: output.endsWithCall(text))
                #expect(Reading(events) == output.reading, "cut at \(cut)")
            }
            var parser = try #require(rules.parser)
            var events = bytes.flatMap { parser.push(utf8: [$0]) }
            events += parser.finish(endsWithCall: output.endsWithCall(text))
            #expect(Reading(events) == output.reading)
        }
    }

    @Test(arguments: cases) func tokensBecomeTheAnswer(_ given: FamilyCase) throws {
        guard let text = try given.text(), let tokenizer = text.tokenizer else { return }
        for (prompt, output) in zip(given.prompts, given.outputs) {
            let tokens = tokenizer.encode(output.text, allowSpecial: true)
            for size in [1, 2, 7, tokens.count] {
                var builder = AnswerBuilder(
                    choice: 0, rules: given.rules(text, prompt: prompt), tokenizer: tokenizer)
                var events = batches(tokens, size, output, tokenizer).flatMap { builder.push($0) }
                let reason = try #require(finish(&events))
                #expect(reason == (output.reading.calls.isEmpty ? .stop : .toolCalls))
                #expect(Reading(events.map(\.part)) == output.reading)
            }
        }
    }

    /// The beginning of a call and what a model adds to it are one call.
    @Test(arguments: cases) func forcedCallIsWhole(_ given: FamilyCase) throws {
        guard let text = try given.text(), let forced = given.forced else { return }
        let prefix = text.family.callFrame(text.evidence)?.prefix("find_route") ?? ""
        #expect(prefix == forced.prefix)
        let call = FamilyCase.messages[2]["tool_calls"]?[1]?["function"]
        let wanted = Reading(
            calls: [.init(name: "find_route", arguments: call?["arguments"]?.stringValue ?? "")])
        let bytes = Array((prefix + forced.text).utf8)
        for cut in 0...bytes.count {
            var parser = try #require(given.rules(text, prompt: "").parser)
            var events = parser.push(utf8: bytes[..<cut]) + parser.push(utf8: bytes[cut...])
            events += parser.finish(endsWithCall: forced.endsWithCall(text))
            #expect(Reading(events) == wanted, "cut at \(cut)")
        }
    }

    /// The same conversation as a Swift program has it: each turn asked for, its calls answered.
    @Test(arguments: cases) func theLibraryTalks(_ given: FamilyCase) async throws {
        guard let text = try given.text(), let tokenizer = text.tokenizer else { return }
        let hasTools = !given.conversation(2).tools.isEmpty
        let tools = try FamilyCase.tools.map { tool in
            let function = tool["function"]
            return try Tool(
                name: function?["name"]?.stringValue ?? "",
                description: function?["description"]?.stringValue ?? "",
                parameters: (function?["parameters"] ?? [:]).serialized())
        }
        for (index, output) in given.outputs.enumerated() {
            let count = FamilyCase.turns[index]
            let stop = try #require(tokenizer.id(of: output.end))
            var script = Script()
            script.tokens = tokenizer.encode(output.text, allowSpecial: true)
            script.stopToken = stop
            let chat = try ScriptedChat(
                script, text: text, vocabulary: tokenizer.vocabularyCount, stops: [stop],
                contextMax: 16_384, blocks: 16_384)
            let messages = FamilyCase.messages.prefix(count).map(FamilyCase.message)
            let answer = try await chat.model.chat(messages, tools: hasTools ? tools : [])
            let message = try await answer.message()
            let reading = Reading(
                content: message.content, reasoning: message.reasoning ?? "",
                calls: message.toolCalls.map { .init(name: $0.name, arguments: $0.arguments) })
            #expect(reading == output.reading)
            chat.model.close()
        }
    }

    private func batches(
        _ tokens: [TokenID], _ size: Int, _ output: FamilyCase.Output, _ tokenizer: Tokenizer
    ) -> [TokenBatch] {
        var all = stride(from: 0, to: tokens.count, by: size).map { start in
            var batch = TokenBatch()
            batch.tokens = tokens[start..<min(start + size, tokens.count)]
                .map { TokenEvent(token: $0) }
            return batch
        }
        var last = TokenBatch()
        last.finish = Finish(
            reason: .stop, stopToken: tokenizer.id(of: output.end), usage: Usage())
        all.append(last)
        return all
    }

    private func finish(_ events: inout [AnswerEvent]) -> AnswerFinish.Reason? {
        guard case .finish(let finish)? = events.popLast()?.part else { return nil }
        return finish.reason
    }
}

/// What a turn holds, however it was cut.
struct Reading: Equatable {
    struct Call: Equatable {
        var name: String
        var arguments: String

        static func == (a: Self, b: Self) -> Bool {
            // As values: the layout of the JSON is the model's own.
            let values = [a, b].map { try? JSONValue.parse($0.arguments) }
            return a.name == b.name && values[0] != nil && values[0] == values[1]
        }
    }
    var content = ""
    var reasoning = ""
    var calls: [Call] = []

    init(content: String = "", reasoning: String = "", calls: [Call] = []) {
        (self.content, self.reasoning, self.calls) = (content, reasoning, calls)
    }

    init(_ events: [TurnEvent]) {
        for event in events {
            switch event {
            case .content(let text): content += text
            case .reasoning(let text): reasoning += text
            case .callStart(_, let name): calls.append(Call(name: name, arguments: ""))
            case .callArguments(let index, let text): calls[index].arguments += text
            case .callEnd: break
            }
        }
    }

    init(_ parts: [AnswerEvent.Part]) {
        var message = ChatMessage(.assistant, "")
        for part in parts { message.take(part) }
        content = message.content
        reasoning = message.reasoning ?? ""
        calls = message.toolCalls.map { Call(name: $0.name, arguments: $0.arguments) }
    }
}

/// An entry of family-conversations.json.
struct FamilyCase: Sendable, CustomTestStringConvertible {
    struct Output: Sendable {
        let text: String
        let end: String
        var prefix = ""
        let reading: Reading

        init(_ value: JSONValue) {
            text = value["text"]?.stringValue ?? ""
            end = value["end"]?.stringValue ?? ""
            prefix = value["prefix"]?.stringValue ?? ""
            reading = Reading(
                content: value["content"]?.stringValue ?? "",
                reasoning: value["reasoning"]?.stringValue ?? "",
                calls: (value["calls"]?.arrayValue ?? []).map {
                    Reading.Call(
                        name: $0["name"]?.stringValue ?? "",
                        arguments: ($0["arguments"] ?? .null).serialized())
                })
        }

        func endsWithCall(_ text: ModelText) -> Bool { text.family.callEnd == end }
    }

    let value: JSONValue
    var name: String { value["name"]?.stringValue ?? "" }
    var testDescription: String { name }
    var family: String { value["family"]?.stringValue ?? "" }
    var prompts: [String] { (value["prompts"]?.arrayValue ?? []).compactMap(\.stringValue) }
    var unthinking: String? { value["unthinking"]?.stringValue }
    var outputs: [Output] { (value["outputs"]?.arrayValue ?? []).map(Output.init) }
    var forced: Output? { value["forced"].map(Output.init) }

    static let now = TemplateDate(year: 2024, month: 7, day: 26, hour: 12, minute: 34, second: 56)
    private static let file: JSONValue = {
        let path = SharedData.repository
            .appendingPathComponent("Tests/ChatTests/family-conversations.json")
        guard let data = try? Data(contentsOf: path) else { return .null }
        return (try? JSONValue.parse([UInt8](data))) ?? .null
    }()
    static let all = (file["entries"]?.arrayValue ?? []).map { FamilyCase(value: $0) }
    static let messages = file["messages"]?.arrayValue ?? []
    static let tools = file["tools"]?.arrayValue ?? []
    /// How many messages a prompt holds.
    static let turns = (file["turns"]?.arrayValue ?? []).compactMap { $0.intValue.map { Int($0) } }

    /// nil where the template lies in data that is not here.
    func text() throws -> ModelText? {
        var source = value["template"]?.stringValue
        if let file = value["file"]?.stringValue {
            let url = SharedData.url("chat-templates/templates/" + file)
            source = try url.map { try String(contentsOf: $0, encoding: .utf8) }
        }
        guard let source else { return nil }
        return try ModelText(
            tokenizer: try tokenizer(), templates: ["default": source], name: name)
    }

    /// Every byte is a token; the family's special tokens follow.
    private func tokenizer() throws -> Tokenizer {
        let special = (value["special"]?.arrayValue ?? []).compactMap(\.stringValue)
        let bytes = ByteLetters.all.map { Array(String($0).utf8) }
        let bos = value["bos"]?.stringValue.flatMap { special.firstIndex(of: $0) }
        let vocabulary = GGUFVocabulary(
            model: "gpt2", pre: "llama-bpe", tokens: bytes + special.map { Array($0.utf8) },
            tokenTypes: bytes.map { _ in 1 } + special.map { _ in 3 },
            // The reader wants merges: this one makes no token there is.
            merges: [Array("a b".utf8)], bosID: bos.map { TokenID(256 + $0) }, eosID: 256)
        return try Tokenizer(gguf: vocabulary, file: name)
    }

    func conversation(_ count: Int) -> Conversation {
        let hasTools = value["forced"] != nil || family.isEmpty
        return Conversation(
            messages: Array(Self.messages.prefix(count)), tools: hasTools ? Self.tools : [])
    }

    /// A message as a Swift program states it.
    static func message(_ value: JSONValue) -> ChatMessage {
        let role = ChatMessage.Role(rawValue: value["role"]?.stringValue ?? "") ?? .user
        var message = ChatMessage(role, value.content)
        message.reasoning = value["reasoning_content"]?.stringValue
        message.toolCallID = value["tool_call_id"]?.stringValue
        message.toolCalls = (value["tool_calls"]?.arrayValue ?? []).map { call in
            ToolCall(
                id: call["id"]?.stringValue ?? "",
                name: call["function"]?["name"]?.stringValue ?? "",
                arguments: call["function"]?["arguments"]?.stringValue ?? "")
        }
        return message
    }

    func rules(_ text: ModelText, prompt: String) -> AnswerBuilder.Rules {
        let tags = text.family.thinking
        let isOpen = tags.isOpen(at: prompt)
        var rules = AnswerBuilder.Rules()
        rules.parser = TurnParser(
            text.family.grammar, tools: ToolSchemas(conversation(2).tools),
            reasoning: isOpen || text.tokenizer?.id(of: tags.close) != nil ? tags : nil,
            startsInReasoning: isOpen)
        rules.callEnd = text.family.callEnd.flatMap { text.tokenizer?.id(of: $0) }
        return rules
    }
}

/// How byte-level tokenizers write bytes.
private enum ByteLetters {
    static let all: [Unicode.Scalar] = {
        let shown = Array(33...126) + Array(161...172) + Array(174...255)
        var next: UInt32 = 256
        return (0...255).map { byte in
            if shown.contains(byte) { return Unicode.Scalar(UInt8(byte)) }
            defer { next += 1 }
            return Unicode.Scalar(next) ?? " "
        }
    }()
}
