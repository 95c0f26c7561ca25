import OrderedCollections

/// Filters over strings.
extension TemplateInterpreter {
    func applyText(
        _ name: TemplateFilter.Name, _ value: TemplateValue, _ given: TemplateCall
    ) throws(TemplateError) -> TemplateValue {
        let text = try text(of: value)
        try spend(bytes: text.count)
        switch name {
        case .e, .escape:
            try given.check([])
            return .text(try escaped(text))
        case .forceescape:
            try given.check([])
            return .text(try escaped(text.marked(false)))
        case .safe:
            try given.check([])
            return .text(text.marked())
        case .string:
            try given.check([])
            return .text(text)
        case .lower: return .text(try lowercased(text).marked(text.isMarkup))
        case .upper: return .text(try uppercased(text).marked(text.isMarkup))
        case .capitalize: return .text(try capitalized(text).marked(text.isMarkup))
        case .title: return .text(try titled(text))
        case .trim:
            try given.check(["chars"])
            return .text(strip(text, try strippable(given.argument(0, "chars"))))
        case .replace:
            try given.check(["old", "new", "count"], required: 2)
            let old = try self.text(of: given.argument(0, "old") ?? .none)
            let new = try self.text(of: given.argument(1, "new") ?? .none)
            var limit = -1
            if let count = given.argument(2, "count"), !count.isNone { limit = try integer(count) }
            return .text(try replace(text, old, new, limit))
        case .indent: return .text(try indent(text, value, given))
        case .center:
            try given.check(["width"])
            let width = try integer(given.argument(0, "width") ?? .int(80))
            let padded = try pad(text, width, TemplateText(" "), .center)
            return .text(padded.marked(text.isMarkup))
        case .format: return try checked(formatFilter(text, given).marked(text.isMarkup))
        case .truncate: return .text(try truncate(text, given))
        case .wordcount: return .int(wordCount(text))
        case .wordwrap: return .text(try wordWrap(text, given))
        case .urlencode: return .text(try urlEncode(value, text))
        default: return .text(try stripTags(text))
        }
    }

    private func indent(_ text: TemplateText, _ value: TemplateValue, _ given: TemplateCall)
        throws(TemplateError) -> TemplateText
    {
        try given.check(["width", "first", "blank"])
        if case .undefined(let undefined) = value { throw undefined.error }
        guard case .text = value else {
            throw TemplateError(
                .type, "unsupported operand type(s) for +=: '\(value.typeName)' and 'str'")
        }
        let width = given.argument(0, "width") ?? .int(4)
        var indentation: TemplateText
        if case .text(let given) = width {
            indentation = given
        } else {
            let count = max(try integer(width), 0)
            try check(stringBytes: count)
            indentation = TemplateText(String(repeating: " ", count: count))
        }
        let indentsBlank = given.argument(2, "blank")?.isTrue ?? false
        let indentsFirst = given.argument(1, "first")?.isTrue ?? false
        if text.isMarkup {
            // Jinja takes the indentation of a Markup as it is.
            indentation.isMarkup = true
        } else if indentation.isMarkup {
            return try indent(text, by: indentation, first: indentsFirst, blank: indentsBlank)
        }
        var padded = text
        padded.append("\n")
        let lines = TemplateMethods.lines(of: padded, keepsEnds: false)
        var result = TemplateText()
        result.isMarkup = text.isMarkup
        if indentsFirst { result.append(indentation) }
        for (index, line) in lines.enumerated() {
            if index > 0 {
                result.append("\n")
                if indentsBlank || !line.isEmpty { result.append(indentation) }
            }
            result.append(padded, line)
            if result.count > limits.stringBytes { break }
        }
        try check(stringBytes: result.count)
        return result
    }

    /// Indents plain text by a `Markup`, with Jinja's sums: each escapes what is not markup yet, so
    /// the lines are escaped, and with `first` those after the first twice.
    private func indent(
        _ text: TemplateText, by indentation: TemplateText, first: Bool, blank: Bool
    ) throws(TemplateError) -> TemplateText {
        var padded = text
        padded.append("\n")
        var result = TemplateText()
        for (index, range) in TemplateMethods.lines(of: padded, keepsEnds: false).enumerated() {
            let line = padded[range]
            if index > 0 { result.append("\n") }
            if index > 0, blank || !line.isEmpty { result.append(indentation) }
            result.append(blank || (index > 0 && !line.isEmpty) ? try escaped(line) : line)
            try check(stringBytes: result.count)
        }
        // A Markup joins the lines only where blank ones are indented too.
        return first ? try sum(indentation, result.marked(blank)) : result.marked(blank)
    }

    private func truncate(_ text: TemplateText, _ given: TemplateCall) throws(TemplateError)
        -> TemplateText
    {
        try given.check(["length", "killwords", "end", "leeway"])
        let length = try integer(given.argument(0, "length") ?? .int(255))
        let end = try self.text(of: given.argument(2, "end") ?? .text("..."))
        var leeway = 5
        if let given = given.argument(3, "leeway"), !given.isNone { leeway = try integer(given) }
        let offsets = text.scalarOffsets
        guard length >= end.scalarCount, leeway >= 0 else {
            throw TemplateError(.value, "truncate: the length is below that of the ending")
        }
        if offsets.count - 1 <= length + leeway { return text }
        var result = text[0..<offsets[length - end.scalarCount]]
        if !(given.argument(1, "killwords")?.isTrue ?? false),
            let space = result.findLast(TemplateText(" "))
        {
            result = result[0..<space]
        }
        return try sum(result, end)
    }

