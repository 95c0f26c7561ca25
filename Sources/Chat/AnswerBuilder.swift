import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText

/// One choice of an answer in the making: tokens in, events out.
///
/// Tokens become text, the text content, thinking and calls, and stop strings are looked for in
/// the content alone: in what the client sees. It is the authority on ends that the engine cannot
/// see: a stop string, a loop, the one call a client can take.
struct AnswerBuilder: Sendable {
    /// What an answer is read by.
    struct Rules: Sendable {
        /// nil for plain text: everything is content.
        var parser: TurnParser?
        var stops: [String] = []
        var minTokens = 0
        var guardsLoops = true
        var allowsParallelCalls = true
        /// Text of the turn that was given to the model rather than made by it.
        var prefix = ""
        /// The call must be there and whole for the answer to count as finished.
        var isForced = false
        /// The token that says that the turn was a call.
        var callEnd: TokenID?
    }

    private let choice: Int
    private let rules: Rules
    private let tokenizer: Tokenizer?
    private var detokenizer: StreamingDetokenizer?
    private var parser: TurnParser?
    private var matcher: StopStringMatcher
    private var loops: LoopGuard?
    private var tokenCount = 0
    private var callCount = 0
    private var forcedArguments = ""
    private(set) var isFinished = false
    /// Bytes of content made by the parser, and given out by the matcher.
    private var made = 0
    private var given = 0
    /// Tokens whose content is not all given out, with where it begins and ends.
    private var held: [(event: TokenEvent, start: Int, end: Int)] = []
    private var events: [AnswerEvent] = []
    private var hasBegun = false

    /// - Parameter tokenizer: nil gives empty text, for models that have none.
    init(choice: Int, rules: Rules, tokenizer: Tokenizer?) {
        self.choice = choice
        self.rules = rules
        self.tokenizer = tokenizer
        detokenizer = tokenizer.map { StreamingDetokenizer($0, continues: true) }
        parser = rules.parser
        matcher = StopStringMatcher(rules.stops)
        loops = rules.guardsLoops ? LoopGuard() : nil
    }

    /// - Returns: the events of a batch; after the end, none.
    mutating func push(_ batch: TokenBatch) -> [AnswerEvent] {
        guard !isFinished else { return [] }
        if !batch.prompt.isEmpty { add(.prompt(batch.prompt)) }
        if !hasBegun {
            hasBegun = true
            if rules.isForced { _ = take(parser?.force(rules.prefix) ?? []) }
        }
        var usage = batch.usage
        for token in batch.tokens {
            tokenCount += 1
            usage.completionTokens = tokenCount
            if let end = push(token) {
                finish(end, usage)
                return takeEvents()
            }
        }
        if let end = batch.finish { finish(end) }
        return takeEvents()
    }

    private mutating func takeEvents() -> [AnswerEvent] {
        releaseTokens()
        defer { events = [] }
        return events
    }

    /// What ends the answer here, before the engine knows.
    private enum End {
        case stopString(String)
        case loop
        case oneCall
    }

    private mutating func push(_ token: TokenEvent) -> End? {
        let start = made
        let end = read(token.token)
        held.append((token, start, made))
        if let end { return end }
        return loops?.push(token.token) == true ? .loop : nil
    }

    private mutating func read(_ token: TokenID) -> End? {
        if let tokenizer, tokenizer.isSpecial(token), parser != nil {
            // Half a character before a special token will never be whole.
            if let rest = detokenizer?.flush(), !rest.isEmpty, let end = take(text: rest) {
                return end
            }
            let text = String(decoding: tokenizer.tokenBytes(token), as: UTF8.self)
            return parser.map { _ in take(parser?.push(special: text) ?? []) } ?? nil
        }
        let text = detokenizer?.push(token) ?? ""
        return text.isEmpty ? nil : take(text: text)
    }

    private mutating func take(text: String) -> End? {
        guard parser != nil else { return take([.content(text)]) }
        return take(parser?.push(text) ?? [])
    }

