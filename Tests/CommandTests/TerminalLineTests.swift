import Testing

@testable import AutoGLMCommand

@Suite struct TerminalLineTests {
    private func editor(_ history: [String] = [], _ text: String = "") -> LineEditor {
        var editor = LineEditor(
            history: InputHistory(history), commands: ["/help", "/history", "/quit"])
        type(text, &editor)
        return editor
    }

    private func type(_ text: String, _ editor: inout LineEditor) {
        for scalar in text.unicodeScalars { _ = editor.apply(.character(scalar)) }
    }

    /// The text with `|` where the cursor is.
    private func state(_ editor: LineEditor) -> String {
        let characters = editor.buffer.characters
        return String(characters[..<editor.buffer.cursor]) + "|"
            + String(characters[editor.buffer.cursor...])
    }

    private func entry(_ text: String, literal: Bool = false) -> LineEditor.Action {
        .submit(PromptEntry(text: text, isLiteral: literal))
    }

    @Test func scalarsJoinToGraphemes() {
        var line = editor([], "e\u{301}👩‍💻🇩🇪a")
        #expect(line.buffer.characters == ["e\u{301}", "👩‍💻", "🇩🇪", "a"])
        for _ in 0..<3 { _ = line.apply(.left) }
        type("x", &line)
        #expect(state(line) == "e\u{301}x|👩‍💻🇩🇪a")
        _ = line.apply(.character("\u{302}"))
        #expect(state(line) == "e\u{301}x\u{302}|👩‍💻🇩🇪a")
        _ = line.apply(.backspace)
        #expect(state(line) == "e\u{301}|👩‍💻🇩🇪a")
    }

    @Test func motionsAndKills() {
        var line = editor([], "one two.three  four")
        #expect(line.apply(.wordLeft) == .redraw)
        #expect(state(line) == "one two.three  |four")
        _ = line.apply(.wordLeft)
        #expect(state(line) == "one two.|three  four")
        _ = line.apply(.killSpacedWordBefore)
        #expect(state(line) == "one |three  four")
        _ = line.apply(.killWordAfter)
        #expect(state(line) == "one |  four")
        _ = line.apply(.wordRight)
        #expect(state(line) == "one   four|")
        _ = line.apply(.yank)
        #expect(state(line) == "one   fourthree|")
        _ = line.apply(.lineStart)
        #expect(line.apply(.left) == .bell)
        _ = line.apply(.wordRight)
        _ = line.apply(.killToEnd)
        #expect(state(line) == "one|")
        _ = line.apply(.yank)
        _ = line.apply(.killWordBefore)
        #expect(state(line) == "one   |")
        _ = line.apply(.killToStart)
        #expect(state(line) == "|")
        #expect(line.apply(.killToEnd) == .bell)
        #expect(line.apply(.backspace) == .bell)
    }

    @Test func endOfInputAndInterrupt() {
        var line = editor()
        #expect(line.apply(.interrupt) == .note("Ctrl-D or /quit to leave"))
        #expect(line.apply(.endOfInput) == .endOfInput)
        type("ab", &line)
        #expect(line.apply(.interrupt) == .abandon)
        _ = line.apply(.lineStart)
        #expect(line.apply(.endOfInput) == .redraw)
        #expect(state(line) == "|b")
    }

    @Test func historyKeepsTheDraft() {
        var line = editor(["first", "second"], "draft")
        #expect(line.apply(.up) == .redraw)
        #expect(state(line) == "second|")
        type("!", &line)
        _ = line.apply(.up)
        #expect(state(line) == "first|")
        #expect(line.apply(.up) == .bell)
        _ = line.apply(.down)
        #expect(state(line) == "second!|")
        _ = line.apply(.down)
        #expect(state(line) == "draft|")
        #expect(line.apply(.down) == .bell)
        _ = line.apply(.up)
        #expect(line.apply(.enter) == entry("second!"))
    }

    @Test func upAndDownMoveWithinLinesFirst() {
        var line = editor(["old"], "世界x")
        _ = line.apply(.newline)
        type("abcdef", &line)
        for _ in 0..<3 { _ = line.apply(.left) }
        _ = line.apply(.up)
        // Column 3 lies inside the second wide character: the cursor stands on it.
        #expect(state(line) == "世|界x\nabcdef")
        _ = line.apply(.down)
        #expect(state(line) == "世界x\nab|cdef")
        _ = line.apply(.up)
        _ = line.apply(.up)
        #expect(state(line) == "old|")
        _ = line.apply(.down)
        #expect(state(line) == "世界x\nabcdef|")
        _ = line.apply(.lineStart)
        #expect(state(line) == "世界x\n|abcdef")
        _ = line.apply(.killToEnd)
        _ = line.apply(.up)
        _ = line.apply(.lineEnd)
        _ = line.apply(.killToEnd)
        #expect(state(line) == "世界x|")
    }

