import AutoGLMCompute
import AutoGLMDecoding
import AutoGLMModels
import AutoGLMScheduling

/// What the engine thread keeps of one live request.
final class LiveRequest {
    let request: GenerationRequest
    let sink: any TokenSink
    let choice: Int
    let arrival: Duration
    var sampler: Sampler
    /// Prompt tokens with their log-probabilities, until the first output token.
    var promptEvents: [TokenEvent] = []
    /// The token of this step, until the scheduler has taken it.
    var newToken: TokenEvent?
    var stopToken: Int32?
    /// What may come next, where the output has a form.
    var grammar: GrammarState?
    /// The form is complete and nothing can follow.
    var isComplete = false
    var failure = GenerationError.cancelled
    var usage = Usage()
    var isStarted: Bool { usage.timeline.started != nil }

    init(_ submission: Submission, stopTokens: [Int32]) {
        request = submission.request
        sink = submission.sink
        choice = submission.choice
        arrival = submission.sequence.arrival
        sampler = Sampler(
            request.sampling, stopTokens: stopTokens, seed: submission.seed,
            prompt: request.prompt)
        grammar = request.constraint?.grammar.makeState()
        usage.promptTokens = request.prompt.count
        usage.timeline = request.timeline
    }

    /// `maxTokens` 0: only the prompt is wanted.
    var isPromptOnly: Bool { request.sampling.maxTokens == 0 }

    func sample(
        _ row: UnsafeMutableBufferPointer<Float>, _ mask: inout TokenMask,
        _ scratch: inout SamplerScratch
    ) throws(SamplingError) -> SampledToken {
        guard var state = grammar.take() else {
            return try unsafe sampler.sample(row, scratch: &scratch)
        }
        defer { grammar = state }
        return try unsafe sampler.sample(
            row, grammar: &state, mask: &mask, scratch: &scratch)
    }

    /// Tells the grammar of a token that it allowed.
    func follow(_ token: Int32) throws(SamplingError) {
        guard var state = grammar.take() else { return }
        guard state.accept(token) else { throw .grammar(.deadEnd) }
        guard state.isFinished else {
            grammar = state
            return
        }
        if request.constraint?.goesOn != true {
            isComplete = true
            grammar = state
        }
    }
}

/// Turns a plan into one call of the model and its logits into tokens.
///
/// All buffers are kept from step to step.
struct ModelRunner: ~Copyable {
    private let model: any CausalLM
    private let run: ThreadRun
    /// Sequences that the engine may get stuck on; each is computed by itself.
    var suspects: Set<SequenceID> = []
    /// Logits per row, and how many of them belong to real tokens.
    private let rowWidth: Int
    private let vocabulary: Int
    private var batch = StepBatch()
    private var logits: [Float] = []
    private var scratch = SamplerScratch()
    private var mask = TokenMask(count: 0)

    init(_ model: any CausalLM, rowWidth: Int, vocabulary: Int, run: ThreadRun) {
        self.model = model
        self.run = run
        self.rowWidth = rowWidth
        self.vocabulary = min(vocabulary, rowWidth)
    }

    /// Makes blocks that nobody holds zero and gives their memory back. Where a device cannot, it
    /// stays as it is.
    func erase(_ blocks: [BlockID]) {
        if !blocks.isEmpty { try? model.eraseBlocks(blocks.map(\.index)) }
    }

    /// Computes the plan: what is above suspicion together, each suspect by itself.
    mutating func run(
        _ plan: StepPlan, _ scheduler: borrowing Scheduler, _ live: [SequenceID: LiveRequest]
    ) -> [StepResult] {
        if suspects.isEmpty { return compute(together: plan.entries[...], scheduler, live) }
        var results = Array(repeating: StepResult.failed, count: plan.entries.count)
        let together = plan.entries.indices.filter { !suspects.contains(plan.entries[$0].id) }
        let entries = together.map { plan.entries[$0] }
        for (index, result) in zip(together, compute(together: entries[...], scheduler, live)) {
            results[index] = result
        }
        for index in plan.entries.indices where suspects.contains(plan.entries[index].id) {
            results[index] = compute(together: plan.entries[index...index], scheduler, live)[0]
        }
        return results
    }

    /// When a step fails as a whole, each sequence is computed by itself, so that only those fail
    /// that cannot be computed; doing a row twice gives the same values.
    private mutating func compute(
        together entries: ArraySlice<StepPlan.Entry>, _ scheduler: borrowing Scheduler,
        _ live: [SequenceID: LiveRequest]
    ) -> [StepResult] {
        guard let error = compute(entries, scheduler) else {
            return readTokens(entries, scheduler, live)
        }
        if entries.count == 1, let entry = entries.first {
            live[entry.id]?.failure = error
            return [.failed]
        }
        var results: [StepResult] = []
        for index in entries.indices {
            results += compute(together: entries[index...index], scheduler, live)
        }
        return results
    }

