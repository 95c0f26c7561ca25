package import AutoGLMEngine
package import AutoGLMObservability

extension ServerMetrics {
    /// Takes what the watch knows of the engine.
    func record(_ engine: EngineStatus) {
        engineSilence.set(engine.sinceProgress / .seconds(1))
        engineRestarts.raise(to: Double(engine.restarts))
        engineProcessRestarts.raise(to: Double(engine.processRestarts))
        failedSteps.raise(to: Double(engine.failedSteps))
        quarantined.raise(to: Double(engine.quarantined))
    }

    /// Takes what the engine says about a step; called on the engine thread.
    package func record(_ step: StepReport) {
        stepTime.observe(step.seconds)
        batchTokens.observe(Double(step.batchTokens))
        running.set(Double(step.running))
        setWaiting(step.waitingByPriority)
        setBlocks(total: step.blocksTotal, used: step.blocksUsed, cached: step.blocksCached)
        if step.decodeTokens > 0, step.prefillTokens == 0 {
            noteDecodeStep(contextTokens: step.contextTokens, seconds: step.seconds)
        }
        preemptions.raise(to: Double(step.preemptions))
    }
}
