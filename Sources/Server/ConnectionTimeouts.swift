import NIOCore

extension ConnectionHandler {
    struct Timeouts: Sendable {
        var header: TimeAmount
        var body: BodyPace.Limits
        var idle: TimeAmount
        var writeStall: TimeAmount
        /// Bytes of an answer that must be taken within ``writeStall``.
        var readBytesMin: Int
        var keepAlive: TimeAmount
        /// Time a client has to take leave after the last answer has been sent.
        var linger: TimeAmount = .seconds(2)
        /// Time a connection beyond the limits has to show that it asks for health.
        var probe: TimeAmount = .seconds(1)
        /// Time an answer under way has when the server, which has drained, ends.
        var quiesce: TimeAmount = .seconds(2)
        /// How often it is looked whether a client that sends no more is still there.
        var presence: TimeAmount = .seconds(1)

        init(_ options: ServerOptions) {
            header = .init(options.headerTimeout)
            body = .init(
                idle: .init(options.bodyIdleTimeout), total: .init(options.bodyTotalTimeout),
                bytesPerSecond: options.bodyRateMin)
            idle = .init(options.idleTimeout)
            writeStall = .init(options.writeStallTimeout)
            let stallSeconds = Int(clamping: options.writeStallTimeout.components.seconds)
            readBytesMin = max(1, options.bodyRateMin * stallSeconds)
            keepAlive = .init(options.keepAliveInterval)
        }
    }
}
