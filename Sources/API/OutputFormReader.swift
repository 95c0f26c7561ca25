import AutoGLMDecoding
import AutoGLMJSON

/// Reads the form that a request asks its answer to have, under the names that OpenAI, vLLM,
/// SGLang, llama-server and Ollama have given it.
struct OutputFormReader {
    /// The fields that may hold one.
    static let fields = [
        "response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
        "guided_grammar", "json_schema", "regex", "ebnf", "grammar", "format",
    ]

    private let reader: FieldReader
    private var forms: [OutputForm] = []

    /// - Returns: nil where the answer may be any text.
    static func read(_ reader: FieldReader) throws(APIError) -> OutputForm? {
        var own = OutputFormReader(reader: reader)
        for field in fields { try own.read(field) }
        guard let first = own.forms.first else { return nil }
        if let other = own.forms.first(where: { $0.source != first.source }) {
            throw .invalid(
                other.field,
                "'\(other.field)' and '\(first.field)' ask for different forms. Give one of them.",
                code: "conflicting_forms")
        }
        return first
    }

    private init(reader: FieldReader) { self.reader = reader }

    private mutating func read(_ field: String) throws(APIError) {
        guard let value = reader[field] else { return }
        if case .string("") = value { return }
        switch field {
        case "response_format": try readResponseFormat(value)
        case "structured_outputs": try readStructuredOutputs(value)
        case "guided_choice": try readChoice(reader, field)
        case "guided_regex", "regex": try readText(reader, field) { .regex($0) }
        case "guided_grammar", "ebnf", "grammar": try readText(reader, field) { .gbnf($0) }
        case "format" where value == .string("json"):
            forms.append(OutputForm(.anyObject, field: field))
        default: try readSchema(value, reader.path(of: field))
        }
    }

    private mutating func readResponseFormat(_ value: JSONValue) throws(APIError) {
        let format = try FieldReader(value, path: reader.path(of: "response_format"))
        guard let type = try format.string("type") else { throw format.missing("type") }
        switch type {
        case "text": return
        case "json_object":
            // llama-server takes a schema here.
            guard let schema = format["schema"] else {
                return forms.append(OutputForm(.anyObject, field: format.path))
            }
            try readSchema(schema, format.path(of: "schema"))
        case "json_schema":
            if let schema = format["schema"] {
                return try readSchema(schema, format.path(of: "schema"))
            }
            guard let body = format["json_schema"] else { throw format.missing("json_schema") }
            let named = try FieldReader(body, path: format.path(of: "json_schema"))
            _ = try named.string("name")
            _ = try named.string("description")
            guard let schema = named["schema"] else { throw named.missing("schema") }
            try readSchema(
                schema, named.path(of: "schema"),
                keepsKeyOrder: try named.bool("strict") ?? false)
        case "grammar": try readText(format, "grammar") { .gbnf($0) }
        case "regex": try readText(format, "pattern") { .regex($0) }
        default:
            throw .unsupported(
                format.path(of: "type"),
                "'\(format.path(of: "type"))' must be text, json_object, json_schema, grammar or "
                    + "regex.")
        }
    }

    /// vLLM's: one form, and options for how its text is laid out.
    private mutating func readStructuredOutputs(_ value: JSONValue) throws(APIError) {
        let outputs = try FieldReader(value, path: reader.path(of: "structured_outputs"))
        if let schema = outputs["json"] { try readSchema(schema, outputs.path(of: "json")) }
        if outputs["regex"] != nil { try readText(outputs, "regex") { .regex($0) } }
        if outputs["grammar"] != nil { try readText(outputs, "grammar") { .gbnf($0) } }
        if outputs["choice"] != nil { try readChoice(outputs, "choice") }
        if try outputs.bool("json_object") ?? false {
            forms.append(OutputForm(.anyObject, field: outputs.path(of: "json_object")))
        }
        for key in ["structural_tag", "whitespace_pattern"] where outputs[key] != nil {
            throw .unsupported(
                outputs.path(of: key), "'\(outputs.path(of: key))' is not supported.")
        }
    }

    /// A schema, or the text of one.
    private mutating func readSchema(
        _ value: JSONValue, _ path: String, keepsKeyOrder: Bool = false
    ) throws(APIError) {
        var schema = value
        if case .string(let text) = value {
            do {
                schema = try JSONValue.parse(Array(text.utf8), options: .request)
            } catch {
                throw .invalid(
                    path, "'\(path)' is a text that is no JSON: \(error.explanation) at byte "
                        + "\(error.offset).", code: "grammar_invalid")
            }
        }
        switch schema {
        case .object, .bool:
            forms.append(
                OutputForm(.schema(schema, keepsKeyOrder: keepsKeyOrder), field: path))
        case .null, .int, .bigInt, .double, .string, .array:
            throw .invalid(path, "'\(path)' must be a JSON schema, not \(schema.kind).")
        }
    }

    private mutating func readText(
        _ reader: FieldReader, _ key: String, _ source: (String) -> GrammarSource
    ) throws(APIError) {
        guard let text = try reader.string(key) else { throw reader.missing(key) }
        forms.append(OutputForm(source(text), field: reader.path(of: key)))
    }

    private mutating func readChoice(_ reader: FieldReader, _ key: String) throws(APIError) {
        let path = reader.path(of: key)
        var options: [String] = []
        for value in try reader.array(key, most: RequestLimits.formChoices) ?? [] {
            guard case .string(let option) = value else {
                throw reader.mismatch(key, "an array of strings", value)
            }
            options.append(option)
        }
        guard !options.isEmpty else {
            throw .invalid(path, "'\(path)' must have at least one text.", code: "empty_array")
        }
        forms.append(OutputForm(.choice(options), field: path))
    }
}
