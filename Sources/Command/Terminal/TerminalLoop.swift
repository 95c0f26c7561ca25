import Glibc
import Synchronization

/// What the session asks of its thread.
enum TerminalRequest: Sendable {
    case read(Int, prompt: String, CheckedContinuation<PromptEntry?, Never>)
    case cancelRead(Int)
    case bodyBegan(cancel: @Sendable () -> Void)
    case bodyEnded
    case close
}

/// Requests for the thread, and the pipe that wakes it. The pipe also carries signal numbers.
final class TerminalMailbox: Sendable {
    private struct State {
        var requests: [TerminalRequest] = []
        var isClosed = false
        var lastRead = 0
    }

    private let state = Mutex(State())
    let wakeInput: Int32
    let wakeOutput: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        let result = unsafe pipe(&ends)
        precondition(result == 0, "no descriptors are left for the terminal's pipe")
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (wakeInput, wakeOutput) = (ends[0], ends[1])
    }

    deinit {
        Glibc.close(wakeInput)
        Glibc.close(wakeOutput)
    }

    func nextRead() -> Int {
        state.withLock {
            $0.lastRead += 1
            return $0.lastRead
        }
    }

    /// - Returns: false after `close`, when nobody takes requests any more.
    @discardableResult
    func post(_ request: TerminalRequest) -> Bool {
        let isOpen = state.withLock { state in
            if state.isClosed { return false }
            if case .close = request { state.isClosed = true }
            state.requests.append(request)
            return true
        }
        // A full pipe wakes as well as one more byte would.
        var zero: UInt8 = 0
        if isOpen { _ = unsafe Glibc.write(wakeOutput, &zero, 1) }
        return isOpen
    }

    func takeAll() -> [TerminalRequest] {
        state.withLock { state in
            defer { state.requests = [] }
            return state.requests
        }
    }
}

/// The thread that reads the terminal: waits for bytes, signals and requests, has `TerminalCore`
/// decide, and writes. It alone owns its state.
final class TerminalLoop {
    /// Bytes of one key come together; this long after an escape alone it was the Escape key.
    private static let escapeTimeout: Int32 = 50

    private let input: Int32
    private let output: Int32
    private let isInteractive: Bool
    private let showsPrompt: Bool
    private let mailbox: TerminalMailbox
    private let leave: @Sendable (Int32) -> Void
    private var history: HistoryFile?
    private var core: TerminalCore
    private var decoder = KeyDecoder()
    private var plain = PlainInput()
    private var size: WindowSize
    private var read: (id: Int, continuation: CheckedContinuation<PromptEntry?, Never>)?
    private var cancelBody: (@Sendable () -> Void)?
    private var previousInterrupt: sigaction?
    private var hasEnded = false
    private var isClosed = false

    init(_ options: TerminalSession.Options, _ mailbox: TerminalMailbox, isInteractive: Bool) {
        (input, output) = (options.input, options.output)
        (self.mailbox, self.isInteractive) = (mailbox, isInteractive)
        leave = options.leave
        history = isInteractive ? options.history : nil
        showsPrompt = isatty(input) == 1 && isatty(output) == 1
        size = WindowSize(of: output) ?? WindowSize(columns: 80, rows: 24)
        var problem: String?
        var entries: [String] = []
        do {
            entries = try history?.load() ?? []
        } catch {
            problem = "\(error)"
            history = nil
        }
        core = TerminalCore(
            history: entries, commands: options.commands, size: size,
            promptStyle: options.hasColor ? "\u{1B}[1m" : "")
        if let problem { writeAll(problem + "\r\n", to: output) }
    }

    func run() {
        while !isClosed {
            for request in mailbox.takeAll() { take(request) }
            if !isInteractive { deliverPlain() }
            if isClosed { break }
            wait()
        }
        read?.continuation.resume(returning: nil)
        if isInteractive { TerminalModes.stopForwarding(to: mailbox.wakeOutput) }
    }

