/// Lines of an input that is no terminal: one entry each, `"""` opens an entry of several.
struct PlainInput: Sendable {
    private var bytes: [UInt8] = []
    /// No line end before here.
    private var scanned = 0
    private var open: String?
    private var hasEnded = false

    mutating func append(_ more: some Sequence<UInt8>) { bytes += more }

    mutating func end() { hasEnded = true }

    /// The next entry that is complete.
    /// - Returns: nil when more input is needed, and after the end.
    mutating func next() -> PromptEntry? {
        while let line = nextLine() {
            let text = open.map { $0 + "\n" + line } ?? line
            open = nil
            switch MultilineText(text) {
            case .open: open = text
            case .complete(let content, let isFenced):
                return PromptEntry(text: content, isLiteral: isFenced)
            }
        }
        // An entry left open at the end is taken as it is.
        guard hasEnded, let rest = open else { return nil }
        open = nil
        return PromptEntry(text: rest, isLiteral: true)
    }

    var isAtEnd: Bool { hasEnded && bytes.isEmpty && open == nil }

    private mutating func nextLine() -> String? {
        if let end = bytes[scanned...].firstIndex(of: 0x0A) {
            var line = bytes[..<end]
            if line.last == 0x0D { line.removeLast() }
            let text = String(decoding: line, as: UTF8.self)
            bytes.removeFirst(end + 1)
            scanned = 0
            return text
        }
        scanned = bytes.count
        guard hasEnded, !bytes.isEmpty else { return nil }
        defer {
            bytes = []
            scanned = 0
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
