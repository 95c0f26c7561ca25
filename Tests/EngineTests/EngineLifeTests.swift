import AutoGLMDecoding
import AutoGLMEngine
import TestKit
import Testing

/// Everything a stream gave.
struct Collected: Sendable {
    var prompt: [TokenEvent] = []
    var tokens: [TokenEvent] = []
    var finish: Finish?
    var error: GenerationError?

    init(_ stream: TokenStream) async {
        do throws(GenerationError) {
            while let batch = try await stream.next() {
                prompt += batch.prompt
                tokens += batch.tokens
                finish = batch.finish ?? finish
            }
        } catch {
            self.error = error
        }
    }
}

func greedy(_ prompt: [Int32], maxTokens: Int? = 20) -> GenerationRequest {
    var request = GenerationRequest(prompt: prompt, sampling: .greedy)
    request.sampling.maxTokens = maxTokens
    return request
}

/// Waits until the engine holds no block, as it must a step after everything ended.
func expectIdle(_ engine: Engine, sourceLocation: SourceLocation = #_sourceLocation) async {
    for _ in 0..<2000 {
        let status = engine.status
        if status.blocksUsed == 0, status.running == 0, status.waiting == 0 { return }
        try? await Task.sleep(for: .milliseconds(1))
    }
    Issue.record("\(engine.status)", sourceLocation: sourceLocation)
}

private func makePrompt(_ seed: Int, _ count: Int) -> [Int32] {
    (0..<count).map { Int32(($0 * 7 + seed * 13 + $0 * seed) % 60) }
}

