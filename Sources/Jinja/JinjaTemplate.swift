package import AutoGLMJSON
import OrderedCollections

/// What a template wrote.
package struct RenderedTemplate: Sendable {
    /// A stretch of text with one origin: the template's author (trusted) or the values given.
    package struct Run: Sendable, Equatable {
        package var text: String
        package var isTrusted: Bool

        package init(text: String, isTrusted: Bool) {
            self.text = text
            self.isTrusted = isTrusted
        }
    }

    package let text: String
    /// The same text, in order.
    package let runs: [Run]

    init(runs: [Run]) {
        self.runs = runs
        text = runs.map(\.text).joined()
    }
}

/// Which strings of the values given count as the template author's own.
package struct JinjaTrust: Sendable {
    /// Variables whose strings do, however deep.
    package var variables: Set<String>
    /// By member: the string at `list[i].member` does when it is one of these, whatever variable
    /// holds the list.
    package var members: [String: Set<String>]

    package init(variables: Set<String> = [], members: [String: Set<String>] = [:]) {
        self.variables = variables
        self.members = members
    }
}

/// A Jinja template: parsed once, rendered with different values.
///
/// Behaves as Jinja2 3.1 under the settings of `transformers.apply_chat_template`: immutable
/// sandbox, `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`, and `tojson`,
/// `raise_exception`, `strftime_now` as transformers defines them. A template sees the values given
/// and nothing else; `include`, `import` and `extends` are refused when loading, and so is every
/// unknown filter or test (unless it stands in an `if` branch, where Jinja2 too waits until it is
/// reached). Strings can be `Markup` (`safe`, `escape`) as in MarkupSafe 3.0, with its methods and
/// operators; since these settings have autoescape off, `~`, the filters `join` and `replace`,
/// macros and blocks make plain strings of it, as in Jinja2. Left out of Jinja2: switching
/// autoescape on (`{% autoescape true %}` only makes a scope), names of HTML entities beyond the
/// five of XML in `striptags` and `unescape`, the filters `random` and `urlize`, line statements,
/// and integer arithmetic beyond 64 bits.
package struct JinjaTemplate: Sendable {
    package let source: String
    package let name: String
    private let body: [TemplateStatement]
    private let symbols: TemplateSymbols

    /// - Parameter name: how errors call the template.
    /// - Throws: ``TemplateError`` with the line, when the source is malformed or refers to
    ///   something that does not exist.
    package init(source: String, name: String = "template") throws(TemplateError) {
        self.source = source
        self.name = name
        do {
            (body, symbols) = try TemplateParser.parse(source)
        } catch {
            throw error.at(line: 0, of: name)
        }
    }

    /// Whether the template mentions a variable.
    package func mentions(_ variable: String) -> Bool { symbols.names.contains(variable) }

    /// Renders the template.
    /// - Parameter now: what `strftime_now` answers with.
    /// - Throws: ``TemplateError``: the template's own refusal (`.raised`), a mistake in it, or a
    ///   budget spent (`.limit`).
    package func render(
        _ variables: [String: JSONValue], trust: JinjaTrust, now: TemplateDate,
        limits: TemplateLimits = TemplateLimits()
    ) throws(TemplateError) -> RenderedTemplate {
        let interpreter = TemplateInterpreter(symbols: symbols, limits: limits, date: now) {
            (name) throws(TemplateError) in
            guard let value = variables[name] else { return nil }
            let converter = TemplateConverter(limits: limits, members: trust.members)
            return try converter.convert(value, trusted: trust.variables.contains(name), depth: 0)
        }
        do {
            return RenderedTemplate(runs: try interpreter.render(body).originRuns)
        } catch {
            throw error.at(line: interpreter.line, of: name)
        }
    }
}

/// Turns JSON given with a request into template values, every string marked with its origin.
struct TemplateConverter {
    let limits: TemplateLimits
    /// ``JinjaTrust/members``.
    let members: [String: Set<String>]

    /// - Parameter isRow: an item of the list that a variable holds.
    func convert(
        _ value: JSONValue, trusted: Bool, depth: Int, isRow: Bool = false
    ) throws(TemplateError) -> TemplateValue {
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
                values.append(
                    try convert(item, trusted: trusted, depth: depth + 1, isRow: depth == 0))
            }
            return .list(TemplateList(values))
        case .object(let object):
            var entries = TemplateDict.Entries(minimumCapacity: object.count)
            for (key, member) in object {
                let text = TemplateText(key, trusted: trusted)
                var isTrusted = trusted
                if isRow, let words = members[key], case .string(let word) = member {
                    isTrusted = words.contains(word)
                }
                let value = try convert(member, trusted: isTrusted, depth: depth + 1)
                entries[.text(text.bytes)] = TemplateEntry(key: .text(text), value: value)
            }
            return .dict(TemplateDict(entries))
        }
    }
}
