import AutoGLM
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMChat
import Foundation
import TestKit
import Testing

@Suite(.enabled(if: SharedData.isPresent), .timeLimit(.minutes(3))) struct ChatModelTests {
    func load(_ path: String, _ change: (inout EngineOptions) -> Void = { _ in }) throws
        -> ChatModel
    {
        var options = ModelOptions()
        options.engine.compute.precision = .f32
        options.engine.compute.cacheFormat = .f32
        options.engine.compute.threads = 2
        options.engine.cacheBlocks = 256
        change(&options.engine)
        return try ChatModel.load(directory: SharedData.path(path), options: options)
    }

    /// A whole answer: its content, its output tokens, its end.
    private func collect(
        _ stream: AnswerStream
    ) async throws -> (text: String, tokens: [TokenEvent], finish: AnswerFinish?) {
        var text = ""
        var tokens: [TokenEvent] = []
        var finish: AnswerFinish?
        while let events = try await stream.next() {
            for event in events {
                tokens += event.tokens
                switch event.part {
                case .content(let more): text += more
                case .finish(let end): finish = end
                default: break
                }
            }
        }
        return (text, tokens, finish)
    }

    private func greedyOptions(maxTokens: Int) throws -> AnswerOptions {
        var options = AnswerOptions()
        try options.sampling.set("temperature", text: "0")
        try options.sampling.set("max_tokens", text: "\(maxTokens)")
        return options
    }

    struct Reference: Decodable {
        struct Prompt: Decodable {
            struct Greedy: Decodable { var tokens: [Int32] }
            var input_ids: [Int32]
            var greedy: Greedy?
        }
        var prompts: [Prompt]
    }

    /// The whole way from files to tokens gives what transformers gives.
    @Test(arguments: ["glm4-9b-chat-hf", "glm4-0414-32b", "glm45-air-moe", "llama3", "qwen2"])
    func greedyTokensAreTheReferences(name: String) async throws {
        let model = try load("reference-models/\(name)")
        let path = SharedData.path("reference-models/\(name)/reference.json")
        let reference = try JSONDecoder().decode(
            Reference.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        for prompt in reference.prompts {
            guard let expected = prompt.greedy?.tokens else { continue }
            var request = greedy(prompt.input_ids, maxTokens: expected.count)
            request.sampling.ignoreEOS = true
            let result = await Collected(try model.engine.generate(request))
            #expect(result.tokens.map(\.token) == expected)
        }
        model.engine.shutdown()
    }

    struct Chats: Decodable {
        struct Chat: Decodable {
            struct Message: Decodable {
                var role: String
                var content: String
            }
            var messages: [Message]
            var rendered: String
            var input_ids: [Int32]
            var greedy_tokens: [Int32]
            var greedy_text: String
            var top5_logprobs: [[[Double]]]
        }
        var chats: [Chat]
    }

    /// GLM-4's real vocabulary (151,552 rows), tokenizer and template: messages in, text out.
    @Test func chatsAreTheReferences() async throws {
        let directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("autoglm-chat-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        for part in ["reference-models/glm4-real-tokenizer", "tokenizers/glm-4-9b-chat"] {
            let files = try FileManager.default.contentsOfDirectory(
                atPath: SharedData.path(part))
            for file in files where part.hasPrefix("ref") || file.hasPrefix("tokenizer") {
                try FileManager.default.createSymbolicLink(
                    atPath: directory.appendingPathComponent(file).path,
                    withDestinationPath: SharedData.path("\(part)/\(file)"))
            }
        }
        var options = ModelOptions()
        options.engine.compute.precision = .f32
        options.engine.compute.cacheFormat = .f32
        options.engine.cacheBlocks = 256
        let model = try ChatModel.load(directory: directory.path, options: options)
        #expect(model.text.familyName == "glm-4")
        #expect(Set([151329, 151336, 151338]).isSubset(of: model.engine.shape.stopTokens))
        #expect(model.engine.shape.vocabulary == 151343)
        let url = directory.appendingPathComponent("reference.json")
        let reference = try JSONDecoder().decode(Chats.self, from: Data(contentsOf: url))
        for chat in reference.chats { try await expect(model, gives: chat) }

        var modelOptions = ModelOptions()
        modelOptions.usesFloat32 = true
        modelOptions.cacheBytes = 16 << 20
        let facade = try Model.load(directory: directory.path, options: modelOptions)
        var sampling = SamplingParameters.greedy
        sampling.ignoreEOS = true
        sampling.maxTokens = 64
        let answer = try await facade.chat(
            [ChatMessage(.user, "Hello, who are you?")], sampling: sampling)
        #expect(try await answer.text() == reference.chats[0].greedy_text)
        facade.close()

        let weather: JSONValue = [
            "type": "function",
            "function": ["name": "get_weather", "parameters": ["type": "object"]],
        ]
        let prompt = try model.text.render(
            Conversation(messages: [["role": "user", "content": "<|user|>"]], tools: [weather]))
        #expect(prompt.text.contains("## get_weather"))
        let ids = try model.text.prompt(
            Conversation(messages: [["role": "user", "content": "<|user|>"]]))
        #expect(ids.count { $0 == 151336 } == 1)
        model.engine.shutdown()
    }

    private func expect(_ model: ChatModel, gives chat: Chats.Chat) async throws {
        let messages = chat.messages.map { message -> JSONValue in
            ["role": .string(message.role), "content": .string(message.content)]
        }
        let conversation = Conversation(messages: messages)
        #expect(try model.text.render(conversation).text == chat.rendered)
        let ids = try model.text.prompt(conversation)
        #expect(ids == chat.input_ids)
        var options = try greedyOptions(maxTokens: chat.greedy_tokens.count)
        options.ignoreEOS = true
        options.topLogprobs = 5
        let (text, tokens, _) = try await collect(try model.complete([ids], options))
        #expect(tokens.map(\.token) == chat.greedy_tokens)
        #expect(try model.text.decode(tokens.map(\.token)) == chat.greedy_text)
        // Special tokens are no text.
        let tokenizer = try #require(model.text.tokenizer)
        #expect(text == tokenizer.decode(tokens.map(\.token).filter { !tokenizer.isSpecial($0) }))
        for (token, top) in zip(tokens, chat.top5_logprobs) {
            // Theirs are shares of all rows, padding included; ratios do not depend on that.
            let best = (mine: token.top[0].logprob, theirs: top[0][1])
            for (mine, theirs) in zip(token.top, top) {
                let difference = Double(mine.logprob - best.mine) - (theirs[1] - best.theirs)
                #expect(abs(difference) < 2e-3)
            }
        }
    }

    @Test func storiesAreTold() async throws {
        let model = try load("models/stories260K/stories260K-F32.gguf")
        let prompt = try model.text.encode("Once upon a time", addSpecial: true)
        var options = try greedyOptions(maxTokens: 60)
        options.ignoreEOS = true
        let whole = try await collect(try model.complete([prompt], options))
        #expect(whole.text.contains("there was"))
        #expect(whole.tokens.count == 60)

        // Stop strings cut the text before them and end the request.
        options.stops = ["there was"]
        let cut = try await collect(try model.complete([prompt], options))
        #expect(cut.finish?.reason == .stop)
        #expect(cut.finish?.stopString == "there was")
        #expect(whole.text.hasPrefix(cut.text + "there was"))
        #expect((cut.finish?.usage.completionTokens ?? 60) < 60)
        await expectIdle(model.engine)

        #expect(throws: ChatError.missingTemplate(model: model.facts.name)) {
            try model.text.prompt(Conversation(messages: [["role": "user", "content": "Hi"]]))
        }
        model.engine.shutdown()
    }

    @Test func limitsOfMemoryAndContextAreNamed() throws {
        #expect(throws: LoadError.contextTooLong(tokens: 5000, limit: 2048)) {
            try load("reference-models/llama3") { $0.contextMax = 5000 }
        }
        #expect(throws: LoadError.cacheTooSmall(tokens: 0, needed: 16)) {
            try load("reference-models/llama3") { options in
                options.cacheBlocks = nil
                options.cacheBytes = 100
            }
        }
        let first = try load("reference-models/llama3")
        let again = try load("reference-models/llama3")
        let other = try load("reference-models/qwen2")
        #expect(first.facts.fingerprint == again.facts.fingerprint)
        #expect(first.facts.fingerprint != other.facts.fingerprint)
        #expect(first.facts.created > 1_600_000_000)
    }
}

