import OrderedCollections

/// A filter as named in the source. Only these exist; none reaches beyond its arguments.
enum TemplateFilter: Sendable {
    enum Name: String, Sendable {
        case abs, attr, batch, capitalize, center, count, d, `default`, dictsort, e, escape
        case filesizeformat, first, float, forceescape, format, groupby, indent, int, items, join
        case last, length, list, lower, map, max, min, pprint, reject, rejectattr, replace
        case reverse, round, safe, select, selectattr, slice, sort, string, striptags, sum, title
        case tojson, trim, truncate, unique, upper, urlencode, wordcount, wordwrap, xmlattr
    }
    case known(Name)
    case unknown(String)

    init(name: String) {
        self = Name(rawValue: name).map { .known($0) } ?? .unknown(name)
    }
}

extension TemplateInterpreter {
    func apply(_ filter: TemplateFilter, to value: TemplateValue, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        guard case .known(let name) = filter else {
            guard case .unknown(let name) = filter else { return .none }
            throw TemplateError(.runtime, "No filter named '\(name)' found.")
        }
        var given = given
        given.name = name.rawValue
        switch name {
        case .capitalize, .center, .e, .escape, .forceescape, .format, .indent, .lower, .replace,
            .safe, .string, .striptags, .title, .trim, .truncate, .upper, .urlencode, .wordcount,
            .wordwrap:
            return try applyText(name, value, given)
        case .abs, .float, .int, .round, .filesizeformat, .sum, .max, .min:
            return try applyNumber(name, value, given)
        case .map, .select, .reject, .selectattr, .rejectattr, .groupby, .sort, .unique, .batch,
            .slice, .dictsort:
            return try applySequence(name, value, given)
        default: return try applyGeneral(name, value, given)
        }
    }

    private func applyGeneral(
        _ name: TemplateFilter.Name, _ value: TemplateValue, _ given: TemplateCall
    ) throws(TemplateError) -> TemplateValue {
        switch name {
        case .default, .d:
            try given.check(["default_value", "boolean"])
            let onFalse = given.argument(1, "boolean")?.isTrue ?? false
            let isMissing = value.isUndefined || (onFalse && !value.isTrue)
            return isMissing ? given.argument(0, "default_value") ?? .text("") : value
        case .count, .length:
            try given.check([])
            guard let count = try length(value) else {
                throw TemplateError(
                    .type, "object of type '\(value.typeName)' has no len()")
            }
            return .int(count)
        case .tojson: return try toJSON(value, given)
        case .join: return try join(value, given)
        case .items: return try itemsGenerator(value, given)
        case .list:
            try given.check([])
            return .list(try list(iterate(value)))
        case .first:
            try given.check([])
            if case .text(let text) = value, !text.isEmpty {
                return .text(text[0..<text.scalar(at: 0).next].marked(false))
            }
            return try iterate(value).first
                ?? .undefined(
                    TemplateUndefined(.hint("No first item, sequence was empty.")))
        case .last: return try last(value, given)
        case .reverse: return try reverse(value, given)
        case .attr:
            try given.check(["name"], required: 1)
            let key = TemplateKey(try text(of: given.argument(0, "name") ?? .none).string)
            if case .dict = value, !TemplateMethods.dict.contains(key.name) {
                return .undefined(
                    TemplateUndefined(.attribute(of: value.typeDescription, name: key.name)))
            }
            return try attribute(value, key)
        case .pprint: return .text(try repr(value))
        case .xmlattr: return try xmlAttributes(value, given)
        default: return value
        }
    }

    private func last(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check([])
        if case .text(let text) = value, !text.isEmpty {
            return .text(text[text.scalarStart(before: text.count)..<text.count])
        }
        if case .generator = value {
            throw TemplateError(.type, "'generator' object is not reversible")
        }
        return try iterate(value).last
            ?? .undefined(TemplateUndefined(.hint("No last item, sequence was empty.")))
    }

