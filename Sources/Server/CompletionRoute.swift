import AutoGLMAPI
import AutoGLMChat
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMObservability
import AutoGLMText
import FoundationEssentials
import Hummingbird
import HummingbirdCore

/// `POST /v1/completions`
struct CompletionRoute: Sendable {
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
    ) async throws -> (CompletionJob, isStream: Bool) {
        let request = try CompletionRequest(body: body.bytes)
        let builder = RequestBuilder(
            model: model, options: options, promptField: "prompt",
            maxTokensField: request.generation.maxTokensField)
        try builder.checkModel(request.model)
        let wantsLogprobs = request.generation.topLogprobs != nil
        if wantsLogprobs, model.text.tokenizer == nil {
            throw builder.refusal(
                ChatError.missingTokenizer(model: model.facts.name), field: "logprobs")
        }
        var answer = try builder.answerOptions(request.generation, http, context)
        answer.slowWork = intake.texts.executor(for: context.principal)
        answer.promptLogprobs = request.echo && wantsLogprobs
        var prompts: [EncodedPrompt] = []
        let stream: AnswerStream
        do {
            for prompt in request.prompts { prompts.append(try await encode(prompt, request)) }
            stream = try await model.complete(prompts.map(\.tokens), answer)
        } catch {
            throw builder.refusal(error)
        }
        let job = CompletionJob(
            model: model, generation: Generation(stream, builder, context, metrics),
            identity: ResponseIdentity(
                id: RandomID.make("cmpl-"), created: Int(Date.now.timeIntervalSince1970),
                model: model.facts.name, systemFingerprint: model.facts.fingerprint,
                announcesUsage: request.stream.includesUsage),
            prompts: prompts, echoes: request.echo, wantsLogprobs: wantsLogprobs,
            choicesPerPrompt: request.generation.choices)
        return (job, request.stream.isStream)
    }

    @concurrent private func encode(
        _ prompt: CompletionRequest.Prompt, _ request: CompletionRequest
    ) async throws -> EncodedPrompt {
        switch prompt {
        case .text(let text):
            let tokens = try await model.text.encodeInSlices(
                text, addSpecial: request.addsSpecial, parsesSpecial: request.parsesSpecial,
                tokensMax: model.promptTokensMax)
            let tokenizer = model.text.tokenizer
            return EncodedPrompt(
                tokens: tokens, text: text,
                addedBefore: request.addsSpecial ? tokenizer?.prefixIDs.count ?? 0 : 0,
                addedBehind: request.addsSpecial ? tokenizer?.suffixIDs.count ?? 0 : 0)
        case .tokens(let tokens):
            let vocabulary = Int32(clamping: model.facts.vocabulary)
            if let token = tokens.first(where: { $0 >= vocabulary }) {
                throw AdmissionError.unknownToken(token, vocabulary: model.facts.vocabulary)
            }
            return EncodedPrompt(
                tokens: tokens,
                text: request.echo ? try await model.text.decodeInSlices(tokens) : "")
        }
    }
}

/// A prompt and the text that an echo repeats.
struct EncodedPrompt: Sendable {
    var tokens: [Int32]
    var text: String
    /// Tokens around the text that show nothing in it.
    var addedBefore = 0
    var addedBehind = 0
}

/// Where tokens begin in a text, in Unicode scalars.
private struct OffsetCounter {
    private var detokenizer: StreamingDetokenizer?
    private let limit: Int
    private(set) var offset = 0

    /// - Parameters:
    ///   - limit: scalars the text has; a tokenizer that rewrites text may make more.
    ///   - isPrompt: special tokens show, and the space that a tokenizer puts in front does not.
    init(_ tokenizer: Tokenizer?, start: Int, limit: Int = .max, isPrompt: Bool) {
        detokenizer = tokenizer.map {
            StreamingDetokenizer($0, skipSpecial: !isPrompt, continues: !isPrompt)
        }
        offset = start
        self.limit = limit
    }

    /// - Returns: where this token begins.
    mutating func next(_ token: Int32, shows: Bool = true) -> Int {
        defer {
            if shows {
                offset += detokenizer?.push(token).unicodeScalars.count ?? 0
                offset = min(offset, limit)
            }
        }
        return offset
    }
}

