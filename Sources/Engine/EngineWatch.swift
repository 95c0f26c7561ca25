import AutoGLMModels
import AutoGLMScheduling

/// What happened to an engine, for the log.
package enum EngineIncident: Sendable, Equatable, CustomStringConvertible {
    /// It hung; another one computes with the same weights.
    case restarted(after: Duration, failed: Int, kept: Int)
    /// It hangs, and another one could not be started.
    case notRestarted(reason: String)
    /// It hangs again and again, or there is nothing to restart it with. It refuses everything
    /// from now on.
    case gaveUp(restarts: Int)

    package var description: String {
        switch self {
        case .restarted(let silence, let failed, let kept):
            "The engine made no progress for \(seconds(silence)) and was started anew: "
                + "\(failed) sequences failed, \(kept) waiting ones were kept."
        case .notRestarted(let reason):
            "The engine hangs and could not be started anew: \(reason)"
        case .gaveUp(let restarts):
            "The engine hangs, and \(restarts) restarts within "
                + "\(seconds(RestartBudget.window)) were no remedy. Look for a broken processor, "
                + "memory or model file."
        }
    }
}

/// The second clock: a thread beside the engine's that sees whether that one gets on, keeps
/// deadlines when it does not, and puts another in its place.
final class EngineWatch: Sendable {
    private let shared: EngineShared
    private let limits: Scheduler.Limits
    private let stop = Signal()

    /// An engine that is parked is asked for a sign of life when it has been silent for this long.
    private static let nudgeAfter: Duration = .milliseconds(400)
    /// Between two attempts to start a run, when the system refuses.
    private static let retryAfter: Duration = .seconds(2)

    init(_ shared: EngineShared, _ limits: Scheduler.Limits) {
        self.shared = shared
        self.limits = limits
    }

    /// - Returns: nil when the system has no more threads.
    static func start(_ shared: EngineShared, _ limits: Scheduler.Limits) -> (
        watch: EngineWatch, thread: EngineThread
    )? {
        let watch = EngineWatch(shared, limits)
        return EngineThread { watch.run() }.map { (watch, $0) }
    }

    func end() { stop.raise() }

    private func run() {
        var detector = StallDetector()
        var budget = RestartBudget()
        var last = shared.now
        var nextAttempt = Duration.zero
        while !stop.wait(milliseconds: Int32(StallDetector.tick / .milliseconds(1))) {
            guard let run = shared.currentRun else { continue }
            let now = shared.now
            detector.observe(progress: run.progress, gap: now - last)
            last = now
            shared.note(silence: detector.silence)
            shared.expire(now: now)
            if detector.silence >= Self.nudgeAfter { run.mailbox.nudge() }
            guard let limit = shared.options.restartAfter, detector.silence >= limit,
                now >= nextAttempt
            else { continue }
            guard let spare = run.spare, budget.take(now: now) else { return giveUp(run) }
            if restart(run, spare, silence: detector.silence) {
                detector.reset()
                shared.note(silence: .zero)
            } else {
                nextAttempt = now + Self.retryAfter
            }
        }
    }

    private func restart(
        _ run: EngineRun, _ spare: any ModelSpare, silence: Duration
    ) -> Bool {
        // First of all, so that it comes back to nothing if it wakes up now.
        run.abandon()
        spare.discardCache()
        let new: EngineRun
        do {
            let model = try spare.model(blocks: limits.blocks)
            guard
                let run = EngineRun.start(model, epoch: run.epoch + 1, limits, shared)
            else { throw EngineError.noThread }
            new = run
        } catch {
            shared.options.onIncident?(.notRestarted(reason: "\(error)"))
            return false
        }
        let (failed, kept) = shared.replace(run, with: new)
        shared.options.onIncident?(.restarted(after: silence, failed: failed, kept: kept))
        return true
    }

    private func giveUp(_ run: EngineRun) {
        run.abandon()
        let restarts = shared.giveUp()
        shared.failAll(.engineRestarted)
        shared.options.onIncident?(.gaveUp(restarts: restarts))
    }
}
