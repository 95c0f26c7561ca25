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
    }

    let address: String
    private let state = Mutex(State())

    init(address: String) {
        self.address = address
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

/// Counts connections by client address.
final class ConnectionCensus: Sendable {
    private let counts = Mutex<[String: Int]>([:])
    let perAddressMax: Int

    init(perAddressMax: Int) {
        self.perAddressMax = perAddressMax
    }

    /// Counts a new connection.
    /// - Returns: whether it may be served.
    func enter(_ address: String) -> Bool {
        counts.withLock { counts in
            let count = counts[address, default: 0] + 1
            counts[address] = count
            return count <= perAddressMax
        }
    }

    func leave(_ address: String) {
        counts.withLock { counts in
            guard let count = counts[address] else { return }
            counts[address] = count > 1 ? count - 1 : nil
        }
    }

    /// Closes connections on which nothing is under way.
    func closeIdle() {}

    var total: Int { counts.withLock { $0.values.reduce(0, +) } }
}
