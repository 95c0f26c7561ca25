/// The tokenizer and chat templates inside a GGUF file, as plain data.
package struct GGUFTokenizer: Sendable {
    /// `gpt2` (byte-level BPE), `llama` (SentencePiece BPE), `t5` (unigram), …
    package let model: String
    /// Which split pattern byte-level BPE uses: `chatglm-bpe`, `llama-bpe`, `qwen2`, …
    package let pre: String?
    /// By token id.
    package let tokens: [String]
    /// SentencePiece scores; empty, or one per token.
    package let scores: [Float]
    /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty, or one per token.
    package let types: [Int32]
    /// Pairs in order of rank, two pieces with a space between.
    package let merges: [String]
    package let begin: Int?
    package let end: Int?
    /// End of turn, end of message.
    package let endOfTurn: Int?
    package let endOfMessage: Int?
    package let unknown: Int?
    package let padding: Int?
    package let addsBegin: Bool?
    package let addsEnd: Bool?
    package let addsSpacePrefix: Bool?
    package let removesExtraSpaces: Bool?
    /// By name; the one without a name is `default`.
    package let chatTemplates: [String: String]

    init(_ file: GGUF) throws(CheckpointError) {
        let metadata = GGUFMetadata(file: file.path, values: file.metadata)
        func key(_ name: String) -> String { "tokenizer.ggml." + name }
        model = try metadata.string(key("model")) ?? ""
        pre = try metadata.string(key("pre"))
        let tokens = try metadata.strings(key("tokens")) ?? []
        self.tokens = tokens
        scores = try metadata.floats(key("scores")) ?? []
        types = try (metadata.integers(key("token_type")) ?? []).map { Int32(clamping: $0) }
        merges = try metadata.strings(key("merges")) ?? []
        for (name, count) in [("scores", scores.count), ("token_type", types.count)]
        where count != 0 && count != tokens.count {
            throw metadata.refuse(
                key(name), "\(count) values", "there are \(tokens.count) tokens")
        }
        func token(_ name: String) throws(CheckpointError) -> Int? {
            guard let id = try metadata.integer(key(name)), id != -1, id != 0xFFFF_FFFF else {
                return nil
            }
            guard tokens.indices.contains(id) else {
                throw metadata.refuse(key(name), "\(id)", "there are \(tokens.count) tokens")
            }
            return id
        }
        begin = try token("bos_token_id")
        end = try token("eos_token_id")
        endOfTurn = try token("eot_token_id")
        endOfMessage = try token("eom_token_id")
        unknown = try token("unknown_token_id")
        padding = try token("padding_token_id")
        addsBegin = try metadata.bool(key("add_bos_token"))
        addsEnd = try metadata.bool(key("add_eos_token"))
        addsSpacePrefix = try metadata.bool(key("add_space_prefix"))
        removesExtraSpaces = try metadata.bool(key("remove_extra_whitespaces"))
        chatTemplates = try Self.templates(metadata)
    }

    /// `tokenizer.chat_template`, and `tokenizer.chat_template.NAME` of models with several.
    private static func templates(_ metadata: GGUFMetadata)
        throws(CheckpointError) -> [String: String]
    {
        let key = "tokenizer.chat_template"
        var templates: [String: String] = [:]
        for named in metadata.values.keys where named.hasPrefix(key + ".") {
            templates[String(named.dropFirst(key.count + 1))] = try metadata.string(named)
        }
        if let template = try metadata.string(key) { templates["default"] = template }
        return templates
    }

    /// The ids that end an answer as far as the file says so. Converters leave some out, which
    /// the families know by their text.
    var stopTokens: [Int] { Set([end, endOfTurn, endOfMessage].compactMap { $0 }).sorted() }
}
