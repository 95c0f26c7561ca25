package import AutoGLMJSON

/// The body of `POST /v1/chat/completions`, checked field by field.
package struct ChatCompletionRequest: Sendable, Equatable {
    package var model: String?
    package var messages: [ChatMessage]
    package var tools: [ToolDefinition]
    package var toolChoice: ToolChoice
    package var sampling: SamplingFields
    package var stream: StreamFields
    /// Output tokens at most; nil leaves it to the context.
    package var tokensMax: Int?
    /// nil: no log-probabilities; n: those of the n best tokens too.
    package var topLogprobs: Int?
    /// Extra variables of the chat template, from a short list of names.
    package var templateArguments: [String: JSONValue]

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        guard let values = try reader.array("messages", most: RequestLimits.messages) else {
            throw reader.missing("messages")
        }
        guard !values.isEmpty else {
            throw .invalid(
                "messages", "'messages' must have at least one message.",
                code: "empty_array")
        }
        messages = []
        for (index, value) in values.enumerated() {
            messages.append(try ChatMessage(value, path: "messages[\(index)]"))
        }
        tools = try ToolDefinition.list(reader)
        toolChoice = try ToolChoice.read(reader, tools: tools)
        sampling = try SamplingFields(reader)
        stream = try StreamFields(reader)
        let older = try reader.integer(RequestLimits.tokensMax)
        let newer = try reader.integer(RequestLimits.completionTokensMax)
        tokensMax = (newer ?? older).map(Int.init)
        topLogprobs = try Self.logprobs(reader)
        templateArguments = try Self.templateArguments(reader)
        try Self.refuse(reader)
    }

    private static func logprobs(_ reader: FieldReader) throws(APIError) -> Int? {
        let top = try reader.integer(RequestLimits.topLogprobs).map(Int.init)
        guard try reader.bool("logprobs") ?? false else {
            if top != nil {
                throw .invalid(
                    "top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true.")
            }
            return nil
        }
        return top ?? 0
    }

    static func templateArguments(_ reader: FieldReader) throws(APIError) -> [String: JSONValue] {
        guard let value = reader["chat_template_kwargs"] else { return [:] }
        let arguments = try FieldReader(value, path: "chat_template_kwargs")
        guard arguments.members.count <= RequestLimits.templateArguments else {
            throw .invalid(
                "chat_template_kwargs",
                "'chat_template_kwargs' may have at most \(RequestLimits.templateArguments) keys.")
        }
        for member in arguments.members {
            let allowed = RequestLimits.templateArgumentNames
            guard allowed.contains(member.key) else {
                throw .invalid(
                    "chat_template_kwargs",
                    "'chat_template_kwargs' may only hold "
                        + allowed.sorted().joined(separator: ", ") + ".",
                    code: "template_argument_not_allowed")
            }
            switch member.value {
            case .null, .bool, .int, .bigInt, .double, .string: break
            case .array, .object:
                throw arguments.mismatch(member.key, "a plain value", member.value)
            }
        }
        return arguments.object.dictionary ?? [:]
    }

    /// Fields that would change the meaning of the answer and that we cannot honour.
    private static func refuse(_ reader: FieldReader) throws(APIError) {
        if reader["chat_template"] != nil {
            throw .invalid(
                "chat_template",
                "'chat_template' is not accepted from requests: a template is code.",
                code: "template_not_allowed")
        }
        for key in ["functions", "function_call"] where reader[key] != nil {
            throw .unsupported(key, "'\(key)' is obsolete; use 'tools' and 'tool_choice'.")
        }
        if reader["audio"] != nil { throw .unsupported("audio", "'audio' is not supported.") }
        for modality in try reader.array("modalities", most: 8) ?? []
        where modality != .string("text") {
            throw .unsupported("modalities", "'modalities' may only hold text.")
        }
    }
}

extension FieldReader {
    /// The model a request asks for; nil takes the one served.
    func modelName() throws(APIError) -> String? {
        guard let name = try string("model") else { return nil }
        guard name.utf8.count <= RequestLimits.modelNameBytes else {
            throw .invalid(
                "model", "'model' may have at most \(RequestLimits.modelNameBytes) bytes.")
        }
        return name
    }
}
