import OrderedCollections

/// Attributes, subscripts, slices and iteration.
extension TemplateInterpreter {
    // MARK: Attributes and subscripts

    /// `value.name`: an attribute if the type has one, otherwise an item of that key.
    func attribute(_ value: TemplateValue, _ key: TemplateKey) throws(TemplateError)
        -> TemplateValue
    {
        if case .undefined(let undefined) = value { throw undefined.error }
        if let found = try ownAttribute(value, key.name) { return found }
        switch value {
        case .dict(let dict):
            if let entry = dict.entries[key.key] { return entry.value }
        default: break
        }
        return .undefined(
            TemplateUndefined(.attribute(of: value.typeDescription, name: key.name)))
    }

    private func unsafe(_ name: String, _ value: TemplateValue) -> TemplateValue {
        .undefined(TemplateUndefined(.unsafe(attribute: name, of: value.typeName)))
    }

    /// An attribute of the Python object itself, not an item.
    private func ownAttribute(_ value: TemplateValue, _ name: String) throws(TemplateError)
        -> TemplateValue?
    {
        if name.hasPrefix("__") && name.hasSuffix("__") { return unsafe(name, value) }
        switch value {
        case .text(let text):
            let isKnown =
                TemplateMethods.text.contains(name)
                || (text.isMarkup && TemplateMethods.markup.contains(name))
            return isKnown ? method(value, name) : nil
        case .dict:
            if TemplateMethods.dictUnsafe.contains(name) { return unsafe(name, value) }
            return TemplateMethods.dict.contains(name) ? method(value, name) : nil
        case .list:
            if TemplateMethods.listUnsafe.contains(name) { return unsafe(name, value) }
            return TemplateMethods.list.contains(name) ? method(value, name) : nil
        case .tuple(let tuple):
            if let index = tuple.fields.firstIndex(of: name) { return tuple.items[index] }
            return TemplateMethods.tuple.contains(name) ? method(value, name) : nil
        case .int, .big, .bool, .double:
            return TemplateMethods.number.contains(name) ? method(value, name) : nil
        case .namespace(let namespace): return namespace.values[name]
        case .loop(let loop): return try loopAttribute(loop, name)
        case .macro(let macro): return try macroAttribute(macro.definition, name)
        case .cycler(let cycler):
            if name == "current" { return cycler.items[cycler.position] }
            return name == "next" || name == "reset" ? method(value, name) : nil
        default: return nil
        }
    }

    private func method(_ value: TemplateValue, _ name: String) -> TemplateValue {
        .method(TemplateMethod(value, name))
    }

    private func macroAttribute(_ macro: TemplateMacro, _ name: String) throws(TemplateError)
        -> TemplateValue?
    {
        switch name {
        case "name": return .text(macro.name)
        case "arguments": return .tuple(try list(macro.parameters.map { .text($0.name) }))
        case "catch_kwargs": return .bool(macro.takesKeywords)
        case "catch_varargs": return .bool(macro.takesPositional)
        case "caller": return .bool(macro.takesCaller)
        default: return nil
        }
    }

    private func loopAttribute(_ loop: TemplateLoopState, _ name: String) throws(TemplateError)
        -> TemplateValue?
    {
        let count = loop.items.count
        let index = loop.index
        switch name {
        case "index": return .int(index + 1)
        case "index0": return .int(index)
        case "revindex": return .int(count - index)
        case "revindex0": return .int(count - index - 1)
        case "first": return .bool(index == 0)
        case "last": return .bool(index == count - 1)
        case "length": return .int(count)
        case "depth": return .int(loop.depth)
        case "depth0": return .int(loop.depth - 1)
        case "previtem":
            if index > 0 { return loop.items[index - 1] }
            return .undefined(TemplateUndefined(.hint("there is no previous item")))
        case "nextitem":
            if index + 1 < count { return loop.items[index + 1] }
            return .undefined(TemplateUndefined(.hint("there is no next item")))
        case "cycle", "changed": return method(.loop(loop), name)
        default: return nil
        }
    }

    /// `value[key]`: an item, or failing that an attribute of that name.
    func item(_ value: TemplateValue, _ key: TemplateValue) throws(TemplateError)
        -> TemplateValue
    {
        switch value {
        case .undefined(let undefined): throw undefined.error
        case .dict(let dict):
            if let hashed = try? dictKey(key), let entry = dict.entries[hashed] {
                return entry.value
            }
        case .list(let list), .tuple(let list):
            if let index = position(key, count: list.items.count) { return list.items[index] }
        case .range(let range):
            if let index = position(key, count: range.count) { return .int(range[index]) }
        case .text(let text):
            if case .int = key {
                try spend(bytes: text.count)
                let offsets = text.isASCII ? nil : text.scalarOffsets
                let count = offsets.map { $0.count - 1 } ?? text.count
                if let index = position(key, count: count) {
                    let start = offsets?[index] ?? index
                    let end = offsets?[index + 1] ?? index + 1
                    return .text(text[start..<end])
                }
            }
        default: break
        }
        if case .text(let name) = key {
            if let found = try ownAttribute(value, name.string) { return found }
            return .undefined(
                TemplateUndefined(.attribute(of: value.typeDescription, name: name.string)))
        }
        let shown = try repr(key).string
        return .undefined(TemplateUndefined(.element(of: value.typeDescription, key: shown)))
    }

