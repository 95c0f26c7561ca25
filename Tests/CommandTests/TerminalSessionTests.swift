import Foundation
import Synchronization
import Testing

@testable import AutoGLMCommand

/// A person at a pseudo-terminal: types bytes, looks at the screen.
private final class Person {
    let session: TerminalSession
    private(set) var screen: Screen
    private let terminal: Int32
    private let program: Int32
    private var partial: [UInt8] = []

    init(
        columns: Int = 40, rows: Int = 12, history: HistoryFile? = nil,
        leave: @escaping @Sendable (Int32) -> Void = { _ in }
    ) throws {
        var ends: (Int32, Int32) = (-1, -1)
        var size = winsize()
        (size.ws_row, size.ws_col) = (UInt16(rows), UInt16(columns))
        try #require(openpty(&ends.0, &ends.1, nil, nil, &size) == 0)
        (terminal, program) = ends
        screen = Screen(columns: columns, rows: rows)
        var options = TerminalSession.Options()
        (options.input, options.output) = (program, program)
        options.history = history
        options.commands = ["/help", "/quit"]
        options.leave = leave
        session = TerminalSession(options)
    }

    deinit {
        session.close()
        close(terminal)
        close(program)
    }

    var isRaw: Bool {
        var modes = termios()
        return tcgetattr(program, &modes) == 0 && modes.c_lflag & tcflag_t(ICANON) == 0
    }

    func type(_ text: String) {
        writeAll(text, to: terminal)
    }

    func resize(columns: Int) {
        var size = winsize()
        (size.ws_row, size.ws_col) = (UInt16(screen.rows), UInt16(columns))
        _ = ioctl(terminal, UInt(TIOCSWINSZ), &size)
        screen.narrow(to: columns)
    }

    /// Waits until the screen shows this, cursor included where given.
    func sees(
        _ lines: [String], cursor: (row: Int, column: Int)? = nil,
        _ location: SourceLocation = #_sourceLocation
    ) async throws {
        let deadline = ContinuousClock.now + .seconds(20)
        while ContinuousClock.now < deadline {
            look()
            let isThere = cursor.map { $0 == (screen.row, screen.column) } ?? true
            if screen.lines == lines, isThere { return }
            try await Task.sleep(for: .milliseconds(2))
        }
        Issue.record("\(screen.lines) at \(screen.row), \(screen.column)", sourceLocation: location)
    }

