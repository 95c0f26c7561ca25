package import AutoGLMJSON

/// One function a request offers to the model.
package struct ToolDefinition: Sendable, Equatable {
    package var name: String
    /// The tool as sent: `{"type":"function","function":{…}}`.
    package var value: JSONValue

    init(_ value: JSONValue, path: String) throws(APIError) {
        let reader = try FieldReader(value, path: path)
        guard let type = try reader.string("type") else { throw reader.missing("type") }
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
                "'\(function.path(of: "name"))' must be 1 to \(RequestLimits.toolNameBytes) "
                    + "letters, digits, '_', '-' or '.'.")
        }
        _ = try function.string("description")
        if let schema = function.object["parameters"] {
            try Self.check(schema, function)
        }
        self.name = name
        self.value = value
    }

    static func isName(_ name: String) -> Bool {
        (1...RequestLimits.toolNameBytes).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"),
                    UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    /// Refuses what is no schema at all; the rest is text for the model.
    private static func check(_ schema: JSONValue, _ function: FieldReader) throws(APIError) {
        let path = function.path(of: "parameters")
        let reader = try FieldReader(schema, path: path)
        var json = JSONWriter()
        json.value(schema)
        guard json.bytes.count <= RequestLimits.schemaBytes else {
            throw .invalid(
                path,
                "'\(path)' has \(json.bytes.count) bytes; the limit is "
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

/// Whether and what the model must call.
package enum ToolChoice: Sendable, Equatable {
    case none, auto, required
    case function(String)

    static func read(
        _ reader: FieldReader, tools: [ToolDefinition]
    ) throws(APIError) -> ToolChoice {
        guard let value = reader["tool_choice"] else { return tools.isEmpty ? .none : .auto }
        let path = reader.path(of: "tool_choice")
        switch value {
        case .string("none"): return .none
        case .string("auto"): return tools.isEmpty ? .none : .auto
        case .string("required"):
            guard !tools.isEmpty else {
                throw .invalid(path, "'tool_choice' is required, but 'tools' is empty.")
            }
            return .required
        case .object:
            let choice = try FieldReader(value, path: path)
            guard let body = choice["function"] else { throw choice.missing("function") }
            let function = try FieldReader(body, path: choice.path(of: "function"))
            guard let name = try function.string("name") else { throw function.missing("name") }
            guard tools.contains(where: { $0.name == name }) else {
                throw .invalid(
                    function.path(of: "name"), "'tool_choice' names a function not in 'tools'.")
            }
            return .function(name)
        case .null, .bool, .int, .bigInt, .double, .string, .array:
            throw .invalid(
                path, "'tool_choice' must be none, auto, required or an object naming a function.")
        }
    }
}
