import AutoGLMAPI
import AutoGLMEngine
import Hummingbird
import HummingbirdCore
import Synchronization

/// The way of a request from its bytes to the first step for its answer: the body within its
/// limits and the memory budget, then whatever is to be done with its text where that holds up
/// nobody else.
struct RequestIntake: Sendable {
    let budget: MemoryBudget
    let texts: TextPool
    let options: ServerOptions

    /// Memory that parsing, rendering and encoding take per byte of a body at most: the state of
    /// merging one word that is the whole text (40 bytes), and copies of the text.
    private static let memoryPerByte = 48

    /// Reads the body and does `work` with it.
    ///
    /// `work` is cancelled when the client leaves or the request's deadline passes.
    /// - Throws: `APIError`, or what `work` throws.
    func read<Result: Sendable>(
        _ http: Request, _ context: ServerContext,
        _ work: @escaping @concurrent @Sendable (RequestBytes) async throws -> Result
    ) async throws -> Result {
        let principal = context.principal
        let reader = BodyReader(
            bytesMax: options.bodyBytesMax, budget: budget, principal: principal)
        let body = try await reader.read(http)
        let task = Task {
            guard body.bytes.count > TextPool.inlineBytesMax else { return try await work(body) }
            let memory = try await budget.reserve(
                body.bytes.count * Self.memoryPerByte, .texts, principal: principal)
            defer { withExtendedLifetime(memory) {} }
            return try await texts.run(principal: principal) { try await work(body) }
        }
        context.connection?.whenGone { task.cancel() }
        defer { context.connection?.clear() }
        let alarm = DeadlineAlarm(
            try? RequestBuilder.deadline(of: http, options), since: context.arrival,
            task.cancel)
        defer { alarm?.cancel() }
        do {
            return try await withTaskCancellationHandler {
                try await task.value
            } onCancel: {
                task.cancel()
            }
        } catch {
            if context.connection?.isGone ?? false { throw APIError.clientLeft }
            if let alarm, alarm.hasRung {
                throw APIError(AdmissionError.deadlineExceeded(limit: alarm.limit))
            }
            throw error is CancellationError ? APIError.draining : error
        }
    }
}

/// Ends what is done for a request whose deadline passes before the engine has it; from then on
/// the engine keeps time itself.
private final class DeadlineAlarm: Sendable {
    let limit: Duration
    private let rang = Atomic(false)
    private let task = Mutex<Task<Void, Never>?>(nil)

    /// nil without a deadline.
    init?(
        _ limit: Duration?, since start: ContinuousClock.Instant,
        _ onRing: @escaping @Sendable () -> Void
    ) {
        guard let limit else { return nil }
        self.limit = limit
        let timer = Task { [weak self] in
            try? await Task.sleep(until: start + limit)
            guard !Task.isCancelled, let self else { return }
            self.rang.store(true, ordering: .relaxed)
            onRing()
        }
        task.withLock { $0 = timer }
    }

    var hasRung: Bool { rang.load(ordering: .relaxed) }

    func cancel() { task.withLock { $0 }?.cancel() }
}
