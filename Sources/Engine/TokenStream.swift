import Synchronization

/// What joins the engine thread to one consumer: the engine pushes, the consumer takes.
///
/// A push appends under a short lock and wakes a waiting consumer; it never blocks and never
/// waits for the consumer. The buffer is bounded by the request's `maxTokens`, which admission
/// counted. A slow consumer simply finds more in each batch.
final class TokenChannel: Sendable {
    private enum End {
        case finished
        case failed(GenerationError)
    }

    private struct State {
        var batch = TokenBatch()
        var end: End?
        /// The end was handed to the consumer; from here on `next` returns nil.
        var isDelivered = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    var isOpen: Bool { state.withLock { $0.end == nil } }

    func push(_ event: TokenEvent, usage: Usage) {
        wake { state in
            guard state.end == nil else { return }
            state.batch.tokens.append(event)
            state.batch.usage = usage
        }
    }

    /// The consumer is not woken: the first output token follows at once.
    func push(prompt: [TokenEvent], usage: Usage) {
        state.withLock { state in
            guard state.end == nil else { return }
            state.batch.prompt += prompt
            state.batch.usage = usage
        }
    }

    /// - Parameter last: the last token, delivered together with the end in one wake-up.
    func finish(_ finish: Finish, last: TokenEvent? = nil) {
        wake { state in
            guard state.end == nil else { return }
            if let last { state.batch.tokens.append(last) }
            state.batch.finish = finish
            state.batch.usage = finish.usage
            state.end = .finished
        }
    }

    /// What came before the failure is still delivered.
    func fail(_ error: GenerationError) {
        wake { state in
            if state.end == nil { state.end = .failed(error) }
        }
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state in
            change(&state)
            let waiter = state.waiter
            state.waiter = nil
            return waiter
        }
        waiter?.resume()
    }

    private enum Outcome {
        case batch(TokenBatch)
        case failure(GenerationError)
        case end
        case wait
    }

    private func take() -> Outcome {
        state.withLock { state in
            if !state.batch.isEmpty {
                let batch = state.batch
                state.batch = TokenBatch()
                return .batch(batch)
            }
            switch state.end {
            case nil: return .wait
            case .finished: return .end
            case .failed(let error):
                if state.isDelivered { return .end }
                state.isDelivered = true
                return .failure(error)
            }
        }
    }

    func next() async throws(GenerationError) -> TokenBatch? {
        while true {
            switch take() {
            case .batch(let batch): return batch
            case .failure(let error): throw error
            case .end: return nil
            case .wait:
                await withCheckedContinuation { continuation in
                    let isReady = state.withLock { state in
                        guard state.batch.isEmpty, state.end == nil else { return true }
                        precondition(state.waiter == nil, "a token stream has one consumer")
                        state.waiter = continuation
                        return false
                    }
                    if isReady { continuation.resume() }
                }
            }
        }
    }
}

/// The output of one request, token by token, in batches of whatever is there.
///
/// One consumer. When its task is cancelled, or when it lets go of the stream before the end, the
/// engine is told to abort the request, and its KV blocks are free before the next step.
package final class TokenStream: AsyncSequence, Sendable {
    package typealias Element = TokenBatch
    package typealias Failure = GenerationError

    private let channel: TokenChannel
    private let onAbort: @Sendable () -> Void

    init(channel: TokenChannel, onAbort: @escaping @Sendable () -> Void) {
        self.channel = channel
        self.onAbort = onAbort
    }

    deinit {
        if channel.isOpen { onAbort() }
    }

    /// Ends the request early. The stream then throws ``GenerationError/cancelled``.
    package func abort() {
        guard channel.isOpen else { return }
        channel.fail(.cancelled)
        onAbort()
    }

    /// The next batch; nil after the end.
    package func next() async throws(GenerationError) -> TokenBatch? {
        do {
            return try await withTaskCancellationHandler {
                try await channel.next()
            } onCancel: {
                abort()
            }
        } catch let error as GenerationError {
            throw error
        } catch {
            throw .cancelled
        }
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let stream: TokenStream

        package mutating func next() async throws -> TokenBatch? {
            try await stream.next()
        }

        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(GenerationError) -> TokenBatch? {
            try await stream.next()
        }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }
}
