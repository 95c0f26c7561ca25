import AutoGLMScheduling
import Testing

@Suite struct SchedulerSimulation {
    /// A hundred seeds an argument; a failure names the seed that replays it.
    @Test(arguments: UInt64(0)..<10)
    func noBlockIsLostOrSharedAndEveryRequestEndsOnce(hundred: UInt64) throws {
        for seed in (hundred * 100)..<(hundred * 100 + 100) {
            var world = Simulation(seed: seed)
            while !world.isFinished {
                try world.step()
                if world.steps > 200_000 {
                    Issue.record("seed \(seed) does not come to an end")
                    return
                }
            }
            try world.checkEnd()
        }
    }

    /// The simulation means something only if preemptions and every kind of end occur in it.
    @Test func theSimulationReachesEverything() throws {
        var preemptions: UInt64 = 0
        var ends: Set<Substring> = []
        for seed in UInt64(5000)..<5150 {
            var world = Simulation(seed: seed)
            while !world.isFinished { try world.step() }
            preemptions += world.scheduler.preemptions
            for end in world.ends.values { ends.insert("\(end)".prefix { $0 != "(" }) }
        }
        #expect(preemptions > 100)
        let all: Set<Substring> = [
            "token", "stopped", "failed", "queueTimeout", "deadlineExceeded", "aborted",
        ]
        #expect(ends == all)
    }
}

@Suite struct SchedulerBehaviour {
    func scheduler(
        blocks: Int = 64, blockTokens: Int = 4, sequences: Int = 4, step: Int = 16
    ) -> Scheduler {
        Scheduler(
            limits: .init(
                blocks: blocks, blockTokens: blockTokens, contextMax: 200,
                sequencesMax: sequences, stepTokens: step))
    }

    func request(_ id: UInt64, prompt: Int, maxTokens: Int = 4, priority: Int = 0,
        base: Int32 = 0, arrival: Duration = .zero
    ) -> SequenceRequest {
        SequenceRequest(
            id: SequenceID(id), prompt: (0..<prompt).map { Int32($0) + base * 1000 },
            maxTokens: maxTokens, priority: priority, arrival: arrival)
    }

    /// Runs until idle; tokens are all 1. Returns the ids in order of their first token.
    func drain(_ scheduler: inout Scheduler) -> [UInt64] {
        var order: [UInt64] = []
        while !scheduler.isIdle {
            let plan = scheduler.plan(now: .zero)
            let results = plan.entries.map { $0.samples ? StepResult.token(1) : .computed }
            for delivery in scheduler.commit(results) {
                if case .token = delivery.event, !order.contains(delivery.id.value) {
                    order.append(delivery.id.value)
                }
            }
        }
        return order
    }

    @Test func aStepIsBounded() {
        var scheduler = scheduler(step: 16)
        scheduler.apply(.submit(request(1, prompt: 40)))
        scheduler.apply(.submit(request(2, prompt: 10, base: 1)))
        var plan = scheduler.plan(now: .zero)
        #expect(plan.entries.map(\.range) == [0..<16])
        _ = scheduler.commit([.computed])
        _ = scheduler.plan(now: .zero)
        _ = scheduler.commit([.computed])
        plan = scheduler.plan(now: .zero)
        #expect(plan.entries.map(\.range) == [32..<40, 0..<8])
        #expect(plan.entries.map(\.samples) == [true, false])
        _ = scheduler.commit([.token(5), .computed])
        // Decode rows come first; the prompt gets what is left.
        plan = scheduler.plan(now: .zero)
        #expect(plan.entries.map(\.range) == [40..<41, 8..<10])
    }

    @Test func higherPriorityGoesFirstButNotForever() {
        var scheduler = scheduler(sequences: 1)
        scheduler.apply(.submit(request(1, prompt: 3, priority: 0, arrival: .zero)))
        scheduler.apply(.submit(request(2, prompt: 3, priority: 9, arrival: .seconds(1))))
        // Arrived so late that even its priority does not overtake the first.
        scheduler.apply(.submit(request(3, prompt: 3, priority: 9, arrival: .seconds(19))))
        scheduler.apply(.submit(request(4, prompt: 3, priority: 5, arrival: .seconds(1))))
        #expect(drain(&scheduler) == [2, 4, 1, 3])
    }

