package import AutoGLMDecoding
package import AutoGLMJSON

/// What is to be answered: messages and tools on their way into a chat template.
///
/// Messages have the form of OpenAI's API with plain contents: `role`, `content` (a string, or
/// null), `reasoning_content`, `tool_calls` (arguments as the client sent them), `tool_call_id`,
/// `name`.
package struct Conversation: Sendable {
    package var messages: [JSONValue]
    /// As sent: `{"type": "function", "function": {…}}`, or a built-in tool known by its type.
    package var tools: [JSONValue] = []
    package var toolChoice: ToolChoice = .auto
    /// Whether one answer may hold several calls.
    package var allowsParallelCalls = true
    package var addsGenerationPrompt = true
    /// Switches the model's thinking on or off; nil leaves it to the template.
    package var thinks: Bool?
    /// Further variables of the template.
    package var variables: [String: JSONValue] = [:]

    package init(messages: [JSONValue], tools: [JSONValue] = []) {
        self.messages = messages
        self.tools = tools
    }

    /// The tools that the model hears of. What binds only us is not for its eyes.
    var toolsOffered: [JSONValue] {
        if toolChoice == .none { return [] }
        return tools.map { tool in
            guard let function = tool["function"], function["strict"] != nil else { return tool }
            return tool.setting("function", function.setting("strict", nil))
        }
    }

    /// The tools that it may call, as sent.
    var toolsAllowed: [JSONValue] {
        let names: [String]
        switch toolChoice {
        case .none: return []
        case .auto, .required: return tools
        case .function(let name): names = [name]
        case .allowed(let some, isRequired: _): names = some
        }
        return tools.filter { names.contains(ToolSchemas.name(of: $0) ?? "") }
    }

    /// Whether the answer must be a call.
    var mustCall: Bool {
        switch toolChoice {
        case .none, .auto: false
        case .required, .function: true
        case .allowed(_, let isRequired): isRequired
        }
    }
}

/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable {
    public enum Role: String, Sendable {
        case system, user, assistant, tool
    }

    public var role: Role
    public var content: String
    /// What the model thought before it answered.
    public var reasoning: String?
    /// Calls an assistant's turn made.
    public var toolCalls: [ToolCall] = []
    /// Of a tool's turn: which call this is the result of.
    public var toolCallID: String?

    public init(_ role: Role, _ content: String) {
        self.role = role
        self.content = content
    }

    /// The result of a call.
    public static func result(of call: ToolCall, _ content: String) -> ChatMessage {
        var message = ChatMessage(.tool, content)
        message.toolCallID = call.id
        return message
    }

    package var json: JSONValue {
        var members: [(String, JSONValue)] = [
            ("role", .string(role.rawValue)), ("content", .string(content)),
        ]
        if let reasoning { members.append(("reasoning_content", .string(reasoning))) }
        if !toolCalls.isEmpty { members.append(("tool_calls", .array(toolCalls.map(\.json)))) }
        if let toolCallID { members.append(("tool_call_id", .string(toolCallID))) }
        return JSONValue(members: members)
    }
}

/// A call of a tool, as a model made it.
public struct ToolCall: Sendable, Equatable {
    public var id: String
    public var name: String
    /// A JSON object, if the model wrote one.
    public var arguments: String

    public init(id: String, name: String, arguments: String) {
        self.id = id
        self.name = name
        self.arguments = arguments
    }

    var json: JSONValue {
        [
            "id": .string(id), "type": "function",
            "function": ["name": .string(name), "arguments": .string(arguments)],
        ]
    }
}

/// A function that a model may call.
public struct Tool: Sendable, Equatable {
    public let name: String
    package let json: JSONValue

    /// - Parameter parameters: a JSON Schema, as text.
    /// - Throws: ``ToolError`` when that is no JSON object.
    public init(
        name: String, description: String, parameters: String
    ) throws(ToolError) {
        guard let schema = try? JSONValue.parse(parameters), schema.objectValue != nil else {
            throw ToolError(tool: name)
        }
        self.name = name
        json = [
            "type": "function",
            "function": [
                "name": .string(name), "description": .string(description), "parameters": schema,
            ],
        ]
    }
}

public struct ToolError: Error, Equatable, CustomStringConvertible {
    public let tool: String

    public var description: String {
        "The parameters of tool \(tool) are no JSON object. Give a JSON Schema, such as "
            + "{\"type\": \"object\", \"properties\": {}}."
    }
}
