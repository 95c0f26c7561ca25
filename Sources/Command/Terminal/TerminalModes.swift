import Glibc
import Synchronization

/// Raw mode of the one terminal this program talks to, and its end in every way the program ends:
/// by `leave`, by `exit`, and by a signal that kills it.
enum TerminalModes {
    /// What a signal handler needs to put the terminal back: plain memory, no locks.
    private struct Saved {
        var input: Int32
        var output: Int32
        var termios: termios
    }

    /// SGR off, bracketed paste off, cursor shown.
    private static let resetSequence: StaticString = "\u{1B}[0m\u{1B}[?2004l\u{1B}[?25h"
    /// Written by `enter` before `isRaw` is set, read only by who clears it.
    private nonisolated(unsafe) static let saved: UnsafeMutablePointer<Saved> = {
        let pointer = UnsafeMutablePointer<Saved>.allocate(capacity: 1)
        unsafe pointer.initialize(to: Saved(input: -1, output: -1, termios: termios()))
        return unsafe pointer
    }()
    private static let isRaw = Atomic(false)
    private static let isPrepared = Atomic(false)
    /// Where handlers write the number of a signal that `TerminalLoop` acts on; -1 for nowhere.
    private static let wakeDescriptor = Atomic<Int32>(-1)

    /// The signals that end a program unless it says otherwise.
    private static let deadly = [
        SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV,
    ]

    /// Keys arrive one by one and unechoed, Ctrl-C as a byte; output is processed as ever, so that
    /// the rest of the program may print line feeds.
    /// - Returns: false where `input` is no terminal.
    static func enter(input: Int32, output: Int32) -> Bool {
        var current = termios()
        guard !isRaw.load(ordering: .acquiring), unsafe tcgetattr(input, &current) == 0 else {
            return false
        }
        unsafe saved.pointee = Saved(input: input, output: output, termios: current)
        isRaw.store(true, ordering: .releasing)
        prepareForTheEnd()
        current.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG | IEXTEN)
        current.c_iflag &= ~tcflag_t(IXON | ICRNL | INLCR | IGNCR | ISTRIP)
        unsafe withUnsafeMutableBytes(of: &current.c_cc) { characters in
            unsafe characters[Int(VMIN)] = 1
            unsafe characters[Int(VTIME)] = 0
        }
        _ = unsafe tcsetattr(input, TCSADRAIN, &current)
        writeAll("\u{1B}[?2004h", to: output)
        return true
    }

    /// Puts the terminal back as `enter` found it. Only async-signal-safe calls.
    static func leave() {
        guard isRaw.exchange(false, ordering: .acquiringAndReleasing) else { return }
        let state = unsafe saved
        _ = unsafe Glibc.write(
            state.pointee.output, resetSequence.utf8Start, resetSequence.utf8CodeUnitCount)
        _ = unsafe tcsetattr(state.pointee.input, TCSANOW, &state.pointee.termios)
    }

    /// Once per process. A handler that somebody else installed is left alone: Swift's backtracer,
    /// where it is enabled, then shows a crash before the terminal is put back.
    private static func prepareForTheEnd() {
        guard !isPrepared.exchange(true, ordering: .acquiringAndReleasing) else { return }
        atexit { TerminalModes.leave() }
        for number in deadly {
            var present = sigaction()
            guard unsafe sigaction(number, nil, &present) == 0,
                unsafe present.__sigaction_handler.sa_handler == nil
            else { continue }
            // The handler stands for one signal and is then gone (SA_RESETHAND): the signal it
            // sends again kills, and the parent sees the true cause.
            install(number, flags: Int32(bitPattern: UInt32(SA_RESETHAND))) { number in
                TerminalModes.leave()
                raise(number)
            }
        }
    }

    /// Has the signals of a changed window and of a continued program, and SIGINT where asked for,
    /// written to `descriptor` as one byte each.
    static func forwardSignals(to descriptor: Int32) {
        wakeDescriptor.store(descriptor, ordering: .releasing)
        for number in [SIGWINCH, SIGCONT] { forward(number) }
    }

    static func stopForwarding(to descriptor: Int32) {
        _ = wakeDescriptor.compareExchange(
            expected: descriptor, desired: -1, ordering: .acquiringAndReleasing)
    }

    /// - Returns: what was in its place, for `restore`.
    @discardableResult
    static func forward(_ number: Int32) -> sigaction {
        install(number, flags: SA_RESTART) { number in
            // A handler must not change what the interrupted code reads as its error.
            let error = errno
            var byte = UInt8(truncatingIfNeeded: number)
            let descriptor = TerminalModes.wakeDescriptor.load(ordering: .acquiring)
            if descriptor >= 0 { _ = unsafe Glibc.write(descriptor, &byte, 1) }
            errno = error
        }
    }

    static func restore(_ number: Int32, _ action: sigaction) {
        var action = action
        _ = unsafe sigaction(number, &action, nil)
    }

    @discardableResult
    private static func install(
        _ number: Int32, flags: Int32, _ handler: @escaping @convention(c) (Int32) -> Void
    ) -> sigaction {
        var action = sigaction(), previous = sigaction()
        unsafe action.__sigaction_handler.sa_handler = handler
        action.sa_flags = flags
        _ = unsafe sigaction(number, &action, &previous)
        return previous
    }
}

/// Writes all of it, waiting where the descriptor takes no more.
/// - Returns: false where an error ended it.
@discardableResult
func writeAll(_ text: String, to descriptor: Int32) -> Bool {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = unsafe bytes.withUnsafeBytes { buffer in
            unsafe Glibc.write(descriptor, buffer.baseAddress, buffer.count)
        }
        if count > 0 {
            bytes = bytes.dropFirst(count)
        } else if errno == EAGAIN {
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = unsafe poll(&ready, 1, -1)
        } else if errno != EINTR {
            return false
        }
    }
    return true
}

extension WindowSize {
    /// The size of the terminal behind a descriptor, nil where it is none or does not say.
    init?(of descriptor: Int32) {
        var size = winsize()
        guard unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
            return nil
        }
        self.init(columns: Int(size.ws_col), rows: size.ws_row > 0 ? Int(size.ws_row) : 24)
    }
}
