import AutoGLMAPI
import AutoGLMEngine

/// One choice of a chat answer in the making: text events in, deltas out.
///
/// Streams send the deltas, other answers gather them; both therefore say the same.
struct ChatAnswer {
    /// A delta with the log-probabilities that belong to it.
    struct Piece {
        var delta: ChatDelta
        var logprobs: [LogprobEntry]?
    }

    let index: Int
    private let model: any ServedModel
    private var parser: AnswerParser
    private let wantsLogprobs: Bool
    private var callCount = 0
    /// Log-probabilities of tokens whose text is still held back.
    private var pending: [LogprobEntry] = []
    private(set) var finish: Finish?

    /// - Parameter prefix: text of the turn that was given to the model rather than made by it.
    init(
        index: Int, model: any ServedModel, parser: AnswerParser, wantsLogprobs: Bool,
        prefix: String?
    ) {
        self.index = index
        self.model = model
        self.parser = parser
        self.wantsLogprobs = wantsLogprobs
        held = prefix.map { parser.push($0) } ?? []
    }

    /// Pieces of the prefix, sent together with the first event.
    private var held: [AnswerPiece]

    mutating func take(_ event: TextEvent) -> [Piece] {
        if wantsLogprobs { pending += event.tokens.map { model.logprobEntry($0) } }
        var answer = held
        held = []
        if !event.text.isEmpty { answer += parser.push(event.text) }
        if let end = event.finish {
            finish = end
            let stop = end.stopToken.map { String(decoding: model.bytes(of: $0), as: UTF8.self) }
            answer += parser.finish(stop)
        }
        var pieces = answer.map { Piece(delta: delta($0), logprobs: nil) }
        if wantsLogprobs, !pending.isEmpty, finish != nil || !pieces.isEmpty {
            if pieces.isEmpty { pieces = [Piece(delta: .none, logprobs: nil)] }
            pieces[0].logprobs = pending
            pending = []
        }
        return pieces
    }

    private mutating func delta(_ piece: AnswerPiece) -> ChatDelta {
        switch piece {
        case .content(let text): return .content(text)
        case .reasoning(let text): return .reasoning(text)
        case .callStart(let name):
            callCount += 1
            return .toolCall(
                index: callCount - 1, id: RequestIdentifier.make("call_"), name: name)
        case .callArguments(let text):
            return .toolArguments(index: max(0, callCount - 1), text)
        }
    }

    /// The word for how this choice ended.
    var finishReason: String {
        switch finish?.reason {
        case .length: "length"
        case .stop, nil: callCount > 0 ? "tool_calls" : "stop"
        }
    }
}

extension ChatChoice {
    /// Adds a piece to an answer that is sent whole.
    mutating func add(_ piece: ChatAnswer.Piece) {
        switch piece.delta {
        case .role, .none: break
        case .content(let text): content += text
        case .reasoning(let text): reasoning += text
        case .toolCall(_, let id, let name):
            toolCalls.append(ToolCallReport(id: id, name: name, arguments: ""))
        case .toolArguments(let index, let text):
            if toolCalls.indices.contains(index) { toolCalls[index].arguments += text }
        }
        if let entries = piece.logprobs { logprobs = (logprobs ?? []) + entries }
    }
}

extension UsageReport {
    /// What several sequences cost together.
    /// - Parameter sharePrompt: they continue one prompt, which counts once.
    init(_ usages: [Usage], sharePrompt: Bool) {
        self.init()
        let counted = sharePrompt ? Array(usages.prefix(1)) : usages
        promptTokens = counted.reduce(0) { $0 + $1.promptTokens }
        cachedTokens = counted.reduce(0) { $0 + $1.cachedTokens }
        completionTokens = usages.reduce(0) { $0 + $1.completionTokens }
    }
}

extension ServedModel {
    func alternative(_ token: Int32, _ logprob: Float) -> LogprobEntry.Alternative {
        let bytes = bytes(of: token)
        return .init(
            token: String(decoding: bytes, as: UTF8.self), bytes: bytes, logprob: logprob)
    }

    func logprobEntry(_ event: TokenEvent) -> LogprobEntry {
        LogprobEntry(
            chosen: alternative(event.token, event.logprob ?? -.infinity),
            top: event.top.map { alternative($0.token, $0.logprob) })
    }
}