    private func reverse(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check([])
        if case .text(let text) = value {
            var result = TemplateText()
            var end = text.count
            try spend(end)
            while end > 0 {
                let start = text.scalarStart(before: end)
                result.append(text, start..<end)
                end = start
            }
            return .text(result.marked(text.isMarkup))
        }
        let items = try iterate(value)
        return try generator("do_reverse", from: value) { _ throws(TemplateError) in
            items.reversed()
        }
    }

    func generator(
        _ name: String, from source: TemplateValue, _ produce: @escaping TemplateGenerator.Producer
    ) throws(TemplateError) -> TemplateValue {
        let generator = TemplateGenerator(name: name, depth: source.containerDepth, produce)
        try check(containerDepth: generator.depth)
        return .generator(generator)
    }

    private func itemsGenerator(_ value: TemplateValue, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        try given.check([])
        return try generator("do_items", from: value) { interpreter throws(TemplateError) in
            switch value {
            case .undefined: return []
            case .dict(let dict):
                return try interpreter.iterate(.view(TemplateView(.items, of: dict)))
            default:
                throw TemplateError(.type, "Can only get item pairs from a mapping.")
            }
        }
    }

    private func join(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["d", "attribute"])
        let separator = try text(of: given.argument(0, "d") ?? .text(""))
        let attribute = given.argument(1, "attribute")
        var result = TemplateText()
        for (index, item) in try iterate(value).enumerated() {
            try spend(1)
            if index > 0 { result.append(separator) }
            var item = item
            if let attribute, !attribute.isNone { item = try path(attribute, of: item) }
            result.append(try text(of: item))
            guard result.count <= limits.stringBytes else {
                try check(stringBytes: result.count)
                break
            }
        }
        return try checked(result)
    }

    private func xmlAttributes(_ value: TemplateValue, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        try given.check(["autospace"])
        guard case .dict(let dict) = value else {
            throw TemplateError(.type, "xmlattr needs a mapping")
        }
        var result = TemplateText()
        for entry in dict.entries.values where !entry.value.isNone && !entry.value.isUndefined {
            let key = try text(of: entry.key)
            guard !key.bytes.contains(where: { " \t\n\r\u{B}\u{C}/>=".utf8.contains($0) }) else {
                throw TemplateError(.value, "Invalid character in attribute name")
            }
            if !result.isEmpty { result.append(" ") }
            result.append(try escaped(key))
            result.append("=\"")
            result.append(try escaped(text(of: entry.value)))
            result.append("\"")
        }
        let spaced = given.argument(0, "autospace")?.isTrue ?? true
        if spaced && !result.isEmpty {
            var prefixed = TemplateText(" ")
            prefixed.append(result)
            result = prefixed
        }
        return .text(result)
    }

    /// An item reached by `"a.b.0"` or an index, as the `attribute` argument of filters means it.
    func path(_ attribute: TemplateValue, of value: TemplateValue) throws(TemplateError)
        -> TemplateValue
    {
        guard case .text(let text) = attribute else { return try item(value, attribute) }
        var result = value
        for part in text.string.split(separator: ".", omittingEmptySubsequences: false) {
            let key: TemplateValue = Int(part).map { .int($0) } ?? .text(String(part))
            result = try item(result, key)
        }
        return result
    }

    /// Stable merge sort whose comparison may throw.
    func sorted<Item>(
        _ items: [Item], by isLess: (Item, Item) throws(TemplateError) -> Bool
    ) throws(TemplateError) -> [Item] {
        var from = items
        var into = items
        var width = 1
        while width < items.count {
            try spend(items.count)
            for start in stride(from: 0, to: items.count, by: 2 * width) {
                let middle = min(start + width, items.count)
                let end = min(start + 2 * width, items.count)
                var (left, right) = (start, middle)
                for index in start..<end {
                    let takesRight: Bool
                    if left == middle {
                        takesRight = true
                    } else if right == end {
                        takesRight = false
                    } else {
                        takesRight = try isLess(from[right], from[left])
                    }
                    into[index] = takesRight ? from[right] : from[left]
                    if takesRight { right += 1 } else { left += 1 }
                }
            }
            swap(&from, &into)
            width *= 2
        }
        return from
    }
}
