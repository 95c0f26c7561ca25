import NIOCore

/// Whether a body comes fast enough.
///
/// Only time in which the server was ready to read counts: what waits in our own buffers is not
/// the client's fault. The client may be silent for `idle`, has `idle` plus a second for every
/// `bytesPerSecond` bytes it has sent, and `total` at most.
struct BodyPace {
    struct Limits: Sendable {
        var idle: TimeAmount
        var total: TimeAmount
        /// 0 demands no speed.
        var bytesPerSecond: Int
    }

    private let limits: Limits
    private var bytes: Int64 = 0
    private var waited = TimeAmount.zero
    private var waitingSince: NIODeadline?

    init(_ limits: Limits) {
        self.limits = limits
    }

    /// When the client has taken too long; nil while it is not waited for.
    var deadline: NIODeadline? {
        guard let waitingSince else { return nil }
        return min(waitingSince + limits.idle, waitingSince + (allowance - waited))
    }

    private var allowance: TimeAmount {
        guard limits.bytesPerSecond > 0 else { return limits.total }
        // Bodies are bounded, but their sum in nanoseconds is better safe than trapped.
        let seconds = min(bytes / Int64(limits.bytesPerSecond), 1_000_000)
        return min(limits.total, limits.idle + .seconds(seconds))
    }

    /// The server reads: what does not come now is the client's delay.
    mutating func wait(from now: NIODeadline) {
        if waitingSince == nil { waitingSince = now }
    }

    mutating func received(_ count: Int, at now: NIODeadline) {
        bytes += Int64(count)
        rest(at: now)
    }

    /// The server does not read for now.
    mutating func rest(at now: NIODeadline) {
        if let waitingSince { waited = waited + (now - waitingSince) }
        waitingSince = nil
    }
}
