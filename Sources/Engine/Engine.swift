import AutoGLMDecoding
package import AutoGLMModels
import AutoGLMScheduling
import Synchronization

/// What the engine must know of the model it runs.
package struct EngineShape: Sendable, Equatable {
    /// Logits per row, padding included.
    package var rowWidth: Int
    /// Tokens that may be sampled: ids below this.
    package var vocabulary: Int
    package var contextMax: Int
    package var blocks: Int
    package var blockTokens: Int
    /// The model's own stop tokens.
    package var stopTokens: [Int32]

    package init(
        rowWidth: Int, vocabulary: Int, contextMax: Int, blocks: Int, blockTokens: Int,
        stopTokens: [Int32]
    ) {
        self.rowWidth = rowWidth
        self.vocabulary = min(vocabulary, rowWidth)
        self.contextMax = contextMax
        self.blocks = blocks
        self.blockTokens = blockTokens
        self.stopTokens = stopTokens
    }
}

/// What callers' threads and the engine thread share. Each lock is held for a few instructions.
final class EngineShared: EngineSurroundings {
    struct State {
        var gate: AdmissionGate
        var status = EngineStatus()
        /// The engine thread of the moment; nil before the first.
        var run: (any EngineRun)?
        var live: [SequenceID: LiveSequence] = [:]
        var quarantine = Quarantine()
        /// ``Engine/shutdown()`` has been called.
        var isClosing = false
        /// The silence that the watch has found, and when.
        var silence: Duration = .zero
        var silenceTime: Duration = .zero
        /// How long a new run takes until it works, by the last one.
        var restartTime: Duration = .seconds(1)
        /// Of runs that were abandoned.
        var failedStepsBefore: UInt64 = 0
        /// Accepted and not yet ended.
        var liveCount = 0
        var lastID: UInt64 = 0

        /// There is no engine at the moment, and there will be one again.
        var isRestarting: Bool {
            guard let run, !gate.isClosed, !status.hasFailed else { return false }
            return run.phase != .working
        }
    }

    let options: EngineOptions
    let shape: EngineShape
    let state: Mutex<State>
    let start: RequestTimeline.Instant

    init(
        options: EngineOptions, shape: EngineShape,
        start: RequestTimeline.Instant = ContinuousClock.now
    ) {
        self.options = options
        self.shape = shape
        self.start = start
        let limits = AdmissionGate.Limits(
            sequenceTokensMax: min(shape.contextMax, shape.blocks * shape.blockTokens),
            requestsMax: options.queueRequests,
            tokensMax: options.queueTokens ?? 4 * shape.contextMax)
        var initial = State(gate: AdmissionGate(limits: limits))
        initial.status.blocksTotal = shape.blocks
        state = Mutex(initial)
    }

    var queueTimeout: Duration { options.queueTimeout }

    var currentRun: (any EngineRun)? { state.withLock { $0.run } }

    func note(silence: Duration) {
        let now = self.now
        state.withLock { ($0.silence, $0.silenceTime) = (silence, now) }
    }

    /// A new run works, so long after the old one failed.
    func didRestart(within time: Duration) {
        state.withLock { $0.restartTime = max(time, .seconds(1)) }
    }

    /// - Returns: the restarts so far.
    func giveUp() -> Int {
        state.withLock { state in
            state.status.hasFailed = true
            return state.status.restarts + state.status.processRestarts
        }
    }

    func report(_ report: StepReport, isStep: Bool, newTokens: Int, epoch: Int) {
        state.withLock { state in
            guard state.run?.epoch == epoch else { return }
            state.status.running = report.running
            state.status.blocksUsed = report.blocksUsed
            state.status.blocksCached = report.blocksCached
            state.status.blocksPeak = max(
                state.status.blocksPeak, report.blocksUsed + report.blocksCached)
            state.status.preemptions = report.preemptions
            if isStep { state.status.steps += 1 }
            state.status.generatedTokens += UInt64(newTokens)
        }
        options.onStep?(report)
    }

    /// Whatever is told here is heard at once.
    func flush() {}

    func didShed(used: Int, cached: Int, epoch: Int) {
        state.withLock { state in
            guard state.run?.epoch == epoch else { return }
            state.status.blocksUsed = used
            state.status.blocksCached = cached
            state.status.blocksPeak = used + cached
        }
    }

    func didStop(epoch: Int) {
        state.withLock { if $0.run?.epoch == epoch { $0.status.isStopped = true } }
    }
}

