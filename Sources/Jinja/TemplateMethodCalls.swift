import OrderedCollections

/// Calls of the methods named in ``TemplateMethods``.
extension TemplateInterpreter {
    func call(_ method: TemplateMethod, _ given: TemplateCall) throws(TemplateError)
        -> TemplateValue
    {
        var given = given
        given.name = method.name
        switch method.receiver {
        case .text(let text):
            try spend(bytes: text.count)
            if text.isMarkup { return try callMarkup(method.name, on: text, given) }
            return try call(method.name, on: text, given)
        case .dict(let dict): return try call(method.name, on: dict, given)
        case .list(let list), .tuple(let list):
            return try call(method.name, on: list, method.receiver, given)
        case .loop(let loop): return try call(method.name, on: loop, given)
        case .cycler(let cycler):
            if method.name == "reset" {
                cycler.position = 0
                return .none
            }
            defer { cycler.position = (cycler.position + 1) % cycler.items.count }
            return cycler.items[cycler.position]
        case .double(let number): return .bool(number == number.rounded())
        case .int(let number):
            if method.name == "is_integer" { return .bool(true) }
            return .int(Int.bitWidth - number.magnitude.leadingZeroBitCount)
        default:
            throw TemplateError(.type, "'\(method.name)' is not callable here")
        }
    }

    private func call(_ name: String, on loop: TemplateLoopState, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        if name == "cycle" {
            guard !given.positional.isEmpty else {
                throw TemplateError(.type, "no items for cycling given")
            }
            return given.positional[loop.index % given.positional.count]
        }
        let checked = try list(given.positional)
        if let last = loop.lastChecked, try isEqual(.tuple(last), .tuple(checked)) {
            return .bool(false)
        }
        loop.lastChecked = checked
        return .bool(true)
    }

    private func call(_ name: String, on dict: TemplateDict, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        switch name {
        case "get":
            try given.check(["key", "default"], required: 1)
            let key = try dictKey(given.argument(0, "key") ?? .none)
            return dict.entries[key]?.value ?? given.argument(1, "default") ?? .none
        case "items": return .view(TemplateView(.items, of: dict))
        case "keys": return .view(TemplateView(.keys, of: dict))
        case "values": return .view(TemplateView(.values, of: dict))
        default: return .dict(dict)
        }
    }

    private func call(
        _ name: String, on list: TemplateList, _ receiver: TemplateValue, _ given: TemplateCall
    ) throws(TemplateError) -> TemplateValue {
        if name == "copy" { return receiver }
        try given.check(["value", "start", "stop"], required: 1)
        let wanted = given.argument(0, "value") ?? .none
        if name == "count" {
            var count = 0
            for item in list.items where try isEqual(item, wanted) { count += 1 }
            return .int(count)
        }
        var bounds: [Int?] = [nil, nil, nil]
        if let start = given.argument(1, "start") { bounds[0] = try integer(start) }
        if let stop = given.argument(2, "stop") { bounds[1] = try integer(stop) }
        let run = SliceRun(bounds, count: list.items.count)
        for offset in 0..<run.count where try isEqual(list.items[run[offset]], wanted) {
            return .int(run[offset])
        }
        throw TemplateError(.value, "the value is not in the list")
    }

    // MARK: Strings

    func call(_ name: String, on text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        switch name {
        case "strip", "lstrip", "rstrip":
            let what = try strippable(given.argument(0, "chars"))
            return .text(strip(text, what, left: name != "rstrip", right: name != "lstrip"))
        case "split", "rsplit": return try split(name, text, given)
        case "startswith", "endswith": return try affix(name, text, given)
        case "find", "rfind", "index", "rindex", "count": return try search(name, text, given)
        case "replace":
            try given.check(["old", "new", "count"], required: 2)
            let limit = try given.argument(2, "count").map { (v) throws(TemplateError) in
                try integer(v)
            }
            return .text(
                try replace(text, string(given, 0), string(given, 1), limit ?? -1))
        case "upper": return .text(try uppercased(text))
        case "lower", "casefold": return .text(try lowercased(text))
        case "title": return .text(try titledByCase(text))
        case "capitalize": return .text(try capitalized(text))
        case "swapcase": return .text(try swappedCase(text))
        case "join":
            return try apply(
                .known(.join), to: given.positional.first ?? .none,
                TemplateCall(positional: [.text(text)]))
        case "format": return try checked(formatBraces(text, given))
        case "center", "ljust", "rjust", "zfill", "expandtabs":
            return try arrange(name, text, given)
        case "partition", "rpartition": return try partition(name, text, given)
        case "removeprefix":
            let affix = try string(given, 0)
            return .text(text.matches(affix, at: 0) ? text[affix.count..<text.count] : text)
        case "removesuffix":
            let affix = try string(given, 0)
            let start = text.count - affix.count
            return .text(start >= 0 && text.matches(affix, at: start) ? text[0..<start] : text)
        case "splitlines":
            let keeps = given.argument(0, "keepends")?.isTrue ?? false
            let lines = TemplateMethods.lines(of: text, keepsEnds: keeps)
            return .list(try list(lines.map { .text(text[$0]) }))
        case "isupper", "islower":
            return .bool(try TemplateMethods.hasCase(text, upper: name == "isupper"))
        case "istitle": return .bool(TemplateMethods.isTitle(text))
        default: return .bool(TemplateMethods.all(name, text))
        }
    }

