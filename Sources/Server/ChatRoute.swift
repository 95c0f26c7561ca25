import AutoGLMAPI
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMObservability
import AutoGLMText
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// `POST /v1/chat/completions`
struct ChatRoute: Sendable {
    let model: any ServedModel
    let options: ServerOptions
    let metrics: ServerMetrics

    func handle(_ http: Request, _ context: ServerContext) async throws -> Response {
        let body = try await BodyReader(bytesMax: options.bodyBytesMax).read(http)
        let request = try ChatCompletionRequest(body: body)
        let builder = RequestBuilder(model: model, options: options)
        try builder.checkModel(request.model)

        let (rendered, tools) = try render(request)
        var prompt = rendered
        let turnStart = prompt.count
        var prefix: String?
        if let tool = try await forcedTool(request, prompt: prompt, context: context) {
            guard let call = model.callPrefix(tool: tool) else {
                throw APIError.unsupported(
                    "tool_choice", "This model's call format cannot be forced; use auto or none.")
            }
            prompt += call.tokens
            prefix = call.text
        }

        var requests: [GenerationRequest] = []
        for choice in 0..<request.sampling.choices {
            var generation = try builder.request(
                prompt: prompt, fields: request.sampling, choice: choice,
                tokensMax: request.tokensMax, topLogprobs: request.topLogprobs, http: http,
                context: context)
            generation.skipSpecialTokens = false
            requests.append(generation)
        }
        let generation = try Generation(
            requests, model: model, context: context, metrics: metrics)
        let identity = ResponseIdentity(
            id: RequestIdentifier.make("chatcmpl-"), created: Int(Date.now.timeIntervalSince1970),
            model: model.name, systemFingerprint: model.fingerprint)
        let answer = ChatJob(
            model: model, generation: generation, identity: identity, tools: tools,
            promptEnd: Array(prompt[..<turnStart].suffix(32)),
            wantsLogprobs: request.topLogprobs != nil, prefix: prefix,
            includesUsage: request.stream.includesUsage)
        return request.stream.isStream ? answer.stream() : try await answer.whole()
    }

    /// The prompt's tokens, and the tools it offers.
    private func render(
        _ request: ChatCompletionRequest
    ) throws -> (prompt: [Int32], tools: [JSONValue]) {
        let tools = request.toolChoice == .none ? [] : request.tools.map(\.value)
        do {
            let prompt = try model.prompt(
                Conversation(
                    messages: request.messages.map(\.value), tools: tools,
                    variables: request.templateArguments))
            return (prompt, tools)
        } catch {
            throw APIError.unrenderable(error)
        }
    }

    /// The tool the model has no choice but to call; nil leaves it to the model.
    private func forcedTool(
        _ request: ChatCompletionRequest, prompt: [Int32], context: ServerContext
    ) async throws -> String? {
        switch request.toolChoice {
        case .none, .auto: return nil
        case .function(let name): return name
        case .required:
            return try await ToolChooser(model: model, tenant: context.tenant)
                .choose(among: request.tools.map(\.name), prompt: prompt)
        }
    }
}

/// One chat answer on its way out, as a stream or whole.
struct ChatJob: Sendable {
    let model: any ServedModel
    let generation: Generation
    let identity: ResponseIdentity
    let tools: [JSONValue]
    /// The last tokens before the assistant's turn.
    let promptEnd: [Int32]
    let wantsLogprobs: Bool
    let prefix: String?
    let includesUsage: Bool

    private func answers() -> [ChatAnswer] {
        generation.texts.indices.map {
            ChatAnswer(
                index: $0, model: model,
                parser: model.answerParser(tools: tools, prompt: promptEnd),
                wantsLogprobs: wantsLogprobs, prefix: prefix)
        }
    }

    private func usage(_ answers: [ChatAnswer]) -> UsageReport {
        let report = UsageReport(answers.compactMap { $0.finish?.usage }, sharePrompt: true)
        generation.ticket?.note(report)
        return report
    }

    func whole() async throws -> Response {
        var answers = answers()
        var choices = answers.indices.map { ChatChoice(index: $0) }
        do {
            try await generation.run { items in
                for case .event(let index, let event) in items {
                    for piece in answers[index].take(event) { choices[index].add(piece) }
                }
            }
        } catch {
            throw generation.report(error)
        }
        for index in choices.indices {
            choices[index].finishReason = answers[index].finishReason
            if wantsLogprobs, choices[index].logprobs == nil { choices[index].logprobs = [] }
        }
        var json = JSONWriter()
        identity.open(&json, object: "chat.completion")
        json.key("choices")
        json.beginArray()
        for choice in choices { choice.write(into: &json) }
        json.endArray()
        json.key("usage")
        usage(answers).write(into: &json)
        json.endObject()
        return .json(json.bytes)
    }

    func stream() -> Response {
        .events(generation) { writer in
            var answers = answers()
            var events = EventStream()
            for answer in answers { events.chatChunk(identity, choice: answer.index, .role) }
            try await writer.flush(&events)
            try await generation.run { items in
                for case .event(let index, let event) in items {
                    for piece in answers[index].take(event) {
                        events.chatChunk(
                            identity, choice: index, piece.delta, logprobs: piece.logprobs)
                    }
                    if event.finish != nil {
                        events.chatChunk(
                            identity, choice: index, .none,
                            finishReason: answers[index].finishReason)
                    }
                    try await writer.flushIfLarge(&events)
                }
                try await writer.flush(&events)
            }
            let usage = usage(answers)
            if includesUsage {
                events.usageChunk(identity, object: "chat.completion.chunk", usage)
            }
            events.done()
            try await writer.flush(&events)
        }
    }
}
