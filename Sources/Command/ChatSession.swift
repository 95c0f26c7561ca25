import AutoGLMAPI
import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMModels
import Foundation

/// A conversation in the terminal and the commands that change it: a value without terminal and
/// model, so that tests can talk to it.
struct ChatSession {
    /// What the loop is to do next.
    enum Outcome: Equatable {
        case quit
        case say(String)
        /// Answer the conversation as it stands.
        case answer
        /// Load another model.
        case load(String)
        /// Put this text into the line to be edited; the turn it came from is taken back.
        case edit(String)
    }

    private(set) var messages: [JSONValue] = []
    private(set) var tools: [JSONValue] = []
    /// Answers the tools: gets the call as JSON on standard input, prints the result.
    private(set) var toolCommand: String?
    var sampling: SamplingOverrides
    /// What every answer must look like.
    var form: OutputForm?
    var lastUsage: Usage?
    /// Of the model in use; `/model` shows it.
    var modelName = ""

    init(system: String?, sampling: SamplingOverrides = SamplingOverrides()) {
        self.sampling = sampling
        if let system { add(ChatMessage(.system, system)) }
    }

    mutating func add(_ message: ChatMessage) { messages.append(message.json) }

    /// Takes back everything from the last user message on.
    /// - Returns: that message's text.
    @discardableResult
    mutating func removeLastTurn() -> String? {
        guard let index = messages.lastIndex(where: { Self.role($0) == "user" }) else { return nil }
        defer { messages.removeSubrange(index...) }
        return messages[index]["content"]?.stringValue
    }

    static func role(_ message: JSONValue) -> String? { message["role"]?.stringValue }

    // MARK: Commands

    private struct Command: Sendable {
        let names: [String]
        let arguments: String
        let help: String
        let run: @Sendable (inout ChatSession, String) -> Outcome

        init(
            _ name: String, _ arguments: String, _ help: String, aliases: [String] = [],
            run: @escaping @Sendable (inout ChatSession, String) -> Outcome
        ) {
            names = [name] + aliases
            self.arguments = arguments
            self.help = help
            self.run = run
        }
    }

    /// Every command: help, completion and dispatch read this one table.
    private static let commands: [Command] = [
        Command("/help", "", "this text", aliases: ["/?"]) { _, _ in .say(help) },
        Command("/clear", "", "forget the conversation, keep the system message") { session, _ in
            session.messages.removeAll { role($0) != "system" }
            return .say("cleared")
        },
        Command("/system", "TEXT", "start over with this system message") { session, text in
            session.messages.removeAll()
            if !text.isEmpty { session.add(ChatMessage(.system, text)) }
            return .say(text.isEmpty ? "no system message" : "system message set")
        },
        Command("/model", "PATH", "go on with another model; alone: this one") { session, path in
            path.isEmpty ? .say(session.modelName) : .load(path)
        },
        Command("/set", "NAME VALUE", "a sampling parameter; alone: all of them") {
            .say($0.set($1))
        },
        Command(
            "/tools", "FILE [COMMAND]",
            "tools the model may call, and a command that answers calls; none: no tools"
        ) { .say($0.setTools($1)) },
        Command("/retry", "", "answer the last message again") { session, _ in
            guard let user = session.messages.lastIndex(where: { role($0) == "user" }) else {
                return .say("there is nothing to answer yet")
            }
            session.messages.removeSubrange((user + 1)...)
            return .answer
        },
        Command("/edit", "", "change the last message and send it again") { session, _ in
            session.removeLastTurn().map { .edit($0) } ?? .say("there is nothing to edit yet")
        },
        Command("/undo", "", "take back the last message and its answer") { session, _ in
            session.removeLastTurn()
            return .say("\(session.messages.count) messages left")
        },
        Command("/history", "", "show the conversation") { session, _ in .say(session.history) },
        Command("/save", "FILE", "write the conversation as JSON") { .say($0.save($1)) },
        Command("/load", "FILE", "go on with a saved conversation") { .say($0.load($1)) },
        Command("/stats", "", "tokens and times of the last answer") { session, _ in
            .say(session.lastUsage.map(describe) ?? "no answer yet")
        },
        Command("/quit", "", "leave (also Ctrl-D)", aliases: ["/exit", "/bye"]) { _, _ in .quit },
    ]

