import AutoGLMAPI
import Synchronization

/// What request handlers may know and do about the connection their request came over.
///
/// The event loop reports that the client has left; the handler of the running request has then
/// registered what to stop.
final class ClientConnection: Sendable {
    private struct State {
        var isGone = false
        var onGone: (@Sendable () -> Void)?
        /// When the first byte of the request under way came.
        var firstByte: ContinuousClock.Instant?
        /// What the client has been told in the handler's place.
        var refusal: APIError?
    }

    let address: String
    private let onBodyWanted: @Sendable () -> Void
    private let state = Mutex(State())

    /// - Parameter onBodyWanted: called from any thread when a handler starts to read a body.
    init(address: String, onBodyWanted: @escaping @Sendable () -> Void) {
        self.address = address
        self.onBodyWanted = onBodyWanted
    }

    /// The request has passed its checks and its body is read from here on: only now is a client
    /// that waits for `100 Continue` asked to send it.
    func wantBody() { onBodyWanted() }

    /// The connection has answered in the handler's place. Called by the event loop.
    func refused(_ error: APIError) {
        state.withLock { $0.refusal = error }
        clientLeft()
    }

    /// Why there is nobody to answer; nil while there is.
    var lossReason: APIError? {
        state.withLock { $0.isGone ? $0.refusal ?? .clientLeft : nil }
    }

    /// The connection of the request being handled; nil when there is none, as in router tests.
    @TaskLocal static var current: ClientConnection?

    /// Sets what to do when the client leaves; at once if it has left.
    func whenGone(_ action: @escaping @Sendable () -> Void) {
        let isGone = state.withLock { state in
            if !state.isGone { state.onGone = action }
            return state.isGone
        }
        if isGone { action() }
    }

    /// The request is over: nothing is to be stopped any more.
    func clear() {
        state.withLock { $0.onGone = nil }
    }

    var isGone: Bool { state.withLock { $0.isGone } }

    /// Bytes of a header have come. Called by the event loop.
    func requestBegins() {
        let now = ContinuousClock.now
        state.withLock { $0.firstByte = $0.firstByte ?? now }
    }

    /// When the request now handled began; the next one has a beginning of its own.
    func takeFirstByte() -> ContinuousClock.Instant? {
        state.withLock { state in
            defer { state.firstByte = nil }
            return state.firstByte
        }
    }

    /// Called by the event loop.
    func clientLeft() {
        let action = state.withLock { state in
            state.isGone = true
            let action = state.onGone
            state.onGone = nil
            return action
        }
        action?()
    }
}