    @Test func search() {
        var line = editor(["make tea", "make coffee", "drink"], "draft")
        _ = line.apply(.search)
        type("make", &line)
        #expect(state(line) == "|make coffee")
        #expect(line.searchPrompt == "(search: make) ")
        _ = line.apply(.search)
        #expect(state(line) == "|make tea")
        _ = line.apply(.search)
        #expect(line.searchPrompt == "(not found: make) ")
        #expect(state(line) == "|make tea")
        _ = line.apply(.cancelSearch)
        #expect(state(line) == "draft|")
        #expect(line.searchPrompt == nil)
        _ = line.apply(.search)
        type("cofx", &line)
        _ = line.apply(.backspace)
        #expect(state(line) == "make |coffee")
        _ = line.apply(.lineEnd)
        #expect(state(line) == "make coffee|")
        _ = line.apply(.down)
        #expect(state(line) == "drink|")
        _ = line.apply(.down)
        #expect(state(line) == "draft|")
        _ = line.apply(.search)
        type("tea", &line)
        #expect(line.apply(.enter) == entry("make tea"))
    }

    @Test func quotesOpenAndClose() {
        var line = editor([], "\"\"\"")
        #expect(line.apply(.enter) == .redraw)
        type("/a", &line)
        _ = line.apply(.enter)
        type("  b", &line)
        #expect(line.apply(.enter) == .redraw)
        type("\"\"\"", &line)
        #expect(line.apply(.enter) == entry("/a\n  b", literal: true))
    }

    static let quoted: [(String, String?)] = [
        ("plain", "plain"), ("", ""), ("a\nb", "a\nb"), ("\"\"\"", nil), ("\"\"\"a", nil),
        ("\"\"\"a\"\"\"", "a"), ("\"\"\"\"\"\"", ""), ("\"\"\"a\nb\"\"\"", "a\nb"),
        ("\"\"\"\na\n\"\"\"\n", "a"), ("say \"\"\"x", "say \"\"\"x"),
        ("look:\n\"\"\"\na", nil), ("look:\n\"\"\"\na\n\"\"\" ", "look:\na"),
        ("\"\"\"\ndef f():\n    \"\"\"Doc.\"\"\"\n    return 1\n\"\"\"",
            "def f():\n    \"\"\"Doc.\"\"\"\n    return 1"),
        (" \"\"\"\n  a  \n\"\"\"", "  a  "), ("\"\"\"\n\n\"\"\"", ""),
    ]

    @Test(arguments: quoted) func multiline(text: String, expected: String?) {
        switch MultilineText(text) {
        case .open: #expect(expected == nil, "\(text.debugDescription)")
        case .complete(let content, _): #expect(content == expected)
        }
    }

    @Test func pastedLinesAreText() {
        var line = editor()
        let code = "\"\"\"Doc.\nmore\n"
        #expect(line.apply(.paste(code, isCut: false)) == .redraw)
        #expect(line.apply(.enter) == entry(code, literal: true))
        line.clear()
        _ = line.apply(.paste("/help", isCut: false))
        #expect(line.apply(.enter) == entry("/help"))
        line.clear()
        #expect(line.apply(.paste("x", isCut: true))
            == .note("the paste was cut at 1048576 bytes"))
    }

    @Test func tabCompletesCommands() {
        var line = editor([], "/h")
        #expect(line.apply(.tab) == .note("/help  /history"))
        type("i", &line)
        _ = line.apply(.tab)
        #expect(state(line) == "/history |")
        _ = line.apply(.tab)
        #expect(state(line) == "/history \t|")
    }

    @Test func historyForgetsRepetitionsAndTheOldest() {
        var history = InputHistory((0..<1001).map(String.init))
        #expect(history.entries.first == "1")
        #expect(history.add("1000") == false)
        #expect(history.add("  ") == false)
        #expect(history.add("new") == true)
        #expect(history.entries.count == InputHistory.limit)
        #expect(history.entries.first == "2")
    }

    @Test func plainLinesAtEverySplit() {
        let bytes = Array("a\r\n\n\"\"\"\nb\nc\n\"\"\"\n世\nlast".utf8)
        let expected = ["a", "", "b\nc", "世", "last"]
        for split in 0...bytes.count {
            var input = PlainInput()
            var entries: [String] = []
            input.append(bytes[..<split])
            while let entry = input.next() { entries.append(entry.text) }
            input.append(bytes[split...])
            while let entry = input.next() { entries.append(entry.text) }
            #expect(!input.isAtEnd)
            input.end()
            while let entry = input.next() { entries.append(entry.text) }
            #expect(entries == expected, "split at \(split)")
            #expect(input.isAtEnd)
        }
    }
}
