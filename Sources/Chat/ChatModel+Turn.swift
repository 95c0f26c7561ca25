import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMText

extension ChatModel {
    /// The prompt of an assistant's turn, and how the turn begins.
    struct Turn {
        var prompt: [TokenID]
        /// The model may write thinking; the prompt has opened it already.
        var thinks: Bool
        var isThinking: Bool
        /// The beginning of a call that must be made.
        var prefix = ""
        var isForced = false
    }

    func turn(_ conversation: Conversation, _ options: AnswerOptions) async throws -> Turn {
        guard let tokenizer = text.tokenizer else {
            throw ChatError.missingTokenizer(model: facts.name)
        }
        var conversation = conversation
        let isForced = conversation.toolChoice != .auto && conversation.toolChoice != .none
        if isForced {
            guard text.family.callPrefix(text.evidence) != nil else {
                throw ChatError.unforceable(family: text.family.name)
            }
            // A call that must be made leaves nothing to think about.
            conversation.thinks = conversation.thinks ?? false
        }
        let rendered = try text.render(conversation)
        let tags = text.family.thinking
        let prompt = try await text.encodeInSlices(rendered.segments, tokensMax: promptTokensMax)
        var turn = Turn(
            prompt: prompt, thinks: false, isThinking: tags.isOpen(at: rendered.text))
        turn.thinks = turn.isThinking || tokenizer.id(of: tags.close) != nil
        guard isForced else { return turn }
        if turn.isThinking {
            turn.prompt += tokenizer.encode(
                tags.closing(rendered.text), allowSpecial: true)
            turn.isThinking = false
        }
        let tool = try await forcedTool(conversation, turn.prompt, options)
        turn.prompt += prefixTokens(tool)
        turn.prefix = text.family.callPrefix(text.evidence)?.text(tool) ?? ""
        turn.isForced = true
        return turn
    }

    /// The beginning of a call as tokens. Only the family's own text can become special tokens,
    /// never the name that a client chose.
    private func prefixTokens(_ tool: String) -> [TokenID] {
        guard let prefix = text.family.callPrefix(text.evidence),
            let tokenizer = text.tokenizer
        else { return [] }
        return tokenizer.encode(segments: [
            TextSegment(text: prefix.before, trusted: true),
            TextSegment(text: tool, trusted: false),
            TextSegment(text: prefix.after, trusted: true),
        ])
    }

    private func forcedTool(
        _ conversation: Conversation, _ prompt: [TokenID], _ options: AnswerOptions
    ) async throws -> String {
        if case .function(let name) = conversation.toolChoice { return name }
        let names = conversation.tools.compactMap(ToolSchemas.name)
        return try await choose(among: names, prompt, options)
    }

    /// Lets the model choose among tools when it must call one.
    ///
    /// The names are walked as a tree of tokens: where they part, one token is generated with all
    /// others out of reach; where only one way leads on, nothing is computed. The prompt is in the
    /// prefix cache after the first step.
    private func choose(
        among names: [String], _ prompt: [TokenID], _ options: AnswerOptions
    ) async throws -> String {
        var candidates = names.map { (name: $0, tokens: prefixTokens($0)) }
        var depth = 0
        while candidates.count > 1 {
            let next = Set(
                candidates.compactMap { $0.tokens.count > depth ? $0.tokens[depth] : nil })
            if next.isEmpty { break }
            let token =
                next.count == 1
                ? next.first
                : try await likeliest(
                    of: next, after: prompt + candidates[0].tokens.prefix(depth), options)
            candidates = candidates.filter { $0.tokens.count > depth && $0.tokens[depth] == token }
            depth += 1
        }
        return candidates.first?.name ?? names.first ?? ""
    }

    private func likeliest(
        of tokens: Set<TokenID>, after prompt: [TokenID], _ options: AnswerOptions
    ) async throws -> TokenID? {
        var options = options
        options.sampling = SamplingOverrides()
        options.promptLogprobs = false
        var request = request(prompt, options, choice: 0)
        request.sampling = .greedy
        request.sampling.maxTokens = 1
        request.sampling.ignoreEOS = true
        for token in tokens.prefix(SamplingParameters.logitBiasMax) {
            request.sampling.logitBias[token] = 100
        }
        let stream = try engine.generate(request)
        var chosen: TokenID?
        while let batch = try await stream.next() { chosen = chosen ?? batch.tokens.first?.token }
        guard let chosen, tokens.contains(chosen) else { return tokens.min() }
        return chosen
    }
}
