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
    /// A tool may lack description and parameters, as OpenAI's API has it.
    var takesBareTools: Bool
    /// Without tools the variable must be an empty list.
    var needsToolList: Bool
    /// A turn may hold several calls.
    var showsSeveralCalls: Bool

    init(_ template: ChatTemplate, variables: [String: JSONValue]) {
        var probe = Probe(template: template, variables: variables)
        let told = probe.rendered(nil)
        takesBareTools = told == nil || probe.rendered(nil, tools: [Probe.bareTool]) != nil
        let untold = probe.rendered(nil, tools: nil)
        needsToolList = untold == nil && probe.rendered(nil, tools: []) != nil
        // Tools that make it fail are told in the family's words.
        showsTools = told?.contains(Probe.name) ?? (untold == nil)
        if told == nil, untold != nil { probe.tools = nil }
        let candidates = Calls.allCases.filter { $0 != .spelled }
        // Some print the name alone.
        calls = candidates.first { probe.showsCall($0, with: [Probe.name, Probe.value]) }
            ?? candidates.first { probe.showsCall($0, with: [Probe.name]) } ?? .spelled
        let history = calls == .spelled ? Calls.object : calls
        // A template may refuse the role; one that refuses everything says nothing of it.
        showsResults = probe.rendered(history)?.contains(Probe.result)
            ?? (told == nil && untold == nil)
        showsSeveralCalls = !probe.showsCall(history, with: [Probe.value])
            || probe.showsCall(history, with: [Probe.value, Probe.secondValue], count: 2)
    }

    /// The conversation with one call a turn, each before its own result, where a template takes
    /// no more.
    func separated(_ messages: [JSONValue]) -> [JSONValue] {
        if showsSeveralCalls || calls == .spelled { return messages }
        var result: [JSONValue] = []
        var rest = messages[...]
        while let message = rest.popFirst() {
            guard let calls = message["tool_calls"]?.arrayValue, calls.count > 1 else {
                result.append(message)
                continue
            }
            var results = Array(rest.prefix { $0["role"]?.stringValue == "tool" })
            rest = rest.dropFirst(results.count)
            for (index, call) in calls.enumerated() {
                var turn = message.setting("tool_calls", [call])
                // What the turn said and thought stands before its first call.
                if index > 0 {
                    turn = turn.setting("content", .null).setting("reasoning_content", nil)
                }
                result.append(turn)
                if let own = results.firstIndex(where: { $0["tool_call_id"] == call["id"] }) {
                    result.append(results.remove(at: own))
                }
            }
            result += results
        }
        return result
    }

    /// The tools as the template's variable.
    func variable(_ tools: [JSONValue]) -> JSONValue? {
        if tools.isEmpty { return needsToolList ? [] : nil }
        if takesBareTools { return .array(tools) }
        return .array(
            tools.map { tool in
                guard var function = tool["function"] else { return tool }
                if function["description"]?.stringValue == nil {
                    function = function.setting("description", "")
                }
                if function["parameters"]?.objectValue == nil {
                    let none: JSONValue = ["type": "object", "properties": [:]]
                    function = function.setting("parameters", none)
                }
                return tool.setting("function", function)
            })
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
        static let secondValue = "probe-value-8"

        let template: ChatTemplate
        let variables: [String: JSONValue]
        /// What histories are rendered with.
        var tools: [JSONValue]? = [tool]

        /// - Parameter calls: nil renders without a call and its result.
        func rendered(_ calls: Calls?, count: Int = 1) -> String? {
            rendered(calls, count: count, tools: tools)
        }

        func rendered(_ calls: Calls?, count: Int = 1, tools: [JSONValue]?) -> String? {
            var messages: [JSONValue] = [["role": "user", "content": .string(Self.question)]]
            if let calls { messages += history(calls, count) }
            var all = variables
            all["messages"] = .array(messages)
            if let tools { all["tools"] = .array(tools) }
            return try? template.render(all, now: TemplateDate(year: 2024, month: 7, day: 26)).text
        }

        static let bareTool: JSONValue = [
            "type": "function", "function": ["name": .string(name)],
        ]

        private static let tool: JSONValue = [
            "type": "function",
            "function": [
                "name": .string(name), "description": "d",
                "parameters": ["type": "object", "properties": ["probe_key": ["type": "string"]]],
            ],
        ]

        private func history(_ calls: Calls, _ count: Int) -> [JSONValue] {
            let isText = calls == .text || calls == .textWithoutContent
            let isNull = calls == .objectWithoutContent || calls == .textWithoutContent
            var made: [JSONValue] = []
            var results: [JSONValue] = []
            for (id, value) in [("a1b2c3d4e", Self.value), ("f5g6h7i8j", Self.secondValue)]
                .prefix(count)
            {
                let arguments: JSONValue = ["probe_key": .string(value)]
                made.append([
                    "id": .string(id), "type": "function",
                    "function": [
                        "name": .string(Self.name),
                        "arguments": isText ? .string(arguments.serialized()) : arguments,
                    ],
                ])
                results.append([
                    "role": "tool", "content": .string(Self.result), "tool_call_id": .string(id),
                    "name": .string(Self.name),
                ])
            }
            let turn: JSONValue = [
                "role": "assistant", "content": isNull ? nil : "", "tool_calls": .array(made),
            ]
            return [turn] + results + [
                ["role": "assistant", "content": "a"],
                ["role": "user", "content": .string(Self.question)],
            ]
        }

        /// Whether the call is there with these words, as JSON or markup and not as Python prints
        /// it or as a string within a string. The tools' own description does not count.
        func showsCall(_ calls: Calls, with words: [String], count: Int = 1) -> Bool {
            guard let text = rendered(calls, count: count) else { return false }
            let parts = text.split(separator: Self.question, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return false }
            let botched = ["{'probe_key'", "\\\"probe_key", ">None<", "\nNone"]
            return words.allSatisfy { parts[1].contains($0) }
                && !botched.contains { parts[1].contains($0) }
        }
    }
}
