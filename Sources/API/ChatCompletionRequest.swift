package import AutoGLMDecoding
package import AutoGLMJSON

/// The body of `POST /v1/chat/completions`, checked field by field.
package struct ChatCompletionRequest: Sendable, Equatable {
    package var model: String?
    package var conversation: ConversationFields
    package var generation: GenerationFields
    package var stream: StreamFields
    /// Whether one answer may hold several calls.
    package var allowsParallelCalls: Bool

    package init(body: [UInt8]) throws(APIError) {
        let reader = try FieldReader(try JSONValue.body(body), path: "")
        model = try reader.modelName()
        try RequestFields.check(RequestFields.chat, reader)
        conversation = try ConversationFields(reader)
        generation = try GenerationFields(reader)
        if generation.sampling["max_tokens"] == .integer(0) {
            throw .invalid(
                reader["max_completion_tokens"] == nil ? "max_tokens" : "max_completion_tokens",
                "'max_tokens' must be at least 1. Leave it out for as many as fit.",
                code: "value_out_of_range")
        }
        generation.topLogprobs = try Self.logprobs(reader)
        stream = try StreamFields(reader)
        allowsParallelCalls = try reader.bool("parallel_tool_calls") ?? true
    }

    private static func logprobs(_ reader: FieldReader) throws(APIError) -> Int? {
        let top = try reader.integer(RequestLimits.topLogprobs).map(Int.init)
        guard try reader.bool("logprobs") ?? false else {
            // 0 asks for none, as the field's absence does.
            if let top, top > 0 {
                throw .invalid(
                    "top_logprobs", "'top_logprobs' is only allowed with 'logprobs': true.")
            }
            return nil
        }
        return top ?? 0
    }
}

/// Messages, tools and what else decides a chat's prompt; of every endpoint that renders one.
package struct ConversationFields: Sendable, Equatable {
    /// In the form `Conversation` of the module Chat describes.
    package var messages: [JSONValue]
    package var tools: [JSONValue]
    package var toolChoice: ToolChoice
    /// nil leaves it to the template.
    package var thinks: Bool?
    /// Extra variables of the chat template, from a short list of names.
    package var templateArguments: [String: JSONValue]
    package var addsGenerationPrompt: Bool

    init(_ reader: FieldReader) throws(APIError) {
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
            messages.append(try MessageReader.message(value, path: "messages[\(index)]"))
        }
        let tools = try ToolDefinition.list(reader)
        self.tools = tools.map(\.value)
        toolChoice = try ToolChoice.read(reader, tools: tools)
        templateArguments = try Self.templateArguments(reader)
        thinks = try Self.thinks(reader)
        addsGenerationPrompt = try reader.bool("add_generation_prompt") ?? true
        if let effort = try reader.string("reasoning_effort") {
            templateArguments["reasoning_effort"] =
                templateArguments["reasoning_effort"] ?? .string(effort)
            if effort == "none" || effort == "minimal" { thinks = thinks ?? false }
        }
    }

    /// `thinking: {"type": "disabled"}` as GLM's own API has it, a boolean, or Qwen's
    /// `enable_thinking`.
    private static func thinks(_ reader: FieldReader) throws(APIError) -> Bool? {
        if let flag = try reader.bool("enable_thinking") { return flag }
        guard let value = reader["thinking"] else { return nil }
        if case .bool(let flag) = value { return flag }
        let thinking = try FieldReader(value, path: reader.path(of: "thinking"))
        switch try thinking.string("type") {
        case "enabled", "adaptive", "auto": return true
        case "disabled": return false
        case nil: return nil
        default:
            throw .invalid(
                thinking.path(of: "type"),
                "'\(thinking.path(of: "type"))' must be enabled or disabled.")
        }
    }

    private static func templateArguments(
        _ reader: FieldReader
    ) throws(APIError) -> [String: JSONValue] {
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
