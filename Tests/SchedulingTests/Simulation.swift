import AutoGLMScheduling
import TestKit

typealias Random = SplitMix64

extension SplitMix64 {
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
    mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }
}

struct SimulationFault: Error, CustomStringConvertible {
    let description: String
}

/// A scheduler with a tiny pool, a fake model and a hostile world, all by one seed.
///
/// The fake model keeps the "keys and values" of every block: what each position holds is a hash
/// of the whole history up to it. Its next token is a function of that history *as read from the
/// blocks*, so a block that is lost, shared wrongly or stale changes the output, and the output is
/// compared with what the same request gives alone.
struct Simulation {
    let seed: UInt64
    private(set) var scheduler: Scheduler
    private var random: Random
    private var now: Duration = .zero
    private var nextID: UInt64 = 1
    private var requests: [SequenceID: SequenceRequest] = [:]
    private var outputs: [SequenceID: [Int32]] = [:]
    private(set) var ends: [SequenceID: Delivery.Event] = [:]
    /// `[block][offset]`: history hash written there.
    private var memory: [[UInt64]]
    private(set) var steps = 0
    private(set) var submissions = 0
    private let requestsMax: Int
    private let faults: Bool
    private var lastProgress: [SequenceID: Int] = [:]

    init(seed: UInt64) {
        self.seed = seed
        var random = Random(seed: seed)
        let blockTokens = random.int(1...5)
        let blocks = random.int(3...24)
        let pool = blocks * blockTokens
        var limits = Scheduler.Limits(
            blocks: blocks, blockTokens: blockTokens, contextMax: random.int(2...max(2, pool)),
            sequencesMax: random.int(1...8), stepTokens: random.int(1...24),
            logitRows: random.int(1...12))
        limits.prefixCache = random.chance(80)
        limits.ageing = .milliseconds(random.int(0...50))
        scheduler = Scheduler(limits: limits)
        requestsMax = random.int(1...60)
        faults = random.chance(70)
        memory = Array(repeating: Array(repeating: 0, count: blockTokens), count: blocks)
        self.random = random
    }

    var isFinished: Bool { submissions == requestsMax && scheduler.isIdle }

    mutating func step() throws {
        steps += 1
        now += .milliseconds(random.int(0...3))
        while submissions < requestsMax, random.chance(40) { submit() }
        if faults, random.chance(4), let id = open().randomElement(using: &random) {
            scheduler.apply(.abort(id))
            // A second abort and one of an unknown sequence change nothing.
            scheduler.apply(.abort(id))
            scheduler.apply(.abort(SequenceID(1 << 40)))
        }
        if faults, random.chance(1), random.chance(5) { scheduler.apply(.abortAll) }
        if random.chance(5) { try shed() }
        scheduler.prefillTokensMax = random.int(1...scheduler.limits.stepTokens)
        var plan = scheduler.plan(now: now)
        try check("plan")
        // A step may be planned and never run.
        if random.chance(3) { plan = scheduler.plan(now: now) }
        try check(plan)
        var results: [StepResult] = []
        // All rows are written before any is read, as the real model may order its work freely;
        // a sequence reads only what it or an earlier step wrote.
        for entry in plan.entries { results.append(try run(entry)) }
        for delivery in scheduler.commit(results) { try deliver(delivery) }
        try check("commit")
    }

    /// What is given back is lost: nobody may read it again.
    private mutating func shed() throws {
        let cachedMax = random.int(0...scheduler.limits.blocks)
        for block in scheduler.shed(cachedMax: cachedMax) {
            memory[Int(block.index)] = memory[Int(block.index)].map { _ in 0 }
        }
        if scheduler.pool.cachedCount > cachedMax {
            throw SimulationFault(description: "seed \(seed): cached blocks are left")
        }
        try check("shed")
    }

    private mutating func submit() {
        let limits = scheduler.limits
        let room = min(limits.contextMax, limits.blocks * limits.blockTokens)
        let promptCount = random.int(1...max(1, room - 1))
        // Few tokens and few prefixes, so that histories often agree.
        let start = Int32(random.int(0...2))
        var prompt = (0..<promptCount).map { Int32($0) % 7 + start }
        if random.chance(50) { prompt[promptCount - 1] = Int32(random.int(0...9)) }
        let id = SequenceID(nextID)
        nextID += 1
        submissions += 1
        let timed = faults && random.chance(15)
        let request = SequenceRequest(
            id: id, prompt: prompt, maxTokens: random.int(1...max(1, room - promptCount)),
            priority: random.int(0...9), tenant: random.chance(70) ? "" : "other", arrival: now,
            startBy: timed ? now + .milliseconds(random.int(0...60)) : nil,
            finishBy: timed && random.chance(50) ? now + .milliseconds(random.int(0...200)) : nil,
            wantsPromptLogits: random.chance(10))
        requests[id] = request
        outputs[id] = []
        scheduler.apply(.submit(request))
    }

