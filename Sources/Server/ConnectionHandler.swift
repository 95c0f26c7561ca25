import AutoGLMAPI
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Holds a connection to its time limits and keeps silent streams alive, all on the event loop.
///
/// It sits between the HTTP codec and the request handlers. One timer per connection fires at the
/// next moment anything could be due; the hot path (a body part written) only notes the time.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    struct Timeouts: Sendable {
        var header: TimeAmount
        var bodyIdle: TimeAmount
        var idle: TimeAmount
        var writeStall: TimeAmount
        var keepAlive: TimeAmount
        /// Time a refused client has to read why.
        var linger: TimeAmount = .milliseconds(500)
    }

    private enum Phase {
        /// Nothing of a request has come.
        case idle
        case head
        case body
        /// The request is complete; the answer is being made or sent.
        case answer
        /// We have said the last word; the client may still read it.
        case closing
    }

    private let timeouts: Timeouts
    private let connection: ClientConnection
    /// Why this connection is not served at all.
    private let refusal: APIError?
    private var phase = Phase.idle
    /// When the current phase ends in a timeout; nil while answering.
    private var phaseDeadline: NIODeadline?
    private var stallDeadline: NIODeadline?
    private var isStreaming = false
    private var hasAnswerBegun = false
    private var closesAfterAnswer = false
    /// Requests read and not yet answered; more than one when the client pipelines.
    private var requestsOpen = 0
    private var lastWrite = NIODeadline.now()
    private var timer: Scheduled<Void>?
    private var timerDeadline = NIODeadline.distantFuture

    init(timeouts: Timeouts, connection: ClientConnection, refusal: APIError?) {
        self.timeouts = timeouts
        self.connection = connection
        self.refusal = refusal
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { opened(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        opened(context)
        context.fireChannelActive()
    }

    private func opened(_ context: ChannelHandlerContext) {
        guard phase == .idle, phaseDeadline == nil else { return }
        if let refusal {
            answer(refusal, context)
        } else {
            // A new connection has the header's time; one kept alive may be idle for longer.
            phase = .head
            enterDeadline(.now() + timeouts.header, context)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        connection.clientLeft()
        context.fireChannelInactive()
    }

    // MARK: Inbound

    /// Bytes have come in, though perhaps no whole header.
    func bytesArrived(_ context: ChannelHandlerContext) {
        if phase == .idle {
            phase = .head
            enterDeadline(.now() + timeouts.header, context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Once refused, what the client still sends is of no interest.
        if phase == .closing { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            requestsOpen += 1
            hasAnswerBegun = false
            phase = .body
            enterDeadline(.now() + timeouts.bodyIdle, context)
            if head.headerFields[.expect]?.lowercased() == "100-continue" {
                let part = HTTPResponsePart.head(HTTPResponse(status: .continue))
                context.writeAndFlush(wrapOutboundOut(part), promise: nil)
            }
        case .body:
            phaseDeadline = .now() + timeouts.bodyIdle
        case .end:
            phase = .answer
            phaseDeadline = nil
        }
        context.fireChannelRead(data)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent { connection.clientLeft() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let parserError = error as? HTTPParserError else {
            context.fireErrorCaught(error)
            return
        }
        switch phase {
        case .idle, .head:
            if parserError == .headerOverflow {
                answer(.headersTooLarge, context)
            } else {
                answer(.malformedRequest, context)
            }
        // The handler reading the body learns of it and answers.
        case .body: context.fireErrorCaught(error)
        case .answer, .closing: context.close(promise: nil)
        }
    }

    // MARK: Outbound

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        // The handler's answer comes too late: the client has been told something else.
        if phase == .closing {
            promise?.succeed()
            return
        }
        lastWrite = .now()
        switch unwrapOutboundIn(data) {
        case .head(let head):
            if head.status.kind == .informational { break }
            hasAnswerBegun = true
            isStreaming = head.headerFields[.contentType] == "text/event-stream"
            if head.headerFields[.connection] == "close" { closesAfterAnswer = true }
            if isStreaming { schedule(lastWrite + timeouts.keepAlive, context) }
        case .body: break
        case .end:
            isStreaming = false
            if closesAfterAnswer {
                context.writeAndFlush(data, promise: promise)
                linger(context)
                return
            }
            requestsOpen -= 1
            if requestsOpen == 0 {
                phase = .idle
                enterDeadline(.now() + timeouts.idle, context)
            }
        }
        context.write(data, promise: promise)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            stallDeadline = nil
        } else {
            let deadline = NIODeadline.now() + timeouts.writeStall
            stallDeadline = deadline
            schedule(deadline, context)
        }
        context.fireChannelWritabilityChanged()
    }

    // MARK: Refusing

    /// Sends an error of our own and closes.
    private func answer(_ error: APIError, _ context: ChannelHandlerContext) {
        let body = context.channel.allocator.buffer(bytes: error.body)
        var head = HTTPResponse(status: .init(code: error.status))
        head.headerFields[.contentType] = "application/json"
        head.headerFields[.contentLength] = String(body.readableBytes)
        head.headerFields[.connection] = "close"
        if let seconds = error.retryAfter { head.headerFields[.retryAfter] = String(seconds) }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        linger(context)
    }

    /// Closes our direction, and the other one a little later: closing both at once would reset
    /// the connection, and the client would lose the answer it has not read yet.
    private func linger(_ context: ChannelHandlerContext) {
        phase = .closing
        context.close(mode: .output, promise: nil)
        enterDeadline(.now() + timeouts.linger, context)
    }

    // MARK: Time

    private func enterDeadline(_ deadline: NIODeadline, _ context: ChannelHandlerContext) {
        phaseDeadline = deadline
        schedule(deadline, context)
    }

    /// Sees to it that the timer fires no later than `deadline`.
    private func schedule(_ deadline: NIODeadline, _ context: ChannelHandlerContext) {
        if deadline >= timerDeadline { return }
        timer?.cancel()
        timerDeadline = deadline
        timer = context.eventLoop.assumeIsolated().scheduleTask(deadline: deadline) {
            self.timerDeadline = .distantFuture
            self.timerFired(context)
        }
    }

    private func timerFired(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        let now = NIODeadline.now()
        if let deadline = stallDeadline, deadline <= now {
            context.close(promise: nil)
            return
        }
        if let deadline = phaseDeadline, deadline <= now {
            phaseExpired(context)
            return
        }
        if isStreaming, lastWrite + timeouts.keepAlive <= now {
            // Comments between whole events are invisible to clients.
            let comment = context.channel.allocator.buffer(string: EventStream.keepAlive)
            context.writeAndFlush(wrapOutboundOut(.body(comment)), promise: nil)
            lastWrite = now
        }
        if let stallDeadline { schedule(stallDeadline, context) }
        if let phaseDeadline { schedule(phaseDeadline, context) }
        if isStreaming { schedule(lastWrite + timeouts.keepAlive, context) }
    }

    private func phaseExpired(_ context: ChannelHandlerContext) {
        phaseDeadline = nil
        switch phase {
        case .idle, .closing: context.close(promise: nil)
        case .head: answer(.headerTimeout, context)
        case .body:
            if hasAnswerBegun {
                context.close(promise: nil)
            } else {
                connection.clientLeft()
                answer(.bodyTimeout, context)
            }
        case .answer: break
        }
    }
}

@available(*, unavailable)
extension ConnectionHandler: Sendable {}

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