    private func position(_ key: TemplateValue, count: Int) -> Int? {
        let index: Int
        switch key {
        case .int(let value): index = value
        case .bool(let value): index = value ? 1 : 0
        default: return nil
        }
        let position = index < 0 ? index &+ count : index
        return position >= 0 && position < count ? position : nil
    }

    // MARK: Slices

    func evaluate(
        _ slice: TemplateExpression.Slice, of value: TemplateValue, _ scope: TemplateScope
    ) throws(TemplateError) -> TemplateValue {
        var bounds: [Int?] = []
        for part in [slice.start, slice.stop, slice.step] {
            guard let part else { bounds.append(nil); continue }
            let bound = try evaluate(part, scope)
            if case .none = bound { bounds.append(nil); continue }
            guard let number = Self.plainInteger(bound) else {
                return .undefined(
                    TemplateUndefined(.element(of: value.typeDescription, key: "slice")))
            }
            bounds.append(number)
        }
        guard bounds[2] != 0 else { throw TemplateError(.value, "slice step cannot be zero") }
        switch value {
        case .undefined(let undefined): throw undefined.error
        case .text(let text): return try sliced(text, bounds)
        case .list(let list), .tuple(let list):
            let run = SliceRun(bounds, count: list.items.count)
            try spend(run.count)
            let items = (0..<run.count).map { list.items[run[$0]] }
            if case .tuple = value { return .tuple(try self.list(items)) }
            return .list(try self.list(items))
        case .range(let range):
            let run = SliceRun(bounds, count: range.count)
            return .range(range.sliced(start: run.start, count: run.count, step: run.step))
        default:
            return .undefined(
                TemplateUndefined(.element(of: value.typeDescription, key: "slice")))
        }
    }

    private func sliced(_ text: TemplateText, _ bounds: [Int?]) throws(TemplateError)
        -> TemplateValue
    {
        try spend(bytes: text.count)
        let offsets = text.isASCII ? nil : text.scalarOffsets
        let run = SliceRun(bounds, count: offsets.map { $0.count - 1 } ?? text.count)
        if run.step == 1 {
            let end = run.start + run.count
            return .text(text[(offsets?[run.start] ?? run.start)..<(offsets?[end] ?? end)])
        }
        try spend(run.count)
        var result = TemplateText()
        result.isMarkup = text.isMarkup
        for index in 0..<run.count {
            let position = run[index]
            result.append(
                text, (offsets?[position] ?? position)..<(offsets?[position + 1] ?? position + 1))
        }
        return .text(result)
    }

    // MARK: Iteration

    /// The items a loop over the value would see.
    func iterate(_ value: TemplateValue) throws(TemplateError) -> [TemplateValue] {
        switch value {
        case .undefined: return []
        case .list(let list), .tuple(let list): return list.items
        case .dict(let dict):
            try spend(dict.entries.count)
            return dict.entries.values.map(\.key)
        case .view(let view): return try items(of: view)
        case .range(let range):
            try spend(range.count >> 2)
            return (0..<range.count).map { .int(range[$0]) }
        case .generator(let generator): return try generator.drain(self)
        case .text(let text):
            let offsets = text.scalarOffsets
            try spend(offsets.count)
            let plain = text.marked(false)
            return (0..<(offsets.count - 1)).map { .text(plain[offsets[$0]..<offsets[$0 + 1]]) }
        case .loop(let loop): return Array(loop.items[loop.index...])
        default:
            throw TemplateError(.type, "'\(value.typeName)' object is not iterable")
        }
    }

    private func items(of view: TemplateView) throws(TemplateError) -> [TemplateValue] {
        let entries = view.dict.entries.values
        try spend(entries.count)
        switch view.kind {
        case .keys: return entries.map(\.key)
        case .values: return entries.map(\.value)
        case .items: return entries.map { .tuple(TemplateList([$0.key, $0.value])) }
        }
    }

    /// `len(value)`, or nil where Python has none.
    func length(_ value: TemplateValue) throws(TemplateError) -> Int? {
        switch value {
        case .undefined: return 0
        case .list(let list), .tuple(let list): return list.items.count
        case .dict(let dict): return dict.entries.count
        case .view(let view): return view.dict.entries.count
        case .range(let range): return range.count
        case .loop(let loop): return loop.items.count
        case .text(let text):
            try spend(bytes: text.count)
            return text.scalarCount
        default: return nil
        }
    }
}

/// The positions a Python slice selects.
struct SliceRun {
    let start: Int
    let count: Int
    let step: Int

    init(_ bounds: [Int?], count length: Int) {
        let stride = bounds[2] ?? 1
        func clamp(_ bound: Int?, _ fallback: Int) -> Int {
            guard let bound else { return fallback }
            let position = bound < 0 ? bound + length : bound
            return stride > 0
                ? min(max(position, 0), length) : min(max(position, -1), length - 1)
        }
        let first = clamp(bounds[0], stride > 0 ? 0 : length - 1)
        let last = clamp(bounds[1], stride > 0 ? length : -1)
        let span = stride > 0 ? last - first : first - last
        let size = stride == Int.min ? Int.max : abs(stride)
        step = stride
        start = span <= 0 ? 0 : first
        count = span <= 0 ? 0 : (span - 1) / size + 1
    }

    subscript(index: Int) -> Int { start + step * index }
}
