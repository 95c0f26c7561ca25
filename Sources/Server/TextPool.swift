import AutoGLMAPI
import Dispatch
import Foundation
import Synchronization

/// Threads of their own for work that grows with a client's text: parsing, rendering, encoding.
///
/// Event loops and the cooperative pool answer health checks and hand out tokens; a few clients
/// with megabytes of spaces must not hold their threads. Work runs here in slices (between two of
/// them it awaits `Task.yield`), turn by turn of those whose work it is, so nobody waits for
/// more than a few slices of others.
final class TextPool: Sendable {
    /// Texts up to this size are read where their request is handled: going elsewhere costs more.
    static let inlineBytesMax = 16 << 10
    /// Texts of more than this are "large": few are under way at once, and small ones pass them.
    static let largeBytesMin = 256 << 10

    private struct Queue {
        var jobs: [(UnownedJob, TextExecutor)] = []
        var next = 0

        mutating func pop() -> (UnownedJob, TextExecutor)? {
            guard next < jobs.count else { return nil }
            defer {
                next += 1
                if next == jobs.count { (jobs, next) = ([], 0) }
            }
            return jobs[next]
        }
    }

    private struct State {
        var queues: [String: Queue] = [:]
        /// Those whose turn it is, first one first.
        var turns: [String] = []
        var isStopped = false
    }

    private let state = Mutex(State())
    private let ready = DispatchSemaphore(value: 0)

    /// - Parameter threads: half of the cores by default: the rest is for steps and sockets.
    init(threads: Int? = nil) {
        let cores = ProcessInfo.processInfo.activeProcessorCount
        for index in 0..<(threads ?? min(max(cores / 2, 1), 8)) {
            let thread = Thread { [weak self, ready] in
                // Decoding for everyone goes before one client's megabytes.
                _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)
                while true {
                    ready.wait()
                    guard let self, let (job, executor) = self.take() else { return }
                    unsafe job.runSynchronously(on: executor.asUnownedTaskExecutor())
                }
            }
            thread.name = "text \(index)"
            thread.start()
        }
    }

    deinit {
        // Each thread wakes once more, finds nobody and ends.
        for _ in 0..<64 { ready.signal() }
    }

    fileprivate func enqueue(_ job: UnownedJob, _ executor: TextExecutor) {
        state.withLock { state in
            if state.queues[executor.principal] == nil {
                state.queues[executor.principal] = Queue()
                state.turns.append(executor.principal)
            }
            state.queues[executor.principal]?.jobs.append((job, executor))
        }
        ready.signal()
    }

    private func take() -> (UnownedJob, TextExecutor)? {
        state.withLock { state in
            while !state.turns.isEmpty {
                let principal = state.turns.removeFirst()
                guard let job = state.queues[principal]?.pop() else {
                    state.queues[principal] = nil
                    continue
                }
                if state.queues[principal]?.jobs.isEmpty ?? true {
                    state.queues[principal] = nil
                } else {
                    state.turns.append(principal)
                }
                return job
            }
            return nil
        }
    }

    /// Its threads, for work of one of those whose turns they take.
    func executor(for principal: String) -> any TaskExecutor { TextExecutor(self, principal) }

    /// Runs `work` on the pool's threads.
    /// - Parameter principal: whose work it is.
    @concurrent func run<Result: Sendable>(
        principal: String, _ work: @escaping @concurrent @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withTaskExecutorPreference(TextExecutor(self, principal)) {
            try await work()
        }
    }
}

/// One request's place among the pool's work.
private final class TextExecutor: TaskExecutor {
    private let pool: TextPool
    let principal: String

    init(_ pool: TextPool, _ principal: String) {
        self.pool = pool
        self.principal = principal
    }

    func enqueue(_ job: consuming ExecutorJob) {
        pool.enqueue(UnownedJob(job), self)
    }
}
