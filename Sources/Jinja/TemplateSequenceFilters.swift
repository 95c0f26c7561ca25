import OrderedCollections

/// Filters over sequences: selecting, mapping, sorting and grouping.
extension TemplateInterpreter {
    func applySequence(
        _ name: TemplateFilter.Name, _ value: TemplateValue, _ given: TemplateCall
    ) throws(TemplateError) -> TemplateValue {
        switch name {
        case .map: return try map(value, given)
        case .select: return try select(value, given, keeps: true, byAttribute: false)
        case .reject: return try select(value, given, keeps: false, byAttribute: false)
        case .selectattr: return try select(value, given, keeps: true, byAttribute: true)
        case .rejectattr: return try select(value, given, keeps: false, byAttribute: true)
        case .groupby: return try groupBy(value, given)
        case .sort: return try sort(value, given)
        case .unique: return try unique(value, given)
        case .batch: return try batch(value, given)
        case .slice: return try columns(value, given)
        default: return try dictSort(value, given)
        }
    }

    // MARK: Lazy ones

    private func map(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        if given.positional.isEmpty, let attribute = given.argument(0, "attribute") {
            let fallback = given.argument(1, "default")
            return try generator("sync_do_map", from: value) {
                interpreter throws(TemplateError) in
                var result: [TemplateValue] = []
                for item in try interpreter.iterate(value) {
                    try interpreter.spend(1)
                    let found = try interpreter.path(attribute, of: item)
                    result.append(found.isUndefined ? fallback ?? found : found)
                }
                return result
            }
        }
        guard case .text(let name)? = given.positional.first else {
            throw TemplateError(.runtime, "map requires a filter argument")
        }
        let filter = TemplateFilter(name: name.string)
        var rest = given
        rest.positional.removeFirst()
        return try generator("sync_do_map", from: value) { interpreter throws(TemplateError) in
            var result: [TemplateValue] = []
            for item in try interpreter.iterate(value) {
                try interpreter.spend(1)
                result.append(try interpreter.apply(filter, to: item, rest))
            }
            return result
        }
    }

    private func select(
        _ value: TemplateValue, _ given: TemplateCall, keeps: Bool, byAttribute: Bool
    ) throws(TemplateError) -> TemplateValue {
        var rest = given
        var attribute: TemplateValue?
        if byAttribute {
            guard let first = rest.positional.first else {
                throw TemplateError(
                    .runtime, "Missing parameter for attribute name")
            }
            attribute = first
            rest.positional.removeFirst()
        }
        var test: TemplateTest?
        if let first = rest.positional.first {
            guard case .text(let name) = first else {
                throw TemplateError(.type, "a test must be named by a string")
            }
            test = TemplateTest(name: name.string)
            if case .unknown(let name)? = test {
                throw TemplateError(.runtime, "No test named '\(name)'.")
            }
            rest.positional.removeFirst()
        }
        let (field, check, arguments) = (attribute, test, rest)
        return try generator("select_or_reject", from: value) {
            interpreter throws(TemplateError) in
            // Jinja answers a false value with nothing before it looks at its type.
            guard value.isTrue else { return [] }
            var result: [TemplateValue] = []
            for item in try interpreter.iterate(value) {
                try interpreter.spend(1)
                var subject = item
                if let field { subject = try interpreter.path(field, of: item) }
                let holds =
                    if let check { try interpreter.check(check, subject, arguments) } else {
                        subject.isTrue
                    }
                if holds == keeps { result.append(item) }
            }
            return result
        }
    }

