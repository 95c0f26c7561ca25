package import AutoGLMEngine
package import AutoGLMJSON
package import AutoGLMText

/// What the routes need of a model. `LoadedModel` is one; tests bring a scripted one.
package protocol ServedModel: Sendable {
    var name: String { get }
    var fingerprint: String { get }
    /// Seconds since 1970.
    var created: Int { get }
    /// Prompt and output tokens of one request at most.
    var contextMax: Int { get }
    /// Token ids are below this.
    var vocabularyCount: Int { get }
    var samplingDefaults: LoadedModel.SamplingDefaults { get }
    var status: EngineStatus { get }

    /// Renders a conversation and encodes it; user text never becomes a special token.
    func prompt(_ conversation: Conversation) throws -> [TokenID]
    func encode(_ text: String, addSpecial: Bool) throws -> [TokenID]
    func decode(_ tokens: [TokenID]) throws -> String
    /// The bytes a token stands for, be they whole characters or not.
    func bytes(of token: TokenID) -> [UInt8]

    /// Splits the model's text into answer, reasoning and calls of the tools offered.
    /// - Parameter prompt: its end tells whether the turn begins inside the model's reasoning.
    func answerParser(tools: [JSONValue], prompt: [TokenID]) -> AnswerParser
    /// What the assistant's turn begins with when it must call `tool`, and nil where the model's
    /// format has no such beginning.
    func callPrefix(tool: String) -> CallPrefix?

    func generate(_ request: GenerationRequest) throws(AdmissionError) -> GeneratedText
    func beginDrain()
    func drain(within deadline: Duration) async
    func shutdown()
}

/// Messages and tools on their way into the chat template.
package struct Conversation: Sendable {
    package var messages: [JSONValue]
    package var tools: [JSONValue]
    package var addGenerationPrompt: Bool
    package var variables: [String: JSONValue]

    package init(
        messages: [JSONValue], tools: [JSONValue] = [], addGenerationPrompt: Bool = true,
        variables: [String: JSONValue] = [:]
    ) {
        self.messages = messages
        self.tools = tools
        self.addGenerationPrompt = addGenerationPrompt
        self.variables = variables
    }
}

/// An accepted request: one consumer pumps its events, anyone may abort it.
package struct GeneratedText: Sendable {
    /// Calls `each` with every event in order; returns after the last one.
    package let pump: @Sendable (_ each: @Sendable (TextEvent) -> Void) async throws -> Void
    /// Ends the request early and frees its KV blocks.
    package let abort: @Sendable () -> Void

    package init(
        pump: @escaping @Sendable (_ each: @Sendable (TextEvent) -> Void) async throws -> Void,
        abort: @escaping @Sendable () -> Void
    ) {
        self.pump = pump
        self.abort = abort
    }
}

/// The beginning of a turn that calls a certain tool.
package struct CallPrefix: Sendable, Equatable {
    package var text: String
    package var tokens: [TokenID]

    package init(text: String, tokens: [TokenID]) {
        self.text = text
        self.tokens = tokens
    }
}

/// A piece of an assistant's turn.
package enum AnswerPiece: Sendable, Equatable {
    case content(String)
    case reasoning(String)
    case callStart(name: String)
    /// More of the arguments' JSON text of the call started last.
    case callArguments(String)
}

/// Takes a turn's text as it comes and says what it means.
package struct AnswerParser {
    /// New text of the turn.
    package var push: (String) -> [AnswerPiece]
    /// The end of the turn, with the text of the token that ended it.
    package var finish: (_ stopToken: String?) -> [AnswerPiece]

    package init(
        push: @escaping (String) -> [AnswerPiece],
        finish: @escaping (_ stopToken: String?) -> [AnswerPiece]
    ) {
        self.push = push
        self.finish = finish
    }

    /// Everything is content.
    package static var plain: AnswerParser {
        AnswerParser(push: { $0.isEmpty ? [] : [.content($0)] }, finish: { _ in [] })
    }
}
