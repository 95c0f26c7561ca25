import AutoGLMAPI
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMObservability
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import Synchronization

/// The accepted sequences of one request, from admission to their last token.
struct Generation: Sendable {
    let texts: [GeneratedText]
    let connection: ClientConnection?
    let metrics: ServerMetrics
    let ticket: RequestTicket?

    /// Submits all requests or none.
    init(
        _ requests: [GenerationRequest], model: any ServedModel, context: ServerContext,
        metrics: ServerMetrics
    ) throws(APIError) {
        var texts: [GeneratedText] = []
        for request in requests {
            do {
                texts.append(try model.generate(request))
            } catch {
                for text in texts { text.abort() }
                throw APIError(error)
            }
        }
        self.texts = texts
        self.metrics = metrics
        connection = context.connection
        ticket = context.ticket
        let accepted = texts
        connection?.whenGone { for text in accepted { text.abort() } }
    }

    /// Hands every event to `each`, many at a time when they come faster than `each` returns.
    ///
    /// When this returns or throws, no sequence of the request runs any more.
    @concurrent func run(
        _ each: @concurrent ([EventFunnel.Item]) async throws -> Void
    ) async throws {
        defer {
            connection?.clear()
            for text in texts { text.abort() }
        }
        let funnel = EventFunnel()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (choice, text) in texts.enumerated() {
                let meter = SequenceMeter(metrics)
                group.addTask {
                    do {
                        try await text.pump { event in
                            meter.take(event)
                            funnel.push(.event(choice: choice, event))
                        }
                        funnel.push(.ended(choice: choice))
                    } catch {
                        meter.fail(error)
                        funnel.push(.failed(error))
                    }
                }
            }
            var open = texts.count
            while open > 0 {
                let items = await funnel.next()
                try await each(items)
                for item in items {
                    switch item {
                    case .event: break
                    case .ended: open -= 1
                    case .failed(let error): throw error
                    }
                }
            }
        }
    }

    /// The error to report for whatever ended ``run(_:)`` early.
    func report(_ error: any Error) -> APIError {
        if connection?.isGone ?? false { return .clientLeft }
        switch error {
        case let error as APIError: return error
        case let error as GenerationError: return APIError(error)
        case is CancellationError: return .draining
        default: return .internalError
        }
    }
}

/// Measures one sequence as its events arrive.
final class SequenceMeter: Sendable {
    private struct State {
        var arrival = ContinuousClock.now
        var last: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let metrics: ServerMetrics

    init(_ metrics: ServerMetrics) {
        self.metrics = metrics
    }

    func take(_ event: TextEvent) {
        if !event.tokens.isEmpty { tokens(event.tokens.count) }
        guard let finish = event.finish else { return }
        let usage = finish.usage
        metrics.finished.add(1, finish.reason.rawValue)
        metrics.promptTokens.add(Double(usage.promptTokens))
        metrics.cachedPromptTokens.add(Double(usage.cachedTokens))
        metrics.queueTime.observe(usage.queueTime)
        metrics.prefillTime.observe(usage.prefillTime)
        metrics.decodeTime.observe(usage.decodeTime)
        metrics.requestLatency.observe(ContinuousClock.now - state.withLock { $0.arrival })
        if usage.completionTokens > 1 {
            let gaps = Double(usage.completionTokens - 1)
            metrics.timePerOutputToken.observe(usage.decodeTime / .seconds(1) / gaps)
        }
    }

    private func tokens(_ count: Int) {
        let now = ContinuousClock.now
        let (arrival, last) = state.withLock { state in
            let last = state.last
            state.last = now
            return (state.arrival, last)
        }
        metrics.generatedTokens.add(Double(count))
        if let last {
            // Tokens that come together share the gap before them.
            let gap = (now - last) / .seconds(1) / Double(count)
            for _ in 0..<count { metrics.interTokenLatency.observe(gap) }
        } else {
            metrics.timeToFirstToken.observe(now - arrival)
        }
    }

