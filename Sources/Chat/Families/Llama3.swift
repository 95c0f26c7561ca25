import AutoGLMJSON

/// Llama 3.1 to 3.3: the answer is `{"name": …, "parameters": …}`, perhaps behind `<|python_tag|>`.
enum Llama3: Family {
    static let name = "llama-3"

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        evidence.mentions("<|python_tag|>")
            || evidence.mentions("<|start_header_id|>") && evidence.mentions("\"parameters\"")
    }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(.bareJSON, open: "<|python_tag|>")
        grammar.trimsContent = false
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("{\"name\": \"", "\", \"parameters\": ").close("}")
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        let texts = calls.map(HistoryCall.init).map { call -> String in
            let body: JSONValue = ["name": .string(call.name), "parameters": call.value]
            return body.serialized(.readable)
        }
        return [message.replacingCalls(with: texts)]
    }
}