    private mutating func compute(
        _ entries: ArraySlice<StepPlan.Entry>, _ scheduler: borrowing Scheduler
    ) -> GenerationError? {
        if entries.isEmpty { return nil }
        run.note(stepping: entries.map(\.id))
        batch.removeAll()
        for entry in entries { add(entry, scheduler) }
        let count = batch.outputRows.count * rowWidth
        if logits.count < count {
            logits = Array(repeating: 0, count: count)
        }
        var buffer: [Float] = []
        swap(&buffer, &logits)
        defer { swap(&buffer, &logits) }
        do {
            try unsafe buffer.withUnsafeMutableBufferPointer {
                (buffer: inout UnsafeMutableBufferPointer<Float>) throws(BackendError) in
                try unsafe model.logits(
                    batch, into: UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            }
            return nil
        } catch {
            run.noteFailure()
            if case .notANumber = error { return .notANumber }
            return .stepFailed(error.description)
        }
    }

    private mutating func add(_ entry: StepPlan.Entry, _ scheduler: borrowing Scheduler) {
        let tokens = scheduler.tokens(of: entry)
        let firstRow = Int32(batch.tokens.count)
        batch.sequences.append(
            StepBatch.SequenceRows(
                firstRow: firstRow, rowCount: Int32(entry.range.count),
                firstPosition: Int32(entry.range.lowerBound),
                blockTableOffset: Int32(batch.blockTables.count)))
        for position in entry.range {
            batch.tokens.append(tokens[position])
            batch.positions.append(Int32(position))
        }
        for block in scheduler.blocks(of: entry) { batch.blockTables.append(block.index) }
        for position in entry.firstLogits..<entry.range.upperBound {
            batch.outputRows.append(firstRow + Int32(position - entry.range.lowerBound))
        }
    }

    private mutating func readTokens(
        _ entries: ArraySlice<StepPlan.Entry>, _ scheduler: borrowing Scheduler,
        _ live: [SequenceID: LiveRequest]
    ) -> [StepResult] {
        var results: [StepResult] = []
        results.reserveCapacity(entries.count)
        var row = 0
        for entry in entries {
            run.beat()
            let rows = row..<(row + entry.range.upperBound - entry.firstLogits)
            row = rows.upperBound
            guard let request = live[entry.id] else {
                // Aborted requests leave the plan with the scheduler's knowledge, never alone.
                results.append(.failed)
                continue
            }
            do {
                results.append(
                    try read(entry, rows, scheduler.tokens(of: entry), request))
            } catch {
                request.failure = failure(error, request)
                results.append(.failed)
            }
        }
        return results
    }

    /// A form that leads nowhere is no fault of the engine's.
    private func failure(_ error: SamplingError, _ live: LiveRequest) -> GenerationError {
        switch error {
        case .grammar(let error): return .grammar(error)
        case .nothingAllowed where live.grammar != nil: return .grammar(.deadEnd)
        case .notANumber, .nothingAllowed:
            run.noteFailure()
            return error == .notANumber ? .notANumber : .stepFailed("no token is allowed here")
        }
    }

    /// Log-probabilities of prompt tokens, and the new token if one is due.
    private mutating func read(
        _ entry: StepPlan.Entry, _ rows: Range<Int>, _ tokens: [Int32], _ live: LiveRequest
    ) throws(SamplingError) -> StepResult {
        if live.request.promptLogprobs, live.usage.completionTokens == 0 {
            let promptCount = live.request.prompt.count
            if live.promptEvents.isEmpty {
                live.promptEvents.append(TokenEvent(token: tokens[0]))
            }
            for (row, position) in zip(rows, entry.firstLogits...)
            where position + 1 < promptCount {
                let event = try promptEvent(row, tokens[position + 1], live)
                live.promptEvents.append(event)
            }
        }
        guard entry.samples, let row = rows.last else { return .computed }
        let sampled = try sample(row, live)
        if live.isPromptOnly {
            live.newToken = nil
            return .token(sampled.token)
        }
        if live.sampler.isStop(sampled.token, isConstrained: live.grammar != nil) {
            live.stopToken = sampled.token
            return .stop
        }
        live.sampler.accept(sampled.token)
        try live.follow(sampled.token)
        live.newToken = TokenEvent(
            token: sampled.token, logprob: sampled.logprob,
            top: sampled.top.map { TokenLogprob(token: $0.token, logprob: $0.logprob) })
        return live.isComplete ? .last(sampled.token) : .token(sampled.token)
    }

    private mutating func sample(
        _ row: Int, _ live: LiveRequest
    ) throws(SamplingError) -> SampledToken {
        let start = row * rowWidth
        let end = start + vocabulary
        var scratch = SamplerScratch()
        var mask = TokenMask(count: 0)
        swap(&scratch, &self.scratch)
        swap(&mask, &self.mask)
        defer {
            swap(&scratch, &self.scratch)
            swap(&mask, &self.mask)
        }
        return try unsafe logits.withUnsafeMutableBufferPointer {
            (buffer: inout UnsafeMutableBufferPointer<Float>) throws(SamplingError) in
            let row = unsafe UnsafeMutableBufferPointer(rebasing: buffer[start..<end])
            if live.isPromptOnly {
                return try unsafe live.sampler.sample(row, scratch: &scratch)
            }
            if live.grammar != nil, mask.count != vocabulary {
                mask = TokenMask(count: vocabulary)
            }
            return try unsafe live.sample(row, &mask, &scratch)
        }
    }

    private func promptEvent(
        _ row: Int, _ token: Int32, _ live: LiveRequest
    ) throws(SamplingError) -> TokenEvent {
        let start = row * rowWidth
        let end = start + vocabulary
        let top = live.request.sampling.topLogprobs ?? 0
        let found = try unsafe logits.withUnsafeBufferPointer {
            (buffer: UnsafeBufferPointer<Float>) throws(SamplingError) in
            try unsafe LogProbabilities(
                UnsafeBufferPointer(rebasing: buffer[start..<end]), token: token, top: top)
        }
        return TokenEvent(
            token: token, logprob: found.logprob,
            top: found.top.map { TokenLogprob(token: $0.token, logprob: $0.logprob) })
    }
}
