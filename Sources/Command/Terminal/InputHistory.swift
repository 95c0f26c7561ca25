/// Earlier entries, oldest first, and where in them the editor looks.
///
/// Position `entries.count` is the draft: what was typed before the first step back.
struct InputHistory: Equatable, Sendable {
    /// As many as the history file keeps.
    static let limit = 1000

    private(set) var entries: [String]
    private(set) var position: Int
    /// Texts changed while browsing, the draft among them: a step away and back keeps them.
    private var edits: [Int: String] = [:]

    init(_ entries: [String] = []) {
        self.entries = Array(entries.suffix(Self.limit))
        position = self.entries.count
    }

    /// Goes one entry back or on, leaving `current` to be found again.
    /// - Returns: the text there, nil where there is none.
    mutating func step(by offset: Int, leaving current: String) -> String? {
        let target = position + offset
        guard target >= 0, target <= entries.count else { return nil }
        edits[position] = current
        position = target
        return edits[target] ?? (target < entries.count ? entries[target] : "")
    }

    /// Goes to an entry found by a search.
    mutating func jump(to target: Int, leaving current: String) {
        edits[position] = current
        position = target
    }

    /// Remembers a submitted text, once if it comes twice in a row.
    /// - Returns: whether it is new.
    mutating func add(_ text: String) -> Bool {
        defer { reset() }
        if text.allSatisfy(\.isWhitespace) || entries.last == text { return false }
        entries.append(text)
        if entries.count > Self.limit { entries.removeFirst() }
        return true
    }

    mutating func reset() {
        edits.removeAll()
        position = entries.count
    }

    /// The newest entry before `end` that contains `query`.
    func lastMatch(_ query: String, before end: Int) -> Int? {
        entries[..<end].lastIndex { $0.contains(query) }
    }
}
