import AutoGLMJSON

/// GLM-4-9B-Chat and Mini-GLM: a call is a line with the tool's name, then its arguments as JSON;
/// `<|observation|>` ends it. In its AllTools form three tools are built in, known by their type.
///
/// Its template knows neither `tools` nor `tool_calls`: tools lie on a system message, a past call
/// is a message with `metadata` (the name), a result has the role `observation`.
/// - SeeAlso: THUDM/GLM-4, composite_demo/src/conversation.py.
enum GLM4: Family {
    static let name = "glm-4"
    static let callEnd: String? = "<|observation|>"

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        evidence.addedTokens.contains("<|observation|>") || evidence.mentions("<|observation|>")
    }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(.line(JSONLine.self))
        grammar.segment = Array("<|assistant|>".utf8)
        // The model itself writes the line break behind its role.
        grammar.turnStart = [0x0A]
        grammar.trimsContent = false
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("", "\n").between("<|assistant|>").tail("<|observation|>")
    }

    static let builtInTools = ["python": "code", "simple_browser": "call", "cogview": "prompt"]

    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue] {
        if messages.contains(where: { $0["tools"] != nil }) { return messages }
        let holder: JSONValue = ["role": "system", "tools": .array(tools)]
        return [holder] + messages
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        spell(message) { call in
            if let argument = builtInTools[call.name], let raw = call.value[argument]?.stringValue {
                return raw
            }
            return call.text
        }
    }

    /// One message for the content, one for each call.
    static func spell(
        _ message: JSONValue, arguments: (HistoryCall) -> String
    ) -> [JSONValue] {
        switch message["role"]?.stringValue {
        case "tool": return [["role": "observation", "content": .string(message.content)]]
        case "assistant": break
        default: return [message]
        }
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        var spelled: [JSONValue] = []
        if !message.content.isEmpty { spelled.append(message.setting("tool_calls", nil)) }
        for call in calls.map(HistoryCall.init) {
            spelled.append([
                "role": "assistant", "metadata": .string(call.name),
                "content": .string(arguments(call)),
            ])
        }
        return spelled
    }

    /// Arguments are a JSON object, handed on as it comes; a built-in tool takes what is written.
    enum JSONLine: LineArguments {
        static func begins(_ start: [UInt8], tool: String) -> Bool? {
            if builtInTools[tool] != nil { return true }
            guard start.first == UInt8(ascii: "{") else { return false }
            guard let next = start.dropFirst().first(where: { !$0.isJSONSpace }) else {
                return start.count < 64 ? nil : true
            }
            return next == UInt8(ascii: "\"") || next == UInt8(ascii: "}")
        }

        static func streams(tool: String) -> Bool { builtInTools[tool] == nil }

        static func json(_ text: [UInt8], tool: String) -> String {
            let raw = String(decoding: text, as: UTF8.self).trimmedSpace
            if (try? JSONValue.parse(raw))?.objectValue != nil { return raw }
            return JSONValue(members: [(builtInTools[tool] ?? "input", .string(raw))])
                .serialized(.readable)
        }
    }
}
