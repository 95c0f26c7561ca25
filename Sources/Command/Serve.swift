public import ArgumentParser
import AutoGLMChat
import AutoGLMCompute
import AutoGLMEngine
import AutoGLMObservability
import AutoGLMServer
import Foundation
public import Logging

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve a model over HTTP (OpenAI's API).")

    @OptionGroup(title: "Model") var model: ModelFlags
    @OptionGroup(title: "Capacity") var capacity: CapacityFlags
    @OptionGroup(title: "Sampling, where a request does not say") var sampling: SamplingFlags
    @OptionGroup(title: "Connections") var connections: ConnectionFlags

    @Option(help: "Address to listen on.")
    var host: String = "127.0.0.1"

    @Option(name: .shortAndLong, help: "Port to listen on; 0 takes a free one.")
    var port: Int = 8000

    @Option(help: "The model's name in the API; repeat it for further names.")
    var servedModelName: [String] = []

    @Option(help: "A key that clients must send; repeat it for several.")
    var apiKey: [String] = []

    @Option(help: ArgumentHelp("File with one key per line.", valueName: "file"))
    var apiKeyFile: String?

    @Flag(help: "Listen to the network without keys.")
    var insecure = false

    @Option(help: "A further name under which clients reach this server; repeat it for several.")
    var allowedHost: [String] = []

    @Option(help: "Requests that may wait.")
    var queueLimit: Int = 256

    @Option(help: "Prompt tokens that may wait. Default: four times the context.")
    var queueTokens: Int?

    @Option(help: "Seconds a request may wait before it is refused.")
    var queueTimeout: Int = 30

    @Option(help: "Seconds that running answers have to finish after SIGTERM.")
    var drainTimeout: Int = 30

    @Option(
        help: ArgumentHelp(
            "Seconds without a sign of life after which the engine is started anew; 0: never."))
    var restartAfter: Int = 8

    @Flag(
        help: ArgumentHelp(
            "Run the engine in a process of its own: should it die, this one goes on, answers 503 "
                + "and starts it anew."))
    var isolate = false

    @Option(help: "Log lines as json or human text. Default: human on a terminal.")
    var logFormat: LineLogHandler.Format?

    @Option(help: "Log level: debug, info, warning or error.")
    var logLevel: Logger.Level = .info

    func validate() throws {
        try check("--port", port, 0...65535)
        try check("--queue-limit", queueLimit, 1...100_000)
        try check("--queue-tokens", queueTokens, 1...(1 << 40))
        try check("--queue-timeout", queueTimeout, 1...86_400)
        try check("--drain-timeout", drainTimeout, 0...86_400)
        try check("--restart-after", restartAfter, 0...86_400)
    }

    func run() async throws {
        let format = logFormat ?? (Terminal.isErrorInteractive ? .human : .json)
        let logger = Logger(label: "autoglm") { LineLogHandler(
                label: $0, format: format, level: logLevel, usesColor: Terminal.hasColor,
                sink: .standardError) }

        var options = ServerOptions()
        options.host = host
        options.port = port
        options.keys = try keys().map { AccessKey($0) }
        options.isInsecure = insecure
        options.allowedHosts = allowedHost
        options.modelAliases = Array(servedModelName.dropFirst())
        options.drainTimeout = .seconds(drainTimeout)
        connections.apply(to: &options)
        options.version = buildVersion
        options.notifier = try serviceNotifier()
        options.logger = logger
        if Terminal.isErrorInteractive { options.loadingLogInterval = nil }
        // Whatever is wrong with the flags shows before the port is bound.
        try options.validate()
        var unused = ModelOptions()
        try capacity.apply(to: &unused)

        let metrics = ServerMetrics(version: buildVersion)
        try await serve(options: options, metrics: metrics) { progress in
            try load(metrics: metrics, logger: logger, progress: progress)
        }
    }

    /// Blocks while it loads.
    private func load(
        metrics: ServerMetrics, logger: Logger,
        progress: @escaping @Sendable (Int, Int) -> Void
    ) throws -> ChatModel {
        let loaded = try loadModel(model, capacity, sampling: sampling.overrides()) { options in
            options.engine.queueRequests = queueLimit
            options.engine.queueTokens = queueTokens
            options.engine.queueTimeout = .seconds(queueTimeout)
            options.engine.restartAfter = restartAfter > 0 ? .seconds(restartAfter) : nil
            options.engine.onIncident = { EngineFailure.handle($0, logger) }
            if isolate { options.engine.isolation = EngineProcess.isolation(logger) }
            if let name = servedModelName.first { options.name = name }
            options.engine.onStep = { metrics.record($0) }
            let showBar = options.engine.onProgress
            options.engine.onProgress = { what, done, total in
                showBar?(what, done, total)
                progress(done, total)
            }
        }
        for warning in loaded.facts.warnings { logger.warning("\(warning)") }
        if let traffic = try memoryTraffic(loaded.facts) { metrics.setMemoryTraffic(traffic) }
        return loaded
    }

    /// What decode steps are compared with. nil for a small model, whose weights come from the
    /// processor's caches and whose start is not to wait for a measurement, and where memory is
    /// short.
    private func memoryTraffic(_ info: ModelFacts) throws -> MemoryTraffic? {
        let probe = 512 << 20
        guard info.weightBytesPerStep >= probe, LoadedEngine.availableMemory() >= 4 * probe else {
            return nil
        }
        return MemoryTraffic(
            weightBytes: info.weightBytesPerStep, bytesPerToken: info.bytesPerToken,
            bandwidth: try MachineProbe.bandwidth(threads: model.threads, bytes: probe))
    }

    /// For systemd's `Type=notify` and `WatchdogSec=`.
    private func serviceNotifier() throws -> ServiceNotifier? {
        let environment = ProcessInfo.processInfo.environment
        guard let socket = environment["NOTIFY_SOCKET"], !socket.isEmpty else { return nil }
        var notifier = try ServiceNotifier(socket: socket)
        let isMeant = environment["WATCHDOG_PID"].map { $0 == "\(getpid())" } ?? true
        if isMeant, let text = environment["WATCHDOG_USEC"], let time = Int(text), time > 0 {
            notifier.watchdog = .microseconds(time)
        }
        // The first remedy is a restart in place, the manager's the second.
        notifier.patience = .seconds(max(restartAfter, connections.stallAfter) + 2)
        return notifier
    }

    private func keys() throws -> [String] {
        guard let apiKeyFile else { return apiKey }
        guard let data = FileManager.default.contents(atPath: apiKeyFile),
            let text = String(data: data, encoding: .utf8)
        else { throw CommandError("cannot read --api-key-file \(apiKeyFile)") }
        let lines = text.split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty && !$0.hasPrefix("#") }
        guard !lines.isEmpty else { throw CommandError("\(apiKeyFile) holds no key") }
        return apiKey + lines
    }
}

extension LineLogHandler.Format: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}