    private func wordCount(_ text: TemplateText) -> Int {
        var count = 0
        var inWord = false
        for scalar in text.string.unicodeScalars {
            let isWord = scalar == "_" || scalar.isPythonAlphanumeric
            if isWord && !inWord { count += 1 }
            inWord = isWord
        }
        return count
    }

    /// Wraps each line at spaces. Words break after hyphens as `textwrap` does.
    private func wordWrap(_ text: TemplateText, _ given: TemplateCall) throws(TemplateError)
        -> TemplateText
    {
        try given.check(["width", "break_long_words", "wrapstring", "break_on_hyphens"])
        let width = max(try integer(given.argument(0, "width") ?? .int(79)), 1)
        let breaksLong = given.argument(1, "break_long_words")?.isTrue ?? true
        let breaksHyphens = given.argument(3, "break_on_hyphens")?.isTrue ?? true
        var separator = TemplateText("\n")
        if let given = given.argument(2, "wrapstring"), !given.isNone {
            separator = try self.text(of: given)
        }
        var wrapper = TemplateWrapper(width: width, breaksLong: breaksLong)
        for line in TemplateMethods.lines(of: text, keepsEnds: false) {
            wrapper.wrap(text[line].string, breaksHyphens: breaksHyphens)
        }
        try spend(text.count >> 2)
        var result = TemplateText()
        for (index, line) in wrapper.lines.enumerated() {
            let lineText = TemplateText(line, trusted: text.isTrusted)
            if index > 0 { result.append(separator) }
            result.append(separator.isMarkup ? try escaped(lineText) : lineText)
        }
        try check(stringBytes: result.count)
        return result.marked(separator.isMarkup)
    }

    private func urlEncode(_ value: TemplateValue, _ text: TemplateText) throws(TemplateError)
        -> TemplateText
    {
        func pairs(_ items: [TemplateValue]) throws(TemplateError) -> TemplateText {
            var result = TemplateText()
            for (index, item) in items.enumerated() {
                let parts = try iterate(item)
                guard parts.count == 2 else {
                    throw TemplateError(.value, "urlencode needs pairs")
                }
                if index > 0 { result.append("&") }
                result.append(quote(try self.text(of: parts[0]), keeps: "", isForm: true))
                result.append("=")
                result.append(quote(try self.text(of: parts[1]), keeps: "", isForm: true))
            }
            return result
        }
        switch value {
        case .dict(let dict): return try pairs(iterate(.view(TemplateView(.items, of: dict))))
        case .list, .tuple, .generator, .view: return try pairs(iterate(value))
        default: return quote(text, keeps: "/")
        }
    }

    /// - Parameter isForm: spaces become `+`, as in form data.
    private func quote(_ text: TemplateText, keeps extra: String, isForm: Bool = false)
        -> TemplateText
    {
        let plain = Set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~".utf8
        ).union(extra.utf8)
        let hex = Array("0123456789ABCDEF".utf8)
        var result = TemplateText()
        for (index, byte) in text.bytes.enumerated() {
            let trusted = text.trusted(at: index)
            if plain.contains(byte) {
                result.append(byte: byte, trusted: trusted)
            } else if isForm && byte == 0x20 {
                result.append("+", trusted: trusted)
            } else {
                let escape = [0x25, hex[Int(byte >> 4)], hex[Int(byte & 15)]]
                result.append(bytes: escape, trusted: trusted)
            }
        }
        return result
    }
}

/// Fills lines of at most `width` code points.
struct TemplateWrapper {
    let width: Int
    let breaksLong: Bool
    private(set) var lines: [String] = []

    init(width: Int, breaksLong: Bool) {
        self.width = width
        self.breaksLong = breaksLong
    }

    mutating func wrap(_ line: String, breaksHyphens: Bool) {
        var chunks = Self.chunks(of: line, breaksHyphens: breaksHyphens)[...]
        var made: [String] = []
        while !chunks.isEmpty {
            var current: [[Unicode.Scalar]] = []
            var length = 0
            if !made.isEmpty, let first = chunks.first, first.allSatisfy(\.isPythonSpace) {
                chunks.removeFirst()
            }
            while let next = chunks.first, length + next.count <= width {
                current.append(next)
                length += next.count
                chunks.removeFirst()
            }
            if let next = chunks.first, next.count > width {
                let room = breaksLong ? max(width - length, 1) : 0
                if breaksLong {
                    current.append(Array(next.prefix(room)))
                    chunks[chunks.startIndex] = Array(next.dropFirst(room))
                } else if current.isEmpty {
                    current.append(next)
                    chunks.removeFirst()
                }
            }
            if let last = current.last, last.allSatisfy(\.isPythonSpace) { current.removeLast() }
            if !current.isEmpty {
                var view = String.UnicodeScalarView()
                for chunk in current { view.append(contentsOf: chunk) }
                made.append(String(view))
            }
        }
        lines += made.isEmpty ? [""] : made
    }

    /// Words and the spaces between them.
    private static func chunks(of line: String, breaksHyphens: Bool) -> [[Unicode.Scalar]] {
        var result: [[Unicode.Scalar]] = []
        var current: [Unicode.Scalar] = []
        for scalar in line.unicodeScalars {
            if let last = current.last {
                let changes = last.isPythonSpace != scalar.isPythonSpace
                let afterHyphen =
                    breaksHyphens && last == "-" && current.count > 1
                    && current[current.count - 2].properties.isAlphabetic
                    && scalar.properties.isAlphabetic
                if changes || afterHyphen {
                    result.append(current)
                    current = []
                }
            }
            current.append(scalar)
        }
        if !current.isEmpty { result.append(current) }
        return result
    }
}