    private func open() -> [SequenceID] {
        requests.keys.filter { ends[$0] == nil }.sorted()
    }

    private func check(_ plan: StepPlan) throws {
        let limits = scheduler.limits
        let rows = plan.entries.reduce(0) { $0 + $1.range.count }
        let logits = plan.entries.reduce(0) { $0 + $1.range.upperBound - $1.firstLogits }
        try require(rows == plan.tokenCount && rows <= limits.stepTokens, "\(rows) rows")
        try require(logits <= limits.logitRows, "\(logits) logit rows")
        try require(Set(plan.entries.map(\.id)).count == plan.entries.count, "planned twice")
        try require(plan.entries.allSatisfy { !$0.range.isEmpty }, "an empty entry")
        // Something always advances.
        try require(!plan.isEmpty || open().isEmpty || scheduler.runningCount == 0, "stuck")
        try require(!plan.isEmpty || scheduler.waitingCount == 0, "waits for nothing")
    }

    private static func mix(_ history: UInt64, _ token: Int32) -> UInt64 {
        let bits = UInt64(UInt32(bitPattern: token))
        var random = Random(seed: history ^ (bits &* 0x9E37_79B9_7F4A_7C15))
        return random.next()
    }

    private static func root(_ tenant: String) -> UInt64 { tenant.isEmpty ? 1 : 2 }

    private mutating func run(_ entry: StepPlan.Entry) throws -> StepResult {
        let tokens = scheduler.tokens(of: entry)
        let blocks = scheduler.blocks(of: entry)
        let size = scheduler.limits.blockTokens
        guard let request = requests[entry.id] else { throw fault("unknown sequence") }
        func at(_ position: Int) -> (Int, Int) {
            (Int(blocks[position / size].index), position % size)
        }
        if faults, random.chance(1) {
            // A failed step leaves rubbish where it wrote.
            for position in entry.range { memory[at(position).0][at(position).1] = 7 }
            return .failed
        }
        for position in entry.range {
            // The context must hold this very history at every position before.
            var history = Self.root(request.tenant)
            if position > 0 {
                let (block, offset) = at(position - 1)
                history = memory[block][offset]
            }
            let (block, offset) = at(position)
            memory[block][offset] = Self.mix(history, tokens[position])
        }
        var expected = Self.root(request.tenant)
        for position in 0..<entry.range.upperBound {
            expected = Self.mix(expected, tokens[position])
            let (block, offset) = at(position)
            try require(memory[block][offset] == expected, "a wrong context at \(position)")
        }
        guard entry.samples else { return .computed }
        return Self.sample(expected)
    }

    /// What the fake model says after a history.
    private static func sample(_ history: UInt64) -> StepResult {
        history % 41 == 0 ? .stop : .token(Int32(history % 5))
    }

    private mutating func deliver(_ delivery: Delivery) throws {
        try require(ends[delivery.id] == nil, "news after the end")
        guard requests[delivery.id] != nil else { throw fault("news of a stranger") }
        if case .token(let token, _) = delivery.event { outputs[delivery.id]?.append(token) }
        if delivery.isEnd { ends[delivery.id] = delivery.event }
    }

    private func check(_ phase: String) throws {
        if let fault = scheduler.firstFault() { throw self.fault("after \(phase): \(fault)") }
    }

    /// Every request has one end, no block is held, and outputs are what they would be alone.
    func checkEnd() throws {
        try require(ends.count == submissions, "\(ends.count) ends of \(submissions)")
        try require(scheduler.blocksUsed == 0, "\(scheduler.blocksUsed) blocks are still held")
        for (id, request) in requests {
            var alone: [Int32] = []
            var history = request.prompt.reduce(Self.root(request.tenant), Self.mix)
            var stopped = false
            while alone.count < request.maxTokens {
                guard case .token(let token) = Self.sample(history) else {
                    stopped = true
                    break
                }
                alone.append(token)
                history = Self.mix(history, token)
            }
            let output = outputs[id] ?? []
            switch ends[id] {
            case .stopped: try require(stopped && output == alone, "output of \(id.value)")
            case .token(_, isLast: true):
                try require(!stopped && output == alone, "output of \(id.value)")
            default: try require(output == Array(alone.prefix(output.count)), "\(id.value)")
            }
        }
    }

    private func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
        if !condition { throw fault(what()) }
    }

    private func fault(_ what: String) -> SimulationFault {
        SimulationFault(description: "seed \(seed), step \(steps): \(what)")
    }
}