    func fail(_ error: any Error) {
        let reason =
            switch error as? GenerationError {
            case .queueTimeout: "queue_timeout"
            case .deadlineExceeded: "deadline"
            case .notANumber, .stepFailed: "error"
            case .shuttingDown: "shutdown"
            case .cancelled, nil: "abort"
            }
        metrics.finished.add(1, reason)
    }
}

/// What all requests for generation share: limits from headers, sampling, the model's name.
struct RequestBuilder: Sendable {
    let model: any ServedModel
    let options: ServerOptions

    func checkModel(_ name: String?) throws(APIError) {
        guard let name, name != model.name, !options.modelAliases.contains(name) else { return }
        throw Self.unknownModel(serving: model.name)
    }

    static func unknownModel(serving name: String) -> APIError {
        APIError(
            status: 404, kind: .notFound,
            message: "This server has no model of that name; it serves \(name).",
            parameter: "model", code: "model_not_found")
    }

    /// A request for one sequence, without its tokens' number.
    func request(
        prompt: [Int32], fields: SamplingFields, choice: Int, tokensMax: Int?, topLogprobs: Int?,
        http: Request, context: ServerContext
    ) throws(APIError) -> GenerationRequest {
        var request = GenerationRequest(
            prompt: prompt,
            sampling: sampling(
                fields, choice: choice, tokensMax: tokensMax, topLogprobs: topLogprobs))
        do {
            try request.sampling.validate(vocabulary: model.vocabularyCount)
        } catch {
            throw APIError(AdmissionError.invalid(error))
        }
        request.priority = fields.priority ?? 0
        request.tenant = context.tenant
        request.traceparent = http.headers[.traceparent]
        let deadline = try Self.milliseconds(http, .deadline, RequestLimits.deadline)
        request.deadline = [deadline, options.requestTimeout].compactMap(\.self).min()
        request.queueTimeout =
            try Self.milliseconds(http, .queueTimeout, RequestLimits.queueTimeout)
            ?? options.queueTimeout
        return request
    }

    private func sampling(
        _ fields: SamplingFields, choice: Int, tokensMax: Int?, topLogprobs: Int?
    ) -> SamplingParameters {
        let defaults = model.samplingDefaults
        var sampling = SamplingParameters()
        sampling.temperature = fields.temperature.map { Float($0) } ?? defaults.temperature ?? 1
        sampling.topP = fields.topP.map { Float($0) } ?? defaults.topP ?? 1
        sampling.topK = fields.topK ?? defaults.topK ?? 0
        sampling.minP = fields.minP.map { Float($0) } ?? defaults.minP ?? 0
        sampling.repetitionPenalty =
            fields.repetitionPenalty.map { Float($0) } ?? defaults.repetitionPenalty ?? 1
        sampling.frequencyPenalty = Float(fields.frequencyPenalty ?? 0)
        sampling.presencePenalty = Float(fields.presencePenalty ?? 0)
        sampling.logitBias = fields.logitBias
        // The choices of one request differ although they share its seed.
        sampling.seed = fields.seed.map { UInt64(bitPattern: $0) &+ UInt64(choice) }
        sampling.stopStrings = fields.stops
        sampling.stopTokens = fields.stopTokens
        sampling.ignoreEOS = fields.ignoreEOS
        sampling.minTokens = fields.tokensMin ?? 0
        sampling.maxTokens = tokensMax
        sampling.topLogprobs = topLogprobs
        return sampling
    }

    private static func milliseconds(
        _ request: Request, _ name: HTTPField.Name, _ limit: RequestLimits.IntegerLimit
    ) throws(APIError) -> Duration? {
        guard let text = request.headers[name] else { return nil }
        guard let value = Int64(text), limit.range.contains(value) else {
            throw .invalid(
                limit.field,
                "'\(limit.field)' must be a whole number of milliseconds between "
                    + "\(limit.range.lowerBound) and \(limit.range.upperBound).")
        }
        return .milliseconds(value)
    }
}
