/// What a tokenizer file describes, in one shape for all formats.
struct TokenizerParts: Sendable {
    enum Model: Sendable {
        case bpe(BPEModel)
        case unigram(UnigramModel)

        var pieces: PieceTable {
            switch self {
            case .bpe(let model): model.pieces
            case .unigram(let model): model.pieces
            }
        }
    }

    var model: Model
    var normalizers: [Normalizer] = []
    /// Rewriting that belongs to the pre-tokenizer: of each part between tokens that match in
    /// normalized text, where `normalizers` see the text before those are looked for.
    var partNormalizers: [Normalizer] = []
    var stages: [PreTokenizer.Stage] = []
    var added: [AddedToken] = []
    /// Pieces show a space as U+2581.
    var showsSpaces = false
    /// How many leading spaces decoding drops: what the dummy prefix put there.
    var leadingSpacesDropped = 0
    /// `<0xXX>` tokens.
    var byteValues: [TokenID: UInt8] = [:]
    /// Put around a text by `addSpecial`.
    var prefixIDs: [TokenID] = []
    var suffixIDs: [TokenID] = []
    var bosID: TokenID?
    var eosID: TokenID?
    var unknownID: TokenID?
    var padID: TokenID?
    /// What was wrong with the file and could be mended, one line each.
    var remarks: [String] = []

    /// True when no piece has a visible space behind another character: words can then be
    /// encoded one by one, where SentencePiece merges over the whole text.
    static func splitsAtSpaces(_ pieces: PieceTable) -> Bool {
        let symbol = SentencePieceNormalizer.spaceSymbol
        for id in 0..<pieces.count {
            let bytes = pieces.bytes(of: TokenID(id))
            guard bytes.count > 3 else { continue }
            var index = bytes.startIndex
            while index + 3 <= bytes.endIndex, bytes[index..<index + 3].elementsEqual(symbol) {
                index += 3
            }
            while index + 3 <= bytes.endIndex {
                if bytes[index] == 0xE2, bytes[index..<index + 3].elementsEqual(symbol) {
                    return false
                }
                index += 1
            }
        }
        return true
    }

    /// Adds the word split above where it is exact.
    mutating func splitAtSpacesIfExact() {
        guard stages.isEmpty, showsSpaces, case .bpe(let model) = model,
            Self.splitsAtSpaces(model.pieces)
        else { return }
        stages = [.pattern(.visibleSpaces)]
    }
}
