import Glibc
import Synchronization

/// Prints what a model says as it comes: wrapped at words for a terminal, untouched for a file.
/// Safe from any thread; a call waits while the terminal takes no more.
final class WrappingPrinter: Sendable {
    private let output: Int32
    private let isTerminal: Bool
    private let layout: Mutex<AnswerLayout>
    /// Whether all of the text so far could be written.
    let isWhole = Atomic(true)

    /// - Parameter environment: `NO_COLOR` and `TERM` are read from it.
    init(output: Int32 = STDOUT_FILENO, environment: [String: String]) {
        self.output = output
        isTerminal = isatty(output) == 1
        layout = Mutex(AnswerLayout(
            columns: nil, hasColor: Self.hasColor(output: output, environment: environment)))
    }

    /// Colour is for terminals that know it and people who did not refuse it (no-color.org).
    static func hasColor(output: Int32, environment: [String: String]) -> Bool {
        isatty(output) == 1 && environment["NO_COLOR", default: ""].isEmpty
            && environment["TERM"] != "dumb"
    }

    /// Text of one style goes on where the last call left off; another style begins a new line.
    func print(_ text: String, as style: AnswerLayout.Style = .answer) {
        emit { $0.write(text, as: style) }
    }

    /// A call of a function in a line of its own.
    func printCall(_ name: String, arguments: String) {
        emit { $0.finish() + $0.write("\(name)(\(arguments))", as: .call) + $0.finish() }
    }

    /// A remark in a line of its own.
    func printNote(_ text: String) {
        emit { $0.finish() + $0.write(text, as: .note) + $0.finish() }
    }

    /// Ends the text: the cursor is at the start of a line afterwards.
    func finish() {
        emit { $0.finish() }
    }

    /// Written under the lock, so that pieces stay in order.
    private func emit(_ change: (inout AnswerLayout) -> String) {
        layout.withLock { layout in
            // Asked every time: the window may have changed since the last word.
            if isTerminal { layout.columns = WindowSize(of: output)?.columns ?? 80 }
            let text = change(&layout)
            if !text.isEmpty, !writeAll(text, to: output) {
                isWhole.store(false, ordering: .relaxed)
            }
        }
    }
}
