@testable import AutoGLMCommand

/// A small terminal: what a user sees after the bytes the session writes. Only the sequences
/// that it writes are known; any other one is recorded in `unknown`.
struct Screen {
    private struct Row {
        var cells: [String]
        /// The next row continues this one (the terminal wrapped by itself).
        var isWrapped = false
    }

    private(set) var columns: Int
    private(set) var rows: Int
    private(set) var row = 0
    private(set) var column = 0
    private(set) var bells = 0
    private(set) var unknown: [String] = []
    private(set) var modes: Set<String> = []
    private var grid: [Row]
    private var scrolled: [Row] = []
    private var isWrapPending = false
    private var sequence: String?

    init(columns: Int, rows: Int) {
        (self.columns, self.rows) = (columns, rows)
        grid = Array(repeating: Row(cells: Array(repeating: " ", count: columns)), count: rows)
    }

    /// The rows down to the last one with something in it, blanks at their ends taken off.
    var lines: [String] { Self.text(grid) }
    /// As `lines`, with what has scrolled off above.
    var allLines: [String] { Self.text(scrolled + grid) }

    private static func text(_ rows: [Row]) -> [String] {
        var lines = rows.map { row in
            var line = row.cells.joined()
            while line.last == " " { line.removeLast() }
            return line
        }
        while lines.last == "" { lines.removeLast() }
        return lines
    }

    mutating func write(_ text: String) {
        for scalar in text.unicodeScalars { put(scalar) }
    }

    private mutating func put(_ scalar: Unicode.Scalar) {
        if let begun = sequence {
            let now = begun + String(Character(scalar))
            sequence = now
            let isFinal = now.count > 1 && (0x40...0x7E).contains(scalar.value)
            if now.first != "[" || isFinal {
                sequence = nil
                perform(now)
            }
            return
        }
        switch scalar {
        case "\u{1B}": sequence = ""
        case "\u{07}": bells += 1
        case "\r": (column, isWrapPending) = (0, false)
        case "\n": lineFeed()
        case "\t": column = min(columns - 1, (column / 8 + 1) * 8)
        default: print(scalar)
        }
    }

    private mutating func print(_ scalar: Unicode.Scalar) {
        let width = TextWidth.columns(Character(scalar))
        let isJoined = previousCell.map { cell in
            // As terminals of today do: what belongs to the picture before it stays in its cell.
            let both = grid[cell.row].cells[cell.column] + String(Character(scalar))
            return both.count == 1
        } ?? false
        if width == 0 || isJoined {
            if let cell = previousCell {
                let old = TextWidth.columns(grid[cell.row].cells[cell.column])
                grid[cell.row].cells[cell.column].unicodeScalars.append(scalar)
                if TextWidth.columns(grid[cell.row].cells[cell.column]) > old { widen(cell) }
            }
            return
        }
        if isWrapPending || column + width > columns {
            grid[row].isWrapped = true
            column = 0
            lineFeed()
        }
        grid[row].cells[column] = String(Character(scalar))
        if width == 2 { grid[row].cells[column + 1] = "" }
        column += width
        if column >= columns { (column, isWrapPending) = (columns - 1, true) }
    }

    private mutating func widen(_ cell: (row: Int, column: Int)) {
        guard cell.column + 1 < columns else { return }
        grid[cell.row].cells[cell.column + 1] = ""
        column = cell.column + 2
        if column >= columns { (column, isWrapPending) = (columns - 1, true) }
    }

    private var previousCell: (row: Int, column: Int)? {
        var before = isWrapPending ? column : column - 1
        guard before >= 0 else { return nil }
        if grid[row].cells[before].isEmpty, before > 0 { before -= 1 }
        return (row, before)
    }

    private mutating func lineFeed() {
        isWrapPending = false
        if row + 1 < rows {
            row += 1
        } else {
            scrolled.append(grid.removeFirst())
            grid.append(Row(cells: Array(repeating: " ", count: columns)))
        }
    }

    private mutating func perform(_ sequence: String) {
        let count = Int(sequence.dropFirst().dropLast()) ?? 1
        let blank = Array(repeating: " ", count: columns)
        switch (sequence.last, sequence) {
        case ("A", _): (row, isWrapPending) = (max(0, row - count), false)
        case ("B", _): (row, isWrapPending) = (min(rows - 1, row + count), false)
        case ("C", _): (column, isWrapPending) = (min(columns - 1, column + count), false)
        case (_, "[H"): (row, column, isWrapPending) = (0, 0, false)
        case (_, "[K"): grid[row].cells[column...] = blank[column...]
        case (_, "[J"):
            grid[row].cells[column...] = blank[column...]
            for below in (row + 1)..<max(row + 1, rows) { grid[below] = Row(cells: blank) }
        case (_, "[2J"): grid = Array(repeating: Row(cells: blank), count: rows)
        case ("m", _): break
        case ("h", _): modes.insert(String(sequence.dropLast()))
        case ("l", _): modes.remove(String(sequence.dropLast()))
        default: unknown.append(sequence)
        }
    }

    /// A narrower window: rows too long are continued in a new row below, as most terminals do.
    mutating func narrow(to new: Int) {
        var old = grid
        while old.count > row + 1, old.last?.cells.allSatisfy({ $0 == " " }) == true {
            old.removeLast()
        }
        var reflowed: [Row] = []
        let cursorRow = row
        for (index, line) in old.enumerated() {
            var cells = line.cells
            while cells.last == " " { cells.removeLast() }
            let start = reflowed.count
            repeat {
                var part = Array(cells.prefix(new))
                cells.removeFirst(part.count)
                part += Array(repeating: " ", count: new - part.count)
                reflowed.append(Row(cells: part, isWrapped: !cells.isEmpty))
            } while !cells.isEmpty
            if index == cursorRow { (row, column) = (start + column / new, column % new) }
        }
        columns = new
        while reflowed.count > rows {
            scrolled.append(reflowed.removeFirst())
            row -= 1
        }
        let blank = Row(cells: Array(repeating: " ", count: new))
        grid = reflowed + Array(repeating: blank, count: rows - reflowed.count)
        isWrapPending = false
    }
}
