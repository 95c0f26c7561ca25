import AutoGLMAPI
import AutoGLMObservability
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// HTTP/1 connections: our own reading of requests and ends of connections around Hummingbird's
/// loop over requests and answers.
struct HTTPChannel: ServerChildChannel, HTTPChannelHandler {
    struct Value: ServerChildChannelValue {
        let parts: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
        let connection: ClientConnection
        var channel: any Channel { parts.channel }
    }

    let responder: HTTPChannelHandler.Responder
    let timeouts: ConnectionHandler.Timeouts
    let limits: RequestParser.Limits
    let census: ConnectionCensus
    let budget: MemoryBudget
    let metrics: ServerMetrics
    let slot: ModelSlot

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let address = channel.remoteAddress?.ipAddress ?? "local"
            let pipeline = channel.pipeline
            let (id, admission) = census.enter(
                channel.remoteAddress?.networkAddress ?? "local",
                order: { pipeline.fireUserInboundEventTriggered($0) })
            channel.closeFuture.whenComplete { [census] _ in census.leave(id) }
            let connection = ClientConnection(address: address) {
                pipeline.fireUserInboundEventTriggered(ConnectionHandler.Order.continue)
            }
            // Framing depends on the request's version, which the encoder does not know.
            var encoder = HTTPResponseEncoder.Configuration()
            encoder.automaticallySetFramingHeaders = false
            let handlers = pipeline.syncOperations
            try handlers.addHandler(HTTPResponseEncoder(configuration: encoder))
            try handlers.addHandler(
                ConnectionHandler(
                    timeouts: timeouts, limits: limits, connection: connection,
                    admission: admission, budget: budget, metrics: metrics))
            try handlers.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            return Value(
                parts: try NIOAsyncChannel(
                    wrappingChannelSynchronously: channel,
                    configuration: .init(isOutboundHalfClosureEnabled: true)),
                connection: connection)
        }
    }

    func handle(value: Value, logger: Logger) async {
        // A process that ends because its model is broken has served nobody.
        if slot.isFailed {
            try? await value.parts.executeThenClose { _, _ in }
            return
        }
        await ClientConnection.$current.withValue(value.connection) {
            await handleHTTP(asyncChannel: value.parts, logger: logger)
        }
    }
}

extension SocketAddress {
    /// Whom connections are counted for: the address, of IPv6 the network that one client has to
    /// itself.
    var networkAddress: String? {
        guard case .v6 = self, let text = ipAddress else { return ipAddress }
        if text.hasPrefix("::ffff:"), text.contains(".") { return String(text.dropFirst(7)) }
        let groups = text.split(separator: ":", omittingEmptySubsequences: false)
        // The text of an address leaves out one run of zeros; most have none in the first half.
        if let gap = groups.firstIndex(of: ""), gap < 4 { return text }
        return groups.prefix(4).joined(separator: ":") + "::"
    }
}

extension APIError {
    static let headerTimeout = APIError(
        status: 408, kind: .invalidRequest, message: "The request's headers took too long.",
        code: "request_timeout")
    static let bodyTimeout = APIError(
        status: 408, kind: .invalidRequest, message: "The request's body took too long.",
        code: "request_timeout")
}
