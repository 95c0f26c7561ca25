/// The rule of `"""`: three quotes at the start of a text, or alone on a line, open an entry of
/// many lines, and three quotes at a line's end close it.
enum MultilineText {
    case open
    /// - Parameter isFenced: the quotes stood there and are taken off.
    case complete(String, isFenced: Bool)

    private static let quotes = "\"\"\""

    /// Reads the text as it would be submitted now. The last line decides whether it is closed:
    /// quotes inside, such as those of pasted Python, are content.
    init(_ text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            .map(String.init)
        let opener = lines.indices.first { index in
            let line = Self.trimmed(lines[index])
            return index == 0 ? line.hasPrefix(Self.quotes) : line == Self.quotes
        }
        guard let opener else {
            self = .complete(text, isFenced: false)
            return
        }
        let first = Self.trimmed(lines[opener]).dropFirst(3)
        // The entry may end in line breaks typed after the closing quotes.
        while lines.count > opener + 1, Self.trimmed(lines[lines.count - 1]).isEmpty {
            lines.removeLast()
        }
        let isOneLine = lines.count == opener + 1
        let last = isOneLine ? String(first) : Self.trimmed(lines[lines.count - 1])
        guard last.hasSuffix(Self.quotes) else {
            self = .open
            return
        }
        if isOneLine {
            lines[opener] = String(first.dropLast(3))
        } else {
            var content = lines.removeLast()
            while content.last != "\"" { content.removeLast() }
            content.removeLast(3)
            if !Self.trimmed(content).isEmpty { lines.append(content) }
            if first.isEmpty { lines.remove(at: opener) } else { lines[opener] = String(first) }
        }
        self = .complete(lines.joined(separator: "\n"), isFenced: true)
    }

    private static func trimmed(_ line: String) -> String {
        let blank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
        let start = line.drop(while: blank)
        return String(start[..<(start.lastIndex { !blank($0) }.map(start.index(after:))
            ?? start.startIndex)])
    }
}
