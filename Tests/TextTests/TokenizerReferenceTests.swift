import Foundation
import TestKit
import Testing

@testable import AutoGLMText

/// Ids equal to those of the reference libraries, and back to the same text.
@Suite(.enabled(if: TokenizerFixtures.isPresent))
struct TokenizerReferenceTests {
    /// Counts what agrees, so that a failure says how much of a set is wrong.
    private func check(
        _ name: String, _ tokenizer: Tokenizer, _ cases: [TokenizerCase], allowSpecial: Bool,
        addSpecial: Bool = false, decodes: (TokenizerCase) -> Bool = { _ in true }
    ) {
        var wrongIDs: [String] = []
        var wrongText: [String] = []
        for item in cases {
            let ids = tokenizer.encode(
                item.text, allowSpecial: allowSpecial, addSpecial: addSpecial)
            if ids != item.ids {
                wrongIDs.append("\(item.text.debugDescription): \(ids) != \(item.ids)")
            }
            let back = tokenizer.decode(item.ids, skipSpecial: false)
            if decodes(item), back.unicodeScalars.elementsEqual(item.text.unicodeScalars) == false {
                wrongText.append("\(item.text.debugDescription) -> \(back.debugDescription)")
            }
        }
        #expect(!cases.isEmpty)
        #expect(wrongIDs.isEmpty, "\(name): \(wrongIDs.count): \(wrongIDs.prefix(4))")
        #expect(wrongText.isEmpty, "\(name): \(wrongText.count): \(wrongText.prefix(4))")
        print("\(name): \(cases.count - wrongIDs.count) of \(cases.count) ids equal, "
            + "\(wrongText.count) texts differ after decoding")
    }

    /// NFC changes some texts; those cannot come back as they were.
    private func isNFC(_ item: TokenizerCase) -> Bool {
        let bytes = Array(item.text.utf8)
        return NormalizationForm.nfc.apply(to: bytes) == bytes
    }

    @Test func glm4TokenizerJSON() throws {
        let tokenizer = try TokenizerFixtures.load("glm-4-9b-chat")
        check(
            "glm-4 json", tokenizer, try TokenizerFixtures.expected("glm-4-9b-chat"),
            allowSpecial: false)
        check(
            "glm-4 json, special", tokenizer,
            try TokenizerFixtures.expected("glm-4-9b-chat.special"), allowSpecial: true)
    }

    @Test func glm4Tiktoken() throws {
        let tokenizer = try TokenizerFixtures.glmTiktoken()
        check(
            "glm-4 tiktoken", tokenizer, try TokenizerFixtures.expected("glm-4-9b-chat"),
            allowSpecial: false)
        check(
            "glm-4 tiktoken, special", tokenizer,
            try TokenizerFixtures.expected("glm-4-9b-chat.special"), allowSpecial: true)
        #expect(tokenizer.id(of: "<|user|>") == 151_336)
        #expect(tokenizer.id(of: "<|observation|>") == 151_338)
        #expect(tokenizer.encode("", addSpecial: true) == [151_331, 151_333])
        #expect(tokenizer.vocabularyCount == 151_343)
    }

    @Test func llama3() throws {
        check(
            "llama-3", try TokenizerFixtures.load("llama-3"),
            try TokenizerFixtures.expected("llama-3"), allowSpecial: false)
    }

    @Test func llama2() throws {
        check(
            "llama-2", try TokenizerFixtures.load("llama-2"),
            try TokenizerFixtures.expected("llama-2"), allowSpecial: false)
    }

    @Test func qwen2() throws {
        check(
            "qwen2", try TokenizerFixtures.load("qwen2"), try TokenizerFixtures.expected("qwen2"),
            allowSpecial: true, decodes: isNFC)
    }

    @Test func yi() throws {
        check(
            "yi", try TokenizerFixtures.load("Yi-1.5-34B-Chat"),
            try TokenizerFixtures.expected("Yi-1.5-34B-Chat"), allowSpecial: true,
            decodes: { !$0.text.hasPrefix(" ") })
    }

    @Test func olmoe() throws {
        check(
            "olmoe", try TokenizerFixtures.load("OLMoE-1B-7B-0924"),
            try TokenizerFixtures.expected("OLMoE-1B-7B-0924"), allowSpecial: true, decodes: isNFC)
    }

    @Test(arguments: ["gpt-2", "starcoder", "deepseek-llm", "llama-spm"])
    func llamaCPPVocabulary(name: String) throws {
        check(
            "gguf \(name)", try TokenizerFixtures.gguf(name),
            try TokenizerFixtures.llamaCases(name), allowSpecial: false)
    }

    /// llama.cpp's cases for models whose vocabulary lies here in another format.
    @Test(arguments: [("llama-bpe", "llama-3"), ("qwen2", "qwen2")])
    func llamaCPPCases(name: String, folder: String) throws {
        check(
            "llama.cpp \(name)", try TokenizerFixtures.load(folder),
            try TokenizerFixtures.llamaCases(name), allowSpecial: false)
    }

