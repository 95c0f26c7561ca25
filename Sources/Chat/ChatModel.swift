package import AutoGLMDecoding
package import AutoGLMEngine
package import AutoGLMText
import AutoGLMJSON

/// What everyone may know of a served model.
package struct ModelFacts: Sendable {
    /// The model's name in the API.
    package var name: String
    /// Prompt and output tokens of one request at most.
    package var contextMax: Int
    /// Token ids are below this.
    package var vocabulary: Int
    /// Equal fingerprints and equal requests give equal bytes.
    package var fingerprint: String
    /// Seconds since 1970.
    package var created: Int
    /// Bytes of weights in memory.
    package var weightBytes = 0
    /// Bytes of weights that a step of one token reads, and of keys and values of one position.
    package var weightBytesPerStep = 0
    package var bytesPerToken = 0
    /// What a person should know; one line each.
    package var warnings: [String] = []

    package init(
        name: String, contextMax: Int, vocabulary: Int, fingerprint: String, created: Int
    ) {
        self.name = name
        self.contextMax = contextMax
        self.vocabulary = vocabulary
        self.fingerprint = fingerprint
        self.created = created
    }
}

/// A model ready to answer: weights and engine, tokenizer and templates, and what its makers and
/// its operator set. Server, command line and library are thin over it, so the same request gives
/// the same tokens whichever way it comes.
public final class ChatModel: Sendable {
    package let facts: ModelFacts
    package let engine: Engine
    package let text: ModelText
    /// generation_config.json.
    package let makers: SamplingOverrides
    /// `serve --temperature …`; over the makers', under the request's.
    package let operators: SamplingOverrides
    let forms: FormCompiler?

    package init(
        facts: ModelFacts, engine: Engine, text: ModelText,
        makers: SamplingOverrides = SamplingOverrides(),
        operators: SamplingOverrides = SamplingOverrides()
    ) {
        self.facts = facts
        self.engine = engine
        self.text = text
        self.makers = makers
        self.operators = operators
        forms = text.tokenizer.map { FormCompiler($0, engine.shape) }
    }

    /// Tokens of a prompt at most: one token of output has to fit behind it.
    package var promptTokensMax: Int { facts.contextMax - 1 }

    // MARK: Answering

    /// Answers the last message of a conversation.
    /// - Throws: ``ChatError``, `TemplateError`, `AdmissionError`.
    package func answer(
        _ conversation: Conversation, _ options: AnswerOptions
    ) async throws -> AnswerStream {
        var options = options
        let turn = try await turn(conversation)
        let constraint = try await constraint(conversation, turn, options)
        options.timeline.rendered = .now
        let rules = rules(of: turn, conversation, options)
        return try start([turn.prompt], options, rules, constraint)
    }

    /// How a turn is read.
    func rules(
        of turn: Turn, _ conversation: Conversation, _ options: AnswerOptions
    ) -> AnswerBuilder.Rules {
        var rules = rules(options)
        let tags = turn.thinks ? text.family.thinking : nil
        rules.parser = TurnParser(
            text.family.grammar, tools: ToolSchemas(conversation.toolsOffered), reasoning: tags,
            startsInReasoning: turn.isThinking)
        rules.guardsLoops = options.guardsLoops ?? !options.ignoreEOS
        rules.allowsParallelCalls = turn.allowsMoreCalls
        rules.prefix = turn.prefix
        rules.isForced = turn.isForced
        rules.callEnd = text.family.callEnd.flatMap { text.tokenizer?.id(of: $0) }
        return rules
    }

    /// Continues prompts as plain text. The choices of the first prompt come first, then those of
    /// the second.
    /// - Throws: ``ChatError``, `AdmissionError`.
    package func complete(
        _ prompts: [[TokenID]], _ options: AnswerOptions
    ) async throws -> AnswerStream {
        var options = options
        let constraint = try await constraint(options)
        options.timeline.rendered = .now
        var rules = rules(options)
        rules.guardsLoops = options.guardsLoops ?? false
        return try start(prompts, options, rules, constraint)
    }

    private func rules(_ options: AnswerOptions) -> AnswerBuilder.Rules {
        var rules = AnswerBuilder.Rules()
        rules.stops = options.stops
        rules.minTokens = sampling(options).minTokens
        return rules
    }

    private func start(
        _ prompts: [[TokenID]], _ options: AnswerOptions, _ rules: AnswerBuilder.Rules,
        _ constraint: Constraint?
    ) throws(AdmissionError) -> AnswerStream {
        var requests: [GenerationRequest] = []
        for prompt in prompts {
            for choice in 0..<options.choices {
                var request = request(prompt, options, choice: choice)
                request.constraint = constraint
                // A form that is complete has an end.
                if constraint != nil { request.sampling.ignoreEOS = false }
                requests.append(request)
            }
        }
        let stream = try engine.generate(requests)
        let builders = requests.indices.map {
            AnswerBuilder(choice: $0, rules: rules, tokenizer: text.tokenizer)
        }
        return AnswerStream(
            stream, builders, annotations: constraint?.grammar.annotations ?? [])
    }

    /// The one merge of what the program, the makers, the operator and the request say.
    package func sampling(_ options: AnswerOptions) -> SamplingParameters {
        var sampling = SamplingParameters(makers, operators, options.sampling)
        sampling.logitBias = options.logitBias
        sampling.stopStrings = options.stops
        sampling.stopTokens = options.stopTokens
        sampling.ignoreEOS = options.ignoreEOS
        sampling.topLogprobs = options.topLogprobs
        return sampling
    }

    func request(
        _ prompt: [TokenID], _ options: AnswerOptions, choice: Int
    ) -> GenerationRequest {
        var request = GenerationRequest(prompt: prompt, sampling: sampling(options))
        // The choices of one request differ although they share its seed.
        request.sampling.seed = request.sampling.seed.map { $0 &+ UInt64(choice) }
        request.promptLogprobs = options.promptLogprobs
        request.priority = options.priority
        request.tenant = options.tenant
        request.deadline = options.deadline
        request.queueTimeout = options.queueTimeout
        request.timeline = options.timeline
        return request
    }
}
