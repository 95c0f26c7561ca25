import ArgumentParser
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMText
import Foundation

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk to a model in the terminal.",
        discussion: "Type /help in the conversation for what else it can do.")

    @OptionGroup(title: "Model") var model: ModelFlags
    @OptionGroup(title: "Capacity") var capacity: CapacityFlags
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags

    @Option(help: "System message that opens the conversation.")
    var system: String?

    func run() async throws {
        let loaded = try loadModel(model, capacity)
        defer { loaded.engine.shutdown() }
        guard loaded.hasChatTemplate else {
            throw CommandError("\(LoadError.missingChatTemplate(model: loaded.name))")
        }
        var conversation = Conversation(system: system)
        conversation.sampling = sampling.parameters(for: loaded)
        if Terminal.isInputInteractive {
            print("\(Terminal.bold(loaded.name)): /help for commands, Ctrl-D to leave.")
        }
        while let line = readPrompt() {
            let input = line.trimmingCharacters(in: .whitespaces)
            if input.isEmpty { continue }
            if input.hasPrefix("/") {
                switch conversation.command(input) {
                case .quit: return
                case .say(let text): print(text)
                case .answerAgain: await answer(&conversation, loaded)
                }
            } else {
                conversation.add("user", line)
                await answer(&conversation, loaded)
            }
        }
        if Terminal.isInputInteractive { print() }
    }

    private func readPrompt() -> String? {
        if Terminal.isInputInteractive { printNow(Terminal.bold("> ")) }
        return readLine()
    }

    /// One turn. What goes wrong is printed and taken back, and the conversation goes on.
    private func answer(_ conversation: inout Conversation, _ loaded: LoadedModel) async {
        do {
            let ids = try loaded.prompt(messages: conversation.messages)
            let request = GenerationRequest(prompt: ids, sampling: conversation.sampling)
            var text = ""
            let finish = try await printAnswer(
                loaded, request, stripsFirstNewline: true, collect: { text += $0 })
            conversation.add("assistant", text)
            conversation.lastUsage = finish?.usage
            if finish?.reason == .length {
                print(Terminal.dim("[stopped at the token limit]"))
            }
        } catch {
            printError("error: \(error)")
            conversation.removeLastTurn()
        }
    }
}

/// The messages so far and the commands that change them.
struct Conversation {
    enum Outcome: Equatable {
        case quit
        case say(String)
        case answerAgain
    }

    private(set) var messages: [JSONValue] = []
    var sampling = SamplingParameters()
    var lastUsage: Usage?

    init(system: String?) {
        if let system { add("system", system) }
    }

    mutating func add(_ role: String, _ content: String) {
        messages.append(chatMessage(role, content))
    }

    /// Takes back everything from the last user message on.
    mutating func removeLastTurn() {
        guard let index = messages.lastIndex(where: { Self.role($0) == "user" }) else { return }
        messages.removeSubrange(index...)
    }

    static func role(_ message: JSONValue) -> String? {
        message["role"]?.stringValue
    }

    static let help = """
        /help              this text
        /clear             forget the conversation, keep the system message
        /system TEXT       start over with this system message
        /retry             answer the last message again
        /undo              take back the last message and its answer
        /history           show the conversation
        /save FILE         write the conversation as JSON
        /load FILE         go on with a saved conversation
        /set NAME VALUE    temperature, top-p, top-k, min-p, max-tokens, seed,
                           repetition-penalty
        /stats             tokens and times of the last answer
        /quit              leave (also Ctrl-D)
        """

    mutating func command(_ input: String) -> Outcome {
        let words = input.split(separator: " ", maxSplits: 1)
        let argument = words.count > 1 ? words[1].trimmingCharacters(in: .whitespaces) : ""
        switch words[0] {
        case "/help", "/?": return .say(Self.help)
        case "/quit", "/exit", "/bye": return .quit
        case "/clear":
            messages.removeAll { Self.role($0) != "system" }
            return .say("cleared")
        case "/system":
            messages.removeAll()
            if !argument.isEmpty { add("system", argument) }
            return .say(argument.isEmpty ? "no system message" : "system message set")
        case "/retry":
            guard let user = messages.lastIndex(where: { Self.role($0) == "user" }) else {
                return .say("there is nothing to answer yet")
            }
            messages.removeSubrange((user + 1)...)
            return .answerAgain
        case "/undo":
            removeLastTurn()
            return .say("\(messages.count) messages left")
        case "/history": return .say(history())
        case "/stats":
            return .say(lastUsage.map(describe) ?? "no answer yet")
        case "/save": return .say(save(argument))
        case "/load": return .say(load(argument))
        case "/set": return .say(set(argument))
        default:
            return .say("unknown command \(words[0]); /help lists them")
        }
    }

    private func history() -> String {
        if messages.isEmpty { return "the conversation is empty" }
        return messages.map { message in
            "\(Self.role(message) ?? "?"): \(message["content"]?.stringValue ?? "")"
        }.joined(separator: "\n")
    }

    private func save(_ path: String) -> String {
        guard !path.isEmpty else { return "usage: /save FILE" }
        do {
            let text = JSONValue.array(messages)
                .serialized(JSONWriteOptions(ensureASCII: false, indent: 2))
            try Data((text + "\n").utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
            return "saved \(messages.count) messages"
        } catch {
            return "cannot write \(path): \(error.localizedDescription)"
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
        let words = argument.split(separator: " ")
        guard words.count == 2 else { return "usage: /set NAME VALUE" }
        let (name, value) = (words[0], String(words[1]))
        var changed = sampling
        let isUnderstood: Bool
        switch name {
        case "temperature": isUnderstood = assign(Float(value)) { changed.temperature = $0 }
        case "top-p": isUnderstood = assign(Float(value)) { changed.topP = $0 }
        case "top-k": isUnderstood = assign(Int(value)) { changed.topK = $0 }
        case "min-p": isUnderstood = assign(Float(value)) { changed.minP = $0 }
        case "max-tokens": isUnderstood = assign(Int(value)) { changed.maxTokens = $0 }
        case "seed": isUnderstood = assign(UInt64(value)) { changed.seed = $0 }
        case "repetition-penalty":
            isUnderstood = assign(Float(value)) { changed.repetitionPenalty = $0 }
        default: return "unknown setting \(name); /help lists them"
        }
        guard isUnderstood else { return "\(name) cannot be \(value)" }
        do {
            try changed.validate(vocabulary: Int(Int32.max))
        } catch {
            return "\(error)"
        }
        sampling = changed
        return "\(name) is \(value)"
    }

    private func assign<Value>(_ value: Value?, _ change: (Value) -> Void) -> Bool {
        guard let value else { return false }
        change(value)
        return true
    }
}
