import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText
import TestKit
import Testing

@testable import AutoGLMChat

/// An answer put together again, whatever its events were cut into.
struct AnswerReading: Equatable {
    struct Call: Equatable {
        var name: String
        var arguments = ""
        var isEnded = false
    }

    var content = ""
    var reasoning = ""
    var calls: [Call] = []
    var tokens: [TokenID] = []
    var prompt: [TokenID] = []
    var finish: AnswerFinish?
    /// Call ids are all different, indices right, nothing follows the end.
    var isOrderly = true
    private var ids: Set<String> = []

    static func == (a: AnswerReading, b: AnswerReading) -> Bool {
        a.content == b.content && a.reasoning == b.reasoning && a.calls == b.calls
            && a.tokens == b.tokens && a.prompt == b.prompt && a.finish == b.finish
            && a.isOrderly == b.isOrderly
    }

    mutating func take(_ events: [AnswerEvent]) {
        for event in events {
            isOrderly = isOrderly && finish == nil
            tokens += event.tokens.map(\.token)
            switch event.part {
            case .content(let text): content += text
            case .reasoning(let text): reasoning += text
            case .callStart(let index, let id, let name):
                isOrderly = isOrderly && index == calls.count && ids.insert(id).inserted
                calls.append(Call(name: name))
            case .callArguments(let index, let text):
                isOrderly = isOrderly && index == calls.count - 1
                calls[index].arguments += text
            case .callEnd(let index):
                isOrderly = isOrderly && index == calls.count - 1
                calls[index].isEnded = true
            case .prompt(let tokens): prompt += tokens.map(\.token)
            case .tokens: isOrderly = isOrderly && !event.tokens.isEmpty
            case .finish(let end): finish = end
            }
        }
    }
}

@Suite struct AnswerBuilderTests {
    private static let tokenizer = Result { try ByteVocabulary.tokenizer() }
    private static let tools: [JSONValue] = [
        ["type": "function", "function": ["name": "get", "parameters": ["type": "object"]]]
    ]

    private typealias Rules = AnswerBuilder.Rules

    private static func bytes(_ text: String) -> [TokenID] { Array(text.utf8).map { TokenID($0) } }

    private static func rules(
        _ family: (any Family.Type)?, thinks: Bool = false, isThinking: Bool = false,
        _ change: (inout Rules) -> Void = { _ in }
    ) -> Rules {
        var rules = Rules()
        if let family {
            rules.parser = TurnParser(
                family.grammar, tools: ToolSchemas(tools),
                reasoning: thinks ? ReasoningTags() : nil,
                startsInReasoning: isThinking)
            rules.callEnd = ByteVocabulary.observation
        }
        change(&rules)
        return rules
    }

    /// Feeds tokens in batches of these sizes, over and over, then the engine's end.
    private static func read(
        _ tokens: [TokenID], _ rules: Rules, sizes: [Int], reason: FinishReason = .stop,
        stopToken: TokenID? = ByteVocabulary.user, endsAlone: Bool = false
    ) throws -> AnswerReading {
        var builder = AnswerBuilder(choice: 3, rules: rules, tokenizer: try tokenizer.get())
        var reading = AnswerReading()
        var rest = tokens[...]
        var turn = 0
        var count = 0
        repeat {
            var batch = TokenBatch()
            if count == 0 { batch.prompt = [TokenEvent(token: 7), TokenEvent(token: 8)] }
            batch.tokens = rest.prefix(sizes[turn % sizes.count]).enumerated().map {
                TokenEvent(token: $1, logprob: -Float(count + $0))
            }
            rest = rest.dropFirst(batch.tokens.count)
            count += batch.tokens.count
            batch.usage.completionTokens = count
            if rest.isEmpty, !endsAlone {
                batch.finish = Finish(reason: reason, stopToken: stopToken, usage: batch.usage)
            }
            let events = builder.push(batch)
            #expect(events.allSatisfy { $0.choice == 3 })
            reading.take(events)
            turn += 1
        } while !rest.isEmpty
        if endsAlone {
            var batch = TokenBatch()
            batch.usage.completionTokens = count
            batch.finish = Finish(reason: reason, stopToken: stopToken, usage: batch.usage)
            reading.take(builder.push(batch))
        }
        #expect(builder.isFinished)
        var more = TokenBatch()
        more.tokens = [TokenEvent(token: 65)]
        #expect(builder.push(more).isEmpty)
        return reading
    }