    func look() {
        var ready = pollfd(fd: terminal, events: Int16(POLLIN), revents: 0)
        while poll(&ready, 1, 0) > 0, ready.revents & Int16(POLLIN) != 0 {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(terminal, &buffer, buffer.count)
            guard count > 0 else { return }
            partial += buffer[..<count]
            // A read may end inside a character.
            var whole = partial.count
            while whole > 0, partial.count - whole < 4,
                String(validating: partial[..<whole], as: UTF8.self) == nil { whole -= 1 }
            screen.write(String(decoding: partial[..<whole], as: UTF8.self))
            partial.removeFirst(whole)
        }
    }
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct TerminalSessionTests {
    private func literal(_ text: String) -> PromptEntry { PromptEntry(text: text, isLiteral: true) }
    private func plain(_ text: String) -> PromptEntry { PromptEntry(text: text, isLiteral: false) }

    @Test func wideCharactersAndInsertion() async throws {
        let person = try Person()
        let session = person.session
        async let entry = session.readEntry(prompt: "> ")
        try await person.sees([">"], cursor: (0, 2))
        #expect(person.isRaw)
        #expect(person.screen.modes.contains("[?2004"))
        person.type("世界")
        try await person.sees(["> 世界"], cursor: (0, 6))
        person.type("\u{1B}[D\u{1B}OD")
        try await person.sees(["> 世界"], cursor: (0, 2))
        person.type("\u{1B}[Cx👩‍💻")
        try await person.sees(["> 世x👩‍💻界"], cursor: (0, 7))
        person.type("\u{7F}")
        try await person.sees(["> 世x界"], cursor: (0, 5))
        person.type("\u{01}a\u{05}b\r")
        #expect(await entry == plain("a世x界b"))
        try await person.sees(["> a世x界b"], cursor: (1, 0))
        person.session.close()
        #expect(!person.isRaw)
        person.look()
        #expect(!person.screen.modes.contains("[?2004"))
        #expect(person.screen.unknown.isEmpty)
    }

    @Test func wrappingPastTheEdge() async throws {
        let person = try Person(columns: 10)
        let session = person.session
        async let entry = session.readEntry(prompt: "> ")
        person.type("abcdefg世h")
        try await person.sees(["> abcdefg", "世h"], cursor: (1, 3))
        person.type("\u{01}X")
        try await person.sees(["> Xabcdefg", "世h"], cursor: (0, 3))
        person.resize(columns: 6)
        person.type("Y")
        try await person.sees(["> XYab", "cdefg", "世h"], cursor: (0, 4))
        person.type("\u{0C}")
        try await person.sees(["> XYab", "cdefg", "世h"], cursor: (0, 4))
        person.type("\r")
        #expect(await entry == plain("XYabcdefg世h"))
        try await person.sees(["> XYab", "cdefg", "世h"], cursor: (3, 0))
    }

    @Test func historyAcrossSessions() async throws {
        let path = NSTemporaryDirectory() + "autoglm-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = try Person(history: HistoryFile(path: path))
        let firstSession = first.session
        async let entry = firstSession.readEntry(prompt: "> ")
        first.type("one\u{1B}\rtwo\r")
        #expect(await entry == plain("one\ntwo"))
        first.session.close()

        let second = try Person(history: HistoryFile(path: path))
        let secondSession = second.session
        async let again = secondSession.readEntry(prompt: "> ")
        second.type("draft\u{1B}[A")
        try await second.sees(["> one", ". two"], cursor: (1, 5))
        second.type("\u{1B}[A\u{1B}[B\u{1B}[B")
        try await second.sees(["> draft"], cursor: (0, 7))
        second.type("\u{10}!\r")
        #expect(await again == literal("one\ntwo!"))
    }

    @Test func unusableHistoryIsSaidOnce() async throws {
        let person = try Person(columns: 60, history: HistoryFile(path: "/dev/null/history"))
        let session = person.session
        async let entry = session.readEntry(prompt: "> ")
        person.type("a\r")
        #expect(await entry == plain("a"))
        try await person.sees(["history is off: /dev/null/history: Not a directory", "> a"])
    }

    @Test func pasteOfThreeLines() async throws {
        let person = try Person()
        let session = person.session
        async let entry = session.readEntry(prompt: "> ")
        person.type("say: \u{1B}[200~one\rtwo\r\nthree\u{1B}[201~")
        try await person.sees(["> say: one", ". two", ". three"], cursor: (2, 7))
        person.type("!\r")
        #expect(await entry == literal("say: one\ntwo\nthree!"))
    }

    @Test func quotes() async throws {
        let person = try Person()
        let session = person.session
        async let entry = session.readEntry(prompt: "> ")
        person.type("\"\"\"\r/one\r")
        try await person.sees(["> \"\"\"", ". /one", "."], cursor: (2, 2))
        person.type("two\"\"\"\r")
        #expect(await entry == literal("/one\ntwo"))
    }

    @Test func interruptsAtThePrompt() async throws {
        let person = try Person()
        let session = person.session
        async let entry = session.readEntry(prompt: "> ")
        person.type("abc")
        try await person.sees(["> abc"])
        person.type("\u{03}")
        try await person.sees(["> abc^C", ">"], cursor: (1, 2))
        person.type("\u{03}")
        let hint = "Ctrl-D or /quit to leave"
        try await person.sees(["> abc^C", hint, ">"], cursor: (2, 2))
        person.type("\u{04}")
        #expect(await entry == nil)
        try await person.sees(["> abc^C", hint, ">"], cursor: (3, 0))
    }

    @Test func interruptStopsTheBody() async throws {
        let left = Mutex<[Int32]>([])
        let person = try Person(leave: { status in left.withLock { $0.append(status) } })
        let session = person.session
        async let outcome = session.withInterrupts { () -> String in
            do {
                try await Task.sleep(for: .seconds(60))
                return "whole"
            } catch {
                return "stopped"
            }
        }
        // Let the body begin: keys before it would belong to nobody.
        try await Task.sleep(for: .milliseconds(50))
        person.type("next\u{03}")
        #expect(try await outcome == "stopped")
        #expect(left.withLock { $0 } == [])
        async let entry = session.readEntry(prompt: "> ")
        try await person.sees(["> next"], cursor: (0, 6))
        person.type("\r")
        #expect(await entry == plain("next"))
    }

    @Test func secondInterruptLeaves() async throws {
        let left = Mutex<[Int32]>([])
        let person = try Person(leave: { status in left.withLock { $0.append(status) } })
        let session = person.session
        async let ended: Void = session.withInterrupts {
            // A body that does not listen.
            while left.withLock({ $0.isEmpty }) { await Task.yield() }
        }
        try await Task.sleep(for: .milliseconds(50))
        person.type("\u{03}\u{03}")
        try await ended
        #expect(left.withLock { $0 } == [130])
        #expect(!person.isRaw)
    }

    @Test func errorsOfTheBodyArePassedOn() async throws {
        let person = try Person()
        let session = person.session
        await #expect(throws: HistoryError.self) {
            try await session.withInterrupts {
                throw HistoryError(path: "", reason: "")
            }
        }
    }

    @Test func aCancelledTaskStopsReading() async throws {
        let person = try Person()
        let session = person.session
        let task = Task { await session.readEntry(prompt: "> ") }
        try await person.sees([">"])
        task.cancel()
        #expect(await task.value == nil)
        async let entry = session.readEntry(prompt: "? ")
        person.type("a\r")
        #expect(await entry == plain("a"))
    }

    @Test func pipesGiveLines() async throws {
        let pipe = Pipe()
        var options = TerminalSession.Options()
        options.input = pipe.fileHandleForReading.fileDescriptor
        let session = TerminalSession(options)
        defer { session.close() }
        #expect(!session.isInteractive)
        try pipe.fileHandleForWriting.write(contentsOf: Data("one\n\"\"\"\ntwo\nth".utf8))
        #expect(await session.readEntry(prompt: "> ") == plain("one"))
        try pipe.fileHandleForWriting.write(contentsOf: Data("ree\"\"\"\nlast".utf8))
        try pipe.fileHandleForWriting.close()
        #expect(await session.readEntry(prompt: "> ") == literal("two\nthree"))
        #expect(await session.readEntry(prompt: "> ") == plain("last"))
        #expect(await session.readEntry(prompt: "> ") == nil)
        session.close()
        #expect(await session.readEntry(prompt: "> ") == nil)
    }
}
