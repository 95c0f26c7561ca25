/// The conversation with the terminal as a state machine: reading an entry, or letting an answer
/// run, or neither. `TerminalLoop` brings the events and carries out the actions.
struct TerminalCore: Sendable {
    enum Event: Sendable {
        case readBegan(prompt: String)
        case readCancelled
        case bodyBegan
        case bodyEnded
        case keys([TerminalKey])
        case resized(WindowSize)
        /// The program goes on after it was stopped; the screen is not known any more.
        case resumed
        case inputEnded
    }

    enum Action: Equatable, Sendable {
        case write(String)
        /// The read asked for is over; nil at the end of input.
        case deliver(PromptEntry?)
        /// A new text for the history file.
        case remember(String)
        case cancelBody
        case leave(Int32)
        case suspend
    }

    private enum Mode: Equatable {
        case idle
        case reading(prompt: String)
        case running
    }

    /// A second Ctrl-C this soon after one that did not help leaves the program.
    static let secondInterrupt = Duration.seconds(1)
    /// What is typed ahead, in bytes; more is dropped with a bell.
    static let pendingLimit = 2 * KeyDecoder.pasteLimit
    /// Exit status of a program that ended by SIGINT, as shells count it.
    static let interruptedStatus: Int32 = 130

    private let promptStyle: String
    private var editor: LineEditor
    private var renderer: LineRenderer
    private var mode = Mode.idle
    /// Typed while nobody read; the next read begins with it.
    private var pending: [TerminalKey] = []
    private var pendingBytes = 0
    private var lastInterrupt: ContinuousClock.Instant?
    private var hasEnded = false

    init(
        history: [String] = [], commands: [String] = [], size: WindowSize, promptStyle: String = ""
    ) {
        editor = LineEditor(history: InputHistory(history), commands: commands)
        renderer = LineRenderer(size: size)
        self.promptStyle = promptStyle
    }

    mutating func apply(_ event: Event, at now: ContinuousClock.Instant) -> [Action] {
        switch event {
        case .readBegan(let prompt):
            mode = .reading(prompt: prompt)
            let keys = pending
            pending = []
            pendingBytes = 0
            return edit(keys, at: now, mustDraw: true)
        case .readCancelled:
            guard case .reading = mode else { return [] }
            return endReading(nil)
        case .bodyBegan:
            mode = .running
            lastInterrupt = nil
            return []
        case .bodyEnded:
            mode = .idle
            lastInterrupt = nil
            return []
        case .keys(let keys):
            if case .reading = mode { return edit(keys, at: now, mustDraw: false) }
            return keepForLater(keys, at: now)
        case .resized(let size):
            let erased = renderer.resize(to: size)
            guard case .reading = mode else { return [] }
            return [.write(erased + draw())]
        case .resumed:
            guard case .reading = mode else { return [] }
            return [.write(draw())]
        case .inputEnded:
            hasEnded = true
            switch mode {
            case .idle: return []
            case .running: return [.cancelBody]
            case .reading: return endReading(nil)
            }
        }
    }

    // MARK: - Reading

    private mutating func edit(
        _ keys: [TerminalKey], at now: ContinuousClock.Instant, mustDraw: Bool
    ) -> [Action] {
        var output = ""
        // Keys that came together, such as type-ahead, are drawn once.
        var isStale = mustDraw
        for (index, key) in keys.enumerated() {
            let action = editor.apply(key)
            switch action {
            case .redraw:
                isStale = true
            case .bell:
                output += "\u{07}"
            case .clearScreen:
                output += renderer.clearScreen()
                isStale = true
            case .note(let text):
                output += renderer.erase() + text + "\r\n"
                isStale = true
            case .abandon:
                editor.moveToEnd()
                output += draw() + "^C" + renderer.finish()
                editor.clear()
                isStale = true
            case .suspend:
                editor.moveToEnd()
                output += draw() + renderer.finish()
                let rest = Array(keys[(index + 1)...])
                return [.write(output), .suspend] + edit(rest, at: now, mustDraw: true)
            case .endOfInput:
                return [.write(output)] + endReading(nil)
            case .submit(let entry):
                let actions = [.write(output)] + endReading(entry)
                return actions + keepForLater(Array(keys[(index + 1)...]), at: now)
            }
        }
        if hasEnded { return [.write(output)] + endReading(nil) }
        if isStale { output += draw() }
        return output.isEmpty ? [] : [.write(output)]
    }

    private mutating func endReading(_ entry: PromptEntry?) -> [Action] {
        editor.moveToEnd()
        let output = draw() + renderer.finish()
        mode = .idle
        var actions = [Action.write(output)]
        if let text = entry?.text, editor.remember(text) { actions.append(.remember(text)) }
        editor.clear()
        return actions + [.deliver(entry)]
    }

    private mutating func draw() -> String {
        guard case .reading(let prompt) = mode else { return "" }
        return renderer.draw(
            prompt: editor.searchPrompt ?? prompt, style: promptStyle,
            text: editor.buffer.characters, cursor: editor.buffer.cursor)
    }

    // MARK: - Keys that nobody reads

    private mutating func keepForLater(
        _ keys: [TerminalKey], at now: ContinuousClock.Instant
    ) -> [Action] {
        var actions: [Action] = []
        for key in keys {
            if key == .interrupt {
                actions += interrupt(at: now)
                continue
            }
            var bytes = 1
            if case .paste(let text, _) = key { bytes += text.utf8.count }
            if pendingBytes + bytes > Self.pendingLimit {
                actions.append(.write("\u{07}"))
            } else {
                pending.append(key)
                pendingBytes += bytes
            }
        }
        return actions
    }

    private mutating func interrupt(at now: ContinuousClock.Instant) -> [Action] {
        if let last = lastInterrupt, last.duration(to: now) <= Self.secondInterrupt {
            return [.leave(Self.interruptedStatus)]
        }
        lastInterrupt = now
        return mode == .running ? [.cancelBody] : []
    }
}
