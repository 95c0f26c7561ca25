import AutoGLMJSON
import OrderedCollections

/// `tojson`: a ``JSONWriter`` that remembers which of its bytes came from the values given.
private struct OriginJSONWriter {
    var writer: JSONWriter
    /// Ranges of the writer's bytes, in order.
    private var untrusted: [Range<Int>] = []

    init(_ options: JSONWriteOptions) { writer = JSONWriter(options) }

    /// A string; an escape has the origin of what it stands for.
    mutating func string(_ text: TemplateText, isKey: Bool = false) {
        writer.beginString()
        text.forEachRun { range, isTrusted in
            let start = writer.bytes.count
            writer.stringPart(text.bytes[range])
            if !isTrusted { untrusted.append(start..<writer.bytes.count) }
        }
        writer.endString(isKey: isKey)
    }

    var text: TemplateText {
        var result = TemplateText()
        var position = 0
        for range in untrusted {
            result.append(bytes: writer.bytes[position..<range.lowerBound], trusted: true)
            result.append(bytes: writer.bytes[range], trusted: false)
            position = range.upperBound
        }
        result.append(bytes: writer.bytes[position...], trusted: true)
        return result
    }
}

extension TemplateInterpreter {
    /// A line is indented before anything is checked, up to as many times as values nest.
    private static let indentMax = 256

    /// The filter, with the signature that transformers gives it.
    func toJSON(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["ensure_ascii", "indent", "separators", "sort_keys"])
        var options = JSONWriteOptions(
            ensureASCII: given.argument(0, "ensure_ascii")?.isTrue ?? false,
            sortKeys: given.argument(3, "sort_keys")?.isTrue ?? false)
        // What stands between values is the template's, unless it was made from a value.
        var isTrusted = true
        if let indent = given.argument(1, "indent"), !indent.isNone {
            if case .text(let text) = indent {
                guard text.count <= Self.indentMax else {
                    throw TemplateError(
                        .limit, "tojson: an indent may have at most \(Self.indentMax) bytes")
                }
                options.indent = text.string
                isTrusted = text.isTrusted
            } else {
                let width = min(max(try integer(indent), 0), Self.indentMax)
                options.indent = String(repeating: " ", count: width)
            }
            options.itemSeparator = ","
        }
        if let separators = given.argument(2, "separators"), !separators.isNone {
            let parts = try iterate(separators)
            guard parts.count == 2, case .text(let item) = parts[0],
                case .text(let key) = parts[1]
            else { throw TemplateError(.type, "separators must be two strings") }
            options.itemSeparator = item.string
            options.keySeparator = key.string
            isTrusted = isTrusted && item.isTrusted && key.isTrusted
        }
        var json = OriginJSONWriter(options)
        try write(value, sortKeys: options.sortKeys, to: &json)
        try check(stringBytes: json.writer.bytes.count)
        return .text(
            isTrusted ? json.text : TemplateText(bytes: json.writer.bytes, trusted: false))
    }

    private func write(
        _ value: TemplateValue, sortKeys: Bool, to json: inout OriginJSONWriter
    ) throws(TemplateError) {
        try spend(1)
        switch value {
        case .none: json.writer.null()
        case .bool(let flag): json.writer.bool(flag)
        case .int(let number): json.writer.int(number)
        case .big(let digits): json.writer.number(digits: digits)
        case .double(let number): json.writer.number(digits: Self.json(number))
        case .text(let string):
            try spend(bytes: string.count)
            json.string(string)
        case .list(let list), .tuple(let list):
            try enter()
            defer { leave() }
            json.writer.beginArray()
            for item in list.items { try write(item, sortKeys: sortKeys, to: &json) }
            json.writer.endArray()
        case .dict(let dict):
            try enter()
            defer { leave() }
            var entries = Array(dict.entries.values)
            if sortKeys {
                entries = try sorted(entries) { (a, b) throws(TemplateError) in
                    try isLess(a.key, b.key)
                }
            }
            json.writer.beginObject()
            for entry in entries {
                json.string(try keyText(entry.key), isKey: true)
                try write(entry.value, sortKeys: sortKeys, to: &json)
            }
            json.writer.endObject()
        default:
            throw TemplateError(
                .type, "Object of type \(value.typeName) is not JSON serializable")
        }
        let count = json.writer.bytes.count
        guard count <= limits.stringBytes else { return try check(stringBytes: count) }
    }

    private func keyText(_ key: TemplateValue) throws(TemplateError) -> TemplateText {
        try spend(1)
        switch key {
        case .text(let text):
            try spend(bytes: text.count)
            return text
        case .none: return TemplateText("null")
        case .bool(let flag): return TemplateText(flag ? "true" : "false")
        case .int(let number): return TemplateText(String(number))
        case .big(let digits): return TemplateText(digits)
        case .double(let number): return TemplateText(Self.json(number))
        default:
            throw TemplateError(
                .type, "keys must be str, int, float, bool or None, not \(key.typeName)")
        }
    }

    private static func json(_ number: Double) -> String {
        if number.isNaN { return "NaN" }
        if number.isInfinite { return number < 0 ? "-Infinity" : "Infinity" }
        return TemplateNumbers.shortest(number)
    }
}
