/// How long an engine has made no progress, by the ticks of a second clock.
///
/// A pure value. A tick that comes late says that the watcher itself did not run (the process was
/// stopped, the machine suspended): the engine could not either, so no more than the usual time
/// counts against it, whatever the clocks say.
struct StallDetector {
    static let tick: Duration = .milliseconds(100)

    private(set) var silence: Duration = .zero
    private var last: UInt64?

    /// - Parameters:
    ///   - progress: anything that differs when something has been done.
    ///   - gap: time since the last tick.
    mutating func observe(progress: UInt64, gap: Duration) {
        let counted = min(max(gap, .zero), Self.tick * 2)
        // Progress may have been made at any moment of the gap: the longest silence is assumed.
        silence = progress == last ? silence + counted : counted
        last = progress
    }

    /// Another engine is watched from now on.
    mutating func reset() {
        silence = .zero
        last = nil
    }
}

/// How often an engine may be restarted before that is no remedy.
struct RestartBudget {
    static let most = 5
    static let window: Duration = .seconds(60)

    private var times: [Duration] = []

    /// - Parameter most: in that window.
    /// - Returns: false when there have been too many of late.
    mutating func take(_ most: Int = Self.most, now: Duration) -> Bool {
        times.removeAll { now - $0 >= Self.window }
        guard times.count < most else { return false }
        times.append(now)
        return true
    }
}
