import OrderedCollections

/// What values look like: `str` and `repr`, with the origin of every byte kept.
extension TemplateInterpreter {
    // MARK: str

    func text(of value: TemplateValue) throws(TemplateError) -> TemplateText {
        switch value {
        case .text(let text): return text
        case .undefined: return TemplateText()
        case .int(let number): return TemplateText(String(number))
        default: return try repr(value)
        }
    }

    // MARK: repr

    func repr(_ value: TemplateValue) throws(TemplateError) -> TemplateText {
        var text = TemplateText()
        try writeRepr(value, to: &text)
        try check(stringBytes: text.count)
        return text
    }

    private func writeRepr(_ value: TemplateValue, to text: inout TemplateText)
        throws(TemplateError)
    {
        try spend(1)
        switch value {
        case .undefined: text.append("Undefined")
        case .none: text.append("None")
        case .bool(let flag): text.append(flag ? "True" : "False")
        case .int(let number): text.append(String(number))
        case .big(let digits): text.append(digits)
        case .double(let number): text.append(TemplateNumbers.shortest(number))
        case .text(let string) where string.isMarkup:
            text.append("Markup(")
            try writeRepr(string, to: &text)
            text.append(")")
        case .text(let string): try writeRepr(string, to: &text)
        case .list(let list): try writeRepr(list.items, "[", "]", to: &text)
        case .tuple(let list):
            try writeRepr(list.items, "(", list.items.count == 1 ? ",)" : ")", to: &text)
        case .dict(let dict): try writeRepr(dict, to: &text)
        case .view(let view):
            text.append("dict_\(view.kind.rawValue)(")
            try writeRepr(iterate(value), "[", "])", to: &text)
        case .range(let range):
            text.append(
                range.step == 1
                    ? "range(\(range.start), \(range.stop))"
                    : "range(\(range.start), \(range.stop), \(range.step))")
        case .namespace(let namespace):
            text.append("<Namespace {")
            try enter()
            defer { leave() }
            for (index, entry) in namespace.values.enumerated() {
                if index > 0 { text.append(", ") }
                try writeRepr(TemplateText(entry.key), to: &text)
                text.append(": ")
                try writeRepr(entry.value, to: &text)
            }
            text.append("}>")
        case .macro(let macro): text.append("<Macro '\(macro.definition.name)'>")
        case .loop(let loop): text.append("<LoopContext \(loop.index + 1)/\(loop.items.count)>")
        // Python shows an address; a constant one keeps rendering a pure function.
        case .generator(let generator): text.append("<generator object \(generator.name) at 0x0>")
        case .joiner: text.append("<jinja2.utils.Joiner object at 0x0>")
        case .cycler: text.append("<jinja2.utils.Cycler object at 0x0>")
        case .method(let method):
            text.append(
                "<built-in method \(method.name) of \(method.receiver.typeName) object at 0x0>")
        case .function(let function): text.append("<function \(function.rawValue) at 0x0>")
        }
        guard text.count <= limits.stringBytes else { return try check(stringBytes: text.count) }
    }

    private func writeRepr(
        _ items: [TemplateValue], _ open: String, _ close: String, to text: inout TemplateText
    ) throws(TemplateError) {
        try enter()
        defer { leave() }
        text.append(open)
        for (index, item) in items.enumerated() {
            if index > 0 { text.append(", ") }
            try writeRepr(item, to: &text)
        }
        text.append(close)
    }

    private func writeRepr(_ dict: TemplateDict, to text: inout TemplateText)
        throws(TemplateError)
    {
        try enter()
        defer { leave() }
        text.append("{")
        for (index, entry) in dict.entries.values.enumerated() {
            if index > 0 { text.append(", ") }
            try writeRepr(entry.key, to: &text)
            text.append(": ")
            try writeRepr(entry.value, to: &text)
        }
        text.append("}")
    }

    private func writeRepr(_ string: TemplateText, to text: inout TemplateText)
        throws(TemplateError)
    {
        try spend(bytes: string.count * 4)
        let hasSingle = string.bytes.contains(0x27)
        let quote = hasSingle && !string.bytes.contains(0x22) ? "\"" : "'"
        text.append(quote)
        var index = 0
        while index < string.count {
            let (scalar, next) = string.scalar(at: index)
            switch scalar {
            case "\n": text.append("\\n")
            case "\r": text.append("\\r")
            case "\t": text.append("\\t")
            case "\\": text.append("\\\\")
            case "'" where quote == "'": text.append("\\'")
            default:
                if scalar.isPythonPrintable {
                    text.append(string, index..<next)
                } else {
                    text.append(Self.escape(scalar))
                }
            }
            index = next
        }
        text.append(quote)
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        let value = scalar.value
        if value < 0x100 { return "\\x" + hex(value, 2) }
        return value < 0x10000 ? "\\u" + hex(value, 4) : "\\U" + hex(value, 8)
    }

    private static func hex(_ value: UInt32, _ width: Int) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(width - digits.utf8.count, 0)) + digits
    }
}

extension Unicode.Scalar {
    /// Python's `str.isprintable` for one code point.
    var isPythonPrintable: Bool {
        if value >= 0x20 && value < 0x7F { return true }
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
            .paragraphSeparator, .spaceSeparator:
            return false
        default: return true
        }
    }
}
