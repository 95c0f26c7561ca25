import AutoGLMChat
import AutoGLMEngine
import AutoGLMObservability
import Foundation
import Hummingbird
import TestKit
import Testing

@testable import AutoGLMServer

/// The whole way, with a small trained model: socket, tokenizer, engine, weights and back.
@Suite(.serialized, .enabled(if: SharedData.url("models/stories260K") != nil))
struct LoadedModelTests {
    private func server() throws -> (ChatModel, ModelServer) {
        let metrics = ServerMetrics(version: "test")
        var options = ModelOptions()
        options.name = "stories"
        options.engine.onStep = { metrics.record($0) }
        let model = try ChatModel.load(
            directory: SharedData.path("models/stories260K/stories260K-F32.gguf"),
            options: options)
        return (model, try ModelServer(model: model, options: .test(), metrics: metrics))
    }

    @Test func completes() async throws {
        let (model, server) = try server()
        defer { model.close() }
        try await server.test { client in
            let body = #"{"prompt":"Once upon a time","max_tokens":24,"temperature":0"#
            let whole = try await client.post("/v1/completions", body + "}")
            let text = try #require(whole.choices.first?["text"] as? String)
            #expect(text.utf8.count > 20)
            #expect(whole.choices.first?["finish_reason"] as? String == "length")
            let stream = try await client.post("/v1/completions", body + #","stream":true}"#)
            let pieces = stream.events.data.compactMap {
                ($0["choices"] as? [[String: Any]])?.first?["text"] as? String
            }
            #expect(pieces.joined() == text)
            #expect(stream.events.isDone)

            let many = try await client.post(
                "/v1/completions", body + #","n":4,"logprobs":2,"echo":true}"#)
            #expect(many.choices.count == 4)
            for choice in many.choices {
                #expect((choice["text"] as? String) == "Once upon a time" + text)
                let logprobs = choice["logprobs"] as? [String: Any]
                let values = (logprobs?["token_logprobs"] as? [Any])?.dropFirst() ?? []
                #expect(values.allSatisfy { ($0 as? Double ?? 1) <= 0 })
            }
            let long = try await client.post(
                "/v1/completions", #"{"prompt":"x","max_tokens":100000}"#)
            #expect(long.status == 400 && long.code == "context_length_exceeded")
        }
        #expect(await eventually { model.engine.status.blocksUsed == 0 })
    }

    @Test func tokensRoundTrip() async throws {
        let (model, server) = try server()
        defer { model.close() }
        try await server.test { client in
            let tokens = try await client.post("/v1/tokenize", #"{"prompt":"Once upon a time"}"#)
            let ids = try #require(tokens.json["tokens"] as? [Int])
            let text = try await client.post("/v1/detokenize", #"{"tokens":\#(ids)}"#)
            #expect((text.json["prompt"] as? String)?.hasSuffix("Once upon a time") == true)
            let out = try await client.post("/v1/detokenize", #"{"tokens":[512]}"#)
            #expect(out.status == 400)
            // It has no chat template, and says so.
            let chat = try await client.chat()
            #expect(chat.status == 400 && chat.code == "chat_template_missing")
        }
    }

    @Test func clientsThatLeaveFreeTheirBlocks() async throws {
        let (model, server) = try server()
        defer { model.close() }
        try await server.test { client in
            for index in 0..<50 {
                let raw = try RawClient(port: client.port)
                await raw.post(
                    "/v1/completions",
                    #"{"prompt":"Once","max_tokens":400,"ignore_eos":true,"stream":true}"#)
                if index.isMultiple(of: 2) { _ = await raw.read(until: "data: ") }
                raw.leave()
            }
            #expect(
                await eventually(within: .seconds(10)) {
                    model.engine.status.blocksUsed == 0 && model.engine.status.running == 0
                })
        }
        #expect(await eventually { server.state.open == 0 })
    }
}
