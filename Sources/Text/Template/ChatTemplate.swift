package import AutoGLMJSON
import OrderedCollections

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

/// A model's chat template: Jinja source, parsed once, rendered for each conversation.
///
/// Behaves as Jinja2 3.1 under the settings of `transformers.apply_chat_template`: immutable
/// sandbox, `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`, and `tojson`,
/// `raise_exception`, `strftime_now` as transformers defines them. A template sees the values given
/// and nothing else; `include`, `import` and `extends` are refused when loading, and so is every
/// unknown filter or test (unless it stands in an `if` branch, where Jinja2 too waits until it is
/// reached). Left out of Jinja2: `Markup` strings (there is no HTML here: `safe` changes nothing,
/// `escape` always escapes), the filters `random` and `urlize`, line statements, and integer
/// arithmetic beyond 64 bits.
package struct ChatTemplate: Sendable {
    package let source: String
    package let name: String
    private let body: [TemplateStatement]
    private let symbols: TemplateSymbols

    /// Variables whose strings come from the model's files rather than from a request.
    package static let trustedVariables: Set<String> = [
        "bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token",
        "mask_token",
    ]

    /// What `apply_chat_template` passes where nothing is given; templates ask `is not none`.
    private static let defaults: [String: JSONValue] = [
        "tools": .null, "documents": .null, "add_generation_prompt": .bool(false),
    ]

    /// Roles that a template may build a special token from (`<|{{ message.role }}|>`). Any other
    /// role is text like a message's content.
    static let trustedRoles: Set<String> = [
        "system", "user", "assistant", "tool", "function", "observation", "developer",
        "ipython", "model", "context", "documents", "environment", "tool_response",
    ]

    /// - Parameter name: how errors call the template.
    /// - Throws: ``TemplateError`` with the line, when the source is malformed or refers to
    ///   something that does not exist.
    package init(source: String, name: String = "chat_template") throws(TemplateError) {
        self.source = source
        self.name = name
        do {
            (body, symbols) = try TemplateParser.parse(source)
        } catch {
            throw error.at(line: 0, of: name)
        }
    }

    /// Whether the template mentions a variable, e.g. `tools` or `enable_thinking`.
    package func mentions(_ variable: String) -> Bool { symbols.names.contains(variable) }

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
        let interpreter = TemplateInterpreter(symbols: symbols, limits: limits, date: now) {
            (name) throws(TemplateError) in
            guard let value = variables[name] ?? Self.defaults[name] else { return nil }
            var converter = TemplateConverter(limits: limits)
            let isTrusted = Self.trustedVariables.contains(name)
            return try converter.convert(value, trusted: isTrusted, depth: 0)
        }
        do {
            return RenderedPrompt(segments: try interpreter.render(body).segments)
        } catch {
            throw error.at(line: interpreter.line, of: name)
        }
    }
}

/// Turns JSON given with a request into template values, every string marked with its origin.
struct TemplateConverter {
    let limits: TemplateLimits

    mutating func convert(_ value: JSONValue, trusted: Bool, depth: Int) throws(TemplateError)
        -> TemplateValue
    {
        guard depth < limits.containerDepth else {
            throw TemplateError(
                .limit, "a value given is nested more than \(limits.containerDepth) deep")
        }
        switch value {
        case .null: return .none
        case .bool(let flag): return .bool(flag)
        case .int(let number): return .int(Int(number))
        case .bigInt(let digits): return .big(digits)
        case .double(let number): return .double(number)
        case .string(let string): return .text(string, trusted: trusted)
        case .array(let items):
            var values: [TemplateValue] = []
            values.reserveCapacity(items.count)
            for item in items {
                values.append(try convert(item, trusted: trusted, depth: depth + 1))
            }
            return .list(TemplateList(values))
        case .object(let members):
            var entries = TemplateDict.Entries(minimumCapacity: members.count)
            for (key, member) in members {
                let text = TemplateText(key, trusted: trusted)
                var isTrusted = trusted
                // A message lies at messages[i].role.
                if depth == 1, key == "role", case .string(let role) = member {
                    isTrusted = ChatTemplate.trustedRoles.contains(role)
                }
                let value = try convert(member, trusted: isTrusted, depth: depth + 1)
                entries[.text(text.bytes)] = TemplateEntry(key: .text(text), value: value)
            }
            return .dict(TemplateDict(entries))
        }
    }
}