    private func unique(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["case_sensitive", "attribute"])
        let sensitive = given.argument(0, "case_sensitive")?.isTrue ?? false
        let attribute = given.argument(1, "attribute")
        return try generator("sync_do_unique", from: value) {
            interpreter throws(TemplateError) in
            var seen: Set<TemplateDictKey> = []
            var result: [TemplateValue] = []
            for item in try interpreter.iterate(value) {
                try interpreter.spend(1)
                let key = try interpreter.sortKey(item, attribute, sensitive)
                if seen.insert(try interpreter.dictKey(key)).inserted { result.append(item) }
            }
            return result
        }
    }

    private func batch(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["linecount", "fill_with"], required: 1)
        let size = max(try integer(given.argument(0, "linecount") ?? .none), 1)
        let filler = given.argument(1, "fill_with")
        return try generator("do_batch", from: value) { interpreter throws(TemplateError) in
            let items = try interpreter.iterate(value)
            var result: [TemplateValue] = []
            var start = 0
            while start < items.count {
                var row = Array(items[start..<min(start + size, items.count)])
                if let filler, !filler.isNone, row.count < size {
                    try interpreter.spend(size)
                    row += Array(repeating: filler, count: size - row.count)
                }
                result.append(.list(try interpreter.list(row)))
                start += size
            }
            return result
        }
    }

    private func columns(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["slices", "fill_with"], required: 1)
        let count = try integer(given.argument(0, "slices") ?? .none)
        guard count > 0 else {
            throw TemplateError(.zeroDivision, "slice needs at least one column")
        }
        let filler = given.argument(1, "fill_with")
        return try generator("sync_do_slice", from: value) { interpreter throws(TemplateError) in
            let items = try interpreter.iterate(value)
            try interpreter.spend(count)
            let (size, extra) = items.count.quotientAndRemainder(dividingBy: count)
            var result: [TemplateValue] = []
            for index in 0..<count {
                let start = index * size + min(index, extra)
                var column = Array(items[start..<(start + size + (index < extra ? 1 : 0))])
                if let filler, !filler.isNone, index >= extra { column.append(filler) }
                result.append(.list(try interpreter.list(column)))
            }
            return result
        }
    }

    // MARK: Sorting

    /// What an item is ordered by: itself or its attribute, strings in lower case by default.
    func sortKey(_ item: TemplateValue, _ attribute: TemplateValue?, _ isSensitive: Bool)
        throws(TemplateError) -> TemplateValue
    {
        var key = item
        if let attribute, !attribute.isNone { key = try path(attribute, of: item) }
        if !isSensitive, case .text(let text) = key { return .text(try lowercased(text)) }
        return key
    }

    private func sort(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["reverse", "case_sensitive", "attribute"])
        let sensitive = given.argument(1, "case_sensitive")?.isTrue ?? false
        var attributes: [TemplateValue?] = [given.argument(2, "attribute")]
        if case .text(let text)? = attributes[0] {
            attributes = text.string.split(separator: ",").map { .text(String($0)) }
        }
        var keyed: [(keys: [TemplateValue], item: TemplateValue)] = []
        for item in try iterate(value) {
            var keys: [TemplateValue] = []
            for attribute in attributes { keys.append(try sortKey(item, attribute, sensitive)) }
            keyed.append((keys, item))
        }
        let isReversed = given.argument(0, "reverse")?.isTrue ?? false
        return .list(try list(sortedByKeys(keyed, isReversed)))
    }

    /// Python's `reverse=True` keeps equal items in their order.
    private func sortedByKeys(
        _ keyed: [(keys: [TemplateValue], item: TemplateValue)], _ isReversed: Bool
    ) throws(TemplateError) -> [TemplateValue] {
        let ordered = try sorted(keyed) { (a, b) throws(TemplateError) in
            for (x, y) in zip(a.keys, b.keys) where !(try isEqual(x, y)) {
                return isReversed ? try isLess(y, x) : try isLess(x, y)
            }
            return false
        }
        return ordered.map(\.item)
    }

    private func dictSort(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["case_sensitive", "by", "reverse"])
        guard case .dict(let dict) = value else {
            if case .undefined(let undefined) = value { throw undefined.error }
            throw TemplateError(
                .undefined, "'\(value.typeDescription)' has no attribute 'items'")
        }
        let by = try text(of: given.argument(1, "by") ?? .text("key")).string
        guard by == "key" || by == "value" else {
            throw TemplateError(.runtime, "You can only sort by either \"key\" or \"value\"")
        }
        let sensitive = given.argument(0, "case_sensitive")?.isTrue ?? false
        var keyed: [(keys: [TemplateValue], item: TemplateValue)] = []
        for entry in dict.entries.values {
            let key = try sortKey(by == "key" ? entry.key : entry.value, nil, sensitive)
            keyed.append(([key], .tuple(try list([entry.key, entry.value]))))
        }
        return .list(
            try list(sortedByKeys(keyed, given.argument(2, "reverse")?.isTrue ?? false)))
    }

    private func groupBy(_ value: TemplateValue, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        try given.check(["attribute", "default", "case_sensitive"], required: 1)
        let attribute = given.argument(0, "attribute")
        let fallback = given.argument(1, "default")
        let sensitive = given.argument(2, "case_sensitive")?.isTrue ?? false
        var keyed: [(key: TemplateValue, shown: TemplateValue, item: TemplateValue)] = []
        for item in try iterate(value) {
            var shown = try sortKey(item, attribute, true)
            if shown.isUndefined, let fallback { shown = fallback }
            keyed.append((try sortKey(shown, nil, sensitive), shown, item))
        }
        keyed = try sorted(keyed) { (a, b) throws(TemplateError) in try isLess(a.key, b.key) }
        var result: [TemplateValue] = []
        var start = 0
        while start < keyed.count {
            var end = start + 1
            while end < keyed.count, try isEqual(keyed[start].key, keyed[end].key) { end += 1 }
            let members = try list(keyed[start..<end].map(\.item))
            let pair = TemplateList(
                [keyed[start].shown, .list(members)], fields: ["grouper", "list"])
            result.append(.tuple(pair))
            start = end
        }
        return .list(try list(result))
    }
}
