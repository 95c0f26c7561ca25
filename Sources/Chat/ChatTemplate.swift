package import AutoGLMJSON
package import AutoGLMJinja
package import AutoGLMText

/// A prompt made by a chat template.
package struct RenderedPrompt: Sendable {
    package let text: String
    /// The same text in pieces of one origin, in order; see ``TextSegment``.
    package let segments: [TextSegment]

    package init(segments: [TextSegment]) {
        self.segments = segments
        text = segments.map(\.text).joined()
    }
}

/// A model's chat template: a ``JinjaTemplate`` rendered for each conversation as
/// `transformers.apply_chat_template` does it.
package struct ChatTemplate: Sendable {
    private let template: JinjaTemplate

    package var source: String { template.source }
    package var name: String { template.name }

    /// What of a conversation counts as the template author's text.
    private static let trust = JinjaTrust(
        variables: trustedVariables, members: ["role": trustedRoles])

    /// Variables whose strings come from the model's files rather than from a request.
    package static let trustedVariables: Set<String> = [
        "bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token",
        "mask_token",
    ]

    /// Roles that a template may build a special token from (`<|{{ message.role }}|>`). Any other
    /// role is text like a message's content.
    static let trustedRoles: Set<String> = [
        "system", "user", "assistant", "tool", "function", "observation", "developer",
        "ipython", "model", "context", "documents", "environment", "tool_response",
    ]

    /// What `apply_chat_template` passes where nothing is given; templates ask `is not none`.
    private static let defaults: [String: JSONValue] = [
        "tools": .null, "documents": .null, "add_generation_prompt": .bool(false),
    ]

    /// - Parameter name: how errors call the template.
    /// - Throws: ``TemplateError`` with the line, when the source is malformed or refers to
    ///   something that does not exist.
    package init(source: String, name: String = "chat_template") throws(TemplateError) {
        template = try JinjaTemplate(source: source, name: name)
    }

    /// Whether the template mentions a variable, e.g. `tools` or `enable_thinking`.
    package func mentions(_ variable: String) -> Bool { template.mentions(variable) }

    /// Renders a conversation.
    /// - Parameter variables: `messages`, `tools`, `add_generation_prompt`, `bos_token`, …;
    ///   `tools` and `documents` are null unless given, as in transformers.
    /// - Parameter now: what `strftime_now` answers with.
    /// - Throws: ``TemplateError``: the template's own refusal (`.raised`), a mistake in it, or a
    ///   budget spent (`.limit`).
    package func render(
        _ variables: [String: JSONValue], now: TemplateDate,
        limits: TemplateLimits = TemplateLimits()
    ) throws(TemplateError) -> RenderedPrompt {
        let rendered = try template.render(
            Self.defaults.merging(variables) { $1 }, trust: Self.trust, now: now, limits: limits)
        return RenderedPrompt(
            segments: rendered.runs.map { TextSegment(text: $0.text, trusted: $0.isTrusted) })
    }
}
