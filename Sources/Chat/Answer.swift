public import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON

extension ChatModel {
    public var name: String { facts.name }

    /// Tokens of prompt and answer together.
    public var contextLength: Int { facts.contextMax }

    /// What the model's makers recommend; ``chat(_:tools:sampling:)`` uses it unless told
    /// otherwise.
    public var recommendedSampling: SamplingParameters { SamplingParameters(makers, operators) }

    /// Answers the last message of a conversation.
    /// - Parameter tools: functions the model may call; see ``Answer/message()``.
    /// - Returns: the answer's text as it is made.
    /// - Throws: when the conversation does not fit, or the model has no chat template.
    public func chat(
        _ messages: [ChatMessage], tools: [Tool] = [], sampling: SamplingParameters? = nil
    ) async throws -> Answer {
        let conversation = Conversation(
            messages: messages.map(\.json), tools: tools.map(\.json))
        return Answer(try await answer(conversation, AnswerOptions(sampling)))
    }

    /// Goes on from a text, without a chat template.
    public func complete(
        _ prompt: String, sampling: SamplingParameters? = nil
    ) async throws -> Answer {
        let tokens = try await text.encodeInSlices(
            prompt, addSpecial: true, parsesSpecial: false, tokensMax: promptTokensMax)
        return Answer(try await complete([tokens], AnswerOptions(sampling)))
    }

    /// Ends all requests and the engine's threads. Also happens when the model is let go.
    public func close() { engine.shutdown() }
}

extension AnswerOptions {
    /// As a Swift program states them: parameters as a whole, or the model's own.
    init(_ parameters: SamplingParameters?) {
        self.init()
        guard let parameters else { return }
        sampling = SamplingOverrides(parameters)
        stops = parameters.stopStrings
        stopTokens = parameters.stopTokens
        logitBias = parameters.logitBias
        ignoreEOS = parameters.ignoreEOS
        topLogprobs = parameters.topLogprobs
    }
}

/// A model's answer, piece by piece as it is made. Stop iterating, or cancel the task, and the
/// model stops as well.
///
/// Iterating gives the text that is meant for a reader: no thinking, no calls.
public struct Answer: AsyncSequence, Sendable {
    public typealias Element = String

    private let stream: AnswerStream

    init(_ stream: AnswerStream) { self.stream = stream }

    /// The whole text.
    public func text() async throws -> String { try await message().content }

    /// The whole turn: text, thinking and calls, ready to become part of the conversation.
    public func message() async throws -> ChatMessage {
        var message = ChatMessage(.assistant, "")
        while let events = try await stream.next() {
            for event in events { message.take(event.part) }
        }
        return message
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        let stream: AnswerStream

        public mutating func next() async throws -> String? {
            while let events = try await stream.next() {
                let text = events.reduce(into: "") { text, event in
                    if case .content(let more) = event.part { text += more }
                }
                if !text.isEmpty { return text }
            }
            return nil
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: stream) }
}

extension ChatMessage {
    /// Adds a piece of an answer.
    package mutating func take(_ part: AnswerEvent.Part) {
        switch part {
        case .content(let text): content += text
        case .reasoning(let text): reasoning = (reasoning ?? "") + text
        case .callStart(_, let id, let name):
            toolCalls.append(ToolCall(id: id, name: name, arguments: ""))
        case .callArguments(let index, let text):
            if toolCalls.indices.contains(index) { toolCalls[index].arguments += text }
        case .callEnd, .prompt, .tokens, .finish: break
        }
    }
}
