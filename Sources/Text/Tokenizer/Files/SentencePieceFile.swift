import AutoGLMJSON

/// Reads a SentencePiece model (sentencepiece_model.proto): pieces with scores and types, and how
/// to normalize.
struct SentencePieceFile {
    private let file: String
    private let bytes: [UInt8]
    private var vocabulary = ScoredVocabulary()
    private var isUnigram = true
    private var hasByteFallback = false
    private var charsmap: Charsmap?
    private var addsDummyPrefix = true
    private var removesExtraSpaces = true
    private var escapesSpaces = true

    init(file: String, bytes: [UInt8]) throws(TokenizerError) {
        self.file = file
        self.bytes = bytes
        do throws(ProtobufReader.Malformed) {
            var reader = ProtobufReader(bytes)
            while let (field, value) = try reader.next() {
                guard case .bytes(let range) = value else { continue }
                switch field {
                case 1: try readPiece(range)
                case 2: try readTrainer(range)
                case 3: try readNormalizer(range)
                default: break
                }
            }
        } catch {
            throw TokenizerError.malformed(
                file: file, field: "protobuf",
                reason: "unreadable at byte \(error.offset); neither tiktoken ranks nor a "
                    + "SentencePiece model")
        }
        if vocabulary.pieces.isEmpty {
            throw TokenizerError.malformed(file: file, field: "pieces", reason: "none found")
        }
    }

    private mutating func readPiece(_ range: Range<Int>) throws(ProtobufReader.Malformed) {
        var reader = ProtobufReader(bytes, range: range)
        var piece = ScoredVocabulary.Piece(bytes: [], score: 0, kind: .normal)
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (1, .bytes(let text)): piece.bytes = Array(bytes[text])
            case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
            case (3, .integer(let kind)):
                guard let known = ScoredVocabulary.Kind(rawValue: Int(clamping: kind)) else {
                    throw ProtobufReader.Malformed(offset: reader.position)
                }
                piece.kind = known
            default: break
            }
        }
        vocabulary.pieces.append(piece)
    }

    private mutating func readTrainer(_ range: Range<Int>) throws(ProtobufReader.Malformed) {
        var reader = ProtobufReader(bytes, range: range)
        while let (field, value) = try reader.next() {
            guard case .integer(let number) = value else { continue }
            switch field {
            case 3: isUnigram = number == 1
            case 35: hasByteFallback = number != 0
            default: break
            }
        }
    }

    private mutating func readNormalizer(_ range: Range<Int>) throws(ProtobufReader.Malformed) {
        var reader = ProtobufReader(bytes, range: range)
        while let (field, value) = try reader.next() {
            switch (field, value) {
            case (2, .bytes(let blob)) where !blob.isEmpty:
                guard let map = Charsmap(Array(bytes[blob])) else {
                    throw ProtobufReader.Malformed(offset: blob.lowerBound)
                }
                charsmap = map
            case (3, .integer(let flag)): addsDummyPrefix = flag != 0
            case (4, .integer(let flag)): removesExtraSpaces = flag != 0
            case (5, .integer(let flag)): escapesSpaces = flag != 0
            default: break
            }
        }
    }

    func parts(_ settings: TokenizerSettings) throws(TokenizerError) -> TokenizerParts {
        var parts: TokenizerParts
        do throws(ScoredVocabulary.Invalid) {
            parts = try vocabulary.parts(
                isUnigram: isUnigram, byteFallback: hasByteFallback, file: file, field: "pieces")
        } catch {
            throw TokenizerError.malformed(
                file: file, field: "pieces[\(error.index)]", reason: error.reason)
        }
        parts.normalizers = [
            .sentencePiece(
                SentencePieceNormalizer(
                    charsmap: charsmap, addsDummyPrefix: addsDummyPrefix,
                    removesExtraSpaces: removesExtraSpaces, escapesSpaces: escapesSpaces,
                    prefixesOnlyFirst: !settings.isLegacy))
        ]
        // A model that trims its input trims its output too.
        parts.leadingSpacesDropped = removesExtraSpaces ? Int.max : addsDummyPrefix ? 1 : 0
        if vocabulary.pieces.count == 64_789 {
            let known = KnownSpecials.tokens(KnownSpecials.chatGLM3, from: 64_789)
            let configured = Set(settings.added.lazy.map(\.id))
            parts.added += known.filter { !configured.contains($0.id) }
            parts.prefixIDs = [64_790, 64_792]
        } else if settings.addsBOS ?? true, let bos = parts.bosID {
            parts.prefixIDs = [bos]
        }
        parts.splitAtSpacesIfExact()
        return parts
    }
}

