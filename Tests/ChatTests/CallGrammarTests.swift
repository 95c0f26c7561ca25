import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText
import TestKit
import Testing

@testable import AutoGLMChat

/// What the grammar of a turn allows, the family's parser reads as calls whose arguments satisfy
/// their schemas: random walks through the masks, family by family.
@Suite struct CallGrammarTests {
    static let cases = FamilyCase.all.filter { $0.forced != nil }

    static let tools: [JSONValue] = [
        #"{"type":"function","function":{"name":"get_weather","strict":true,"parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":1,"maximum":14},"units":{"enum":["C","F"]},"where":{"type":"object","properties":{"lat":{"type":"number"},"note":{"type":"string"}},"required":["note"]},"tags":{"type":"array","items":{"type":"string","maxLength":20},"maxItems":3},"code":{"anyOf":[{"type":"string","pattern":"^[A-Z]{2,3}$"},{"type":"null"},{"type":"integer"}]}},"required":["city","units"],"additionalProperties":false}}}"#,
        #"{"type":"function","function":{"name":"get_time","strict":true,"parameters":{"type":"object","properties":{"where":{"type":"object","additionalProperties":{"type":["string","boolean"]}}},"required":["where"],"additionalProperties":false}}}"#,
        #"{"type":"function","function":{"name":"ping","strict":true}}"#,
    ].compactMap { try? JSONValue.parse($0) }

    /// Texts that readers look for; walks try them everywhere. Not DeepSeek's end of a call: of
    /// those its reader looks past eight in one string, to stay linear.
    private static let marks = [
        "</arg_value>\n", "</arg_value>", "\n</parameter>\n", "</function>\n", "\"", "}", "]}",
        "</tool_call>", "<arg_key>", "</parameter>", "<parameter=", "<tool_call>", "```", "\n",
        "</think>", "<think>", "[TOOL_CALLS]", "[ARGS]", "get_weather", "get_weather\n",
        "ping\n", "<|assistant|>", "<|python_tag|>", "{\"name\": \"ping\", ", "{\"city\": \"",
        "</arg_key>", "<arg_value>", "city", "units",
    ]

    enum Kind: CaseIterable { case required, named, auto, formed }

    private func conversation(_ kind: Kind, parallel: Bool) -> Conversation {
        var conversation = Conversation(
            messages: [["role": "user", "content": "Hi"]], tools: Self.tools)
        conversation.allowsParallelCalls = parallel
        switch kind {
        case .required: conversation.toolChoice = .required
        case .named: conversation.toolChoice = .function("get_weather")
        case .auto, .formed: conversation.toolChoice = .auto
        }
        return conversation
    }

    @Test(arguments: cases, Kind.allCases)
    func walksAreReadAsCalls(_ given: FamilyCase, _ kind: Kind) async throws {
        guard let text = try given.text(), let tokenizer = text.tokenizer,
            text.family.callFrame(text.evidence)?.isKnown == true
        else { return }
        let vocabulary = tokenizer.vocabularyCount
        let chat = try ScriptedChat(
            Script(), text: text, vocabulary: vocabulary,
            stops: text.stopTokens(configured: [], vocabulary: vocabulary))
        defer { chat.model.close() }
        var options = AnswerOptions()
        if kind == .formed { options.form = OutputForm(.regex("x[0-9]+y"), field: "regex") }
        var ended = 0
        for seed in 0..<40 {
            let conversation = conversation(kind, parallel: seed % 2 == 0)
            let turn = try await chat.model.turn(conversation)
            let constraint = try #require(
                try await chat.model.constraint(conversation, turn, options))
            var walk = Walk(constraint.grammar.makeState(), seed: UInt64(seed), tokenizer)
            try walk.run(marks: Self.marks)
            var builder = AnswerBuilder(
                choice: 0, rules: chat.model.rules(of: turn, conversation, options),
                tokenizer: tokenizer)
            var reading = AnswerReading()
            reading.take(walk.batches.flatMap { builder.push($0) })
            guard walk.isEnded else { continue }
            ended += 1
            let shown = "\(given.name) \(kind) \(seed): \(walk.text.debugDescription)"
            if kind == .required || kind == .named {
                #expect(!reading.calls.isEmpty, "\(shown)")
                let isBlank = reading.content.allSatisfy { $0.isWhitespace }
                #expect(isBlank, "\(shown)")
                #expect(reading.finish?.reason == .toolCalls, "\(shown)")
            }
            if kind == .formed, reading.calls.isEmpty {
                let isFormed = reading.content.wholeMatch(of: /x[0-9]+y/) != nil
                #expect(isFormed, "\(shown)")
            }
            if turn.allowsMoreCalls == false { #expect(reading.calls.count <= 1, "\(shown)") }
            for call in reading.calls { try expect(call, shown) }
        }
        #expect(ended >= 6, "\(given.name) \(kind)")
    }

