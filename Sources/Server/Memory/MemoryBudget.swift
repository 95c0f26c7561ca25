import AutoGLMAPI
import AutoGLMObservability
import Synchronization

/// What requests may hold in memory, beside the model: one budget from which bodies and the texts
/// being read draw, and the steps taken when it runs short.
///
/// The *room* is what was free when the model had been loaded. Reservations are counted as they
/// are made, because a thousand clients are faster than any sampling; ``MemoryMonitor`` samples
/// the process as well, because not everything is counted.
final class MemoryBudget: Sendable {
    /// What the memory is held for.
    enum Pool: Int, CaseIterable, Sendable {
        /// Bytes of bodies received, until they have been read.
        case bodies
        /// Estimated memory of the texts being parsed, rendered and encoded.
        case texts
        /// Long answers that were made at once, until they have been sent.
        case answers
        /// Requests that were sent before the one in front of them has its answer.
        case pipelined

        var label: String {
            switch self {
            case .bodies: "bodies"
            case .texts: "texts"
            case .answers: "answers"
            case .pipelined: "pipelined"
            }
        }
    }

    /// Steps in the order in which they are taken; each includes those before it.
    enum Pressure: Int, Comparable, CaseIterable, Sendable {
        case none, stopReading, shrinkCaches, refuseWork, closeIdle

        static func < (left: Pressure, right: Pressure) -> Bool { left.rawValue < right.rawValue }
    }

    private struct Waiter {
        let id: UInt64
        let bytes: Int
        let pool: Pool
        let principal: String
        let resume: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var room: Int
        var used = [Int](repeating: 0, count: Pool.allCases.count)
        /// Bytes of each pool by whose they are.
        var held = [[String: Int]](repeating: [:], count: Pool.allCases.count)
        var waiters: [Waiter] = []
        var lastID: UInt64 = 0
        var pressure = Pressure.none
        var share = 0.0
    }

    let shares: MemoryShares
    /// How long a request waits for memory before it is refused.
    let patience: Duration
    private let state: Mutex<State>

    /// Shares of the room for each pool: what is not counted (sockets, answers, the allocator's
    /// own losses) needs the rest.
    private static let bodiesShare = 0.25
    private static let textsShare = 0.45
    private static let answersShare = 0.1
    private static let pipelinedShare = 0.05
    /// More than these makes nothing faster, and has to be given back to the system.
    private static let bodiesMax = 2 << 30
    private static let textsMax = 768 << 20
    private static let answersMax = 512 << 20
    private static let pipelinedMax = 64 << 20
    /// One principal may hold this share of a pool: the rest is for the others.
    private static let principalShare = 0.5

    /// - Parameter room: bytes, until ``setRoom(_:)`` knows better.
    init(
        room: Int = 4 << 30, shares: MemoryShares = MemoryShares(),
        patience: Duration = .seconds(10)
    ) {
        self.shares = shares
        self.patience = patience
        state = Mutex(State(room: room))
    }

    func setRoom(_ bytes: Int) {
        let resumed = state.withLock { state in
            state.room = max(bytes, 1 << 20)
            return Self.admit(&state)
        }
        for waiter in resumed { waiter.resume.resume(returning: true) }
    }

    var room: Int { state.withLock { $0.room } }
    var pressure: Pressure { state.withLock { $0.pressure } }
    /// Of the room, as last measured.
    var share: Double { state.withLock { $0.share } }

    func used(_ pool: Pool) -> Int { state.withLock { $0.used[pool.rawValue] } }

    /// Bytes that one reservation may have at most.
    func most(_ pool: Pool) -> Int { state.withLock { Self.most(pool, $0) } }

    private static func most(_ pool: Pool, _ state: State) -> Int {
        switch pool {
        case .bodies: min(Int(Double(state.room) * bodiesShare), bodiesMax)
        case .texts: min(Int(Double(state.room) * textsShare), textsMax)
        case .answers: min(Int(Double(state.room) * answersShare), answersMax)
        case .pipelined: min(Int(Double(state.room) * pipelinedShare), pipelinedMax)
        }
    }

