import ArgumentParser
import AutoGLMAPI
import AutoGLMObservability
import Foundation

@main
struct AutoGLMCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "autoglm",
        abstract: "Serve and run GLM language models on your own machine.",
        discussion: """
            Without --model, every command uses Mini-GLM, a small customer-service model inside \
            the program.

            Settings come from flags, then AUTOGLM_… environment variables (--queue-limit is \
            AUTOGLM_QUEUE_LIMIT), then a YAML file with the long flags as keys (--config FILE or \
            AUTOGLM_CONFIG), then defaults. Nothing touches the network but the port that serve \
            opens.
            """,
        version: buildVersion,
        subcommands: [
            Serve.self, Run.self, Chat.self, Score.self, Tokenize.self, Render.self, Show.self,
            ExplainGrammar.self, Quantize.self, Bench.self, Doctor.self, EngineProcess.self,
        ])

    static func main() async {
        StandardStreams.occupyClosed()
        do {
            try checkCommand()
            let arguments = try mergedArguments()
            var command = try parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            try StandardStreams.finishOutput()
        } catch {
            fail(error)
        }
        LineSink.standardError.flush(within: .seconds(1))
    }

    /// The first word must name a command; the parser itself has no better word for one that does
    /// not than "unexpected argument".
    private static func checkCommand() throws {
        guard let word = CommandLine.arguments.dropFirst().first, !word.hasPrefix("-") else {
            return
        }
        let names = configuration.subcommands.map { $0._commandName } + ["help"]
        guard !names.contains(word) else { return }
        throw CommandError(
            "there is no command \(word)"
                + (nearestName(to: word, in: names).map { "; did you mean \($0)?" }
                    ?? "; there are " + names.joined(separator: ", ")))
    }

    /// The command line, with what environment and configuration file say.
    private static func mergedArguments() throws -> [String] {
        var arguments = Array(CommandLine.arguments.dropFirst())
        let environment = ProcessInfo.processInfo.environment
        let hasFile = arguments.contains { $0 == "--config" || $0.hasPrefix("--config=") }
        // Describing all commands takes milliseconds that a plain start need not spend.
        guard hasFile || environment.keys.contains(where: { $0.hasPrefix("AUTOGLM_") })
        else { return arguments }
        arguments = try Configuration(toolDescription: _dumpHelp()).merged(
            arguments: arguments, environment: environment,
            readFile: { try String(contentsOfFile: $0, encoding: .utf8) })
        return arguments
    }

    /// One clear line on standard error. What the argument parser says (help, version, a wrong
    /// flag) keeps its own form and exit code; 1 is for everything that went wrong later.
    private static func fail(_ error: any Error) -> Never {
        if error is CommandError || exitCode(for: error) == .failure, !(error is ExitCode) {
            printError("autoglm: \(oneLine(String(describing: error)))")
            exit(withError: ExitCode.failure)
        }
        LineSink.standardError.flush(within: .seconds(1))
        exit(withError: error)
    }

    private static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}

/// The version of this build.
let buildVersion = "0.1.0"