    private mutating func take(_ parsed: [TurnEvent]) -> End? {
        for event in parsed {
            switch event {
            case .content(let text):
                if let stop = content(text) { return .stopString(stop) }
            case .reasoning(let text): add(.reasoning(text))
            case .callStart(_, let name):
                callCount += 1
                add(.callStart(index: callCount - 1, id: Self.makeCallID(), name: name))
            case .callArguments(_, let text):
                if rules.isForced, callCount == 1 { forcedArguments += text }
                add(.callArguments(index: callCount - 1, text))
            case .callEnd:
                add(.callEnd(index: callCount - 1))
                if !rules.allowsParallelCalls { return .oneCall }
            }
        }
        return nil
    }

    /// - Returns: the stop string that this text completed.
    private mutating func content(_ text: String) -> String? {
        made += text.utf8.count
        guard !matcher.isEmpty, tokenCount > rules.minTokens else {
            given = made
            add(.content(text))
            return nil
        }
        let (certain, match) = matcher.push(text)
        given += certain.utf8.count
        if !certain.isEmpty { add(.content(certain)) }
        return match
    }

    private mutating func add(_ part: AnswerEvent.Part) {
        events.append(AnswerEvent(choice: choice, part: part))
    }

    /// Tokens whose text is given out go with the first event there is.
    private mutating func releaseTokens() {
        let ready = held.prefix { $0.end <= given }.map(\.event)
        guard !ready.isEmpty else { return }
        held.removeFirst(ready.count)
        if let first = events.firstIndex(where: { event in
            if case .prompt = event.part { false } else { true }
        }) {
            events[first].tokens = ready
        } else {
            events.append(AnswerEvent(choice: choice, part: .tokens, tokens: ready))
        }
    }

    // MARK: Ends

    private mutating func finish(_ end: End, _ usage: Usage) {
        // Tokens that lie in the stop string as a whole are no part of the output.
        held = held.filter { $0.start < given || $0.end <= given }
            .map { ($0.event, $0.start, given) }
        var finish = AnswerFinish(reason: .stop, usage: usage)
        switch end {
        case .stopString(let stop): finish.stopString = stop
        case .loop:
            finish.reason = .length
            finish.isLoop = true
            _ = flush(endsWithCall: false)
        case .oneCall: break
        }
        conclude(finish)
    }

    private mutating func finish(_ end: Finish) {
        let stop = flush(endsWithCall: end.stopToken.map { $0 == rules.callEnd } ?? false)
        given = made
        let isCut = end.reason == .length && stop == nil
        conclude(
            AnswerFinish(reason: isCut ? .length : .stop, usage: end.usage, stopString: stop))
    }

    /// - Returns: the stop string that the last text completed.
    private mutating func flush(endsWithCall: Bool) -> String? {
        let rest = detokenizer?.flush() ?? ""
        var match: String?
        if !rest.isEmpty, case .stopString(let stop) = take(text: rest) { match = stop }
        if match == nil, let last = parser?.finish(endsWithCall: endsWithCall),
            case .stopString(let stop) = take(last)
        {
            match = stop
        }
        // What the last text completes is a match all the same; then nothing follows it.
        let remaining = match == nil ? matcher.flush() : ""
        if !remaining.isEmpty { add(.content(remaining)) }
        return match
    }

    private mutating func conclude(_ finish: AnswerFinish) {
        var finish = finish
        if callCount > 0, finish.reason == .stop, finish.stopString == nil {
            finish.reason = .toolCalls
        }
        // A call that had to be made and is none, or no JSON, is not finished: it was cut, or no
        // grammar knows how its family writes arguments.
        if rules.isForced,
            (try? JSONValue.parse(forcedArguments))?.objectValue == nil
        {
            finish.reason = .length
        }
        releaseTokens()
        add(.finish(finish))
        isFinished = true
    }

    /// `call_` and 24 random letters and digits.
    private static func makeCallID() -> String { RandomID.make("call_") }
}

/// Ids that this program makes.
package enum RandomID {
    private static let letters = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)

    /// - Returns: `prefix` and 24 random letters and digits.
    package static func make(_ prefix: String) -> String {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<24).map { _ in
            letters[Int.random(in: 0..<letters.count, using: &generator)]
        }
        return prefix + String(decoding: bytes, as: UTF8.self)
    }
}
