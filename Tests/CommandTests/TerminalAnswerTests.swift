import Foundation
import Testing

@testable import AutoGLMCommand

@Suite struct TerminalAnswerTests {
    private typealias Piece = (String, AnswerLayout.Style)

    private func output(_ pieces: [Piece], columns: Int?, hasColor: Bool = false) -> String {
        var layout = AnswerLayout(columns: columns, hasColor: hasColor)
        return pieces.map { layout.write($0.0, as: $0.1) }.joined() + layout.finish()
    }

    private func answer(_ text: String, columns: Int? = 20) -> String {
        output([(text, .answer)], columns: columns)
    }

    static let texts = [
        "The quick brown fox jumps over the lazy dog.\n\n- one\n- two  \n  indented, it wraps\n",
        "\nGLM-4 begins with a line break", "a\r\nb\u{1B}[31mred\u{202E}\u{7}", "  \n\n ", "",
        "世界，你好。这是一个很长的句子，没有空格！ok 完", "e\u{301}e\u{301} 👩‍💻👍🏽🇩🇪🇫🇷 ❤\u{FE0F}x",
        "code:\n```swift\nlet a = \"a long line that is not to be wrapped\"\n\n  x\n```\nand on",
        "````\n```\nnot closed by three, so this line stays long\n````\nback to wrapped text here",
        "~~~\na b\n~~~", "```inline``` code is no fence, so the line wraps",
        "https://example.com/a/very/long/address?with=everything and then more words",
        "tab\tseparated\ttext\there\n\tindented", "a " + String(repeating: "世", count: 30) + " b",
    ]

    @Test(arguments: texts) func everySplitGivesTheSame(text: String) {
        let scalars = Array(text.unicodeScalars)
        func part(_ range: Range<Int>) -> String {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: scalars[range])
            return String(view)
        }
        for columns in [nil, 5, 20, 80] {
            let whole = answer(text, columns: columns)
            for split in 0...scalars.count {
                let pieces = [part(0..<split), part(split..<scalars.count)]
                #expect(output(pieces.map { ($0, .answer) }, columns: columns) == whole)
            }
            let single = scalars.indices.map { (part($0..<($0 + 1)), AnswerLayout.Style.answer) }
            #expect(output(single, columns: columns) == whole)
        }
    }

    /// No row of text is longer than the terminal, and nothing but white space is lost. Code and
    /// words longer than a row are left to the terminal.
    @Test(arguments: texts, [7, 20, 40]) func wrapped(text: String, columns: Int) {
        let lines = answer(text, columns: columns).split(separator: "\n")
        let longest = text.split(whereSeparator: \.isWhitespace)
            .map { word in word.allSatisfy { TextWidth.columns($0) == 2 } ? 2 : word.count }.max()
        if longest ?? 0 <= columns, !text.contains("```"), !text.contains("\t") {
            for line in lines { #expect(TextWidth.columns(line) <= columns) }
        }
        let shown = text.map(TextWidth.visible).joined().filter { !$0.isWhitespace }
        #expect(lines.joined().filter { !$0.isWhitespace } == shown)
    }

    @Test func words() {
        #expect(answer("The quick brown fox jumps over the lazy dog.")
            == "The quick brown fox\njumps over the lazy\ndog.\n")
        #expect(answer("12345678901234567890 x") == "12345678901234567890\nx\n")
        #expect(answer("a\n\n  b\n\n\n") == "a\n\n  b\n")
        #expect(answer("\n\na") == "a\n")
        #expect(answer("") == "")
    }

    @Test func wideText() {
        // Ten wide characters fill the row; punctuation goes with the character before it.
        #expect(answer("一二三四五六七八九十，甲乙") == "一二三四五六七八九\n十，甲乙\n")
        #expect(answer("a一二三四五六七八九十甲") == "a一二三四五六七八九\n十甲\n")
    }

    @Test func longWordsAreLeftToTheTerminal() {
        var screen = Screen(columns: 10, rows: 8)
        screen.write(answer("a 1234567890abcdef xy z, more", columns: 10)
            .split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n"))
        #expect(screen.lines == ["a", "1234567890", "abcdef xy", "z, more"])
    }

    @Test func codeIsNotWrapped() {
        let long = "let value = function(argument, another)"
        #expect(answer("so:\n```swift\n\(long)\n```\nThe quick brown fox jumps")
            == "so:\n```swift\n\(long)\n```\nThe quick brown fox\njumps\n")
    }

    @Test func controlsAreHarmlessOnTerminalsOnly() {
        #expect(answer("a\u{1B}[2Jb\u{9B}c") == "a^[[2Jb<U+009B>c\n")
        #expect(answer("a\u{1B}[2Jb  \nc", columns: nil) == "a\u{1B}[2Jb  \nc\n")
    }

    @Test func styles() {
        let pieces: [Piece] = [
            ("\n", .thinking), ("let me ", .thinking), ("see\n\n", .thinking),
            ("\n\nYes.", .answer), ("f(1)", .call), ("stopped", .note),
        ]
        #expect(output(pieces, columns: 40, hasColor: true) == """
            \u{1B}[2mthinking
            let me see\u{1B}[0m

            Yes.
            \u{1B}[36mf(1)\u{1B}[0m
            \u{1B}[2mstopped\u{1B}[0m

            """)
        #expect(output(pieces, columns: 40) == """
            thinking
            let me see
            end of thinking

            Yes.
            f(1)
            stopped

            """)
        // Thinking without a word, as some templates force it, is not shown.
        #expect(output([("\n\n", .thinking), ("Hi", .answer)], columns: 40) == "Hi\n")
    }

    @Test func colorIsRefused() {
        #expect(!WrappingPrinter.hasColor(output: -1, environment: [:]))
    }
}
