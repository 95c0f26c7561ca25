/// Lays out streamed text for a terminal: words wrapped, styles set, controls made harmless.
///
/// Any split of the text into pieces gives the same output. A word is therefore held back until
/// it is known to be whole, and line breaks until something follows them.
struct AnswerLayout: Sendable {
    enum Style: Sendable {
        case answer
        /// Dim, under a header line.
        case thinking
        /// A call of a function, in a line of its own.
        case call
        /// A remark of the program, in a line of its own.
        case note
    }

    private struct Fence: Equatable {
        let mark: Character
        let length: Int
    }

    /// Closing punctuation of East Asian text; a row does not begin with it.
    private static let closing = Set("。．，、：；！？）］｝」』】〕〉》”’…ー")
    /// Scalars of one grapheme are collected up to here: a model may write combining marks
    /// without end.
    private static let graphemeLimit = 1024

    /// Width of the terminal; nil where there is none, and text then passes as it is.
    var columns: Int?
    private let hasColor: Bool

    private var style: Style?
    private var hasBegun = false
    /// The last grapheme: what comes next may belong to it.
    private var tail = ""
    private var word = ""
    private var wordColumns = 0
    private var endsWide = false
    /// The word is longer than a row and its beginning is written.
    private var continuesWord = false
    private var spaces = ""
    private var newlines = 0
    private var column = 0
    private var fence: Fence?
    /// What `fence` becomes at the line's end; set on a fence's own line.
    private var nextFence: Fence??
    private var lineHasWord = false

    init(columns: Int?, hasColor: Bool) {
        self.columns = columns
        self.hasColor = hasColor
    }

    /// - Returns: what is to be written now.
    mutating func write(_ text: String, as style: Style) -> String {
        guard !text.isEmpty else { return "" }
        var output = style == self.style ? "" : finish()
        self.style = style
        let all = tail + text
        guard let last = all.indices.last else { return output }
        for character in all[..<last] { take(character, &output) }
        tail = String(all[last])
        if tail.utf8.count > Self.graphemeLimit {
            take(all[last], &output)
            tail = ""
        }
        return output
    }

    /// Ends the present text and its line. The next one stands apart, also in the same style.
    mutating func finish() -> String {
        var output = ""
        for character in tail { take(character, &output) }
        flushWord(&output)
        if hasBegun, let style {
            if hasColor, style != .answer { output += "\u{1B}[0m" }
            output += "\n"
            // Without dim letters only words can tell where the answer begins.
            if style == .thinking { output += hasColor ? "\n" : "end of thinking\n\n" }
        }
        self = AnswerLayout(columns: columns, hasColor: hasColor)
        return output
    }

    // MARK: - Graphemes

    private mutating func take(_ character: Character, _ output: inout String) {
        switch character {
        case "\n", "\r\n":
            flushWord(&output)
            endLine(&output)
        case " ", "\t":
            flushWord(&output)
            spaces.append(character)
        default:
            let shown = columns == nil ? String(character) : TextWidth.visible(character)
            let width = TextWidth.columns(character)
            // Between wide characters a row may end, as it may at a space.
            let isWide = width > 1 && shown.unicodeScalars.first?.isASCII == false
            if !word.isEmpty, isWide || endsWide, !Self.closing.contains(character) {
                flushWord(&output)
            }
            if let columns, wordColumns + width > columns {
                flushWord(&output)
                continuesWord = true
            }
            word += shown
            wordColumns += width
            endsWide = isWide
        }
    }

    private mutating func endLine(_ output: inout String) {
        // A file gets the text as it is, white space at the end of lines included.
        if columns == nil, hasBegun, !spaces.isEmpty {
            output += String(repeating: "\n", count: newlines) + spaces
            newlines = 0
        }
        // Line breaks before the first word are not part of what is said.
        if hasBegun { newlines += 1 }
        if let next = nextFence { fence = next }
        nextFence = nil
        spaces = ""
        lineHasWord = false
    }

    private mutating func flushWord(_ output: inout String) {
        defer { continuesWord = false }
        guard !word.isEmpty else { return }
        if !hasBegun { begin(&output) }
        if newlines > 0 {
            output += String(repeating: "\n", count: newlines)
            newlines = 0
            column = 0
        }
        if !lineHasWord {
            lineHasWord = true
            nextFence = fenceAfter(word)
        }
        let isCode = fence != nil || nextFence != nil
        if !continuesWord {
            let gap = spaces.reduce(0) { $0 + ($1 == "\t" ? 8 - (column + $0) % 8 : 1) }
            if let columns, !isCode, column > 0, column + gap + wordColumns > columns {
                output += "\n"
                column = 0
            } else {
                output += spaces
                column += gap
            }
        }
        spaces = ""
        output += word
        advance()
        word = ""
        wordColumns = 0
        endsWide = false
    }

    /// A word longer than a row is broken by the terminal itself at its edge: so an address can
    /// still be copied or opened in one piece.
    private mutating func advance() {
        guard let columns, column + wordColumns > columns else {
            column += wordColumns
            return
        }
        for character in word {
            let width = TextWidth.columns(character)
            column = column + width > columns ? width : column + width
        }
    }

    private mutating func begin(_ output: inout String) {
        hasBegun = true
        switch style {
        case .thinking: output += hasColor ? "\u{1B}[2mthinking\n" : "thinking\n"
        case .call: output += hasColor ? "\u{1B}[36m" : ""
        case .note: output += hasColor ? "\u{1B}[2m" : ""
        case .answer, nil: break
        }
    }

    /// - Returns: nil unless the line that begins with this word opens or closes a block of code;
    ///   else what is open after it.
    private func fenceAfter(_ word: String) -> Fence?? {
        guard let mark = word.first, mark == "`" || mark == "~" else { return nil }
        let length = word.prefix { $0 == mark }.count
        let rest = word.dropFirst(length)
        guard length >= 3 else { return nil }
        if let fence {
            let closes = mark == fence.mark && length >= fence.length && rest.isEmpty
            return closes ? .some(nil) : nil
        }
        // Code within a line may be quoted by three marks too.
        return rest.contains(mark) ? nil : Fence(mark: mark, length: length)
    }
}
