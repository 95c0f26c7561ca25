import Foundation
import TestKit
import Testing

@testable import AutoGLMText

/// Files that are damaged, or use what is not implemented: one clear error, never a trap.
@Suite struct TokenizerFileTests {
    private static let minimal = """
        {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
         "added_tokens": [], "pre_tokenizer": null, "decoder": null}
        """

    private func load(_ files: [String: String]) throws -> Tokenizer {
        let directory = try TokenizerFixtures.directory(files)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        return try Tokenizer.load(directory: directory)
    }

    @Test func minimalFileLoads() throws {
        let tokenizer = try load(["tokenizer.json": Self.minimal])
        #expect(tokenizer.encode("abba") == [2, 1, 0])
        #expect(tokenizer.id(of: "ab") == 2)
        #expect(tokenizer.vocabularyCount == 3)
    }

    @Test func nothingThere() throws {
        #expect(throws: TokenizerError.self) { try load([:]) }
        #expect(throws: TokenizerError.self) { try Tokenizer.load(directory: "/nonexistent") }
    }

    @Test(arguments: [
        ("{\"a\": 0", "{\"a\": \"x\"", "model.vocab"),
        ("\"b\": 1", "\"b\": 0", "model.vocab"),
        ("\"b\": 1", "\"b\": -5", "model.vocab"),
        ("\"b\": 1", "\"b\": 99999999999", "model.vocab"),
        ("[\"a b\"]", "[\"ab\"]", "model.merges[0]"),
        ("[\"a b\"]", "[[\"a\"]]", "model.merges[0]"),
        ("[\"a b\"]", "{}", "model.merges"),
        ("\"BPE\"", "\"WordPiece\"", "model.type"),
        ("\"BPE\"", "3", "model.type"),
        (
            "\"added_tokens\": []", "\"added_tokens\": [{\"id\": -1, \"content\": \"x\"}]",
            "added_tokens[0].id"
        ),
        ("\"added_tokens\": []", "\"added_tokens\": {}", "added_tokens"),
        (
            "\"pre_tokenizer\": null", "\"pre_tokenizer\": {\"type\": \"Whatever\"}",
            "pre_tokenizer.type"
        ),
        (
            "\"pre_tokenizer\": null",
            "\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", "
                + "\"pattern\": {\"Regex\": \"x+\"}}",
            "pre_tokenizer.pattern.Regex"
        ),
        ("\"decoder\": null", "\"decoder\": {\"type\": \"WordPiece\"}", "decoder.type"),
        ("\"decoder\": null", "\"decoder\": 7", "decoder.type"),
        ("\"decoder\": null}", "\"decoder\": null", "document"),
    ])
    func damagedTokenizerJSON(old: String, new: String, field: String) throws {
        let text = Self.minimal.replacingOccurrences(of: old, with: new)
        #expect(text != Self.minimal)
        do {
            _ = try load(["tokenizer.json": text])
            Issue.record("loaded although \(field) is wrong")
        } catch let error as TokenizerError {
            #expect(error.description.contains("tokenizer.json"))
            #expect(error.description.contains(field), "\(error)")
        }
    }

    @Test func damagedTiktoken() throws {
        #expect(throws: TokenizerError.self) { try load(["tokenizer.model": "YQ== 0\nYg== x\n"]) }
        #expect(throws: TokenizerError.self) { try load(["tokenizer.model": "YQ== 0\nYg== 0\n"]) }
        // Too few ranks: some bytes could not be encoded.
        #expect(throws: TokenizerError.self) { try load(["tokenizer.model": "YQ== 0\nYg== 1\n"]) }
        #expect(throws: TokenizerError.self) { try load(["tokenizer.model": ""]) }
    }

    @Test func damagedVocabularyFiles() throws {
        #expect(throws: TokenizerError.self) {
            try load(["vocab.json": "{\"a\": 0}", "merges.txt": "#version: 0.2\nabc\n"])
        }
        #expect(throws: TokenizerError.self) { try load(["vocab.json": "[", "merges.txt": ""]) }
    }

    /// Every truncation and many mutations of a SentencePiece model and of a tokenizer.json.
    @Test func mutilatedFilesNeverTrap() throws {
        let folder = SharedData.repository.appendingPathComponent("Tests/Golden/tokenizers")
        var generator = SplitMix64(seed: 11)
        for name in ["sp-bpe.model", "sp-unigram.model"] {
            let bytes = [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
            for round in 0..<400 {
                var damaged = bytes
                if round % 2 == 0 {
                    damaged.removeSubrange(Int(generator.next() % UInt64(bytes.count))...)
                }
                for _ in 0..<3 where !damaged.isEmpty {
                    damaged[Int(generator.next() % UInt64(damaged.count))] = UInt8(
                        truncatingIfNeeded: generator.next())
                }
                try? useUp { () throws(TokenizerError) in
                    try SentencePieceFile(file: name, bytes: damaged).parts(TokenizerSettings())
                }
            }
        }
        let text = Array(Self.minimal.utf8)
        for _ in 0..<2000 {
            var damaged = text
            for _ in 0..<2 {
                damaged[Int(generator.next() % UInt64(damaged.count))] = UInt8(
                    truncatingIfNeeded: generator.next())
            }
            try? useUp { () throws(TokenizerError) in
                try TokenizerJSON(file: "x", bytes: damaged).parts()
            }
        }
    }

    private func useUp(_ load: () throws(TokenizerError) -> TokenizerParts) throws {
        let tokenizer = Tokenizer(try load())
        let ids = tokenizer.encode("abba  HelloWorld ﬁ中", allowSpecial: true, addSpecial: true)
        _ = tokenizer.decode(ids, skipSpecial: false)
    }

    @Test func ggufFieldsAreChecked() {
        func load(_ vocabulary: GGUFVocabulary) throws {
            _ = try Tokenizer(gguf: vocabulary, file: "x.gguf")
        }
        let tokens = [Array("a".utf8), Array("b".utf8)]
        #expect(throws: TokenizerError.self) { try load(GGUFVocabulary(model: "gpt2", tokens: [])) }
        for model in ["bert", "llama"] {
            #expect(throws: TokenizerError.self) {
                try load(GGUFVocabulary(model: model, tokens: tokens))
            }
        }
        #expect(throws: TokenizerError.self) {
            try load(GGUFVocabulary(model: "llama", tokens: tokens, scores: [1]))
        }
        #expect(throws: TokenizerError.self) {
            try load(GGUFVocabulary(model: "llama", tokens: tokens, scores: [1, 2], bosID: 2))
        }
        #expect(throws: TokenizerError.self) {
            try load(GGUFVocabulary(model: "gpt2", pre: "unheard-of", tokens: tokens))
        }
        #expect(throws: TokenizerError.self) {
            try load(GGUFVocabulary(model: "gpt2", pre: "gpt-2", tokens: tokens, merges: [[0x61]]))
        }
    }
}
