import AutoGLMAPI
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// HTTP/1 connections with our limits: Hummingbird's channel, plus census and time limits.
struct HTTPChannel: ServerChildChannel, HTTPChannelHandler {
    struct Value: ServerChildChannelValue {
        let parts: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>
        let connection: ClientConnection
        var channel: any Channel { parts.channel }
    }

    let responder: HTTPChannelHandler.Responder
    let timeouts: ConnectionHandler.Timeouts
    let census: ConnectionCensus
    let slot: ModelSlot

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        channel.eventLoop.makeCompletedFuture {
            let address = channel.remoteAddress?.ipAddress ?? "local"
            let isWelcome = census.enter(address)
            channel.closeFuture.whenComplete { [census] _ in census.leave(address) }
            let connection = ClientConnection(address: address)
            let handler = ConnectionHandler(
                timeouts: timeouts, connection: connection,
                refusal: isWelcome ? nil : .tooManyConnections(limit: census.perAddressMax))

            var limits = NIOHTTPDecoderLimitConfiguration()
            limits.maxHeaderFieldSize = RequestLimits.headerBytes
            limits.maxHeaderListSize = RequestLimits.headerBytes
            limits.maxHeaderFieldCount = RequestLimits.headerCount
            // Framing depends on the request's version, which the encoder does not know.
            var encoder = HTTPResponseEncoder.Configuration()
            encoder.automaticallySetFramingHeaders = false
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(ByteWatch(handler))
            try pipeline.configureHTTPServerPipeline(
                withPipeliningAssistance: false, withErrorHandling: false,
                withOutboundHeaderValidation: false, withEncoderConfiguration: encoder,
                withDecoderLimitConfiguration: limits)
            try pipeline.addHandler(handler)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: nil, logger: logger))
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

extension APIError {
    static let headersTooLarge = APIError(
        status: 431, kind: .invalidRequest,
        message: "The request's headers are larger than \(RequestLimits.headerBytes) bytes or "
            + "more than \(RequestLimits.headerCount).",
        code: "headers_too_large")
    static let malformedRequest = APIError(
        status: 400, kind: .invalidRequest, message: "The request is not valid HTTP/1.1.",
        code: "malformed_request")
    static let headerTimeout = APIError(
        status: 408, kind: .invalidRequest, message: "The request's headers took too long.",
        code: "request_timeout")
    static let bodyTimeout = APIError(
        status: 408, kind: .invalidRequest, message: "The request's body took too long.",
        code: "request_timeout")

    static func tooManyConnections(limit: Int) -> APIError {
        APIError(
            status: 429, kind: .rateLimit,
            message: "More than \(limit) connections from one address. Close some.",
            code: "too_many_connections", retryAfter: 1)
    }
}