    /// Called by the monitor: what share of the room is in use.
    /// - Returns: the step that this calls for.
    func observe(share: Double) -> Pressure {
        let pressure = shares.pressure(share)
        let resumed = state.withLock { state in
            state.share = share
            state.pressure = pressure
            return Self.admit(&state)
        }
        for waiter in resumed { waiter.resume.resume(returning: true) }
        return pressure
    }

    // MARK: Reserving

    /// Reserves memory, and waits for it if it must.
    /// - Throws: `APIError`: 413 for more than there can ever be, 503 after ``patience``;
    ///   `CancellationError`.
    func reserve(
        _ bytes: Int, _ pool: Pool, principal: String
    ) async throws -> MemoryReservation {
        let reservation = MemoryReservation(self, pool, principal)
        try await reservation.grow(by: bytes)
        return reservation
    }

    /// Reserves memory if it is there now.
    func reserveNow(_ bytes: Int, _ pool: Pool, principal: String) -> MemoryReservation? {
        let isTaken = state.withLock { state in
            guard Self.fits(bytes, pool, principal, state) else { return false }
            Self.add(bytes, pool, principal, &state)
            return true
        }
        return isTaken ? MemoryReservation(self, pool, principal, bytes: bytes) : nil
    }

    fileprivate func take(_ bytes: Int, _ pool: Pool, _ principal: String) async throws {
        let limit = most(pool)
        guard bytes <= limit else { throw APIError.tooLargeForMemory(needs: bytes, limit: limit) }
        let id: UInt64? = state.withLock { state in
            if Self.fits(bytes, pool, principal, state) {
                Self.add(bytes, pool, principal, &state)
                return nil
            }
            state.lastID += 1
            return state.lastID
        }
        guard let id else { return }
        let timeout = Task { [weak self, patience] in
            try await Task.sleep(for: patience)
            self?.giveUp(id)
        }
        defer { timeout.cancel() }
        let isTaken = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enqueue(id, bytes, pool, principal, continuation)
            }
        } onCancel: {
            giveUp(id)
        }
        if isTaken { return }
        try Task.checkCancellation()
        throw APIError.memoryShort
    }

    private func enqueue(
        _ id: UInt64, _ bytes: Int, _ pool: Pool, _ principal: String,
        _ continuation: CheckedContinuation<Bool, Never>
    ) {
        let waiter = Waiter(
            id: id, bytes: bytes, pool: pool, principal: principal, resume: continuation)
        let resumed = state.withLock { state in
            state.waiters.append(waiter)
            return Self.admit(&state)
        }
        for waiter in resumed { waiter.resume.resume(returning: true) }
        // Cancelled before it stood in the queue.
        if Task.isCancelled { giveUp(id) }
    }

    private func giveUp(_ id: UInt64) {
        let waiter = state.withLock { state -> Waiter? in
            guard let index = state.waiters.firstIndex(where: { $0.id == id }) else { return nil }
            return state.waiters.remove(at: index)
        }
        waiter?.resume.resume(returning: false)
    }

    fileprivate func give(_ bytes: Int, _ pool: Pool, _ principal: String) {
        if bytes == 0 { return }
        let resumed = state.withLock { state in
            state.used[pool.rawValue] -= bytes
            let left = (state.held[pool.rawValue][principal] ?? 0) - bytes
            state.held[pool.rawValue][principal] = left > 0 ? left : nil
            return Self.admit(&state)
        }
        for waiter in resumed { waiter.resume.resume(returning: true) }
    }

    private static func fits(
        _ bytes: Int, _ pool: Pool, _ principal: String, _ state: State
    ) -> Bool {
        let limit = most(pool, state)
        guard state.used[pool.rawValue] + bytes <= limit else { return false }
        if pool == .bodies, state.pressure >= .stopReading { return false }
        let own = state.held[pool.rawValue][principal] ?? 0
        return own == 0 || own + bytes <= Int(Double(limit) * principalShare)
    }

    private static func add(
        _ bytes: Int, _ pool: Pool, _ principal: String, _ state: inout State
    ) {
        state.used[pool.rawValue] += bytes
        state.held[pool.rawValue][principal, default: 0] += bytes
    }

    /// Takes those waiters out of the queue for whom there is memory now. Small ones pass large
    /// ones, which patience ends, not starvation of everyone behind them.
    private static func admit(_ state: inout State) -> [Waiter] {
        if state.waiters.isEmpty { return [] }
        var admitted: [Waiter] = []
        var left: [Waiter] = []
        for waiter in state.waiters {
            if fits(waiter.bytes, waiter.pool, waiter.principal, state) {
                add(waiter.bytes, waiter.pool, waiter.principal, &state)
                admitted.append(waiter)
            } else {
                left.append(waiter)
            }
        }
        state.waiters = left
        return admitted
    }
}

