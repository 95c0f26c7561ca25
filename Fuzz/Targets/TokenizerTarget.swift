import AutoGLMJSON
import TestKit

@testable import AutoGLMText

/// Files of every tokenizer format: the first byte says which, the rest are the file (or two, with
/// a zero byte between). What loads has to encode a text and the file itself.
let tokenizerTarget = FuzzTarget(
    "tokenizer", seeds: tokenizerSeeds(), words: tokenizerWords
) { bytes in
    guard let kind = bytes.first else { return }
    let file = Array(bytes.dropFirst())
    let parts: TokenizerParts
    switch kind {
    case UInt8(ascii: "t"):
        parts = try TiktokenFile(file: "f", bytes: file).parts(TokenizerSettings())
    case UInt8(ascii: "s"):
        parts = try SentencePieceFile(file: "f", bytes: file).parts(TokenizerSettings())
    case UInt8(ascii: "v"):
        let two = halves(file)
        parts = try VocabularyFiles(
            vocabularyFile: "f", vocabulary: two.first, mergesFile: "g", merges: two.second ?? []
        ).parts(TokenizerSettings())
    case UInt8(ascii: "g"):
        try use(try Tokenizer(gguf: vocabulary(file), file: "f"), file)
        return
    default: parts = try TokenizerJSON(file: "f", bytes: file).parts()
    }
    try use(Tokenizer(parts), file)
}

private func use(_ tokenizer: Tokenizer, _ file: [UInt8]) throws {
    let sample = Array("Hello  wörld, it's 你好\n\t<|user|> 123456 😀e\u{301}\r\n▁<0x41> ".utf8)
    for text in [sample, Array(file.suffix(64))] {
        for isTrusted in [false, true] {
            let ids = tokenizer.encode(utf8: text, allowSpecial: isTrusted, addSpecial: isTrusted)
            promise(
                ids.allSatisfy { $0 >= 0 && Int($0) < tokenizer.vocabularyCount },
                "a token outside of the vocabulary of \(tokenizer.vocabularyCount): \(ids)")
            _ = tokenizer.decode(ids, skipSpecial: !isTrusted)
        }
        var encoder = IncrementalEncoder(tokenizer, text, trusted: [], addSpecial: false)
        while !encoder.advance(byteBudget: 1) {}
        promise(encoder.tokens == tokenizer.encode(utf8: text), "slices change the tokens")
    }
    for id in [tokenizer.bosID, tokenizer.eosID, tokenizer.padID, tokenizer.unknownID] {
        guard let id else { continue }
        promise(id >= 0 && Int(id) < tokenizer.vocabularyCount, "special token \(id)")
    }
    for id in tokenizer.prefixIDs + tokenizer.suffixIDs {
        promise(id >= 0 && Int(id) < tokenizer.vocabularyCount, "token around a text \(id)")
    }
}

/// GGUF's vocabulary line by line: `1piece` with its type, `M` merge, `P` pre, `B`, `E`, `U` ids,
/// `L` for SentencePiece.
private func vocabulary(_ file: [UInt8]) -> GGUFVocabulary {
    var result = GGUFVocabulary(model: "gpt2", tokens: [])
    for line in file.split(separator: 0x0A) {
        guard let kind = line.first else { continue }
        let rest = Array(line.dropFirst())
        let id = Int32(String(decoding: rest, as: UTF8.self))
        switch kind {
        case UInt8(ascii: "M"): result.merges.append(rest)
        case UInt8(ascii: "P"): result.pre = String(decoding: rest, as: UTF8.self)
        case UInt8(ascii: "B"): result.bosID = id
        case UInt8(ascii: "E"): result.eosID = id
        case UInt8(ascii: "U"): result.unknownID = id
        case UInt8(ascii: "L"): result.model = "llama"
        default:
            result.tokens.append(rest)
            result.tokenTypes.append(Int(kind) - 0x30)
            result.scores.append(Float(rest.count) - Float(kind))
        }
    }
    if result.model == "gpt2" { result.scores = [] }
    return result
}

