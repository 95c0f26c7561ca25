package import AutoGLMJSON

/// The body of `POST /v1/completions`, the older endpoint that continues plain text.
package struct CompletionRequest: Sendable, Equatable {
    /// A prompt as text or as token ids.
    package enum Prompt: Sendable, Equatable {
        case text(String)
        case tokens([Int32])
    }

    package var model: String?
    package var prompts: [Prompt]
    package var sampling: SamplingFields
    package var stream: StreamFields
    /// OpenAI's default is 16.
    package var tokensMax: Int
    /// nil: no log-probabilities; n: those of the n best tokens too.
    package var logprobs: Int?
    /// Whether the answer begins with the prompt.
    package var echo: Bool

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        prompts = try Self.prompts(reader)
        sampling = try SamplingFields(reader)
        stream = try StreamFields(reader)
        tokensMax = try reader.integer(RequestLimits.legacyTokensMax).map(Int.init) ?? 16
        logprobs = try reader.integer(RequestLimits.legacyLogprobs).map(Int.init)
        echo = try reader.bool("echo") ?? false
        if let bestOf = reader["best_of"], bestOf != .int(1) {
            throw .unsupported("best_of", "'best_of' must be 1: ask for 'n' choices instead.")
        }
        if let suffix = try reader.string("suffix"), !suffix.isEmpty {
            throw .unsupported(
                "suffix", "'suffix' is not supported: this model continues text, it does not "
                    + "fill gaps.")
        }
        if tokensMax == 0, !echo {
            throw .invalid(
                "max_tokens", "'max_tokens' may be 0 only together with 'echo': true.")
        }
    }

    /// `prompt` is a text, a list of texts, a list of token ids or a list of such lists.
    private static func prompts(_ reader: FieldReader) throws(APIError) -> [Prompt] {
        guard let value = reader["prompt"] else { throw reader.missing("prompt") }
        switch value {
        case .string(let text): return [.text(text)]
        case .array(let elements):
            guard let first = elements.first else {
                throw .invalid("prompt", "'prompt' must not be empty.", code: "empty_array")
            }
            switch first {
            case .int, .bigInt, .double:
                return [.tokens(try tokens(elements, path: "prompt"))]
            case .string, .array: break
            case .null, .bool, .object:
                throw .invalid("prompt", "'prompt' must hold texts or token ids.")
            }
            guard elements.count <= RequestLimits.prompts else {
                throw .invalid(
                    "prompt",
                    "'prompt' may have at most \(RequestLimits.prompts) entries; "
                        + "\(elements.count) were given.",
                    code: "array_above_max_length")
            }
            var prompts: [Prompt] = []
            for (index, element) in elements.enumerated() {
                switch element {
                case .string(let text): prompts.append(.text(text))
                case .array(let ids):
                    prompts.append(.tokens(try tokens(ids, path: "prompt[\(index)]")))
                case .null, .bool, .int, .bigInt, .double, .object:
                    throw .invalid(
                        "prompt[\(index)]", "'prompt[\(index)]' must be a text or token ids.")
                }
            }
            return prompts
        case .null, .bool, .int, .bigInt, .double, .object:
            throw reader.mismatch("prompt", "a string or an array", value)
        }
    }

    static func tokens(_ values: [JSONValue], path: String) throws(APIError) -> [Int32] {
        var tokens: [Int32] = []
        tokens.reserveCapacity(values.count)
        for value in values {
            tokens.append(
                Int32(try FieldReader.integer(value, RequestLimits.token, path: path)))
        }
        return tokens
    }
}

/// The body of `POST /v1/tokenize`: a text, or messages to be rendered first.
package struct TokenizeRequest: Sendable, Equatable {
    package enum Source: Sendable, Equatable {
        case text(String, addSpecial: Bool)
        case messages(
            [ChatMessage], tools: [ToolDefinition], addGenerationPrompt: Bool,
            templateArguments: [String: JSONValue])
    }

    package var model: String?
    package var source: Source

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        let prompt = try reader.string("prompt")
        let text = try reader.string("text")
        if let text = prompt ?? text {
            source = .text(text, addSpecial: try reader.bool("add_special_tokens") ?? false)
            return
        }
        guard let values = try reader.array("messages", most: RequestLimits.messages) else {
            throw reader.missing("prompt")
        }
        if reader["chat_template"] != nil {
            throw .invalid(
                "chat_template",
                "'chat_template' is not accepted from requests: a template is code.",
                code: "template_not_allowed")
        }
        var messages: [ChatMessage] = []
        for (index, value) in values.enumerated() {
            messages.append(try ChatMessage(value, path: "messages[\(index)]"))
        }
        source = .messages(
            messages, tools: try ToolDefinition.list(reader),
            addGenerationPrompt: try reader.bool("add_generation_prompt") ?? true,
            templateArguments: try ChatCompletionRequest.templateArguments(reader))
    }
}

/// The body of `POST /v1/detokenize`.
package struct DetokenizeRequest: Sendable, Equatable {
    package var model: String?
    package var tokens: [Int32]

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        guard let value = reader["tokens"] else { throw reader.missing("tokens") }
        guard case .array(let values) = value else {
            throw reader.mismatch("tokens", "an array of token ids", value)
        }
        tokens = try CompletionRequest.tokens(values, path: "tokens")
    }
}
