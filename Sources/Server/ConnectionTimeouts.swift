import NIOCore

extension ConnectionHandler {
    struct Timeouts: Sendable {
        var header: TimeAmount
        var bodyIdle: TimeAmount
        var idle: TimeAmount
        var writeStall: TimeAmount
        var keepAlive: TimeAmount
        /// Time a refused client has to read why.
        var linger: TimeAmount = .milliseconds(500)

        init(_ options: ServerOptions) {
            header = .init(options.headerTimeout)
            bodyIdle = .init(options.bodyIdleTimeout)
            idle = .init(options.idleTimeout)
            writeStall = .init(options.writeStallTimeout)
            keepAlive = .init(options.keepAliveInterval)
        }
    }
}
