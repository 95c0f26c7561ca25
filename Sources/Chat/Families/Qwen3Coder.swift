import AutoGLMDecoding
import AutoGLMJSON
import OrderedCollections

/// Qwen3-Coder, Qwen3.5: `<tool_call><function=name><parameter=key>value</parameter>…`.
enum Qwen3Coder: Family {
    static let name = "qwen3-coder"

    static func recognises(_ evidence: FamilyEvidence) -> Bool { evidence.mentions("<function=") }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(
            .whole(Parameters.self), open: "<tool_call>", close: "</tool_call>")
        grammar.callEndsReasoning = true
        grammar.value = (Parameters.opening, Parameters.closing)
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("<tool_call>\n<function=", ">\n", .members(MemberStyle(
            beforeKey: "<parameter=", afterKey: ">\n", afterValue: "\n</parameter>\n",
            marks: ["</parameter>", "<parameter="])))
            .close("</function>\n</tool_call>").between("\n")
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        let texts = calls.map(HistoryCall.init).map { call -> String in
            var text = "<tool_call>\n<function=\(call.name)>\n"
            for (key, value) in call.value.members {
                let shown = value.stringValue ?? value.serialized(.readable)
                text += "<parameter=\(key)>\n\(shown)\n</parameter>\n"
            }
            return text + "</function>\n</tool_call>"
        }
        return [message.replacingCalls(with: texts)]
    }

    enum Parameters: CallBody {
        static let opening = Array("<parameter=".utf8)
        static let closing = Array("</parameter>".utf8)
        static let quotesMarks = false

        static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
            guard let head = body.firstRange(of: Array("<function=".utf8)),
                let headEnd = body[head.upperBound...].firstIndex(of: UInt8(ascii: ">"))
            else { return nil }
            let name = String(decoding: body[head.upperBound..<headEnd], as: UTF8.self).trimmedSpace
            if name.isEmpty { return nil }
            let ending = Array("</function>".utf8)
            let rest = body[(headEnd + 1)...]
            let end = rest.indices.last { rest[$0...].starts(with: ending) } ?? rest.endIndex
            var arguments: OrderedDictionary<String, JSONValue> = [:]
            var position = headEnd + 1
            while let start = body[position..<end].firstRange(of: opening),
                let startEnd = body[start.upperBound..<end].firstIndex(of: UInt8(ascii: ">"))
            {
                let key = String(decoding: body[start.upperBound..<startEnd], as: UTF8.self)
                // A forgotten closing tag ends at the next parameter.
                let following = body[startEnd..<end].firstRange(of: opening)?.lowerBound ?? end
                let close = body[startEnd..<end].firstRange(of: closing)?.lowerBound
                let stop = min(close ?? following, following)
                var value = body[(startEnd + 1)..<max(stop, startEnd + 1)]
                // One line break on each side is layout.
                if value.first == 0x0A { value.removeFirst() }
                if value.last == 0x0A { value.removeLast() }
                arguments[key.trimmedSpace] = tools.value(
                    String(decoding: value, as: UTF8.self), of: key.trimmedSpace, in: name)
                position = stop
            }
            let json = JSONValue.object(arguments).serialized(.readable)
            return [ParsedCall(name: name, arguments: json)]
        }
    }
}
