import AutoGLMJSON

/// Reads one message of a conversation into the form that chats are rendered from.
///
/// Content parts are joined to one text, `developer` is `system`, `function` is `tool`. Fields we
/// do not know are left out.
enum MessageReader {
    private static let roles: Set<String> = [
        "system", "developer", "user", "assistant", "tool", "function",
    ]

    static func message(_ value: JSONValue, path: String) throws(APIError) -> JSONValue {
        let reader = try FieldReader(value, path: path)
        guard let name = try reader.string("role") else { throw reader.missing("role") }
        guard roles.contains(name) else {
            throw .invalid(
                reader.path(of: "role"),
                "'\(reader.path(of: "role"))' must be one of system, developer, user, assistant, "
                    + "tool and function.")
        }
        let role = name == "developer" ? "system" : name == "function" ? "tool" : name
        let content = try content(reader)
        let calls = try toolCalls(reader)
        if content == nil, calls == nil, role != "assistant" { throw reader.missing("content") }
        if content == nil, calls == nil, reader["function_call"] != nil {
            throw .unsupported(
                reader.path(of: "function_call"), "'function_call' is obsolete; use 'tool_calls'.")
        }
        var members: [(String, JSONValue)] = [("role", .string(role))]
        members.append(("content", content.map(JSONValue.string) ?? .null))
        if let calls { members.append(("tool_calls", .array(calls))) }
        for key in ["name", "tool_call_id", "reasoning_content"] {
            if let text = try reader.string(key) {
                members.append((key, .string(text)))
            }
        }
        // Another spelling of the same.
        if let text = try reader.string("reasoning"), reader["reasoning_content"] == nil {
            members.append(("reasoning_content", .string(text)))
        }
        return JSONValue(members: members)
    }

    /// The text of a message whose content is a string or a list of text parts.
    private static func content(_ reader: FieldReader) throws(APIError) -> String? {
        guard let value = reader["content"] else { return nil }
        if case .string(let text) = value { return text }
        guard let parts = try reader.array("content", most: RequestLimits.contentParts) else {
            return nil
        }
        var texts: [String] = []
        for (index, part) in parts.enumerated() {
            let path = "\(reader.path(of: "content"))[\(index)]"
            let part = try FieldReader(part, path: path)
            guard let type = try part.string("type") else { throw part.missing("type") }
            switch type {
            case "text":
                guard let text = try part.string("text") else { throw part.missing("text") }
                texts.append(text)
            // What a model said instead of answering is its text all the same.
            case "refusal":
                guard let text = try part.string("refusal") else { throw part.missing("refusal") }
                texts.append(text)
            default:
                throw .unsupported(
                    part.path(of: "type"),
                    "'\(part.path(of: "type"))' must be text: this model reads text only, and "
                        + "this server fetches no addresses.")
            }
        }
        return texts.joined(separator: "\n")
    }

    private static func toolCalls(_ reader: FieldReader) throws(APIError) -> [JSONValue]? {
        guard let calls = try reader.array("tool_calls", most: RequestLimits.toolCalls) else {
            return nil
        }
        var result: [JSONValue] = []
        for (index, call) in calls.enumerated() {
            let path = "\(reader.path(of: "tool_calls"))[\(index)]"
            let call = try FieldReader(call, path: path)
            guard let value = call["function"] else { throw call.missing("function") }
            let function = try FieldReader(value, path: call.path(of: "function"))
            guard let name = try function.string("name") else { throw function.missing("name") }
            var members: [(String, JSONValue)] = []
            if let id = try call.string("id") {
                members.append(("id", .string(id)))
            }
            members.append(("type", "function"))
            let body: JSONValue = ["name": .string(name), "arguments": try arguments(function)]
            members.append(("function", body))
            result.append(JSONValue(members: members))
        }
        return result.isEmpty ? nil : result
    }

    /// Arguments come as a JSON text, and stay what the client sent: templates differ in whether
    /// they want the text or the value.
    private static func arguments(_ function: FieldReader) throws(APIError) -> JSONValue {
        guard let value = function["arguments"] else { return "{}" }
        switch value {
        case .string(let text): return text.isEmpty ? "{}" : value
        case .object: return value
        case .null, .bool, .int, .bigInt, .double, .array:
            throw function.mismatch("arguments", "a string", value)
        }
    }
}
