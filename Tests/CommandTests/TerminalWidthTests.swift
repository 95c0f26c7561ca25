import Testing

@testable import AutoGLMCommand

@Suite struct TerminalWidthTests {
    static let widths: [(String, Int)] = [
        ("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("世界", 4), ("ｶﾞ", 2), ("Ａ", 2),
        ("한글", 4), ("\u{1112}\u{1161}\u{11AB}", 2), ("👍", 2), ("👍🏽", 2), ("👩‍💻", 2),
        ("👨‍👩‍👧‍👦", 2), ("🇩🇪", 2), ("🇩", 1), ("❤", 1), ("❤\u{FE0F}", 2), ("1\u{FE0F}\u{20E3}", 2),
        ("\u{200B}", 0), ("\u{200D}", 0), ("\u{AD}", 1), ("\u{1B}", 2), ("\u{7F}", 2),
        ("\u{9B}", 8), ("\u{202E}", 8), ("ж", 1), ("ก\u{E49}", 1), ("क\u{94D}ष", 2), ("𠀀", 2),
        ("…", 1), ("─", 1), ("。", 2), ("\n", 0), ("\u{E0001}", 0),
    ]

    @Test(arguments: widths) func columns(text: String, expected: Int) {
        #expect(TextWidth.columns(text) == expected)
    }

    @Test func controlsAreWrittenOut() {
        #expect(TextWidth.visible("\u{1B}") == "^[")
        #expect(TextWidth.visible("\u{0}") == "^@")
        #expect(TextWidth.visible("\u{7F}") == "^?")
        #expect(TextWidth.visible("\u{9B}") == "<U+009B>")
        #expect(TextWidth.visible("\u{202E}") == "<U+202E>")
        #expect(TextWidth.visible("世") == "世")
    }

    @Test func tableIsSorted() {
        let bounds = WideRanges.bounds
        for (one, next) in zip(bounds, bounds.dropFirst()) {
            #expect(one.upperBound + 1 < next.lowerBound)
        }
        for range in bounds {
            for value in [range.lowerBound, range.upperBound] {
                guard let scalar = Unicode.Scalar(value) else { continue }
                #expect(WideRanges.contains(scalar))
            }
            if let before = Unicode.Scalar(range.lowerBound - 1) {
                #expect(!WideRanges.contains(before))
            }
        }
    }

    // MARK: - Renderer

    private static let text = Array("Hello, 世界! e\u{301} 👩‍💻 a\u{1B}b 漢字かな\nsecond\tline 🇩🇪x")

    /// Every prefix with every cursor, drawn one after the other over the last drawing, shows
    /// the same as drawn alone, and the cursor stands on its character.
    @Test(arguments: [4, 5, 8, 11, 12, 20, 80])
    func redrawEqualsFirstDraw(columns: Int) {
        let size = WindowSize(columns: columns, rows: 40)
        var live = Screen(columns: columns, rows: 40)
        live.write("before\r\n")
        var renderer = LineRenderer(size: size)
        var cursors = 0
        for length in Array(0...Self.text.count) + Array((0..<Self.text.count).reversed()) {
            let text = Array(Self.text[..<length])
            for cursor in stride(from: 0, through: length, by: length > 6 ? 3 : 1) {
                live.write(renderer.draw(prompt: "> ", text: text, cursor: cursor))
                var alone = Screen(columns: columns, rows: 40)
                alone.write("before\r\n")
                var fresh = LineRenderer(size: size)
                alone.write(fresh.draw(prompt: "> ", text: text, cursor: cursor))
                #expect(live.lines == alone.lines, "\(length) \(cursor)")
                #expect(live.row == alone.row && live.column == alone.column)
                cursors += 1
            }
        }
        #expect(live.unknown.isEmpty && cursors > 100)
        #expect(live.lines.first == (columns < 6 ? String("before".prefix(columns)) : "before"))
    }

    @Test func fullRows() {
        var screen = Screen(columns: 6, rows: 5)
        var renderer = LineRenderer(size: WindowSize(columns: 6, rows: 5))
        screen.write(renderer.draw(prompt: "> ", text: Array("abcd"), cursor: 4))
        #expect(screen.lines == ["> abcd"])
        #expect(screen.row == 1 && screen.column == 0)
        screen.write(renderer.draw(prompt: "> ", text: Array("abcd"), cursor: 3))
        #expect(screen.lines == ["> abcd"])
        #expect(screen.row == 0 && screen.column == 5)
        // A wide character does not fit into the last column.
        screen.write(renderer.draw(prompt: "> ", text: Array("abc世"), cursor: 3))
        #expect(screen.lines == ["> abc", "世"])
        #expect(screen.row == 1 && screen.column == 0)
        screen.write(renderer.draw(prompt: "> ", text: Array("abcd"), cursor: 4))
        screen.write(renderer.finish())
        #expect(screen.lines == ["> abcd"])
        #expect(screen.row == 1 && screen.column == 0)
    }

    @Test func tallerThanTheScreen() {
        let text = Array((0..<20).map { "line \($0)" }.joined(separator: "\n"))
        var screen = Screen(columns: 20, rows: 5)
        var renderer = LineRenderer(size: WindowSize(columns: 20, rows: 5))
        screen.write(renderer.draw(prompt: "> ", text: text, cursor: text.count))
        #expect(screen.lines == (15..<20).map { ". line \($0)" })
        screen.write(renderer.draw(prompt: "> ", text: text, cursor: 0))
        #expect(screen.lines == ["> line 0"] + (1..<5).map { ". line \($0)" })
        #expect(screen.row == 0 && screen.column == 2)
        #expect(screen.allLines.count == 5)
    }

    @Test(arguments: 3..<30) func narrowedWindow(columns: Int) {
        let text = Array("the quick brown fox jumps over\nthe lazy dog")
        for cursor in 0...text.count {
            var screen = Screen(columns: 30, rows: 40)
            screen.write("before\r\n")
            var renderer = LineRenderer(size: WindowSize(columns: 30, rows: 40))
            screen.write(renderer.draw(prompt: "> ", text: text, cursor: cursor))
            screen.narrow(to: columns)
            screen.write(renderer.resize(to: WindowSize(columns: columns, rows: 40)))
            screen.write(renderer.draw(prompt: "> ", text: text, cursor: cursor))
            var alone = Screen(columns: columns, rows: 40)
            alone.write("before\r\n")
            var fresh = LineRenderer(size: WindowSize(columns: columns, rows: 40))
            alone.write(fresh.draw(prompt: "> ", text: text, cursor: cursor))
            #expect(screen.lines == alone.lines, "cursor \(cursor)")
        }
    }

    @Test func unchangedRowsAreNotWrittenAgain() {
        var renderer = LineRenderer(size: WindowSize(columns: 10, rows: 10))
        _ = renderer.draw(prompt: "> ", text: Array("aaaaaaaabbbb"), cursor: 12)
        let output = renderer.draw(prompt: "> ", text: Array("aaaaaaaabbbbc"), cursor: 13)
        #expect(!output.contains("a") && output.contains("bbbbc"))
    }
}
