package import AutoGLMCompute

/// Everything an operator may set about one served model. The defaults serve well.
package struct EngineOptions: Sendable {
    package var compute = ComputeOptions()
    /// The form weights are kept in; nil keeps what the checkpoint has.
    package var weightFormat: WeightFormat?
    /// Prompt and output tokens of one request at most; nil is the model's own context.
    package var contextMax: Int?
    /// Memory for KV blocks; nil is 40 % of the free memory, or less if
    /// 32 sequences of full context need less.
    package var cacheBytes: Int?
    /// KV blocks; overrides ``cacheBytes``.
    package var cacheBlocks: Int?
    /// Tokens per KV block: 16 or 32.
    package var blockTokens = 16
    /// Sequences computed together in one step at most.
    package var sequencesMax = 64
    /// Rows computed in one step at most: decode rows first, then prompt tokens.
    package var stepTokens = 512
    package var queueRequests = 256
    /// Prompt tokens that may wait; nil is four times the context.
    package var queueTokens: Int?
    package var queueTimeout: Duration = .seconds(30)
    package var prefixCache = true
    /// Puts weights, KV blocks and scheduler into a process of their own.
    package var isolation: EngineIsolation?
    /// Called while weights are read: what, bytes done, bytes in all.
    package var onProgress: (@Sendable (_ what: String, _ done: Int, _ total: Int) -> Void)?
    /// Called on the engine thread after each step. Must be quick and must not block.
    package var onStep: (@Sendable (StepReport) -> Void)?

    /// An engine that has made no progress for this long is abandoned, and another one started in
    /// its place; nil waits for ever.
    package var restartAfter: Duration? = .seconds(8)
    /// Called on the watch's thread. Must not wait for the engine.
    package var onIncident: (@Sendable (EngineIncident) -> Void)?

    package init() {}
}
