/// Letter case, with Python's rules: full mappings, final sigma, title case for first letters.
extension TemplateInterpreter {
    private func mapCase(
        _ text: TemplateText,
        _ map: (Unicode.Scalar, _ index: Int, _ scalars: [Unicode.Scalar]) -> String
    ) throws(TemplateError) -> TemplateText {
        try spend(text.count >> 4)
        let trusted = text.isTrusted
        let scalars = Array(text.string.unicodeScalars)
        var result = ""
        result.reserveCapacity(text.count)
        for (index, scalar) in scalars.enumerated() { result += map(scalar, index, scalars) }
        try check(stringBytes: result.utf8.count)
        return TemplateText(result, trusted: trusted)
    }

    func uppercased(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        if text.isASCII { return try mapASCII(text, from: 0x61, to: 0x7A) }
        return try mapCase(text) { scalar, _, _ in scalar.properties.uppercaseMapping }
    }

    func lowercased(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        if text.isASCII { return try mapASCII(text, from: 0x41, to: 0x5A) }
        return try mapCase(text, Self.lower)
    }

    private func mapASCII(_ text: TemplateText, from: UInt8, to: UInt8) throws(TemplateError)
        -> TemplateText
    {
        try spend(bytes: text.count)
        var result = TemplateText()
        let bytes = text.bytes.map { $0 >= from && $0 <= to ? $0 ^ 0x20 : $0 }
        text.forEachRun { range, trusted in result.append(bytes: bytes[range], trusted: trusted) }
        return result
    }

    private static func lower(
        _ scalar: Unicode.Scalar, _ index: Int, _ scalars: [Unicode.Scalar]
    ) -> String {
        guard scalar == "Σ" else { return scalar.properties.lowercaseMapping }
        // At the end of a word sigma has a form of its own.
        var before = index - 1
        while before >= 0, scalars[before].properties.isCaseIgnorable { before -= 1 }
        var after = index + 1
        while after < scalars.count, scalars[after].properties.isCaseIgnorable { after += 1 }
        let endsWord =
            before >= 0 && scalars[before].properties.isCased
            && !(after < scalars.count && scalars[after].properties.isCased)
        return endsWord ? "ς" : "σ"
    }

    func capitalized(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        try mapCase(text) { scalar, index, scalars in
            index == 0 ? scalar.properties.titlecaseMapping : Self.lower(scalar, index, scalars)
        }
    }

    /// The `title` filter: words start after spaces, hyphens and opening brackets.
    func titled(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        var startsWord = true
        return try mapCase(text) { scalar, index, scalars in
            let isBoundary =
                scalar.isPythonSpace || ["-", "(", "{", "[", "<"].contains(scalar)
            defer { startsWord = isBoundary }
            if isBoundary { return String(Character(scalar)) }
            return startsWord
                ? scalar.properties.uppercaseMapping : Self.lower(scalar, index, scalars)
        }
    }

    /// `str.title()`: words start after anything that has no case.
    func titledByCase(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        var afterCased = false
        return try mapCase(text) { scalar, index, scalars in
            defer { afterCased = scalar.properties.isCased }
            return afterCased
                ? Self.lower(scalar, index, scalars) : scalar.properties.titlecaseMapping
        }
    }

    func swappedCase(_ text: TemplateText) throws(TemplateError) -> TemplateText {
        try mapCase(text) { scalar, index, scalars in
            scalar.properties.isUppercase
                ? Self.lower(scalar, index, scalars) : scalar.properties.uppercaseMapping
        }
    }
}

extension Unicode.Scalar {
    /// Python's `str.isalpha` for one code point.
    var isPythonAlphabetic: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return true
        default: return false
        }
    }

    /// Python's `str.isalnum` for one code point.
    var isPythonAlphanumeric: Bool {
        isPythonAlphabetic || properties.numericType != nil
    }
}
