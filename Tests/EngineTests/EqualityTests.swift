import AutoGLMCompute
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMModels
import TestKit
import Testing

/// A request's tokens and log-probabilities are the same bit for bit, whatever else the engine
/// does: alone, in company, in any chunks, from the prefix cache, after preemption, on any number
/// of threads.
@Suite(.enabled(if: SharedData.isPresent), .serialized, .timeLimit(.minutes(5)))
struct EqualityTests {
    static let requestCount = 50
    static let vocabulary: Int32 = 1000

    struct Setting: Sendable, CustomTestStringConvertible {
        var model: String
        var precision: ComputePrecision
        var cache: CacheFormat
        var testDescription: String { "\(model) \(precision) cache \(cache)" }
    }

    static let settings: [Setting] = [
        Setting(model: "glm4-9b-chat-hf", precision: .f32, cache: .f32),
        Setting(model: "glm4-9b-chat-hf", precision: .bf16, cache: .bf16),
        Setting(model: "glm4-0414-9b", precision: .bf16, cache: .bf16),
        Setting(model: "glm45-moe", precision: .f32, cache: .f32),
        Setting(model: "glm45-moe", precision: .bf16, cache: .bf16),
        Setting(model: "qwen3", precision: .bf16, cache: .bf16),
    ]

    /// Prompts of 1 to 150 tokens; every fifth shares a long beginning with others.
    static let requests: [GenerationRequest] = {
        var random = SplitMix64(seed: 2024)
        let shared = (0..<100).map { _ in Int32.random(in: 0..<vocabulary, using: &random) }
        return (0..<requestCount).map { index in
            let count = Int.random(in: 1...(index % 7 == 0 ? 150 : 40), using: &random)
            var prompt = (0..<count).map { _ in Int32.random(in: 0..<vocabulary, using: &random) }
            if index % 5 == 0 { prompt = shared + prompt.prefix(20) }
            var request = GenerationRequest(prompt: prompt)
            // Some grow far beyond the blocks they start with.
            request.sampling.maxTokens = Int.random(
                in: 4...(index % 4 == 0 ? 80 : 20), using: &random)
            request.sampling.ignoreEOS = true
            request.sampling.topLogprobs = 2
            request.sampling.seed = UInt64(index)
            if index % 2 == 0 { request.sampling.temperature = 0 }
            if index % 3 == 0 { request.sampling.repetitionPenalty = 1.2 }
            request.sampling.topP = 0.95
            return request
        }
    }()

    private func load(
        _ setting: Setting, threads: Int = 2, _ change: (inout EngineOptions) -> Void
    ) throws -> LoadedEngine {
        var options = EngineOptions()
        options.compute.precision = setting.precision
        options.compute.cacheFormat = setting.cache
        options.compute.threads = threads
        options.cacheBlocks = 1000
        change(&options)
        return try LoadedEngine(
            ModelSource(SharedData.path("reference-models/\(setting.model)")), options: options,
            vocabulary: nil, stopTokens: [])
    }

    private func oneByOne(_ model: LoadedEngine) async throws -> [Collected] {
        var results: [Collected] = []
        for request in Self.requests {
            results.append(await Collected(try model.engine.generate(request)))
        }
        return results
    }

    private func allAtOnce(_ model: LoadedEngine) async throws -> [Collected] {
        let streams = try Self.requests.map { try model.engine.generate($0) }
        var results: [Collected] = []
        for stream in streams { results.append(await Collected(stream)) }
        return results
    }

    private func expectEqual(_ results: [Collected], _ expected: [Collected], _ way: String) {
        for (index, (result, expected)) in zip(results, expected).enumerated() {
            #expect(
                result.tokens == expected.tokens && result.error == nil,
                "request \(index), \(way)")
        }
    }

    @Test(arguments: settings) func theSameBitsInEveryWay(setting: Setting) async throws {
        let plain = try load(setting) { $0.prefixCache = false }
        let alone = try await oneByOne(plain)
        #expect(alone.allSatisfy { $0.finish?.reason == .length })
        #expect(Set(alone.map { $0.tokens.map(\.token) }).count > Self.requestCount / 2)
        expectEqual(try await allAtOnce(plain), alone, "batched")
        await expectIdle(plain.engine)
        plain.engine.shutdown()

        let chunked = try load(setting) { options in
            options.sequencesMax = 4
            options.stepTokens = 7
        }
        expectEqual(try await allAtOnce(chunked), alone, "in chunks of 7")
        let hits = try await oneByOne(chunked)
        expectEqual(hits, alone, "from the prefix cache")
        for usage in hits.compactMap(\.finish?.usage) {
            #expect(usage.cachedTokens == (usage.promptTokens - 1) / 16 * 16)
        }
        chunked.engine.shutdown()

        let tight = try load(setting, threads: 1) { options in
            options.cacheBlocks = 17
            options.sequencesMax = 16
            options.stepTokens = 33
        }
        expectEqual(try await allAtOnce(tight), alone, "one thread, preempted")
        #expect(tight.engine.status.preemptions > 0)
        await expectIdle(tight.engine)
        tight.engine.shutdown()
    }
}
