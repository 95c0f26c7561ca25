import ArgumentParser
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText
import Foundation

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer one prompt and exit.")

    @Argument(help: "The prompt; - reads it from standard input.")
    var prompt: String

    @OptionGroup(title: "Model") var model: ModelFlags
    @OptionGroup(title: "Capacity") var capacity: CapacityFlags
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags

    @Option(help: "System message that goes before the prompt.")
    var system: String?

    @Flag(help: "Continue the prompt as plain text, without the chat template.")
    var raw = false

    @Flag(help: "Print tokens and times to standard error at the end.")
    var stats = false

    func run() async throws {
        var text = prompt
        if prompt == "-" {
            let data = FileHandle.standardInput.readDataToEndOfFile()
            guard let read = String(data: data, encoding: .utf8) else {
                throw CommandError("standard input is not UTF-8 text")
            }
            text = read
        }
        let loaded = try loadModel(model, capacity)
        defer { loaded.engine.shutdown() }
        let ids: [Int32]
        if raw || !loaded.hasChatTemplate {
            ids = try loaded.encode(text, addSpecial: true)
        } else {
            var messages: [JSONValue] = []
            if let system { messages.append(chatMessage("system", system)) }
            messages.append(chatMessage("user", text))
            ids = try loaded.prompt(messages: messages)
        }
        let request = GenerationRequest(
            prompt: ids, sampling: sampling.parameters(for: loaded))
        let finish = try await printAnswer(
            loaded, request, stripsFirstNewline: !raw && loaded.hasChatTemplate)
        if stats, let finish { printError(describe(finish.usage)) }
    }
}

func chatMessage(_ role: String, _ content: String) -> JSONValue {
    ["role": .string(role), "content": .string(content)]
}

/// Streams an answer to standard output.
/// - Parameter stripsFirstNewline: GLM-4 opens an answer with the line break that separates the
///   role from the text; it is not part of the text.
/// - Returns: how it ended, and nil when it was interrupted.
@discardableResult
func printAnswer(
    _ model: LoadedModel, _ request: GenerationRequest, stripsFirstNewline: Bool,
    collect: ((String) -> Void)? = nil
) async throws -> Finish? {
    var isFirst = stripsFirstNewline
    var finish: Finish?
    var last = "\n"
    for try await event in try model.completion(request) {
        var text = event.text
        if isFirst, !text.isEmpty {
            if text.hasPrefix("\n") { text.removeFirst() }
            isFirst = false
        }
        if !text.isEmpty {
            printNow(text)
            collect?(text)
            last = text
        }
        finish = event.finish ?? finish
    }
    if !last.hasSuffix("\n") { printNow("\n") }
    return finish
}

/// "12 prompt tokens (8 cached) in 0.01 s, 40 tokens in 0.20 s (200.0 tokens/s)"
func describe(_ usage: Usage) -> String {
    let prefill = usage.prefillTime / .seconds(1)
    let decode = usage.decodeTime / .seconds(1)
    var line = "\(usage.promptTokens) prompt tokens (\(usage.cachedTokens) cached) in "
        + "\(decimal(prefill, 3)) s, \(usage.completionTokens) tokens in "
        + "\(decimal(decode, 3)) s"
    // The first token belongs to the prefill; what follows it took the decode time.
    if usage.completionTokens > 1, decode > 0 {
        line += " (\(decimal(Double(usage.completionTokens - 1) / decode, 1)) tokens/s)"
    }
    return line
}
