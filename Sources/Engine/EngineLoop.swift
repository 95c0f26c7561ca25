import AutoGLMScheduling

/// Lives on the engine thread: takes commands at step boundaries, plans, computes, delivers.
///
/// No locks but the mailbox's and its surroundings', never awaits, never waits for a consumer. When
/// it hangs, ``EngineWatch`` abandons it; should it wake up then, it leaves without a word.
struct EngineLoop: ~Copyable {
    private var scheduler: Scheduler
    private var runner: ModelRunner
    private var live: [SequenceID: LiveRequest] = [:]
    private var pace = StepPace()
    private var isStopping = false
    private let surroundings: any EngineSurroundings
    private let run: ThreadRun

    init(
        scheduler: Scheduler, runner: consuming ModelRunner,
        surroundings: any EngineSurroundings, run: ThreadRun
    ) {
        self.scheduler = scheduler
        self.runner = runner
        self.surroundings = surroundings
        self.run = run
    }

    mutating func work() {
        while !run.isAbandoned {
            // Park only when idle; with work in hand, take what has arrived and go on.
            let commands = run.mailbox.takeAll(blocking: scheduler.isIdle) { [run] in run.beat() }
            for command in commands { apply(command) }
            step()
            surroundings.flush()
            run.note(stepping: [])
            run.beat()
            if isStopping, scheduler.isIdle { break }
        }
        surroundings.didStop(epoch: run.epoch)
        surroundings.flush()
    }

    private mutating func apply(_ command: EngineCommand) {
        switch command {
        case .submit(let submission):
            let id = submission.sequence.id
            live[id] = LiveRequest(
                submission, stopTokens: surroundings.stopTokens(of: submission.request.sampling))
            scheduler.apply(.submit(submission.sequence))
            if submission.isSuspect { runner.suspects.insert(id) }
            if isStopping { apply(.stop) }
        case .abort(let id):
            scheduler.apply(.abort(id))
        case .shed(let cachedMax):
            runner.erase(scheduler.shed(cachedMax: cachedMax))
            surroundings.didShed(
                used: scheduler.pool.usedCount, cached: scheduler.pool.cachedCount,
                epoch: run.epoch)
        case .stop:
            isStopping = true
            for request in live.values { request.failure = .shuttingDown }
            scheduler.apply(.abortAll)
        }
    }

    private mutating func step() {
        scheduler.prefillTokensMax = pace.prefillTokens(
            limit: scheduler.limits.stepTokens, isAlone: scheduler.runningCount <= 1)
        let begin = surroundings.now
        let plan = scheduler.plan(now: begin)
        stampStarts(plan, begin)
        let tainted = scheduler.takeTainted()
        runner.erase(tainted)
        let results = plan.isEmpty ? [] : runner.run(plan, scheduler, live)
        if run.isAbandoned { return }
        let end = surroundings.now
        if !plan.isEmpty { pace.record(rows: plan.tokenCount, time: end - begin) }
        for delivery in scheduler.commit(results) { deliver(delivery, now: end) }
        report(plan, end - begin)
    }

    /// A request starts with the step that computes its first row, not when that step has ended:
    /// the time in between is its prefill.
    private func stampStarts(_ plan: StepPlan, _ begin: Duration) {
        var started: [SequenceID] = []
        for entry in plan.entries {
            guard let request = live[entry.id], !request.isStarted else { continue }
            request.usage.timeline.started = surroundings.instant(begin)
            started.append(entry.id)
        }
        if !started.isEmpty { surroundings.started(started, epoch: run.epoch) }
    }

