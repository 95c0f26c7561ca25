/// Where the engine stands; a snapshot that costs one short lock.
package struct EngineStatus: Sendable {
    package var running = 0
    package var waiting = 0
    /// Prompt tokens of the waiting requests.
    package var waitingTokens = 0
    package var blocksTotal = 0
    /// Blocks held by running sequences. 0 whenever the engine is idle.
    package var blocksUsed = 0
    /// Blocks that hold only prefix-cache content and can be taken at any time.
    package var blocksCached = 0
    /// Blocks that have had content at the same time so far: their memory has been touched.
    package var blocksPeak = 0
    package var steps: UInt64 = 0
    package var preemptions: UInt64 = 0
    package var generatedTokens: UInt64 = 0
    /// Time since the engine's last sign of life. An engine that is well gives one several times a
    /// second, in the middle of a step and when it is idle too.
    package var sinceProgress: Duration = .zero
    package var isDraining = false
    package var isStopped = false
    /// It hangs and will not be restarted any more.
    package var hasFailed = false
    package var restarts = 0
    /// It has a process of its own, which is being started anew: requests are refused meanwhile.
    package var isRestarting = false
    /// Processes that ended, or hung and were ended, and were replaced.
    package var processRestarts = 0
    /// Computations that failed: of a whole step, or of one sequence of it.
    package var failedSteps: UInt64 = 0
    /// Requests refused because the engine had got stuck on them before.
    package var quarantined: UInt64 = 0
    package init() {}
}

/// What one step did, for metrics. Handed to ``EngineOptions/onStep`` on the engine thread.
package struct StepReport: Sendable {
    package var seconds: Double = 0
    /// Rows computed: prompt tokens and decode tokens.
    package var batchTokens = 0
    package var prefillTokens = 0
    package var decodeTokens = 0
    /// Positions whose keys and values were read, over all sequences.
    package var contextTokens = 0
    /// Sequences that had rows in this step.
    package var sequences = 0
    package var running = 0
    package var waiting = 0
    /// Waiting requests by priority, index 0…9.
    package var waitingByPriority: [Int] = []
    package var blocksTotal = 0
    package var blocksUsed = 0
    package var blocksCached = 0
    /// Preemptions since the engine started.
    package var preemptions: UInt64 = 0
    package init() {}
}
