import AutoGLMJSON

/// The tools a request offers, as far as parsing calls needs them.
struct ToolSchemas: Sendable {
    /// Parameter schemas by tool name; nil when nothing is known about the tools.
    private let parameters: [String: JSONValue]?
    private let names: [[UInt8]]

    /// - Parameter tools: OpenAI tools (`{"type": …, "function": {…}}`), bare functions, or
    ///   built-in tools known by their type.
    init(_ tools: [JSONValue]?) {
        parameters = tools.map { tools in
            var result: [String: JSONValue] = [:]
            for tool in tools {
                guard let name = Self.name(of: tool) else { continue }
                result[name] = (tool["function"] ?? tool)["parameters"] ?? [:]
            }
            return result
        }
        names = (parameters?.keys.map { Array($0.utf8) }) ?? []
    }

    /// No tools are offered, as opposed to tools of which nothing is known.
    var isEmpty: Bool { parameters?.isEmpty ?? false }

    static func name(of tool: JSONValue) -> String? {
        ((tool["function"] ?? tool)["name"] ?? tool["type"])?.stringValue
    }

    /// Whether a call of that name may be meant: any name, when the tools are not known.
    func offers(_ name: String) -> Bool { parameters.map { $0[name] != nil } ?? true }

    /// The tool that a line names, white space around it aside.
    func listed(trimming line: ArraySlice<UInt8>) -> String? {
        let name = String(decoding: line, as: UTF8.self).trimmedSpace
        return parameters?[name] != nil ? name : nil
    }

    /// Whether a line that begins so can become the name of a tool known, or is one already with
    /// white space behind it.
    func mayBeLine(_ start: ArraySlice<UInt8>) -> Bool {
        names.contains { name in
            if name.starts(with: start) { return true }
            return start.starts(with: name)
                && start.dropFirst(name.count).allSatisfy(\.isJSONSpace)
        }
    }

    /// The value of an argument written as plain text.
    func value(_ text: String, of argument: String, in tool: String) -> JSONValue {
        guard let schema = parameters?[tool] else { return .string(text) }
        return ArgumentTypes(schema, argument: argument).value(text)
    }
}

/// What a schema admits as the value of an argument: enough to read a value that a model wrote
/// without quotes.
struct ArgumentTypes {
    /// Names of JSON Schema's types; nil where any will do.
    private var types: Set<String>?
    /// The only values there are.
    private var constants: [JSONValue]?

    private static let all: Set<String> = [
        "null", "boolean", "integer", "number", "string", "array", "object",
    ]

    /// Schemas looked at for one value. Clients write them, and `$ref`s that meet in unions
    /// would take for ever.
    private static let schemasMax = 1_000

    /// - Parameter root: the schema that `$ref`s refer to.
    init(_ schema: JSONValue, root: JSONValue) {
        var budget = Self.schemasMax
        self.init(schema, root, depth: 0, &budget)
    }

    /// Of one argument of a tool whose parameters are `schema`.
    init(_ schema: JSONValue, argument: String) {
        var budget = Self.schemasMax
        let member = Self.member(argument, of: schema, schema, depth: 0, &budget) ?? .null
        self.init(member, schema, depth: 0, &budget)
    }

    /// The schema of a member, whichever parts of an object's schema name it.
    private static func member(
        _ name: String, of schema: JSONValue, _ root: JSONValue, depth: Int, _ budget: inout Int
    ) -> JSONValue? {
        guard depth < 16, budget > 0 else { return nil }
        budget -= 1
        if let own = schema["properties"]?[name] { return own }
        if let reference = schema["$ref"]?.stringValue, let target = resolve(reference, root),
            let found = member(name, of: target, root, depth: depth + 1, &budget)
        {
            return found
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            let found = (schema[key]?.arrayValue ?? []).compactMap {
                member(name, of: $0, root, depth: depth + 1, &budget)
            }
            if found.count == 1 { return found[0] }
            if !found.isEmpty { return JSONValue(members: [(key, .array(found))]) }
        }
        return schema["additionalProperties"]
    }

