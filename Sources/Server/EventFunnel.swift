import AutoGLMEngine
import Synchronization

/// Joins the events of several sequences for one writer.
///
/// Everything that has come since the writer last looked is handed over at once: a slow client
/// gets fewer, larger pieces. What can pile up is bounded by the tokens admission counted.
final class EventFunnel: Sendable {
    enum Item: Sendable {
        case event(choice: Int, TextEvent)
        case ended(choice: Int)
        case failed(any Error)
    }

    private struct State {
        var items: [Item] = []
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func push(_ item: Item) {
        let waiter = state.withLock { state in
            state.items.append(item)
            let waiter = state.waiter
            state.waiter = nil
            return waiter
        }
        waiter?.resume()
    }

    /// All items since the last call, at least one. Only one task may wait.
    func next() async -> [Item] {
        while true {
            let items = state.withLock { state in
                let items = state.items
                state.items = []
                return items
            }
            if !items.isEmpty { return items }
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    guard state.items.isEmpty else { return true }
                    precondition(state.waiter == nil, "a funnel has one consumer")
                    state.waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        }
    }
}
