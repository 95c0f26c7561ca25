import AutoGLMDecoding
package import AutoGLMJSON

/// One function a request offers to the model.
package struct ToolDefinition: Sendable, Equatable {
    package var name: String
    /// The tool as sent: `{"type":"function","function":{…}}`.
    package var value: JSONValue

    init(_ value: JSONValue, path: String) throws(APIError) {
        let reader = try FieldReader(value, path: path)
        guard let type = try reader.string("type") else { throw reader.missing("type") }
        // A tool known by its type alone; the model's family says whether there is such a one.
        if type != "function", reader["function"] == nil, Self.isName(type) {
            name = type
            self.value = value
            return
        }
        guard type == "function" else {
            throw .unsupported(
                reader.path(of: "type"), "'\(reader.path(of: "type"))' must be function.")
        }
        guard let body = reader["function"] else { throw reader.missing("function") }
        let function = try FieldReader(body, path: reader.path(of: "function"))
        guard let name = try function.string("name") else { throw function.missing("name") }
        guard Self.isName(name) else {
            throw .invalid(
                function.path(of: "name"),
                "'\(function.path(of: "name"))' must be 1 to \(RequestLimits.toolNameLength) "
                    + "letters, digits, '_', '-' or '.'.")
        }
        _ = try function.string("description")
        _ = try function.bool("strict")
        if let schema = function["parameters"] { try Self.check(schema, function) }
        self.name = name
        // Null means no parameters; a prompt that says "null" would only confuse.
        self.value =
            function.object["parameters"]?.isNull == true
            ? value.setting("function", function.object.setting("parameters", nil))
            : value
    }

    /// Letters and digits of any script: what users call their tools.
    static func isName(_ name: String) -> Bool {
        (1...RequestLimits.toolNameLength).contains(name.unicodeScalars.count)
            && name.unicodeScalars.allSatisfy { scalar in
                scalar == "_" || scalar == "-" || scalar == "."
                    || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
                    || scalar.properties.generalCategory == .nonspacingMark
            }
    }

    /// Refuses what is no schema at all; the rest is text for the model.
    private static func check(_ schema: JSONValue, _ function: FieldReader) throws(APIError) {
        let path = function.path(of: "parameters")
        let reader = try FieldReader(schema, path: path)
        let byteCount = schema.serialized(.compact).utf8.count
        guard byteCount <= RequestLimits.schemaBytes else {
            throw .invalid(
                path,
                "'\(path)' has \(byteCount) bytes; the limit is "
                    + "\(RequestLimits.schemaBytes).")
        }
        try checkNode(reader, depth: 1)
    }

    private static func checkNode(_ node: FieldReader, depth: Int) throws(APIError) {
        guard depth <= RequestLimits.schemaDepth else {
            throw .invalid(
                node.path, "The schema is nested deeper than \(RequestLimits.schemaDepth).")
        }
        if let type = node["type"] {
            switch type {
            case .string: break
            case .array(let types) where types.allSatisfy({ $0.stringValue != nil }): break
            case .null, .bool, .int, .bigInt, .double, .array, .object:
                throw node.mismatch("type", "a string or an array of strings", type)
            }
        }
        if let properties = node["properties"] {
            let path = node.path(of: "properties")
            for member in try FieldReader(properties, path: path).members {
                guard case .object = member.value else { continue }
                try checkNode(
                    try FieldReader(member.value, path: "\(path).\(member.key)"), depth: depth + 1)
            }
        }
        if let items = node["items"], case .object = items {
            try checkNode(
                try FieldReader(items, path: node.path(of: "items")), depth: depth + 1)
        }
    }

    static func list(_ reader: FieldReader) throws(APIError) -> [ToolDefinition] {
        let values = try reader.array("tools", most: RequestLimits.tools) ?? []
        var tools: [ToolDefinition] = []
        var names: Set<String> = []
        for (index, value) in values.enumerated() {
            let path = "\(reader.path(of: "tools"))[\(index)]"
            let tool = try ToolDefinition(value, path: path)
            guard names.insert(tool.name).inserted else {
                throw .invalid("\(path).function.name", "Two tools have the same name.")
            }
            tools.append(tool)
        }
        return tools
    }
}

extension ToolChoice {
    static func read(
        _ reader: FieldReader, tools: [ToolDefinition]
    ) throws(APIError) -> ToolChoice {
        guard let value = reader["tool_choice"] else { return tools.isEmpty ? .none : .auto }
        let path = reader.path(of: "tool_choice")
        switch value {
        case .string("none"): return .none
        case .string("auto"): return tools.isEmpty ? .none : .auto
        // "any" is what some clients of other makers' APIs say.
        case .string("required"), .string("any"):
            guard !tools.isEmpty else {
                throw .invalid(path, "'tool_choice' is required, but 'tools' is empty.")
            }
            return .required
        case .object:
            return try read(try FieldReader(value, path: path), among: tools)
        case .null, .bool, .int, .bigInt, .double, .string, .array:
            throw .invalid(
                path,
                "'tool_choice' must be none, auto, required or an object naming functions.")
        }
    }

    private static func read(
        _ choice: FieldReader, among tools: [ToolDefinition]
    ) throws(APIError) -> ToolChoice {
        switch try choice.string("type") ?? "function" {
        case "function": return .function(try name(choice, among: tools))
        case "allowed_tools":
            // In an object of its own, or, as in OpenAI's newer API, right here.
            let list = choice["allowed_tools"] == nil
                ? choice
                : try FieldReader(
                    choice.object["allowed_tools"] ?? .null,
                    path: choice.path(of: "allowed_tools"))
            guard let values = try list.array("tools", most: RequestLimits.tools) else {
                throw list.missing("tools")
            }
            guard !values.isEmpty else {
                throw .invalid(
                    list.path(of: "tools"), "'\(list.path(of: "tools"))' must not be empty.",
                    code: "empty_array")
            }
            var names: [String] = []
            for (index, value) in values.enumerated() {
                let path = "\(list.path(of: "tools"))[\(index)]"
                names.append(try name(try FieldReader(value, path: path), among: tools))
            }
            switch try list.string("mode") ?? "auto" {
            case "auto": return .allowed(names, isRequired: false)
            case "required": return .allowed(names, isRequired: true)
            default:
                throw .invalid(
                    list.path(of: "mode"),
                    "'\(list.path(of: "mode"))' must be auto or required.")
            }
        default:
            throw .unsupported(
                choice.path(of: "type"),
                "'\(choice.path(of: "type"))' must be function or allowed_tools.")
        }
    }

    /// The name in `{"function": {"name": …}}`, or in `{"name": …}`.
    private static func name(
        _ choice: FieldReader, among tools: [ToolDefinition]
    ) throws(APIError) -> String {
        var function = choice
        if choice["name"] == nil {
            guard let body = choice["function"] else { throw choice.missing("function") }
            function = try FieldReader(body, path: choice.path(of: "function"))
        }
        guard let name = try function.string("name") else { throw function.missing("name") }
        guard tools.contains(where: { $0.name == name }) else {
            throw .invalid(
                function.path(of: "name"), "'tool_choice' names a function not in 'tools'.")
        }
        return name
    }
}