    private func wait() {
        var ready = [
            pollfd(fd: mailbox.wakeInput, events: Int16(POLLIN), revents: 0),
            pollfd(fd: input, events: Int16(POLLIN), revents: 0),
        ]
        // Lines are taken from a pipe only when they are wanted: what follows them may be meant
        // for another reader. A terminal is always read, for Ctrl-C.
        let readsInput = !hasEnded && (isInteractive || read != nil)
        let timeout = decoder.isWaitingAfterEscape ? Self.escapeTimeout : -1
        let count = unsafe poll(&ready, readsInput ? 2 : 1, timeout)
        if count == 0 { apply(.keys(decoder.flush())) }
        guard count > 0 else { return }
        if ready[0].revents != 0 {
            for signal in readBytes(mailbox.wakeInput) ?? [] where signal != 0 {
                handle(signal: Int32(signal))
            }
        }
        if isInteractive { checkSize() }
        guard readsInput, ready[1].revents != 0 else { return }
        let bytes = readBytes(input)
        if bytes?.isEmpty == true { hasEnded = true }
        if isInteractive {
            apply(hasEnded ? .inputEnded : .keys(decoder.decode(bytes ?? [])))
        } else if hasEnded {
            plain.end()
        } else {
            plain.append(bytes ?? [])
        }
    }

    /// - Returns: empty at the end of input, nil when there is nothing right now.
    private func readBytes(_ descriptor: Int32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
        if count < 0 { return errno == EINTR || errno == EAGAIN ? nil : [] }
        return Array(buffer[..<count])
    }

    // MARK: - Events

    private func take(_ request: TerminalRequest) {
        switch request {
        case .read(let id, let prompt, let continuation):
            precondition(read == nil, "one entry is read at a time")
            read = (id, continuation)
            if isInteractive {
                checkSize()
                apply(.readBegan(prompt: prompt))
            } else if showsPrompt {
                writeAll(prompt, to: output)
            }
        case .cancelRead(let id):
            guard read?.id == id else { return }
            if isInteractive { apply(.readCancelled) } else { deliver(nil) }
        case .bodyBegan(let cancel):
            cancelBody = cancel
            // A terminal that stays in its own line mode sends the signal instead of the byte.
            if !isInteractive, showsPrompt {
                TerminalModes.forwardSignals(to: mailbox.wakeOutput)
                previousInterrupt = TerminalModes.forward(SIGINT)
            }
            apply(.bodyBegan)
        case .bodyEnded:
            cancelBody = nil
            if let previous = previousInterrupt { TerminalModes.restore(SIGINT, previous) }
            previousInterrupt = nil
            apply(.bodyEnded)
        case .close:
            isClosed = true
        }
    }

    private func handle(signal: Int32) {
        switch signal {
        case SIGINT: apply(.keys([.interrupt]))
        case SIGCONT where isInteractive:
            // The shell may have set its own modes meanwhile.
            TerminalModes.leave()
            _ = TerminalModes.enter(input: input, output: output)
            apply(.resumed)
        default: break  // SIGWINCH: the size is looked at after every event
        }
    }

    private func checkSize() {
        guard let now = WindowSize(of: output), now != size else { return }
        size = now
        apply(.resized(now))
    }

    private func deliverPlain() {
        guard read != nil else { return }
        if let entry = plain.next() {
            deliver(entry)
        } else if plain.isAtEnd || hasEnded {
            deliver(nil)
        }
    }

    private func deliver(_ entry: PromptEntry?) {
        let continuation = read?.continuation
        read = nil
        continuation?.resume(returning: entry)
    }

    // MARK: - Actions

    private func apply(_ event: TerminalCore.Event) {
        for action in core.apply(event, at: .now) {
            switch action {
            case .write(let text): writeAll(text, to: output)
            case .deliver(let entry): deliver(entry)
            case .remember(let text): remember(text)
            case .cancelBody: cancelBody?()
            case .leave(let status):
                TerminalModes.leave()
                leave(status)
            case .suspend:
                TerminalModes.leave()
                // The whole group, as the terminal does it for Ctrl-Z: a pipeline stops as one.
                kill(0, SIGTSTP)
                _ = TerminalModes.enter(input: input, output: output)
            }
        }
    }

    private func remember(_ text: String) {
        do {
            try history?.append(text)
        } catch {
            history = nil
            writeAll("\(error)\r\n", to: output)
        }
    }
}