/// One answer of the older endpoint, as a stream or whole.
struct CompletionJob: Sendable {
    let model: ChatModel
    let generation: Generation
    let identity: ResponseIdentity
    let prompts: [EncodedPrompt]
    /// Whether the prompts are repeated.
    let echoes: Bool
    let wantsLogprobs: Bool
    let choicesPerPrompt: Int

    /// What has been sent of one choice.
    private struct Progress {
        var offsets: OffsetCounter
        var hasEchoed = false
    }

    private func start() -> [Progress] {
        (0..<generation.stream.choices).map { index in
            let echo = echoes ? prompts[index / choicesPerPrompt].text.unicodeScalars.count : 0
            return Progress(
                offsets: OffsetCounter(model.text.tokenizer, start: echo, isPrompt: false))
        }
    }

    /// The part of a choice that an event adds.
    private func take(_ event: AnswerEvent, _ progress: inout [Progress]) -> CompletionChoice? {
        var part = CompletionChoice(index: event.choice)
        let prompt = prompts[event.choice / choicesPerPrompt]
        if echoes, !progress[event.choice].hasEchoed {
            progress[event.choice].hasEchoed = true
            part.text = prompt.text
        }
        var entries: [LegacyLogprobs.Entry] = []
        switch event.part {
        case .content(let text): part.text += text
        case .prompt(let tokens): entries = echo(tokens, prompt)
        case .finish(let finish): part.finishReason = finish.reason.rawValue
        case .reasoning, .callStart, .callArguments, .callEnd, .tokens: break
        }
        if wantsLogprobs {
            for token in event.tokens {
                entries.append(
                    entry(token, offset: progress[event.choice].offsets.next(token.token)))
            }
            if !entries.isEmpty { part.logprobs = entries }
        }
        let isEmpty = part.text.isEmpty && part.logprobs == nil && part.finishReason == nil
        return isEmpty ? nil : part
    }

    private func echo(_ tokens: [TokenEvent], _ prompt: EncodedPrompt) -> [LegacyLogprobs.Entry] {
        var offsets = OffsetCounter(
            model.text.tokenizer, start: 0, limit: prompt.text.unicodeScalars.count,
            isPrompt: true)
        return tokens.enumerated().map { index, token in
            let shows =
                index >= prompt.addedBefore && index < tokens.count - prompt.addedBehind
            return entry(token, offset: offsets.next(token.token, shows: shows))
        }
    }

    private func entry(_ event: TokenEvent, offset: Int) -> LegacyLogprobs.Entry {
        LegacyLogprobs.Entry(
            token: model.alternative(event.token, 0).token, logprob: event.logprob,
            top: event.top.map { model.alternative($0.token, $0.logprob) }, offset: offset)
    }

    private func count(_ event: AnswerEvent, _ usage: inout UsageReport) {
        guard case .finish(let finish) = event.part else { return }
        // The choices of one prompt share it.
        var own = finish.usage
        if event.choice % choicesPerPrompt != 0 {
            own.promptTokens = 0
            own.cachedTokens = 0
        }
        usage.add(own, sharesPrompt: false)
    }

    func whole() async throws -> Response {
        var progress = start()
        var choices = progress.indices.map { CompletionChoice(index: $0) }
        var usage = UsageReport()
        do {
            try await generation.run { events in
                for event in events {
                    count(event, &usage)
                    guard let part = take(event, &progress) else { continue }
                    choices[event.choice].text += part.text
                    choices[event.choice].finishReason = part.finishReason
                    if let entries = part.logprobs {
                        choices[event.choice].logprobs =
                            (choices[event.choice].logprobs ?? []) + entries
                    }
                }
            }
        } catch {
            throw generation.report(error)
        }
        generation.ticket?.note(usage)
        var json = JSONWriter()
        identity.open(&json, object: "text_completion")
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
            var progress = start()
            var usage = UsageReport()
            var events = EventStream()
            try await generation.run { answer in
                for event in answer {
                    count(event, &usage)
                    if let part = take(event, &progress) { events.completionChunk(identity, part) }
                    try await writer.flushIfLarge(&events)
                }
                try await writer.flush(&events)
            }
            generation.ticket?.note(usage)
            if identity.announcesUsage {
                events.usageChunk(identity, object: "text_completion", usage)
            }
            events.done()
            try await writer.flush(&events)
        }
    }
}
