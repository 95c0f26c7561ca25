import AutoGLMChat
import AutoGLMEngine
import AutoGLMText

/// A model's answer, piece by piece as it is made. Stop iterating, or cancel the task, and the
/// model stops as well.
public struct ModelText: AsyncSequence, Sendable {
    public typealias Element = String

    private let stream: TextStream
    private let format: ToolCallFormat

    init(_ stream: TextStream, _ format: ToolCallFormat) {
        self.stream = stream
        self.format = format
    }

    /// The whole answer.
    public func text() async throws -> String {
        var whole = ""
        for try await piece in self { whole += piece }
        return whole
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        private var events: TextStream.AsyncIterator
        /// Takes off what a model writes before its answer (GLM-4: a line break).
        private var parser: ToolCallParser

        init(_ stream: TextStream, _ format: ToolCallFormat) {
            events = stream.makeAsyncIterator()
            parser = makeToolCallParser(format: format, tools: [])
        }

        public mutating func next() async throws -> String? {
            while let event = try await events.next() {
                var found = parser.push(event.text)
                if event.finish != nil { found += parser.finish(stopToken: nil) }
                let text = found.reduce(into: "") { text, part in
                    if case .content(let more) = part { text += more }
                }
                if !text.isEmpty { return text }
            }
            return nil
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream, format) }
}
