/// Splits generated text into content, reasoning and tool calls while it arrives.
///
/// Text may come in pieces of any size; the events, joined, do not depend on where it was cut. Time
/// is linear in the text. A mark is never reported as content, nor half of one unless the text goes
/// on differently. Text includes special tokens by their names, without the token that ended it.
package struct ToolCallParser: Sendable {
    private enum Phase {
        case reasoning
        /// At the start of a segment whose first line may name a tool.
        case line
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

    private let grammar: ToolCallGrammar
    private let tools: ToolSchemas
    private let reasoningTags: ReasoningTags?
    private var phase = Phase.content
    private var matcher = MarkMatcher([])
    private var content: TextSink
    private var thoughts = TextSink(trims: true, dropsLeading: true)
    private var arguments = TextSink(trims: true, dropsLeading: true)
    private var events: [ToolCallEvent] = []
    /// The line, call or JSON being read, for when it turns out to be content.
    private var body: [UInt8] = []
    private var spaceBefore: [UInt8] = []
    private var json = JSONCallReader()
    private var mistral = MistralReader()
    private var callCount = 0
    private var callIsOpen = false
    private var argumentBytes = 0
    private var strippable: ArraySlice<UInt8>
    private var reasoningMayOpen: Bool

    init(
        grammar: ToolCallGrammar, tools: ToolSchemas, reasoning: ReasoningTags?,
        startsInReasoning: Bool
    ) {
        self.grammar = grammar
        self.tools = tools
        reasoningTags = reasoning
        content = TextSink(trims: grammar.trimsContent, dropsLeading: false)
        strippable = grammar.strippedStart[...]
        reasoningMayOpen = reasoning != nil
        if reasoning != nil && startsInReasoning {
            enter(.reasoning)
        } else {
            beginSegment()
        }
    }

    // MARK: Input

    /// Takes more text. Returns what is certain now.
    package mutating func push(_ text: String) -> [ToolCallEvent] { push(utf8: text.utf8) }

    package mutating func push(utf8 bytes: some Sequence<UInt8>) -> [ToolCallEvent] {
        for byte in bytes { take(byte) }
        return takeEvents()
    }

    /// Ends the text.
    /// - Parameter stopToken: the token that ended generation. For GLM-4, `<|observation|>` tells
    ///   that a lone name is a call without arguments.
    package mutating func finish(stopToken: String? = nil) -> [ToolCallEvent] {
        let held = matcher.takeHeld()
        switch phase {
        case .reasoning:
            for byte in held { thoughts.write(byte) }
        case .line:
            if stopToken == "<|observation|>", let name = offeredName(body) {
                startCall(name)
                endCall()
            } else {
                writeContent(body + held)
            }
        case .bareStart: writeContent(spaceBefore + held)
        case .content: writeContent(held)
        case .call: finishCall(held)
        case .lineArguments:
            for byte in held { writeArgument(byte) }
            endLineCall()
        case .bareJSON:
            if callIsOpen { endCall() } else { writeContent(spaceBefore + body) }
        case .mistral: writeContent(spaceBefore + grammar.open + body)
        }
        body = []
        content.flush()
        flushSinks()
        return takeEvents()
    }

    private mutating func finishCall(_ held: [UInt8]) {
        if callIsOpen {
            endCall()
        } else {
            writeContent(spaceBefore + grammar.open + body + held)
        }
    }

    private mutating func takeEvents() -> [ToolCallEvent] {
        flushSinks()
        defer { events = [] }
        return events
    }

    private mutating func flushSinks() {
        if let text = thoughts.take() { events.append(.reasoning(text)) }
        if let text = content.take() { events.append(.content(text)) }
        if let text = arguments.take() {
            events.append(.callArguments(index: callCount - 1, delta: text))
        }
    }

    // MARK: Phases

    private mutating func enter(_ next: Phase) {
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
        case .call: matcher = MarkMatcher([grammar.close])
        case .lineArguments: matcher = MarkMatcher([grammar.segment])
        case .line, .bareJSON, .mistral: matcher = MarkMatcher([])
        }
    }

    /// The start of an answer, or of what follows its thinking or a previous call.
    private mutating func beginSegment() {
        body = []
        switch grammar.body {
        case .line, .lineWithPython: enter(.line)
        case .bareJSON: enter(.bareStart)
        default: enter(.content)
        }
    }

    private mutating func take(_ byte: UInt8) {
        switch phase {
        case .reasoning: takeReasoning(byte)
        case .line: takeLine(byte)
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
        switch matcher.marks[mark] {
        case grammar.open:
            _ = thoughts.takeSpace()
            openCall()
        case Array((reasoningTags?.open ?? "").utf8):
            // The prompt had opened the tag already and the model repeats it; later it is text.
            if thoughts.hasText {
                for byte in matcher.marks[mark] { thoughts.write(byte) }
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
        let mark = matcher.feed(byte) { plain.append($0) }.map { matcher.marks[$0] }
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
            strippable = grammar.strippedStart[...]
            beginSegment()
        } else if !grammar.dropped.contains(mark) {
            _ = content.takeSpace()
            reasoningMayOpen = false
            enter(.reasoning)
        }
    }

    private mutating func writeContent(_ bytes: [UInt8]) {
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

    // MARK: Calls between marks

    private mutating func openCall() {
        flushSinks()
        spaceBefore = content.takeSpace()
        body = []
        argumentBytes = 0
        json = JSONCallReader()
        switch grammar.body {
        case .mistral:
            mistral = MistralReader()
            enter(.mistral)
        case .bareJSON: enter(.bareStart)
        default: enter(.call)
        }
    }

    private mutating func takeCall(_ byte: UInt8) {
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        if case .json = grammar.body {
            for byte in plain { takeCallJSON(byte) }
        } else {
            body.append(contentsOf: plain)
        }
        guard mark != nil else { return }
        if case .json = grammar.body, callIsOpen, json.isInString {
            // The mark stands inside a string of the arguments.
            for byte in grammar.close { takeCallJSON(byte) }
            return
        }
        if case .whole(let read)? = grammar.body {
            if let calls = read(body, tools) {
                for call in calls { report(call) }
            } else {
                writeContent(spaceBefore + grammar.open + body + grammar.close)
            }
        } else if callIsOpen {
            endCall()
        } else {
            writeContent(spaceBefore + grammar.open + body + grammar.close)
        }
        spaceBefore = []
        if grammar.trimsContent { content.dropsLeading = true }
        body = []
        enter(.content)
    }

    private mutating func takeCallJSON(_ byte: UInt8) {
        if !callIsOpen { body.append(byte) }
        json.take(byte)
        reportJSON()
    }

    /// Reports what the JSON reader has found.
    private mutating func reportJSON() {
        if !callIsOpen, let name = json.name, !json.hasFailed {
            startCall(name)
        }
        guard callIsOpen else { return }
        let delta = json.takeArguments()
        for byte in delta { writeArgument(byte) }
    }

    private mutating func report(_ call: ParsedCall) {
        startCall(call.name)
        for byte in call.arguments.utf8 { writeArgument(byte) }
        endCall()
    }

    private mutating func startCall(_ name: String) {
        flushSinks()
        events.append(.callStart(index: callCount, name: name))
        callCount += 1
        callIsOpen = true
        argumentBytes = 0
        arguments = TextSink(trims: true, dropsLeading: true)
    }

    private mutating func writeArgument(_ byte: UInt8) {
        arguments.write(byte)
        if arguments.hasText { argumentBytes += 1 }
    }

    private mutating func endCall() {
        if argumentBytes == 0 { for byte in "{}".utf8 { arguments.write(byte) } }
        flushSinks()
        events.append(.callEnd(index: callCount - 1))
        callIsOpen = false
        content.dropsLeading = grammar.trimsContent
    }

    // MARK: Calls as lines

    private func offeredName(_ line: [UInt8]) -> String? {
        let name = String(decoding: line, as: UTF8.self)
        return tools.lists(name) ? name : nil
    }

    private mutating func takeLine(_ byte: UInt8) {
        if byte == 0x0A, !body.isEmpty, let name = offeredName(body) {
            body = []
            startCall(name)
            enter(.lineArguments)
            return
        }
        body.append(byte)
        let open = Array((reasoningTags?.open ?? "").utf8)
        if reasoningMayOpen, open.starts(with: body.drop(while: { $0 == 0x0A })) {
            if body.count >= open.count, body.suffix(open.count) == open[...] {
                reasoningMayOpen = false
                body = []
                enter(.reasoning)
            }
            return
        }
        if byte != 0x0A, tools.mayBeName(body) { return }
        // No name: what was read is content. A mark may have begun in it.
        let text = body
        body = []
        enter(.content)
        for byte in text { take(byte) }
    }

    private mutating func takeLineArguments(_ byte: UInt8) {
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        if case .lineWithPython = grammar.body {
            body.append(contentsOf: plain)
        } else {
            for byte in plain { writeArgument(byte) }
        }
        guard mark != nil else { return }
        endLineCall()
        strippable = grammar.strippedStart[...]
        beginSegment()
    }

    private mutating func endLineCall() {
        if case .lineWithPython = grammar.body {
            for byte in ToolCallBodies.fencedArguments(body).utf8 { writeArgument(byte) }
            body = []
        }
        endCall()
    }

    // MARK: Calls as bare JSON

    private mutating func takeBareStart(_ byte: UInt8) {
        if matcher.held.isEmpty, byte == 0x7B {
            json = JSONCallReader()
            body = [byte]
            json.take(byte)
            enter(.bareJSON)
            return
        }
        // Between calls stand semicolons and white space.
        let isSpace = byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
        if matcher.held.isEmpty, isSpace || (byte == 0x3B && callCount > 0) {
            if callCount == 0 { spaceBefore.append(byte) }
            return
        }
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        if let mark {
            if matcher.marks[mark] == grammar.open {
                enter(.bareStart)
                return
            }
            reasoningMayOpen = false
            spaceBefore = []
            enter(.reasoning)
        } else if !plain.isEmpty {
            let held = matcher.takeHeld()
            writeContent(spaceBefore + plain)
            spaceBefore = []
            reasoningMayOpen = false
            enter(.content)
            for byte in held { take(byte) }
        }
    }

    private mutating func takeBareJSON(_ byte: UInt8) {
        if !callIsOpen { body.append(byte) }
        json.take(byte)
        if !callIsOpen, let name = json.name, !tools.offers(name) { json.fail() }
        if json.hasFailed && !callIsOpen {
            let text = body
            body = []
            writeContent(spaceBefore + text)
            spaceBefore = []
            enter(.content)
            return
        }
        reportJSON()
        guard json.isComplete || json.hasFailed else { return }
        if callIsOpen { endCall() } else { writeContent(spaceBefore + body) }
        spaceBefore = []
        beginSegment()
    }

    private mutating func takeMistral(_ byte: UInt8) {
        body.append(byte)
        guard let calls = mistral.take(byte) else { return }
        for call in calls { report(call) }
        if calls.isEmpty { writeContent(spaceBefore + grammar.open + body) }
        spaceBefore = []
        body = []
        enter(.content)
    }
}
