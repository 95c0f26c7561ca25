import AutoGLMAPI
import AutoGLMObservability
import NIOCore
import NIOHTTP1

/// One connection: reads its requests one after the other, holds the client to its time limits,
/// keeps silent streams alive and ends the connection where its requests say; all on the event
/// loop.
///
/// While a request is answered nothing more is read: what the client sends meanwhile waits in the
/// kernel and holds the client back. So an answer never has another one in its midst, and what
/// comes behind a request cannot cost it its answer.
///
/// A client that has shut down its sending side may still read, and gets its whole answer. That it
/// has left is known when a write fails, when it resets the connection, and of clients on this
/// machine from the kernel (``PeerPresence``).
///
/// One timer per connection fires at the next moment anything could be due; the hot path (a body
/// part written) only notes the time.
final class ConnectionHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// What other threads want of a connection, as events of its pipeline.
    enum Order: Sendable {
        /// Make room for another connection.
        case evict
        /// Close if no request is under way.
        case closeIdle
        /// The request's body is wanted now.
        case `continue`
        /// The server drains: what has not come yet will not be served.
        case drain
    }

    enum Phase {
        /// Nothing of a request has come.
        case idle
        case head
        case body
        /// The request is complete; the answer is being made or sent.
        case answer
        /// We have said the last word; the client may still read it.
        case closing
    }

    let timeouts: Timeouts
    private let connection: ClientConnection
    private let admission: ConnectionCensus.Admission
    private let budget: MemoryBudget
    private let metrics: ServerMetrics
    private(set) var phase = Phase.idle
    private var parser: RequestParser
    private var exchange: Exchange?
    private var pace: BodyPace
    /// Memory of what came before the answer in front of it was made.
    private var held: [MemoryReservation] = []
    /// Small pieces of a body, joined.
    private var piece = ByteBuffer()
    /// When the current phase ends in a timeout; bodies have ``pace``.
    private var phaseDeadline: NIODeadline?
    private var stallDeadline: NIODeadline?
    /// Bytes of answers in our buffer when the reader's time was last looked at.
    private var unreadBytes = 0
    private var presenceDeadline: NIODeadline?
    private var isStreaming = false
    /// What the client still sends is of no interest.
    private var isInputOver = false
    /// The client has said that it sends no more.
    private var isInputClosed = false
    /// Something above wants bytes, and does not get them yet.
    private var isReadHeldBack = false
    private var isReading = false
    /// Answers written but not yet taken by the kernel.
    private var answersUnsent = 0
    private var lastWrite = NIODeadline.now()
    private var timer: Scheduled<Void>?
    private var timerDeadline = NIODeadline.distantFuture

    /// What is held of a client that sends its next requests before it has its answer.
    private static let heldBytesMax = 256 << 10
    /// Bytes of an unread body that are read on, so that the connection can be kept.
    private static let unreadBytesMax = 64 << 10
    private static let pieceBytes = 16 << 10

    init(
        timeouts: Timeouts, limits: RequestParser.Limits, connection: ClientConnection,
        admission: ConnectionCensus.Admission, budget: MemoryBudget, metrics: ServerMetrics
    ) {
        self.timeouts = timeouts
        self.connection = connection
        self.admission = admission
        self.budget = budget
        self.metrics = metrics
        parser = RequestParser(limits)
        pace = BodyPace(timeouts.body)
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
        // A new connection has the header's time; one kept alive may be idle for longer.
        phase = .head
        let isServed = if case .served = admission { true } else { false }
        enterDeadline(.now() + (isServed ? timeouts.header : timeouts.probe), context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelInactive(context: ChannelHandlerContext) {
        timer?.cancel()
        held = []
        connection.clientLeft()
        context.fireChannelInactive()
    }

    // MARK: Inbound

    func read(context: ChannelHandlerContext) {
        if phase == .answer {
            isReadHeldBack = true
            return
        }
        isReading = true
        waitForBody(context)
        context.read()
    }

    private func releaseRead(_ context: ChannelHandlerContext) {
        if phase == .answer || !isReadHeldBack { return }
        isReadHeldBack = false
        read(context: context)
    }

    private func waitForBody(_ context: ChannelHandlerContext) {
        guard phase == .body, isReading, exchange?.awaitsContinue != true else { return }
        pace.wait(from: .now())
        if let deadline = pace.deadline { schedule(deadline, context) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        isReading = false
        if phase == .closing || isInputOver { return }
        let bytes = unwrapInboundIn(data)
        if phase == .body { pace.received(bytes.readableBytes, at: .now()) }
        if phase == .answer {
            guard parser.heldBytes + bytes.readableBytes <= Self.heldBytesMax,
                let memory = budget.reserveNow(
                    bytes.readableBytes, .pipelined, principal: connection.address)
            else {
                // Only the end of a client's input makes us read so much at once.
                isInputClosed = true
                return
            }
            held.append(memory)
        }
        parser.append(bytes)
        if phase != .answer { parse(context) }
    }

    /// Hands on what is whole, up to the end of one request.
    private func parse(_ context: ChannelHandlerContext) {
        if phase == .idle || phase == .head, parser.heldBytes > 0 { connection.requestBegins() }
        do throws(APIError) {
            while phase != .answer, phase != .closing, let event = try parser.next() {
                take(event, context)
            }
        } catch {
            refuse(error, context)
        }
        passPiece(context)
        if phase == .idle, parser.isWithinRequest {
            phase = .head
            enterDeadline(.now() + timeouts.header, context)
        }
        if isInputClosed { inputEnded(context) }
    }

    private func take(_ event: RequestParser.Event, _ context: ChannelHandlerContext) {
        switch event {
        case .head(let head, let framing):
            var exchange = Exchange(head, framing: framing)
            if case .healthOnly(let refusal) = admission {
                guard Self.asksForHealth(head, framing) else {
                    answer(refusal, context)
                    return
                }
                exchange.closes = true
            }
            self.exchange = exchange
            phase = .body
            phaseDeadline = nil
            pace = BodyPace(timeouts.body)
            context.fireChannelRead(wrapInboundOut(.head(head)))
        case .body(var bytes):
            exchange?.awaitsContinue = false
            if piece.readableBytes == 0 { piece = bytes } else { piece.writeBuffer(&bytes) }
            if piece.readableBytes >= Self.pieceBytes { passPiece(context) }
        case .end:
            passPiece(context)
            phase = .answer
            isInputOver = exchange?.closes ?? true
            context.fireChannelRead(wrapInboundOut(.end(nil)))
            if exchange?.isAnswered ?? false { nextRequest(context) }
        }
    }

    private func passPiece(_ context: ChannelHandlerContext) {
        if piece.readableBytes == 0 { return }
        context.fireChannelRead(wrapInboundOut(.body(piece)))
        piece = ByteBuffer()
    }

    private static func asksForHealth(
        _ head: HTTPRequestHead, _ framing: RequestParser.Framing
    ) -> Bool {
        guard head.method == .GET || head.method == .HEAD, framing == .none else { return false }
        switch Route(rawValue: String(head.uri.prefix { $0 != "?" })) {
        case .live, .ready, .health: return true
        default: return false
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed:
            // Not handed on: requests may still be held here.
            isInputClosed = true
            inputEnded(context)
        case is ChannelShouldQuiesceEvent: quiesce(context)
        case Order.continue: sendContinue(context)
        case Order.drain: refuseUnread(context)
        case Order.evict: evicted(context)
        case Order.closeIdle: if phase == .idle { beginClosing(context) }
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    /// The client sends no more, and all that it has sent has been looked at.
    private func inputEnded(_ context: ChannelHandlerContext) {
        switch phase {
        case .idle where !parser.isWithinRequest: beginClosing(context)
        case .head where !parser.isWithinRequest: context.close(promise: nil)
        case .idle, .head, .body:
            refuse(.malformed("The connection ended in the middle of the request."), context)
        case .answer:
            // With nothing held, this is the last answer, and may say so.
            if parser.heldBytes == 0 { exchange?.closes = true }
            if isStreaming { writeComment(context) }
            checkPresence(context)
        case .closing:
            if answersUnsent == 0 { context.close(promise: nil) }
        }
    }

    private func sendContinue(_ context: ChannelHandlerContext) {
        guard phase == .body, let exchange, exchange.awaitsContinue, !exchange.hasBegun else {
            return
        }
        self.exchange?.awaitsContinue = false
        let head = HTTPResponseHead(version: .http1_1, status: .continue)
        context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
        waitForBody(context)
    }

    // MARK: Outbound

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        // The handler's answer comes too late: the client has been told something else.
        if phase == .closing || exchange?.isAnswered ?? true {
            promise?.succeed()
            return
        }
        lastWrite = .now()
        switch unwrapOutboundIn(data) {
        case .head(var head):
            // An informational head is not the answer.
            if head.status.code < 200 { break }
            if phase == .body, !mayReadRest { exchange?.closes = true }
            exchange?.frame(&head)
            isStreaming = head.headers.first(name: "content-type") == "text/event-stream"
            if isStreaming { schedule(lastWrite + timeouts.keepAlive, context) }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
            return
        case .body:
            if exchange?.omitsBody ?? true {
                promise?.succeed()
                return
            }
        case .end:
            isStreaming = false
            writeEnd(context, promise)
            if exchange?.closes ?? true {
                beginClosing(context)
            } else if phase == .answer {
                nextRequest(context)
            } else {
                exchange?.isAnswered = true
            }
            return
        }
        context.write(data, promise: promise)
    }

    /// Whether so little is left of a body nobody reads that reading it keeps the connection.
    private var mayReadRest: Bool {
        guard exchange?.awaitsContinue == false, let left = parser.bodyBytesLeft else {
            return false
        }
        return left <= Self.unreadBytesMax
    }

    private func writeEnd(_ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?) {
        let sent = promise ?? context.eventLoop.makePromise(of: Void.self)
        answersUnsent += 1
        sent.futureResult.assumeIsolated().whenComplete { _ in
            self.answersUnsent -= 1
            if self.phase == .closing, self.answersUnsent == 0 { self.lastByteSent(context) }
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
    }

    /// The answer is written: what has come behind its request is looked at now.
    private func nextRequest(_ context: ChannelHandlerContext) {
        exchange = nil
        phase = .idle
        held = []
        presenceDeadline = nil
        enterDeadline(.now() + timeouts.idle, context)
        if parser.heldBytes > 0 || isInputClosed {
            parse(context)
            context.fireChannelReadComplete()
        }
        releaseRead(context)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            stallDeadline = nil
        } else {
            watchReader(context)
        }
        context.fireChannelWritabilityChanged()
    }

    /// The loop over requests has come to its end; pending bytes must still reach the client.
    func close(
        context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?
    ) {
        guard case .output = mode else {
            context.close(mode: mode, promise: promise)
            return
        }
        promise?.succeed()
        if phase != .closing { beginClosing(context) }
    }

    // MARK: Refusing

    /// Reads no more: the request being read is refused, if nothing else has been said of it.
    private func refuse(_ error: APIError, _ context: ChannelHandlerContext) {
        guard phase == .body, let exchange, exchange.hasBegun else {
            if exchange != nil { connection.refused(error) }
            answer(error, context)
            return
        }
        isInputOver = true
        self.exchange?.closes = true
        if exchange.isAnswered { beginClosing(context) } else { phase = .answer }
    }

    /// Sends an error of our own and closes.
    private func answer(_ error: APIError, _ context: ChannelHandlerContext) {
        metrics.refusals.add(1, error.code ?? "other", exchange == nil ? "head" : "body")
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
        writeEnd(context, nil)
        beginClosing(context)
    }

    /// A request whose body is still on its way would be refused once it is whole.
    private func refuseUnread(_ context: ChannelHandlerContext) {
        if phase == .body, exchange?.hasBegun == false { refuse(.draining, context) }
    }

    /// The server ends: what is being said may be finished, in a moment.
    private func quiesce(_ context: ChannelHandlerContext) {
        refuseUnread(context)
        if exchange == nil, phase != .closing {
            context.close(promise: nil)
            return
        }
        exchange?.closes = true
        context.eventLoop.assumeIsolated().scheduleTask(in: timeouts.quiesce) {
            context.close(promise: nil)
        }
    }

    /// Another connection needs this one's place.
    private func evicted(_ context: ChannelHandlerContext) {
        if exchange == nil, phase == .head, case .healthOnly(let refusal) = admission {
            answer(refusal, context)
        }
        context.close(promise: nil)
    }

    // MARK: The end

    private func beginClosing(_ context: ChannelHandlerContext) {
        phase = .closing
        presenceDeadline = nil
        isStreaming = false
        // Until all is sent, the reader's time counts.
        unreadBytes = bufferedBytes(context)
        enterDeadline(.now() + timeouts.writeStall, context)
        if answersUnsent == 0 { lastByteSent(context) }
        releaseRead(context)
    }

    /// Closes our direction, and the other one a little later: closing both at once would reset
    /// the connection, and the client would lose the answer it has not read yet.
    private func lastByteSent(_ context: ChannelHandlerContext) {
        if isInputClosed || !context.channel.isActive {
            context.close(promise: nil)
            return
        }
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
            if isBeingRead(context) { watchReader(context) }
        }
        if let deadline = stallDeadline, deadline <= now {
            metrics.refusals.add(1, "write_stalled", "answer")
            context.close(promise: nil)
            return
        }
        if let deadline = phase == .body ? pace.deadline : phaseDeadline, deadline <= now {
            phaseExpired(context)
        }
        if let deadline = presenceDeadline, deadline <= now { checkPresence(context) }
        if isStreaming, lastWrite + timeouts.keepAlive <= now { writeComment(context) }
        for deadline in [
            stallDeadline, phase == .body ? pace.deadline : phaseDeadline, presenceDeadline,
            isStreaming ? lastWrite + timeouts.keepAlive : nil,
        ] {
            if let deadline { schedule(deadline, context) }
        }
    }

    private func writeComment(_ context: ChannelHandlerContext) {
        // Comments between whole events are invisible to clients.
        let comment = context.channel.allocator.buffer(string: EventStream.keepAlive)
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(comment))), promise: nil)
        lastWrite = .now()
    }

    private func phaseExpired(_ context: ChannelHandlerContext) {
        phaseDeadline = nil
        switch phase {
        case .idle: beginClosing(context)
        case .head:
            if case .healthOnly(let refusal) = admission {
                answer(refusal, context)
            } else {
                answer(.headerTimeout, context)
            }
        case .body:
            pace.rest(at: .now())
            refuse(.bodyTimeout, context)
        case .answer: break
        case .closing where answersUnsent > 0 && isBeingRead(context):
            enterDeadline(.now() + timeouts.writeStall, context)
        case .closing: context.close(promise: nil)
        }
    }

    /// The client has the stall time again to take some of what waits for it.
    private func watchReader(_ context: ChannelHandlerContext) {
        unreadBytes = bufferedBytes(context)
        let deadline = NIODeadline.now() + timeouts.writeStall
        stallDeadline = deadline
        schedule(deadline, context)
    }

    /// Whether enough of what waited has been taken since it was last looked.
    private func isBeingRead(_ context: ChannelHandlerContext) -> Bool {
        let before = unreadBytes
        unreadBytes = bufferedBytes(context)
        return before - unreadBytes >= timeouts.readBytesMin
    }

    private func bufferedBytes(_ context: ChannelHandlerContext) -> Int {
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    /// Looks again and again whether a client that sends no more still waits for its answer.
    private func checkPresence(_ context: ChannelHandlerContext) {
        presenceDeadline = nil
        guard phase == .answer else { return }
        if PeerPresence.hasLeft(context.channel) {
            context.close(promise: nil)
            return
        }
        let deadline = NIODeadline.now() + timeouts.presence
        presenceDeadline = deadline
        schedule(deadline, context)
    }
}

@available(*, unavailable)
extension ConnectionHandler: Sendable {}