    @Test func aPromptIsSharedAndItsLastTokenComputed() {
        var scheduler = scheduler(step: 64)
        scheduler.apply(.submit(request(1, prompt: 20)))
        _ = drain(&scheduler)
        #expect(scheduler.blocksUsed == 0)
        scheduler.apply(.submit(request(2, prompt: 20)))
        let plan = scheduler.plan(now: .zero)
        #expect(plan.entries.map(\.range) == [16..<20])
        let news = scheduler.commit([.token(1)])
        #expect(news.first?.event == .started(cachedTokens: 16))
    }

    @Test func equalPromptsAtOnceAreComputedOnce() {
        var scheduler = scheduler(step: 64)
        for id in 1...4 { scheduler.apply(.submit(request(UInt64(id), prompt: 21))) }
        var rows = 0
        while !scheduler.isIdle {
            let plan = scheduler.plan(now: .zero)
            rows += plan.entries.filter { !$0.isDecode }.reduce(0) { $0 + $1.range.count }
            _ = scheduler.commit(plan.entries.map { $0.samples ? .token(1) : .computed })
        }
        #expect(rows == 21 + 3)
    }

    @Test func tenantsDoNotShare() {
        var scheduler = scheduler(step: 64)
        scheduler.apply(.submit(request(1, prompt: 20)))
        _ = drain(&scheduler)
        var other = request(2, prompt: 20)
        other.tenant = "b"
        scheduler.apply(.submit(other))
        #expect(scheduler.plan(now: .zero).entries.map(\.range) == [0..<20])
    }

    /// The longest unused goes first, and memory is given back once.
    @Test func shedKeepsTheNewest() throws {
        var pool = BlockPool(blocks: 6, blockTokens: 1)
        let root = pool.root(of: "")
        var blocks: [BlockID] = []
        for token in Int32(0)..<4 {
            let given = pool.allocate()
            let block = try #require(given)
            _ = pool.register(block, parent: root, history: [token], start: 0)
            blocks.append(block)
        }
        let last = pool.allocate()
        let plain = try #require(last)
        for block in blocks { pool.release(block) }
        pool.release(plain)
        let shed = pool.shed(cachedMax: 1)
        #expect(Set(shed) == Set([plain] + blocks.prefix(3)))
        #expect(pool.cachedCount == 1)
        #expect(pool.find(parent: root, history: [3], start: 0)?.block == blocks[3])
        #expect(pool.shed(cachedMax: 1).isEmpty)
        #expect(pool.firstFault(holders: [:]) == nil)
    }

    @Test func aFailedSequenceLeavesNothingInTheCache() {
        var scheduler = scheduler(step: 64)
        scheduler.apply(.submit(request(1, prompt: 20)))
        _ = scheduler.plan(now: .zero)
        _ = scheduler.commit([.token(1)])
        _ = scheduler.plan(now: .zero)
        #expect(scheduler.commit([.failed]).map(\.event) == [.failed])
        #expect(scheduler.pool.freeCount == 64)
        scheduler.apply(.submit(request(2, prompt: 20)))
        #expect(scheduler.plan(now: .zero).entries.map(\.range) == [0..<20])
    }

    @Test func expiredRequestsComputeNothing() {
        var scheduler = scheduler(sequences: 1)
        scheduler.apply(.submit(request(1, prompt: 3, maxTokens: 100)))
        var late = request(2, prompt: 3)
        late.startBy = .seconds(2)
        scheduler.apply(.submit(late))
        _ = scheduler.plan(now: .zero)
        _ = scheduler.commit([.token(1)])
        let plan = scheduler.plan(now: .seconds(2))
        #expect(plan.entries.map(\.id) == [SequenceID(1)])
        #expect(scheduler.commit([.token(1)]).contains {
            $0.id == SequenceID(2) && $0.event == .queueTimeout
        })
    }

    @Test func twoFitAndFiftyFinish() {
        var scheduler = scheduler(blocks: 20, blockTokens: 4, sequences: 8)
        for id in 1...50 {
            let request = request(UInt64(id), prompt: 30, maxTokens: 10, base: Int32(id))
            scheduler.apply(.submit(request))
        }
        #expect(drain(&scheduler).sorted() == (1...50).map { UInt64($0) })
        #expect(scheduler.blocksUsed == 0)
    }
}

