import AutoGLMAPI
import Synchronization

/// Counts connections, and says which are served: the one place that knows how many there are.
///
/// Connections beyond the limits are not refused unseen: the health of a server that is full must
/// be visible. A few more are taken in, each for as long as it takes to say that it asks for
/// health, or to be told why it is refused. When even those are too many, the oldest has to go, so
/// that nobody can keep them all.
final class ConnectionCensus: Sendable {
    struct Limits: Equatable, Sendable {
        var total: Int
        var perAddress: Int
        /// Connections beyond the others, for health alone.
        var health: Int
    }

    enum Admission: Sendable {
        case served
        /// Health is answered; everything else gets this.
        case healthOnly(APIError)
    }

    /// Passes an order to a connection, from any thread.
    typealias Orders = @Sendable (ConnectionHandler.Order) -> Void

    private struct State {
        var lastID = 0
        /// Served connections by address.
        var counts: [String: Int] = [:]
        var served: [Int: (address: String, order: Orders)] = [:]
        var isShortOfMemory = false
        /// The connections beyond the limits, oldest first.
        var extra: [(id: Int, order: Orders)] = []
    }

    let limits: Limits
    private let state = Mutex(State())

    init(_ limits: Limits) {
        self.limits = limits
    }

    /// Counts a new connection.
    /// - Parameter order: called when the connection has to make room.
    /// - Returns: its number, for ``leave(_:)``, and how it is treated.
    func enter(_ address: String, order: @escaping Orders) -> (Int, Admission) {
        let (id, admission, evicted) = state.withLock { state in
            state.lastID += 1
            let id = state.lastID
            let count = state.counts[address, default: 0]
            let refusal: APIError? =
                if count >= limits.perAddress {
                    .tooManyConnections(limit: limits.perAddress)
                } else if state.served.count >= limits.total {
                    .serverFull(limit: limits.total)
                } else { state.isShortOfMemory ? .memoryShort : nil }
            guard let refusal else {
                state.counts[address] = count + 1
                state.served[id] = (address, order)
                return (id, Admission.served, nil as Orders?)
            }
            state.extra.append((id, order))
            let evicted = state.extra.count > limits.health ? state.extra.removeFirst().order : nil
            return (id, .healthOnly(refusal), evicted)
        }
        evicted?(.evict)
        return (id, admission)
    }

    func leave(_ id: Int) {
        state.withLock { state in
            guard let (address, _) = state.served.removeValue(forKey: id) else {
                state.extra.removeAll { $0.id == id }
                return
            }
            let count = state.counts[address, default: 1] - 1
            state.counts[address] = count > 0 ? count : nil
        }
    }

    /// While memory is short, new connections are only asked whether they want to know of health.
    func setShortOfMemory(_ isShort: Bool) {
        state.withLock { $0.isShortOfMemory = isShort }
    }

    /// Closes connections on which nothing is under way.
    func closeIdle() {
        order(.closeIdle)
    }

    /// Refuses requests that are still being sent.
    func drain() {
        order(.drain)
    }

    private func order(_ order: ConnectionHandler.Order) {
        for member in state.withLock({ Array($0.served.values) }) { member.order(order) }
    }

    var total: Int { state.withLock { $0.served.count + $0.extra.count } }
}

extension APIError {
    static func tooManyConnections(limit: Int) -> APIError {
        APIError(
            status: 429, kind: .rateLimit,
            message: "More than \(limit) connections from one address. Close some.",
            code: "too_many_connections", retryAfter: 1)
    }

    static func serverFull(limit: Int) -> APIError {
        APIError(
            status: 503, kind: .overloaded,
            message: "All \(limit) connections of this server are taken. Try again later.",
            code: "server_full", retryAfter: 1)
    }
}