    private init(_ schema: JSONValue, _ root: JSONValue, depth: Int, _ budget: inout Int) {
        guard depth < 16, budget > 0, case .object = schema else { return }
        budget -= 1
        switch schema["type"] {
        case .string(let type)?: types = [type]
        case .array(let list)?: types = Set(list.compactMap(\.stringValue))
        default:
            if schema["properties"] != nil { types = ["object"] }
            if schema["items"] != nil || schema["prefixItems"] != nil { types = ["array"] }
        }
        if let constant = schema["const"] { constants = [constant] }
        if let values = schema["enum"]?.arrayValue { constants = values }
        if let name = schema["$ref"]?.stringValue, let target = Self.resolve(name, root) {
            narrow(ArgumentTypes(target, root, depth: depth + 1, &budget))
        }
        for part in schema["allOf"]?.arrayValue ?? [] {
            narrow(ArgumentTypes(part, root, depth: depth + 1, &budget))
        }
        for key in ["anyOf", "oneOf"] {
            guard let options = schema[key]?.arrayValue, !options.isEmpty else { continue }
            let types = options.map { ArgumentTypes($0, root, depth: depth + 1, &budget) }
            narrow(Self.union(types))
        }
        // OpenAPI's spelling.
        if schema["nullable"]?.boolValue == true { types?.insert("null") }
    }

    private mutating func narrow(_ other: ArgumentTypes) {
        if let theirs = other.types {
            types = types.map { Self.common($0, theirs) } ?? theirs
        }
        constants = constants ?? other.constants
    }

    /// An integer is a number too.
    private static func common(_ a: Set<String>, _ b: Set<String>) -> Set<String> {
        var result = a.intersection(b)
        if a.contains("number") && b.contains("integer")
            || a.contains("integer") && b.contains("number")
        {
            result.insert("integer")
        }
        return result
    }

    private static func union(_ options: [ArgumentTypes]) -> ArgumentTypes {
        var result = ArgumentTypes(.null, root: .null)
        let constants = options.compactMap(\.constants)
        if options.allSatisfy({ $0.types != nil || $0.constants != nil }) {
            result.types = options.reduce(into: []) { types, option in
                types.formUnion(option.types ?? Set((option.constants ?? []).map(Self.type)))
            }
        }
        if constants.count == options.count { result.constants = constants.flatMap { $0 } }
        return result
    }

    private static func type(of value: JSONValue) -> String {
        switch value {
        case .null: "null"
        case .bool: "boolean"
        case .int, .bigInt: "integer"
        case .double: "number"
        case .string: "string"
        case .array: "array"
        case .object: "object"
        }
    }

    /// `#/$defs/address`, by JSON Pointer (RFC 6901).
    private static func resolve(_ reference: String, _ root: JSONValue) -> JSONValue? {
        guard reference.hasPrefix("#") else { return nil }
        var value = root
        for part in reference.dropFirst().split(separator: "/") {
            let key = String(part.replacing("~1", with: "/").replacing("~0", with: "~"))
            guard let next = value[key] ?? Int(key).flatMap({ value[$0] as JSONValue? }) else {
                return nil
            }
            value = next
        }
        return value
    }

    /// The value that a text stands for: a string where the schema says so (or says nothing),
    /// otherwise what the text is as JSON, if the schema admits that.
    func value(_ text: String) -> JSONValue {
        let trimmed = text.trimmedSpace
        var parsed = try? JSONValue.parse(trimmed)
        // 007 is no JSON, but where no text is admitted it can only be a number.
        if parsed == nil, let types, !types.contains("string") {
            parsed = Int64(trimmed).map { .int($0) }
        }
        if let constants {
            if constants.contains(.string(text)) { return .string(text) }
            if let match = constants.first(where: { Self.isEqual($0, parsed) }) { return match }
            if constants.contains(.string(trimmed)) { return .string(trimmed) }
        }
        guard let types else {
            // Without a type: a structure, or a string.
            switch parsed {
            case .array?, .object?:
                return constants == nil ? parsed ?? .string(text) : .string(text)
            default: return .string(text)
            }
        }
        // `None` is what templates that print values with Python show of null.
        if types.contains("null"), ["null", "none"].contains(trimmed.lowercased()) {
            return .null
        }
        if types.contains("boolean") {
            let word = trimmed.lowercased()
            if word == "true" { return .bool(true) }
            if word == "false" { return .bool(false) }
        }
        if types.contains("integer"), let whole = Self.integer(parsed) { return whole }
        switch parsed {
        case .int?, .bigInt?, .double?:
            if types.contains("number") { return parsed ?? .null }
        case .array?: if types.contains("array") { return parsed ?? .null }
        case .object?: if types.contains("object") { return parsed ?? .null }
        default: break
        }
        return .string(text)
    }

    /// A whole number of any size; JSON Schema counts 3.0 as one.
    private static func integer(_ value: JSONValue?) -> JSONValue? {
        switch value {
        case .int?, .bigInt?: value
        case .double(let number)?: Int64(exactly: number).map { .int($0) }
        default: nil
        }
    }

    private static func isEqual(_ constant: JSONValue, _ value: JSONValue?) -> Bool {
        guard let value else { return false }
        if constant == value { return true }
        guard let a = constant.doubleValue, let b = value.doubleValue else { return false }
        return a == b
    }
}
