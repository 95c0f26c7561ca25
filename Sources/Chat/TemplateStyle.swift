import AutoGLMJSON
import AutoGLMJinja

/// How a template wants to be told of calls and results, found by showing it some.
///
/// Templates differ in what they read and none says it: some concatenate arguments as a text, some
/// print them as JSON, some lose a call whose turn has an empty content, or one that has a content,
/// or every call but the first. A wrong guess loses the call from the prompt, or fails.
struct TemplateStyle: Sendable, Equatable {
    enum Calls: Sendable, Equatable, CaseIterable {
        /// `arguments` as an object, and an empty content: what most templates want.
        case object
        case objectWithoutContent
        case text
        case textWithoutContent
        /// The template shows no calls: they go in the family's own spelling.
        case spelled

        var isText: Bool { self == .text || self == .textWithoutContent }
        var isWithoutContent: Bool { self == .objectWithoutContent || self == .textWithoutContent }
    }

    var calls: Calls
    /// A turn may have a content and calls: both, or the calls at least, reach the prompt.
    var callsBesideContent = true
    /// A turn may have several calls.
    var callsBesideCalls = true
    /// Messages of the role `tool` reach the prompt.
    var showsResults: Bool
    /// The variable `tools` reaches the prompt of a conversation that begins with the user.
    var showsTools: Bool
    /// Also that of one that begins with the system.
    var showsToolsBesideSystem: Bool
    /// A tool may lack description and parameters, as OpenAI's API has it.
    var takesBareTools: Bool
    /// Without tools the variable must be an empty list.
    var needsToolList: Bool
    /// `metadata` of a message, where families with calls as lines have the name, reaches the
    /// prompt.
    var showsMetadata: Bool

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
        calls = candidates.first { probe.shows($0, [Probe.name, Probe.values[0]]) }
            ?? candidates.first { probe.shows($0, [Probe.name]) } ?? .spelled
        let history = calls == .spelled ? Calls.object : calls
        if calls != .spelled {
            callsBesideContent = probe.shows(calls, [Probe.name], content: "probe-content-5")
            let values = probe.shows(calls, [Probe.values[0]]) ? Probe.values : [Probe.name]
            callsBesideCalls = probe.shows(calls, values, count: 2)
        }
        // A template may refuse the role; one that refuses everything says nothing of it.
        showsResults = probe.rendered(history)?.contains(Probe.result)
            ?? (told == nil && untold == nil)
        showsMetadata = probe.showsMetadata
        let system: JSONValue = ["role": "system", "content": "s"]
        showsToolsBesideSystem =
            probe.rendered(nil, system: [system])?.contains(Probe.name) ?? showsTools
    }

    /// Whether the tools of this conversation reach the prompt by themselves.
    func showsTools(of messages: [JSONValue]) -> Bool {
        messages.first?["role"] == "system" ? showsToolsBesideSystem : showsTools
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
        let arranged = list.map { call -> JSONValue in
            let history = HistoryCall(call)
            let arguments = calls.isText ? JSONValue.string(history.text) : history.value
            guard let function = call["function"] else { return call }
            return call.setting("function", function.setting("arguments", arguments))
        }
        var message = message.setting("tool_calls", .array(arranged))
        if calls.isWithoutContent, message.content.isEmpty {
            message = message.setting("content", .null)
        }
        return message
    }

    /// Turns of which a template would lose a part, as several: first the content, then each call
    /// with its result.
    func divided(_ messages: [JSONValue]) -> [JSONValue] {
        guard calls != .spelled, !callsBesideContent || !callsBesideCalls else { return messages }
        var result: [JSONValue] = []
        var rest = messages[...]
        while var message = rest.popFirst() {
            guard let calls = message["tool_calls"]?.arrayValue else {
                result.append(message)
                continue
            }
            if !callsBesideContent, !message.content.isEmpty {
                result.append(message.setting("tool_calls", nil))
                message = message.setting("content", "").setting("reasoning_content", nil)
            }
            guard !callsBesideCalls, calls.count > 1 else {
                result.append(message)
                continue
            }
            var outcomes = Array(rest.prefix { $0["role"] == "tool" })
            rest = rest.dropFirst(outcomes.count)
            for call in calls {
                result.append(message.setting("tool_calls", [call]))
                message = message.setting("content", "").setting("reasoning_content", nil)
                let own = outcomes.firstIndex { $0["tool_call_id"] == call["id"] }
                if let own { result.append(outcomes.remove(at: own)) }
            }
            result += outcomes
        }
        return result
    }

    /// Renders a conversation of unmistakable words.
    private struct Probe {
        static let name = "probe_tool"
        static let result = "probe-result-9"
        static let question = "probe-question-3"
        static let values = ["probe-value-7", "probe-value-8"]
        private static let ids: [JSONValue] = ["a1b2c3d4e", "a1b2c3d4f"]

        let template: ChatTemplate
        let variables: [String: JSONValue]
        /// What conversations are rendered with.
        var tools: [JSONValue]? = [tool]

        var showsMetadata: Bool {
            let named: JSONValue = [
                "role": "assistant", "metadata": .string(Self.name), "content": "a",
            ]
            return rendered(behind: [named], tools: nil)?.contains(Self.name) ?? false
        }

        /// - Parameter calls: nil renders without a call and its result.
        func rendered(
            _ calls: Calls?, content: String = "", count: Int = 1, system: [JSONValue] = []
        ) -> String? {
            rendered(
                system, behind: calls.map { history($0, content, count) } ?? [], tools: tools)
        }

        /// - Parameter tools: in place of those that conversations are rendered with.
        func rendered(_ calls: Calls?, tools: [JSONValue]?) -> String? {
            rendered(behind: calls.map { history($0, "", 1) } ?? [], tools: tools)
        }

        private func rendered(
            _ system: [JSONValue] = [], behind history: [JSONValue], tools: [JSONValue]?
        ) -> String? {
            let question: JSONValue = ["role": "user", "content": .string(Self.question)]
            var all = variables
            all["messages"] = .array(system + [question] + history)
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

        private func history(_ calls: Calls, _ content: String, _ count: Int) -> [JSONValue] {
            let made = (0..<count).map { index -> JSONValue in
                let arguments: JSONValue = ["probe_key": .string(Self.values[index])]
                return [
                    "id": Self.ids[index], "type": "function",
                    "function": [
                        "name": .string(Self.name),
                        "arguments": calls.isText ? .string(arguments.serialized()) : arguments,
                    ],
                ]
            }
            let results = (0..<count).map { index -> JSONValue in
                [
                    "role": "tool", "content": .string(Self.result),
                    "tool_call_id": Self.ids[index], "name": .string(Self.name),
                ]
            }
            let isNull = calls.isWithoutContent && content.isEmpty
            return [
                [
                    "role": "assistant", "content": isNull ? nil : .string(content),
                    "tool_calls": .array(made),
                ]
            ] + results + [
                ["role": "assistant", "content": "a"],
                ["role": "user", "content": .string(Self.question)],
            ]
        }

        /// Whether the calls are there with these words, as JSON or markup and not as Python prints
        /// it or as a string within a string. The tools' own description does not count.
        func shows(
            _ calls: Calls, _ words: [String], content: String = "", count: Int = 1
        ) -> Bool {
            guard let text = rendered(calls, content: content, count: count) else { return false }
            let parts = text.split(separator: Self.question, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return false }
            let botched = ["{'probe_key'", "\\\"probe_key", ">None<", "\nNone"]
            return words.allSatisfy { parts[1].contains($0) }
                && !botched.contains { parts[1].contains($0) }
        }
    }
}