    @Test func swiftTransformersExpectations() throws {
        let folder = "tokenizers/swift-transformers-expectations"
        let all = try TokenizerFixtures.json("\(folder)/tokenizer_tests.json")
        let models: [(String, Tokenizer)] = [
            ("distilgpt2", try TokenizerFixtures.gguf("gpt-2")),
            ("coreml-projects/Llama-2-7b-chat-coreml", try TokenizerFixtures.load("llama-2")),
            ("pcuenq/Llama-3.2-1B-Instruct-tokenizer", try TokenizerFixtures.load("llama-3")),
        ]
        for (name, tokenizer) in models {
            var wrong: [String] = []
            let cases = all[name]?.arrayValue ?? []
            #expect(!cases.isEmpty)
            for entry in cases {
                let text = entry["input"]?.stringValue ?? ""
                let ids = TokenizerFixtures.ids(entry["encoded"]?["input_ids"]) ?? []
                // distilgpt2's own files add nothing; the GGUF's metadata does not say.
                let found = tokenizer.encode(
                    text, allowSpecial: true, addSpecial: name != "distilgpt2")
                var plain = tokenizer.decode(ids, skipSpecial: true)
                var full = tokenizer.decode(ids, skipSpecial: false)
                if !name.hasPrefix("coreml") {
                    (plain, full) = (Self.cleaned(plain), Self.cleaned(full))
                }
                if found != ids || plain != entry["decoded_without_special"]?.stringValue
                    || full != entry["decoded_with_special"]?.stringValue
                {
                    wrong.append("\(text.debugDescription): \(found) != \(ids); \(plain), \(full)")
                }
            }
            #expect(wrong.isEmpty, "\(name): \(wrong.count) of \(cases.count): \(wrong)")
            print("\(name): \(cases.count - wrong.count) of \(cases.count)")
        }
        let long: [(String, Tokenizer, Bool)] = [
            ("gpt2_encoded_tokens", models[0].1, false), ("llama_encoded", models[1].1, true),
            ("llama_3.2_encoded", models[2].1, true),
        ]
        for (name, tokenizer, addSpecial) in long {
            let entry = try TokenizerFixtures.json("\(folder)/\(name).json")
            let ids = TokenizerFixtures.ids(entry["token_ids"]) ?? []
            #expect(!ids.isEmpty)
            let text = entry["text"]?.stringValue ?? ""
            let found = tokenizer.encode(text, addSpecial: addSpecial)
            #expect(found == ids || Array(found.dropFirst()) == ids, "\(name)")
        }
    }

    /// transformers' `clean_up_tokenization_spaces`, on in the files those expectations came from.
    private static func cleaned(_ text: String) -> String {
        [".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re"].reduce(text) {
            $0.replacingOccurrences(of: " " + $1, with: $1)
        }
    }

    /// llama.cpp's fingerprints: SHA-256 of the printed ids of one nasty text.
    @Test func pretokenizerHashes() throws {
        let document = try TokenizerFixtures.json("tokenizers/llama.cpp-pretokenizer-hashes.json")
        let text = try #require(document["text"]?.stringValue)
        func hashes(_ names: [String]) -> Set<String> {
            Set(
                (document["hashes"]?.arrayValue ?? []).compactMap { entry in
                    guard let name = entry["llama_cpp_pre"]?.stringValue, names.contains(name)
                    else { return nil }
                    return entry["sha256"]?.stringValue
                })
        }
        let models: [(Tokenizer, [String])] = [
            (try TokenizerFixtures.load("glm-4-9b-chat"), ["chatglm-bpe"]),
            (try TokenizerFixtures.glmTiktoken(), ["chatglm-bpe", "glm4"]),
            (try TokenizerFixtures.load("llama-3"), ["llama-bpe"]),
            (try TokenizerFixtures.load("qwen2"), ["qwen2"]),
            (try TokenizerFixtures.load("OLMoE-1B-7B-0924"), ["olmo"]),
            (try TokenizerFixtures.gguf("gpt-2"), ["gpt-2"]),
            (try TokenizerFixtures.gguf("starcoder"), ["starcoder"]),
            (try TokenizerFixtures.gguf("deepseek-llm"), ["deepseek-llm"]),
        ]
        for (tokenizer, names) in models {
            let candidates = [false, true].map { addSpecial in
                let ids = tokenizer.encode(text, allowSpecial: true, addSpecial: addSpecial)
                return SHA256.hex("[" + ids.map(\.description).joined(separator: ", ") + "]")
            }
            #expect(!hashes(names).isDisjoint(with: candidates), "\(names)")
        }
    }
}

/// FIPS 180-4, for the fingerprints above.
enum SHA256 {
    private static let roundConstants: [UInt32] = {
        func isPrime(_ n: Int) -> Bool { !(2..<n).contains { $0 * $0 <= n && n % $0 == 0 } }
        let primes = (2...).lazy.filter(isPrime).prefix(64)
        return primes.map { prime in
            let root = cbrt(Double(prime))
            return UInt32((root - root.rounded(.down)) * 4_294_967_296)
        }
    }()

    static func hex(_ text: String) -> String {
        var state: [UInt32] = [
            0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c,
            0x1f83_d9ab, 0x5be0_cd19,
        ]
        var message = Array(text.utf8)
        let bits = UInt64(message.count) * 8
        message.append(0x80)
        while message.count % 64 != 56 { message.append(0) }
        for shift in stride(from: 56, through: 0, by: -8) {
            message.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
        }
        func rotate(_ x: UInt32, _ n: UInt32) -> UInt32 { x >> n | x << (32 - n) }
        for block in stride(from: 0, to: message.count, by: 64) {
            var w = (0..<16).map { i in
                (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(message[block + i * 4 + $1]) }
            }
            for i in 16..<64 {
                let s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3
                let s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10
                w.append(w[i - 16] &+ s0 &+ w[i - 7] &+ s1)
            }
            var v = state
            for i in 0..<64 {
                let s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)
                let choice = v[4] & v[5] ^ ~v[4] & v[6]
                let t1 = v[7] &+ s1 &+ choice &+ roundConstants[i] &+ w[i]
                let s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)
                let majority = v[0] & v[1] ^ v[0] & v[2] ^ v[1] & v[2]
                v = [t1 &+ s0 &+ majority, v[0], v[1], v[2], v[3] &+ t1, v[4], v[5], v[6]]
            }
            for i in 0..<8 { state[i] = state[i] &+ v[i] }
        }
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }
}
