import AutoGLMDecoding
import AutoGLMJSON

/// The body of `POST /v1/completions`, the older endpoint that continues plain text.
package struct CompletionRequest: Sendable, Equatable {
    /// A prompt as text or as token ids.
    package enum Prompt: Sendable, Equatable {
        case text(String)
        case tokens([Int32])
    }

    package var model: String?
    package var prompts: [Prompt]
    package var generation: GenerationFields
    package var stream: StreamFields
    /// Whether the answer begins with the prompt.
    package var echo: Bool
    /// Whether special tokens written in a text prompt count as such. They do unless the client
    /// says no: whoever uses this endpoint has rendered the prompt, marks and all.
    package var parsesSpecial: Bool
    /// Whether the tokens are added that the tokenizer puts around a text.
    package var addsSpecial: Bool

    /// OpenAI's default of `max_tokens` here.
    private static let tokensMax: Int64 = 16

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        try RequestFields.check(RequestFields.completion, reader)
        prompts = try Self.prompts(reader)
        generation = try GenerationFields(reader)
        stream = try StreamFields(reader)
        generation.topLogprobs = try reader.integer(RequestLimits.legacyLogprobs).map(Int.init)
        echo = try reader.bool("echo") ?? false
        parsesSpecial = try reader.bool("parse_special") ?? true
        addsSpecial = try reader.bool("add_special_tokens") ?? true
        if let bestOf = reader["best_of"], bestOf != .int(1) {
            throw .unsupported("best_of", "'best_of' must be 1: ask for 'n' choices instead.")
        }
        if let suffix = try reader.string("suffix"), !suffix.isEmpty {
            throw .unsupported(
                "suffix", "'suffix' is not supported: this model continues text, it does not "
                    + "fill gaps.")
        }
        if generation.sampling["max_tokens"] == nil,
            let field = SamplingParameters.field("max_tokens")
        {
            generation.sampling.set(field, .integer(Self.tokensMax))
        }
        if generation.sampling["max_tokens"] == .integer(0), !echo {
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
        case text(String, addSpecial: Bool, parsesSpecial: Bool)
        case conversation(ConversationFields)
    }

    package var model: String?
    package var source: Source

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        // `content` is llama-server's name.
        for key in ["prompt", "text", "content"] {
            guard let text = try reader.string(key) else { continue }
            source = .text(
                text, addSpecial: try reader.bool("add_special_tokens") ?? false,
                parsesSpecial: try reader.bool("parse_special") ?? false)
            return
        }
        guard reader["messages"] != nil else { throw reader.missing("prompt") }
        if reader["chat_template"] != nil {
            throw .invalid(
                "chat_template",
                "'chat_template' is not accepted from requests: a template is code.",
                code: "template_not_allowed")
        }
        source = .conversation(try ConversationFields(reader))
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
