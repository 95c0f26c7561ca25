/// The tokenizer as GGUF metadata carries it (`tokenizer.ggml.*`).
package struct GGUFVocabulary: Sendable {
    /// `tokenizer.ggml.model`: `gpt2` or `llama`.
    package var model: String
    /// `tokenizer.ggml.pre`: names the split pattern of `gpt2` models.
    package var pre: String?
    package var tokens: [[UInt8]]
    package var scores: [Float]
    /// 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    package var tokenTypes: [Int]
    /// Pairs separated by a space.
    package var merges: [[UInt8]]
    package var bosID: TokenID?
    package var eosID: TokenID?
    package var unknownID: TokenID?
    package var padID: TokenID?
    package var addsBOS: Bool?
    package var addsEOS: Bool?
    package var addsSpacePrefix: Bool?

    package init(
        model: String, pre: String? = nil, tokens: [[UInt8]], scores: [Float] = [],
        tokenTypes: [Int] = [], merges: [[UInt8]] = [], bosID: TokenID? = nil,
        eosID: TokenID? = nil, unknownID: TokenID? = nil, padID: TokenID? = nil,
        addsBOS: Bool? = nil, addsEOS: Bool? = nil, addsSpacePrefix: Bool? = nil
    ) {
        self.model = model
        self.pre = pre
        self.tokens = tokens
        self.scores = scores
        self.tokenTypes = tokenTypes
        self.merges = merges
        self.bosID = bosID
        self.eosID = eosID
        self.unknownID = unknownID
        self.padID = padID
        self.addsBOS = addsBOS
        self.addsEOS = addsEOS
        self.addsSpacePrefix = addsSpacePrefix
    }
}

extension Tokenizer {
    /// A tokenizer from GGUF metadata.
    /// - Parameter file: named in errors.
    package convenience init(
        gguf vocabulary: GGUFVocabulary, file: String
    ) throws(TokenizerError) {
        self.init(try GGUFTokenizerReader(file: file, vocabulary: vocabulary).parts())
    }
}

private struct GGUFTokenizerReader {
    let file: String
    let vocabulary: GGUFVocabulary

    private func malformed(_ field: String, _ reason: String) -> TokenizerError {
        .malformed(file: file, field: "tokenizer.ggml.\(field)", reason: reason)
    }

    func parts() throws(TokenizerError) -> TokenizerParts {
        let count = vocabulary.tokens.count
        guard count > 0, count <= PieceTable.idMax else {
            throw malformed("tokens", "\(count) entries; expected 1…\(PieceTable.idMax)")
        }
        for (name, found) in [
            ("token_type", vocabulary.tokenTypes.count), ("scores", vocabulary.scores.count),
        ] where found != 0 && found != count {
            throw malformed(name, "\(found) entries for \(count) tokens")
        }
        for (id, type) in vocabulary.tokenTypes.enumerated()
        where type != 0 && ScoredVocabulary.Kind(rawValue: type) == nil {
            throw malformed("token_type[\(id)]", "\(type); types are 1 to 6")
        }
        var parts: TokenizerParts
        switch vocabulary.model {
        case "gpt2": parts = try byteLevel()
        case "llama": parts = try sentencePiece()
        default:
            throw TokenizerError.unsupported(
                file: file, field: "tokenizer.ggml.model", value: vocabulary.model)
        }
        parts.bosID = try checked(vocabulary.bosID, "bos_token_id")
        parts.eosID = try checked(vocabulary.eosID, "eos_token_id")
        parts.unknownID = try checked(vocabulary.unknownID, "unknown_token_id") ?? parts.unknownID
        parts.padID = try checked(vocabulary.padID, "padding_token_id")
        parts.remarks += remarks
        let isGLM = vocabulary.pre == "chatglm-bpe" || vocabulary.pre == "glm4"
        let addsBOS = vocabulary.addsBOS ?? (vocabulary.model == "llama")
        if addsBOS, !isGLM, let bos = parts.bosID { parts.prefixIDs = [bos] }
        if vocabulary.addsEOS ?? false, let eos = parts.eosID { parts.suffixIDs = [eos] }
        if isGLM, let mask = special("[gMASK]", parts), let start = special("<sop>", parts) {
            parts.prefixIDs = [mask, start]
        }
        return parts
    }

