import AutoGLMJSON

/// OLMo 3: `<function_calls>name(k=v)</function_calls>`, one call a line, in Python.
enum OLMo: Family {
    static let name = "olmo-3"

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        evidence.mentions("<function_calls>")
    }

    static let grammar = TurnGrammar(
        .whole(Calls.self), open: "<function_calls>", close: "</function_calls>")

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("<function_calls>", "(", .unknown)
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        let lines = calls.map(HistoryCall.init).map { call -> String in
            let words = call.value.members.map { "\($0.key)=\($0.value.serialized(.readable))" }
            return "\(call.name)(\(words.joined(separator: ", ")))"
        }
        let block = "<function_calls>\(lines.joined(separator: "\n"))</function_calls>"
        return [message.replacingCalls(with: [block])]
    }

    enum Calls: CallBody {
        static let quotesMarks = true

        static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
            var reader = PythonCallReader(body)
            var calls: [ParsedCall] = []
            while !reader.isAtEnd {
                guard let call = reader.readCall() else { return nil }
                calls.append(call)
            }
            return calls
        }
    }
}
