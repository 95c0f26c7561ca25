/// What a parser found in generated text, in order.
package enum TurnEvent: Sendable, Equatable {
    /// More of the answer.
    case content(String)
    /// More of the model's thinking.
    case reasoning(String)
    /// A call begins; `index` counts the calls of this answer from 0.
    case callStart(index: Int, name: String)
    /// More of the call's arguments: together a JSON object, if the model wrote one.
    case callArguments(index: Int, String)
    case callEnd(index: Int)
}

/// The tags around a model's thinking.
package struct ReasoningTags: Sendable, Equatable {
    package var open = "<think>"
    package var close = "</think>"
    package init() {}
    package init(open: String, close: String) {
        self.open = open
        self.close = close
    }

    /// What ends thinking that a prompt has just opened. Where the tag has a line of its own, so
    /// has this one, and an empty line follows: as templates write that nothing was thought.
    func closing(_ prompt: String) -> String {
        prompt.utf8.last == 0x0A ? "\n\(close)\n\n" : close
    }

    /// Whether a rendered prompt ends inside the model's thinking, so that generated text begins
    /// there without an opening tag.
    package func isOpen(at prompt: String) -> Bool {
        let tail = prompt.utf8.reversed().drop { $0.isJSONSpace }
        return tail.starts(with: open.utf8.reversed())
    }
}

