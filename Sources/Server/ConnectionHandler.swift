import AutoGLMAPI
import NIOCore
import NIOHTTP1

/// Holds a connection to its time limits, keeps silent streams alive and ends connections where
/// their requests say, all on the event loop.
///
/// It sits next to the HTTP/1 codec, below the request handlers: those know no HTTP versions. One
/// timer per connection fires at the next moment anything could be due; the hot path (a body part
/// written) only notes the time.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

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
    private var exchanges = Exchanges()
    /// What the client still sends is of no interest.
    private var isInputOver = false
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
        if phase == .idle || phase == .head { connection.requestBegins() }
        if phase == .idle {
            phase = .head
            enterDeadline(.now() + timeouts.header, context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if phase == .closing || isInputOver { return }
        var data = data
        switch unwrapInboundIn(data) {
        case .head(var head):
            // HTTP/1.0 knows no Host. No browser speaks it, so nothing is given away.
            if (head.version.major, head.version.minor) < (1, 1),
                !head.headers.contains(name: "host")
            {
                head.headers.add(name: "host", value: "localhost")
                data = wrapInboundOut(.head(head))
            }
            do {
                try exchanges.begin(head)
            } catch {
                refuseInput(error, context)
                return
            }
            phase = .body
            enterDeadline(.now() + timeouts.bodyIdle, context)
            if !head.version.isBeforeHTTP11,
                head.headers.first(name: "expect")?.lowercased() == "100-continue"
            {
                let head = HTTPResponseHead(version: .http1_1, status: .continue)
                context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
            }
        case .body:
            phaseDeadline = .now() + timeouts.bodyIdle
        case .end:
            phase = .answer
            phaseDeadline = nil
            isInputOver = exchanges.lastCloses
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
            answer(parserError == .headerOverflow ? .headersTooLarge : .malformedRequest, context)
        // The handler reading the body learns of it and answers.
        case .body where exchanges.count == 1: context.fireErrorCaught(error)
        case .body:
            exchanges.dropLast()
            refuseInput(.malformedRequest, context)
        // The requests before the nonsense still get their answers.
        case .answer: refuseInput(.malformedRequest, context)
        case .closing: break
        }
    }

    /// Reads no more: the requests before it are answered, and when there are none, this is.
    private func refuseInput(_ error: APIError, _ context: ChannelHandlerContext) {
        if exchanges.isEmpty {
            answer(error, context)
        } else {
            isInputOver = true
            exchanges.closeAfterLast()
            phase = .answer
            phaseDeadline = nil
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
        case .head(var head):
            // An informational head is not the answer.
            if head.status.code < 200 { break }
            exchanges.frame(&head)
            hasAnswerBegun = true
            isStreaming = head.headers.first(name: "content-type") == "text/event-stream"
            if isStreaming { schedule(lastWrite + timeouts.keepAlive, context) }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
            return
        case .body:
            if exchanges.omitsBody {
                promise?.succeed()
                return
            }
        case .end:
            isStreaming = false
            hasAnswerBegun = false
            if exchanges.end() {
                context.writeAndFlush(data, promise: promise)
                linger(context)
                return
            }
            if exchanges.isEmpty {
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
        var head = HTTPResponseHead(
            version: .http1_1, status: .init(statusCode: error.status),
            headers: [
                "Content-Type": "application/json", "Content-Length": String(body.readableBytes),
                "Connection": "close",
            ])
        if let seconds = error.retryAfter {
            head.headers.add(name: "Retry-After", value: String(seconds))
        }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
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
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(comment))), promise: nil)
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
            if exchanges.count > 1 {
                // An earlier answer is still under way; it must not have ours in its midst.
                exchanges.dropLast()
                refuseInput(.bodyTimeout, context)
            } else if hasAnswerBegun {
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
