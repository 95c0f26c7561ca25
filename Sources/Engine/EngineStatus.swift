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
    /// Time since the engine last finished a step or was idle. A healthy engine keeps this below
    /// the time of one step.
    package var sinceProgress: Duration = .zero
    package var isDraining = false
    package var isStopped = false
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
