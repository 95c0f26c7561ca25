import AutoGLMChat
import AutoGLMEngine
import Foundation
import Synchronization

/// Prints an answer as it comes: wrapped at words on a terminal and as it is in a file, thinking
/// apart from the answer and calls as calls.
struct AnswerPrinter {
    private let printer = WrappingPrinter(environment: ProcessInfo.processInfo.environment)
    /// Calls whose arguments are still coming, by index.
    private var calls: [Int: (name: String, arguments: String)] = [:]
    private var finish: AnswerFinish?

    /// Whether all of it could be written.
    var isWhole: Bool { printer.isWhole.load(ordering: .relaxed) }

    mutating func print(_ events: [AnswerEvent]) {
        for event in events {
            switch event.part {
            case .content(let text): printer.print(text)
            case .reasoning(let text): printer.print(text, as: .thinking)
            case .callStart(let index, _, let name): calls[index] = (name, "")
            case .callArguments(let index, let text): calls[index]?.arguments += text
            case .callEnd(let index):
                guard let call = calls.removeValue(forKey: index) else { break }
                printer.printCall(call.name, arguments: call.arguments)
            case .finish(let finish): self.finish = finish
            case .prompt, .tokens: break
            }
        }
    }

    func note(_ text: String) { printer.printNote(text) }

    /// Ends the line.
    /// - Returns: how the answer ended; nil when it was interrupted.
    mutating func end() -> AnswerFinish? {
        printer.finish()
        return finish
    }
}

/// "12 prompt tokens (8 cached) in 0.01 s, 40 tokens in 0.20 s (200.0 tokens/s)"
func describe(_ usage: Usage) -> String {
    let prefill = usage.timeline.prefillTime / .seconds(1)
    let decode = usage.timeline.decodeTime / .seconds(1)
    var line = "\(usage.promptTokens) prompt tokens (\(usage.cachedTokens) cached) in "
        + "\(decimal(prefill, 3)) s, \(usage.completionTokens) tokens in "
        + "\(decimal(decode, 3)) s"
    // The first token belongs to the prefill; what follows it took the decode time.
    if usage.completionTokens > 1, decode > 0 {
        line += " (\(decimal(Double(usage.completionTokens - 1) / decode, 1)) tokens/s)"
    }
    return line
}