@Suite struct ReadmeTests {
    /// The README's examples are the files that these tests compile.
    @Test(arguments: ["ReadmeExample", "ReadmeFormExample"])
    func theExampleIsTheOneInTheReadme(name: String) throws {
        let root = SharedData.repository
        let example = try String(
            contentsOf: root.appendingPathComponent("Tests/EngineTests/\(name).swift"),
            encoding: .utf8)
        let readme = try String(
            contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
        #expect(readme.contains("```swift\n" + example + "```"))
    }

    @Test func theAnswerIsDecoded() async throws {
        let model = try Model.load(
            directory: SharedData.repository.appendingPathComponent("Models/mini-glm").path)
        defer { model.close() }
        let order = try await order(in: "Three red lamps, please.", model: model)
        #expect((1...99).contains(order.count))
        #expect(order.item.unicodeScalars.count <= 40)

        var sampling = model.recommendedSampling
        sampling.maxTokens = 4
        let message = [ChatMessage(.user, "Three red lamps, please.")]
        let cut = try await model.chat(message, sampling: sampling, form: .jsonObject)
        await #expect(throws: CutAnswerError(tokens: 4)) { try await cut.decoded(as: Order.self) }
        let choice = OutputForm.choice(["open", "closed"])
        let word = try await model.chat(message, form: choice).text()
        #expect(["open", "closed"].contains(word))
        let code = try await model.complete("The code is ", form: .regex("[A-Z]{3}-[0-9]{4}"))
        #expect(try await code.text().wholeMatch(of: /[A-Z]{3}-[0-9]{4}/) != nil)
        #expect(throws: GrammarError.invalid(
            reason: "a JSON Schema is an object, not an array", path: "#")
        ) { try OutputForm.jsonSchema("[]") }
        await #expect(throws: (any Error).self) {
            try await model.chat(message, form: .regex("(?=a)b"))
        }
    }
}
