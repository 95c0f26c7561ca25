import AutoGLMAPI
import AutoGLMChat
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
    let model: ChatModel
    let intake: RequestIntake
    let metrics: ServerMetrics

    private var options: ServerOptions { intake.options }

    func handle(_ http: Request, _ context: ServerContext) async throws -> Response {
        let (job, isStream) = try await intake.read(http, context) {
            try await begin($0, http, context)
        }
        job.generation.watchClient()
        var response = isStream ? job.stream() : try await job.whole()
        response.note(annotations: job.generation.stream.annotations)
        return response
    }

    @concurrent private func begin(
        _ body: RequestBytes, _ http: Request, _ context: ServerContext
    ) async throws -> (ChatJob, isStream: Bool) {
        let request = try ChatCompletionRequest(body: body.bytes)
        let builder = RequestBuilder(
            model: model, options: options, maxTokensField: request.generation.maxTokensField)
        try builder.checkModel(request.model)
        var answer = try builder.answerOptions(request.generation, http, context)
        answer.slowWork = intake.texts.executor(for: context.principal)
        let conversation = Conversation(
            request.conversation, allowsParallelCalls: request.allowsParallelCalls)
        let stream: AnswerStream
        do {
            stream = try await model.answer(conversation, answer)
        } catch {
            throw builder.refusal(error)
        }
        let identity = ResponseIdentity(
            id: RandomID.make("chatcmpl-"), created: Int(Date.now.timeIntervalSince1970),
            model: model.facts.name, systemFingerprint: model.facts.fingerprint,
            announcesUsage: request.stream.includesUsage)
        let job = ChatJob(
            model: model, generation: Generation(stream, builder, context, metrics),
            identity: identity, wantsLogprobs: request.generation.topLogprobs != nil)
        return (job, request.stream.isStream)
    }
}

extension Conversation {
    init(_ fields: ConversationFields, allowsParallelCalls: Bool = true) {
        self.init(messages: fields.messages, tools: fields.tools)
        toolChoice = fields.toolChoice
        thinks = fields.thinks
        variables = fields.templateArguments
        addsGenerationPrompt = fields.addsGenerationPrompt
        self.allowsParallelCalls = allowsParallelCalls
    }
}

/// One chat answer on its way out, as a stream or whole; both say the same.
struct ChatJob: Sendable {
    let model: ChatModel
    let generation: Generation
    let identity: ResponseIdentity
    let wantsLogprobs: Bool

    private func logprobs(_ event: AnswerEvent) -> [LogprobEntry]? {
        guard wantsLogprobs, !event.tokens.isEmpty else { return nil }
        return event.tokens.map { model.logprobEntry($0) }
    }

    func whole() async throws -> Response {
        var choices = (0..<generation.stream.choices).map { ChatChoice(index: $0) }
        if wantsLogprobs { for index in choices.indices { choices[index].logprobs = [] } }
        var usage = UsageReport()
        do {
            try await generation.run { events in
                for event in events {
                    choices[event.choice].take(event.part)
                    choices[event.choice].logprobs?.append(contentsOf: logprobs(event) ?? [])
                    if case .finish(let finish) = event.part {
                        usage.add(finish.usage, sharesPrompt: true)
                    }
                }
            }
        } catch {
            throw generation.report(error)
        }
        generation.ticket?.note(usage)
        var json = JSONWriter()
        identity.open(&json, object: "chat.completion")
        json.key("choices")
        json.beginArray()
        for choice in choices { choice.write(into: &json) }
        json.endArray()
        json.key("usage")
        usage.write(into: &json)
        json.endObject()
        return .json(json.bytes)
    }

    func stream() -> Response {
        .events(generation) { writer in
            var events = EventStream()
            var usage = UsageReport()
            for choice in 0..<generation.stream.choices {
                events.chatChunk(identity, choice: choice, .role)
            }
            try await writer.flush(&events)
            try await generation.run { answer in
                for event in answer {
                    let logprobs = logprobs(event)
                    let other = logprobs == nil ? nil : ChatDelta.none
                    if let delta = ChatDelta(event.part) ?? other {
                        events.chatChunk(
                            identity, choice: event.choice, delta, logprobs: logprobs)
                    }
                    if case .finish(let finish) = event.part {
                        usage.add(finish.usage, sharesPrompt: true)
                        events.chatChunk(
                            identity, choice: event.choice, .none,
                            finishReason: finish.reason.rawValue)
                    }
                    try await writer.flushIfLarge(&events)
                }
                try await writer.flush(&events)
            }
            generation.ticket?.note(usage)
            if identity.announcesUsage {
                events.usageChunk(identity, object: "chat.completion.chunk", usage)
            }
            events.done()
            try await writer.flush(&events)
        }
    }
}

extension ChatDelta {
    /// nil for parts that add nothing to a message.
    init?(_ part: AnswerEvent.Part) {
        switch part {
        case .content(let text): self = .content(text)
        case .reasoning(let text): self = .reasoning(text)
        case .callStart(let index, let id, let name):
            self = .toolCall(index: index, id: id, name: name)
        case .callArguments(let index, let text): self = .toolArguments(index: index, text)
        case .callEnd, .prompt, .tokens, .finish: return nil
        }
    }
}

extension ChatChoice {
    /// Adds a piece to an answer that is sent whole.
    mutating func take(_ part: AnswerEvent.Part) {
        switch part {
        case .content(let text): content += text
        case .reasoning(let text): reasoning += text
        case .callStart(_, let id, let name):
            toolCalls.append(ToolCallReport(id: id, name: name, arguments: ""))
        case .callArguments(let index, let text):
            if toolCalls.indices.contains(index) { toolCalls[index].arguments += text }
        case .finish(let finish): finishReason = finish.reason.rawValue
        case .callEnd, .prompt, .tokens: break
        }
    }
}

extension UsageReport {
    /// Adds what one sequence cost.
    /// - Parameter sharesPrompt: it continues the prompt of the others, which counts once.
    mutating func add(_ usage: Usage, sharesPrompt: Bool) {
        if !sharesPrompt || promptTokens == 0 {
            promptTokens += usage.promptTokens
            cachedTokens += usage.cachedTokens
        }
        completionTokens += usage.completionTokens
    }
}

extension ChatModel {
    func alternative(_ token: Int32, _ logprob: Float) -> LogprobEntry.Alternative {
        let bytes = text.tokenizer?.tokenBytes(token) ?? []
        return .init(
            token: String(decoding: bytes, as: UTF8.self), bytes: bytes, logprob: logprob)
    }

    func logprobEntry(_ event: TokenEvent) -> LogprobEntry {
        LogprobEntry(
            chosen: alternative(event.token, event.logprob ?? -.infinity),
            top: event.top.map { alternative($0.token, $0.logprob) })
    }
}
