import AutoGLMEngine
package import AutoGLMText

/// The same as in ``ModelText``, for texts of any length: in slices, between which other tasks run
/// and a request that is over is noticed, and no further than a prompt may reach.
extension ModelText {
    /// The tokens of a rendered prompt.
    /// - Parameter tokensMax: of a prompt.
    /// - Throws: ``ChatError``, `AdmissionError` as soon as it is clear that there are more, or
    ///   `CancellationError`.
    package func encodeInSlices(
        _ segments: [TextSegment], addSpecial: Bool = false, tokensMax: Int = .max
    ) async throws -> [TokenID] {
        let tokenizer = try textTokenizer
        let bytes = segments.reduce(0) { $0 + $1.text.utf8.count }
        let least = tokenizer.tokenCountMin(bytes: bytes)
        guard least <= tokensMax else {
            throw AdmissionError.promptOverflows(tokensMin: least, limit: tokensMax)
        }
        // A prompt that is a little too long is counted to its end: its author wants to know by
        // how much to shorten it.
        let counted = tokensMax == .max ? .max : 4 * tokensMax + 65_536
        let tokens = try await tokenizer.encodeYielding(
            segments: segments, addSpecial: addSpecial, tokensMax: counted)
        guard tokens.count <= counted else {
            throw AdmissionError.promptOverflows(tokensMin: tokens.count, limit: tokensMax)
        }
        return tokens
    }

    /// Bare text to tokens.
    /// - Parameter parsesSpecial: special tokens written in the text count as such.
    package func encodeInSlices(
        _ text: String, addSpecial: Bool, parsesSpecial: Bool, tokensMax: Int = .max
    ) async throws -> [TokenID] {
        try await encodeInSlices(
            [TextSegment(text: text, trusted: parsesSpecial)], addSpecial: addSpecial,
            tokensMax: tokensMax)
    }

    /// The text of tokens, special ones included.
    package func decodeInSlices(_ tokens: [TokenID]) async throws -> String {
        try await textTokenizer.decodeYielding(tokens, skipSpecial: false)
    }
}
