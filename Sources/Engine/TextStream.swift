import AutoGLMDecoding
import AutoGLMText

/// The output of one request as text.
///
/// Detokenises and looks for stop strings on the consumer's side, off the engine thread. Text that
/// may still turn out to be half a character or the beginning of a stop string is held back.
package struct TextStream: AsyncSequence, Sendable {
    package typealias Element = TextEvent
    package typealias Failure = GenerationError

    let tokens: TokenStream
    let assembler: TextAssembler

    /// Ends the request early and frees its KV blocks.
    package func abort() { tokens.abort() }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let tokens: TokenStream
        var assembler: TextAssembler

        package mutating func next() async throws -> TextEvent? {
            try await advance()
        }

        package mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(GenerationError) -> TextEvent? {
            try await advance()
        }

        private mutating func advance() async throws(GenerationError) -> TextEvent? {
            while !assembler.isFinished, let batch = try await tokens.next() {
                let event = assembler.push(batch)
                // A stop string was found: the engine does not know yet that it is over.
                if event.finish != nil, batch.finish == nil { tokens.abort() }
                if !event.isEmpty { return event }
            }
            return nil
        }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(tokens: tokens, assembler: assembler)
    }
}

/// Turns token batches into text events: detokenises, matches stop strings, and gives each token
/// out with the text it ends in.
struct TextAssembler: Sendable {
    private var detokenizer: StreamingDetokenizer?
    private var matcher: StopStringMatcher
    private let minTokens: Int
    private var tokenCount = 0
    /// Bytes of text made, and given out.
    private var made = 0
    private var given = 0
    /// Tokens whose text is not all given out, with where it begins and ends.
    private var held: [(event: TokenEvent, start: Int, end: Int)] = []
    private(set) var isFinished = false

    /// - Parameter tokenizer: nil gives empty text, for models that have none.
    init(_ tokenizer: Tokenizer?, _ request: GenerationRequest) {
        detokenizer = tokenizer.map {
            StreamingDetokenizer($0, skipSpecial: request.skipSpecialTokens, continues: true)
        }
        matcher = StopStringMatcher(request.sampling.stopStrings)
        minTokens = request.sampling.minTokens
    }

    mutating func push(_ batch: TokenBatch) -> TextEvent {
        var event = TextEvent()
        event.prompt = batch.prompt
        event.usage = batch.usage
        for token in batch.tokens {
            let match = push(token, &event)
            if let match { return finish(event, match: match, usage: batch.usage) }
        }
        if let finish = batch.finish {
            event.text += flush()
            event.tokens += held.map(\.event)
            held.removeAll()
            event.finish = finish
            isFinished = true
        }
        return event
    }

    /// - Returns: the stop string that this token completed.
    private mutating func push(_ token: TokenEvent, _ event: inout TextEvent) -> String? {
        tokenCount += 1
        let text = detokenizer?.push(token.token) ?? ""
        let start = made
        made += text.utf8.count
        held.append((token, start, made))
        if matcher.isEmpty || tokenCount <= minTokens {
            given = made
            event.text += text
        } else {
            let (certain, match) = matcher.push(text)
            given += certain.utf8.count
            event.text += certain
            if let match { return match }
        }
        let ready = held.prefix { $0.end <= given }.count
        event.tokens += held[..<ready].map(\.event)
        held.removeFirst(ready)
        return nil
    }

    private mutating func finish(_ event: TextEvent, match: String, usage: Usage) -> TextEvent {
        var event = event
        // Tokens that lie in the stop string as a whole are no part of the output.
        event.tokens += held.prefix { $0.start < given || $0.end <= given }.map(\.event)
        held.removeAll()
        var usage = usage
        usage.completionTokens = tokenCount
        event.usage = usage
        event.finish = Finish(reason: .stop, stopString: match, usage: usage)
        isFinished = true
        return event
    }

    private mutating func flush() -> String {
        let rest = detokenizer?.flush() ?? ""
        guard !matcher.isEmpty else { return rest }
        let (certain, match) = matcher.push(rest)
        // What the last, broken character completes is a match all the same.
        return match == nil ? certain + matcher.flush() : certain
    }
}
