import AutoGLMJSON
import OrderedCollections

/// The tools a request offers, as far as parsing calls needs them.
struct ToolSchemas: Sendable {
    /// Parameter schemas by tool name; nil when nothing is known about the tools.
    private let parameters: [String: JSONValue]?

    /// - Parameter tools: OpenAI tools (`{"type": …, "function": {…}}`) or bare functions.
    init(_ tools: [JSONValue]?) {
        parameters = tools.map { tools in
            var result: [String: JSONValue] = [:]
            for tool in tools {
                let function = tool["function"] ?? tool
                guard let name = (function["name"] ?? tool["type"])?.stringValue else { continue }
                result[name] = function["parameters"] ?? .object([:])
            }
            return result
        }
    }

    /// Whether a call of that name may be meant: any name, when the tools are not known.
    func offers(_ name: String) -> Bool { parameters?[name] != nil || parameters == nil }

    /// Whether the name is one of the tools known.
    func lists(_ name: String) -> Bool { parameters?[name] != nil }

    /// Whether a line that begins so can become the name of a tool known.
    func mayBeName(_ start: [UInt8]) -> Bool {
        parameters?.keys.contains { $0.utf8.starts(with: start) } ?? false
    }

    /// The value of an argument written as plain text: a string where the schema says so (or says
    /// nothing), otherwise what the text is as JSON, if it is that.
    func value(_ text: String, of argument: String, in tool: String) -> JSONValue {
        let schema = parameters?[tool]?["properties"]?[argument]
        return Self.value(text, schema)
    }

    static func value(_ text: String, _ schema: JSONValue?) -> JSONValue {
        guard let schema else { return .string(text) }
        let types = types(of: schema)
        if types.isEmpty { return untyped(text, schema) }
        let trimmed = text.trimmedSpace
        if trimmed.lowercased() == "null", types != ["string"] { return .null }
        for type in ["boolean", "integer", "number", "array", "object"]
        where types.contains(type) {
            if let value = convert(trimmed, to: type) { return value }
        }
        return .string(text)
    }

    private static func types(of schema: JSONValue) -> [String] {
        if let type = schema["type"]?.stringValue { return [type] }
        if let list = schema["type"]?.arrayValue { return list.compactMap(\.stringValue) }
        for key in ["anyOf", "oneOf"] {
            if let options = schema[key]?.arrayValue {
                return options.flatMap { $0["type"]?.stringValue.map { [$0] } ?? [] }
            }
        }
        return []
    }

    /// A schema without a type: one of its enumerated values, or a structure, or a string.
    private static func untyped(_ text: String, _ schema: JSONValue) -> JSONValue {
        let parsed = try? JSONValue.parse(text)
        if let options = schema["enum"]?.arrayValue {
            if options.contains(.string(text)) { return .string(text) }
            if let parsed, options.contains(parsed) { return parsed }
            return .string(text)
        }
        switch parsed {
        case .array?, .object?: return parsed ?? .string(text)
        default: return .string(text)
        }
    }

    private static func convert(_ text: String, to type: String) -> JSONValue? {
        switch type {
        case "boolean":
            let word = text.lowercased()
            return word == "true" ? .bool(true) : word == "false" ? .bool(false) : nil
        case "integer": return Int64(text).map { .int($0) }
        case "number":
            if let whole = Int64(text) { return .int(whole) }
            guard let number = Double(text), number.isFinite else { return nil }
            return Int64(exactly: number).map { .int($0) } ?? .double(number)
        default:
            guard let value = try? JSONValue.parse(text) else { return nil }
            switch (type, value) {
            case ("array", .array), ("object", .object): return value
            default: return nil
            }
        }
    }
}