    private mutating func deliver(_ delivery: Delivery, now: Duration) {
        guard let request = live[delivery.id] else { return }
        switch delivery.event {
        case .started(let cachedTokens):
            request.usage.cachedTokens = cachedTokens
            surroundings.leftQueue(delivery.id, epoch: run.epoch)
        case .token(_, let isLast):
            deliverToken(request, isLast: isLast, now: now)
        case .stopped:
            request.noteToken(surroundings.instant(now), counts: false)
            request.pushPrompt(from: run.epoch)
            request.sink.finish(
                Finish(reason: .stop, stopToken: request.stopToken, usage: request.usage),
                of: request.choice, last: nil, from: run.epoch)
        case .queueTimeout:
            let waited = now - request.arrival
            request.sink.fail(
                .queueTimeout(waited: waited, limit: surroundings.queueLimit(request.request)),
                choice: request.choice, from: run.epoch)
        case .deadlineExceeded:
            request.sink.fail(
                .deadlineExceeded(limit: request.request.deadline ?? .zero),
                choice: request.choice, from: run.epoch)
        case .failed, .aborted:
            request.sink.fail(request.failure, choice: request.choice, from: run.epoch)
        }
        guard delivery.isEnd else { return }
        live[delivery.id] = nil
        runner.suspects.remove(delivery.id)
        surroundings.ended(delivery.id, epoch: run.epoch)
    }

    private func deliverToken(_ request: LiveRequest, isLast: Bool, now: Duration) {
        request.noteToken(surroundings.instant(now), counts: !request.isPromptOnly)
        request.pushPrompt(from: run.epoch)
        let token = request.newToken
        request.newToken = nil
        if isLast {
            request.sink.finish(
                Finish(reason: request.isComplete ? .stop : .length, usage: request.usage),
                of: request.choice, last: token, from: run.epoch)
        } else if let token {
            request.sink.push(
                token, of: request.choice, usage: request.usage, from: run.epoch)
        }
    }

    private mutating func report(_ plan: StepPlan, _ time: Duration) {
        var report = StepReport()
        report.seconds = time / .seconds(1)
        report.batchTokens = plan.tokenCount
        report.decodeTokens = plan.entries.count { $0.isDecode }
        report.prefillTokens = plan.tokenCount - report.decodeTokens
        report.contextTokens = plan.entries.reduce(0) { $0 + $1.range.upperBound }
        report.sequences = plan.entries.count
        report.running = scheduler.runningCount
        report.waiting = scheduler.waitingCount
        report.blocksTotal = scheduler.pool.count
        report.blocksUsed = scheduler.pool.usedCount
        report.blocksCached = scheduler.pool.cachedCount
        report.preemptions = scheduler.preemptions
        report.waitingByPriority = scheduler.waitingByPriority
        let tokens = plan.entries.count { $0.samples }
        surroundings.report(
            report, isStep: !plan.isEmpty, newTokens: tokens, epoch: run.epoch)
    }
}

extension LiveRequest {
    fileprivate func noteToken(_ now: RequestTimeline.Instant, counts: Bool) {
        if usage.timeline.firstToken == nil { usage.timeline.firstToken = now }
        usage.timeline.lastToken = now
        if counts { usage.completionTokens += 1 }
    }

    fileprivate func pushPrompt(from epoch: Int) {
        guard !promptEvents.isEmpty else { return }
        sink.push(prompt: promptEvents, of: choice, usage: usage, from: epoch)
        promptEvents = []
    }
}

/// Keeps steps short: how many prompt tokens fit into one at the pace of late.
///
/// A long step delays every running stream and every abort. Cutting a prompt differently changes
/// no value, so the pace of the machine may decide.
struct StepPace {
    private var rowsPerSecond = 0.0

    mutating func record(rows: Int, time: Duration) {
        let seconds = time / .seconds(1)
        // Steps of a few rows say nothing about the pace of long ones.
        guard rows >= 16, seconds > 0 else { return }
        let rate = Double(rows) / seconds
        rowsPerSecond = rowsPerSecond == 0 ? rate : 0.7 * rowsPerSecond + 0.3 * rate
    }

    func prefillTokens(limit: Int, isAlone: Bool) -> Int {
        guard rowsPerSecond > 0 else { return min(limit, 128) }
        let seconds = isAlone ? 0.4 : 0.2
        let rows = min(rowsPerSecond * seconds, Double(limit))
        // Whole groups of 32 rows use the kernels best.
        return min(limit, max(32, Int(rows) / 32 * 32))
    }
}
