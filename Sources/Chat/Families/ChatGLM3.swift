import AutoGLMJSON

/// ChatGLM3: a line with the tool's name, then a fenced `tool_call(k=v)` in Python. What goes to
/// its code interpreter is the code itself.
///
/// The published template has no place for the name of a call; the one below is the format of the
/// makers' own `build_chat_input`.
/// - SeeAlso: THUDM/chatglm3-6b, tokenization_chatglm.py; ChatGLM3, PROMPT.md.
enum ChatGLM3: Family {
    static let name = "chatglm3"
    static let callEnd: String? = "<|observation|>"

    static func recognises(_ evidence: FamilyEvidence) -> Bool {
        GLM4.recognises(evidence) && !evidence.addedTokens.isDisjoint(with: ["sop", "eop"])
    }

    static let grammar: TurnGrammar = {
        var grammar = TurnGrammar(.line(FencedLine.self))
        grammar.segment = Array("<|assistant|>".utf8)
        grammar.turnStart = Array("\n ".utf8)
        grammar.trimsContent = false
        return grammar
    }()

    static let template: String? = """
        [gMASK]sop{% for m in messages %}<|{{ m.role }}|>{{ m.metadata }}
         {{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}
        """

    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? {
        CallFrame("", "\n", .unknown)
    }

    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue] {
        let functions = tools.map { $0["function"] ?? $0 }
        let text = "Answer the following questions as best as you can. You have access to the "
            + "following tools:\n"
            + JSONValue.array(functions).serialized(JSONWriteOptions(ensureASCII: false, indent: 4))
        return messages.addingToSystem(text)
    }

    static func spell(_ message: JSONValue) -> [JSONValue] {
        GLM4.spell(message) { call in
            let code = call.name == "interpreter" ? call.value["code"]?.stringValue : nil
            let words = call.value.members.map { "\($0.key)=\(PythonLiteral.text($0.value))" }
            return "```python\n\(code ?? "tool_call(\(words.joined(separator: ", ")))")\n```"
        }
    }

    enum FencedLine: LineArguments {
        static func begins(_ start: [UInt8], tool: String) -> Bool? {
            for mark in ["```", "tool_call("].map({ Array($0.utf8) }) {
                if start.starts(with: mark) { return true }
                if mark.starts(with: start) { return nil }
            }
            return false
        }

        static func streams(tool: String) -> Bool { false }

        /// The arguments of `tool_call(k=v)`; any other text is an argument `code`, which is what
        /// the interpreter takes.
        static func json(_ text: [UInt8], tool: String) -> String {
            var code = text.drop(while: \.isJSONSpace)
            if code.starts(with: "```".utf8) {
                code = code.drop { $0 != 0x0A }
                let fence = Array("```".utf8)
                if let end = code.indices.last(where: { code[$0...].starts(with: fence) }) {
                    code = code[..<end]
                }
            }
            let trimmed = String(decoding: code, as: UTF8.self).trimmedSpace
            var reader = PythonCallReader(Array(trimmed.utf8))
            if let call = reader.readCall(), call.name == "tool_call", reader.isAtEnd {
                return call.arguments
            }
            // Words in place of a call that had to be made are no code.
            if begins(Array(text.drop(while: \.isJSONSpace)), tool: tool) != true { return trimmed }
            return JSONValue(members: [("code", .string(trimmed))]).serialized(.readable)
        }
    }
}

/// JSON as Python writes it.
enum PythonLiteral {
    static func text(_ value: JSONValue) -> String {
        switch value {
        case .null: return "None"
        case .bool(let flag): return flag ? "True" : "False"
        case .int, .bigInt, .double: return value.serialized()
        case .string(let text):
            let escaped = text.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
                .replacing("\n", with: "\\n").replacing("\r", with: "\\r")
            return "'\(escaped)'"
        case .array(let items): return "[" + items.map(Self.text).joined(separator: ", ") + "]"
        case .object(let members):
            let pairs = members.map { "\(Self.text(.string($0.key))): \(Self.text($0.value))" }
            return "{" + pairs.joined(separator: ", ") + "}"
        }
    }
}
