import AutoGLMDecoding
import AutoGLMEngine
import TestKit
import Testing

/// Requests of several sequences, and what admission measures.
@Suite(.timeLimit(.minutes(2))) struct AdmissionTests {
    /// One sequence at a time, slowly, and a queue of four.
    private func engine() throws -> Engine {
        try HashedLM.engine(
            blocks: 1_000, contextMax: 4_000, faults: .init(stepTime: .milliseconds(2))
        ) { options in
            options.sequencesMax = 1
            options.queueRequests = 4
        }
    }

    private func endless(_ first: Int32 = 1) -> GenerationRequest {
        var request = greedy([first, 2, 3], maxTokens: 3_900)
        request.sampling.ignoreEOS = true
        return request
    }

    /// Starts a request and waits until it runs.
    private func occupy(_ engine: Engine) async throws -> TokenStream {
        let stream = try engine.generate(endless())
        #expect(try await stream.next() != nil)
        #expect(engine.status.waiting == 0)
        return stream
    }

    @Test func severalSequencesAreAdmittedAllOrNone() async throws {
        let engine = try engine()
        let running = try await occupy(engine)
        let two = try engine.generate([endless(5), endless(6)])
        #expect(engine.status.waiting == 2)
        let tokens = engine.status.waitingTokens
        #expect(tokens == 6)
        do {
            _ = try engine.generate([endless(7), endless(8), endless(9)])
            Issue.record("admitted")
        } catch {
            guard case .overloaded(_, 4, _) = error else {
                Issue.record(error)
                return
            }
        }
        // Of those refused, none is left behind.
        #expect(engine.status.waiting == 2)
        #expect(engine.status.waitingTokens == tokens)
        let more = try engine.generate([endless(7), endless(8)])
        #expect(engine.status.waiting == 4)
        // One of them is wrong: the others are refused as well.
        more.abort()
        two.abort()
        running.abort()
        await expectIdle(engine)
        #expect(throws: AdmissionError.emptyPrompt) {
            try engine.generate([endless(1), greedy([]), endless(2)])
        }
        #expect(engine.status.waiting == 0)
        await expectIdle(engine)
        let after = await Collected(try engine.generate(greedy([1, 2, 3])))
        #expect(after.finish != nil)
    }

    @Test func whatNeverFitsTheQueueIsToldApart() throws {
        let engine = try engine()
        #expect(throws: AdmissionError.tooManySequences(count: 5, limit: 4)) {
            try engine.generate((0..<5).map { endless($0) })
        }
        // A tenant may fill half of the queue.
        var named = endless()
        named.tenant = "a"
        #expect(throws: AdmissionError.tooManySequences(count: 3, limit: 2)) {
            try engine.generate([named, named, named])
        }
        #expect(AdmissionError.tooManySequences(count: 5, limit: 4).retryAfter == nil)
        #expect(engine.status.waiting == 0)
    }

    @Test func aDeadlineBeginsWithTheFirstByte() async throws {
        let engine = try engine()
        var late = endless()
        late.deadline = .seconds(5)
        late.timeline.received = .now - .seconds(10)
        #expect(throws: AdmissionError.deadlineExceeded(limit: .seconds(5))) {
            try engine.generate(late)
        }
        late.deadline = .seconds(20)
        late.timeline.received = .now - .milliseconds(19_800)
        let start = ContinuousClock.now
        let result = await Collected(try engine.generate(late))
        #expect(result.error == .deadlineExceeded(limit: .seconds(20)))
        #expect(ContinuousClock.now - start < .seconds(5))
        // Without a first byte it begins with the arrival.
        var plain = endless()
        plain.deadline = .milliseconds(200)
        let second = ContinuousClock.now
        #expect(
            await Collected(try engine.generate(plain)).error
                == .deadlineExceeded(limit: .milliseconds(200)))
        #expect(ContinuousClock.now - second >= .milliseconds(200))
        await expectIdle(engine)
    }

    @Test func stampsAreInOrder() async throws {
        let engine = try engine()
        let running = try await occupy(engine)
        var request = greedy([4, 5, 6], maxTokens: 8)
        request.sampling.ignoreEOS = true
        request.timeline.received = .now
        request.timeline.rendered = .now
        let stream = try engine.generate([request, request])
        try await Task.sleep(for: .milliseconds(30))
        running.abort()
        var last: [Int: Usage] = [:]
        while let batch = try await stream.next() { last[batch.choice] = batch.usage }
        #expect(last.count == 2)
        for usage in last.values {
            let timeline = usage.timeline
            let stamps = [
                timeline.received, timeline.rendered, timeline.admitted, timeline.started,
                timeline.firstToken, timeline.lastToken,
            ]
            let all = stamps.compactMap(\.self)
            #expect(all.count == stamps.count)
            #expect(all == all.sorted())
            #expect(timeline.written == nil)
            #expect(timeline.queueTime >= .milliseconds(29))
            #expect(timeline.prefillTime >= .milliseconds(2))
            // Eight tokens are seven steps after the first.
            #expect(timeline.decodeTime >= .milliseconds(14))
            #expect(timeline.timeToFirstToken >= timeline.queueTime + timeline.prefillTime)
        }
    }

    @Test func closingOneSequenceLetsTheOthersGoOn() async throws {
        let engine = try HashedLM.engine(
            blocks: 1_000, contextMax: 4_000, faults: .init(stepTime: .milliseconds(1)))
        var short = greedy([4, 5, 6], maxTokens: 40)
        short.sampling.ignoreEOS = true
        let stream = try engine.generate([endless(1), short, endless(2)])
        var tokens: [Int: Int] = [:]
        var finished: [Int: FinishReason] = [:]
        while let batch = try await stream.next() {
            tokens[batch.choice, default: 0] += batch.tokens.count
            if let finish = batch.finish { finished[batch.choice] = finish.reason }
            for choice in [0, 2] where tokens[choice, default: 0] > 5 { stream.close(choice) }
        }
        // The stream ends although two of the three were never finished by the engine.
        #expect(finished == [1: .length])
        #expect(tokens[1] == 40)
        await expectIdle(engine)
    }

    @Test func oneSequencesTokensAreThoseItHasAlone() async throws {
        let engine = try HashedLM.engine()
        let prompts: [[Int32]] = [[1, 2, 3], [7, 8], [9]]
        let stream = try engine.generate(prompts.map { greedy($0) })
        #expect(stream.count == 3)
        var tokens: [Int: [Int32]] = [:]
        while let batch = try await stream.next() {
            tokens[batch.choice, default: []] += batch.tokens.map(\.token)
        }
        for (choice, prompt) in prompts.enumerated() {
            #expect(tokens[choice] ?? [] == HashedLM.expected(prompt, count: 20).tokens)
        }
    }
}