    static var commandNames: [String] { commands.flatMap(\.names) }

    static var help: String {
        let rows = commands.map { (($0.names[0] + " " + $0.arguments), $0.help) }
        let width = (rows.map(\.0.count).max() ?? 0) + 2
        return rows.map { name, text in
            name + String(repeating: " ", count: width - name.count) + text
        }.joined(separator: "\n") + "\n\"\"\" begins and ends a message of several lines."
    }

    mutating func command(_ input: String) -> Outcome {
        let words = input.split(separator: " ", maxSplits: 1)
        let argument = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : ""
        let name = String(words.first ?? "")
        if let command = Self.commands.first(where: { $0.names.contains(name) }) {
            return command.run(&self, argument)
        }
        let nearest = nearestName(to: name, in: Self.commandNames)
        return .say(
            "unknown command \(name)"
                + (nearest.map { "; did you mean \($0)?" } ?? "; /help lists them"))
    }

    // MARK: What the commands do

    private var history: String {
        if messages.isEmpty { return "the conversation is empty" }
        return messages.map { message in
            let calls = (message["tool_calls"]?.arrayValue ?? []).map { call in
                let function = call["function"]
                return "\n  [call] \(function?["name"]?.stringValue ?? "?") "
                    + (function?["arguments"]?.stringValue ?? "")
            }
            return "\(Self.role(message) ?? "?"): \(message["content"]?.stringValue ?? "")"
                + calls.joined()
        }.joined(separator: "\n")
    }

    private func save(_ path: String) -> String {
        guard !path.isEmpty else { return "usage: /save FILE" }
        let text = JSONValue.array(messages)
            .serialized(JSONWriteOptions(ensureASCII: false, indent: 2))
        do {
            try unsafe Array((text + "\n").utf8).withUnsafeBytes {
                try unsafe replaceFile(path, with: $0)
            }
            return "saved \(messages.count) messages"
        } catch {
            return "cannot write \(path); check the directory and its permissions"
        }
    }

    private mutating func load(_ path: String) -> String {
        guard !path.isEmpty else { return "usage: /load FILE" }
        guard let data = FileManager.default.contents(atPath: path) else {
            return "cannot read \(path)"
        }
        do {
            guard case .array(let values) = try JSONValue.parse(Array(data)),
                values.allSatisfy({ Self.role($0) != nil })
            else { return "\(path) is not a list of messages" }
            messages = values
            return "loaded \(messages.count) messages"
        } catch {
            return "\(path): \(error)"
        }
    }

    private mutating func set(_ argument: String) -> String {
        let words = argument.split(separator: " ").map(String.init)
        if words.isEmpty {
            return SamplingParameters.fields.map { field in
                let value =
                    switch sampling[field.name] {
                    case .number(let number)?: "\(number)"
                    case .integer(let number)?: "\(number)"
                    case nil: "the model's own"
                    }
                return "\(field.name) is \(value)"
            }.joined(separator: "\n")
        }
        guard words.count == 2 else { return "usage: /set NAME VALUE" }
        let name = words[0].replacing("-", with: "_")
        guard SamplingParameters.field(name) != nil else {
            let names = SamplingParameters.fields.map(\.name)
            let nearest = nearestName(to: name, in: names)
            return "unknown setting \(words[0])"
                + (nearest.map { "; did you mean \($0)?" }
                    ?? "; there are " + names.joined(separator: ", "))
        }
        do {
            try sampling.set(name, text: words[1])
            return "\(name) is \(words[1])"
        } catch {
            return "\(error)"
        }
    }

    private mutating func setTools(_ argument: String) -> String {
        let words = argument.split(separator: " ", maxSplits: 1).map(String.init)
        guard let file = words.first else {
            return tools.isEmpty ? "no tools" : describeTools()
        }
        if file == "none" {
            tools = []
            toolCommand = nil
            return "no tools"
        }
        do {
            tools = try ToolFile.read(file)
            toolCommand = words.count > 1 ? words[1] : nil
            return describeTools()
        } catch {
            return "\(error)"
        }
    }

    private func describeTools() -> String {
        let names = tools.compactMap { $0["function"]?["name"]?.stringValue }
        return names.joined(separator: ", ")
            + (toolCommand.map { "; \($0) answers calls" } ?? "; you answer calls")
    }
}