@Suite(.timeLimit(.minutes(2))) struct EngineLifeTests {
    @Test func oneRequestGivesTheModelsTokens() async throws {
        let engine = try HashedLM.engine()
        for seed in 0..<20 {
            let prompt = makePrompt(seed, 1 + seed * 3)
            let result = await Collected(try engine.generate(greedy(prompt)))
            let expected = HashedLM.expected(prompt, count: 20)
            #expect(result.tokens.map(\.token) == expected.tokens)
            #expect(result.finish?.reason == (expected.stopped ? .stop : .length))
            #expect(result.finish?.stopToken == (expected.stopped ? HashedLM.stopToken : nil))
            #expect(result.finish?.usage.completionTokens == expected.tokens.count)
            #expect(result.finish?.usage.promptTokens == prompt.count)
            // Padding rows have the highest logits and never win.
            #expect(result.tokens.allSatisfy { $0.token < HashedLM.vocabulary })
        }
        await expectIdle(engine)
        engine.shutdown()
    }

    @Test func manyAtOnceInATinyPoolGiveTheSameAsAlone() async throws {
        let engine = try HashedLM.engine(blocks: 24) { options in
            options.stepTokens = 12
            options.sequencesMax = 8
            options.queueTokens = 10_000
        }
        await withTaskGroup(of: Void.self) { group in
            for seed in 0..<60 {
                group.addTask {
                    let prompt = makePrompt(seed % 20, 5 + seed % 40)
                    do {
                        let result = await Collected(try engine.generate(greedy(prompt)))
                        let expected = HashedLM.expected(prompt, count: 20)
                        #expect(result.tokens.map(\.token) == expected.tokens)
                    } catch {
                        Issue.record(error)
                    }
                }
            }
        }
        await expectIdle(engine)
        #expect(engine.status.preemptions > 0)
    }

    @Test func aSecondPromptComesFromTheCache() async throws {
        let engine = try HashedLM.engine()
        let prompt = makePrompt(1, 41)
        let first = await Collected(try engine.generate(greedy(prompt)))
        let second = await Collected(try engine.generate(greedy(prompt)))
        #expect(first.finish?.usage.cachedTokens == 0)
        #expect(second.finish?.usage.cachedTokens == 40)
        #expect(first.tokens == second.tokens)
        var other = greedy(prompt)
        other.tenant = "someone else"
        #expect(await Collected(try engine.generate(other)).finish?.usage.cachedTokens == 0)
    }

    @Test func whatCannotBeServedIsRefusedAtOnce() async throws {
        let engine = try HashedLM.engine(blocks: 10, contextMax: 1000)
        #expect(throws: AdmissionError.emptyPrompt) { try engine.generate(greedy([])) }
        #expect(throws: AdmissionError.unknownToken(64, vocabulary: 64)) {
            try engine.generate(greedy([1, 64]))
        }
        #expect(throws: AdmissionError.unknownToken(-1, vocabulary: 64)) {
            try engine.generate(greedy([-1]))
        }
        #expect(throws: AdmissionError.promptTooLong(tokens: 40, limit: 39)) {
            try engine.generate(greedy(makePrompt(0, 40)))
        }
        #expect(throws: AdmissionError.tooManyTokens(prompt: 30, maxTokens: 11, limit: 40)) {
            try engine.generate(greedy(makePrompt(0, 30), maxTokens: 11))
        }
        // Without a limit of its own a request gets what there is.
        let rest = await Collected(try engine.generate(greedy(makePrompt(3, 30), maxTokens: nil)))
        #expect(rest.tokens.count == 10 || rest.finish?.reason == .stop)
        engine.shutdown()
        #expect(throws: AdmissionError.self) { try engine.generate(greedy([1])) }
    }

    @Test func abortsAtAnyMomentFreeEverything() async throws {
        let engine = try HashedLM.engine(blocks: 40) { options in
            options.sequencesMax = 6
            options.queueTokens = 10_000
        }
        await withTaskGroup(of: Void.self) { group in
            for seed in 0..<200 {
                group.addTask {
                    guard let stream = try? engine.generate(greedy(makePrompt(seed, 1 + seed % 60)))
                    else { return }
                    switch seed % 4 {
                    case 0: return  // Let go without looking.
                    case 1: stream.abort()
                    case 2:
                        _ = try? await stream.next()
                        stream.abort()
                    default:
                        let task = Task { await Collected(stream) }
                        await Task.yield()
                        task.cancel()
                        let result = await task.value
                        #expect(result.error == .cancelled || result.finish != nil)
                    }
                }
            }
        }
        await expectIdle(engine)
        // It still works.
        let prompt = makePrompt(5, 9)
        let result = await Collected(try engine.generate(greedy(prompt)))
        #expect(result.tokens.map(\.token) == HashedLM.expected(prompt, count: 20).tokens)
    }

    @Test func aFailureHitsOnlyItsOwnRequest() async throws {
        let engine = try HashedLM.engine(faults: .init(refusesBatches: true, poison: 59))
        await withTaskGroup(of: Void.self) { group in
            for seed in 0..<12 {
                group.addTask {
                    let isPoisoned = seed % 3 == 0
                    let prompt = (isPoisoned ? [59] : [Int32(seed)]) + makePrompt(seed, 9)
                    guard let stream = try? engine.generate(greedy(prompt)) else {
                        Issue.record("refused")
                        return
                    }
                    let result = await Collected(stream)
                    if isPoisoned {
                        #expect(result.error == .notANumber)
                    } else {
                        let expected = HashedLM.expected(prompt, count: 20)
                        #expect(result.tokens.map(\.token) == expected.tokens)
                    }
                }
            }
        }
        await expectIdle(engine)
        let broken = try HashedLM.engine(faults: .init(isBroken: true))
        let result = await Collected(try broken.generate(greedy([1, 2])))
        #expect(result.error == .stepFailed("broken on purpose"))
    }

    @Test func deadlinesHoldInTheQueueAndWhileRunning() async throws {
        let engine = try HashedLM.engine(
            blocks: 1000, contextMax: 4000, faults: .init(stepTime: .milliseconds(5))
        ) { $0.sequencesMax = 1 }
        var long = greedy(makePrompt(2, 4), maxTokens: 3900)
        long.sampling.ignoreEOS = true
        long.deadline = .milliseconds(500)
        let first = try engine.generate(long)
        var queued = greedy(makePrompt(3, 4))
        queued.queueTimeout = .milliseconds(20)
        let second = await Collected(try engine.generate(queued))
        guard case .queueTimeout(let waited, .milliseconds(20)) = second.error else {
            Issue.record("\(String(describing: second.error))")
            return
        }
        #expect(waited >= .milliseconds(20))
        #expect(second.tokens.isEmpty)
        let result = await Collected(first)
        #expect(result.error == .deadlineExceeded(limit: .milliseconds(500)))
        #expect(!result.tokens.isEmpty)
        await expectIdle(engine)
    }

    @Test func drainLetsRequestsFinishAndThenFailsTheRest() async throws {
        let engine = try HashedLM.engine(
            blocks: 1000, contextMax: 4000, faults: .init(stepTime: .milliseconds(2)))
        let short = try engine.generate(greedy(makePrompt(1, 4), maxTokens: 3))
        var endless = greedy(makePrompt(2, 4), maxTokens: 3900)
        endless.sampling.ignoreEOS = true
        let long = try engine.generate(endless)
        await engine.drain(within: .milliseconds(300))
        #expect(throws: AdmissionError.self) { try engine.generate(greedy([1])) }
        #expect(await Collected(short).finish != nil)
        #expect(await Collected(long).error == .shuttingDown)
        await expectIdle(engine)
        engine.shutdown()
        #expect(engine.status.isStopped)
    }

    @Test func shutdownEndsEveryStream() async throws {
        let engine = try HashedLM.engine(faults: .init(stepTime: .milliseconds(1))) {
            $0.queueTokens = 1000
        }
        let streams = try (0..<30).map { try engine.generate(greedy(makePrompt($0, 20))) }
        engine.shutdown()
        for stream in streams {
            let result = await Collected(stream)
            #expect(result.finish != nil || result.error == .shuttingDown)
        }
    }

    @Test func promptLogprobsCoverEveryTokenInAnyChunking() async throws {
        let prompt = makePrompt(4, 50)
        var results: [[TokenEvent]] = []
        for step in [1, 7, 512] {
            let engine = try HashedLM.engine { options in
                options.stepTokens = step
                options.sequencesMax = 1
            }
            var request = greedy(prompt, maxTokens: 0)
            request.promptLogprobs = true
            request.sampling.topLogprobs = 2
            let result = await Collected(try engine.generate(request))
            #expect(result.tokens.isEmpty)
            #expect(result.finish?.reason == .length)
            #expect(result.prompt.map(\.token) == prompt)
            #expect(result.prompt.first?.logprob == nil)
            #expect(result.prompt.dropFirst().allSatisfy { $0.logprob != nil && $0.top.count == 2 })
            results.append(result.prompt)
        }
        #expect(results[0] == results[1] && results[1] == results[2])
    }

    @Test func samplingDoesNotDependOnCompany() async throws {
        func request(_ seed: Int) -> GenerationRequest {
            var request = GenerationRequest(prompt: makePrompt(seed, 3 + seed))
            request.sampling.seed = UInt64(seed)
            request.sampling.topP = 0.9
            request.sampling.repetitionPenalty = 1.1
            request.sampling.maxTokens = 15
            request.sampling.topLogprobs = 3
            return request
        }
        let engine = try HashedLM.engine(blocks: 30) { $0.sequencesMax = 5 }
        var alone: [[TokenEvent]] = []
        for seed in 0..<20 {
            alone.append(await Collected(try engine.generate(request(seed))).tokens)
        }
        let streams = try (0..<20).map { try engine.generate(request($0)) }
        for (seed, stream) in streams.enumerated() {
            #expect(await Collected(stream).tokens == alone[seed])
        }
    }
}
