/// What the user handed in.
struct PromptEntry: Equatable, Sendable {
    let text: String
    /// Quoted by `"""` or pasted in several lines: never a command, even where it begins with `/`.
    let isLiteral: Bool
}

/// The line editor without a terminal: takes keys, says what follows from them.
struct LineEditor: Sendable {
    enum Action: Equatable, Sendable {
        case redraw
        case submit(PromptEntry)
        /// The text was given up (Ctrl-C): leave it on the screen and begin a new one.
        case abandon
        case endOfInput
        case clearScreen
        case note(String)
        /// Nothing to do: nothing before the cursor, no older entry.
        case bell
        case suspend
    }

    private struct Search: Equatable {
        var query = ""
        /// Entry of the history the query was found in.
        var match: Int?
        var isFailing = false
        /// What is put back when the search is given up.
        let original: LineBuffer
    }

    /// Words that Tab completes at the start of the text, such as `/help`.
    let commands: [String]
    private(set) var buffer = LineBuffer()
    private(set) var history: InputHistory
    private var killed = ""
    private var search: Search?
    /// Set by a paste or a recalled entry of several lines: quotes in it are content.
    private var isLiteral = false

    init(history: InputHistory = InputHistory(), commands: [String] = []) {
        self.history = history
        self.commands = commands
    }

    /// Stands in front of the text in place of the prompt while a search goes on.
    var searchPrompt: String? {
        search.map { "(\($0.isFailing ? "not found" : "search"): \($0.query)) " }
    }

    mutating func apply(_ key: TerminalKey) -> Action {
        if search != nil, let action = applyToSearch(key) { return action }
        switch key {
        case .character(let scalar):
            buffer.insert(String(Character(scalar)))
            return .redraw
        case .paste(let text, let isCut):
            return paste(text, isCut)
        case .enter:
            return submit()
        case .newline:
            buffer.insert("\n")
            return .redraw
        case .tab:
            return complete()
        case .escape, .cancelSearch:
            return .redraw
        case .interrupt:
            if buffer.isEmpty { return .note("Ctrl-D or /quit to leave") }
            return .abandon
        case .endOfInput:
            if buffer.isEmpty { return .endOfInput }
            return redraw(if: buffer.removeAfter())
        case .search:
            search = Search(original: buffer)
            return .redraw
        case .clearScreen: return .clearScreen
        case .suspend: return .suspend
        case .up:
            return buffer.moveUp() ? .redraw : browse(-1)
        case .down:
            return buffer.moveDown() ? .redraw : browse(1)
        default:
            return edit(key)
        }
    }

    /// Empties the editor after a submitted or abandoned text.
    mutating func clear() {
        buffer = LineBuffer()
        isLiteral = false
        search = nil
        history.reset()
    }

    mutating func moveToEnd() {
        _ = buffer.move(to: buffer.characters.count)
    }

    // MARK: - Editing

    private mutating func edit(_ key: TerminalKey) -> Action {
        switch key {
        case .left: return redraw(if: buffer.move(to: buffer.cursor - 1))
        case .right: return redraw(if: buffer.move(to: buffer.cursor + 1))
        case .lineStart: return move(to: buffer.lineStart)
        case .lineEnd: return move(to: buffer.lineEnd)
        case .wordLeft: return move(to: buffer.wordStart)
        case .wordRight: return move(to: buffer.wordEnd)
        case .backspace: return redraw(if: buffer.removeBefore())
        case .delete: return redraw(if: buffer.removeAfter())
        case .killToEnd:
            // At the end of a line the line break is what is left to take.
            let end = buffer.lineEnd
            return kill(to: end == buffer.cursor ? end + 1 : end)
        case .killToStart: return kill(to: buffer.lineStart)
        case .killSpacedWordBefore: return kill(to: buffer.spacedWordStart)
        case .killWordBefore: return kill(to: buffer.wordStart)
        case .killWordAfter: return kill(to: buffer.wordEnd)
        case .yank:
            buffer.insert(killed)
            return redraw(if: !killed.isEmpty)
        default:
            return .redraw
        }
    }

