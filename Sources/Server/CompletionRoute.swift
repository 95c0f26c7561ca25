import AutoGLMAPI
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMObservability
import FoundationEssentials
import Hummingbird
import HummingbirdCore

/// `POST /v1/completions`
struct CompletionRoute: Sendable {
    let model: any ServedModel
    let options: ServerOptions
    let metrics: ServerMetrics

    func handle(_ http: Request, _ context: ServerContext) async throws -> Response {
        let body = try await BodyReader(bytesMax: options.bodyBytesMax).read(http)
        let request = try CompletionRequest(body: body)
        let builder = RequestBuilder(model: model, options: options)
        try builder.checkModel(request.model)

        var requests: [GenerationRequest] = []
        var echoes: [String] = []
        for prompt in request.prompts {
            let (tokens, text) = try encode(prompt, echo: request.echo)
            for choice in 0..<request.sampling.choices {
                var generation = try builder.request(
                    prompt: tokens, fields: request.sampling, choice: choice,
                    tokensMax: request.tokensMax, topLogprobs: request.logprobs, http: http,
                    context: context)
                generation.promptLogprobs = request.echo && request.logprobs != nil
                requests.append(generation)
                echoes.append(text)
            }
        }
        let generation = try Generation(
            requests, model: model, context: context, metrics: metrics)
        let job = CompletionJob(
            model: model, generation: generation,
            identity: ResponseIdentity(
                id: RequestIdentifier.make("cmpl-"), created: Int(Date.now.timeIntervalSince1970),
                model: model.name, systemFingerprint: model.fingerprint),
            echoes: request.echo ? echoes : nil, wantsLogprobs: request.logprobs != nil,
            choicesPerPrompt: request.sampling.choices,
            includesUsage: request.stream.includesUsage)
        return request.stream.isStream ? job.stream() : try await job.whole()
    }

    /// - Returns: the prompt's tokens and, for an echo, its text.
    private func encode(
        _ prompt: CompletionRequest.Prompt, echo: Bool
    ) throws -> (tokens: [Int32], text: String) {
        switch prompt {
        case .text(let text):
            return (try model.encode(text, addSpecial: true), text)
        case .tokens(let tokens):
            let vocabulary = Int32(clamping: model.vocabularyCount)
            if let token = tokens.first(where: { $0 >= vocabulary }) {
                throw APIError(
                    AdmissionError.unknownToken(token, vocabulary: model.vocabularyCount))
            }
            return (tokens, echo ? try model.decode(tokens) : "")
        }
    }
}

/// One answer of the older endpoint, as a stream or whole.
struct CompletionJob: Sendable {
    let model: any ServedModel
    let generation: Generation
    let identity: ResponseIdentity
    /// The prompt's text for every choice, when it is to be repeated.
    let echoes: [String]?
    let wantsLogprobs: Bool
    let choicesPerPrompt: Int
    let includesUsage: Bool

    /// What has been sent of one choice.
    private struct Progress {
        /// Scalars of the text so far: where the next token begins.
        var offset = 0
        var hasEchoed = false
        var finish: Finish?
    }

    /// The part of a choice that an event adds.
    private func take(
        _ event: TextEvent, of index: Int, _ progress: inout Progress
    ) -> CompletionChoice? {
        var part = CompletionChoice(index: index)
        if let echoes, !progress.hasEchoed {
            progress.hasEchoed = true
            part.text = echoes[index]
        }
        part.text += event.text
        if wantsLogprobs {
            let entries = (event.prompt + event.tokens).map { entry($0, &progress.offset) }
            if !entries.isEmpty { part.logprobs = entries }
        }
        if let finish = event.finish {
            progress.finish = finish
            part.finishReason = finish.reason.rawValue
        }
        let isEmpty = part.text.isEmpty && part.logprobs == nil && part.finishReason == nil
        return isEmpty ? nil : part
    }

    private func entry(_ event: TokenEvent, _ offset: inout Int) -> LegacyLogprobs.Entry {
        let chosen = model.alternative(event.token, event.logprob ?? 0)
        defer { offset += chosen.token.unicodeScalars.count }
        return LegacyLogprobs.Entry(
            token: chosen.token, logprob: event.logprob,
            top: event.top.map { model.alternative($0.token, $0.logprob) }, offset: offset)
    }

    private func usage(_ progress: [Progress]) -> UsageReport {
        var report = UsageReport()
        for start in stride(from: 0, to: progress.count, by: choicesPerPrompt) {
            let group = progress[start..<min(start + choicesPerPrompt, progress.count)]
            let part = UsageReport(group.compactMap { $0.finish?.usage }, sharePrompt: true)
            report.promptTokens += part.promptTokens
            report.cachedTokens += part.cachedTokens
            report.completionTokens += part.completionTokens
        }
        generation.ticket?.note(report)
        return report
    }

    func whole() async throws -> Response {
        var progress = generation.texts.map { _ in Progress() }
        var choices = generation.texts.indices.map { CompletionChoice(index: $0) }
        do {
            try await generation.run { items in
                for case .event(let index, let event) in items {
                    guard let part = take(event, of: index, &progress[index]) else { continue }
                    choices[index].text += part.text
                    choices[index].finishReason = part.finishReason
                    if let entries = part.logprobs {
                        choices[index].logprobs = (choices[index].logprobs ?? []) + entries
                    }
                }
            }
        } catch {
            throw generation.report(error)
        }
        var json = JSONWriter()
        identity.open(&json, object: "text_completion")
        json.key("choices")
        json.beginArray()
        for choice in choices { choice.write(into: &json) }
        json.endArray()
        json.key("usage")
        usage(progress).write(into: &json)
        json.endObject()
        return .json(json.bytes)
    }

    func stream() -> Response {
        .events(generation) { writer in
            var progress = generation.texts.map { _ in Progress() }
            var events = EventStream()
            try await generation.run { items in
                for case .event(let index, let event) in items {
                    if let part = take(event, of: index, &progress[index]) {
                        events.completionChunk(identity, part)
                    }
                    try await writer.flushIfLarge(&events)
                }
                try await writer.flush(&events)
            }
            let usage = usage(progress)
            if includesUsage { events.usageChunk(identity, object: "text_completion", usage) }
            events.done()
            try await writer.flush(&events)
        }
    }
}
