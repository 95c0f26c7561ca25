/// Decides what each step computes: continuous batching over paged KV blocks.
///
/// A pure value: commands, time and results go in; plans and deliveries come out. Prefill and
/// decode are one thing, a sequence catching up with its tokens, so chunked prefill, prefix-cache
/// hits and recomputation after a preemption need no path of their own.
///
/// Order of service is by ``Rank``, fixed at arrival. A sequence that needs a block when there is
/// none takes it from the running sequence of the last rank, possibly itself. The first in rank is
/// never preempted and always fits the pool (admission saw to that), so something always advances.
///
/// - SeeAlso: Kwon et al. 2023, PagedAttention, §4.5; Agrawal et al. 2024, Sarathi-Serve, §4.
package struct Scheduler {
    package struct Limits: Sendable {
        package var blocks: Int
        package var blockTokens: Int
        /// Prompt and output of one sequence.
        package var contextMax: Int
        /// Sequences that run together at most.
        package var sequencesMax: Int
        /// Rows of one step at most.
        package var stepTokens: Int
        /// Rows of one step that have logits at most; at least `sequencesMax`.
        package var logitRows: Int
        package var prefixCache = true
        /// One step of priority is worth this much waiting.
        package var ageing: Duration = .seconds(2)

        package init(
            blocks: Int, blockTokens: Int, contextMax: Int, sequencesMax: Int, stepTokens: Int,
            logitRows: Int? = nil, prefixCache: Bool = true
        ) {
            self.blocks = blocks
            self.blockTokens = blockTokens
            self.contextMax = contextMax
            self.sequencesMax = sequencesMax
            self.stepTokens = max(stepTokens, sequencesMax)
            self.logitRows = max(logitRows ?? sequencesMax, sequencesMax)
            self.prefixCache = prefixCache
        }
    }

    package let limits: Limits
    /// Rows of prompt tokens per step at most; the engine lowers it to keep steps short.
    package var prefillTokensMax: Int
    package internal(set) var pool: BlockPool
    package internal(set) var preemptions: UInt64 = 0

    var slots: [SequenceState?] = []
    var freeSlots: [Int] = []
    var slotOf: [SequenceID: Int] = [:]
    /// Slots in order of rank.
    var running: [Int] = []
    var waiting: [Int] = []
    /// Sequences with a start or finish time; 0 saves looking for expired ones.
    var timedCount = 0
    var deliveries: [Delivery] = []
    var current = StepPlan()

    package init(limits: Limits) {
        self.limits = limits
        prefillTokensMax = limits.stepTokens
        pool = BlockPool(blocks: limits.blocks, blockTokens: limits.blockTokens)
    }

    package var runningCount: Int { running.count }
    package var waitingCount: Int { waiting.count }
    package var isIdle: Bool { running.isEmpty && waiting.isEmpty && deliveries.isEmpty }

    /// Waiting requests by priority, index 0…9.
    package var waitingByPriority: [Int] {
        var counts = Array(repeating: 0, count: 10)
        for slot in waiting { counts[min(max(state(slot).request.priority, 0), 9)] += 1 }
        return counts
    }

    /// Prompt and output tokens of a sequence, for the model runner.
    package func tokens(of entry: StepPlan.Entry) -> [Int32] { state(entry.slot).tokens }
    /// Its block table; covers at least `entry.range`.
    package func blocks(of entry: StepPlan.Entry) -> [BlockID] { state(entry.slot).blocks }
    package func promptCount(of entry: StepPlan.Entry) -> Int {
        state(entry.slot).request.prompt.count
    }

    // MARK: Commands

    package mutating func apply(_ command: SchedulerCommand) {
        switch command {
        case .submit(let request): submit(request)
        case .abort(let id):
            if let slot = slotOf[id] { end(slot, .aborted) }
        case .abortAll:
            for slot in running + waiting { end(slot, .aborted) }
        }
    }

    /// Gives up prefix-cache content beyond `cachedMax` blocks.
    /// - Returns: blocks whose memory nobody needs.
    package mutating func shed(cachedMax: Int) -> [BlockID] { pool.shed(cachedMax: cachedMax) }

    private mutating func submit(_ request: SequenceRequest) {
        precondition(slotOf[request.id] == nil, "sequence ids are unique")
        precondition(!request.prompt.isEmpty && request.maxTokens > 0)
        precondition(request.prompt.count + request.maxTokens <= limits.contextMax)
        precondition(
            request.prompt.count + request.maxTokens <= limits.blocks * limits.blockTokens)
        let state = SequenceState(
            request: request, rank: Rank(request, ageing: limits.ageing), tokens: request.prompt)
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            slots[slot] = state
        } else {
            slot = slots.count
            slots.append(state)
        }
        slotOf[request.id] = slot
        if request.startBy != nil || request.finishBy != nil { timedCount += 1 }
        insert(slot, into: \.waiting)
    }

    // MARK: Plan

    /// Chooses the rows of the next step. Planning again without ``commit(_:)`` starts over.
    package mutating func plan(now: Duration) -> StepPlan {
        if timedCount > 0 { expire(now) }
        current.entries.removeAll(keepingCapacity: true)
        current.tokenCount = 0
        planDecodes()
        var budget = min(limits.stepTokens - current.tokenCount, prefillTokensMax)
        var logitRows = limits.logitRows - current.entries.count
        for slot in running where !isPlanned(slot) {
            planPrefill(slot, &budget, &logitRows)
        }
        admit(&budget, &logitRows)
        return current
    }

    private mutating func expire(_ now: Duration) {
        for slot in waiting + running {
            let request = state(slot).request
            if let finishBy = request.finishBy, now >= finishBy {
                end(slot, .deadlineExceeded)
            } else if let startBy = request.startBy, now >= startBy, !state(slot).hasStarted {
                end(slot, .queueTimeout)
            }
        }
    }

    /// One row for each sequence that has all but its newest token computed. Only here do running
    /// sequences take new blocks: a prompt's blocks are all taken when it starts.
    private mutating func planDecodes() {
        var position = 0
        while position < running.count {
            let slot = running[position]
            let sequence = state(slot)
            guard sequence.pending == 1, sequence.outputCount > 0 else {
                position += 1
                continue
            }
            if sequence.computed / limits.blockTokens == sequence.blocks.count {
                guard let block = takeBlock(for: slot) else { continue }
                mutate(slot) { $0.blocks.append(block) }
            }
            add(slot, count: 1, isDecode: true)
            position += 1
        }
    }

    /// A free block, if need be by preempting the last in rank; nil when that was `slot` itself.
    private mutating func takeBlock(for slot: Int) -> BlockID? {
        while true {
            if let block = pool.allocate() { return block }
            guard let victim = running.last else { return nil }
            preempt(victim)
            if victim == slot { return nil }
        }
    }

    private mutating func preempt(_ slot: Int) {
        preemptions += 1
        running.removeLast()
        releaseBlocks(slot)
        insert(slot, into: \.waiting)
    }

    private mutating func planPrefill(_ slot: Int, _ budget: inout Int, _ logitRows: inout Int) {
        guard budget > 0 else { return }
        extendFromCache(slot)
        let sequence = state(slot)
        var count = min(sequence.pending, budget)
        if wantsPromptLogits(sequence) {
            // Rows before `promptLogitsGiven` are recomputed after a preemption, without logits.
            let silent = max(0, sequence.promptLogitsGiven - sequence.computed)
            count = min(count, silent + logitRows)
        } else if count == sequence.pending, logitRows == 0 {
            count -= 1
        }
        guard count > 0 else { return }
        let entry = add(slot, count: count, isDecode: false)
        budget -= count
        logitRows -= entry.range.upperBound - entry.firstLogits
    }

    private func wantsPromptLogits(_ sequence: SequenceState) -> Bool {
        sequence.request.wantsPromptLogits
            && sequence.promptLogitsGiven < sequence.request.prompt.count
    }

    @discardableResult
    private mutating func add(_ slot: Int, count: Int, isDecode: Bool) -> StepPlan.Entry {
        let sequence = state(slot)
        let range = sequence.computed..<(sequence.computed + count)
        let samples = range.upperBound == sequence.tokens.count
        var firstLogits = samples ? range.upperBound - 1 : range.upperBound
        if wantsPromptLogits(sequence) {
            firstLogits = min(firstLogits, max(range.lowerBound, sequence.promptLogitsGiven))
        }
        let entry = StepPlan.Entry(
            id: sequence.request.id, range: range, firstLogits: firstLogits, samples: samples,
            isDecode: isDecode, slot: slot)
        current.entries.append(entry)
        current.tokenCount += count
        return entry
    }

    private func isPlanned(_ slot: Int) -> Bool {
        let sequence = state(slot)
        return sequence.pending == 1 && sequence.outputCount > 0
    }

    // MARK: Starting

    /// Starts waiting sequences in order of rank, as long as there are rows and blocks for them.
    /// None overtakes one that lacks blocks, or long prompts would starve.
    private mutating func admit(_ budget: inout Int, _ logitRows: inout Int) {
        var position = 0
        while position < waiting.count, budget > 0, running.count < limits.sequencesMax {
            let slot = waiting[position]
            if isBeingComputed(slot) {
                position += 1
                continue
            }
            guard start(slot) else { return }
            waiting.remove(at: position)
            insert(slot, into: \.running)
            planPrefill(slot, &budget, &logitRows)
        }
    }

    /// Takes the blocks for all known tokens, cached ones first.
    private mutating func start(_ slot: Int) -> Bool {
        let sequence = state(slot)
        let hits = cachedBlocks(sequence)
        let needed = blockCount(sequence.tokens.count) - hits.blocks.count
        // Hits that nobody holds leave the available blocks too. One block for each running
        // sequence is kept back, or the newcomer would soon be preempted again.
        let unheld = hits.unheld
        let reserve = running.isEmpty ? 0 : running.count + 1
        guard pool.availableCount - unheld >= needed + reserve else { return false }
        var blocks = hits.blocks
        for block in blocks { pool.retain(block) }
        for _ in 0..<needed {
            guard let block = pool.allocate() else { preconditionFailure("blocks were counted") }
            blocks.append(block)
        }
        let computed = hits.blocks.count * limits.blockTokens
        let isFirstStart = !sequence.hasStarted
        mutate(slot) { state in
            state.blocks = blocks
            state.computed = computed
            state.registeredBlocks = hits.blocks.count
            state.content = hits.content
            if isFirstStart {
                state.hasStarted = true
                state.cachedTokens = computed
            }
        }
        if isFirstStart {
            deliveries.append(
                Delivery(id: sequence.request.id, event: .started(cachedTokens: computed)))
        }
        return true
    }

    /// Leading full blocks of the tokens that are cached. The last token is always computed,
    /// because its logits are needed.
    private mutating func cachedBlocks(
        _ sequence: SequenceState
    ) -> (blocks: [BlockID], content: BlockPool.ContentID, unheld: Int) {
        var content = pool.root(of: sequence.request.tenant)
        guard limits.prefixCache, !wantsPromptLogits(sequence) else { return ([], content, 0) }
        var blocks: [BlockID] = []
        var unheld = 0
        var start = 0
        while start + limits.blockTokens < sequence.tokens.count,
            let hit = pool.find(parent: content, history: sequence.tokens, start: start)
        {
            blocks.append(hit.block)
            if !pool.isUsed(hit.block) { unheld += 1 }
            content = hit.content
            start += limits.blockTokens
        }
        return (blocks, content, unheld)
    }

    /// Skips what another sequence has computed since this one started.
    private mutating func extendFromCache(_ slot: Int) {
        let sequence = state(slot)
        guard limits.prefixCache, !sequence.request.wantsPromptLogits,
            sequence.computed == sequence.registeredBlocks * limits.blockTokens
        else { return }
        var index = sequence.registeredBlocks
        var content = sequence.content
        while (index + 1) * limits.blockTokens < sequence.tokens.count,
            let hit = pool.find(
                parent: content, history: sequence.tokens, start: index * limits.blockTokens)
        {
            let own = state(slot).blocks[index]
            pool.retain(hit.block)
            pool.release(own)
            content = hit.content
            mutate(slot) { $0.blocks[index] = hit.block }
            index += 1
        }
        guard index > sequence.registeredBlocks else { return }
        let computed = index * limits.blockTokens
        mutate(slot) { state in
            state.registeredBlocks = index
            state.computed = computed
            state.content = content
        }
    }

    /// Whether a running sequence is about to compute blocks that this one could share. Waiting
    /// for them is cheaper than computing them twice; the other one is ahead, so it will come.
    private func isBeingComputed(_ slot: Int) -> Bool {
        guard limits.prefixCache else { return false }
        let sequence = state(slot)
        guard !sequence.request.wantsPromptLogits else { return false }
        let size = limits.blockTokens
        for other in running {
            let ahead = state(other)
            guard ahead.pending > size, ahead.request.tenant == sequence.request.tenant,
                ahead.rank < sequence.rank, !ahead.request.wantsPromptLogits
            else { continue }
            let start = ahead.computed / size * size
            let end = min(ahead.tokens.count, sequence.tokens.count - 1)
            guard start + size <= end, ahead.tokens[start] == sequence.tokens[start] else {
                continue
            }
            if ahead.tokens[..<(start + size)] == sequence.tokens[..<(start + size)] {
                return true
            }
        }
        return false
    }

    private func blockCount(_ tokens: Int) -> Int {
        (tokens + limits.blockTokens - 1) / limits.blockTokens
    }

    // MARK: Commit

    /// Takes the results of the last plan, one per entry, and tells what is new. Also returns
    /// the deliveries that commands and planning caused.
    package mutating func commit(_ results: [StepResult]) -> [Delivery] {
        precondition(results.count == current.entries.count, "one result per planned entry")
        for (entry, result) in zip(current.entries, results) {
            commit(entry, result)
        }
        current.entries.removeAll(keepingCapacity: true)
        current.tokenCount = 0
        let news = deliveries
        deliveries.removeAll(keepingCapacity: true)
        return news
    }

    private mutating func commit(_ entry: StepPlan.Entry, _ result: StepResult) {
        // The sequence may have been aborted since it was planned.
        guard slotOf[entry.id] == entry.slot else { return }
        guard result != .failed else {
            for block in state(entry.slot).blocks { pool.forget(block) }
            return end(entry.slot, .failed)
        }
        precondition(entry.samples == (result != .computed), "a token is due at the end only")
        mutate(entry.slot) { state in
            state.computed = entry.range.upperBound
            if state.request.wantsPromptLogits {
                state.promptLogitsGiven = max(
                    state.promptLogitsGiven,
                    min(entry.range.upperBound, state.request.prompt.count))
            }
        }
        registerFullBlocks(entry.slot)
        switch result {
        case .computed, .failed: break
        case .stop: end(entry.slot, .stopped)
        case .last(let token):
            mutate(entry.slot) { $0.tokens.append(token) }
            end(entry.slot, .token(token, isLast: true))
        case .token(let token):
            mutate(entry.slot) { $0.tokens.append(token) }
            let sequence = state(entry.slot)
            if sequence.outputCount >= sequence.request.maxTokens {
                end(entry.slot, .token(token, isLast: true))
            } else {
                deliveries.append(Delivery(id: entry.id, event: .token(token, isLast: false)))
            }
        }
    }

    private mutating func registerFullBlocks(_ slot: Int) {
        guard limits.prefixCache else { return }
        let size = limits.blockTokens
        while true {
            let sequence = state(slot)
            let index = sequence.registeredBlocks
            guard (index + 1) * size <= sequence.computed else { return }
            let block = sequence.blocks[index]
            let known = pool.register(
                block, parent: sequence.content, history: sequence.tokens, start: index * size)
            if let twin = known.twin {
                // Two sequences computed the same; the values are equal bit by bit, so share.
                pool.retain(twin)
                pool.release(block)
            }
            mutate(slot) { state in
                if let twin = known.twin { state.blocks[index] = twin }
                state.registeredBlocks = index + 1
                state.content = known.content
            }
        }
    }

    /// KV blocks to be zeroed before the next step is computed.
    package mutating func takeTainted() -> [BlockID] { pool.takeTainted() }

    // MARK: Ends

    private mutating func end(_ slot: Int, _ event: Delivery.Event) {
        let request = state(slot).request
        deliveries.append(Delivery(id: request.id, event: event))
        releaseBlocks(slot)
        if let index = running.firstIndex(of: slot) { running.remove(at: index) }
        if let index = waiting.firstIndex(of: slot) { waiting.remove(at: index) }
        if request.startBy != nil || request.finishBy != nil { timedCount -= 1 }
        slotOf[request.id] = nil
        slots[slot] = nil
        freeSlots.append(slot)
    }

    /// Gives the blocks back, the last first: a history's end is worth less than its beginning.
    private mutating func releaseBlocks(_ slot: Int) {
        for block in state(slot).blocks.reversed() { pool.release(block) }
        mutate(slot) { state in
            state.blocks.removeAll()
            state.computed = 0
            state.registeredBlocks = 0
            state.content = 0
        }
    }

    // MARK: Slots

    func state(_ slot: Int) -> SequenceState {
        guard let state = slots[slot] else { preconditionFailure("slot \(slot) is empty") }
        return state
    }

    private mutating func mutate(_ slot: Int, _ change: (inout SequenceState) -> Void) {
        guard slots[slot] != nil else { preconditionFailure("slot \(slot) is empty") }
        change(&slots[slot]!)
    }

    private mutating func insert(_ slot: Int, into list: WritableKeyPath<Scheduler, [Int]>) {
        let rank = state(slot).rank
        var low = 0
        var high = self[keyPath: list].count
        while low < high {
            let middle = (low + high) / 2
            if state(self[keyPath: list][middle]).rank < rank {
                low = middle + 1
            } else {
                high = middle
            }
        }
        self[keyPath: list].insert(slot, at: low)
    }
}
