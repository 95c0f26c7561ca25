import ArgumentParser
import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import Foundation

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Answer one prompt and exit.",
        discussion: "Thinking and calls are printed as well, each marked as such.")

    @Argument(help: "The prompt; - reads it from standard input.")
    var prompt: String

    @OptionGroup(title: "Model") var model: ModelFlags
    @OptionGroup(title: "Capacity") var capacity: CapacityFlags
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags

    @Option(help: "System message that goes before the prompt.")
    var system: String?

    @Option(
        help: ArgumentHelp(
            "Tools the model may call: a JSON list as in OpenAI's API.", valueName: "file"))
    var tools: String?

    @Flag(help: "Continue the prompt as plain text, without the chat template.")
    var raw = false

    @Flag(help: "Print tokens and times to standard error at the end.")
    var stats = false

    func run() async throws {
        let text = prompt == "-" ? try readStandardInput() : prompt
        let tools = try tools.map(ToolFile.read) ?? []
        let loaded = try loadModel(model, capacity, sampling: SamplingOverrides())
        defer { loaded.close() }
        var options = AnswerOptions()
        options.sampling = try sampling.overrides()
        options.timeline.received = .now
        let answer: AnswerStream
        if raw || !loaded.text.hasTemplate {
            let tokens = try loaded.text.encode(text, addSpecial: true)
            answer = try await loaded.complete([tokens], options)
        } else {
            var messages: [JSONValue] = []
            if let system { messages.append(ChatMessage(.system, system).json) }
            messages.append(ChatMessage(.user, text).json)
            answer = try await loaded.answer(
                Conversation(messages: messages, tools: tools), options)
        }
        var printer = AnswerPrinter()
        while let events = try await answer.next() {
            printer.print(events)
            // Nobody gets the rest.
            if !printer.isWhole { break }
        }
        let finish = printer.end()
        guard printer.isWhole else {
            throw CommandError(
                "the answer could not be written to standard output; see that there is room "
                    + "where it goes")
        }
        if stats, let finish { printError(describe(finish.usage)) }
    }
}

/// The text on standard input.
func readStandardInput() throws -> String {
    let data: Data
    do {
        data = try FileHandle.standardInput.readToEnd() ?? Data()
    } catch {
        throw CommandError("standard input cannot be read; give it a file or a pipe")
    }
    guard let text = String(data: data, encoding: .utf8) else {
        throw CommandError("standard input is not UTF-8 text")
    }
    return text
}

/// A file of tools, as OpenAI's API has them in a request.
enum ToolFile {
    static func read(_ path: String) throws -> [JSONValue] {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CommandError("cannot read \(path)")
        }
        let value: JSONValue
        do {
            value = try JSONValue.parse(Array(data))
        } catch {
            throw CommandError("\(path): \(error)")
        }
        guard let tools = value.arrayValue ?? value["tools"]?.arrayValue,
            tools.allSatisfy({ $0["function"]?["name"]?.stringValue != nil })
        else {
            throw CommandError(
                "\(path) is no list of tools; expected "
                    + "[{\"type\": \"function\", \"function\": {\"name\": …}}]")
        }
        return tools
    }
}
