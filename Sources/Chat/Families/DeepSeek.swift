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

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        let begin = "<｜tool▁call▁begin｜>"
        let frame = evidence.mentions("```json")
            ? CallFrame("\(begin)function\(separator)", "\n```json\n")
                .close("\n```<｜tool▁call▁end｜>").between("\n")
            : CallFrame(begin, separator).close("<｜tool▁call▁end｜>").between("")
        return frame.lead("<｜tool▁calls▁begin｜>").tail("<｜tool▁calls▁end｜>")
    }

    /// The templates print no tools; the makers' model cards put them behind the system's text.
    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue] {
        var text = "## Tools\nYou have access to the following tools:\n\n"
        for function in tools.map({ $0["function"] ?? $0 }) {
            let parameters = (function["parameters"] ?? [:]).serialized(.readable)
            text += "### \(function["name"]?.stringValue ?? "")\n"
                + "Description: \(function["description"]?.stringValue ?? "")\n\n"
                + "Parameters: \(parameters)\n\n"
        }
        let isFenced = evidence.mentions("```json")
        let call = isFenced
            ? "function\(separator)tool_call_name\n```json\ntool_call_arguments\n```"
            : "tool_call_name\(separator)tool_call_arguments"
        text += """
            IMPORTANT: ALWAYS adhere to this exact format for tool use:
            <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>\(call)<｜tool▁call▁end｜>\
            {additional_tool_calls}<｜tool▁calls▁end｜>

            Where:
            - `tool_call_name` must be an exact match to one of the available tools
            - `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters \
            Schema
            - For multiple tool calls, chain them \(isFenced
                ? "with a newline as separator" : "directly without separators or spaces")
            """
        return messages.addingToSystem(text)
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
            if text == "null" { return [ParsedCall(name: name, arguments: "{}")] }
            do {
                guard case .object = try JSONValue.parse(text) else { return [] }
                return [ParsedCall(name: name, arguments: text)]
            } catch {
                return error.reason == .unexpectedEnd ? nil : []
            }
        }
    }
}
