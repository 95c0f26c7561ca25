import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMServer
import AutoGLMText
import Synchronization

/// A model whose words are written down: it says its script, token by token, one byte each.
///
/// It keeps the books of a real engine (running sequences, KV blocks), so that tests can see that
/// whatever happens to a client, nothing stays behind.
final class ScriptedModel: ServedModel {
    struct Script: Sendable {
        var answer = "Hello, world!"
        /// Time before the first token and between tokens.
        var delay: Duration = .zero
        /// Bytes that arrive together.
        var batch = 4
        var stopToken: Int32? = 256
        /// Ends the stream after this many tokens.
        var failAfter: (tokens: Int, error: GenerationError)?
        var admission: AdmissionError?
    }

    private struct Books {
        var running = 0
        var blocks = 0
        var isDraining = false
        var requests: [GenerationRequest] = []
        var conversations: [Conversation] = []
        var aborts = 0
    }

    let name = "scripted"
    let fingerprint = "fp_test"
    let created = 1_700_000_000
    let contextMax = 4_096
    let vocabularyCount = 300
    let samplingDefaults = LoadedModel.SamplingDefaults()
    let script: Script
    private let books = Mutex(Books())

    init(_ script: Script = Script()) {
        self.script = script
    }

    var requests: [GenerationRequest] { books.withLock { $0.requests } }
    var conversations: [Conversation] { books.withLock { $0.conversations } }
    var blocksUsed: Int { books.withLock { $0.blocks } }
    var aborts: Int { books.withLock { $0.aborts } }

    var status: EngineStatus {
        books.withLock { books in
            var status = EngineStatus()
            status.running = books.running
            status.blocksTotal = 1_000
            status.blocksUsed = books.blocks
            status.isDraining = books.isDraining
            return status
        }
    }

    func prompt(_ conversation: Conversation) throws -> [TokenID] {
        books.withLock { $0.conversations.append(conversation) }
        return conversation.messages.flatMap { message in
            Array((message["content"]?.stringValue ?? "").utf8).map(Int32.init)
        } + [257]
    }

    func encode(_ text: String, addSpecial: Bool) throws -> [TokenID] {
        Array(text.utf8).map(Int32.init)
    }

    func decode(_ tokens: [TokenID]) throws -> String {
        String(decoding: tokens.flatMap { bytes(of: $0) }, as: UTF8.self)
    }

    func bytes(of token: TokenID) -> [UInt8] {
        switch token {
        case 0..<256: [UInt8(token)]
        case 256: Array("<|observation|>".utf8)
        default: Array("<|assistant|>".utf8)
        }
    }

    func answerParser(tools: [JSONValue], prompt: [TokenID]) -> AnswerParser {
        let parser = Box(makeToolCallParser(format: .glm4, tools: tools))
        return AnswerParser(
            push: { text in parser.parser.push(text).compactMap(Self.piece) },
            finish: { stop in parser.parser.finish(stopToken: stop).compactMap(Self.piece) })
    }

    private final class Box {
        var parser: ToolCallParser
        init(_ parser: ToolCallParser) { self.parser = parser }
    }

    private static func piece(_ event: ToolCallEvent) -> AnswerPiece? {
        switch event {
        case .content(let text): .content(text)
        case .reasoning(let text): .reasoning(text)
        case .callStart(_, let name): .callStart(name: name)
        case .callArguments(_, let delta): .callArguments(delta)
        case .callEnd: nil
        }
    }

    func callPrefix(tool: String) -> CallPrefix? {
        CallPrefix(text: "\(tool)\n", tokens: Array("\(tool)\n".utf8).map(Int32.init))
    }

    func generate(_ request: GenerationRequest) throws(AdmissionError) -> GeneratedText {
        if let error = script.admission { throw error }
        let isDraining = books.withLock { $0.isDraining }
        if isDraining { throw .shuttingDown(retryAfter: .seconds(1)) }
        books.withLock { books in
            books.requests.append(request)
            books.running += 1
            books.blocks += 3
        }
        let sequence = Sequence(model: self, request: request)
        return GeneratedText(
            pump: { each in try await sequence.pump(each) }, abort: { sequence.abort() })
    }

