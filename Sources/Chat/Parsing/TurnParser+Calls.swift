/// Calls: between marks, as lines, as bare JSON.
extension TurnParser {
    // MARK: Reporting

    mutating func startCall(_ name: String) {
        flushSinks()
        events.append(.callStart(index: callCount, name: name))
        callCount += 1
        callIsOpen = true
        argumentBytes = 0
        arguments = TextSink(trims: true, dropsLeading: true)
    }

    mutating func writeArgument(_ byte: UInt8) {
        arguments.write(byte)
        if arguments.hasText { argumentBytes += 1 }
    }

    mutating func endCall() {
        for byte in json.takeRest() { writeArgument(byte) }
        if argumentBytes == 0 { for byte in "{}".utf8 { arguments.write(byte) } }
        flushSinks()
        events.append(.callEnd(index: callCount - 1))
        callIsOpen = false
        content.dropsLeading = grammar.trimsContent
    }

    /// - Returns: false where a call names a tool that was not offered: then nothing is reported.
    private mutating func report(_ calls: [ParsedCall]) -> Bool {
        guard calls.allSatisfy({ tools.offers($0.name) }) else { return false }
        for call in calls {
            startCall(call.name)
            for byte in call.arguments.utf8 { writeArgument(byte) }
            endCall()
        }
        return true
    }

    // MARK: Between marks

    mutating func openCall() {
        flushSinks()
        spaceBefore = content.takeSpace()
        body = []
        argumentBytes = 0
        json = JSONCallReader()
        isInValue = false
        tentativeClose = nil
        closesTried = 0
        switch grammar.body {
        case .mistral:
            mistral = MistralReader()
            enter(.mistral)
        case .bareJSON: enter(.bareStart)
        default: enter(.call)
        }
    }

    mutating func takeCall(_ byte: UInt8) {
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        if case .json = grammar.body {
            for byte in plain { takeCallJSON(byte) }
            if mark != nil { closeJSONCall() }
            return
        }
        body.append(contentsOf: plain)
        guard let mark else { return }
        if mark == grammar.close {
            closeWholeCall()
        } else {
            takeValueMark(mark)
        }
    }

    /// A call whose value was never closed ended at the first closing mark in it; only what follows
    /// tells that from a value that speaks of the mark.
    private mutating func takeValueMark(_ mark: [UInt8]) {
        if mark == grammar.value?.close {
            isInValue = false
            tentativeClose = nil
        } else if isInValue, let close = tentativeClose {
            settle(at: close, then: mark)
            return
        } else if mark == grammar.value?.open {
            isInValue = true
        }
        body.append(contentsOf: mark)
    }

    /// Ends the call at a closing mark already passed, and reads what came behind it again.
    private mutating func settle(at close: Int, then mark: [UInt8]) {
        let rest = Array(body[(close + grammar.close.count)...]) + mark
        body.removeSubrange(close...)
        isInValue = false
        tentativeClose = nil
        endWholeCall()
        for byte in rest { take(byte) }
    }

    private mutating func closeWholeCall() {
        guard case .whole(let reader)? = grammar.body else { return }
        if isInValue {
            tentativeClose = tentativeClose ?? body.count
            body.append(contentsOf: grammar.close)
            return
        }
        // A few times at most: each try reads the whole body.
        if reader.quotesMarks, closesTried < 8, reader.read(body, tools) == nil {
            closesTried += 1
            tentativeClose = tentativeClose ?? body.count
            body.append(contentsOf: grammar.close)
            return
        }
        endWholeCall()
    }

    private mutating func endWholeCall() {
        guard case .whole(let reader)? = grammar.body else { return }
        let isCall = reader.read(body, tools).map { report($0) } ?? false
        if !isCall { writeContent(spaceBefore + grammar.unmarked(body)) }
        leaveCall()
        // White space is layout if another call follows, and content before words.
        if isCall { content.trims = true }
    }