    private func string(_ given: TemplateCall, _ index: Int) throws(TemplateError)
        -> TemplateText
    {
        guard index < given.positional.count else {
            throw TemplateError(
                .type, "\(given.name)() takes at least \(index + 1) arguments")
        }
        if case .text(let text) = given.positional[index] { return text }
        if case .undefined(let undefined) = given.positional[index] { throw undefined.error }
        throw TemplateError(
            .type, "\(given.name)() argument \(index + 1) must be str, not "
                + given.positional[index].typeName)
    }

    private func split(_ name: String, _ text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        try given.check(["sep", "maxsplit"])
        var separator: TemplateText?
        switch given.argument(0, "sep") {
        case nil, .none?: break
        case .text(let text)?: separator = text
        case .undefined(let undefined)?: throw undefined.error
        case .some(let other):
            throw TemplateError(.type, "must be str or None, not \(other.typeName)")
        }
        let limit = try integer(given.argument(1, "maxsplit") ?? .int(-1))
        let parts =
            name == "split"
            ? try split(text, separator, limit) : try splitFromRight(text, separator, limit)
        return .list(try list(parts.map { .text($0) }))
    }

    private func affix(_ name: String, _ text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        guard let first = given.positional.first else {
            throw TemplateError(.type, "\(name)() takes at least 1 argument (0 given)")
        }
        let range = try byteRange(text, given)
        var candidates = [first]
        if case .tuple(let tuple) = first { candidates = tuple.items }
        for candidate in candidates {
            guard case .text(let affix) = candidate else {
                if case .undefined(let undefined) = candidate { throw undefined.error }
                throw TemplateError(
                    .type, "\(name) first arg must be str or a tuple of str, not "
                        + candidate.typeName)
            }
            let start = name == "startswith" ? range.lowerBound : range.upperBound - affix.count
            if affix.count <= range.count, text.matches(affix, at: start) { return .bool(true) }
        }
        return .bool(false)
    }

    /// The `start` and `end` arguments of searches, in bytes.
    private func byteRange(_ text: TemplateText, _ given: TemplateCall) throws(TemplateError)
        -> Range<Int>
    {
        if given.positional.count < 2 { return 0..<text.count }
        var bounds: [Int?] = [nil, nil, nil]
        for index in 1..<min(given.positional.count, 3) where !given.positional[index].isNone {
            bounds[index - 1] = try integer(given.positional[index])
        }
        let offsets = text.scalarOffsets
        let run = SliceRun(bounds, count: offsets.count - 1)
        return offsets[run.start]..<offsets[run.start + run.count]
    }

    private func search(_ name: String, _ text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        let needle = try string(given, 0)
        let range = try byteRange(text, given)
        try spend(bytes: text.count * 2)
        if name == "count" {
            if needle.isEmpty { return .int(text[range].scalarCount + 1) }
            var count = 0
            var start = range.lowerBound
            while let found = text.find(needle, from: start, to: range.upperBound) {
                count += 1
                start = found + needle.count
            }
            return .int(count)
        }
        let found =
            name.hasPrefix("r")
            ? text.findLast(needle, from: range.lowerBound, to: range.upperBound)
            : text.find(needle, from: range.lowerBound, to: range.upperBound)
        if let found { return .int(text[0..<found].scalarCount) }
        if name.hasSuffix("index") { throw TemplateError(.value, "substring not found") }
        return .int(-1)
    }

    private func arrange(_ name: String, _ text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        if name == "expandtabs" {
            return .text(try expandTabs(text, integer(given.argument(0, "tabsize") ?? .int(8))))
        }
        let width = try integer(given.positional.first ?? .none)
        if name == "zfill" {
            let hasSign = text.bytes.first == 0x2B || text.bytes.first == 0x2D
            let sign = text[0..<(hasSign ? 1 : 0)]
            let digits = text[sign.count..<text.count]
            var result = sign
            result.append(try pad(digits, width - sign.count, TemplateText("0"), .right))
            return .text(result)
        }
        let filler = given.positional.count > 1 ? try string(given, 1) : TemplateText(" ")
        let alignment: Alignment =
            name == "center" ? .center : name == "ljust" ? .left : .right
        return .text(try pad(text, width, filler, alignment))
    }

    private func expandTabs(_ text: TemplateText, _ size: Int) throws(TemplateError)
        -> TemplateText
    {
        guard size <= 256 else {
            throw TemplateError(.limit, "tabs may be at most 256 columns wide")
        }
        var result = TemplateText()
        var column = 0
        for (index, byte) in text.bytes.enumerated() {
            if byte == 0x09 {
                let width = size > 0 ? size - column % size : 0
                result.append(String(repeating: " ", count: width))
                column += width
                guard result.count <= limits.stringBytes else { break }
                continue
            }
            result.append(text, index..<(index + 1))
            if byte == 0x0A || byte == 0x0D {
                column = 0
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        try check(stringBytes: result.count)
        return result
    }

    private func partition(_ name: String, _ text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        let separator = try string(given, 0)
        guard !separator.isEmpty else { throw TemplateError(.value, "empty separator") }
        try spend(bytes: text.count)
        let fromRight = name == "rpartition"
        let parts: [TemplateText]
        if let found = fromRight ? text.findLast(separator) : text.find(separator) {
            parts = [
                text[0..<found], separator, text[(found + separator.count)..<text.count],
            ]
        } else {
            let empty = TemplateText()
            parts = fromRight ? [empty, empty, text] : [text, empty, empty]
        }
        return .tuple(try list(parts.map { .text($0) }))
    }
}
