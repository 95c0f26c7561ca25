import Foundation
import Glibc

/// The user's side of a conversation in the terminal: entries in, Ctrl-C for answers.
///
/// With a terminal on both sides it edits lines in raw mode; otherwise it reads plain lines.
/// Reading happens on a thread of its own, so that waiting for a person blocks no task.
/// At most one entry is read and one body runs at a time.
final class TerminalSession: Sendable {
    struct Options: Sendable {
        var input: Int32 = STDIN_FILENO
        var output: Int32 = STDOUT_FILENO
        var history: HistoryFile?
        /// What Tab completes at the start of a line, such as "/help".
        var commands: [String] = []
        var hasColor = false
        /// The terminal's kind, `$TERM`: one that is "dumb" gets no line editing.
        var kind = ""
        /// Ends the program after a second Ctrl-C; the terminal is restored by then.
        var leave: @Sendable (Int32) -> Void = { status in _exit(status) }

        init() {}

        /// For this program's own terminal.
        init(environment: [String: String]) {
            history = HistoryFile(environment: environment)
            hasColor = WrappingPrinter.hasColor(output: output, environment: environment)
            kind = environment["TERM", default: ""]
        }
    }

    /// Whether lines are edited here; false for pipes, files and dumb terminals.
    let isInteractive: Bool
    private let mailbox = TerminalMailbox()
    private let hasEnded = DispatchSemaphore(value: 0)

    /// Sets the terminal's mode; `close` puts it back, and so does any end of the program.
    init(_ options: Options) {
        let isTerminal = isatty(options.input) == 1 && isatty(options.output) == 1
        isInteractive = isTerminal && options.kind != "dumb"
            && TerminalModes.enter(input: options.input, output: options.output)
        if isInteractive { TerminalModes.forwardSignals(to: mailbox.wakeOutput) }
        let thread = Thread { [mailbox, hasEnded, isInteractive] in
            TerminalLoop(options, mailbox, isInteractive: isInteractive).run()
            hasEnded.signal()
        }
        thread.name = "terminal"
        thread.start()
    }

    deinit { close() }

    /// Puts the terminal back and ends a read that waits. Nothing is read afterwards.
    func close() {
        guard mailbox.post(.close) else { return }
        // Until its thread is gone it might take what is typed for the next reader. A terminal
        // that takes no output can hold it up; it is not waited for then.
        _ = hasEnded.wait(timeout: .now() + 1)
        if isInteractive { TerminalModes.leave() }
    }

    /// Waits for the user.
    /// - Parameters:
    ///   - prompt: stands before the text, without line breaks or escape sequences.
    ///   - text: what the line begins with, to be edited; of no effect without a terminal.
    /// - Returns: nil at the end of input (Ctrl-D, a closed pipe, `close`, a cancelled task).
    func readEntry(prompt: String, text: String = "") async -> PromptEntry? {
        let id = mailbox.nextRead()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                if !mailbox.post(.read(id, prompt: prompt, text: text, continuation)) {
                    continuation.resume(returning: nil)
                }
                // The handler may have run before there was anything to cancel.
                if Task.isCancelled { mailbox.post(.cancelRead(id)) }
            }
        } onCancel: {
            mailbox.post(.cancelRead(id))
        }
    }

    /// Runs `body` so that Ctrl-C cancels its task, and with it the answer, not the program.
    ///
    /// What a cancelled body returns or throws is passed on; `Task.isCancelled` tells it inside. A
    /// second Ctrl-C within a second, when the body still runs, leaves with status 130. Keys typed
    /// meanwhile wait for the next `readEntry`.
    func withInterrupts<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let task = Task { try await body() }
        mailbox.post(.bodyBegan(cancel: { task.cancel() }))
        defer { mailbox.post(.bodyEnded) }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }
}
