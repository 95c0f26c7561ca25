import AutoGLMObservability
import Hummingbird
import Logging
import Synchronization

/// What the middleware and the route of one request share.
struct ServerContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    var requestID = ""
    /// Whose request this is; prefix-cache blocks are shared within a tenant only.
    var tenant = ""
    /// Whose share of memory and text work this request takes: a key's, or an address's.
    var principal: String { tenant.isEmpty ? connection?.address ?? "" : "key \(tenant)" }
    /// Ends when the answer has been written out.
    var ticket: RequestTicket?
    /// The request's first byte.
    let arrival: ContinuousClock.Instant
    let connection: ClientConnection?

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        connection = ClientConnection.current
        arrival = connection?.takeFirstByte() ?? .now
    }
}

/// One request in the books: counted as open, and recorded once when it ends.
///
/// The middleware closes it when the answer is a plain one; the writer of a stream takes it over
/// and closes it after the last byte.
final class RequestTicket: Sendable {
    private struct State {
        var isTaken = false
        var isClosed = false
        var details: Logger.Metadata = [:]
    }

    private let state = Mutex(State())
    private let onClose: @Sendable (_ code: Int, _ details: Logger.Metadata) -> Void

    init(onClose: @escaping @Sendable (_ code: Int, _ details: Logger.Metadata) -> Void) {
        self.onClose = onClose
    }

    /// Moves the duty to close to the caller.
    func take() { state.withLock { $0.isTaken = true } }

    var isTaken: Bool { state.withLock { $0.isTaken } }

    /// Adds sizes and outcomes to the request's log line; never text.
    func note(_ key: String, _ value: Logger.MetadataValue) {
        state.withLock { $0.details[key] = value }
    }

    /// Arrival to first token; of several sequences, the first one's.
    func noteTimeToFirstToken(_ time: Duration) { note("ttft_ms", milliseconds(time)) }

    /// Arrival to first scheduled.
    func noteQueueTime(_ time: Duration) { note("queue_ms", milliseconds(time)) }

    func noteTokens(prompt: Int, cached: Int, completion: Int) {
        note("prompt_tokens", .stringConvertible(prompt))
        note("cached_tokens", .stringConvertible(cached))
        note("completion_tokens", .stringConvertible(completion))
    }

    /// With a tenth's digit: a small model's times are below a millisecond or two.
    private func milliseconds(_ time: Duration) -> Logger.MetadataValue {
        .stringConvertible((time / .milliseconds(1) * 10).rounded() / 10)
    }

    /// - Parameter code: the HTTP status, or 499 for a client that left.
    func close(code: Int) {
        let details: Logger.Metadata? = state.withLock { state in
            if state.isClosed { return nil }
            state.isClosed = true
            return state.details
        }
        if let details { onClose(code, details) }
    }
}

/// Whether the server takes work, and how much is under way.
final class ServerState: Sendable {
    private struct State {
        var isDraining = false
        var open = 0
    }

    private let state = Mutex(State())

    var isDraining: Bool { state.withLock { $0.isDraining } }
    /// Requests for work whose answers have not been written out.
    var open: Int { state.withLock { $0.open } }

    func beginDrain() { state.withLock { $0.isDraining = true } }

    /// - Returns: false while draining.
    func enter() -> Bool {
        state.withLock { state in
            if state.isDraining { return false }
            state.open += 1
            return true
        }
    }

    func leave() { state.withLock { $0.open -= 1 } }
}
