/// Decides at arrival whether a request may wait: what can never be served and what would wait
/// too long is refused at once, so that the queue stays short and every wait is bounded.
///
/// A pure value. The engine keeps it behind a lock, because callers ask on their own threads while
/// the engine thread reports starts.
package struct AdmissionGate {
    package struct Limits: Sendable {
        /// Prompt and output of one sequence: the smaller of the context and the KV pool.
        package var sequenceTokensMax: Int
        package var requestsMax: Int
        package var tokensMax: Int
        package init(sequenceTokensMax: Int, requestsMax: Int, tokensMax: Int) {
            self.sequenceTokensMax = sequenceTokensMax
            self.requestsMax = requestsMax
            self.tokensMax = tokensMax
        }
    }

    package enum Refusal: Error, Equatable {
        case emptyPrompt
        case promptTooLong(tokens: Int, limit: Int)
        case tooManyTokens(prompt: Int, maxTokens: Int, limit: Int)
        case queueFull(waiting: Int, limit: Int)
        case tooManyQueuedTokens(waiting: Int, limit: Int)
        case deadlineTooShort(wait: Duration, deadline: Duration)
        case closed
    }

    package let limits: Limits
    package private(set) var waiting = 0
    package private(set) var waitingTokens = 0
    package private(set) var isClosed = false
    private var waitingByTenant: [String: Int] = [:]
    /// Mean time between two starts while requests wait.
    private var startInterval: Duration = .zero
    private var lastStart: Duration?

    package init(limits: Limits) { self.limits = limits }

    /// How long the request at the end of the queue will wait, by the pace of late.
    package var expectedWait: Duration { startInterval * waiting }

    /// After this long about half of the queue will be gone: 1 to 30 s.
    package var retryAfter: Duration { min(max(expectedWait / 2, .seconds(1)), .seconds(30)) }

    package mutating func close() { isClosed = true }

    /// Sequences that one tenant may have waiting: half of the queue; without a name, all of it.
    package func sequencesMax(tenant: String) -> Int {
        tenant.isEmpty ? limits.requestsMax : max(limits.requestsMax / 2, 1)
    }

    /// Counts a request in, or says why not.
    /// - Parameters:
    ///   - maxTokens: nil asks for as many as fit.
    ///   - opensQueue: the request it is part of found the queue empty: the bound on waiting tokens
    ///     then does not hold for it, or what is larger than the bound could never be served.
    /// - Returns: output tokens it may have.
    package mutating func admit(
        promptTokens: Int, maxTokens: Int?, tenant: String, startWithin: Duration?,
        opensQueue: Bool = false,
        now: Duration
    ) throws(Refusal) -> Int {
        if isClosed { throw .closed }
        guard promptTokens > 0 else { throw .emptyPrompt }
        let limit = limits.sequenceTokensMax
        guard promptTokens < limit else {
            throw .promptTooLong(tokens: promptTokens, limit: limit - 1)
        }
        let room = limit - promptTokens
        if let maxTokens, maxTokens > room {
            throw .tooManyTokens(prompt: promptTokens, maxTokens: maxTokens, limit: limit)
        }
        guard waiting < limits.requestsMax else {
            throw .queueFull(waiting: waiting, limit: limits.requestsMax)
        }
        let share = sequencesMax(tenant: tenant)
        if let own = waitingByTenant[tenant], own >= share {
            throw .queueFull(waiting: own, limit: share)
        }
        guard waiting == 0 || opensQueue || waitingTokens + promptTokens <= limits.tokensMax else {
            throw .tooManyQueuedTokens(waiting: waitingTokens, limit: limits.tokensMax)
        }
        if let startWithin, waiting > 0, expectedWait > startWithin {
            throw .deadlineTooShort(wait: expectedWait, deadline: startWithin)
        }
        if waiting == 0 { lastStart = now }
        waiting += 1
        waitingTokens += promptTokens
        waitingByTenant[tenant, default: 0] += 1
        return maxTokens ?? room
    }

    /// A request has left the queue, to run or because it ended.
    package mutating func leave(promptTokens: Int, tenant: String, started: Bool, now: Duration) {
        waiting -= 1
        waitingTokens -= promptTokens
        if let own = waitingByTenant[tenant] {
            waitingByTenant[tenant] = own > 1 ? own - 1 : nil
        }
        guard started, let last = lastStart else { return }
        let interval = max(now - last, .zero)
        startInterval =
            startInterval == .zero ? interval : startInterval * 0.8 + interval * 0.2
        lastStart = now
    }
}
