import AutoGLMScheduling

/// What happened to an engine, for the log.
package enum EngineIncident: Sendable, Equatable, CustomStringConvertible {
    /// It hung; another one computes with the same weights, or reads them again in a new process.
    case restarted(after: Duration, failed: Int, kept: Int)
    /// Its process ended; another one is being started.
    case died(reason: String, failed: Int, kept: Int)
    /// The new process works.
    case recovered(after: Duration)
    /// It hangs, and another one could not be started.
    case notRestarted(reason: String)
    /// It fails again and again, or there is nothing to restart it with. It refuses everything
    /// from now on.
    case gaveUp(restarts: Int)

    package var description: String {
        switch self {
        case .restarted(let silence, let failed, let kept):
            "The engine made no progress for \(seconds(silence)) and was started anew: "
                + "\(failed) sequences failed, \(kept) waiting ones were kept."
        case .died(let reason, let failed, let kept):
            "The engine's process ended (\(reason)) and is started anew: "
                + "\(failed) sequences failed, \(kept) waiting ones were kept."
        case .recovered(let time):
            "The engine works again, after \(seconds(time))."
        case .notRestarted(let reason):
            "The engine hangs and could not be started anew: \(reason)"
        case .gaveUp(let restarts):
            "The engine has failed again, and \(restarts) restarts within "
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
    static let nudgeAfter: Duration = .milliseconds(400)
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
        /// When the engine failed for which another one is being started.
        var failedAt: Duration?
        while !stop.wait(milliseconds: Int32(StallDetector.tick / .milliseconds(1))) {
            guard let run = shared.currentRun else { continue }
            let now = shared.now
            detector.observe(progress: run.progress, gap: now - last)
            last = now
            shared.note(silence: detector.silence)
            shared.expire(now: now)
            if detector.silence >= Self.nudgeAfter { run.nudge() }
            let phase = run.phase
            if phase == .working, let begin = failedAt {
                failedAt = nil
                shared.didRestart(within: now - begin)
                shared.options.onIncident?(.recovered(after: now - begin))
            }
            guard let failure = failure(phase, detector.silence), now >= nextAttempt else {
                continue
            }
            guard budget.take(run.restartsMax, now: now) else { return giveUp(run) }
            switch restart(run, failure) {
            case .working: break
            case .starting: failedAt = failedAt ?? now
            case .refused:
                nextAttempt = now + Self.retryAfter
                continue
            case .impossible: return giveUp(run)
            }
            detector.reset()
            shared.note(silence: .zero)
        }
    }

    private enum Failure {
        case silence(Duration)
        case death(reason: String)
    }

    private enum Restart { case working, starting, refused, impossible }

    private func failure(_ phase: EngineRunPhase, _ silence: Duration) -> Failure? {
        if case .ended(let reason) = phase { return .death(reason: reason) }
        guard let limit = shared.options.restartAfter, silence >= limit else { return nil }
        return .silence(silence)
    }

    private func restart(_ run: any EngineRun, _ failure: Failure) -> Restart {
        // First of all, so that it comes back to nothing if it wakes up now.
        run.abandon()
        let new: any EngineRun
        do {
            guard let run = try run.successor(shared, limits) else { return .impossible }
            new = run
        } catch {
            shared.options.onIncident?(.notRestarted(reason: "\(error)"))
            return .refused
        }
        let (failed, kept) = shared.replace(run, with: new)
        switch failure {
        case .silence(let silence):
            shared.options.onIncident?(.restarted(after: silence, failed: failed, kept: kept))
        case .death(let reason):
            shared.options.onIncident?(.died(reason: reason, failed: failed, kept: kept))
        }
        return new.phase == .working ? .working : .starting
    }

    private func giveUp(_ run: any EngineRun) {
        run.abandon()
        let restarts = shared.giveUp()
        shared.failAll(.engineRestarted)
        shared.options.onIncident?(.gaveUp(restarts: restarts))
    }
}