    private func redraw(if hasChanged: Bool) -> Action { hasChanged ? .redraw : .bell }

    private mutating func move(to position: Int) -> Action {
        _ = buffer.move(to: position)
        return .redraw
    }

    private mutating func kill(to position: Int) -> Action {
        guard let text = buffer.kill(to: min(position, buffer.characters.count)) else {
            return .bell
        }
        killed = text
        return .redraw
    }

    private mutating func paste(_ text: String, _ isCut: Bool) -> Action {
        // Inside an entry that the user opened with quotes the quotes still close it.
        if text.contains("\n"), case .complete = MultilineText(buffer.text) { isLiteral = true }
        buffer.insert(text)
        if isCut { return .note("the paste was cut at \(KeyDecoder.pasteLimit) bytes") }
        return .redraw
    }

    private mutating func submit() -> Action {
        var entry = PromptEntry(text: buffer.text, isLiteral: isLiteral)
        if !isLiteral {
            switch MultilineText(buffer.text) {
            case .open:
                buffer.insert("\n")
                return .redraw
            case .complete(let text, let isFenced):
                entry = PromptEntry(text: text, isLiteral: isFenced)
            }
        }
        return .submit(entry)
    }

    /// Remembers a submitted text for this run.
    /// - Returns: whether it belongs in the history file too.
    mutating func remember(_ text: String) -> Bool { history.add(text) }

    private mutating func complete() -> Action {
        let text = buffer.text
        guard text.hasPrefix("/"), buffer.cursor == buffer.characters.count,
            !text.contains(where: \.isWhitespace)
        else {
            buffer.insert("\t")
            return .redraw
        }
        let matches = commands.filter { $0.hasPrefix(text) }
        guard var common = matches.first else { return .bell }
        for match in matches {
            common = String(zip(common, match).prefix { $0 == $1 }.map(\.0))
        }
        if matches.count == 1 { common += " " }
        if common.count > text.count {
            buffer = LineBuffer(common)
            return .redraw
        }
        return matches.count > 1 ? .note(matches.joined(separator: "  ")) : .bell
    }

    // MARK: - History

    private mutating func browse(_ offset: Int) -> Action {
        guard let text = history.step(by: offset, leaving: buffer.text) else { return .bell }
        buffer = LineBuffer(text)
        isLiteral = text.contains("\n")
        return .redraw
    }

    /// - Returns: nil when the key ends the search and then acts on the text found.
    private mutating func applyToSearch(_ key: TerminalKey) -> Action? {
        guard var current = search else { return nil }
        switch key {
        case .character(let scalar):
            current.query.unicodeScalars.append(scalar)
            return find(&current, before: current.match.map { $0 + 1 })
        case .backspace:
            if !current.query.isEmpty { current.query.removeLast() }
            return find(&current, before: nil)
        case .search:
            if current.query.isEmpty { return .bell }
            return find(&current, before: current.match)
        case .escape, .cancelSearch, .interrupt:
            buffer = current.original
            search = nil
            return .redraw
        default:
            search = nil
            if let match = current.match {
                history.jump(to: match, leaving: current.original.text)
                isLiteral = buffer.text.contains("\n")
            }
            return nil
        }
    }

    private mutating func find(_ current: inout Search, before end: Int?) -> Action {
        defer { search = current }
        guard !current.query.isEmpty else {
            current.match = nil
            current.isFailing = false
            buffer = current.original
            return .redraw
        }
        let limit = end ?? history.entries.count
        guard let match = history.lastMatch(current.query, before: limit) else {
            current.isFailing = true
            return .redraw
        }
        current.isFailing = false
        current.match = match
        buffer = LineBuffer(history.entries[match])
        // The cursor stands where the query was found.
        if let range = history.entries[match].firstRange(of: current.query) {
            let before = history.entries[match][..<range.lowerBound]
            _ = buffer.move(to: before.count)
        }
        return .redraw
    }
}
