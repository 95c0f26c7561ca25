/// Text being edited and a cursor in it, counted in graphemes.
struct LineBuffer: Equatable, Sendable {
    private(set) var characters: [Character] = []
    private(set) var cursor = 0

    init() {}

    /// The text with the cursor at its end.
    init(_ text: String) {
        characters = Array(text)
        cursor = characters.count
    }

    var text: String { String(characters) }
    var isEmpty: Bool { characters.isEmpty }

    // MARK: Insertion

    /// Inserts at the cursor. A combining mark joins the grapheme before it, as it would had both
    /// come together.
    mutating func insert(_ text: String) {
        guard !text.isEmpty else { return }
        let start = max(0, cursor - 1), end = min(characters.count, cursor + 1)
        let before = String(characters[start..<cursor]), after = String(characters[cursor..<end])
        let joined = Array(before + text + after)
        // The cursor stands behind the last grapheme that holds a scalar of the insertion.
        let scalarsBefore = before.unicodeScalars.count + text.unicodeScalars.count
        var seen = 0, offset = 0
        while seen < scalarsBefore {
            seen += joined[offset].unicodeScalars.count
            offset += 1
        }
        characters.replaceSubrange(start..<end, with: joined)
        cursor = start + offset
    }

    // MARK: Removal

    mutating func removeBefore() -> Bool {
        guard cursor > 0 else { return false }
        cursor -= 1
        characters.remove(at: cursor)
        return true
    }

    mutating func removeAfter() -> Bool {
        guard cursor < characters.count else { return false }
        characters.remove(at: cursor)
        return true
    }

    /// Removes what lies between the cursor and `position`.
    /// - Returns: the removed text, nil where there was none.
    mutating func kill(to position: Int) -> String? {
        let range = min(cursor, position)..<max(cursor, position)
        guard !range.isEmpty else { return nil }
        let killed = String(characters[range])
        characters.removeSubrange(range)
        cursor = range.lowerBound
        return killed
    }

    // MARK: Motion

    /// - Returns: whether the cursor moved.
    mutating func move(to position: Int) -> Bool {
        let target = min(max(0, position), characters.count)
        defer { cursor = target }
        return target != cursor
    }

    /// Start of the line the cursor is in.
    var lineStart: Int {
        characters[..<cursor].lastIndex(of: "\n").map { $0 + 1 } ?? 0
    }

    /// End of the line the cursor is in, before its line break.
    var lineEnd: Int {
        characters[cursor...].firstIndex(of: "\n") ?? characters.count
    }

    var wordStart: Int {
        var position = cursor
        while position > 0, !Self.isWord(characters[position - 1]) { position -= 1 }
        while position > 0, Self.isWord(characters[position - 1]) { position -= 1 }
        return position
    }

    var wordEnd: Int {
        var position = cursor
        while position < characters.count, !Self.isWord(characters[position]) { position += 1 }
        while position < characters.count, Self.isWord(characters[position]) { position += 1 }
        return position
    }

    /// As `wordStart`, for words that end at white space only: what Ctrl-W takes.
    var spacedWordStart: Int {
        var position = cursor
        while position > 0, characters[position - 1].isWhitespace { position -= 1 }
        while position > 0, !characters[position - 1].isWhitespace { position -= 1 }
        return position
    }

    /// - Returns: false when the cursor is in the first line already.
    mutating func moveUp() -> Bool {
        let start = lineStart
        guard start > 0 else { return false }
        let column = columns(start..<cursor)
        cursor = start - 1
        cursor = position(column: column, in: lineStart..<cursor)
        return true
    }

    /// - Returns: false when the cursor is in the last line already.
    mutating func moveDown() -> Bool {
        let end = lineEnd
        guard end < characters.count else { return false }
        let column = columns(lineStart..<cursor)
        cursor = end + 1
        cursor = position(column: column, in: cursor..<lineEnd)
        return true
    }

    private func columns(_ range: Range<Int>) -> Int {
        characters[range].reduce(0) { $0 + TextWidth.columns($1) }
    }

    private func position(column: Int, in line: Range<Int>) -> Int {
        var position = line.lowerBound, reached = 0
        while position < line.upperBound {
            reached += TextWidth.columns(characters[position])
            if reached > column { break }
            position += 1
        }
        return position
    }

    private static func isWord(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || character == "_"
    }
}
