import AutoGLMChat
import AutoGLMEngine
import Foundation

/// What a service manager can be told about the process at one moment.
struct ServiceState: Equatable {
    enum Phase: Equatable {
        case loading(percent: Int)
        case ready(model: String, running: Int, waiting: Int)
        case stopping
        /// The engine gives no sign of life.
        case silent
        /// The engine's process is being started anew.
        case restarting
    }
    var phase: Phase
    /// The engine lives, or there is none yet.
    var isAlive = true
}

/// Decides what is said when: a pure value, asked at short intervals.
struct ServiceLines {
    let watchdog: Duration?
    private var said: ServiceState.Phase?
    private var isReady = false
    private var isStopping = false
    private var lastFed: Duration?
    private var lastStatus: Duration?

    init(watchdog: Duration?) { self.watchdog = watchdog }

    mutating func lines(_ state: ServiceState, now: Duration) -> [String] {
        var lines: [String] = []
        if case .stopping = state.phase, !isStopping {
            isStopping = true
            lines.append("STOPPING=1")
        }
        if case .ready = state.phase, !isReady {
            isReady = true
            lines.append("READY=1")
        }
        if state.phase != said, lastStatus.map({ now - $0 >= .seconds(1) }) ?? true || isNews(state)
        {
            said = state.phase
            lastStatus = now
            lines.append("STATUS=\(status(state.phase))")
            // Loading that advances may take as long as it takes.
            if case .loading = state.phase { lines.append("EXTEND_TIMEOUT_USEC=60000000") }
        }
        if let watchdog, state.isAlive, lastFed.map({ now - $0 >= watchdog / 2 }) ?? true {
            lastFed = now
            lines.append("WATCHDOG=1")
        }
        return lines
    }

    /// Another kind of phase is told at once, other numbers once a second.
    private func isNews(_ state: ServiceState) -> Bool {
        switch (said, state.phase) {
        case (.loading, .loading), (.ready, .ready), (.stopping, .stopping), (.silent, .silent),
            (.restarting, .restarting):
            false
        default: true
        }
    }

    private func status(_ phase: ServiceState.Phase) -> String {
        switch phase {
        case .loading(let percent): "Loading the model: \(percent) %"
        case .ready(let model, let running, let waiting):
            "Serving \(Self.plain(model)): \(running) running, \(waiting) waiting"
        case .stopping: "Finishing what is under way"
        case .silent: "The engine gives no sign of life"
        case .restarting: "The engine is being started anew"
        }
    }

    /// A name out of a file must not begin another line.
    private static func plain(_ name: String) -> String {
        String(String.UnicodeScalarView(name.unicodeScalars.map { $0.value < 32 ? " " : $0 }))
    }
}

/// Keeps the service manager informed, from a thread of its own: the pool that answers requests
/// may be busy.
final class ServiceReports: Sendable {
    private let notifier: ServiceNotifier
    private let slot: ModelSlot
    private let server: ServerState
    private let stop = Signal()
    private let done = Signal()

    init(_ notifier: ServiceNotifier, _ slot: ModelSlot, _ server: ServerState) {
        self.notifier = notifier
        self.slot = slot
        self.server = server
    }

    func start() {
        Thread.detachNewThread { [self] in
            var lines = ServiceLines(watchdog: notifier.watchdog)
            let start = ContinuousClock.now
            let half = notifier.watchdog.map { Int(($0 / 2) / .milliseconds(1)) } ?? 500
            // Between a half's ticks it must not fall: a quarter of the watchdog's time at most.
            let pause = Int32(min(max(half / 2, 1), 250))
            repeat {
                notifier.send(lines.lines(state, now: ContinuousClock.now - start))
            } while !stop.wait(milliseconds: pause)
            let last = ServiceState(phase: .stopping)
            notifier.send(lines.lines(last, now: ContinuousClock.now - start))
            done.raise()
        }
    }

    /// Returns when the last word has been said.
    func end() {
        stop.raise()
        _ = done.wait(milliseconds: 1_000)
    }

    private var state: ServiceState {
        guard let model = slot.loaded else {
            if server.isDraining || slot.isFailed { return ServiceState(phase: .stopping) }
            let share = slot.progress?.share ?? 0
            return ServiceState(phase: .loading(percent: Int((share * 100).rounded())))
        }
        let engine = model.engine.status
        let isAlive = !engine.hasFailed && engine.sinceProgress < notifier.patience
        if server.isDraining { return ServiceState(phase: .stopping, isAlive: isAlive) }
        if engine.hasFailed || engine.sinceProgress >= .seconds(2) {
            return ServiceState(phase: .silent, isAlive: isAlive)
        }
        if engine.isRestarting { return ServiceState(phase: .restarting) }
        return ServiceState(
            phase: .ready(
                model: model.facts.name, running: engine.running, waiting: engine.waiting))
    }
}
