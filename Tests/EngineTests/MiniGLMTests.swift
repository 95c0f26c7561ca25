import AutoGLMChat
import AutoGLMEngine
import AutoGLMJSON
import Foundation
import TestKit
import Testing

/// The embedded default model against transformers in f32 (`Tests/Golden/mini-glm`): what it is
/// told, how that is cut into tokens, and what it answers.
@Suite(.timeLimit(.minutes(3))) struct MiniGLMTests {
    struct Golden: Decodable {
        struct Conversation: Decodable {
            var id: String
            var prompt: String
            var promptIDs: [Int32]
            var continuationIDs: [Int32]
            var stopped: Bool
            var smallestMargin: Double
            var topIDs: [Int32]
            var topLogits: [Float]
        }
        var stopIDs: [Int32]
        var conversations: [Conversation]
    }

    let golden: Golden
    /// The same conversations with messages and tools, keys in the order of the file.
    let conversations: [JSONValue]

    init() throws {
        let path = SharedData.repository
            .appendingPathComponent("Tests/Golden/mini-glm/conversations.json")
        let data = try Data(contentsOf: path)
        golden = try JSONDecoder().decode(Golden.self, from: data)
        conversations = try #require(
            try JSONValue.parse(Array(data))["conversations"]?.arrayValue)
    }

    func load() throws -> ChatModel {
        var options = ModelOptions()
        options.engine.compute.precision = .f32
        options.engine.compute.cacheFormat = .f32
        options.engine.cacheBlocks = 512
        return try ChatModel.load(
            directory: SharedData.repository.appendingPathComponent("Models/mini-glm").path,
            options: options)
    }

    @Test func promptsAreTransformersPrompts() throws {
        let model = try load()
        defer { model.engine.shutdown() }
        for (expected, conversation) in zip(golden.conversations, conversations) {
            let messages = try #require(conversation["messages"]?.arrayValue)
            let asked = Conversation(
                messages: messages, tools: conversation["tools"]?.arrayValue ?? [])
            let rendered = try model.text.render(asked)
            #expect(rendered.text == expected.prompt, "\(expected.id)")
            let ids = try model.text.prompt(asked)
            #expect(ids == expected.promptIDs, "\(expected.id)")
        }
    }

    @Test func answersAreTransformersAnswers() async throws {
        let model = try load()
        defer { model.engine.shutdown() }
        for expected in golden.conversations {
            var request = greedy(
                expected.promptIDs, maxTokens: expected.continuationIDs.count)
            request.sampling.topLogprobs = expected.topIDs.count
            let result = await Collected(try model.engine.generate(request))
            var tokens = result.tokens.map(\.token)
            if let stop = result.finish?.stopToken { tokens.append(stop) }
            #expect(tokens == expected.continuationIDs, "\(expected.id)")
            #expect((result.finish?.reason == .stop) == expected.stopped, "\(expected.id)")

            let top = try #require(result.tokens.first).top
            #expect(top.map(\.token) == expected.topIDs, "\(expected.id)")
            for (ours, logit) in zip(top, expected.topLogits) {
                let difference = (ours.logprob - top[0].logprob) - (logit - expected.topLogits[0])
                #expect(abs(difference) < 2e-3, "\(expected.id)")
            }
        }
    }
}