    private func expect(_ call: AnswerReading.Call, _ shown: String) throws {
        #expect(call.isEnded, "\(shown)")
        let tool = try #require(
            Self.tools.first { $0["function"]?["name"]?.stringValue == call.name })
        let grammar = try Grammar.compile(
            .schema(TurnForm.parameters(of: tool)),
            vocabulary: TokenTrie(tokens: [], endTokens: []))
        var state = grammar.makeState()
        let isValid = state.accept(text: call.arguments.utf8) && state.isComplete
        #expect(isValid, "\(call.arguments) of \(shown)")
    }

    /// What cannot be held to a schema is refused.
    @Test func unknownFormatsAreRefusedWhenStrict() async throws {
        let chat = try ScriptedChat(Script(), template: "<function_calls>{{ messages }}{{ tools }}")
        defer { chat.model.close() }
        #expect(chat.model.text.familyName == "olmo-3")
        var conversation = conversation(.auto, parallel: true)
        await #expect(throws: ChatError.unenforceable(family: "olmo-3", tool: "get_weather")) {
            _ = try await chat.model.answer(conversation, AnswerOptions())
        }
        conversation.toolChoice = .required
        await #expect(throws: ChatError.unenforceable(family: "olmo-3", tool: "get_weather")) {
            _ = try await chat.model.answer(conversation, AnswerOptions())
        }
    }
}

/// A random way through a grammar's masks.
struct Walk {
    private var state: GrammarState
    private let random: CounterRandom
    private var draws = 0
    private let tokenizer: Tokenizer
    private(set) var tokens: [TokenID] = []
    private(set) var stop: TokenID?
    private(set) var isEnded = false

    init(_ state: GrammarState, seed: UInt64, _ tokenizer: Tokenizer) {
        self.state = state
        random = CounterRandom(seed: seed)
        self.tokenizer = tokenizer
    }

    private mutating func below(_ limit: Int) -> Int {
        draws += 1
        return Int(random.bits(at: draws) % UInt64(limit))
    }

    private static let ends: Set<String> = [
        "<|observation|>", "<|user|>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>",
        "</s>", "<｜end▁of▁sentence｜>",
    ]

    private func ends(_ token: TokenID) -> Bool {
        tokenizer.isSpecial(token)
            && Self.ends.contains(String(decoding: tokenizer.tokenBytes(token), as: UTF8.self))
    }

    mutating func run(marks: [String]) throws {
        var mask = TokenMask(count: state.tokenCount)
        for step in 0..<800 {
            if state.isFinished { return isEnded = true }
            if state.isComplete, below(step > 200 ? 2 : 8) == 0 { return isEnded = true }
            if below(step > 200 ? 2 : 4) == 0, take(marks) { continue }
            try state.fill(&mask)
            let allowed = mask.allowed
            let token = allowed[below(allowed.count)]
            if ends(token) {
                stop = token
                return isEnded = true
            }
            // Most bytes are halves of characters; letters say as much.
            if token >= 0x80, token < 256, below(8) != 0, allowed.contains(0x61) { continue }
            let isRead = state.accept(token)
            #expect(isRead)
            tokens.append(token)
        }
    }

    private mutating func take(_ marks: [String]) -> Bool {
        // A long text is to end: what closes something goes first.
        let start = tokens.count > 400 ? 0 : below(marks.count)
        for offset in marks.indices {
            let mark = marks[(start + offset) % marks.count]
            var fork = state
            guard fork.accept(text: mark.utf8) else { continue }
            state = fork
            tokens += tokenizer.encode(mark)
            return true
        }
        return false
    }

    var text: String { tokenizer.decode(tokens, skipSpecial: false) }

    var batches: [TokenBatch] {
        var batch = TokenBatch()
        batch.tokens = tokens.map { TokenEvent(token: $0) }
        batch.finish = Finish(reason: .stop, stopToken: stop, usage: Usage())
        return [batch]
    }
}
