import Testing

@testable import AutoGLMCommand

@Suite struct TerminalKeyTests {
    static let sequences: [(String, [TerminalKey])] = [
        ("a", [.character("a")]),
        ("é", [.character("é")]),
        ("世", [.character("世")]),
        ("👩‍💻", [.character("👩"), .character("\u{200D}"), .character("💻")]),
        ("\r", [.enter]), ("\n", [.newline]), ("\u{1B}\r", [.newline]), ("\t", [.tab]),
        ("\u{1B}[13;2u", [.newline]), ("\u{1B}[27;2;13~", [.newline]), ("\u{1B}OM", [.enter]),
        ("\u{1B}[A", [.up]), ("\u{1B}[B", [.down]), ("\u{1B}[C", [.right]), ("\u{1B}[D", [.left]),
        ("\u{1B}OA", [.up]), ("\u{1B}OB", [.down]), ("\u{1B}OC", [.right]), ("\u{1B}OD", [.left]),
        ("\u{1B}[H", [.lineStart]), ("\u{1B}OH", [.lineStart]), ("\u{1B}[1~", [.lineStart]),
        ("\u{1B}[7~", [.lineStart]), ("\u{1B}[F", [.lineEnd]), ("\u{1B}OF", [.lineEnd]),
        ("\u{1B}[4~", [.lineEnd]), ("\u{1B}[8~", [.lineEnd]), ("\u{1B}[3~", [.delete]),
        ("\u{1B}[1;5D", [.wordLeft]), ("\u{1B}[1;3C", [.wordRight]), ("\u{1B}[1;2D", [.left]),
        ("\u{1B}b", [.wordLeft]), ("\u{1B}f", [.wordRight]), ("\u{1B}d", [.killWordAfter]),
        ("\u{1B}\u{7F}", [.killWordBefore]), ("\u{1B}[3;5~", [.killWordAfter]),
        ("\u{01}\u{05}\u{02}\u{06}", [.lineStart, .lineEnd, .left, .right]),
        ("\u{0B}\u{15}\u{17}\u{19}", [.killToEnd, .killToStart, .killSpacedWordBefore, .yank]),
        ("\u{0C}\u{03}\u{04}", [.clearScreen, .interrupt, .endOfInput]),
        ("\u{12}\u{10}\u{0E}\u{08}\u{7F}", [.search, .up, .down, .backspace, .backspace]),
        ("\u{1B}[200~one\rtwo\r\nthree\u{03}\u{1B}[A\u{1B}[201~",
            [.paste("one\ntwo\nthree[A", isCut: false)]),
        ("\u{1B}[200~世界👍\u{1B}[201~", [.paste("世界👍", isCut: false)]),
        // Unknown ones leave nothing behind.
        ("\u{1B}[15~", []), ("\u{1B}[?1;2c", []), ("\u{1B}[<0;12;3M", []), ("\u{1B}[[A", []),
        ("\u{1B}]0;title\u{07}", []), ("\u{1B}P1$r0m\u{1B}\\", []), ("\u{1B}x", []),
        ("\u{1B}[1;2;3;4;5Z", []), ("\u{1B}\u{1B}[A", [.up]),
        ("\u{1B}[" + String(repeating: "1;", count: 90) + "Z", []),
    ]

    /// Every sequence alone and between two letters, cut in two at every byte.
    @Test(arguments: sequences)
    func splits(text: String, expected: [TerminalKey]) {
        for (before, after) in [("", ""), ("x", "y")] {
            let bytes = Array((before + text + after).utf8)
            let all = before.unicodeScalars.map(TerminalKey.character) + expected
                + after.unicodeScalars.map(TerminalKey.character)
            for split in 0...bytes.count {
                var decoder = KeyDecoder()
                let keys = decoder.decode(bytes[..<split]) + decoder.decode(bytes[split...])
                #expect(keys == all, "\(text.debugDescription) at \(split)")
                #expect(!decoder.isWaitingAfterEscape)
            }
        }
    }

    @Test func everySequenceByteByByte() {
        var decoder = KeyDecoder()
        let bytes = Self.sequences.flatMap { Array($0.0.utf8) }
        let keys = bytes.flatMap { decoder.decode([$0]) }
        #expect(keys == Self.sequences.flatMap(\.1))
    }

    @Test func escapeAlone() {
        var decoder = KeyDecoder()
        #expect(decoder.decode([0x1B]).isEmpty)
        #expect(decoder.isWaitingAfterEscape)
        #expect(decoder.flush() == [.escape])
        #expect(decoder.flush().isEmpty)
    }

    @Test func brokenTextNeverSticks() {
        var decoder = KeyDecoder()
        let wrong: TerminalKey = .character("\u{FFFD}")
        #expect(decoder.decode([0xFF, 0x61]) == [wrong, .character("a")])
        #expect(decoder.decode([0xE4, 0xB8, 0x61]) == [wrong, .character("a")])
        #expect(decoder.decode([0xED, 0xA0, 0x80, 0x61]) == [wrong, .character("a")])
        // A C1 control in UTF-8 is no text.
        #expect(decoder.decode([0xC2, 0x9B, 0x61]) == [.character("a")])
    }

    @Test func anyBytesAreSurvived() {
        var state: UInt64 = 42
        var decoder = KeyDecoder()
        for _ in 0..<200_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let byte = UInt8(truncatingIfNeeded: state >> 33)
            _ = decoder.decode([byte % 4 == 0 ? [0x1B, 0x5B, 0x32, 0x7E][Int(byte) / 64] : byte])
        }
        _ = decoder.decode("\u{07}\u{1B}[201~\u{07}~".utf8)
        #expect(decoder.decode("a".utf8) == [.character("a")])
    }

    @Test(arguments: [0, 1, 7, 5000]) func longPasteIsCut(over: Int) {
        var decoder = KeyDecoder()
        let text = String(repeating: "a", count: KeyDecoder.pasteLimit + over)
        let keys = decoder.decode("\u{1B}[200~\(text)\u{1B}[201~b".utf8)
        let kept = String(repeating: "a", count: KeyDecoder.pasteLimit)
        #expect(keys == [.paste(kept, isCut: over > 0), .character("b")])
    }
}
