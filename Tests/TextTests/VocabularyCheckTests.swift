import AutoGLMJSON
import TestKit
import Testing

@testable import AutoGLMText

/// Vocabularies that are wrong in one place: refused, or mended with a remark; either names the
/// file, the field, the place and the value.
@Suite struct VocabularyCheckTests {
    /// A sound one: all bytes, a word and its merge, and a control token.
    private static func gguf(
        tokens extra: [(text: String, type: Int)] = [], merges: [String] = ["a b"],
        change: (inout GGUFVocabulary) -> Void = { _ in }
    ) -> GGUFVocabulary {
        let bytes = (0...255).map { ByteVocabulary.shown([UInt8($0)]) }
        let more = [("ab", 1), ("<|end|>", 3)] + extra.map { ($0.text, $0.type) }
        var vocabulary = GGUFVocabulary(
            model: "gpt2", pre: "qwen2",
            tokens: (bytes + more.map(\.0)).map { Array($0.utf8) },
            tokenTypes: bytes.map { _ in 1 } + more.map(\.1),
            merges: merges.map { Array($0.utf8) }, eosID: 257)
        change(&vocabulary)
        return vocabulary
    }

    private static func remarks(_ vocabulary: GGUFVocabulary) throws -> [String] {
        try Tokenizer(gguf: vocabulary, file: "m.gguf").remarks
    }

    private static func refusal(_ vocabulary: GGUFVocabulary) -> String {
        do {
            _ = try Tokenizer(gguf: vocabulary, file: "m.gguf")
            return "accepted"
        } catch { return "\(error)" }
    }

    @Test func soundOnesHaveNoRemarks() throws {
        #expect(try Self.remarks(Self.gguf()) == [])
        #expect(try Tokenizer(gguf: Self.gguf(), file: "f").encode("ab") == [256])
    }

