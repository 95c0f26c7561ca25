/// The front of the engine thread: takes requests from any task, hands out token streams.
package final class Engine: Sendable {
    let stepSink: (@Sendable (StepReport) -> Void)?

    init(stepSink: (@Sendable (StepReport) -> Void)?) {
        self.stepSink = stepSink
    }

    /// Checks the request, puts it into the queue and returns its stream.
    /// - Throws: ``AdmissionError`` at once; an accepted request always ends in its stream.
    package func generate(_ request: GenerationRequest) throws(AdmissionError) -> TokenStream {
        throw .shuttingDown(retryAfter: .seconds(1))
    }

    /// A snapshot for `/health` and `/metrics`.
    package var status: EngineStatus { EngineStatus() }

    /// Refuses new requests from now on; those accepted go on. Returns at once.
    package func beginDrain() {}

    /// ``beginDrain()``, then waits until all requests have ended or `deadline` has passed; what
    /// is left then fails with ``GenerationError/shuttingDown``.
    package func drain(within deadline: Duration) async {}

    /// Fails what is left and joins the thread. Blocks for at most one step.
    package func shutdown() {}
}
