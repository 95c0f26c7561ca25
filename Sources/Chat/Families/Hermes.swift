import AutoGLMJSON

/// Hermes 2 and 3, Qwen 2.5 and 3, SmolLM3:
/// `<tool_call>{"name": …, "arguments": …}</tool_call>`.
enum Hermes: Family {
    static let name = "hermes"

    static func recognises(_ evidence: FamilyEvidence) -> Bool { evidence.mentions("<tool_call>") }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(.json, open: "<tool_call>", close: "</tool_call>")
        grammar.callEndsReasoning = true
        return grammar
    }()

    static func callPrefix(_ tool: String, _ evidence: FamilyEvidence) -> String? {
        "<tool_call>\n{\"name\": \"\(tool)\", \"arguments\": "
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        let texts = calls.map(HistoryCall.init).map { call -> String in
            let body: JSONValue = ["name": .string(call.name), "arguments": call.value]
            return "<tool_call>\n\(body.serialized(.readable))\n</tool_call>"
        }
        return [message.replacingCalls(with: texts)]
    }
}
