import AutoGLMJSON
import AutoGLMJinja

/// How a template wants to be told of calls and results, found by showing it one of each.
///
/// Templates differ in what they read and none says it: some concatenate arguments as a text, some
/// print them as JSON, some lose a call whose turn has an empty content. A wrong guess loses the
/// call from the prompt, or fails.
struct TemplateStyle: Sendable, Equatable {
    enum Calls: Sendable, Equatable, CaseIterable {
        /// `arguments` as an object, and an empty content: what most templates want.
        case object
        case objectWithoutContent
        case text
        case textWithoutContent
        /// The template shows no calls: they go in the family's own spelling.
        case spelled
    }

    var calls: Calls
    /// Messages of the role `tool` reach the prompt.
    var showsResults: Bool
    /// The variable `tools` reaches the prompt.
    var showsTools: Bool

    init(_ template: ChatTemplate, variables: [String: JSONValue]) {
        let probe = Probe(template: template, variables: variables)
        let candidates = Calls.allCases.filter { $0 != .spelled }
        // Some print the name alone.
        calls = candidates.first { probe.showsCall($0, with: [Probe.name, Probe.value]) }
            ?? candidates.first { probe.showsCall($0, with: [Probe.name]) } ?? .spelled
        let history = calls == .spelled ? Calls.object : calls
        showsResults = probe.rendered(history)?.contains(Probe.result) ?? true
        showsTools = probe.rendered(nil)?.contains(Probe.name) ?? true
    }

    /// A message in this style; a text that is no JSON object stays a text.
    func arrange(_ message: JSONValue) -> JSONValue {
        guard let list = message["tool_calls"]?.arrayValue, calls != .spelled else {
            return message
        }
        let asText = calls == .text || calls == .textWithoutContent
        let arranged = list.map { call -> JSONValue in
            let history = HistoryCall(call)
            let arguments = asText ? JSONValue.string(history.text) : history.value
            guard let function = call["function"] else { return call }
            return call.setting("function", function.setting("arguments", arguments))
        }
        var message = message.setting("tool_calls", .array(arranged))
        if calls == .objectWithoutContent || calls == .textWithoutContent, message.content.isEmpty {
            message = message.setting("content", .null)
        }
        return message
    }

    /// Renders a conversation of unmistakable words.
    private struct Probe {
        static let name = "probe_tool"
        static let result = "probe-result-9"
        static let question = "probe-question-3"
        static let value = "probe-value-7"

        let template: ChatTemplate
        let variables: [String: JSONValue]

        /// - Parameter calls: nil renders without a call and its result.
        func rendered(_ calls: Calls?) -> String? {
            var messages: [JSONValue] = [["role": "user", "content": .string(Self.question)]]
            if let calls { messages += history(calls) }
            var all = variables
            all["messages"] = .array(messages)
            all["tools"] = [Self.tool]
            return try? template.render(all, now: TemplateDate(year: 2024, month: 7, day: 26)).text
        }

        private static let tool: JSONValue = [
            "type": "function",
            "function": [
                "name": .string(name), "description": "d",
                "parameters": ["type": "object", "properties": ["probe_key": ["type": "string"]]],
            ],
        ]

        private func history(_ calls: Calls) -> [JSONValue] {
            let id: JSONValue = "a1b2c3d4e"
            let isText = calls == .text || calls == .textWithoutContent
            let isNull = calls == .objectWithoutContent || calls == .textWithoutContent
            let arguments: JSONValue = ["probe_key": .string(Self.value)]
            let call: JSONValue = [
                "id": id, "type": "function",
                "function": [
                    "name": .string(Self.name),
                    "arguments": isText ? .string(arguments.serialized()) : arguments,
                ],
            ]
            return [
                ["role": "assistant", "content": isNull ? nil : "", "tool_calls": [call]],
                [
                    "role": "tool", "content": .string(Self.result), "tool_call_id": id,
                    "name": .string(Self.name),
                ],
                ["role": "assistant", "content": "a"],
                ["role": "user", "content": .string(Self.question)],
            ]
        }

        /// Whether the call is there with these words, as JSON or markup and not as Python prints
        /// it or as a string within a string. The tools' own description does not count.
        func showsCall(_ calls: Calls, with words: [String]) -> Bool {
            guard let text = rendered(calls) else { return false }
            let parts = text.split(separator: Self.question, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return false }
            let botched = ["{'probe_key'", "\\\"probe_key", ">None<", "\nNone"]
            return words.allSatisfy { parts[1].contains($0) }
                && !botched.contains { parts[1].contains($0) }
        }
    }
}