/// The front of the engine thread: takes requests from any task, hands out token streams.
package final class Engine: Sendable {
    private let shared: EngineShared
    private let watch: EngineWatch
    private let watchThread: EngineThread

    package var shape: EngineShape { shared.shape }

    /// Starts the engine thread and the one that watches it. The model's cache must have
    /// `shape.blocks` blocks.
    /// - Throws: ``EngineError/noThread`` when the system refuses one.
    package convenience init(
        _ model: sending any CausalLM, shape: EngineShape, options: EngineOptions
    ) throws(EngineError) {
        let shared = EngineShared(options: options, shape: shape)
        let limits = Scheduler.Limits(shape, options)
        guard let run = ThreadRun.start(model, epoch: 0, limits, shared) else { throw .noThread }
        try self.init(shared, limits, run)
    }

    /// Takes over a run that has been started, and has it watched.
    init(
        _ shared: EngineShared, _ limits: Scheduler.Limits, _ run: any EngineRun
    ) throws(EngineError) {
        shared.state.withLock { $0.run = run }
        guard let (watch, thread) = EngineWatch.start(shared, limits) else {
            run.post(.stop)
            run.join(patience: .seconds(5))
            throw .noThread
        }
        self.shared = shared
        self.watch = watch
        watchThread = thread
    }

    deinit {
        shutdown()
    }

    /// ``generate(_:)-([GenerationRequest])`` of one sequence.
    package func generate(_ request: GenerationRequest) throws(AdmissionError) -> TokenStream {
        try generate([request])
    }

    /// Checks the sequences of one request, puts them into the queue, all or none, and returns
    /// their stream.
    /// - Throws: ``AdmissionError`` at once; an accepted request always ends in its stream.
    package func generate(_ requests: [GenerationRequest]) throws(AdmissionError) -> TokenStream {
        for request in requests {
            do {
                try request.sampling.validate(vocabulary: shared.shape.vocabulary)
            } catch {
                throw .invalid(error)
            }
            if let bad = request.prompt.first(where: { $0 < 0 || $0 >= shared.shape.vocabulary }) {
                throw .unknownToken(bad, vocabulary: shared.shape.vocabulary)
            }
        }
        let suspects = try suspects(requests)
        let sequences = try admit(requests)
        let channel = TokenChannel(count: requests.count)
        let ids = sequences.map(\.id)
        let stream = TokenStream(count: ids.count, channel: channel) { [shared] in
            shared.abort(ids[$0])
        }
        let admitted = shared.instant(sequences.first?.arrival ?? .zero)
        let submissions = sequences.enumerated().map { choice, sequence in
            var request = requests[choice]
            request.timeline.admitted = admitted
            return Submission(
                sequence: sequence, request: request,
                seed: request.sampling.seed ?? UInt64.random(in: 0 ... .max),
                sink: channel, choice: choice, isSuspect: suspects.contains(choice))
        }
        shared.enter(submissions, channel)
        return stream
    }

    /// Refuses requests that the engine has got stuck on again and again.
    /// - Returns: which of them it has got stuck on once.
    private func suspects(_ requests: [GenerationRequest]) throws(AdmissionError) -> Set<Int> {
        let now = shared.now
        let outcome = shared.state.withLock { state -> Result<Set<Int>, AdmissionError> in
            if state.status.hasFailed {
                return .failure(.engineFailed(retryAfter: .seconds(30)))
            }
            if state.isRestarting {
                return .failure(.engineRestarting(retryAfter: state.restartTime))
            }
            var suspects: Set<Int> = []
            guard !state.quarantine.isEmpty else { return .success(suspects) }
            for (choice, request) in requests.enumerated() {
                let print = request.fingerprint
                guard let record = state.quarantine.record(of: print, now: now) else { continue }
                guard record.strikes < Quarantine.strikesMax else {
                    state.status.quarantined += 1
                    return .failure(
                        .quarantined(times: record.strikes, remaining: record.remaining))
                }
                suspects.insert(choice)
            }
            return .success(suspects)
        }
        return try outcome.get()
    }

    private func admit(
        _ requests: [GenerationRequest]
    ) throws(AdmissionError) -> [SequenceRequest] {
        let arrival = shared.now
        let outcome = shared.state.withLock {
            state -> Result<[SequenceRequest], AdmissionError> in
            // What does not fit an empty queue never will.
            let limit = state.gate.sequencesMax(tenant: requests.first?.tenant ?? "")
            guard requests.count <= limit else {
                return .failure(.tooManySequences(count: requests.count, limit: limit))
            }
            let gate = state.gate
            do throws(AdmissionError) {
                var sequences: [SequenceRequest] = []
                for request in requests {
                    sequences.append(
                        try admit(request, arrival, opensQueue: gate.waiting == 0, &state))
                }
                state.liveCount += requests.count
                return .success(sequences)
            } catch {
                state.gate = gate
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    private func admit(
        _ request: GenerationRequest, _ arrival: Duration, opensQueue: Bool,
        _ state: inout EngineShared.State
    ) throws(AdmissionError) -> SequenceRequest {
        let queueTimeout = request.queueTimeout ?? shared.options.queueTimeout
        var startWithin = queueTimeout
        var finishBy: Duration?
        if let deadline = request.deadline {
            let origin = request.timeline.received.map { shared.time(of: $0) } ?? arrival
            let end = origin + deadline
            guard end > arrival else { throw .deadlineExceeded(limit: deadline) }
            finishBy = end
            startWithin = min(queueTimeout, end - arrival)
        }
        let maxTokens: Int
        do {
            maxTokens = try state.gate.admit(
                promptTokens: request.prompt.count,
                maxTokens: request.sampling.maxTokens.map { max($0, 1) },
                tenant: request.tenant, startWithin: startWithin, opensQueue: opensQueue,
                now: arrival)
        } catch {
            throw AdmissionError(error, retryAfter: state.gate.retryAfter)
        }
        state.lastID += 1
        return SequenceRequest(
            id: SequenceID(state.lastID), prompt: request.prompt, maxTokens: maxTokens,
            priority: min(max(request.priority, 0), 9), tenant: request.tenant,
            arrival: arrival, startBy: arrival + queueTimeout, finishBy: finishBy,
            wantsPromptLogits: request.promptLogprobs)
    }

    /// A snapshot for `/health` and `/metrics`.
    package var status: EngineStatus {
        let now = shared.now
        return shared.state.withLock { state in
            var status = state.status
            status.waiting = state.gate.waiting
            status.waitingTokens = state.gate.waitingTokens
            status.isDraining = state.gate.isClosed
            status.isRestarting = state.isRestarting
            // The watch's finding, and what has passed since; if it was long, the process stood.
            let since = min(max(now - state.silenceTime, .zero), StallDetector.tick * 2)
            status.sinceProgress = state.silence + since
            status.failedSteps = state.failedStepsBefore + (state.run?.failedSteps ?? 0)
            return status
        }
    }

    /// Bytes in RAM of the process that the engine has for itself; 0 where it has none.
    package var processMemory: Int { shared.currentRun?.processMemory ?? 0 }

    /// Lets go of prefix-cache content beyond `tokens`, the longest unused first, and gives the
    /// memory of free KV blocks back to the system. Happens between two steps.
    package func shedCache(keeping tokens: Int) {
        shared.currentRun?.post(.shed(cachedMax: tokens / shared.shape.blockTokens))
    }

    /// Refuses new requests from now on; those accepted go on. Returns at once.
    package func beginDrain() {
        shared.state.withLock { $0.gate.close() }
    }

    /// ``beginDrain()``, then waits until all requests have ended or `deadline` has passed; what
    /// is left then fails with ``GenerationError/shuttingDown``.
    package func drain(within deadline: Duration) async {
        beginDrain()
        let end = ContinuousClock.now + deadline
        while hasLiveRequests, ContinuousClock.now < end {
            // A cancelled drain fails what is left at once.
            do { try await Task.sleep(for: .milliseconds(5)) } catch { break }
        }
        shared.failAll(.shuttingDown)
    }

    private var hasLiveRequests: Bool { shared.state.withLock { $0.liveCount > 0 } }

    /// Fails what is left and joins the thread. Blocks for at most one step, and not for one that
    /// hangs.
    package func shutdown() {
        beginDrain()
        watch.end()
        watchThread.join()
        let run = shared.state.withLock { state in
            state.isClosing = true
            return state.run
        }
        shared.failAll(.shuttingDown)
        run?.post(.stop)
        guard let run, !run.isAbandoned else { return }
        run.join(patience: .seconds(5))
    }
}

package enum EngineError: Error, Equatable, CustomStringConvertible {
    case noThread

    package var description: String {
        "The system refused to start the engine's thread. Raise the limit on threads (ulimit -u)."
    }
}

extension Scheduler.Limits {
    init(_ shape: EngineShape, _ options: EngineOptions) {
        self.init(
            blocks: shape.blocks, blockTokens: shape.blockTokens, contextMax: shape.contextMax,
            sequencesMax: options.sequencesMax, stepTokens: options.stepTokens,
            // Room for the prompt rows of a request that wants their log-probabilities.
            logitRows: options.sequencesMax + 32, prefixCache: options.prefixCache)
    }
}

extension AdmissionError {
    fileprivate init(_ refusal: AdmissionGate.Refusal, retryAfter: Duration) {
        // Clients that were refused together should not come back together.
        let after = retryAfter * Double.random(in: 0.75...1.25)
        switch refusal {
        case .emptyPrompt: self = .emptyPrompt
        case .promptTooLong(let tokens, let limit):
            self = .promptTooLong(tokens: tokens, limit: limit)
        case .tooManyTokens(let prompt, let maxTokens, let limit):
            self = .tooManyTokens(prompt: prompt, maxTokens: maxTokens, limit: limit)
        case .queueFull(let waiting, let limit):
            self = .overloaded(waiting: waiting, limit: limit, retryAfter: after)
        case .tooManyQueuedTokens(let waiting, let limit):
            self = .tooManyQueuedTokens(waiting: waiting, limit: limit, retryAfter: after)
        case .deadlineTooShort(let wait, let deadline):
            self = .deadlineTooShort(wait: wait, deadline: deadline, retryAfter: after)
        case .closed:
            self = .shuttingDown(retryAfter: after)
        }
    }
}
