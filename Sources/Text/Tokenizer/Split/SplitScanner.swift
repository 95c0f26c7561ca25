/// Finds the pieces of a split pattern by walking the bytes once; no backtracking beyond one
/// scalar, so the time is linear in the text whatever it contains.
struct SplitScanner: Sendable {
    let pattern: SplitPattern
    private let classes: [UInt8]

    private static let letterOrNumber = ScalarClasses.letter | ScalarClasses.number
    private static let apostrophe = UInt8(ascii: "'")
    private static let newline = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")
    private static let space = UInt8(ascii: " ")

    init(_ pattern: SplitPattern) {
        self.pattern = pattern
        classes = ScalarClasses.table
    }

    /// The end of the piece that starts at `start`; greater than `start`, at most `end`.
    @inline(__always)
    func next(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int {
        switch pattern {
        case .gpt2: return gpt2(bytes, start, end)
        case .cl100k(let digitsMax, let joinsMarks):
            return cl100k(bytes, start, end, digitsMax: digitsMax, joinsMarks: joinsMarks)
        case .o200k(let digitsMax, let contractions):
            return o200k(bytes, start, end, digitsMax: digitsMax, contractions: contractions)
        case .visibleSpaces: return visibleSpaces(bytes, start, end)
        default:
            // Whatever lies before the next match is one piece.
            var index = start
            while index < end {
                if match(bytes, index, end) != nil {
                    return index > start ? index : match(bytes, index, end) ?? end
                }
                index += scalar(bytes, index, end).length
            }
            return end
        }
    }

    @inline(__always)
    private func scalar(_ bytes: [UInt8], _ index: Int, _ end: Int) -> (flags: UInt8, length: Int) {
        let lead = bytes[index]
        if lead < 0x80 { return (classes[Int(lead)], 1) }
        let (code, length) = UTF8Scan.decode(bytes, at: index, end: end)
        return (ScalarClasses.flags(of: code, in: classes), length)
    }

    /// The end of the run of scalars with any of `flags`.
    @inline(__always)
    private func run(_ bytes: [UInt8], _ start: Int, _ end: Int, of flags: UInt8) -> Int {
        var index = start
        while index < end {
            let (found, length) = scalar(bytes, index, end)
            if found & flags == 0 { break }
            index &+= length
        }
        return index
    }

    @inline(__always)
    private func run(_ bytes: [UInt8], _ start: Int, _ end: Int, without flags: UInt8) -> Int {
        var index = start
        while index < end {
            let (found, length) = scalar(bytes, index, end)
            if found & flags != 0 { break }
            index &+= length
        }
        return index
    }

    @inline(__always)
    private func run(_ bytes: [UInt8], _ start: Int, _ end: Int, numbersMax: Int) -> Int {
        var index = start
        var count = 0
        while index < end, count < numbersMax {
            let (found, length) = scalar(bytes, index, end)
            if found & ScalarClasses.number == 0 { break }
            index &+= length
            count &+= 1
        }
        return index
    }

    @inline(__always)
    private func isNewline(_ byte: UInt8) -> Bool {
        byte == Self.newline || byte == Self.carriageReturn
    }

    // MARK: Parts shared by the patterns

    /// `'s|'t|'re|'ve|'m|'ll|'d` at the apostrophe at `start`; nil when it is none of them.
    private func contraction(_ bytes: [UInt8], _ start: Int, _ end: Int, anyCase: Bool) -> Int? {
        guard start + 1 < end else { return nil }
        let fold: UInt8 = anyCase ? 0x20 : 0
        let first = bytes[start + 1] | (bytes[start + 1] < 0x80 ? fold : 0)
        switch first {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return start + 2
        case 0xC5 where anyCase:
            // U+017F, the long s, folds to s.
            return start + 2 < end && bytes[start + 2] == 0xBF ? start + 3 : nil
        case UInt8(ascii: "r"), UInt8(ascii: "v"), UInt8(ascii: "l"):
            guard start + 2 < end, bytes[start + 2] < 0x80 else { return nil }
            let wanted = first == UInt8(ascii: "l") ? UInt8(ascii: "l") : UInt8(ascii: "e")
            return bytes[start + 2] | fold == wanted ? start + 3 : nil
        default: return nil
        }
    }

    /// `\s+(?!\S)|\s+`, and before it `\s*[\r\n]+` where `splitsAtNewlines`.
    @inline(__always)
    private func whitespace(
        _ bytes: [UInt8], _ start: Int, _ end: Int, splitsAtNewlines: Bool
    ) -> Int {
        var index = start
        var last = start
        var afterNewline = -1
        while index < end {
            let (flags, length) = scalar(bytes, index, end)
            if flags & ScalarClasses.whitespace == 0 { break }
            last = index
            if isNewline(bytes[index]) { afterNewline = index + 1 }
            index &+= length
        }
        if splitsAtNewlines, afterNewline > 0 { return afterNewline }
        // The last whitespace before a word is left to that word.
        return index == end || last == start ? index : last
    }

    // MARK: Patterns that cover everything

    private func gpt2(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int {
        let lead = bytes[start]
        if lead == Self.apostrophe,
            let stop = contraction(bytes, start, end, anyCase: false)
        {
            return stop
        }
        let body = lead == Self.space && start + 1 < end ? start + 1 : start
        let (flags, length) = scalar(bytes, body, end)
        if flags & ScalarClasses.letter != 0 {
            return run(bytes, body + length, end, of: ScalarClasses.letter)
        }
        if flags & ScalarClasses.number != 0 {
            return run(bytes, body + length, end, of: ScalarClasses.number)
        }
        if flags & ScalarClasses.whitespace == 0 {
            return run(
                bytes, body + length, end, without: Self.letterOrNumber | ScalarClasses.whitespace)
        }
        return whitespace(bytes, start, end, splitsAtNewlines: false)
    }

    private func cl100k(
        _ bytes: [UInt8], _ start: Int, _ end: Int, digitsMax: Int, joinsMarks: Bool
    ) -> Int {
        let lead = bytes[start]
        if lead == Self.apostrophe,
            let stop = contraction(bytes, start, end, anyCase: true)
        {
            return stop
        }
        let word = joinsMarks ? ScalarClasses.letter | ScalarClasses.mark : ScalarClasses.letter
        let (flags, length) = scalar(bytes, start, end)
        if flags & ScalarClasses.letter != 0 {
            return run(bytes, start + length, end, of: word)
        }
        if flags & ScalarClasses.number != 0 {
            return run(bytes, start, end, numbersMax: digitsMax)
        }
        let second = start + length
        if !isNewline(lead), second < end, scalar(bytes, second, end).flags & word != 0 {
            return run(bytes, second, end, of: word)
        }
        if flags & word != 0 { return run(bytes, second, end, of: word) }
        return symbols(bytes, start, end, word: word, slash: false)
            ?? whitespace(bytes, start, end, splitsAtNewlines: true)
    }

    /// ` ?[^\s\p{L}\p{N}]+[\r\n]*`, with `/` among the trailing characters for o200k.
    @inline(__always)
    private func symbols(
        _ bytes: [UInt8], _ start: Int, _ end: Int, word: UInt8, slash: Bool
    ) -> Int? {
        let outside = word | ScalarClasses.number | ScalarClasses.whitespace
        let body = bytes[start] == Self.space ? start + 1 : start
        guard body < end, scalar(bytes, body, end).flags & outside == 0 else { return nil }
        var index = run(bytes, body, end, without: outside)
        while index < end, isNewline(bytes[index]) || (slash && bytes[index] == UInt8(ascii: "/")) {
            index += 1
        }
        return index
    }

    private func o200k(
        _ bytes: [UInt8], _ start: Int, _ end: Int, digitsMax: Int, contractions: Bool
    ) -> Int {
        let (flags, length) = scalar(bytes, start, end)
        var stop: Int?
        if flags & Self.letterOrNumber == 0, !isNewline(bytes[start]), start + length < end {
            stop = casedWord(bytes, start + length, end)
        }
        if stop == nil, flags & (ScalarClasses.letter | ScalarClasses.mark) != 0 {
            stop = casedWord(bytes, start, end)
        }
        if let stop {
            guard contractions, stop < end, bytes[stop] == Self.apostrophe else { return stop }
            return contraction(bytes, stop, end, anyCase: true) ?? stop
        }
        if flags & ScalarClasses.number != 0 {
            return run(bytes, start, end, numbersMax: digitsMax)
        }
        return symbols(bytes, start, end, word: ScalarClasses.letter, slash: true)
            ?? whitespace(bytes, start, end, splitsAtNewlines: true)
    }

    /// `U*L+` if possible, else `U+L*`, where U is upper, caseless and marks, and L is lower,
    /// caseless and marks. Caseless letters and marks are in both, so U* may have to give some
    /// back: it gives back everything after the last scalar that is also in L.
    private func casedWord(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int? {
        let both = ScalarClasses.caseless | ScalarClasses.mark
        var index = start
        var afterShared = -1
        while index < end {
            let (flags, length) = scalar(bytes, index, end)
            if flags & (ScalarClasses.upper | both) == 0 { break }
            index += length
            if flags & both != 0 { afterShared = index }
        }
        let stop = run(bytes, index, end, of: ScalarClasses.lower | both)
        if stop > index { return stop }
        if afterShared >= 0 { return afterShared }
        return index > start ? index : nil
    }

    private func visibleSpaces(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int {
        func isSpace(_ index: Int) -> Bool {
            index + 2 < end && bytes[index] == 0xE2 && bytes[index + 1] == 0x96
                && bytes[index + 2] == 0x81
        }
        var index = start
        while isSpace(index) { index += 3 }
        while index < end, !isSpace(index) { index += 1 }
        return index
    }

    // MARK: Patterns that match parts

    /// The end of the match at `start`, or nil.
    private func match(_ bytes: [UInt8], _ start: Int, _ end: Int) -> Int? {
        switch pattern {
        case .newline: return isNewline(bytes[start]) ? start + 1 : nil
        case .spaceLetters:
            return afterSpace(bytes, start, end) { flags, _ in flags & ScalarClasses.letter != 0 }
        case .spacePunctuation:
            return afterSpace(bytes, start, end) { flags, _ in
                flags & ScalarClasses.punctuation != 0
            }
        case .spaceCasedLetters:
            return afterSpace(bytes, start, end) { flags, code in
                flags & (ScalarClasses.upper | ScalarClasses.lower) != 0
                    && !(0x10D0...0x10FF).contains(code)
            }
        case .spaceASCIIPunctuation:
            return afterSpace(bytes, start, end) { _, code in Self.isWidePunctuation(code) }
        case .trailingWhitespace:
            let stop = run(bytes, start, end, of: ScalarClasses.whitespace)
            return stop == end && stop > start ? stop : nil
        case .eastAsian:
            var index = start
            while index < end {
                let (code, length) = UTF8Scan.decode(bytes, at: index, end: end)
                guard (0x800...0x9FA5).contains(code) || (0xAC00...0xD7FF).contains(code) else {
                    break
                }
                index += length
            }
            return index > start ? index : nil
        case .digits(let most):
            let stop = run(bytes, start, end, numbersMax: most)
            return stop > start ? stop : nil
        case .gpt2, .cl100k, .o200k, .visibleSpaces:
            return next(bytes, start, end)
        }
    }

    private static func isWidePunctuation(_ code: UInt32) -> Bool {
        switch code {
        case 0x21...0x2F, 0x3A...0x7E, 0xFF01...0xFF0F, 0xFF1A...0xFF5E, 0x2018...0x201F,
            0x3000...0x3002:
            true
        default: false
        }
    }

    /// `\s?X+` where `isMember` decides X.
    private func afterSpace(
        _ bytes: [UInt8], _ start: Int, _ end: Int, _ isMember: (UInt8, UInt32) -> Bool
    ) -> Int? {
        func members(from begin: Int) -> Int {
            var index = begin
            while index < end {
                let (code, length) = UTF8Scan.decode(bytes, at: index, end: end)
                guard isMember(ScalarClasses.flags(of: code, in: classes), code) else { break }
                index += length
            }
            return index
        }
        let (flags, length) = scalar(bytes, start, end)
        if flags & ScalarClasses.whitespace != 0 {
            let stop = members(from: start + length)
            if stop > start + length { return stop }
        }
        let stop = members(from: start)
        return stop > start ? stop : nil
    }
}
