package import AutoGLMEngine

/// A piece of an answer: the one type between the model's text and the wire, for chats and plain
/// completions, for any number of choices.
package struct AnswerEvent: Sendable, Equatable {
    package enum Part: Sendable, Equatable {
        case content(String)
        case reasoning(String)
        /// `index` counts the calls of this choice from 0.
        case callStart(index: Int, id: String, name: String)
        /// More of the arguments' JSON text.
        case callArguments(index: Int, String)
        case callEnd(index: Int)
        /// The prompt's tokens with their log-probabilities; once, when asked for.
        case prompt([TokenEvent])
        /// Only tokens, whose text is yet to come or will never show.
        case tokens
        case finish(AnswerFinish)
    }

    package var choice: Int
    package var part: Part
    /// The output tokens this part came from; each is reported once, with the first part.
    package var tokens: [TokenEvent] = []
}

/// How a choice ended.
package struct AnswerFinish: Sendable, Equatable {
    package enum Reason: String, Sendable {
        case stop, length
        case toolCalls = "tool_calls"
    }
    package var reason: Reason
    package var usage: Usage
    /// The stop string that was found.
    package var stopString: String?
    /// The answer went round in circles and was ended.
    package var isLoop = false
}