private let tokenizerWords = [
    #""type":"BPE""#, #""type":"Unigram""#, #""vocab":{"#, #""merges":["#, #""added_tokens":[{"#,
    #""id":"#, #""content":""#, #""special":true"#, #""normalizer":{"type":"NFC"}"#,
    #""pre_tokenizer":{"type":"ByteLevel"}"#, #"{"type":"Sequence","normalizers":["#,
    #""post_processor":{"type":"TemplateProcessing","single":["#, #""byte_fallback":true"#,
    #"{"type":"Metaspace","replacement":"▁"}"#, #"{"type":"Replace","pattern":{"String":""#,
    #"{"type":"Split","pattern":{"Regex":""#, #""Precompiled","precompiled_charsmap":""#,
    "IQ== 0\n", "YQ== 97\n", "\\u0120", "Ġ", "<0x", "▁", "4294967295", "-1", "\u{202E}", "\u{1B}[2J",
    #"{"type":"Strip"}"#, #"{"type":"Prepend","prepend":""}"#, #""unk_id":9"#, #""fuse_unk":true"#,
    "chatglm-bpe", "deepseek-llm", "tekken", "\n1", "\n3<|x|>", "\nMa b", "\n6<0x00>",
]

private func tokenizerSeeds() -> [[UInt8]] {
    let json = [
        #"{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"Ġab":4},"merges":["a b","Ġ ab"],"#
            + #""byte_fallback":false},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"#
            + #""decoder":{"type":"ByteLevel"},"added_tokens":[{"id":5,"content":"<|user|>","#
            + #""special":true}],"post_processor":{"type":"TemplateProcessing","single":["#
            + #"{"SpecialToken":{"id":"s"}},{"Sequence":{"id":"A"}}],"special_tokens":{"s":{"ids":[5]}}}}"#,
        #"{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-1.5],["▁a",-2],["b",-3]]},"#
            + #""normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Lowercase"},"#
            + #"{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]},"#
            + #""pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"},"#
            + #""decoder":{"type":"Metaspace","replacement":"▁"}}"#,
        #"{"model":{"type":"BPE","vocab":{"<0x41>":0,"▁":1,"H":2,"e":3,"He":4,"<unk>":5},"#
            + #""merges":[["H","e"]],"byte_fallback":true,"unk_token":"<unk>","fuse_unk":true},"#
            + #""normalizer":{"type":"Prepend","prepend":"▁"},"pre_tokenizer":{"type":"Sequence","#
            + #""pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"Punctuation"}]}}"#,
    ]
    let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    let ranks = (0..<256).map { byte in
        let code = [digits[byte >> 2], digits[byte << 4 & 63]]
        return String(decoding: code, as: UTF8.self) + "== \(byte)\n"
    }.joined() + "SGU= 256\nbG8= 257\n"
    // Pieces of a SentencePiece model: text, score, type.
    func piece(_ text: String, _ kind: UInt8) -> [UInt8] {
        let body = [0x0A, UInt8(text.utf8.count)] + Array(text.utf8)
            + [0x15, 0, 0, 0x80, 0xBF, 0x18, kind]
        return [0x0A, UInt8(body.count)] + body
    }
    let model = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) + piece("▁", 1)
        + piece("a", 1) + piece("▁a", 1) + piece("<0x41>", 6) + piece("x", 4)
    let trainer: [UInt8] = [0x12, 2, 0x18, 2]
    let vocabulary = "{\"a\":0,\"b\":1,\"ab\":2,\"Ġ\":3}\0#version: 0.2\na b\n"
    let alphabet = (0..<256).map { "1" + ByteVocabulary.shown([UInt8($0)]) + "\n" }.joined()
    let scored = "2<unk>\n3<s>\n1a\n1b\n1ab\n1▁\n" + (0..<256).map { byte in
        "6<0x\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))>\n"
    }.joined()
    return json.map { Array(("j" + $0).utf8) } + [
        Array(("t" + ranks).utf8), [0x73] + model, [0x73] + model + trainer,
        Array(("v" + vocabulary).utf8), Array("gL\n\(scored)B1\nU0\n".utf8),
        Array("g\(alphabet)1He\n3<|user|>\nMH e\nPqwen2\nE257\n".utf8),
        Array("g\(alphabet)1He\n3<|user|>\nPchatglm-bpe\n".utf8),
    ]
}