    /// One token at a time, all at once and in many other batches; all must agree.
    private static func read(
        _ tokens: [TokenID], _ rules: Rules, reason: FinishReason = .stop,
        stopToken: TokenID? = ByteVocabulary.user,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> AnswerReading {
        let single = try read(tokens, rules, sizes: [1], reason: reason, stopToken: stopToken)
        #expect(single.isOrderly, sourceLocation: sourceLocation)
        var random = SplitMix64(seed: UInt64(tokens.count))
        var ways: [[Int]] = [[2], [3], [5], [max(tokens.count, 1)], [1, 7]]
        for _ in 0..<10 { ways.append((0..<9).map { _ in Int.random(in: 1...6, using: &random) }) }
        for sizes in ways {
            for endsAlone in [false, true] {
                let other = try read(
                    tokens, rules, sizes: sizes, reason: reason, stopToken: stopToken,
                    endsAlone: endsAlone)
                #expect(other == single, "batches of \(sizes)", sourceLocation: sourceLocation)
            }
        }
        return single
    }

    // MARK: Text

    @Test func plainText() throws {
        let reading = try Self.read(Self.bytes("Grüß dich, 世界!"), Self.rules(nil))
        #expect(reading.content == "Grüß dich, 世界!")
        #expect(reading.tokens == Self.bytes("Grüß dich, 世界!"))
        #expect(reading.prompt == [7, 8])
        #expect(reading.finish?.reason == .stop)
        #expect(reading.finish?.usage.completionTokens == reading.tokens.count)
    }

    @Test func halfACharacterAtTheEndIsMarked() throws {
        let tokens = Self.bytes("a") + [0xE4, 0xB8]
        for family in [nil, GLM4.self, Hermes.self] as [(any Family.Type)?] {
            let reading = try Self.read(tokens, Self.rules(family), reason: .length, stopToken: nil)
            #expect(reading.content == "a\u{FFFD}")
            #expect(reading.finish?.reason == .length)
            #expect(reading.tokens == tokens)
        }
    }

    /// Whatever the text, every token is reported, once, in order.
    @Test(arguments: [
        ("Hello", GLM4.self), ("\nHello\n\n ", GLM4.self), ("get\n{\"a\": 1}", GLM4.self),
        ("get\nno", GLM4.self), ("ge", GLM4.self), ("  x  ", Hermes.self),
        ("a <tool_call>{\"name\": \"get\", \"arguments\": {}}</tool_call> b", Hermes.self),
        ("a <tool_call>nothing</tool_call> b <tool", Hermes.self),
        ("<think>hm</think>x", GLM45.self), ("{\"name\": \"get\"}", Llama3.self),
        ("", GLM45.self), ("[TOOL_CALLS]get[ARGS]{}", Mistral.self), ("é世", Plain.self),
    ] as [(String, any Family.Type)])
    func tokensAreReportedOnce(text: String, family: any Family.Type) throws {
        for thinks in [false, true] {
            let reading = try Self.read(Self.bytes(text), Self.rules(family, thinks: thinks))
            #expect(reading.tokens == Self.bytes(text))
            #expect(reading.finish?.usage.completionTokens == reading.tokens.count)
        }
    }

    @Test func specialTokensAreNeverContent() throws {
        let tokens =
            [ByteVocabulary.odd] + Self.bytes("a") + [ByteVocabulary.odd, ByteVocabulary.think]
            + Self.bytes("b") + [ByteVocabulary.toolCallEnd, ByteVocabulary.system]
        for family in [nil, GLM4.self, Plain.self, Llama3.self] as [(any Family.Type)?] {
            let reading = try Self.read(tokens, Self.rules(family))
            #expect(reading.content == "ab")
            #expect(reading.reasoning.isEmpty)
            #expect(reading.tokens == tokens)
        }
        let hermes = try Self.read(
            [ByteVocabulary.think] + Self.bytes("hm")
                + [ByteVocabulary.thinkEnd, ByteVocabulary.odd]
                + Self.bytes("x") + [ByteVocabulary.toolCall]
                + Self.bytes("{\"name\": \"get\", \"arguments\": {}}")
                + [ByteVocabulary.toolCallEnd], Self.rules(Hermes.self, thinks: true))
        #expect(hermes.reasoning == "hm" && hermes.content == "x")
        #expect(hermes.calls == [.init(name: "get", arguments: "{}", isEnded: true)])
        #expect(hermes.finish?.reason == .toolCalls)
    }

    // MARK: Stop strings

    @Test func stopStringsEndTheContent() throws {
        let reading = try Self.read(
            Self.bytes("one STOP two"), Self.rules(nil) { $0.stops = ["STOP", "none"] })
        #expect(reading.content == "one ")
        #expect(reading.finish?.reason == .stop)
        #expect(reading.finish?.stopString == "STOP")
        // The stop string's own tokens are no output.
        #expect(reading.tokens == Self.bytes("one "))
    }

    /// A prefix of a stop string that never ends is content after all, its tokens with it.
    @Test func heldTextIsGivenOutAtTheEnd() throws {
        let reading = try Self.read(
            Self.bytes("one STO"), Self.rules(nil) { $0.stops = ["STOP"] })
        #expect(reading.content == "one STO")
        #expect(reading.finish?.stopString == nil)
        #expect(reading.tokens == Self.bytes("one STO"))
    }

    @Test func stopStringsAreNotLookedForInThinking() throws {
        for tokens in [
            Self.bytes("<think>a STOP b</think>x STOP y"),
            [ByteVocabulary.think] + Self.bytes("a STOP b") + [ByteVocabulary.thinkEnd]
                + Self.bytes("x STOP y"),
        ] {
            let reading = try Self.read(
                tokens, Self.rules(GLM45.self, thinks: true) { $0.stops = ["STOP", "think"] })
            #expect(reading.reasoning == "a STOP b")
            #expect(reading.content == "x " || reading.content == "x")
            #expect(reading.finish?.stopString == "STOP")
        }
        let open = try Self.read(
            Self.bytes("a=b</think>b is nine."),
            Self.rules(Hermes.self, thinks: true, isThinking: true) { $0.stops = ["=b"] })
        #expect(open.reasoning == "a=b" && open.content == "b is nine.")
        #expect(open.finish?.stopString == nil)
    }

    @Test func stopStringsAreNotLookedForInCalls() throws {
        for (text, family) in [
            ("get\n{\"a\": \"STOP\"}", GLM4.self),
            ("<tool_call>{\"name\": \"get\", \"arguments\": {\"a\": \"STOP\"}}</tool_call>",
                Hermes.self),
            ("<tool_call>get<arg_key>a</arg_key><arg_value>STOP</arg_value></tool_call>",
                GLM45.self),
        ] as [(String, any Family.Type)] {
            let reading = try Self.read(
                Self.bytes(text),
                Self.rules(family) { $0.stops = ["STOP", "get", "\n", "tool_call", "name"] },
                stopToken: ByteVocabulary.observation)
            #expect(reading.calls.map(\.name) == ["get"], "\(text)")
            #expect(reading.calls.first?.arguments.contains("STOP") == true)
            #expect(reading.finish?.reason == .toolCalls)
            #expect(reading.finish?.stopString == nil)
        }
    }

    /// GLM's own line break behind its role is layout, and no stop.
    @Test func theFirstNewlineOfATurnIsNoStop() throws {
        let reading = try Self.read(
            Self.bytes("\nOpening hours\n Closed"), Self.rules(GLM4.self) { $0.stops = ["\n"] })
        #expect(reading.content == "Opening hours")
        #expect(reading.finish?.stopString == "\n")
    }

    @Test func stopStringsWaitForTheMinimum() throws {
        let reading = try Self.read(
            Self.bytes("aaaaaaaa"),
            Self.rules(nil) { rules in
                rules.stops = ["a"]
                rules.minTokens = 5
            })
        #expect(reading.content == "aaaaa")
        #expect(reading.finish?.stopString == "a")
        #expect(reading.finish?.usage.completionTokens == 6)
        let never = try Self.read(
            Self.bytes("aaaa"),
            Self.rules(nil) { rules in
                rules.stops = ["a"]
                rules.minTokens = 5
            })
        #expect(never.content == "aaaa" && never.finish?.stopString == nil)
    }

    // MARK: Calls

    @Test func oneCallOnly() throws {
        let call = "<tool_call>{\"name\": \"get\", \"arguments\": {}}</tool_call>"
        let tokens = Self.bytes("Well. " + call + "\n" + call + "more")
        let one = try Self.read(
            tokens, Self.rules(Hermes.self) { $0.allowsParallelCalls = false })
        #expect(one.calls == [.init(name: "get", arguments: "{}", isEnded: true)])
        #expect(one.content == "Well.")
        #expect(one.finish?.reason == .toolCalls)
        #expect(one.finish?.usage.completionTokens == ("Well. " + call).utf8.count)
        let two = try Self.read(tokens, Self.rules(Hermes.self))
        #expect(two.calls.count == 2 && two.content.hasSuffix("more"))
    }

    @Test func aForcedCallThatIsNoJSONIsNotFinished() throws {
        func forced(_ text: String, _ stop: TokenID = ByteVocabulary.observation) throws
            -> AnswerReading
        {
            try Self.read(
                Self.bytes(text),
                Self.rules(GLM4.self) { rules in
                    rules.prefix = "get\n"
                    rules.isForced = true
                    rules.allowsParallelCalls = false
                }, stopToken: stop)
        }
        let good = try forced("{\"a\": 1}")
        #expect(good.calls == [.init(name: "get", arguments: "{\"a\": 1}", isEnded: true)])
        #expect(good.finish?.reason == .toolCalls)
        // The prefix was given to the model, not made by it.
        #expect(good.tokens == Self.bytes("{\"a\": 1}"))
        #expect(try forced("").calls.map(\.arguments) == ["{}"])
        #expect(try forced("").finish?.reason == .toolCalls)
        let half = try forced("{\"a\": ")
        #expect(half.calls.map(\.arguments) == ["{\"a\":"])
        #expect(half.finish?.reason == .length)
        // Words in place of arguments are a call all the same, and not finished either.
        for text in ["I would rather not.", "I like {\"x\": 1} and {}.", "[1]", "{x}"] {
            let words = try forced(text, ByteVocabulary.user)
            #expect(words.calls == [.init(name: "get", arguments: text, isEnded: true)])
            #expect(words.content.isEmpty)
            #expect(words.finish?.reason == .length)
        }
        let alone = try forced("", ByteVocabulary.user)
        #expect(alone.calls.map(\.arguments) == ["{}"] && alone.content.isEmpty)
        #expect(alone.finish?.reason == .toolCalls)
    }

    /// Whatever the family, an answer that had to be a call and is none has not finished.
    @Test(arguments: [
        ("<tool_call>get\n", GLM45.self), ("get\n", ChatGLM3.self), ("get\n", GLM40414.self),
        ("<tool_call>\n{\"name\": \"get\", \"arguments\": ", Hermes.self),
        ("<tool_call>\n<function=get>\n", Qwen3Coder.self),
        ("{\"name\": \"get\", \"parameters\": ", Llama3.self),
        ("[TOOL_CALLS]get[ARGS]", Mistral.self),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get<｜tool▁sep｜>", DeepSeek.self),
        ("<function_calls>get(", OLMo.self),
    ] as [(String, any Family.Type)])
    func aForcedCallThatIsNoneIsNotFinished(prefix: String, family: any Family.Type) throws {
        for text in ["I would rather not.", "``", "tool_c", "<"] {
            let reading = try Self.read(
                Self.bytes(text),
                Self.rules(family) { rules in
                    rules.prefix = prefix
                    rules.isForced = true
                    rules.allowsParallelCalls = false
                })
            #expect(reading.isOrderly && reading.calls.allSatisfy(\.isEnded))
            #expect(reading.finish?.reason == .length, "\(text): \(reading)")
            if family.name.hasPrefix("glm-4-") || family.name == "chatglm3" {
                #expect(reading.calls == [.init(name: "get", arguments: text, isEnded: true)])
                #expect(reading.content.isEmpty)
            }
        }
    }

    @Test func aCallCutOffIsNoCallFinished() throws {
        let reading = try Self.read(
            Self.bytes("get\n{\"a\": "), Self.rules(GLM4.self), reason: .length, stopToken: nil)
        #expect(reading.calls.map(\.isEnded) == [true])
        #expect(reading.finish?.reason == .length)
    }

    // MARK: Loops

    private func firstLoop(_ tokens: some Sequence<TokenID>) -> Int? {
        var loops = LoopGuard()
        for (index, token) in tokens.enumerated() where loops.push(token) { return index + 1 }
        return nil
    }

    private func periodic(_ period: Int, _ count: Int) -> [TokenID] {
        (0..<count).map { TokenID(1_000 + $0 % period) }
    }

    @Test(arguments: [1, 2, 7, 64, 127, 128]) func loopsAreNoticed(period: Int) {
        #expect(firstLoop(periodic(period, 383)) == nil)
        #expect(firstLoop(periodic(period, 384)) == 384)
        // Whatever came before.
        let before = (0..<77).map { TokenID(5_000 + $0) }
        #expect(firstLoop(before + periodic(period, 383)) == nil)
        #expect(firstLoop(before + periodic(period, 384)) == 77 + 384)
        // One token in between, and it begins anew.
        #expect(firstLoop(periodic(period, 383) + [9] + periodic(period, 383)) == nil)
    }

    @Test func longPeriodsAreNoLoops() {
        #expect(firstLoop(periodic(129, 5_000)) == nil)
        #expect(firstLoop((0..<5_000).map { TokenID($0) }) == nil)
    }

    @Test func loopsEndTheAnswer() throws {
        let tokens = Self.bytes(String(repeating: "abcdefg", count: 100))
        let reading = try Self.read(tokens, Self.rules(nil))
        #expect(reading.finish?.isLoop == true)
        #expect(reading.finish?.reason == .length)
        #expect(reading.finish?.usage.completionTokens == 384)
        #expect(reading.tokens == Array(tokens.prefix(384)))
        #expect(reading.content.utf8.count == 384)
        let whole = try Self.read(tokens, Self.rules(nil) { $0.guardsLoops = false })
        #expect(whole.finish?.isLoop == false && whole.tokens == tokens)
    }

    // MARK: Without a tokenizer

    @Test func withoutATokenizerThereAreTokensOnly() {
        var builder = AnswerBuilder(choice: 0, rules: .init(), tokenizer: nil)
        var batch = TokenBatch()
        batch.tokens = [TokenEvent(token: 5), TokenEvent(token: 6)]
        batch.finish = Finish(reason: .stop, usage: Usage())
        var reading = AnswerReading()
        reading.take(builder.push(batch))
        #expect(reading.tokens == [5, 6] && reading.content.isEmpty)
        #expect(reading.finish?.reason == .stop)
    }
}

/// Through the real engine: what one request says to it, and several choices in one stream.
@Suite(.timeLimit(.minutes(1))) struct ScriptedAnswerTests {
    private static let hello = Conversation(messages: [["role": "user", "content": "Hi"]])

    private func read(_ stream: AnswerStream) async throws -> [Int: AnswerReading] {
        var readings: [Int: AnswerReading] = [:]
        while let events = try await stream.next() {
            for event in events { readings[event.choice, default: .init()].take([event]) }
        }
        return readings
    }

    @Test func theChoicesOfOneRequestDiffer() throws {
        let chat = try ScriptedChat()
        var options = AnswerOptions()
        try options.sampling.set("seed", text: "7")
        let seeds = (0..<3).map { chat.model.request([1], options, choice: $0).sampling.seed }
        #expect(seeds == [7, 8, 9])
        try options.sampling.set("seed", text: "\(UInt64.max)")
        #expect(chat.model.request([1], options, choice: 1).sampling.seed == 0)
    }

    @Test func everythingSaidReachesTheEngine() throws {
        let chat = try ScriptedChat()
        var options = AnswerOptions()
        options.priority = 9
        options.tenant = "key-1"
        options.deadline = .milliseconds(1_500)
        options.queueTimeout = .milliseconds(250)
        options.promptLogprobs = true
        options.stops = ["x"]
        options.stopTokens = [5]
        options.logitBias = [3: 1]
        options.ignoreEOS = true
        options.topLogprobs = 2
        options.timeline.received = .now
        let request = chat.model.request([1, 2], options, choice: 0)
        #expect(request.prompt == [1, 2])
        #expect(request.priority == 9 && request.tenant == "key-1")
        #expect(request.deadline == .milliseconds(1_500))
        #expect(request.queueTimeout == .milliseconds(250))
        #expect(request.promptLogprobs && request.sampling.ignoreEOS)
        #expect(request.sampling.stopStrings == ["x"] && request.sampling.stopTokens == [5])
        #expect(request.sampling.logitBias == [3: 1] && request.sampling.topLogprobs == 2)
        #expect(request.timeline == options.timeline)
    }

    @Test func severalChoicesComeInOneStream() async throws {
        let chat = try ScriptedChat(Script("one STOP two"))
        var options = AnswerOptions()
        options.choices = 4
        options.stops = ["STOP"]
        let stream = try await chat.model.answer(Self.hello, options)
        #expect(stream.choices == 4)
        let readings = try await read(stream)
        #expect(readings.count == 4)
        for reading in readings.values {
            #expect(reading.content == "one " && reading.finish?.stopString == "STOP")
        }
        // The engine did not know of the stop string, and frees everything all the same.
        for _ in 0..<1_000 where chat.status.blocksUsed > 0 {
            try await Task.sleep(for: .milliseconds(1))
        }
        #expect(chat.status.blocksUsed == 0 && chat.status.running == 0)
    }

    @Test func thePrefixCacheGivesTheSame() async throws {
        let chat = try ScriptedChat()
        var usages: [Int] = []
        for _ in 0..<3 {
            let readings = try await read(try await chat.model.answer(Self.hello, AnswerOptions()))
            #expect(readings[0]?.content == "Hello, world!")
            usages.append(readings[0]?.finish?.usage.cachedTokens ?? -1)
        }
        #expect(usages == [0, 2, 2])
    }

    /// What is likely is known, so its numbers are.
    @Test func logProbabilitiesAreTheKnownOnes() async throws {
        var script = Script("ab")
        script.margin = 2
        let chat = try ScriptedChat(script)
        var options = AnswerOptions()
        try options.sampling.set("temperature", text: "0")
        options.topLogprobs = 2
        let stream = try await chat.model.answer(Self.hello, options)
        var tokens: [TokenEvent] = []
        while let events = try await stream.next() { tokens += events.flatMap(\.tokens) }
        // ln (e² + 266)
        let total = 5.610_885
        #expect(chat.model.facts.vocabulary == 267)
        #expect(tokens.map(\.token) == [97, 98])
        for token in tokens {
            #expect(abs(Double(token.logprob ?? 0) - (2 - total)) < 1e-3)
            #expect(token.top.map(\.token) == [token.token, 0])
            #expect(abs(Double(token.top[1].logprob) + total) < 1e-3)
        }
    }

    @Test func aStepThatFailsEndsItsOwnRequestOnly() async throws {
        var script = Script("Hello, world!")
        script.failAfter = (8, .device("broken on purpose"))
        script.refusesBatches = true
        let chat = try ScriptedChat(script)
        var long = AnswerOptions()
        long.choices = 2
        let stream = try await chat.model.answer(Self.hello, long)
        var short = AnswerOptions()
        try short.sampling.set("max_tokens", text: "5")
        let other = try await read(try await chat.model.answer(Self.hello, short))
        #expect(other[0]?.content == "Hello" && other[0]?.finish?.reason == .length)
        await #expect(throws: GenerationError.stepFailed("broken on purpose")) {
            while try await stream.next() != nil {}
        }
    }

    /// A name that must be chosen costs one token where names part, and none where they do not.
    @Test func toolsAreChosenByTheModel() async throws {
        let chat = try ScriptedChat(Script("beta\n{\"x\": 1}"))
        func tool(_ name: String) -> JSONValue {
            ["type": "function", "function": ["name": .string(name), "parameters": [:]]]
        }
        var conversation = Self.hello
        conversation.tools = [tool("alpha"), tool("beta"), tool("bet")]
        conversation.toolChoice = .required
        let readings = try await read(try await chat.model.answer(conversation, AnswerOptions()))
        #expect(
            readings[0]?.calls
                == [.init(name: "beta", arguments: "{\"x\": 1}", isEnded: true)])
        #expect(readings[0]?.finish?.reason == .toolCalls)
        conversation.toolChoice = .function("alpha")
        let other = try ScriptedChat(Script("{\"y\": 2}"))
        let named = try await read(try await other.model.answer(conversation, AnswerOptions()))
        #expect(
            named[0]?.calls == [.init(name: "alpha", arguments: "{\"y\": 2}", isEnded: true)])
    }
}
