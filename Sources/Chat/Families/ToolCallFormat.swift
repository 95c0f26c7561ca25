package import AutoGLMJSON
import AutoGLMJinja

/// What a parser found in generated text, in order.
package enum ToolCallEvent: Sendable, Equatable {
    /// More of the answer.
    case content(String)
    /// More of the model's thinking.
    case reasoning(String)
    /// A call begins; `index` counts the calls of this answer from 0.
    case callStart(index: Int, name: String)
    /// More of the call's arguments: together a JSON object, if the model wrote one.
    case callArguments(index: Int, delta: String)
    case callEnd(index: Int)
}

/// How a family of models writes calls and thinking.
package enum ToolCallFormat: String, Sendable, CaseIterable {
    /// No calls: everything is content (thinking is still told apart).
    case none
    /// GLM-4, GLM-4-0414, Mini-GLM: a first line that is a tool's name, then JSON.
    case glm4
    /// ChatGLM3: a first line that is a tool's name, then fenced `tool_call(k=v)`.
    case chatGLM3
    /// GLM-4.5 and later: `<tool_call>name <arg_key>…</arg_key> <arg_value>…</arg_value>`.
    case glmXML
    /// Hermes, Qwen 2.5 and 3: `<tool_call>{"name": …, "arguments": …}</tool_call>`.
    case hermes
    /// Qwen3-Coder: `<tool_call><function=name><parameter=key>…`.
    case qwenCoder
    /// Llama 3: `{"name": …, "parameters": …}`, or `<|python_tag|>name.call(k=v)`.
    case llama3
    /// Mistral: `[TOOL_CALLS]name[ARGS]{…}` or `[TOOL_CALLS][{…}]`.
    case mistral
    /// DeepSeek: `<｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}<｜tool▁call▁end｜>`.
    case deepSeek
    /// Olmo 3: `<function_calls>name(k=v)</function_calls>`.
    case pythonic

    /// Guesses the format from a model's chat template and its special tokens; the template's own
    /// instructions to the model are the best evidence there is.
    package static func detect(template: String, specialTokens: some Sequence<String>)
        -> ToolCallFormat
    {
        let specials = Set(specialTokens)
        let marks: [(String, ToolCallFormat)] = [
            ("<arg_key>", .glmXML), ("<function=", .qwenCoder), ("[TOOL_CALLS]", .mistral),
            ("<｜tool▁call▁begin｜>", .deepSeek), ("<function_calls>", .pythonic),
            ("<tool_call>", .hermes), ("<|python_tag|>", .llama3),
        ]
        for (mark, format) in marks where template.utf8Contains(mark) { return format }
        if specials.contains("<|observation|>") || template.utf8Contains("<|observation|>") {
            return specials.contains("sop") || specials.contains("eop") ? .chatGLM3 : .glm4
        }
        let isLlama = template.utf8Contains("<|start_header_id|>")
        return isLlama && template.utf8Contains("\"parameters\"") ? .llama3 : .none
    }
}

/// The tags around a model's thinking.
package struct ReasoningTags: Sendable, Equatable {
    package var open: String
    package var close: String

    package init(open: String = "<think>", close: String = "</think>") {
        self.open = open
        self.close = close
    }

    /// The tags a template speaks of, if any.
    package static func detect(template: String) -> ReasoningTags? {
        if template.utf8Contains("</think>") { return ReasoningTags() }
        if template.utf8Contains("[/THINK]") {
            return ReasoningTags(open: "[THINK]", close: "[/THINK]")
        }
        return nil
    }

    /// Whether a rendered prompt ends inside the model's thinking, so that generated text begins
    /// there without an opening tag.
    package func isOpen(at prompt: String) -> Bool {
        let tail = prompt.utf8.reversed().drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D }
        return tail.starts(with: open.utf8.reversed())
    }
}

/// A parser for one answer of a model.
/// - Parameter tools: the tools offered, as in the request; nil accepts calls of any name, an empty
///   list accepts none.
/// - Parameter reasoning: tags whose content is reported as reasoning; nil leaves them in the text.
/// - Parameter startsInReasoning: see ``ReasoningTags/isOpen(at:)``.
package func makeToolCallParser(
    format: ToolCallFormat, tools: [JSONValue]?, reasoning: ReasoningTags? = nil,
    startsInReasoning: Bool = false
) -> ToolCallParser {
    let isOff = tools?.isEmpty ?? false
    return ToolCallParser(
        grammar: ToolCallGrammar(isOff ? .none : format, endsLines: format.strippedStart),
        tools: ToolSchemas(tools), reasoning: reasoning, startsInReasoning: startsInReasoning)
}

extension ToolCallFormat {
    /// What answers begin with and clients do not want to see.
    var strippedStart: String {
        switch self {
        case .glm4: "\n"
        case .chatGLM3: "\n "
        default: ""
        }
    }
}

extension String {
    /// Whether the bytes of `needle` occur; unlike `contains`, without Unicode normalisation.
    func utf8Contains(_ needle: String) -> Bool {
        TemplateText(self).find(TemplateText(needle)) != nil
    }
}
