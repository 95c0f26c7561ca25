import AutoGLMJSON

/// GLM-4-0414, 9B and 32B, and Z1: calls as GLM-4 writes them, tools as a variable of the template.
/// Z1 thinks between tags, which its template opens.
enum GLM40414: Family {
    static let name = "glm-4-0414"
    static let callEnd = GLM4.callEnd
    static let grammar = GLM4.grammar

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        // GLM-4's first template looks for the tools on a message.
        GLM4.recognises(evidence) && evidence.mentions("if tools")
    }

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        GLM4.callFrame(evidence)
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        GLM4.spell(message, arguments: \.text)
    }
}
