/// `Markup` strings, as MarkupSafe 3.0 defines them.
extension TemplateInterpreter {
    /// `escape(text)`: a `Markup`, of the origin of what it stands for. A `Markup` stays as it is.
    func escaped(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        if text.isMarkup { return text }
        try spend(bytes: text.count * 4)
        let entities: [UInt8: String] = [
            0x26: "&amp;", 0x3C: "&lt;", 0x3E: "&gt;", 0x22: "&#34;", 0x27: "&#39;",
        ]
        var result = TemplateText()
        for (index, byte) in text.bytes.enumerated() {
            if let entity = entities[byte] {
                result.append(entity, trusted: text.trusted(at: index))
            } else {
                result.append(byte: byte, trusted: text.trusted(at: index))
            }
        }
        try check(stringBytes: result.count)
        return result.marked()
    }

    /// `left + right`: a `Markup` on either side escapes the other.
    func sum(_ left: TemplateText, _ right: TemplateText) throws(TemplateError) -> TemplateText {
        var sum = left
        var added = right
        if left.isMarkup || right.isMarkup {
            sum = try escaped(left)
            added = try escaped(right)
        }
        try check(stringBytes: sum.count + added.count)
        sum.append(added)
        return sum
    }

    // MARK: Methods

    /// A method of a `Markup`: arguments that end up in the result are escaped, and strings in it
    /// are `Markup` again.
    func callMarkup(_ name: String, on text: TemplateText, _ given: TemplateCall)
        throws(TemplateError) -> TemplateValue
    {
        var given = given
        switch name {
        case "escape":
            try given.check(["s"], required: 1)
            return .text(try escaped(self.text(of: given.positional.first ?? .none)))
        case "unescape": return .text(unescaped(text))
        case "striptags": return .text(try stripTags(text))
        case "join":
            var items: [TemplateValue] = []
            for item in try iterate(given.positional.first ?? .none) {
                try spend(1)
                items.append(.text(try escaped(self.text(of: item))))
            }
            given.positional = [.list(try list(items))]
        case "replace", "ljust", "rjust", "center":
            if given.positional.count > 1, case .text(let argument) = given.positional[1] {
                given.positional[1] = .text(try escaped(argument))
            }
        default: break
        }
        return marked(try call(name, on: text, given))
    }

    private func marked(_ value: TemplateValue) -> TemplateValue {
        switch value {
        case .text(let text): .text(text.marked())
        case .list(let list): .list(TemplateList(list.items.map(marked)))
        case .tuple(let list): .tuple(TemplateList(list.items.map(marked)))
        default: value
        }
    }

    // MARK: Plain text again

    /// Without tags, comments and runs of white space, and with entities replaced.
    func stripTags(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        try spend(bytes: text.count * 4)
        let bare = without("<", ">", without("<!--", "-->", text))
        var joined = TemplateText()
        for (index, word) in try split(bare, nil, -1).enumerated() {
            if index > 0 { joined.append(" ") }
            joined.append(word)
        }
        return unescaped(joined)
    }

    /// Without the stretches from an opening to the next closing.
    private func without(_ open: String, _ close: String, _ text: TemplateText) -> TemplateText {
        let (opening, closing) = (TemplateText(open), TemplateText(close))
        var kept = TemplateText()
        var position = 0
        while position < text.count {
            guard let start = text.find(opening, from: position),
                let end = text.find(closing, from: start)
            else { break }
            kept.append(text, position..<start)
            position = end + closing.count
        }
        kept.append(text, position..<text.count)
        return kept
    }

    private static let entities: [String: Unicode.Scalar] = [
        "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'",
    ]

    /// Longest entity looked at: `&#x10FFFF;` and some leading zeros.
    private static let entityMax = 16

    /// With character references replaced; a character has the origin of its reference.
    private func unescaped(_ text: TemplateText) -> TemplateText {
        guard text.bytes.contains(0x26) else { return text.marked(false) }
        var result = TemplateText()
        var position = 0
        while position < text.count {
            let window = text.bytes[position..<min(position + Self.entityMax, text.count)]
            if window.first == 0x26, let end = window.firstIndex(of: 0x3B),
                let scalar = Self.scalar(of: text.bytes[(position + 1)..<end])
            {
                result.append(scalar, trusted: (position...end).allSatisfy(text.trusted(at:)))
                position = end + 1
            } else {
                result.append(text, position..<(position + 1))
                position += 1
            }
        }
        return result
    }

    private static func scalar(of entity: ArraySlice<UInt8>) -> Unicode.Scalar? {
        let name = String(decoding: entity, as: UTF8.self)
        guard name.hasPrefix("#") else { return entities[name] }
        let isHex = name.hasPrefix("#x") || name.hasPrefix("#X")
        let digits = name.dropFirst(isHex ? 2 : 1)
        guard let first = digits.first, first.isHexDigit,
            let value = UInt32(digits, radix: isHex ? 16 : 10)
        else { return nil }
        return value == 0 ? "\u{FFFD}" : Unicode.Scalar(value) ?? "\u{FFFD}"
    }
}
