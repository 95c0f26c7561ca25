/// Models of no family known: everything but thinking is content, and there are no calls.
enum Plain: Family {
    static let name = "plain"

    static func recognises(_ evidence: FamilyEvidence) -> Bool { true }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar()
        grammar.trimsContent = false
        return grammar
    }()
}
