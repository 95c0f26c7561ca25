package import AutoGLMDecoding

/// Why a conversation cannot be answered by this model.
package enum ChatError: Error, Equatable, CustomStringConvertible {
    case missingTokenizer(model: String)
    case missingTemplate(model: String)
    /// A built-in tool of another family.
    case unknownTool(type: String, index: Int, known: [String])
    /// Calls of this family's format have no fixed beginning.
    case unforceable(family: String)
    /// Arguments of this family's calls cannot be held to a schema.
    case unenforceable(family: String, tool: String)
    /// A form that a request asks for, in the field named, is refused.
    case form(GrammarError, field: String)

    package var description: String {
        switch self {
        case .missingTokenizer(let model):
            "\(model) has no tokenizer, so it takes token ids only. Put tokenizer.json or "
                + "tokenizer.model beside its weights."
        case .missingTemplate(let model):
            "\(model) has no chat template, so it cannot take messages. Use /v1/completions, or "
                + "give a template with --chat-template."
        case .unknownTool(let type, _, let known):
            "This model has no built-in tool of the type \(type); it has "
                + (known.isEmpty ? "functions only" : "function, " + known.joined(separator: ", "))
                + "."
        case .unforceable(let family):
            "A call cannot be forced: models of the family \(family) have no call format known "
                + "here. Use auto or none."
        case .unenforceable(let family, let tool):
            "The calls of \(tool) cannot be held to its schema: how models of the family "
                + "\(family) write arguments is not known here. Leave out 'strict' and forms."
        case .form(let error, let field):
            "'\(field)': \(error)."
        }
    }
}
