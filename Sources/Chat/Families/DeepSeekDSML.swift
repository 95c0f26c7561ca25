import AutoGLMJSON
import OrderedCollections

/// DeepSeek V3.2: `<｜DSML｜invoke name="f">` in a block of calls, parameters between tags that say
/// whether they are strings or JSON. `｜DSML｜` is a token of its own.
enum DeepSeekDSML: Family {
    static let name = "deepseek-v3.2"
    static let turnEnds = DeepSeek.turnEnds
    private static let token = "｜DSML｜"

    static func recognises(_ evidence: FamilyEvidence) -> Bool { evidence.mentions(token) }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(
            .whole(Invocations.self), open: "<\(token)function_calls>",
            close: "</\(token)function_calls>")
        // The token by itself, so that the tags around it come through whole.
        grammar.inner = [Array(token.utf8)]
        grammar.value = (Invocations.parameter, Invocations.parameterEnd)
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("<\(token)invoke name=\"", "\">\n", .unknown)
            .lead("\n\n<\(token)function_calls>\n")
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        let texts = calls.map(HistoryCall.init).map { call -> String in
            let parameters = call.value.members.map { key, value -> String in
                let text = value.stringValue
                return "<\(token)parameter name=\"\(key)\" string=\"\(text != nil)\">"
                    + "\(text ?? value.serialized(.readable))</\(token)parameter>\n"
            }
            return "<\(token)invoke name=\"\(call.name)\">\n\(parameters.joined())"
                + "</\(token)invoke>\n"
        }
        let block = "<\(token)function_calls>\n\(texts.joined())</\(token)function_calls>"
        return [message.replacingCalls(with: [block])]
    }

    enum Invocations: CallBody {
        static let parameter = Array("<｜DSML｜parameter".utf8)
        static let parameterEnd = Array("</｜DSML｜parameter>".utf8)
        private static let invoke = Array("<｜DSML｜invoke".utf8)
        static let quotesMarks = false

        static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
            var calls: [ParsedCall] = []
            var rest = body[...]
            while let start = next(invoke, in: rest) {
                guard let head = attributes(rest[start.upperBound...]),
                    let name = head.values["name"]
                else { return nil }
                rest = rest[head.end...]
                var arguments: OrderedDictionary<String, JSONValue> = [:]
                while let open = next(parameter, in: rest),
                    open.lowerBound < next(invoke, in: rest)?.lowerBound ?? rest.endIndex
                {
                    guard let tag = attributes(rest[open.upperBound...]),
                        let key = tag.values["name"]
                    else { return nil }
                    let close = next(parameterEnd, in: rest[tag.end...])
                    let value = rest[tag.end..<(close?.lowerBound ?? rest.endIndex)]
                    let text = String(decoding: value, as: UTF8.self)
                    arguments[key] = tag.values["string"] == "true"
                        ? .string(text)
                        : (try? JSONValue.parse(text.trimmedSpace)) ?? .string(text)
                    rest = rest[(close?.upperBound ?? rest.endIndex)...]
                }
                let json = JSONValue.object(arguments).serialized(.readable)
                calls.append(ParsedCall(name: name, arguments: json))
            }
            return calls.isEmpty ? nil : calls
        }

        private static func next(_ mark: [UInt8], in text: ArraySlice<UInt8>) -> Range<Int>? {
            text.firstRange(of: mark)
        }

        /// ` name="…" string="…">`: what a tag says, and where it ends.
        private static func attributes(
            _ text: ArraySlice<UInt8>
        ) -> (values: [String: String], end: Int)? {
            guard let close = text.firstIndex(of: UInt8(ascii: ">")) else { return nil }
            let parts = String(decoding: text[..<close], as: UTF8.self).split(
                separator: "\"", omittingEmptySubsequences: false)
            var values: [String: String] = [:]
            for index in stride(from: 0, to: parts.count - 1, by: 2) {
                let key = String(parts[index]).trimmedSpace
                guard key.hasSuffix("=") else { return nil }
                values[String(key.dropLast())] = String(parts[index + 1])
            }
            return (values, close + 1)
        }
    }
}
