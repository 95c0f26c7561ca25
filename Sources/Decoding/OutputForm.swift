import AutoGLMJSON

/// The form that an answer must have: the model picks its tokens from those that can still lead to
/// a text of that form. Only an answer that is cut (by `maxTokens`, say) has it not.
///
/// A form that cannot be followed exactly is refused before anything is computed, never weakened;
/// `docs/structured-output.md` says what can be.
public struct OutputForm: Sendable, Equatable {
    package var source: GrammarSource
    /// What holds it (a request's field, a flag), for messages about it.
    package var field: String

    package init(_ source: GrammarSource, field: String) {
        self.source = source
        self.field = field
    }

    /// A JSON value that satisfies a JSON Schema (2020-12, or drafts 4 to 7).
    /// - Parameters:
    ///   - text: the schema, as JSON.
    ///   - keepsKeyOrder: members come in the schema's own order rather than in any.
    /// - Throws: ``GrammarError/invalid(reason:path:)`` when the text is no schema.
    public static func jsonSchema(
        _ text: String, keepsKeyOrder: Bool = false
    ) throws(GrammarError) -> OutputForm {
        let schema: JSONValue
        do {
            schema = try JSONValue.parse(text)
        } catch {
            throw .invalid(reason: "the schema is no JSON: \(error)")
        }
        switch schema {
        case .object, .bool:
            return OutputForm(.schema(schema, keepsKeyOrder: keepsKeyOrder), field: "form")
        case .null, .int, .bigInt, .double, .string, .array:
            throw .invalid(reason: "a JSON Schema is an object, not \(schema.kind)", path: "#")
        }
    }

    /// A JSON object, whatever is in it.
    public static let jsonObject = OutputForm(.anyObject, field: "form")

    /// A text that matches a regular expression (RE2's syntax) as a whole.
    public static func regex(_ pattern: String) -> OutputForm {
        OutputForm(.regex(pattern), field: "form")
    }

    /// A text of a GBNF grammar, llama.cpp's: what its rule `root` stands for.
    public static func grammar(_ text: String) -> OutputForm {
        OutputForm(.gbnf(text), field: "form")
    }

    /// One of these texts.
    public static func choice(_ options: [String]) -> OutputForm {
        OutputForm(.choice(options), field: "form")
    }
}
