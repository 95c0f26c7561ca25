import AutoGLMDecoding
import AutoGLMScheduling

/// Takes what comes out of a sequence: the channel to its consumer, or to the process that has it.
protocol TokenSink: Sendable {
    /// - Parameter epoch: of the run that says so; what an abandoned one says is not heard.
    func push(_ event: TokenEvent, of choice: Int, usage: Usage, from epoch: Int)
    /// The first output token follows at once.
    func push(prompt: [TokenEvent], of choice: Int, usage: Usage, from epoch: Int)
    /// - Parameter last: the last token, told together with the end.
    func finish(_ finish: Finish, of choice: Int, last: TokenEvent?, from epoch: Int)
    /// What came before the failure is still delivered.
    func fail(_ error: GenerationError, choice: Int, from epoch: Int?)
}

/// Those around the engine thread, whom it tells what it does: ``EngineShared`` where they are in
/// the same process, ``EngineHost`` where they are in another.
///
/// Nothing here waits.
protocol EngineSurroundings: AnyObject, Sendable {
    var shape: EngineShape { get }
    /// For requests that set none.
    var queueTimeout: Duration { get }
    /// The engine's first moment, from which ``now`` counts.
    var start: RequestTimeline.Instant { get }

    /// A step is about to compute these for the first time.
    func started(_ ids: [SequenceID], epoch: Int)
    func leftQueue(_ id: SequenceID, epoch: Int)
    func ended(_ id: SequenceID, epoch: Int)
    /// A step, or what was done between two, is over.
    func report(_ report: StepReport, isStep: Bool, newTokens: Int, epoch: Int)
    func didShed(used: Int, cached: Int, epoch: Int)
    func didStop(epoch: Int)
    /// Nothing more is told before the next step.
    func flush()
}

extension EngineSurroundings {
    /// Time since the engine's start.
    var now: Duration { ContinuousClock.now - start }

    func instant(_ time: Duration) -> RequestTimeline.Instant { start + time }

    func time(of instant: RequestTimeline.Instant) -> Duration { instant - start }

    func stopTokens(of sampling: SamplingParameters) -> [Int32] {
        sampling.ignoreEOS ? sampling.stopTokens : shape.stopTokens + sampling.stopTokens
    }

    func queueLimit(_ request: GenerationRequest) -> Duration {
        request.queueTimeout ?? queueTimeout
    }
}
