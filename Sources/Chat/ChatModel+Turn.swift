import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText

extension ChatModel {
    /// The prompt of an assistant's turn, and how the turn begins.
    struct Turn {
        var prompt: [TokenID]
        /// The model may write thinking; the prompt has opened it already.
        var thinks: Bool
        var isThinking: Bool
        /// The model may open thinking by itself.
        var mayThink = false
        /// The beginning of a call that must be made, where there is but one to make.
        var prefix = ""
        var isForced = false
        /// One answer may hold several calls.
        var allowsMoreCalls = true
    }

    func turn(_ conversation: Conversation) async throws -> Turn {
        guard let tokenizer = text.tokenizer else {
            throw ChatError.missingTokenizer(model: facts.name)
        }
        var conversation = conversation
        let isForced = conversation.mustCall
        let frame = text.family.callFrame(text.evidence)
        if isForced {
            guard frame != nil else { throw ChatError.unforceable(family: text.family.name) }
            // A call that must be made leaves nothing to think about.
            conversation.thinks = conversation.thinks ?? false
        }
        let rendered = try text.render(conversation)
        let tags = text.family.thinking
        let prompt = try await text.encodeInSlices(rendered.segments, tokensMax: promptTokensMax)
        var turn = Turn(
            prompt: prompt, thinks: false, isThinking: tags.isOpen(at: rendered.text))
        turn.thinks = turn.isThinking || tokenizer.id(of: tags.close) != nil
        turn.mayThink = turn.thinks && !turn.isThinking && conversation.thinks != false
            && text.evidence.mentions(tags.open)
        turn.allowsMoreCalls = conversation.allowsParallelCalls
        guard isForced, let frame else { return turn }
        turn.isForced = true
        turn.mayThink = false
        if turn.isThinking {
            turn.prompt += tokenizer.encode(
                tags.closing(rendered.text), allowSpecial: true)
            turn.isThinking = false
        }
        let tools = conversation.toolsAllowed
        turn.allowsMoreCalls = turn.allowsMoreCalls && frame.isKnown
        if case .function = conversation.toolChoice { turn.allowsMoreCalls = false }
        if tools.count == 1, let tool = ToolSchemas.name(of: tools[0]) {
            turn.prompt += prefixTokens(tool, frame, tokenizer)
            turn.prefix = frame.prefix(tool)
        }
        return turn
    }

    /// The beginning of a call as tokens. Only the family's own text can become special tokens,
    /// never the name that a client chose.
    private func prefixTokens(
        _ tool: String, _ frame: CallFrame, _ tokenizer: Tokenizer
    ) -> [TokenID] {
        tokenizer.encode(segments: [
            TextSegment(text: frame.lead + frame.before, trusted: true),
            TextSegment(text: tool, trusted: false),
            TextSegment(text: frame.after, trusted: true),
        ])
    }

    // MARK: Forms

    /// The grammar of a turn; nil where it may be any text.
    func constraint(
        _ conversation: Conversation, _ turn: Turn, _ options: AnswerOptions
    ) async throws -> Constraint? {
        guard let tokenizer = text.tokenizer, let forms else { return nil }
        let form = TurnForm(text, tokenizer, conversation, turn)
        guard let plan = try form.plan(options.form) else { return nil }
        do {
            let grammar = try await forms.grammar(for: plan.source, on: options.slowWork)
            return Constraint(grammar, goesOn: plan.goesOn)
        } catch let error as GrammarError {
            throw await blamed(error, plan, conversation, options)
        }
    }

    /// A grammar of several tools says not whose schema is at fault; each by itself does.
    private func blamed(
        _ error: GrammarError, _ plan: TurnForm.Plan, _ conversation: Conversation,
        _ options: AnswerOptions
    ) async -> ChatError {
        for (index, tool) in conversation.tools.enumerated() where tool["function"] != nil {
            guard plan.field != "tools" || TurnForm.isStrict(tool) else { continue }
            let source = GrammarSource.schema(TurnForm.parameters(of: tool))
            do {
                _ = try await forms?.grammar(for: source, on: options.slowWork)
            } catch let error as GrammarError {
                return .form(error, field: "tools[\(index)].function.parameters")
            } catch {
                break
            }
        }
        return .form(error, field: plan.field)
    }

    /// The grammar of a text without a chat template.
    func constraint(_ options: AnswerOptions) async throws -> Constraint? {
        guard let form = options.form else { return nil }
        guard let forms else { throw ChatError.missingTokenizer(model: facts.name) }
        do {
            return Constraint(try await forms.grammar(for: form.source, on: options.slowWork))
        } catch let error as GrammarError {
            throw ChatError.form(error, field: form.field)
        }
    }
}