/// Pieces with scores and types, as SentencePiece and GGUF's `llama` tokenizer have them.
struct ScoredVocabulary: Sendable {
    enum Kind: Int, Sendable {
        case normal = 1
        case unknown, control, userDefined, unused, byte
    }

    struct Piece: Sendable {
        var bytes: [UInt8]
        var score: Float
        var kind: Kind
    }

    struct Invalid: Error {
        var index: Int
        var reason: String
    }

    var pieces: [Piece] = []

    /// - Parameter field: what the list of pieces is called in `file`.
    func parts(
        isUnigram: Bool, byteFallback: Bool, file: String, field: String
    ) throws(Invalid) -> TokenizerParts {
        var table = PieceTable(capacity: pieces.count)
        var added: [AddedToken] = []
        var unknownID: TokenID?
        for (id, piece) in pieces.enumerated() {
            let searchable = piece.kind == .normal || piece.kind == .byte
            guard table.insert(piece.bytes, id: id, searchable: searchable) else {
                throw Invalid(index: id, reason: "more than \(PieceTable.idMax) pieces")
            }
            if piece.score.isNaN { throw Invalid(index: id, reason: "its score is not a number") }
            switch piece.kind {
            case .unknown:
                unknownID = unknownID ?? TokenID(id)
                fallthrough
            case .control:
                added.append(AddedToken(id: TokenID(id), content: piece.bytes, isSpecial: true))
            case .userDefined:
                added.append(
                    AddedToken(
                        id: TokenID(id), content: piece.bytes, isSpecial: false,
                        isNormalized: true))
            case .byte:
                guard Self.isByteName(piece.bytes) else {
                    throw Invalid(
                        index: id, reason: "\"\(excerpt(bytes: piece.bytes))\" is marked as a "
                            + "byte, but is none of <0x00> to <0xFF>")
                }
            case .normal, .unused: break
            }
        }
        let fallback = TokenizerJSON.fallbackBytes(table)
        let byteSet = Set(fallback)
        let usesFallback = byteFallback && !fallback.contains(-1) && !fallback.isEmpty
        let model: TokenizerParts.Model
        if isUnigram {
            let kinds = pieces.map(\.kind)
            model = .unigram(
                UnigramModel(
                    pieces: table, scores: pieces.map { Double($0.score) },
                    searchable: { kinds[$0] == .normal && !byteSet.contains(TokenID($0)) },
                    byteIDs: usesFallback ? fallback : [], unknownID: unknownID,
                    fusesUnknown: true, singlePrecision: true))
        } else {
            model = .bpe(
                BPEModel(
                    pieces: table, rule: .concatenation(ranks: ranks()), alphabet: .characters,
                    takesWholeWords: false, byteIDs: usesFallback ? fallback : [],
                    unknownID: unknownID, fusesUnknown: true))
        }
        var parts = TokenizerParts(model: model)
        parts.added = added
        parts.showsSpaces = true
        parts.byteValues = TokenizerJSON.byteValues(fallback)
        parts.unknownID = unknownID
        func id(_ text: String) -> TokenID? {
            let bytes = Array(text.utf8)
            return added.first { $0.content == bytes }?.id
        }
        var check = VocabularyCheck(file: file)
        check.repetitions(table, field)
        if byteFallback { check.fallbackBytes(fallback, field) }
        parts.remarks = check.remarks
        parts.bosID = id("<s>") ?? id("<bos>")
        parts.eosID = id("</s>") ?? id("<eos>")
        return parts
    }

    private static func isByteName(_ text: [UInt8]) -> Bool {
        let digits = Array("0123456789ABCDEF".utf8)
        return text.count == 6 && text.starts(with: Array("<0x".utf8)) && text[5] == 0x3E
            && digits.contains(text[3]) && digits.contains(text[4])
    }

    /// Rank by falling score; equal scores merge from left to right, so they share a rank.
    private func ranks() -> [UInt32] {
        var ranks = [UInt32](repeating: 0, count: pieces.count)
        let order = pieces.indices.sorted { pieces[$0].score > pieces[$1].score }
        var rank: UInt32 = 0
        var last: Float?
        for index in order {
            if let last, last != pieces[index].score { rank += 1 }
            last = pieces[index].score
            ranks[index] = rank
        }
        return ranks
    }
}