    private func special(_ text: String, _ parts: TokenizerParts) -> TokenID? {
        let bytes = Array(text.utf8)
        return parts.added.first { $0.content == bytes }?.id
    }

    private func checked(_ id: TokenID?, _ field: String) throws(TokenizerError) -> TokenID? {
        guard let id else { return nil }
        // Some converters write -1 or 0xFFFFFFFF for "none".
        if id < 0 { return nil }
        guard Int(id) < vocabulary.tokens.count else {
            throw malformed(field, "\(id) with \(vocabulary.tokens.count) tokens")
        }
        return id
    }

    /// Whatever its type says, a token that begins or ends a text is none that users may write.
    private func kind(_ id: Int) -> ScoredVocabulary.Kind {
        let declared =
            id < vocabulary.tokenTypes.count
            ? ScoredVocabulary.Kind(rawValue: vocabulary.tokenTypes[id]) ?? .normal : .normal
        return declared == .normal && isBoundary(id) ? .control : declared
    }

    private func isBoundary(_ id: Int) -> Bool {
        Int(vocabulary.bosID ?? -1) == id || Int(vocabulary.eosID ?? -1) == id
    }

    private var remarks: [String] {
        var check = VocabularyCheck(file: file)
        let types = vocabulary.tokenTypes
        check.untyped(types.indices.filter { types[$0] == 0 }, "tokenizer.ggml.token_type")
        for (id, field) in [
            (vocabulary.bosID, "bos_token_id"), (vocabulary.eosID, "eos_token_id"),
        ] {
            guard let id, vocabulary.tokens.indices.contains(Int(id)) else { continue }
            // Without any types the file has not called it anything.
            guard types.indices.contains(Int(id)), types[Int(id)] < 2 else { continue }
            check.plainSpecial(id, "tokenizer.ggml.\(field)", vocabulary.tokens[Int(id)])
        }
        return check.remarks
    }

    // MARK: gpt2

    private func byteLevel() throws(TokenizerError) -> TokenizerParts {
        var check = VocabularyCheck(file: file)
        var pieces = PieceTable(capacity: vocabulary.tokens.count)
        var added: [AddedToken] = []
        for (id, token) in vocabulary.tokens.enumerated() {
            let kind = kind(id)
            switch kind {
            case .control, .unknown:
                added.append(AddedToken(id: TokenID(id), content: token, isSpecial: true))
            case .userDefined:
                added.append(AddedToken(id: TokenID(id), content: token, isSpecial: false))
            case .normal, .unused, .byte: break
            }
            let piece = kind == .normal ? ByteAlphabet.decode(token) : token
            guard pieces.insert(piece, id: id, searchable: kind == .normal) else {
                throw malformed("tokens[\(id)]", "the vocabulary is too large")
            }
        }
        pieces.seal()
        let bytes = TokenizerJSON.singleBytes(pieces)
        guard bytes.contains(where: { $0 >= 0 }) else {
            throw malformed("tokens", "no single byte among the pieces of a gpt2 vocabulary")
        }
        let pre = try GGUFPre(vocabulary.pre, file: file)
        let rule: BPEModel.Rule
        if pre.ranksAreIDs {
            rule = .concatenation(ranks: (0..<UInt32(pieces.count)).map { $0 })
        } else {
            rule = .pairs(try mergeTable(pieces, &check))
        }
        var parts = TokenizerParts(
            model: .bpe(
                BPEModel(
                    pieces: pieces, rule: rule, alphabet: .bytes,
                    takesWholeWords: pre.takesWholeWords, byteIDs: bytes, unknownID: nil,
                    fusesUnknown: false)))
        parts.normalizers = pre.normalizers
        parts.stages = pre.patterns.map { .pattern($0) }
        parts.added = added
        check.repetitions(pieces, "tokenizer.ggml.tokens")
        check.bytes(bytes, "tokenizer.ggml.tokens")
        parts.remarks = check.remarks
        return parts
    }

