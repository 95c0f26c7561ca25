import NIOCore

/// Tells the connection handler of the first bytes of a request, which the HTTP decoder keeps to
/// itself until the header is whole.
final class ByteWatch: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let handler: ConnectionHandler
    private var handlerContext: ChannelHandlerContext?

    init(_ handler: ConnectionHandler) {
        self.handler = handler
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if handlerContext == nil {
            handlerContext = try? context.pipeline.syncOperations.context(handler: handler)
        }
        if let handlerContext { handler.bytesArrived(handlerContext) }
        context.fireChannelRead(data)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        handlerContext = nil
    }
}

@available(*, unavailable)
extension ByteWatch: Sendable {}
