import AutoGLMJSON
import AutoGLMJinja
import OrderedCollections

/// Readers of what stands between the marks of a call.
enum ToolCallBodies {
    // MARK: GLM-4.5 and later

    private static let glmTags = [
        "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>",
    ].map { Array($0.utf8) }

    /// `name`, then pairs of `<arg_key>` and `<arg_value>`.
    ///
    /// Models drop tags now and then; what is unambiguous is read as meant: a missing opening or
    /// closing tag, and keys and values written in two groups, which pair by position.
    @Sendable static func glmXML(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
        var reader = GLMArguments()
        let tags = tagPositions(body)
        var start = 0
        for (index, tag) in tags.enumerated() {
            let next = index + 1 < tags.count ? tags[index + 1].kind : nil
            if reader.isLiteral(tag.kind, next: next) { continue }
            reader.take(body[start..<tag.position], endedBy: tag.kind)
            start = tag.position + glmTags[tag.kind].count
        }
        reader.take(body[start...], endedBy: nil)
        guard !reader.name.isEmpty, reader.keys.count == reader.values.count else { return nil }
        var arguments: OrderedDictionary<String, JSONValue> = [:]
        for (key, value) in zip(reader.keys, reader.values) {
            arguments[key] = tools.value(value, of: key, in: reader.name)
        }
        return [ParsedCall(name: reader.name, arguments: JSONValue.object(arguments).serialized())]
    }

    private static func tagPositions(_ body: [UInt8]) -> [(position: Int, kind: Int)] {
        var result: [(position: Int, kind: Int)] = []
        for position in body.indices where body[position] == UInt8(ascii: "<") {
            if let kind = glmTags.firstIndex(where: { body[position...].starts(with: $0) }) {
                result.append((position, kind))
            }
        }
        return result
    }

    private struct GLMArguments {
        enum Place { case name, key, value, between }
        var name = ""
        var keys: [String] = []
        var values: [String] = []
        private var place = Place.name
        private var isAfterKey = false

        /// Inside a value a tag is text, unless it can only be the start of the next argument.
        func isLiteral(_ kind: Int, next: Int?) -> Bool {
            guard place == .value else { return false }
            switch kind {
            case 0: return next == 3
            case 3: return false
            default: return true
            }
        }

        mutating func take(_ bytes: ArraySlice<UInt8>, endedBy kind: Int?) {
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

    // MARK: Qwen3-Coder

    /// `<function=name>`, then `<parameter=key>` value `</parameter>` each.
    @Sendable static func qwenCoder(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
        let text = TemplateText(bytes: body, trusted: false)
        guard let head = text.find(TemplateText("<function=")),
            let headEnd = text.find(TemplateText(">"), from: head)
        else { return nil }
        let name = text[(head + 10)..<headEnd].string.trimmedSpace
        var arguments: OrderedDictionary<String, JSONValue> = [:]
        let opening = TemplateText("<parameter=")
        let end = text.findLast(TemplateText("</function>")) ?? text.count
        var position = headEnd + 1
        while let start = text.find(opening, from: position, to: end),
            let startEnd = text.find(TemplateText(">"), from: start, to: end)
        {
            let key = text[(start + opening.count)..<startEnd].string.trimmedSpace
            // A forgotten closing tag ends at the next parameter.
            let following = text.find(opening, from: startEnd, to: end) ?? end
            let close = text.find(TemplateText("</parameter>"), from: startEnd, to: end)
            let stop = min(close ?? following, following)
            var value = text[(startEnd + 1)..<max(stop, startEnd + 1)].string
            if value.hasPrefix("\n") { value.removeFirst() }
            if value.hasSuffix("\n") { value.removeLast() }
            arguments[key] = tools.value(value, of: key, in: name)
            position = stop
        }
        if name.isEmpty { return nil }
        return [ParsedCall(name: name, arguments: JSONValue.object(arguments).serialized())]
    }

    // MARK: DeepSeek

    /// `name<sep>{…}`, or `function<sep>name` and fenced JSON. A malformed call is
    /// dropped: it is noise to a reader and no program could run it.
    @Sendable static func deepSeek(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
        let text = TemplateText(bytes: body, trusted: false)
        let separator = TemplateText("<｜tool▁sep｜>")
        guard let middle = text.find(separator) else { return [] }
        var name = text[0..<middle].string.trimmedSpace
        var json = text[(middle + separator.count)..<text.count].string
        if name == "function" {
            let rest = TemplateText(json)
            let fence = TemplateText("```json")
            guard let open = rest.find(fence),
                let close = rest.findLast(TemplateText("```")), close > open
            else { return [] }
            name = rest[0..<open].string.trimmedSpace
            json = rest[(open + fence.count)..<close].string
        }
        json = json.trimmedSpace
        guard !name.isEmpty, case .object? = try? JSONValue.parse(json) else { return [] }
        return [ParsedCall(name: name, arguments: json)]
    }

    // MARK: Python calls

    /// `name(k=v)` lines.
    @Sendable static func pythonic(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
        var reader = PythonCallReader(body)
        var calls: [ParsedCall] = []
        while !reader.isAtEnd {
            guard let call = reader.readCall() else { return nil }
            calls.append(call)
        }
        return calls
    }

    /// The arguments of ChatGLM3's fenced `tool_call(k=v)`; any other text is an argument `code`,
    /// which is what its code interpreter takes.
    static func fencedArguments(_ body: [UInt8]) -> String {
        var text = String(decoding: body, as: UTF8.self).trimmedSpace
        if text.hasPrefix("```") {
            let line = text.prefix { $0 != "\n" }
            text = String(text.dropFirst(line.count))
            if let end = TemplateText(text).findLast(TemplateText("```")) {
                text = TemplateText(text)[0..<end].string
            }
            text = text.trimmedSpace
        }
        var reader = PythonCallReader(Array(text.utf8))
        if let call = reader.readCall(), call.name == "tool_call", reader.isAtEnd {
            return call.arguments
        }
        return JSONValue.object(["code": .string(text)]).serialized()
    }
}
