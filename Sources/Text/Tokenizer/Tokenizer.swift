import Synchronization

/// Text to token ids and back, as the model was trained.
///
/// What a user writes never becomes a control token: `encode` recognises special tokens (and
/// markup such as `<tool_call>`) only where the caller says the text is trusted. Encoding takes
/// time linear in the text (n log n within one word) and is safe from any thread.
public final class Tokenizer: Sendable {
    let model: TokenizerParts.Model
    let normalizers: [Normalizer]
    let partNormalizers: [Normalizer]
    let preTokenizer: PreTokenizer
    let added: AddedTokens
    private let parts: TokenizerParts
    private let bounds: TokenBounds
    private let scratches = Mutex<[EncodeScratch]>([])

    /// Scratches kept for later calls; each is about 2 MB when its word cache is full.
    private static let scratchesKept = 8

    init(_ parts: TokenizerParts) {
        self.parts = parts
        model = parts.model
        normalizers = parts.normalizers
        partNormalizers = parts.partNormalizers
        preTokenizer = PreTokenizer(parts.stages)
        bounds = TokenBounds(parts)
        added = AddedTokens(parts.added) { content in
            parts.normalizers.reduce(content) { text, step in
                switch step {
                case .prepend, .metaspace, .prefixSpace, .sentencePiece: text
                default: step.apply(to: text, isFirst: false)
                }
            }
        }
        let addedMax = parts.added.map { Int($0.id) + 1 }.max() ?? 0
        vocabularyCount = max(parts.model.pieces.count, addedMax)
    }

    // MARK: Vocabulary

    /// One more than the largest token id; the model's logits may have more rows (padding).
    package let vocabularyCount: Int

    /// Beginning and end of text, padding, unknown: nil where the tokenizer has none.
    package var bosID: TokenID? { parts.bosID }
    package var eosID: TokenID? { parts.eosID }
    package var padID: TokenID? { parts.padID }
    package var unknownID: TokenID? { parts.unknownID }

    /// Ids that `addSpecial` puts before and behind a text.
    package var prefixIDs: [TokenID] { parts.prefixIDs }
    package var suffixIDs: [TokenID] { parts.suffixIDs }

    /// What was wrong with the model's files and could be mended: one line each, with file, field
    /// and value.
    package var remarks: [String] { parts.remarks }

    /// Every special token, in the order of the file.
    package var specialTokens: [(id: TokenID, text: String)] {
        added.all.filter(\.isSpecial).map { ($0.id, String(decoding: $0.content, as: UTF8.self)) }
    }

    /// Tokens beside the vocabulary proper, by their text, special or not.
    package var addedTokens: [String] {
        added.all.map { String(decoding: $0.content, as: UTF8.self) }
    }

    /// The id of a token by its text: an added token's content or a piece's text.
    package func id(of text: String) -> TokenID? {
        let bytes = Array(text.utf8)
        if let id = added.idOfContent[bytes] { return id }
        if let id = model.pieces.id(of: bytes) { return id }
        guard parts.showsSpaces else { return nil }
        let symbol = SentencePieceNormalizer.spaceSymbol
        return model.pieces.id(of: Normalizer.replace([0x20], with: symbol, in: bytes))
    }

    package func isSpecial(_ id: TokenID) -> Bool {
        added.indexOfID[id].map { added.all[$0].isSpecial } ?? false
    }

    /// The bytes a token stands for, which need not be whole characters; empty for ids outside
    /// the vocabulary.
    package func tokenBytes(_ id: TokenID) -> [UInt8] {
        if let index = added.indexOfID[id] {
            let content = added.all[index].content
            return parts.showsSpaces ? Self.showingSpaces(content) : content
        }
        if let byte = parts.byteValues[id] { return [byte] }
        let piece = Array(model.pieces.bytes(of: id))
        return parts.showsSpaces ? Self.showingSpaces(piece) : piece
    }

    private static func showingSpaces(_ piece: [UInt8]) -> [UInt8] {
        Normalizer.replace(SentencePieceNormalizer.spaceSymbol, with: [0x20], in: piece)
    }

    // MARK: Encoding

    /// - Parameter allowSpecial: recognise special tokens in the text; for text of our own only.
    /// - Parameter addSpecial: add what the model expects around a bare text (BOS and the like).
    package func encode(
        _ text: String, allowSpecial: Bool = false, addSpecial: Bool = false
    ) -> [TokenID] {
        encode(utf8: Array(text.utf8), allowSpecial: allowSpecial, addSpecial: addSpecial)
    }

