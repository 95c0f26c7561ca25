import ArgumentParser
import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
import AutoGLMModels
import Foundation

struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk to a model in the terminal.",
        discussion: "Type /help in the conversation for what else it can do.")

    @OptionGroup(title: "Model") var model: ModelFlags
    @OptionGroup(title: "Capacity") var capacity: CapacityFlags
    @OptionGroup(title: "Sampling") var sampling: SamplingFlags
    @OptionGroup(title: "Form") var form: FormFlags

    @Option(help: "System message that opens the conversation.")
    var system: String?

    func run() async throws {
        var session = ChatSession(system: system, sampling: try sampling.overrides())
        session.form = try form.form()
        // Loaded before the terminal changes its mode, so that Ctrl-C ends a load as usual.
        let loaded = try load(model)
        var options = TerminalSession.Options(environment: ProcessInfo.processInfo.environment)
        options.commands = ChatSession.commandNames
        let terminal = TerminalSession(options)
        defer { terminal.close() }
        var loop = ChatLoop(session: session, model: loaded, terminal: terminal, load: load)
        await loop.run()
    }

    /// A model that can talk.
    private func load(path: String) throws -> ChatModel {
        var flags = model
        flags.model = path
        return try load(flags)
    }

    private func load(_ flags: ModelFlags) throws -> ChatModel {
        let loaded = try loadModel(flags, capacity, sampling: SamplingOverrides())
        guard loaded.text.hasTemplate else {
            loaded.close()
            throw ChatError.missingTemplate(model: loaded.name)
        }
        return loaded
    }
}

/// Asks, answers, and asks again.
private struct ChatLoop {
    /// Calls that follow one message; a model that never stops calling is stopped here.
    static let roundsMax = 16

    var session: ChatSession
    var model: ChatModel
    let terminal: TerminalSession
    let load: (_ path: String) throws -> ChatModel
    /// What the next line begins with.
    private var draft = ""

    init(
        session: ChatSession, model: ChatModel, terminal: TerminalSession,
        load: @escaping (_ path: String) throws -> ChatModel
    ) {
        (self.session, self.model) = (session, model)
        (self.terminal, self.load) = (terminal, load)
    }

    mutating func run() async {
        defer { model.close() }
        session.modelName = model.name
        if terminal.isInteractive {
            print("\(model.name), up to \(model.facts.contextMax) tokens; /help for help, "
                + "Ctrl-C stops an answer, Ctrl-D leaves")
        }
        while let entry = await terminal.readEntry(prompt: "> ", text: draft) {
            draft = ""
            if entry.text.allSatisfy(\.isWhitespace) { continue }
            guard !entry.isLiteral, entry.text.hasPrefix("/") else {
                session.add(ChatMessage(.user, entry.text))
                await answer()
                continue
            }
            switch session.command(entry.text.trimmingCharacters(in: .whitespaces)) {
            case .quit: return
            case .say(let text): print(text)
            case .answer: await answer()
            case .load(let path): changeModel(path)
            case .edit(let text): draft = text
            }
        }
    }

    /// The new one is opened while the old one is there: a wrong path costs nothing.
    private mutating func changeModel(_ path: String) {
        do {
            let next = try load(path)
            model.close()
            model = next
            session.modelName = model.name
            print("now \(model.name)")
        } catch {
            printError("error: \(error)")
        }
    }

    // MARK: Answers

    /// Answers the conversation as it stands, calls and what follows their results included.
    private mutating func answer() async {
        do {
            for _ in 0..<Self.roundsMax {
                guard let turn = try await turn() else { return }
                session.add(turn)
                if turn.toolCalls.isEmpty { return }
                for call in turn.toolCalls {
                    guard let result = try await result(of: call) else {
                        print("the call was not answered")
                        return takeBack()
                    }
                    session.add(.result(of: call, result))
                }
            }
            print("stopped after \(Self.roundsMax) rounds of calls; /tools none ends them")
        } catch is CancellationError {
            print("[stopped]")
            takeBack()
        } catch {
            printError("error: \(error)")
            takeBack()
        }
    }

    /// A message without an answer is no part of the conversation; its text comes back to be
    /// changed or sent again.
    private mutating func takeBack() { draft = session.removeLastTurn() ?? "" }

    /// One answer of the model.
    /// - Returns: what is to be kept; nil when it was stopped before it said anything.
    private mutating func turn() async throws -> ChatMessage? {
        let model = model
        let conversation = Conversation(messages: session.messages, tools: session.tools)
        var options = AnswerOptions()
        options.sampling = session.sampling
        options.form = session.form
        options.timeline.received = .now
        let (message, finish) = try await terminal.withInterrupts { [options] in
            var message = ChatMessage(.assistant, "")
            var printer = AnswerPrinter()
            do {
                let stream = try await model.answer(conversation, options)
                while let events = try await stream.next() {
                    for event in events { message.take(event.part) }
                    printer.print(events)
                }
            } catch {
                _ = printer.end()
                guard Task.isCancelled else { throw error }
            }
            let finish = printer.end()
            if finish == nil { printer.note("[stopped]") }
            if finish?.reason == .length { printer.note("[cut: \(Self.cause(of: finish))]") }
            return (message, finish)
        }
        session.lastUsage = finish?.usage
        guard finish == nil else { return message }
        // Half an answer can be talked about; half a call cannot be answered.
        var kept = message
        kept.toolCalls = []
        if kept.content.isEmpty {
            takeBack()
            return nil
        }
        return kept
    }

    private static func cause(of finish: AnswerFinish?) -> String {
        finish?.isLoop == true
            ? "the answer went round in circles" : "no tokens left, see /set max_tokens"
    }

    /// - Returns: nil when the user would not say.
    private func result(of call: ToolCall) async throws -> String? {
        guard let command = session.toolCommand else {
            return await terminal.readEntry(prompt: "\(call.name) gives> ")?.text
        }
        return try await terminal.withInterrupts {
            try await ToolCommand(command: command).result(of: call)
        }
    }
}
