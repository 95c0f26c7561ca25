import AutoGLMJSON

/// Hermes 2 and 3, Qwen 2.5 and 3, SmolLM3:
/// `<tool_call>{"name": …, "arguments": …}</tool_call>`.
enum Hermes: Family {
    static let name = "hermes"

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        // Some templates of SmolLM3 show neither tools nor calls; its tokenizer knows of them.
        evidence.mentions("<tool_call>")
            || evidence.mentions("<|im_start|>")
                && (evidence.addedTokens.contains("<tool_call>") || evidence.mentions("SmolLM"))
    }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(.json, open: "<tool_call>", close: "</tool_call>")
        grammar.callEndsReasoning = true
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("<tool_call>\n{\"name\": \"", "\", \"arguments\": ")
            .close("}\n</tool_call>").between("\n")
    }

    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue] {
        let list = tools.map { $0.serialized(.readable) }.joined(separator: "\n")
        return messages.addingToSystem(
            """
            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>
            \(list)
            </tools>

            For each function call, return a json object with function name and arguments within \
            <tool_call></tool_call> XML tags:
            <tool_call>
            {"name": <function-name>, "arguments": <args-json-object>}
            </tool_call>
            """)
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
