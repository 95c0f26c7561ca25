import ArgumentParser
import AutoGLMCompute
import AutoGLMObservability
import Foundation
import Synchronization

/// Says something on standard error. Waits some seconds at most for one that takes nothing.
func printError(_ text: String) {
    LineSink.standardError.write(text + "\n")
    LineSink.standardError.flush(within: .seconds(5))
}

/// What is known about the terminal, asked once.
enum Terminal {
    static let isOutputInteractive = isatty(STDOUT_FILENO) == 1
    static let isErrorInteractive = isatty(STDERR_FILENO) == 1
    static let isInputInteractive = isatty(STDIN_FILENO) == 1
    static let hasColor =
        isOutputInteractive && ProcessInfo.processInfo.environment["NO_COLOR"] == nil

    static func dim(_ text: String) -> String { hasColor ? "\u{1B}[2m\(text)\u{1B}[0m" : text }
    static func bold(_ text: String) -> String { hasColor ? "\u{1B}[1m\(text)\u{1B}[0m" : text }
}

/// A progress bar on standard error; silent where that is not a terminal.
final class ProgressBar: Sendable {
    private struct State {
        var lastPercent = -1
        var isShown = false
    }
    private let state = Mutex(State())
    private let isEnabled: Bool

    init(isEnabled: Bool = Terminal.isErrorInteractive) { self.isEnabled = isEnabled }

    func update(_ what: String, _ done: Int, _ total: Int) {
        guard isEnabled, total > 0 else { return }
        let percent = min(100, done * 100 / total)
        state.withLock { state in
            guard percent != state.lastPercent else { return }
            state.lastPercent = percent
            state.isShown = true
            let filled = percent * 30 / 100
            let bar = String(repeating: "█", count: filled)
                + String(repeating: "░", count: 30 - filled)
            let sizes = "\(formatBytes(done)) of \(formatBytes(total))"
            LineSink.standardError.write("\r\(what) \(bar) \(percent) % \(sizes)\u{1B}[K")
        }
    }

    func clear() {
        state.withLock { state in
            guard state.isShown else { return }
            state.isShown = false
            // It must be gone before anything else is printed in its place.
            LineSink.standardError.write("\r\u{1B}[K")
            LineSink.standardError.flush(within: .seconds(1))
        }
    }
}

func decimal(_ value: Double, _ places: Int) -> String {
    String(format: "%.\(places)f", value)
}

/// A number of bytes as people write it: `512MiB`, `4G`, `1.5GB`, `1000000`.
struct ByteSize: ExpressibleByArgument, Equatable {
    let bytes: Int

    init?(argument: String) {
        let text = argument.lowercased()
        let number = text.prefix { $0.isNumber || $0 == "." }
        guard let value = Double(number), value >= 0 else { return nil }
        let factor: Double
        switch text.dropFirst(number.count).trimmingCharacters(in: .whitespaces) {
        case "", "b": factor = 1
        case "k", "ki", "kib": factor = 1024
        case "m", "mi", "mib": factor = 1_048_576
        case "g", "gi", "gib": factor = 1_073_741_824
        case "t", "ti", "tib": factor = 1_099_511_627_776
        case "kb": factor = 1e3
        case "mb": factor = 1e6
        case "gb": factor = 1e9
        case "tb": factor = 1e12
        default: return nil
        }
        guard value * factor < 9e18 else { return nil }
        bytes = Int(value * factor)
    }

    var defaultValueDescription: String { formatBytes(bytes) }
}

/// A table with columns as wide as their longest cell; the first left-aligned, the rest right.
func formatTable(_ rows: [[String]]) -> String {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in
        rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    return rows.map { row in
        row.enumerated().map { column, cell in
            let padding = String(repeating: " ", count: widths[column] - cell.count)
            return column == 0 ? cell + padding : padding + cell
        }.joined(separator: "  ")
    }.joined(separator: "\n")
}