    private func mergeTable(
        _ pieces: PieceTable, _ check: inout VocabularyCheck
    ) throws(TokenizerError) -> PairTable {
        if vocabulary.merges.isEmpty { throw malformed("merges", "missing") }
        var table = PairTable(capacity: vocabulary.merges.count)
        var merger = MergeReader(pieces: pieces, byteLevel: true)
        for (rank, merge) in vocabulary.merges.enumerated() {
            guard merger.take(line: merge) else {
                throw malformed("merges[\(rank)]", "expected two pieces")
            }
            merger.insert(into: &table, rank: rank)
        }
        check.merges(merger, "tokenizer.ggml.merges")
        return table
    }

    // MARK: llama

    private func sentencePiece() throws(TokenizerError) -> TokenizerParts {
        guard vocabulary.scores.count == vocabulary.tokens.count else {
            throw malformed("scores", "missing; a llama vocabulary needs one per token")
        }
        var scored = ScoredVocabulary()
        for (id, token) in vocabulary.tokens.enumerated() {
            scored.pieces.append(
                ScoredVocabulary.Piece(bytes: token, score: vocabulary.scores[id], kind: kind(id)))
        }
        var parts: TokenizerParts
        do throws(ScoredVocabulary.Invalid) {
            parts = try scored.parts(
                isUnigram: false, byteFallback: true, file: file, field: "tokenizer.ggml.tokens")
        } catch {
            throw malformed("tokens[\(error.index)]", error.reason)
        }
        let prefix = vocabulary.addsSpacePrefix ?? true
        parts.normalizers = [
            .sentencePiece(
                SentencePieceNormalizer(
                    charsmap: nil, addsDummyPrefix: prefix, removesExtraSpaces: false,
                    escapesSpaces: true, prefixesOnlyFirst: false))
        ]
        parts.leadingSpacesDropped = prefix ? 1 : 0
        parts.splitAtSpacesIfExact()
        return parts
    }
}

/// What the name in `tokenizer.ggml.pre` stands for.
private struct GGUFPre {
    var patterns: [SplitPattern]
    var normalizers: [Normalizer] = []
    /// A word that is a piece is taken whole.
    var takesWholeWords = false
    /// The vocabulary is in tiktoken's rank order; its ids are better than the file's merges,
    /// of which converters keep only one per piece.
    var ranksAreIDs = false

    init(_ name: String?, file: String) throws(TokenizerError) {
        let cl100k = SplitPattern.cl100k(digitsMax: 3, joinsMarks: false)
        switch name {
        case "chatglm-bpe", "glm4":
            patterns = [cl100k]
            takesWholeWords = true
            ranksAreIDs = true
        case "llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral":
            patterns = [cl100k]
            takesWholeWords = true
        case "dbrx", "smaug-bpe": patterns = [cl100k]
        case "qwen2", "deepseek-r1-qwen", "megrez", "hunyuan", "solar-open", "grok-2":
            patterns = [.cl100k(digitsMax: 1, joinsMarks: false)]
            normalizers = [.form(.nfc)]
        case "stablelm2": patterns = [.cl100k(digitsMax: 1, joinsMarks: false)]
        case "qwen35":
            patterns = [.cl100k(digitsMax: 1, joinsMarks: true)]
            normalizers = [.form(.nfc)]
        case "gpt-4o", "llama4", "minimax-m2":
            patterns = [.o200k(digitsMax: 3, contractions: true)]
        case "tekken":
            patterns = [.o200k(digitsMax: 1, contractions: false)]
            takesWholeWords = true
        case "gpt-2", "gpt2", "mpt", "olmo", "jais", "trillion", "phi-2", "roberta-bpe":
            patterns = [.gpt2]
        case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b",
            "mellum2":
            patterns = [.digits(max: 1), .gpt2]
        case "deepseek-llm":
            patterns = [
                .newline, .spaceCasedLetters, .spaceASCIIPunctuation, .trailingWhitespace,
                .eastAsian, .digits(max: .max),
            ]
        case "deepseek-coder":
            patterns = [.newline, .spaceLetters, .spacePunctuation, .eastAsian, .digits(max: 1)]
        case nil, "default": patterns = [.gpt2]
        case .some(let other):
            throw TokenizerError.unsupported(
                file: file, field: "tokenizer.ggml.pre", value: other)
        }
    }
}
