/// The terminal's window in character cells.
struct WindowSize: Equatable, Sendable {
    var columns: Int
    var rows: Int
}

/// Draws the edited text below what was printed before, over its own last drawing.
///
/// It knows the terminal's cursor only relative to the first row it drew, so it moves relatively;
/// each row is written out up to its end, never left to the terminal's own wrapping.
struct LineRenderer: Sendable {
    private struct Row: Equatable {
        var text = ""
        var columns = 0
    }

    private struct Layout {
        var rows: [Row]
        var cursor: (row: Int, column: Int)
        /// The last row is empty and only there because the one before it is full.
        var endsInEmptyWrap: Bool
    }

    private static let continuation = ". "
    private var size: WindowSize
    /// What stands on the screen, from the first row drawn to the last.
    private var shown: [Row] = []
    private var cursor = (row: 0, column: 0)
    /// First row of the layout that is on the screen, where it does not fit as a whole.
    private var top = 0
    private var endsInEmptyWrap = false

    init(size: WindowSize) { self.size = size }

    /// - Parameters:
    ///   - style: SGR sequence for the prompt, empty for none.
    ///   - cursor: index of the grapheme that the cursor stands on.
    mutating func draw(
        prompt: String, style: String = "", text: [Character], cursor position: Int
    ) -> String {
        let layout = layOut(prompt, style, text, position)
        let height = max(1, size.rows)
        top = min(max(top, layout.cursor.row - height + 1), layout.cursor.row)
        top = max(0, min(top, layout.rows.count - height))
        let rows = Array(layout.rows[top..<min(layout.rows.count, top + height)])

        var output = up(cursor.row) + "\r"
        // Up to the first row that differs nothing is written, so that nothing flickers.
        for (index, row) in rows.enumerated() {
            if index > 0 { output += "\r\n" }
            if index < shown.count, shown[index] == row { continue }
            output += row.text
            // After a full row the cursor still hangs on its last column; erasing would take it.
            if row.columns < size.columns { output += "\u{1B}[K" }
        }
        var last = rows.count - 1
        if shown.count > rows.count {
            output += "\r\n\u{1B}[J"
            last += 1
        }
        shown = rows
        endsInEmptyWrap = layout.endsInEmptyWrap
        cursor = (layout.cursor.row - top, layout.cursor.column)
        output += up(last - cursor.row) + "\r"
        if cursor.column > 0 { output += "\u{1B}[\(cursor.column)C" }
        return "\u{1B}[?25l\(output)\u{1B}[?25h"
    }

    /// Leaves the drawing as it stands and puts the cursor at the start of the row below it.
    mutating func finish() -> String {
        let last = shown.count - 1
        var output = last > cursor.row ? "\u{1B}[\(last - cursor.row)B" : ""
        output += endsInEmptyWrap ? "\r" : "\r\n"
        forget()
        return output
    }

    /// Takes the drawing off the screen, the cursor where it began.
    mutating func erase() -> String {
        let output = up(cursor.row) + "\r\u{1B}[J"
        forget()
        return output
    }

    mutating func clearScreen() -> String {
        forget()
        return "\u{1B}[H\u{1B}[2J"
    }

    /// The window has changed. Terminals of today wrap the rows they hold to the new width, so
    /// the cursor may have moved by rows; from there the drawing is taken off to be drawn anew.
    mutating func resize(to new: WindowSize) -> String {
        guard new != size else { return "" }
        var row = 0
        if new.columns < size.columns, new.columns > 0 {
            for (index, old) in shown.enumerated() where index < cursor.row {
                row += max(1, (old.columns + new.columns - 1) / new.columns)
            }
            row += cursor.column / new.columns
        } else {
            row = cursor.row
        }
        size = new
        let output = up(min(row, max(0, new.rows - 1))) + "\r\u{1B}[J"
        forget()
        return output
    }

    private mutating func forget() {
        shown = []
        cursor = (0, 0)
        top = 0
        endsInEmptyWrap = false
    }

    private func up(_ rows: Int) -> String { rows > 0 ? "\u{1B}[\(rows)A" : "" }

    private func layOut(
        _ prompt: String, _ style: String, _ text: [Character], _ position: Int
    ) -> Layout {
        let columns = max(2, size.columns)
        var rows = [Row()]
        // The row under construction; it goes into `rows` when it is full.
        func put(_ shown: String, _ width: Int) {
            if rows[rows.count - 1].columns + width > columns { rows.append(Row()) }
            rows[rows.count - 1].text += shown
            rows[rows.count - 1].columns += width
        }
        if !style.isEmpty { rows[0].text = style }
        for character in prompt {
            put(TextWidth.visible(character), TextWidth.columns(character))
        }
        if !style.isEmpty { rows[rows.count - 1].text += "\u{1B}[0m" }

        var cursor = (row: 0, column: 0)
        for (index, character) in text.enumerated() {
            let isBreak = character == "\n"
            let width = TextWidth.columns(character)
            if !isBreak, rows[rows.count - 1].columns + width > columns { rows.append(Row()) }
            if index == position { cursor = (rows.count - 1, rows[rows.count - 1].columns) }
            if isBreak {
                rows.append(Row())
                put(Self.continuation, Self.continuation.count)
            } else if character == "\t" {
                put(String(repeating: " ", count: width), width)
            } else {
                put(TextWidth.visible(character), width)
            }
        }
        if position >= text.count { cursor = (rows.count - 1, rows[rows.count - 1].columns) }
        // A cursor behind a full row has no column there: it stands in the row below.
        var endsInEmptyWrap = false
        if cursor.column >= columns {
            cursor = (cursor.row + 1, 0)
            if cursor.row == rows.count {
                rows.append(Row())
                endsInEmptyWrap = true
            } else {
                // A line break after a full row: the cursor shows at the row's last column.
                cursor = (cursor.row - 1, columns - 1)
            }
        }
        return Layout(rows: rows, cursor: cursor, endsInEmptyWrap: endsInEmptyWrap)
    }
}