/// Splits the text of a turn into content, reasoning and tool calls while it arrives.
///
/// Text may come in pieces of any size; the events, joined, do not depend on where it was cut. Time
/// is linear in the text. A mark is never reported as content, nor half of one unless the text goes
/// on differently. A call of a tool that was not offered is content, without its marks.
package struct TurnParser: Sendable {
    enum Phase {
        case reasoning
        /// At the start of a segment whose first line may name a tool.
        case line
        /// Behind such a line, until it is clear whether arguments follow.
        case lineHead
        /// At the start of an answer that may be a JSON object.
        case bareStart
        case content
        /// Between the marks of a call.
        case call
        /// Arguments up to the end of a segment.
        case lineArguments
        case bareJSON
        case mistral
    }

    let grammar: TurnGrammar
    let tools: ToolSchemas
    let reasoningTags: ReasoningTags?
    var phase = Phase.content
    var matcher = MarkMatcher([])
    var content: TextSink
    var thoughts = TextSink(trims: true, dropsLeading: true)
    var arguments = TextSink(trims: true, dropsLeading: true)
    var events: [TurnEvent] = []
    /// The line, call or JSON being read, for when it turns out to be content.
    var body: [UInt8] = []
    var spaceBefore: [UInt8] = []
    var json = JSONCallReader()
    var mistral = MistralReader()
    var callCount = 0
    var callIsOpen = false
    var argumentBytes = 0
    /// The tool that a line has named.
    var lineTool = ""
    var lineHead: [UInt8] = []
    var lineEnd = JSONDepth()
    /// Inside a value of the call being read, and the first closing mark in it.
    var isInValue = false
    var tentativeClose: Int?
    var closesTried = 0
    private var strippable: ArraySlice<UInt8>
    var reasoningMayOpen: Bool
    /// A line that was given to the model has named a tool: what follows is its arguments.
    var isForced = false

    /// - Parameters:
    ///   - tools: the tools offered; nil accepts calls of any name, an empty list accepts none.
    ///   - reasoning: tags whose content is reported as reasoning; nil leaves them in the text.
    ///   - startsInReasoning: see ``ReasoningTags/isOpen(at:)``.
    init(
        _ grammar: TurnGrammar, tools: ToolSchemas, reasoning: ReasoningTags?,
        startsInReasoning: Bool
    ) {
        var grammar = grammar
        if grammar.needsTools && tools.isEmpty {
            grammar = TurnGrammar()
            grammar.trimsContent = false
        }
        self.grammar = grammar
        self.tools = tools
        reasoningTags = reasoning
        content = TextSink(trims: grammar.trimsContent, dropsLeading: false)
        strippable = grammar.turnStart[...]
        reasoningMayOpen = reasoning != nil
        if reasoning != nil && startsInReasoning {
            enter(.reasoning)
        } else {
            beginSegment()
        }
    }

    // MARK: Input

    /// Takes the beginning of a call that must be made, which was given to the model.
    mutating func force(_ prefix: String) -> [TurnEvent] {
        isForced = true
        return push(prefix)
    }

    /// Takes more text. Returns what is certain now.
    package mutating func push(_ text: String) -> [TurnEvent] { push(utf8: text.utf8) }

    package mutating func push(utf8 bytes: some Sequence<UInt8>) -> [TurnEvent] {
        for byte in bytes { take(byte) }
        return takeEvents()
    }

    /// Takes a special token. Those that are marks of this grammar count, all others are no text.
    package mutating func push(special text: String) -> [TurnEvent] {
        let bytes = Array(text.utf8)
        let isTag = text == reasoningTags?.open || text == reasoningTags?.close
        guard isTag || grammar.isMark(bytes) else { return [] }
        // Outside of a call there is nothing to close.
        if bytes == grammar.close, phase != .call { return [] }
        return push(utf8: bytes)
    }

    /// Ends the text.
    /// - Parameter endsWithCall: the token that ended generation says that the turn was a call
    ///   (GLM-4's `<|observation|>`): a lone name is then a call without arguments.
    package mutating func finish(endsWithCall: Bool = false) -> [TurnEvent] {
        finishPhase(matcher.takeHeld(), endsWithCall: endsWithCall)
        body = []
        content.flush()
        flushSinks()
        return takeEvents()
    }

    mutating func finishPhase(_ held: [UInt8], endsWithCall: Bool) {
        switch phase {
        case .reasoning:
            for byte in held { thoughts.write(byte) }
        case .line, .lineHead: finishLine(endsWithCall: endsWithCall)
        case .bareStart: writeContent(spaceBefore + held)
        case .content: writeContent(held)
        case .call: finishCall(held)
        case .lineArguments:
            for byte in held { writeLineArgument(byte) }
            endLineCall()
        case .bareJSON:
            if callIsOpen { endCall() } else { writeContent(spaceBefore + body) }
        case .mistral: writeContent(spaceBefore + grammar.unmarked(body))
        }
    }

    private mutating func takeEvents() -> [TurnEvent] {
        flushSinks()
        defer { events = [] }
        return events
    }

    mutating func flushSinks() {
        if let text = thoughts.take() { events.append(.reasoning(text)) }
        if let text = content.take() { addContent(text) }
        if let text = arguments.take() {
            events.append(.callArguments(index: callCount - 1, text))
        }
    }

    /// A phase that turns out to have been content does not cut the text in two.
    private mutating func addContent(_ text: String) {
        guard case .content(var whole)? = events.last else { return events.append(.content(text)) }
        events.removeLast()
        whole += text
        events.append(.content(whole))
    }

    // MARK: Phases

    mutating func enter(_ next: Phase) {
        flushSinks()
        phase = next
        let open = reasoningMayOpen ? Array((reasoningTags?.open ?? "").utf8) : []
        let close = Array((reasoningTags?.close ?? "").utf8)
        switch next {
        case .reasoning:
            let interrupting = grammar.callEndsReasoning ? grammar.open : []
            matcher = MarkMatcher([close, interrupting, open])
        case .content:
            matcher = MarkMatcher([open, grammar.open, grammar.segment] + grammar.dropped)
        case .bareStart: matcher = MarkMatcher([open, grammar.open])
        case .call:
            var marks = [grammar.close]
            if let value = grammar.value { marks += [value.open, value.close] }
            matcher = MarkMatcher(marks + [grammar.nextArgument])
        case .lineArguments: matcher = MarkMatcher([grammar.segment])
        case .line, .lineHead, .bareJSON, .mistral: matcher = MarkMatcher([])
        }
    }

    /// The start of an answer, or of what follows its thinking or a previous call.
    mutating func beginSegment() {
        body = []
        switch grammar.body {
        case .line: enter(.line)
        case .bareJSON: enter(.bareStart)
        default: enter(.content)
        }
    }

    mutating func take(_ byte: UInt8) {
        switch phase {
        case .reasoning: takeReasoning(byte)
        case .line: takeLine(byte)
        case .lineHead: takeLineHead(byte)
        case .bareStart: takeBareStart(byte)
        case .content: takeContent(byte)
        case .call: takeCall(byte)
        case .lineArguments: takeLineArguments(byte)
        case .bareJSON: takeBareJSON(byte)
        case .mistral: takeMistral(byte)
        }
    }

    private mutating func takeReasoning(_ byte: UInt8) {
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        for byte in plain { thoughts.write(byte) }
        guard let mark else { return }
        switch mark {
        case grammar.open:
            _ = thoughts.takeSpace()
            openCall()
        case Array((reasoningTags?.open ?? "").utf8):
            // The prompt had opened the tag already and the model repeats it; later it is text.
            if thoughts.hasText {
                for byte in mark { thoughts.write(byte) }
            } else {
                enter(.reasoning)
            }
        default:
            _ = thoughts.takeSpace()
            reasoningMayOpen = false
            content.dropsLeading = true
            beginSegment()
        }
    }

    private mutating func takeContent(_ byte: UInt8) {
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        writeContent(plain)
        if let mark { return takeMark(mark) }
        if reasoningMayOpen, content.hasText {
            // Thinking comes first or not at all.
            reasoningMayOpen = false
            let held = matcher.takeHeld()
            enter(.content)
            for byte in held { take(byte) }
        }
    }

    private mutating func takeMark(_ mark: [UInt8]) {
        if mark == grammar.open {
            openCall()
        } else if mark == grammar.segment {
            content.flush()
            restartTurn()
        } else if !grammar.dropped.contains(mark) {
            _ = content.takeSpace()
            reasoningMayOpen = false
            enter(.reasoning)
        }
    }

    /// Behind the mark that begins another segment.
    mutating func restartTurn() {
        strippable = grammar.turnStart[...]
        beginSegment()
    }

    mutating func writeContent(_ bytes: [UInt8]) {
        for byte in bytes {
            if let expected = strippable.first {
                if byte == expected {
                    strippable.removeFirst()
                    continue
                }
                strippable = []
            }
            content.write(byte)
        }
    }

    /// What was read is content after all. A mark may have begun in it.
    mutating func reread(_ text: [UInt8]) {
        body = []
        enter(.content)
        for byte in text { take(byte) }
    }
}
