import ArgumentParser
import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMJSON
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
        let loaded = try loadModel(model, capacity, sampling: SamplingOverrides())
        defer { loaded.close() }
        guard loaded.text.hasTemplate else {
            throw ChatError.missingTemplate(model: loaded.name)
        }
        var session = ChatSession(system: system, sampling: try sampling.overrides())
        session.modelName = loaded.name
        while let line = readLine() {
            let input = line.trimmingCharacters(in: .whitespaces)
            if input.isEmpty { continue }
            if input.hasPrefix("/") {
                switch session.command(input) {
                case .quit: return
                case .say(let text): print(text)
                case .answer: await answer(&session, loaded)
                case .load, .edit: print("only in a terminal")
                }
            } else {
                session.add(ChatMessage(.user, line))
                await answer(&session, loaded)
            }
        }
    }

    private func answer(_ session: inout ChatSession, _ loaded: ChatModel) async {
        do {
            var options = AnswerOptions()
            options.sampling = session.sampling
            let stream = try await loaded.answer(
                Conversation(messages: session.messages, tools: session.tools), options)
            var message = ChatMessage(.assistant, "")
            var printer = AnswerPrinter()
            while let events = try await stream.next() {
                for event in events { message.take(event.part) }
                printer.print(events)
            }
            session.lastUsage = printer.end()?.usage
            session.add(message)
        } catch {
            printError("error: \(error)")
            session.removeLastTurn()
        }
    }
}
