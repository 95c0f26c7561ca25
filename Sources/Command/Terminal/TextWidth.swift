/// How many terminal columns text takes, and the form in which it is safe to show.
///
/// The rule is that of wcwidth, scalar by scalar, with one exception for what terminals of today
/// draw as one picture: an emoji with its joiners and modifiers takes two columns.
enum TextWidth {
    /// Columns of a tab in the line editor, where a tab has one width wherever it stands.
    static let tab = 4

    static func columns(_ text: some StringProtocol) -> Int {
        text.reduce(0) { $0 + columns($1) }
    }

    /// Columns of one grapheme as `visible` shows it.
    static func columns(_ character: Character) -> Int {
        if let ascii = character.asciiValue {
            if ascii >= 0x20, ascii < 0x7F { return 1 }
            // A line break of CR LF is one grapheme with the ASCII value of LF.
            return ascii == 0x0A ? 0 : ascii == 0x09 ? tab : 2
        }
        let scalars = character.unicodeScalars
        if needsEscape(character) { return visible(character).count }
        guard let first = scalars.first, scalars.count > 1 else {
            return scalars.first.map(columns) ?? 0
        }
        if first.properties.isEmoji, isPicture(scalars) { return 2 }
        return scalars.reduce(0) { $0 + columns($1) }
    }

    /// The grapheme with everything a terminal would act on written out: `^[` for ESC.
    static func visible(_ character: Character) -> String {
        guard needsEscape(character) else { return String(character) }
        var shown = ""
        for scalar in character.unicodeScalars {
            switch scalar.value {
            case 0..<0x20, 0x7F:
                shown += "^"
                shown.unicodeScalars.append(Unicode.Scalar(UInt8(scalar.value) ^ 0x40))
            case _ where isHarmful(scalar):
                shown += "<U+\(hexadecimal(scalar.value))>"
            default:
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }

    /// Line breaks and tabs stay; the caller lays them out.
    private static func needsEscape(_ character: Character) -> Bool {
        if character == "\n" || character == "\r\n" || character == "\t" { return false }
        return character.unicodeScalars.contains(where: isHarmful)
    }

    private static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7F...0x9F: true
        // Direction overrides and isolates: they show text in another order than it has.
        case 0x202A...0x202E, 0x2066...0x2069: true
        // Line and paragraph separators break the row in some terminals.
        case 0x2028, 0x2029: true
        default: false
        }
    }

    private static func columns(_ scalar: Unicode.Scalar) -> Int {
        let value = scalar.value
        if value >= 0x20, value < 0x7F { return 1 }
        // Vowels and finals of Hangul: they are drawn into the syllable before them.
        if (0x1160...0x11FF).contains(value) || (0xD7B0...0xD7FF).contains(value) { return 0 }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .enclosingMark: return 0
        case .format:
            // Visible ones: the soft hyphen, and the number signs that Arabic and others put
            // before digits.
            return value == 0xAD || !scalar.properties.isDefaultIgnorableCodePoint ? 1 : 0
        default: break
        }
        return scalar.properties.isEmojiPresentation && !isRegional(scalar)
            || WideRanges.contains(scalar) ? 2 : 1
    }

    /// More than one scalar drawn as one emoji: joined, with a skin tone, with the variation
    /// selector that asks for the picture, a keycap, or a flag of two letters.
    private static func isPicture(_ scalars: Character.UnicodeScalarView) -> Bool {
        if scalars.allSatisfy(isRegional) { return true }
        return scalars.dropFirst().contains {
            $0 == "\u{200D}" || $0 == "\u{FE0F}" || $0 == "\u{20E3}"
                || $0.properties.isEmojiModifier
        }
    }

    private static func isRegional(_ scalar: Unicode.Scalar) -> Bool {
        (0x1F1E6...0x1F1FF).contains(scalar.value)
    }

    private static func hexadecimal(_ value: UInt32) -> String {
        let digits = String(value, radix: 16, uppercase: true)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
