import AutoGLMDecoding
import Dispatch
import Synchronization
import TestKit
import Testing

@testable import AutoGLMEngine

private let hang: Int32 = 61

private func hanging(
    _ gate: StepGate, restartAfter: Duration? = .milliseconds(600),
    incidents: Incidents = Incidents(),
    _ change: (inout EngineOptions) -> Void = { _ in }
) throws -> Engine {
    try HashedLM.engine(blocks: 200, contextMax: 400, faults: .init(hang: hang, gate: gate)) {
        $0.restartAfter = restartAfter
        $0.queueTokens = 100_000
        $0.onIncident = { incidents.add($0) }
        change(&$0)
    }
}

/// What an engine has reported.
private final class Incidents: Sendable {
    private let all = Mutex<[EngineIncident]>([])
    func add(_ incident: EngineIncident) { all.withLock { $0.append(incident) } }
    var list: [EngineIncident] { all.withLock { $0 } }
}

private func prompt(_ seed: Int32, _ count: Int = 9) -> [Int32] {
    [seed] + (1..<Int32(count)).map { ($0 * 7 + seed) % 60 }
}

private func wait(
    _ limit: Duration = .seconds(20), _ condition: () -> Bool,
    sourceLocation: SourceLocation = #_sourceLocation
) async {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if condition() { return }
        try? await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("it did not come to that", sourceLocation: sourceLocation)
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct EngineWatchTests {
    @Test func aHangingStepIsLeftBehind() async throws {
        let gate = StepGate()
        let incidents = Incidents()
        let engine = try hanging(gate, incidents: incidents) { $0.sequencesMax = 2 }
        let victim = greedy(prompt(3), maxTokens: 300)
        let stuck = try engine.generate(greedy(prompt(hang)))
        let beside = try engine.generate(victim)
        await wait { gate.hanging == 1 }
        // These wait: the running ones fill the step.
        let waiting = try (4..<8).map { try engine.generate(greedy(prompt($0))) }
        #expect(await Collected(stuck).error == .engineRestarted)
        let second = await Collected(beside)
        // It was in the step that hung, or came just too late for it and was kept.
        #expect(second.error == .engineRestarted || second.finish != nil)
        for (seed, stream) in zip(Int32(4)..<8, waiting) {
            let result = await Collected(stream)
            let expected = HashedLM.expected(prompt(seed), count: 20)
            #expect(result.tokens.map(\.token) == expected.tokens)
            #expect(result.error == nil)
        }
        await expectIdle(engine)
        #expect(engine.status.restarts == 1)
        #expect(gate.models == 2)
        guard case .restarted(let silence, let failed, let kept) = incidents.list.first else {
            Issue.record("\(incidents.list)")
            return
        }
        // Where tasks get no time, some come only after the restart.
        #expect(silence >= .milliseconds(600) && failed >= 1 && failed + kept <= 6)
        // The one left behind wakes up, and nobody notices.
        let before = engine.status
        let running = try engine.generate(greedy(prompt(9)))
        gate.open()
        await wait { gate.hanging == 0 }
        #expect(
            await Collected(running).tokens.map(\.token)
                == HashedLM.expected(prompt(9), count: 20).tokens)
        await expectIdle(engine)
        #expect(engine.status.restarts == before.restarts)
        #expect(!engine.status.isStopped)
    }

    @Test func deadlinesHoldWhileTheEngineHangs() async throws {
        let gate = StepGate()
        let engine = try hanging(gate, restartAfter: nil)
        var stuck = greedy(prompt(hang))
        stuck.deadline = .milliseconds(700)
        let first = try engine.generate(stuck)
        await wait { gate.hanging == 1 }
        var queued = greedy(prompt(1))
        queued.queueTimeout = .milliseconds(300)
        let second = await Collected(try engine.generate(queued))
        guard case .queueTimeout(let waited, .milliseconds(300)) = second.error else {
            Issue.record("\(String(describing: second.error))")
            return
        }
        // By the watch's clock: how late this task hears of it is up to the tasks of other tests.
        #expect(waited >= .milliseconds(300) && waited < .seconds(5))
        #expect(await Collected(first).error == .deadlineExceeded(limit: .milliseconds(700)))
        #expect(engine.status.waiting == 0)
        // Without a restart it goes on when the step ends, and has nothing left to do.
        gate.open()
        await expectIdle(engine)
        #expect(
            await Collected(try engine.generate(greedy(prompt(2)))).tokens.map(\.token)
                == HashedLM.expected(prompt(2), count: 20).tokens)
    }

    @Test func silenceShowsWithinTwoSecondsBusyAndIdle() async throws {
        let gate = StepGate()
        let engine = try hanging(gate, restartAfter: nil)
        try await Task.sleep(for: .milliseconds(1_200))
        // Nothing to do for longer than the nudges are apart: it lives.
        #expect(engine.status.sinceProgress < .milliseconds(1_500))
        let stream = try engine.generate(greedy(prompt(hang)))
        await wait { gate.hanging == 1 }
        let start = ContinuousClock.now
        await wait { engine.status.sinceProgress >= .seconds(2) }
        #expect(ContinuousClock.now - start < .seconds(4))
        stream.abort()
        gate.open()
        await expectIdle(engine)
        await wait { engine.status.sinceProgress < .seconds(1) }

        // A thread that stops with nothing to do.
        let blocked = StepGate()
        let idle = try HashedLM.engine(faults: .init(stepTime: .milliseconds(5))) { options in
            options.restartAfter = nil
            options.onStep = { if $0.batchTokens == 0 { blocked.pass() } }
        }
        // An abort leaves it with a step without rows.
        var long = greedy(prompt(1), maxTokens: 100)
        long.sampling.ignoreEOS = true
        try idle.generate(long).abort()
        await wait { blocked.hanging == 1 }
        await wait { idle.status.sinceProgress >= .seconds(2) }
        #expect(idle.status.running == 0)
        blocked.open()
        await wait { idle.status.sinceProgress < .seconds(1) }
    }

    @Test func aLongStepThatAdvancesIsLeftAlone() async throws {
        let gate = StepGate()
        gate.open()
        let incidents = Incidents()
        let engine = try hanging(gate, restartAfter: .milliseconds(500), incidents: incidents) {
            $0.onStep = {
                if $0.batchTokens > 0 { gate.dawdle(.milliseconds(1_500), beating: true) }
            }
        }
        let result = await Collected(try engine.generate(greedy(prompt(2), maxTokens: 1)))
        #expect(result.finish != nil)
        await expectIdle(engine)
        #expect(incidents.list.isEmpty)
        engine.shutdown()
    }

    @Test func whatStopsTheEngineTwiceIsRefused() async throws {
        let gate = StepGate()
        let engine = try hanging(gate)
        var poison = greedy(prompt(hang))
        #expect(await Collected(try engine.generate(poison)).error == .engineRestarted)
        // The second time it is computed by itself: those in the same step are lost, not blamed.
        let company = try (1..<5).map { try engine.generate(greedy(prompt($0), maxTokens: 1)) }
        // The seed does not make another request of it.
        poison.sampling.seed = 4
        #expect(await Collected(try engine.generate(poison)).error == .engineRestarted)
        for (seed, stream) in zip(Int32(1)..<5, company) {
            let result = await Collected(stream)
            let expected = HashedLM.expected(prompt(seed), count: 1).tokens
            #expect(result.error == .engineRestarted || result.tokens.map(\.token) == expected)
        }
        do {
            _ = try engine.generate(poison)
            Issue.record("accepted")
        } catch {
            guard case .quarantined(2, let remaining) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(remaining > .seconds(500) && remaining <= Quarantine.memory)
            #expect(error.retryAfter == nil)
        }
        #expect(engine.status.quarantined == 1)
        // Others are served.
        for seed in Int32(1)..<5 {
            let result = await Collected(try engine.generate(greedy(prompt(seed), maxTokens: 1)))
            #expect(result.finish != nil)
        }
        gate.open()
    }

    @Test func neighboursOfASuspectAreNotBlamed() async throws {
        let gate = StepGate()
        let engine = try hanging(gate)
        let neighbour = greedy(prompt(5), maxTokens: 200)
        for round in 0..<2 {
            // Both in one step at first; then each is a suspect and computed by itself.
            let streams = try [greedy(prompt(hang)), neighbour].map { try engine.generate($0) }
            #expect(await Collected(streams[0]).error == .engineRestarted)
            _ = await Collected(streams[1])
            #expect(engine.status.restarts == round + 1)
        }
        // The neighbour has been near it twice and is still served.
        #expect(await Collected(try engine.generate(neighbour)).error == nil)
        #expect(throws: AdmissionError.self) { try engine.generate(greedy(prompt(hang))) }
        gate.open()
    }

    @Test func whatCannotBeRestartedEndsItsRequestsAndSaysSo() async throws {
        let gate = StepGate()
        let incidents = Incidents()
        let engine = try hanging(gate, restartAfter: .milliseconds(300), incidents: incidents)
        for _ in 0..<RestartBudget.most {
            _ = await Collected(try engine.generate(greedy(prompt(hang, 5 + gate.models))))
        }
        #expect(engine.status.restarts == RestartBudget.most)
        let last = try engine.generate(greedy(prompt(hang, 50)))
        let waiting = try engine.generate(greedy(prompt(1)))
        #expect(await Collected(last).error == .engineRestarted)
        let rest = await Collected(waiting)
        #expect(rest.error == .engineRestarted || rest.finish != nil)
        await wait { engine.status.hasFailed }
        #expect(throws: AdmissionError.engineFailed(retryAfter: .seconds(30))) {
            try engine.generate(greedy(prompt(2)))
        }
        await wait { incidents.list.last == .gaveUp(restarts: RestartBudget.most) }
        engine.shutdown()
        gate.open()
    }

    @Test func aRefusedThreadOrMemoryIsTriedAgain() async throws {
        let gate = StepGate()
        let incidents = Incidents()
        let engine = try hanging(gate, incidents: incidents)
        gate.refuse(1)
        let result = await Collected(try engine.generate(greedy(prompt(hang))))
        #expect(result.error == .engineRestarted)
        // Its clients hear of it first.
        await wait { incidents.list.count == 2 }
        guard case .notRestarted = incidents.list.first else {
            Issue.record("\(incidents.list)")
            return
        }
        #expect(await Collected(try engine.generate(greedy(prompt(1)))).finish != nil)
        gate.open()
    }

    @Test func shutdownDoesNotWaitForWhatHangs() async throws {
        let gate = StepGate()
        let engine = try hanging(gate, restartAfter: nil)
        let stream = try engine.generate(greedy(prompt(hang)))
        await wait { gate.hanging == 1 }
        engine.shutdown()
        #expect(await Collected(stream).error == .shuttingDown)
        gate.open()
    }

    @Test func damagedBlocksAreZeroedAndForgotten() async throws {
        let gate = StepGate()
        gate.open()
        let engine = try HashedLM.engine(
            blocks: 40, faults: .init(refusesBatches: true, poison: 59, gate: gate))
        let poisoned = greedy([59] + prompt(1, 20))
        #expect(await Collected(try engine.generate(poisoned)).error == .notANumber)
        // 21 tokens in blocks of 4, zeroed before the next step.
        let good = greedy(prompt(2, 20))
        let first = await Collected(try engine.generate(good))
        #expect(first.tokens.map(\.token) == HashedLM.expected(good.prompt, count: 20).tokens)
        #expect(gate.zeroed == 6)
        #expect(engine.status.failedSteps >= 1)
        // Nothing of it is found again; what was good is.
        #expect(await Collected(try engine.generate(poisoned)).error == .notANumber)
        #expect(await Collected(try engine.generate(good)).finish?.usage.cachedTokens ?? 0 > 0)
    }
}