    @Test func repeatedPieces() throws {
        let remarks = try Self.remarks(Self.gguf(tokens: [("ab", 1), ("b", 1), ("a\u{1B}[2J", 1)]))
        #expect(
            remarks == [
                "m.gguf, tokenizer.ggml.tokens[258]: \"ab\" is also token 256, which is the one "
                    + "that text becomes (2 in all)"
            ])
        // The same text once as a control token is no repetition.
        #expect(try Self.remarks(Self.gguf(tokens: [("ab", 3)])) == [])
    }

    @Test func missingBytes() throws {
        var vocabulary = Self.gguf()
        vocabulary.tokens[0x41] = Array("abab".utf8)
        let tokenizer = try Tokenizer(gguf: vocabulary, file: "m.gguf")
        #expect(
            tokenizer.remarks == [
                "m.gguf, tokenizer.ggml.tokens: no piece for the byte 65, so text loses it"
            ])
        #expect(tokenizer.encode("AabA") == [256])
    }

    @Test func mergesOfUnknownPieces() throws {
        let remarks = try Self.remarks(
            Self.gguf(merges: ["a b", "x yy", "a c", "\u{202E} a"]))
        #expect(
            remarks == [
                "m.gguf, tokenizer.ggml.merges[1]: \"x yy\" is of or makes a piece that the "
                    + "vocabulary does not have, and is passed over (3 in all)"
            ])
        #expect(Self.refusal(Self.gguf(merges: ["a b", "ab"])).contains("merges[1]: expected two"))
    }

    @Test func typesAndSpecialIDs() throws {
        #expect(
            Self.refusal(Self.gguf { $0.tokenTypes[7] = 9 })
                == "malformed tokenizer file m.gguf, tokenizer.ggml.token_type[7]: 9; types are "
                + "1 to 6; fetch the file again")
        #expect(
            try Self.remarks(Self.gguf { $0.tokenTypes[7] = 0 })
                == ["m.gguf, tokenizer.ggml.token_type[7]: 0 is no type; taken for plain text"])
        #expect(Self.refusal(Self.gguf { $0.bosID = 900 }).contains("bos_token_id: 900 with 258"))
        #expect(
            Self.refusal(Self.gguf { $0.tokenTypes.removeLast() })
                .contains("token_type: 257 entries for 258 tokens"))
    }

    /// Whoever writes the text of an end token into a message must not end the turn.
    @Test func endTokensAreControlTokens() throws {
        var vocabulary = Self.gguf()
        vocabulary.tokenTypes[257] = 1
        let tokenizer = try Tokenizer(gguf: vocabulary, file: "m.gguf")
        #expect(
            tokenizer.remarks == [
                "m.gguf, tokenizer.ggml.eos_token_id: token 257 (\"<|end|>\") is marked as plain "
                    + "text; it is taken for a control token"
            ])
        #expect(!tokenizer.encode("<|end|>").contains(257))
        #expect(tokenizer.encode("<|end|>", allowSpecial: true) == [257])
    }

    @Test func byteTokensOfScoredVocabularies() {
        func llama(_ texts: [(String, Int)]) -> GGUFVocabulary {
            GGUFVocabulary(
                model: "llama", tokens: texts.map { Array($0.0.utf8) },
                scores: texts.map { _ in 0 }, tokenTypes: texts.map(\.1))
        }
        #expect(
            Self.refusal(llama([("<unk>", 2), ("a", 1), ("<0xZZ>", 6)]))
                .contains("tokens[2]: \"<0xZZ>\" is marked as a byte, but is none of"))
        let some = llama([("<unk>", 2), ("a", 1), ("<0x41>", 6)])
        #expect(
            (try? Self.remarks(some)) == [
                "m.gguf, tokenizer.ggml.tokens: no token for the byte 0, so bytes do not stand in "
                    + "for unknown characters (255 in all)"
            ])
    }

    private static func json(_ text: String) -> (remarks: [String], refusal: String) {
        do {
            let parts = try TokenizerJSON(file: "t.json", bytes: Array(text.utf8)).parts()
            return (parts.remarks, "accepted")
        } catch { return ([], "\(error)") }
    }

    @Test func tokenizerJSON() {
        let start = #"{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["#
        let found = Self.json(start + #""a b","a zz"]},"added_tokens":[{"id":5,"content":"x"},"#
            + #"{"id":5,"content":"y\u001b"}]}"#)
        #expect(
            found.remarks == [
                "t.json, model.merges[1]: \"a zz\" is of or makes a piece that the vocabulary does "
                    + "not have, and is passed over",
                "t.json, added_tokens[1]: \"y\\u{1b}\" has the id 5 of an earlier token, which "
                    + "keeps it",
            ])
        let around = #""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":"#
            + #"{"id":"s"}}],"special_tokens":{"s":{"ids":[ID]}}}}"#
        for (id, words) in [
            ("77", "post_processor: id 77 is none of the 3 tokens"), ("-1", "id -1 is none"),
            (#""x""#, "post_processor.special_tokens.s.ids: expected a list"),
        ] {
            let text = start + #""a b"]},"# + around.replacing("ID", with: id)
            #expect(Self.json(text).refusal.contains(words), "\(Self.json(text).refusal)")
        }
        let unigram = #"{"model":{"type":"Unigram","unk_id":ID,"vocab":[["a",-1],["b",-2]]}}"#
        for id in ["2", "-1", "\"a\""] {
            let refusal = Self.json(unigram.replacing("ID", with: id)).refusal
            #expect(refusal.contains("model.unk_id"), "\(refusal)")
        }
        #expect(Self.json(unigram.replacing("ID", with: "1")).refusal == "accepted")
    }

    @Test func tiktokenPieceTwice() {
        #expect {
            try TiktokenFile(file: "t.model", bytes: Array("YQ== 0\nYg== 1\nYQ== 2\n".utf8))
        } throws: { error in
            "\(error)".contains("t.model, line 3: \"a\" has the rank 0 already")
        }
    }

    @Test func messagesAreFitForOneLine() {
        let error = TokenizerError.unsupported(
            file: "a\u{1B}[31m.json", field: "x\n", value: String(repeating: "\u{202E}y", count: 999))
        let text = "\(error)"
        #expect(text.unicodeScalars.allSatisfy { !$0.isUnprintable })
        #expect(text.contains("a\\u{1b}[31m.json") && text.utf8.count < 2_000)
    }
}
