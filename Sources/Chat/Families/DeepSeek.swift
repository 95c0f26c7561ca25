import AutoGLMJSON

/// DeepSeek V3 and R1: `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}<｜tool▁call▁end｜>`; the older ones
/// write `function<｜tool▁sep｜>name` and fenced JSON.
enum DeepSeek: Family {
    static let name = "deepseek"
    static let turnEnds = ["<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"]
    private static let separator = "<｜tool▁sep｜>"

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        evidence.mentions("<｜tool▁call▁begin｜>")
    }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(
            .whole(Body.self), open: "<｜tool▁call▁begin｜>", close: "<｜tool▁call▁end｜>")
        grammar.dropped = [
            "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁output▁begin｜>",
            "<｜tool▁output▁end｜>",
        ].map { Array($0.utf8) }
        grammar.inner = [Array(separator.utf8)]
        grammar.trimsContent = false
        return grammar
    }()

    static func callPrefix(_ tool: String, _ evidence: FamilyEvidence) -> String? {
        let begin = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
        return evidence.mentions("```json")
            ? "\(begin)function\(separator)\(tool)\n```json\n" : "\(begin)\(tool)\(separator)"
    }

    /// In the words of DeepSeek-V3.1's model card: the templates of V3 and V3.1 print no tools.
    static func place(_ tools: [JSONValue], in messages: [JSONValue]) -> [JSONValue] {
        let list = tools.map { tool -> String in
            let function = tool["function"] ?? tool
            let parameters = function["parameters"] ?? [:]
            return "### \(function["name"]?.stringValue ?? "")\n"
                + "Description: \(function["description"]?.stringValue ?? "")\n\n"
                + "Parameters: \(parameters.serialized(.readable))\n"
        }
        return messages.addingToSystem(
            """
            ## Tools
            You have access to the following tools:

            \(list.joined(separator: "\n"))
            IMPORTANT: ALWAYS adhere to this exact format for tool use:
            <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>tool_call_name<｜tool▁sep｜>\
            tool_call_arguments<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>

            Where:

            - `tool_call_name` must be an exact match to one of the available tools
            - `tool_call_arguments` must be valid JSON that strictly follows the tool's \
            Parameters Schema
            - For multiple tool calls, chain them directly without separators or spaces
            """)
    }

    enum Body: CallBody {
        static let quotesMarks = true

        /// A malformed call is dropped: it is noise to a reader and no program could run it.
        static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
            guard let middle = body.firstRange(of: Array(separator.utf8)) else { return [] }
            var name = String(decoding: body[..<middle.lowerBound], as: UTF8.self).trimmedSpace
            var json = body[middle.upperBound...]
            if name == "function" {
                let (opening, fence) = (Array("```json".utf8), Array("```".utf8))
                guard let open = json.firstRange(of: opening) else { return [] }
                name = String(decoding: json[..<open.lowerBound], as: UTF8.self).trimmedSpace
                let close = json.indices.last { json[$0...].starts(with: fence) } ?? json.startIndex
                // The fence is open: perhaps its end is yet to come.
                guard close >= open.upperBound else { return nil }
                json = json[open.upperBound..<close]
            }
            let text = String(decoding: json, as: UTF8.self).trimmedSpace
            guard !name.isEmpty else { return [] }
            do {
                guard case .object = try JSONValue.parse(text) else { return [] }
                return [ParsedCall(name: name, arguments: text)]
            } catch {
                return error.reason == .unexpectedEnd ? nil : []
            }
        }
    }
}
