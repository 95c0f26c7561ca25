import AutoGLMAPI
import AutoGLMChat
import AutoGLMEngine
import AutoGLMObservability
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging

/// One request's answer, from admission to its last token.
struct Generation: Sendable {
    let stream: AnswerStream
    let connection: ClientConnection?
    let metrics: ServerMetrics
    let ticket: RequestTicket?
    private let fields: RequestBuilder

    init(
        _ stream: AnswerStream, _ fields: RequestBuilder, _ context: ServerContext,
        _ metrics: ServerMetrics
    ) {
        self.stream = stream
        self.fields = fields
        self.metrics = metrics
        connection = context.connection
        ticket = context.ticket
    }

    /// From here on a client that leaves ends what is computed for it.
    func watchClient() {
        connection?.whenGone { [stream] in stream.abort() }
    }

    /// Hands every event to `each`, many at a time when they come faster than `each` returns.
    ///
    /// When this returns or throws, no sequence of the request runs any more.
    @concurrent func run(_ each: @concurrent ([AnswerEvent]) async throws -> Void) async throws {
        defer {
            connection?.clear()
            stream.abort()
        }
        var meter = AnswerMeter(metrics, choices: stream.choices)
        do {
            while let events = try await stream.next() {
                meter.take(events)
                try await each(events)
            }
        } catch {
            meter.fail(error)
            throw error
        }
        meter.note(in: ticket)
    }

    /// The error to report for whatever ended ``run(_:)`` early.
    func report(_ error: any Error) -> APIError {
        if connection?.isGone ?? false { return .clientLeft }
        return fields.refusal(error)
    }
}

/// Measures an answer as its events arrive: times from the timeline, gaps between tokens here.
struct AnswerMeter {
    private let metrics: ServerMetrics
    private var last: [ContinuousClock.Instant?]
    private var finishes: [AnswerFinish] = []

    init(_ metrics: ServerMetrics, choices: Int) {
        self.metrics = metrics
        last = Array(repeating: nil, count: choices)
    }

    mutating func take(_ events: [AnswerEvent]) {
        for event in events {
            if !event.tokens.isEmpty { tokens(event.tokens.count, event.choice) }
            if case .finish(let finish) = event.part { self.finish(finish) }
        }
    }

    private mutating func tokens(_ count: Int, _ choice: Int) {
        let now = ContinuousClock.now
        metrics.generatedTokens.add(Double(count))
        if let last = last[choice] {
            // Tokens that come together share the gap before them.
            let gap = (now - last) / .seconds(1) / Double(count)
            for _ in 0..<count { metrics.interTokenLatency.observe(gap) }
        }
        last[choice] = now
    }

    private mutating func finish(_ finish: AnswerFinish) {
        finishes.append(finish)
        let usage = finish.usage
        let timeline = usage.timeline
        metrics.finished.add(1, finish.reason.rawValue)
        if finish.isLoop { metrics.loops.add(1) }
        metrics.promptTokens.add(Double(usage.promptTokens))
        metrics.cachedPromptTokens.add(Double(usage.cachedTokens))
        metrics.timeToFirstToken.observe(timeline.timeToFirstToken)
        metrics.queueTime.observe(timeline.queueTime)
        metrics.prefillTime.observe(timeline.prefillTime)
        metrics.decodeTime.observe(timeline.decodeTime)
        if let received = timeline.received {
            metrics.requestLatency.observe(ContinuousClock.now - received)
        }
        if usage.completionTokens > 1 {
            let gaps = Double(usage.completionTokens - 1)
            metrics.timePerOutputToken.observe(timeline.decodeTime / .seconds(1) / gaps)
        }
    }

    mutating func fail(_ error: any Error) {
        let reason =
            switch error as? GenerationError {
            case .queueTimeout: "queue_timeout"
            case .deadlineExceeded: "deadline"
            case .notANumber, .stepFailed, .engineRestarted, .grammar: "error"
            case .shuttingDown: "shutdown"
            case .cancelled, nil: "abort"
            }
        for _ in finishes.count..<last.count { metrics.finished.add(1, reason) }
    }

    /// Adds the first choice's times to the request's log line.
    func note(in ticket: RequestTicket?) {
        guard let ticket, let timeline = finishes.first?.usage.timeline else { return }
        ticket.noteTimeToFirstToken(timeline.timeToFirstToken)
        ticket.noteQueueTime(timeline.queueTime)
        if finishes.contains(where: \.isLoop) { ticket.note("ended_as", "loop") }
    }
}
