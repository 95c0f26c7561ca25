import AutoGLMDecoding
import AutoGLMJSON
import OrderedCollections

/// GLM-4.5, 4.6, 4.7: `<tool_call>name <arg_key>k</arg_key><arg_value>v</arg_value>…</tool_call>`,
/// strings as they are, other values as JSON.
enum GLM45: Family {
    static let name = "glm-4.5"
    static let callEnd: String? = "<|observation|>"

    static func recognises(_ evidence: FamilyEvidence) -> Bool { evidence.mentions("<arg_key>") }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(
            .whole(Arguments.self), open: "<tool_call>", close: "</tool_call>")
        grammar.inner = Arguments.tags
        grammar.value = (Arguments.tags[2], Arguments.tags[3])
        grammar.nextArgument = Arguments.tags[0]
        return grammar
    }()

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        // 4.7 writes the whole call on one line, the ones before it begin a new one.
        let isOneLine = evidence.mentions("{function-name}<arg_key>")
        let line = isOneLine ? "" : "\n"
        var style = MemberStyle(
            beforeKey: "<arg_key>", afterKey: "</arg_key>\n<arg_value>",
            afterValue: "</arg_value>\n",
            marks: ["</arg_value>", "<arg_value>", "<arg_key>"])
        // Models of either kind were seen to write either.
        style.linesAreOptional = true
        return CallFrame("<tool_call>", line, .members(style)).lead(line)
            .close("</tool_call>").between(line)
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        return [message.replacingCalls(with: calls.map(HistoryCall.init).map(text))]
    }

    private static func text(_ call: HistoryCall) -> String {
        var text = "<tool_call>\(call.name)\n"
        for (key, value) in call.value.members {
            let shown = value.stringValue ?? value.serialized(.readable)
            text += "<arg_key>\(key)</arg_key>\n<arg_value>\(shown)</arg_value>\n"
        }
        return text + "</tool_call>"
    }

    /// `name`, then pairs of keys and values.
    ///
    /// Models drop tags now and then; what is unambiguous is read as meant: a missing opening or
    /// closing tag, and keys and values written in two groups, which pair by position.
    struct Arguments: CallBody {
        static let tags = ["<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
            .map { Array($0.utf8) }
        static let quotesMarks = false

        private enum Place { case name, key, value, between }
        private var name = ""
        private var keys: [String] = []
        private var values: [String] = []
        private var place = Place.name
        private var isAfterKey = false

        static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
            var reader = Arguments()
            let found = positions(body)
            var start = 0
            for (index, tag) in found.enumerated() {
                let next = index + 1 < found.count ? found[index + 1].kind : nil
                if reader.isLiteral(tag.kind, next: next) { continue }
                reader.take(body[start..<tag.position], endedBy: tag.kind)
                start = tag.position + tags[tag.kind].count
            }
            reader.take(body[start...], endedBy: nil)
            let name = reader.name
            guard !name.isEmpty, reader.keys.count == reader.values.count else { return nil }
            var arguments: OrderedDictionary<String, JSONValue> = [:]
            for (key, value) in zip(reader.keys, reader.values) {
                arguments[key] = tools.value(value, of: key, in: name)
            }
            let json = JSONValue.object(arguments).serialized(.readable)
            return [ParsedCall(name: name, arguments: json)]
        }

        private static func positions(_ body: [UInt8]) -> [(position: Int, kind: Int)] {
            var result: [(position: Int, kind: Int)] = []
            for position in body.indices where body[position] == UInt8(ascii: "<") {
                if let kind = tags.firstIndex(where: { body[position...].starts(with: $0) }) {
                    result.append((position, kind))
                }
            }
            return result
        }

        /// Inside a value a tag is text, unless it can only be the start of the next argument.
        private func isLiteral(_ kind: Int, next: Int?) -> Bool {
            guard place == .value else { return false }
            switch kind {
            case 0: return next == 3
            case 3: return false
            default: return true
            }
        }

        private mutating func take(_ bytes: ArraySlice<UInt8>, endedBy kind: Int?) {
            let text = String(decoding: bytes, as: UTF8.self)
            switch place {
            case .name: takeName(text, endedBy: kind)
            case .key: keys.append(text.trimmedSpace)
            case .value: values.append(text)
            case .between:
                let trimmed = text.trimmedSpace
                if kind == 1, !trimmed.isEmpty {
                    keys.append(trimmed)
                } else if kind == 3, isAfterKey {
                    values.append(text)
                }
            }
            isAfterKey = kind == 1 || (place == .key && kind != 2)
            switch kind {
            case 0: place = .key
            case 2: place = .value
            default: place = .between
            }
        }

        /// `name` alone, or `name key` before a stray `</arg_key>`.
        private mutating func takeName(_ text: String, endedBy kind: Int?) {
            let words = text.split(whereSeparator: \.isWhitespace)
            name = words.first.map(String.init) ?? ""
            if kind == 1, words.count > 1 { keys.append(words.dropFirst().joined(separator: " ")) }
        }
    }
}
