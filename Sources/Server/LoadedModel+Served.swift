import AutoGLMChat
package import AutoGLMEngine
package import AutoGLMJSON
package import AutoGLMText

extension LoadedModel: ServedModel {
    package var vocabularyCount: Int { engine.shape.vocabulary }
    package var status: EngineStatus { engine.status }

    package func prompt(_ conversation: Conversation) throws -> [TokenID] {
        try prompt(
            messages: conversation.messages,
            tools: conversation.tools.isEmpty ? nil : conversation.tools,
            addGenerationPrompt: conversation.addGenerationPrompt,
            variables: conversation.variables)
    }

    private var textTokenizer: Tokenizer {
        get throws(LoadError) {
            guard let tokenizer else { throw .missingTokenizer(model: name) }
            return tokenizer
        }
    }

    package func decode(_ tokens: [TokenID]) throws -> String {
        try textTokenizer.decode(tokens, skipSpecial: false)
    }

    package func bytes(of token: TokenID) -> [UInt8] {
        tokenizer?.tokenBytes(token) ?? []
    }

    package func answerParser(tools: [JSONValue], prompt: [TokenID]) -> AnswerParser {
        let tags = ReasoningTags()
        let startsInReasoning = tags.isOpen(
            at: tokenizer?.decode(prompt, skipSpecial: false) ?? "")
        let thinks = startsInReasoning || tokenizer?.id(of: tags.close) != nil
        let parser = ParserBox(
            makeToolCallParser(
                format: toolCallFormat, tools: tools, reasoning: thinks ? tags : nil,
                startsInReasoning: startsInReasoning))
        return AnswerParser(
            push: { parser.push($0) }, finish: { parser.finish(stopToken: $0) })
    }

    package func callPrefix(tool: String) -> CallPrefix? {
        let text: String
        switch toolCallFormat {
        case .glm4, .chatGLM3: text = "\(tool)\n"
        case .glmXML: text = "<tool_call>\(tool)\n"
        case .hermes: text = "<tool_call>\n{\"name\": \"\(tool)\", \"arguments\": "
        case .llama3: text = "{\"name\": \"\(tool)\", \"parameters\": "
        case .none, .qwenCoder, .mistral, .deepSeek, .pythonic: return nil
        }
        // Names are letters, digits and a few marks: they cannot spell a special token.
        return tokenizer.map {
            CallPrefix(text: text, tokens: $0.encode(text, allowSpecial: true))
        }
    }

    package func generate(
        _ request: GenerationRequest
    ) throws(AdmissionError) -> GeneratedText {
        let stream = try completion(request)
        return GeneratedText(
            pump: { each in
                for try await event in stream { each(event) }
            },
            abort: { stream.abort() })
    }

    package func beginDrain() { engine.beginDrain() }
    package func drain(within deadline: Duration) async { await engine.drain(within: deadline) }
    package func shutdown() { engine.shutdown() }
}

/// Lets two closures share one parser; both run on the task that writes the answer.
private final class ParserBox {
    private var parser: ToolCallParser

    init(_ parser: ToolCallParser) {
        self.parser = parser
    }

    func push(_ text: String) -> [AnswerPiece] { parser.push(text).compactMap(Self.piece) }

    func finish(stopToken: String?) -> [AnswerPiece] {
        parser.finish(stopToken: stopToken).compactMap(Self.piece)
    }

    private static func piece(_ event: ToolCallEvent) -> AnswerPiece? {
        switch event {
        case .content(let text): .content(text)
        case .reasoning(let text): .reasoning(text)
        case .callStart(_, let name): .callStart(name: name)
        case .callArguments(_, let delta): .callArguments(delta)
        case .callEnd: nil
        }
    }
}
