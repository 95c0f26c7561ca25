package import AutoGLMEngine
import Synchronization

/// The answer to one request, all its choices in one stream: what has come since the consumer last
/// looked, in order.
///
/// One consumer. When its task is cancelled, or when it lets go of the stream, the engine stops.
package final class AnswerStream: AsyncSequence, Sendable {
    package typealias Element = [AnswerEvent]
    package typealias Failure = GenerationError

    private let tokens: TokenStream
    private let builders: Mutex<[AnswerBuilder]>

    /// Parts of the form asked for that say nothing about its text, as JSON pointers.
    package let annotations: [String]

    init(_ tokens: TokenStream, _ builders: [AnswerBuilder], annotations: [String]) {
        self.tokens = tokens
        self.annotations = annotations
        self.builders = Mutex(builders)
    }

    package var choices: Int { tokens.count }

    /// Ends the request and frees its KV blocks.
    package func abort() { tokens.abort() }

    /// The next events, at least one; nil after the end of all choices.
    package func next() async throws(GenerationError) -> [AnswerEvent]? {
        while let batch = try await tokens.next() {
            let (events, isOver) = builders.withLock { builders in
                (builders[batch.choice].push(batch), builders[batch.choice].isFinished)
            }
            // The engine may not know yet that it is over.
            if isOver { tokens.close(batch.choice) }
            if !events.isEmpty { return events }
        }
        return nil
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let stream: AnswerStream

        package mutating func next() async throws -> [AnswerEvent]? { try await stream.next() }

        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(GenerationError) -> [AnswerEvent]? {
            try await stream.next()
        }
    }

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }
}
