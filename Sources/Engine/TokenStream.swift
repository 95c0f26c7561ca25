import Synchronization

/// What joins the engine thread to the one consumer of a request, however many sequences that
/// has: the engine pushes, the consumer takes.
///
/// A push appends under a short lock and wakes a waiting consumer; it never blocks and never
/// waits for the consumer. The buffer is bounded by the request's `maxTokens`, which admission
/// counted. A slow consumer simply finds more in each batch.
final class TokenChannel: TokenSink {
    private enum End {
        case finished
        case failed(GenerationError)
    }

    /// One sequence.
    private struct Lane {
        var batch = TokenBatch()
        /// The engine run that may write; see ``EngineRun/epoch``.
        var writer = 0
        var end: End?
        /// Stands among those that the consumer is to look at.
        var isListed = false
        /// The consumer has been told of the end.
        var isDelivered = false
    }

    private struct State {
        var lanes: [Lane]
        /// Sequences with news, in the order in which that came.
        var listed: [Int] = []
        var waiter: CheckedContinuation<Void, Never>?

        mutating func list(_ choice: Int) {
            if lanes[choice].isListed || lanes[choice].isDelivered { return }
            lanes[choice].isListed = true
            listed.append(choice)
        }

        mutating func unlist() {
            let choice = listed.removeFirst()
            lanes[choice].isListed = false
        }
    }

    private let state: Mutex<State>

    init(count: Int) {
        state = Mutex(State(lanes: Array(repeating: Lane(), count: count)))
    }

    /// Only the run of this epoch writes from now on. What ends a sequence from outside of the
    /// engine thread needs no epoch.
    func handOver(_ choice: Int, to epoch: Int) {
        state.withLock { $0.lanes[choice].writer = epoch }
    }

    func isOpen(_ choice: Int) -> Bool { state.withLock { $0.lanes[choice].end == nil } }

    func push(_ event: TokenEvent, of choice: Int, usage: Usage, from epoch: Int) {
        wake(choice) { lane in
            guard lane.end == nil, lane.writer == epoch else { return }
            lane.batch.tokens.append(event)
            lane.batch.usage = usage
        }
    }

    /// The consumer is not woken: the first output token follows at once.
    func push(prompt: [TokenEvent], of choice: Int, usage: Usage, from epoch: Int) {
        state.withLock { state in
            guard state.lanes[choice].end == nil, state.lanes[choice].writer == epoch else {
                return
            }
            state.lanes[choice].batch.prompt += prompt
            state.lanes[choice].batch.usage = usage
        }
    }

    func finish(
        _ finish: Finish, of choice: Int, last: TokenEvent?, from epoch: Int
    ) {
        wake(choice) { lane in
            guard lane.end == nil, lane.writer == epoch else { return }
            if let last { lane.batch.tokens.append(last) }
            lane.batch.finish = finish
            lane.batch.usage = finish.usage
            lane.end = .finished
        }
    }

    /// - Parameter epoch: nil for everybody but a run.
    func fail(_ error: GenerationError, choice: Int, from epoch: Int?) {
        wake(choice) { lane in
            guard lane.end == nil, epoch == nil || epoch == lane.writer else { return }
            lane.end = .failed(error)
        }
    }

    /// The consumer needs no more of this sequence; it gets no word of its end.
    func close(_ choice: Int) {
        wake(choice) { lane in
            lane.batch = TokenBatch()
            lane.end = .finished
        }
    }

    private func wake(_ choice: Int, _ change: (inout Lane) -> Void) {
        let waiter = state.withLock { state in
            change(&state.lanes[choice])
            state.list(choice)
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
            while let choice = state.listed.first {
                if !state.lanes[choice].batch.isEmpty {
                    var batch = state.lanes[choice].batch
                    batch.choice = choice
                    state.lanes[choice].batch = TokenBatch()
                    if state.lanes[choice].end == nil { state.unlist() }
                    return .batch(batch)
                }
                state.unlist()
                switch state.lanes[choice].end {
                case nil: continue
                case .finished: state.lanes[choice].isDelivered = true
                case .failed(let error):
                    state.lanes[choice].isDelivered = true
                    return .failure(error)
                }
            }
            return state.lanes.allSatisfy(\.isDelivered) ? .end : .wait
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
                        guard state.listed.isEmpty else { return true }
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

/// The output of one request, in batches of whatever is there, each of one of its sequences.
///
/// One consumer. When its task is cancelled, or when it lets go of the stream before the end, the
/// engine is told to abort the request, and its KV blocks are free before the next step.
package final class TokenStream: AsyncSequence, Sendable {
    package typealias Element = TokenBatch
    package typealias Failure = GenerationError

    /// Sequences of the request.
    package let count: Int
    private let channel: TokenChannel
    private let onAbort: @Sendable (_ choice: Int) -> Void

    init(count: Int, channel: TokenChannel, onAbort: @escaping @Sendable (Int) -> Void) {
        self.count = count
        self.channel = channel
        self.onAbort = onAbort
    }

    deinit {
        for choice in 0..<count where channel.isOpen(choice) { onAbort(choice) }
    }

    /// Ends the request early. The stream then throws ``GenerationError/cancelled``.
    package func abort() {
        for choice in 0..<count where channel.isOpen(choice) {
            channel.fail(.cancelled, choice: choice, from: nil)
            onAbort(choice)
        }
    }

    /// Ends one sequence: its consumer has found the end itself (a stop string) and needs no more.
    package func close(_ choice: Int) {
        guard channel.isOpen(choice) else { return }
        channel.close(choice)
        onAbort(choice)
    }

    /// The next batch; nil after the end of all sequences.
    /// - Throws: what ended a sequence; the others go on until ``abort()`` or `deinit`.
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
