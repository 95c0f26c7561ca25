import AutoGLMJSON

/// What one family of models writes and reads: all that is known of its text stands in its file.
///
/// A family is found by the evidence a model brings; whatever a family leaves out is what most
/// templates and models do.
protocol Family: SendableMetatype {
    static var name: String { get }

    static func recognises(_ evidence: FamilyEvidence) -> Bool

    /// Special tokens, by their text, that end a turn beside those every family has.
    static var turnEnds: [String] { get }

    /// The end token that says that the turn was a call.
    static var callEnd: String? { get }

    static var thinking: ReasoningTags { get }

    /// How answers are read.
    static var grammar: TurnGrammar { get }

    /// How calls are written; nil where they have no fixed beginning.
    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame?

    /// Tools that are known by their type alone, with the argument that holds what the model
    /// writes to them.
    static var builtInTools: [String: String] { get }

    /// A message in the family's own spelling, for templates that know no `tool_calls`.
    static func spell(_ message: JSONValue) -> [JSONValue]

    /// Puts the tools into the conversation, for templates that do not print `tools`.
    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue]

    /// The id of a call as the template accepts it.
    static func callID(_ id: String) -> String

    /// A template for models that bring none, or one that cannot show calls.
    static var template: String? { get }
}

/// What a model brings that tells of its family.
struct FamilyEvidence: Sendable {
    /// All templates, joined.
    let template: String
    /// Tokens beside the vocabulary proper, by their text, special or not.
    let addedTokens: Set<String>

    init(templates: some Sequence<String>, addedTokens: some Sequence<String>) {
        template = templates.joined(separator: "\n")
        self.addedTokens = Set(addedTokens)
    }

    func mentions(_ text: String) -> Bool {
        Array(template.utf8).firstRange(of: Array(text.utf8)) != nil
    }
}

/// All families: one line each, the more telling evidence first.
let families: [any Family.Type] = [
    GLM45.self,
    Qwen3Coder.self,
    Mistral.self,
    DeepSeekDSML.self,
    DeepSeek.self,
    OLMo.self,
    Hermes.self,
    Llama3.self,
    ChatGLM3.self,
    GLM40414.self,
    GLM4.self,
    Plain.self,
]

extension Family {
    static var turnEnds: [String] { [] }
    static var callEnd: String? { nil }
    static var thinking: ReasoningTags { ReasoningTags() }
    static func callFrame(_ evidence: FamilyEvidence) -> CallFrame? { nil }
    static var builtInTools: [String: String] { [:] }
    static func callID(_ id: String) -> String { id }
    static var template: String? { nil }

    /// The call as text behind the content; a result as it is.
    static func spell(_ message: JSONValue) -> [JSONValue] {
        guard let calls = message["tool_calls"]?.arrayValue else { return [message] }
        let text = calls.map(HistoryCall.init).map { call -> String in
            let body: JSONValue = ["name": .string(call.name), "arguments": call.value]
            return body.serialized(.readable)
        }
        return [message.replacingCalls(with: text)]
    }

    static func place(
        _ tools: [JSONValue], in messages: [JSONValue], _ evidence: FamilyEvidence
    ) -> [JSONValue] {
        messages
    }

    /// Every token, by its text, with which a turn of this family ends.
    static var allTurnEnds: [String] {
        let roles = [
            "<|endoftext|>", "<|user|>", "<|observation|>", "<|system|>", "<|assistant|>",
            "<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",
            "<|start_header_id|>",
        ]
        // Where a role begins another part of the same answer, it does not end it.
        return (roles + turnEnds).filter { Array($0.utf8) != grammar.segment }
    }
}

/// A call of an earlier turn.
struct HistoryCall {
    let name: String
    /// As the client sent it: a text that should be JSON, or the value. None at all is an object
    /// without members, however the client says so.
    let arguments: JSONValue

    init(_ call: JSONValue) {
        name = call["function"]?["name"]?.stringValue ?? ""
        let sent = call["function"]?["arguments"] ?? [:]
        let isNothing = ["", "null"].contains(sent.stringValue?.trimmedSpace)
        arguments = sent.isNull || isNothing ? [:] : sent
    }

    var text: String { arguments.stringValue ?? arguments.serialized(.readable) }

    /// The arguments as a value; a text that is no JSON stays one.
    var value: JSONValue {
        guard let text = arguments.stringValue else { return arguments }
        guard let value = try? JSONValue.parse(text), value.objectValue != nil else {
            return arguments
        }
        return value
    }
}

extension JSONWriteOptions {
    /// As Python's `json.dumps(…, ensure_ascii=False)`: what prompts show.
    static let readable = JSONWriteOptions(ensureASCII: false)
}

extension [JSONValue] {
    /// The conversation with `text` at the end of its system message, or as one of its own.
    func addingToSystem(_ text: String) -> [JSONValue] {
        guard let first, first["role"]?.stringValue == "system" else {
            return [["role": "system", "content": .string(text)]] + self
        }
        let parts = (first.content.isEmpty ? [] : [first.content]) + [text]
        let joined = JSONValue.string(parts.joined(separator: "\n\n"))
        return [first.setting("content", joined)] + dropFirst()
    }
}

extension JSONValue {
    var content: String { self["content"]?.stringValue ?? "" }

    /// The message with its calls as text behind its content.
    func replacingCalls(with texts: [String]) -> JSONValue {
        let parts = (content.isEmpty ? [] : [content]) + texts
        return setting("tool_calls", nil)
            .setting("content", .string(parts.joined(separator: "\n")))
    }
}