    /// As `encode(_:)`, from UTF-8; bytes that are no UTF-8 count as U+FFFD for splitting and
    /// are kept where the model knows bytes.
    package func encode(
        utf8: [UInt8], allowSpecial: Bool = false, addSpecial: Bool = false
    ) -> [TokenID] {
        var encoder = IncrementalEncoder(
            self, utf8, trusted: allowSpecial && !utf8.isEmpty ? [0..<utf8.count] : [],
            addSpecial: addSpecial)
        encoder.finish()
        return encoder.tokens
    }

    /// Encodes a rendered prompt made of trusted and user-owned stretches.
    ///
    /// Special tokens are recognised inside trusted stretches only (adjacent trusted ones count
    /// as one). What remains between two recognised tokens is joined, normalized and split as
    /// one text, whoever owns its parts: the ids equal those of the whole text with special
    /// tokens allowed, whenever the user-owned parts contain (and complete) none.
    package func encode(segments: [TextSegment], addSpecial: Bool = false) -> [TokenID] {
        var encoder = makeEncoder(segments: segments, addSpecial: addSpecial)
        encoder.finish()
        return encoder.tokens
    }

    /// An encoder that works in slices, so that a long prompt does not hold a thread.
    package func makeEncoder(
        segments: [TextSegment], addSpecial: Bool = false
    ) -> IncrementalEncoder {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(segments.reduce(0) { $0 + $1.text.utf8.count })
        var trusted: [Range<Int>] = []
        for segment in segments where !segment.text.isEmpty {
            let start = bytes.count
            bytes.append(contentsOf: segment.text.utf8)
            guard segment.trusted else { continue }
            if let last = trusted.last, last.upperBound == start {
                trusted[trusted.count - 1] = last.lowerBound..<bytes.count
            } else {
                trusted.append(start..<bytes.count)
            }
        }
        return IncrementalEncoder(self, bytes, trusted: trusted, addSpecial: addSpecial)
    }

    /// Tokens that a text of so many bytes makes at least.
    package func tokenCountMin(bytes: Int) -> Int {
        guard let most = bounds.bytesPerTokenMax else { return 0 }
        return bytes / most + (bytes % most == 0 ? 0 : 1)
    }

    /// Encodes in slices of `sliceBytes`, letting other tasks run in between.
    /// - Parameter tokensMax: The text is given up once it has more tokens than these.
    /// - Returns: All tokens, or, of a text that was given up, more than `tokensMax`.
    /// - Throws: `CancellationError`
    package func encodeYielding(
        segments: [TextSegment], addSpecial: Bool = false, tokensMax: Int = .max,
        sliceBytes: Int = 64 << 10
    ) async throws -> [TokenID] {
        var encoder = makeEncoder(segments: segments, addSpecial: addSpecial)
        while !encoder.advance(byteBudget: sliceBytes), encoder.tokens.count <= tokensMax {
            await Task.yield()
            try Task.checkCancellation()
        }
        return encoder.tokens
    }

    /// ``decode(_:skipSpecial:)`` in slices of `sliceTokens`, letting other tasks run in between.
    /// - Throws: `CancellationError`
    package func decodeYielding(
        _ ids: [TokenID], skipSpecial: Bool = true, sliceTokens: Int = 16 << 10
    ) async throws -> String {
        var detokenizer = StreamingDetokenizer(self, skipSpecial: skipSpecial)
        var text = ""
        for (index, id) in ids.enumerated() {
            text += detokenizer.push(id)
            if (index + 1) % sliceTokens == 0 {
                await Task.yield()
                try Task.checkCancellation()
            }
        }
        text += detokenizer.flush()
        return text
    }

    func withScratch<Result>(_ body: (inout EncodeScratch) -> Result) -> Result {
        var scratch = scratches.withLock { $0.popLast() } ?? EncodeScratch()
        let result = body(&scratch)
        scratch.shrink()
        let returned = scratch
        scratches.withLock { pool in
            if pool.count < Self.scratchesKept { pool.append(returned) }
        }
        return result
    }

    /// Gives up the memory of earlier calls.
    package func shrinkCaches() { scratches.withLock { $0 = [] } }

    // MARK: Decoding

    /// Whether the first spaces of a decoded text are the model's dummy prefix.
    var leadingSpacesDropped: Int { parts.leadingSpacesDropped }

    /// The text of `ids`; bytes that make no UTF-8 become U+FFFD (maximal subparts, as Unicode
    /// recommends). Equal to streaming the same ids.
    package func decode(_ ids: [TokenID], skipSpecial: Bool = true) -> String {
        var detokenizer = StreamingDetokenizer(self, skipSpecial: skipSpecial)
        var text = ""
        for id in ids { text += detokenizer.push(id) }
        text += detokenizer.flush()
        return text
    }
}
