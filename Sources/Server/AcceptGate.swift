import AutoGLMAPI
import AutoGLMObservability
import Glibc
import NIOCore
import NIOPosix

/// Pauses the accepting of connections when the process or the machine has no descriptor or no
/// memory for another.
///
/// The connection that could not be accepted stays in the kernel's queue and keeps the listening
/// socket ready: without a pause the event loop would try again for ever. One descriptor is kept
/// in reserve; given up for a moment, it lets us take those who wait from the queue and tell them,
/// where they would hang until their own patience ends.
final class AcceptGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    private let metrics: ServerMetrics
    private var spare: CInt
    private var isPaused = false
    private var isReadHeldBack = false

    private static let pause = TimeAmount.milliseconds(100)
    /// Connections turned away after one pause.
    private static let turnedAwayMax = 32

    init(metrics: ServerMetrics) {
        self.metrics = metrics
        spare = Self.openSpare()
    }

    private static func openSpare() -> CInt { unsafe open("/dev/null", O_RDONLY | O_CLOEXEC) }

    func handlerRemoved(context: ChannelHandlerContext) {
        if spare >= 0 { Glibc.close(spare) }
        spare = -1
    }

    func read(context: ChannelHandlerContext) {
        if isPaused { isReadHeldBack = true } else { context.read() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let failure = error as? IOError,
            [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(failure.errnoCode)
        else {
            context.fireErrorCaught(error)
            return
        }
        if isPaused { return }
        isPaused = true
        // NIO goes on asking the kernel after an error; without this option it stops.
        try? context.channel.syncOptions?.setOption(.autoRead, value: false)
        turnAway(context)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { self.resume(context) }
    }

    private func resume(_ context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        isPaused = false
        try? context.channel.syncOptions?.setOption(.autoRead, value: true)
        if isReadHeldBack {
            isReadHeldBack = false
            context.read()
        }
    }

    private func turnAway(_ context: ChannelHandlerContext) {
        if spare >= 0 { Glibc.close(spare) }
        defer { spare = Self.openSpare() }
        let listener = try? context.channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: CInt.self) { $0 }
        guard let listener else { return }
        let text = Self.refusal
        for _ in 0..<Self.turnedAwayMax {
            let client = accept(listener, nil, nil)
            if client < 0 { return }
            metrics.refusals.add(1, "no_descriptors", "accept")
            _ = unsafe text.withUnsafeBytes {
                unsafe send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            Glibc.close(client)
        }
    }

    private static let refusal: [UInt8] = {
        let error = APIError(
            status: 503, kind: .overloaded,
            message: "This server has no descriptors left for another connection.",
            code: "no_descriptors", retryAfter: 1)
        let head =
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            + "Content-Length: \(error.body.count)\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
        return Array(head.utf8) + error.body
    }()
}

@available(*, unavailable)
extension AcceptGate: Sendable {}