    private mutating func leaveCall() {
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

    private mutating func closeJSONCall() {
        if json.isInString {
            // The mark stands inside a string of the arguments.
            for byte in grammar.close { takeCallJSON(byte) }
            return
        }
        if callIsOpen { endCall() } else { writeContent(spaceBefore + grammar.unmarked(body)) }
        leaveCall()
    }

    /// Reports what the JSON reader has found.
    private mutating func reportJSON() {
        if !callIsOpen, let name = json.name, !json.hasFailed, tools.offers(name) {
            startCall(name)
        }
        guard callIsOpen else { return }
        for byte in json.takeArguments() { writeArgument(byte) }
    }

    /// The text ends inside a call.
    mutating func finishCall(_ held: [UInt8]) {
        if callIsOpen {
            for byte in held { takeCallJSON(byte) }
            return endCall()
        }
        if let close = tentativeClose {
            settle(at: close, then: held)
            // What stood behind the call may be unfinished itself.
            content.flush()
            if phase == .call { writeContent(spaceBefore + grammar.unmarked(body)) }
            return
        }
        writeContent(spaceBefore + grammar.unmarked(body + held))
    }

    // MARK: As lines

    private var lineReader: (any LineArguments.Type)? {
        if case .line(let reader)? = grammar.body { reader } else { nil }
    }

    mutating func takeLine(_ byte: UInt8) {
        body.append(byte)
        // Longer than any name with its layout: each byte looks at the whole line.
        if body.count > Self.lineBytesMax { return reread(body) }
        let line = body.drop(while: \.isJSONSpace)
        let open = Array((reasoningTags?.open ?? "").utf8)
        if reasoningMayOpen, open.starts(with: line) {
            if line.count == open.count {
                reasoningMayOpen = false
                body = []
                enter(.reasoning)
            }
            return
        }
        if byte == 0x0A, let name = tools.listed(trimming: line) {
            lineTool = name
            lineHead = []
            enter(.lineHead)
            return
        }
        if line.isEmpty || tools.mayBeLine(line) { return }
        reread(body)
    }

    private static let lineBytesMax = 512

    mutating func takeLineHead(_ byte: UInt8) {
        body.append(byte)
        if lineHead.isEmpty, byte.isJSONSpace { return }
        lineHead.append(byte)
        switch lineReader?.begins(lineHead, tool: lineTool) {
        case nil: return
        case false? where !isForced: reread(body)
        default: beginLineArguments()
        }
    }

    private mutating func beginLineArguments() {
        let start = lineHead
        body = []
        isForced = false
        startCall(lineTool)
        lineEnd = JSONDepth()
        enter(.lineArguments)
        for byte in start { take(byte) }
    }

    mutating func finishLine(endsWithCall: Bool) {
        if isForced, !lineHead.isEmpty {
            beginLineArguments()
            finishPhase(matcher.takeHeld(), endsWithCall: endsWithCall)
        } else if endsWithCall || isForced, let name = tools.listed(trimming: body[...]) {
            startCall(name)
            endCall()
        } else {
            reread(body)
            writeContent(matcher.takeHeld())
        }
    }

    mutating func takeLineArguments(_ byte: UInt8) {
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        for byte in plain { writeLineArgument(byte) }
        if let mark, lineEnd.isInString {
            for byte in mark { writeLineArgument(byte) }
            return
        }
        // Words that hold an object, where a call was forced, go on behind it.
        guard mark != nil || lineEnd.isOver && !lineEnd.isPlain else { return }
        endLineCall()
        restartTurn()
        // Layout between an object and what follows it.
        content.dropsLeading = mark == nil
    }

    mutating func writeLineArgument(_ byte: UInt8) {
        if lineReader?.streams(tool: lineTool) ?? true {
            writeArgument(byte)
            lineEnd.take(byte)
        } else {
            body.append(byte)
        }
    }

    mutating func endLineCall() {
        if let reader = lineReader, !reader.streams(tool: lineTool) {
            for byte in reader.json(body, tool: lineTool).utf8 { writeArgument(byte) }
            body = []
        }
        endCall()
    }

    // MARK: As bare JSON

    mutating func takeBareStart(_ byte: UInt8) {
        if matcher.held.isEmpty, byte == 0x7B {
            json = JSONCallReader()
            body = [byte]
            json.take(byte)
            enter(.bareJSON)
            return
        }
        // Between calls stand semicolons and white space.
        if matcher.held.isEmpty, byte.isJSONSpace || (byte == 0x3B && callCount > 0) {
            if callCount == 0 { spaceBefore.append(byte) }
            return
        }
        var plain: [UInt8] = []
        let mark = matcher.feed(byte) { plain.append($0) }
        if let mark {
            if mark == grammar.open { return enter(.bareStart) }
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

    mutating func takeBareJSON(_ byte: UInt8) {
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

    mutating func takeMistral(_ byte: UInt8) {
        body.append(byte)
        guard let calls = mistral.take(byte) else { return }
        if calls.isEmpty || !report(calls) {
            writeContent(spaceBefore + grammar.unmarked(body))
        }
        spaceBefore = []
        body = []
        enter(.content)
    }
}
