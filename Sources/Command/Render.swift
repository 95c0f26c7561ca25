import ArgumentParser
import AutoGLMChat
import AutoGLMJSON
import AutoGLMJinja
import Foundation

struct Render: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a chat template makes of a conversation.",
        discussion: """
            With --jsonl, each line of standard input is an object whose keys are the template's \
            variables (messages, tools, add_generation_prompt, …) and becomes a line \
            {"text": …} or {"error": …}.
            """)

    @Argument(help: "A user message; - reads it from standard input.")
    var text: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("Model directory or file.", valueName: "path"))
    var model: String?

    @Option(help: ArgumentHelp("A template file; needs no model.", valueName: "file"))
    var template: String?

    @Option(help: "System message that goes before the user's.")
    var system: String?

    @Option(
        help: ArgumentHelp(
            "The date a template may ask for: \"YYYY-MM-DD\" or \"YYYY-MM-DD HH:MM:SS\".",
            valueName: "date"))
    var now: String?

    @Flag(help: "Read JSON lines from standard input, write JSON lines.")
    var jsonl = false

    func validate() throws {
        if jsonl == (text != nil) {
            throw ValidationError("give a text, or --jsonl with lines on standard input")
        }
        if model != nil, template != nil {
            throw ValidationError("give --model or --template, not both")
        }
        if let now, Self.date(now) == nil {
            throw ValidationError("--now is \(now); expected YYYY-MM-DD or YYYY-MM-DD HH:MM:SS")
        }
    }

    func run() throws {
        let renderer: PromptRenderer
        if let template {
            guard let data = FileManager.default.contents(atPath: template),
                let source = String(data: data, encoding: .utf8)
            else { throw CommandError("cannot read --template \(template)") }
            renderer = .template(try ChatTemplate(source: source, name: template))
        } else {
            renderer = .model(try ModelText(path: try modelPath(model)))
        }
        let date = now.flatMap(Self.date)
            ?? TemplateDate(secondsSince1970: Int(Date().timeIntervalSince1970))
        if jsonl {
            try mapLines { row throws in
                ["text": .string(try renderer.render(row.dictionary ?? [:], now: date))]
            }
            return
        }
        let content = text == "-" ? try readStandardInput() : text ?? ""
        var messages: [JSONValue] = []
        if let system { messages.append(ChatMessage(.system, system).json) }
        messages.append(ChatMessage(.user, content).json)
        let prompt = try renderer.render(
            ["messages": .array(messages), "add_generation_prompt": true], now: date)
        print(prompt)
    }

    static func date(_ text: String) -> TemplateDate? {
        let numbers = text.split { !$0.isASCII || !$0.isNumber }.compactMap { Int($0) }
        let words = text.split { $0 == "-" || $0 == ":" || $0 == " " || $0 == "T" }
        guard numbers.count == words.count, numbers.count == 3 || numbers.count == 6,
            (1...9999).contains(numbers[0]), (1...12).contains(numbers[1]),
            (1...31).contains(numbers[2])
        else { return nil }
        guard numbers.count == 6 else {
            return TemplateDate(year: numbers[0], month: numbers[1], day: numbers[2])
        }
        guard (0...23).contains(numbers[3]), (0...59).contains(numbers[4]),
            (0...60).contains(numbers[5])
        else { return nil }
        return TemplateDate(
            year: numbers[0], month: numbers[1], day: numbers[2], hour: numbers[3],
            minute: numbers[4], second: numbers[5])
    }
}

/// What turns a conversation's variables into a prompt.
enum PromptRenderer {
    /// A template alone, which sees the variables as they are.
    case template(ChatTemplate)
    /// A model, whose family arranges the conversation first, as the server does.
    case model(ModelText)

    func render(_ given: [String: JSONValue], now: TemplateDate) throws -> String {
        switch self {
        case .template(let template): return try template.render(given, now: now).text
        case .model(let text):
            var conversation = Conversation(
                messages: given["messages"]?.arrayValue ?? [],
                tools: given["tools"]?.arrayValue ?? [])
            conversation.addsGenerationPrompt = given["add_generation_prompt"]?.boolValue ?? false
            conversation.variables = given.filter {
                !["messages", "tools", "add_generation_prompt"].contains($0.key)
            }
            return try text.render(conversation, now: now).text
        }
    }
}