@Suite struct Admission {
    func gate(requests: Int = 4, tokens: Int = 100) -> AdmissionGate {
        AdmissionGate(
            limits: .init(sequenceTokensMax: 50, requestsMax: requests, tokensMax: tokens))
    }

    func admit(
        _ gate: inout AdmissionGate, prompt: Int, maxTokens: Int? = nil, tenant: String = "",
        within: Duration? = nil
    ) throws(AdmissionGate.Refusal) -> Int {
        try gate.admit(
            promptTokens: prompt, maxTokens: maxTokens, tenant: tenant, startWithin: within,
            now: .zero)
    }

    @Test func whatNeverFitsIsRefused() throws {
        var gate = gate()
        #expect(try admit(&gate, prompt: 49) == 1)
        #expect(try admit(&gate, prompt: 40, maxTokens: 10) == 10)
        #expect(throws: AdmissionGate.Refusal.promptTooLong(tokens: 50, limit: 49)) {
            try admit(&gate, prompt: 50)
        }
        #expect(throws: AdmissionGate.Refusal.tooManyTokens(prompt: 40, maxTokens: 11, limit: 50)) {
            try admit(&gate, prompt: 40, maxTokens: 11)
        }
        #expect(throws: AdmissionGate.Refusal.tooManyTokens(
            prompt: 40, maxTokens: .max, limit: 50)
        ) { try admit(&gate, prompt: 40, maxTokens: .max) }
        #expect(throws: AdmissionGate.Refusal.emptyPrompt) { try admit(&gate, prompt: 0) }
    }

    @Test func theQueueIsBounded() throws {
        var gate = gate()
        for _ in 0..<4 { _ = try admit(&gate, prompt: 1) }
        #expect(throws: AdmissionGate.Refusal.queueFull(waiting: 4, limit: 4)) {
            try admit(&gate, prompt: 1)
        }
        gate.leave(promptTokens: 1, tenant: "", started: true, now: .seconds(4))
        _ = try admit(&gate, prompt: 1)
        #expect(gate.retryAfter == .seconds(8))
        var narrow = self.gate(requests: 10)
        for _ in 0..<2 { _ = try admit(&narrow, prompt: 40) }
        #expect(throws: AdmissionGate.Refusal.tooManyQueuedTokens(waiting: 80, limit: 100)) {
            try admit(&narrow, prompt: 40)
        }
    }

    @Test func noTenantTakesMoreThanHalf() throws {
        var gate = gate()
        for _ in 0..<2 { _ = try admit(&gate, prompt: 1, tenant: "a") }
        #expect(throws: AdmissionGate.Refusal.queueFull(waiting: 2, limit: 2)) {
            try admit(&gate, prompt: 1, tenant: "a")
        }
        _ = try admit(&gate, prompt: 1, tenant: "b")
    }

    @Test func aDeadlineShorterThanTheQueueIsRefusedAtOnce() throws {
        var gate = gate()
        for _ in 0..<3 { _ = try admit(&gate, prompt: 1) }
        gate.leave(promptTokens: 1, tenant: "", started: true, now: .seconds(5))
        #expect(throws: AdmissionGate.Refusal.deadlineTooShort(
            wait: .seconds(10), deadline: .seconds(2))
        ) { try admit(&gate, prompt: 1, within: .seconds(2)) }
        _ = try admit(&gate, prompt: 1, within: .seconds(11))
        gate.close()
        #expect(throws: AdmissionGate.Refusal.closed) { try admit(&gate, prompt: 1) }
    }
}
