/// A token that is matched in the text itself, before the model sees it.
struct AddedToken: Sendable {
    var id: TokenID
    var content: [UInt8]
    /// Left out by `decode(skipSpecial: true)`.
    var isSpecial: Bool
    /// Whitespace on that side of a match belongs to the match.
    var stripsLeft = false
    var stripsRight = false
    /// Matches only between non-word characters.
    var isSingleWord = false
    /// Is looked for in normalized text instead of the text as given.
    var isNormalized = false
    /// Matches only right behind another added token (ChatGLM3's `sop`, a plain word otherwise).
    var followsToken = false

    /// Steers the model: a special token, or markup such as `<think>` and `<tool_call>` that a
    /// model's own format uses although its file does not call it special. Never recognised in
    /// text that a user wrote.
    var isControl: Bool {
        isSpecial || (content.first == UInt8(ascii: "<") && content.last == UInt8(ascii: ">"))
    }
}

/// Text cut at added tokens.
enum TextSection: Sendable, Equatable {
    case token(TokenID)
    case text(Range<Int>)
}

/// The added tokens of a tokenizer, ready for matching: leftmost, then longest.
struct AddedTokens: Sendable {
    let all: [AddedToken]
    /// Values are indices into `all`.
    private let given: ByteTrie
    private let normalized: ByteTrie
    private(set) var idOfContent: [[UInt8]: TokenID] = [:]
    private(set) var indexOfID: [TokenID: Int] = [:]

    init(_ tokens: [AddedToken], normalize: ([UInt8]) -> [UInt8]) {
        all = tokens
        var given = ByteTrie()
        var normalized = ByteTrie()
        for (index, token) in tokens.enumerated() where !token.content.isEmpty {
            // Control tokens are matched where trust is known: in the text as given.
            if token.isNormalized, !token.isControl {
                normalized.insert(normalize(token.content), value: TokenID(index))
            } else {
                given.insert(token.content, value: TokenID(index))
            }
            if idOfContent[token.content] == nil { idOfContent[token.content] = token.id }
            if indexOfID[token.id] == nil { indexOfID[token.id] = index }
        }
        self.given = given
        self.normalized = normalized
    }

    /// Cuts the text as given. A control token counts only inside one of the `trusted` ranges,
    /// which are in order, disjoint, and joined where they touch.
    func sections(of text: [UInt8], trusted: [Range<Int>]) -> [TextSection] {
        Self.cut(text, 0..<text.count, all, given, trusted: trusted)
    }

    /// Cuts normalized text; only tokens that are not control tokens are looked for.
    func sections(ofNormalized text: [UInt8]) -> [TextSection] {
        if normalized.isEmpty { return text.isEmpty ? [] : [.text(0..<text.count)] }
        return Self.cut(text, 0..<text.count, all, normalized, trusted: [])
    }

    private static func cut(
        _ text: [UInt8], _ range: Range<Int>, _ tokens: [AddedToken], _ trie: ByteTrie,
        trusted: [Range<Int>]
    ) -> [TextSection] {
        var sections: [TextSection] = []
        var textStart = range.lowerBound
        var index = range.lowerBound
        var interval = 0
        while index < range.upperBound {
            guard trie.startsEntry[Int(text[index])] else {
                index += 1
                continue
            }
            while interval < trusted.count, trusted[interval].upperBound <= index { interval += 1 }
            let trustedEnd =
                interval < trusted.count && trusted[interval].lowerBound <= index
                ? trusted[interval].upperBound : -1
            let afterToken = textStart == index && !sections.isEmpty
            var best: (end: Int, token: AddedToken)?
            trie.forEachPrefix(of: text, from: index, end: range.upperBound) { end, value in
                let token = tokens[Int(value)]
                if token.isControl, end > trustedEnd { return }
                if token.followsToken, !afterToken { return }
                if token.isSingleWord, !isSingleWord(text, index, end) { return }
                best = (end, token)
            }
            guard let (matchEnd, token) = best else {
                index += 1
                continue
            }
            var start = index
            var end = matchEnd
            if token.stripsLeft { start = skipSpaceBack(text, from: start, to: textStart) }
            if token.stripsRight { end = skipSpace(text, from: end, to: range.upperBound) }
            if start > textStart { sections.append(.text(textStart..<start)) }
            sections.append(.token(token.id))
            textStart = end
            index = end
        }
        if textStart < range.upperBound { sections.append(.text(textStart..<range.upperBound)) }
        return sections
    }

    private static func skipSpace(_ text: [UInt8], from start: Int, to end: Int) -> Int {
        var index = start
        while index < end {
            let (code, length) = UTF8Scan.decode(text, at: index, end: end)
            let flags = ScalarClasses.flags(of: code, in: ScalarClasses.table)
            if flags & ScalarClasses.whitespace == 0 { break }
            index += length
        }
        return index
    }

    private static func skipSpaceBack(_ text: [UInt8], from end: Int, to start: Int) -> Int {
        var index = end
        while index > start {
            var previous = index - 1
            while previous > start, text[previous] & 0xC0 == 0x80 { previous -= 1 }
            if skipSpace(text, from: previous, to: index) != index { break }
            index = previous
        }
        return index
    }

    private static func isSingleWord(_ text: [UInt8], _ start: Int, _ end: Int) -> Bool {
        let word = ScalarClasses.letter | ScalarClasses.mark | ScalarClasses.number
        func isWord(at index: Int) -> Bool {
            let (code, _) = UTF8Scan.decode(text, at: index, end: text.count)
            let flags = ScalarClasses.flags(of: code, in: ScalarClasses.table)
            return code == 0x5F || flags & word != 0
        }
        if end < text.count, isWord(at: end) { return false }
        guard start > 0 else { return true }
        var previous = start - 1
        while previous > 0, text[previous] & 0xC0 == 0x80 { previous -= 1 }
        return !isWord(at: previous)
    }
}