/// Shares of the room at which the steps of ``MemoryBudget/Pressure`` begin, in their order.
package struct MemoryShares: Sendable, Equatable {
    package var stopReading = 0.85
    package var shrinkCaches = 0.9
    package var refuseWork = 0.95
    package var closeIdle = 0.98

    package init() {}

    /// As in `85,90,95,98`; nil unless these are four percentages, none below the one before.
    package init?(percents: String) {
        let parts = percents.split(separator: ",", omittingEmptySubsequences: false)
        let shares = parts.compactMap { Double($0).map { $0 / 100 } }
        guard parts.count == 4, shares.count == 4,
            shares.allSatisfy({ (0.01...1).contains($0) }), shares == shares.sorted()
        else { return nil }
        (stopReading, shrinkCaches) = (shares[0], shares[1])
        (refuseWork, closeIdle) = (shares[2], shares[3])
    }

    package var percents: String {
        [stopReading, shrinkCaches, refuseWork, closeIdle]
            .map { String(Int(($0 * 100).rounded())) }.joined(separator: ",")
    }

    func pressure(_ share: Double) -> MemoryBudget.Pressure {
        switch share {
        case closeIdle...: .closeIdle
        case refuseWork...: .refuseWork
        case shrinkCaches...: .shrinkCaches
        case stopReading...: .stopReading
        default: .none
        }
    }
}

/// Memory held for a request; given back when nobody holds this any more.
final class MemoryReservation: Sendable {
    private let budget: MemoryBudget
    private let pool: MemoryBudget.Pool
    private let principal: String
    private let bytes: Atomic<Int>

    fileprivate init(
        _ budget: MemoryBudget, _ pool: MemoryBudget.Pool, _ principal: String, bytes: Int = 0
    ) {
        self.bytes = Atomic(bytes)
        self.budget = budget
        self.pool = pool
        self.principal = principal
    }

    /// - Throws: as ``MemoryBudget/reserve(_:_:principal:)``
    func grow(by more: Int) async throws {
        try await budget.take(more, pool, principal)
        bytes.add(more, ordering: .relaxed)
    }

    var bytesHeld: Int { bytes.load(ordering: .relaxed) }

    deinit {
        budget.give(bytes.load(ordering: .relaxed), pool, principal)
    }
}

extension APIError {
    static func tooLargeForMemory(needs: Int, limit: Int) -> APIError {
        let mebibyte = 1 << 20
        return APIError(
            status: 413, kind: .invalidRequest,
            message: "Reading this request takes about \(needs / mebibyte + 1) MiB of memory; this "
                + "server has \(limit / mebibyte) MiB for requests. Send less, or give the server "
                + "more memory.",
            code: "body_too_large")
    }

    static let memoryShort = APIError(
        status: 503, kind: .overloaded,
        message: "The server is short of memory. Try again later.", code: "memory_pressure",
        retryAfter: 5)
}