    fileprivate func release(aborted: Bool) {
        books.withLock { books in
            books.running -= 1
            books.blocks -= 3
            if aborted { books.aborts += 1 }
        }
    }

    func beginDrain() { books.withLock { $0.isDraining = true } }

    func drain(within deadline: Duration) async {
        beginDrain()
        let end = ContinuousClock.now + deadline
        while status.running > 0, ContinuousClock.now < end {
            try? await Task.sleep(for: .milliseconds(5))
        }
        isCutOff.withLock { $0 = true }
    }

    /// Set once a drain has run out of patience.
    fileprivate let isCutOff = Mutex(false)

    func shutdown() {}

    /// One request being answered.
    private final class Sequence: Sendable {
        let model: ScriptedModel
        let request: GenerationRequest
        private let state = Mutex((isOver: false, isAborted: false))

        init(model: ScriptedModel, request: GenerationRequest) {
            self.model = model
            self.request = request
        }

        deinit { end(aborted: true) }

        func abort() { end(aborted: true) }

        private func end(aborted: Bool) {
            let isFirst = state.withLock { state in
                defer {
                    state.isOver = true
                    state.isAborted = state.isAborted || aborted
                }
                return !state.isOver
            }
            if isFirst { model.release(aborted: aborted) }
        }

        func pump(_ each: @Sendable (TextEvent) -> Void) async throws {
            let script = model.script
            let bytes = Array(script.answer.utf8)
            let limit = request.sampling.maxTokens ?? Int.max
            let count = min(bytes.count, limit)
            var sent = 0
            if request.promptLogprobs {
                var event = TextEvent()
                event.prompt = request.prompt.enumerated().map {
                    TokenEvent(token: $1, logprob: $0 == 0 ? nil : -0.5)
                }
                each(event)
            }
            while sent < count {
                if script.delay > .zero { try? await Task.sleep(for: script.delay) }
                if model.isCutOff.withLock({ $0 }) {
                    end(aborted: false)
                    throw GenerationError.shuttingDown
                }
                if state.withLock({ $0.isAborted }) || Task.isCancelled {
                    end(aborted: true)
                    throw GenerationError.cancelled
                }
                if let failure = script.failAfter, sent >= failure.tokens {
                    end(aborted: false)
                    throw failure.error
                }
                let next = min(count, sent + script.batch)
                var event = TextEvent()
                event.text = String(decoding: bytes[sent..<next], as: UTF8.self)
                event.tokens = bytes[sent..<next].map { token($0) }
                sent = next
                if sent == count { event.finish = finish(sent, isWhole: sent == bytes.count) }
                if sent == count { end(aborted: false) }
                each(event)
            }
            if count == 0 {
                end(aborted: false)
                var event = TextEvent()
                event.finish = finish(0, isWhole: false)
                each(event)
            }
        }

        private func token(_ byte: UInt8) -> TokenEvent {
            guard let top = request.sampling.topLogprobs else {
                return TokenEvent(token: Int32(byte))
            }
            let best = (0..<top).map {
                TokenLogprob(token: Int32(byte) ^ Int32($0), logprob: $0 == 0 ? -0.25 : -2)
            }
            return TokenEvent(token: Int32(byte), logprob: -0.25, top: best)
        }

        private func finish(_ count: Int, isWhole: Bool) -> Finish {
            var usage = Usage()
            usage.promptTokens = request.prompt.count
            usage.cachedTokens = 2
            usage.completionTokens = count
            usage.decodeTime = .milliseconds(10)
            return Finish(
                reason: isWhole ? .stop : .length,
                stopToken: isWhole ? model.script.stopToken : nil, usage: usage)
        }
    }
}
