/// When a request reached each station of its way, stamped where it happens.
///
/// Metrics, log line and answers read this one value; a duration is the difference of two stamps
/// and absent when either is.
package struct RequestTimeline: Sendable, Equatable {
    package typealias Instant = ContinuousClock.Instant

    /// The request's first byte, or the library's call.
    package var received: Instant?
    /// The prompt was rendered and encoded.
    package var rendered: Instant?
    /// The engine took it into its queue.
    package var admitted: Instant?
    /// The step that computed its first row began.
    package var started: Instant?
    package var firstToken: Instant?
    package var lastToken: Instant?
    /// The last byte of the answer went to the socket.
    package var written: Instant?

    package init(received: Instant? = nil) { self.received = received }

    private func between(_ start: Instant?, _ end: Instant?) -> Duration {
        guard let start, let end else { return .zero }
        return max(end - start, .zero)
    }

    /// First byte of the request to first token.
    package var timeToFirstToken: Duration { between(received ?? admitted, firstToken) }
    /// In the queue, without any computing.
    package var queueTime: Duration { between(admitted, started) }
    /// Start of the first step to first token.
    package var prefillTime: Duration { between(started, firstToken) }
    /// First token to last token.
    package var decodeTime: Duration { between(firstToken, lastToken) }
}