@Suite struct StallDetectorTests {
    private let tick = StallDetector.tick

    @Test func silenceGrowsByTicksAndEndsWithProgress() {
        var detector = StallDetector()
        for _ in 0..<21 { detector.observe(progress: 7, gap: tick) }
        #expect(detector.silence == tick * 21)
        detector.observe(progress: 8, gap: tick)
        #expect(detector.silence == tick)
    }

    /// SIGSTOP, a suspended machine, or a clock that jumps: the engine could not run either.
    @Test func longGapsCountAsTwoTicksAtMost() {
        var detector = StallDetector()
        detector.observe(progress: 1, gap: tick)
        for gap in [Duration.seconds(60), .seconds(86_400), .seconds(-3_600), .zero] {
            detector.observe(progress: 1, gap: gap)
        }
        #expect(detector.silence == tick * 5)
    }

    @Test func fiveRestartsAMinute() {
        var budget = RestartBudget()
        let taken = [0, 1, 2, 3, 4, 59, 60, 60].map { budget.take(now: .seconds($0)) }
        #expect(taken == [true, true, true, true, true, false, true, false])
    }

    @Test func theQuarantineIsBoundedAndForgets() {
        var quarantine = Quarantine()
        for print in 0..<1_000 { quarantine.strike(print, now: .seconds(1)) }
        func strikes(_ print: Int, _ second: Int) -> Int? {
            quarantine.record(of: print, now: .seconds(second))?.strikes
        }
        let before = [strikes(0, 1), strikes(999, 1)]
        #expect(before == [nil, 1])
        quarantine.strike(900, now: .seconds(2))
        let after = [strikes(900, 2), strikes(999, 601), strikes(900, 601), strikes(900, 602)]
        #expect(after == [2, nil, 2, nil])
        #expect(quarantine.isEmpty)
    }
}
