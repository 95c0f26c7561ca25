import ArgumentParser
import AutoGLMEngine
import Foundation
import Logging

/// The engine's half of `serve --isolate`, started by the other half from the same program file.
struct EngineProcess: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "engine-process",
        abstract: "The engine of serve --isolate; that starts it itself.", shouldDisplay: false)

    @Argument(help: "The process that has started this one.")
    var parent: Int32

    func run() throws {
        let code = EngineHost.run(parent: parent) { printError("autoglm: \($0)") }
        // Not exit(): threads may be in the middle of a step.
        _exit(code)
    }

    /// How `serve` starts it.
    static func isolation(_ logger: Logger) -> EngineIsolation {
        // What serve has read from its environment reaches the engine through the channel; the keys
        // and the service manager's socket are none of its business.
        var environment = ProcessInfo.processInfo.environment.filter { name, _ in
            !name.hasPrefix("AUTOGLM_")
                && !["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"].contains(name)
        }
        // A process that crashes should be over at once, so that the next one can start.
        environment["SWIFT_BACKTRACE"] = "enable=no"
        return EngineIsolation(
            executable: "/proc/self/exe", arguments: [configuration.commandName ?? ""],
            environment: environment
        ) { line in
            logger.error("\(line)", metadata: ["process": "engine"])
        }
    }
}
