import ArgumentParser
import AutoGLM
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMModels
import AutoGLMObservability
import AutoGLMServer
import Foundation
import Logging
import TestKit
import Testing

@testable import AutoGLMCommand

/// The same request through HTTP, the command line and the library gives the same answer, whatever
/// the makers and the operator have set.
@Suite(.serialized, .timeLimit(.minutes(3))) struct OneFrontTests {
    struct Setting: Sendable, CustomTestStringConvertible {
        var makers: String
        /// `serve --temperature …`
        var operators: [String] = []
        var testDescription: String { makers + " " + operators.joined(separator: " ") }
    }

    static let settings = [
        Setting(makers: "{\"do_sample\": false}"),
        Setting(makers: "{\"temperature\": 1.5, \"min_p\": 0.02, \"top_k\": 0}"),
        Setting(makers: "{\"temperature\": 1.5, \"min_p\": 0.9}"),
        Setting(
            makers: "{\"temperature\": 1.5, \"min_p\": 0.9}",
            operators: ["--min-p", "0", "--temperature", "1.9", "--max-tokens", "40"]),
        Setting(makers: "{\"top_p\": 0}", operators: ["--repetition-penalty", "1.3"]),
    ]
    static let question = "Write a short note about rivers."

    /// Mini-GLM with another generation_config.json.
    private func model(_ setting: Setting) throws -> (ChatModel, TemporaryDirectory) {
        let directory = try TemporaryDirectory()
        let source = SharedData.repository.appendingPathComponent("Models/mini-glm")
        for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            try FileManager.default.createSymbolicLink(
                at: directory.url.appendingPathComponent(file),
                withDestinationURL: source.appendingPathComponent(file))
        }
        try setting.makers.write(
            to: directory.url.appendingPathComponent("generation_config.json"),
            atomically: false, encoding: .utf8)
        var options = ModelOptions()
        options.usesFloat32 = true
        options.engine.compute.threads = 1
        options.engine.cacheBlocks = 512
        options.sampling = try SamplingFlags.parse(setting.operators).overrides()
        return (try ChatModel.load(directory: directory.path, options: options), directory)
    }

    /// The tokens and the text of a stream.
    private func read(_ stream: AnswerStream) async throws -> (tokens: [Int32], text: String) {
        var tokens: [Int32] = []
        var text = ""
        while let events = try await stream.next() {
            for event in events {
                tokens += event.tokens.map(\.token)
                if case .content(let more) = event.part { text += more }
            }
        }
        return (tokens, text)
    }

    @Test(arguments: settings) func everyWayGivesTheSame(setting: Setting) async throws {
        let (model, directory) = try model(setting)
        defer {
            model.close()
            _ = directory
        }
        // As `autoglm run --seed 11 --min-tokens 3` does it.
        let words = ["--seed", "11", "--min-tokens", "3", "--max-tokens", "60"]
        var options = AnswerOptions()
        options.sampling = try SamplingFlags.parse(words).overrides()
        let command = try await read(
            try await model.answer(
                Conversation(messages: [ChatMessage(.user, Self.question).json]), options))
        #expect(!command.text.isEmpty)

        var sampling = model.recommendedSampling
        sampling.seed = 11
        sampling.minTokens = 3
        sampling.maxTokens = 60
        let answer = try await model.chat(
            [ChatMessage(.user, Self.question)], sampling: sampling)
        #expect(try await answer.text() == command.text)

        let http = try await post(
            model,
            """
            {"messages":[{"role":"user","content":"\(Self.question)"}],"seed":11,"min_tokens":3,\
            "max_tokens":60,"logprobs":true}
            """)
        let choice = http["choices"]?[0]
        #expect(choice?["message"]?["content"]?.stringValue == command.text)
        let entries = choice?["logprobs"]?["content"]?.arrayValue ?? []
        let bytes = entries.map { $0["bytes"]?.arrayValue?.compactMap(\.intValue) ?? [] }
        let tokenizer = try #require(model.text.tokenizer)
        #expect(bytes == command.tokens.map { tokenizer.tokenBytes($0).map(Int64.init) })
        #expect(http["usage"]?["completion_tokens"]?.intValue == Int64(command.tokens.count))
    }

    /// A form as well, from a file, a request or a program.
    @Test func everyWayHoldsToTheSameForm() async throws {
        let (model, directory) = try model(Self.settings[1])
        defer { model.close() }
        let schema = """
            {"type":"object","required":["open","note"],"additionalProperties":false,\
            "properties":{"open":{"type":"boolean"},"note":{"type":"string","maxLength":20}}}
            """
        let file = directory.url.appendingPathComponent("schema.json")
        try schema.write(to: file, atomically: false, encoding: .utf8)
        var options = AnswerOptions()
        options.sampling = try SamplingFlags.parse(["--seed", "5", "--max-tokens", "90"])
            .overrides()
        options.form = try FormFlags.parse(["--json-schema", file.path]).form()
        let command = try await read(
            try await model.answer(
                Conversation(messages: [ChatMessage(.user, Self.question).json]), options))
        let value = try JSONValue.parse(command.text)
        #expect(value["open"]?.boolValue != nil && value["note"]?.stringValue != nil)

        var sampling = model.recommendedSampling
        sampling.seed = 5
        sampling.maxTokens = 90
        let answer = try await model.chat(
            [ChatMessage(.user, Self.question)], sampling: sampling, form: .jsonSchema(schema))
        #expect(try await answer.text() == command.text)
        let http = try await post(
            model,
            """
            {"messages":[{"role":"user","content":"\(Self.question)"}],"seed":5,"max_tokens":90,\
            "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":\(schema)}}}
            """)
        #expect(http["choices"]?[0]?["message"]?["content"]?.stringValue == command.text)
    }

    /// What nobody asks for is the makers' and the operator's everywhere.
    @Test(arguments: settings) func withoutAWordTheSameDefaultsHold(setting: Setting) async throws {
        let (model, directory) = try model(setting)
        defer {
            model.close()
            _ = directory
        }
        let recommended = model.recommendedSampling
        #expect(model.sampling(AnswerOptions()) == recommended)
        var given = AnswerOptions()
        given.sampling = try SamplingFlags.parse([]).overrides()
        #expect(model.sampling(given) == recommended)
        if setting.operators.isEmpty { return }
        #expect(recommended != SamplingParameters(model.makers))
    }

    /// Serves the model for one request.
    private func post(_ model: ChatModel, _ body: String) async throws -> JSONValue {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        var options = ServerOptions()
        options.port = 0
        options.handlesSignals = false
        options.drainTimeout = .milliseconds(100)
        options.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        options.onListening = { listening.yield($0) }
        let final = options
        let running = Task {
            try await serve(options: final, metrics: ServerMetrics(version: "test")) { _ in model }
        }
        defer { running.cancel() }
        let port = try #require(await ports.first { _ in true })
        let client = try RawClient(port: port)
        await client.post("/v1/chat/completions", body, headers: "Connection: close\r\n")
        let text = await client.read()
        let start = try #require(text.firstRange(of: "\r\n\r\n")).upperBound
        return try JSONValue.parse(String(text[start...]))
    }
}
