import AutoGLMJSON

/// Models of no family known. Where tools are offered they are told of them, and call them, in the
/// words that most families share; without tools everything but thinking is content.
enum Plain: Family {
    static let name = "plain"

    static func recognises(_ evidence: FamilyEvidence) -> Bool { true }

    static let grammar: TurnGrammar = {
        var grammar = Hermes.grammar
        grammar.callEndsReasoning = false
        grammar.needsTools = true
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        Hermes.callFrame(evidence)
    }

    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue] {
        Hermes.place(tools, in: messages, evidence)
    }

    static func spell(_ message: JSONValue) -> [JSONValue] { Hermes.spell(message) }
}
