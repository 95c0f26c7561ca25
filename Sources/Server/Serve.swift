import AutoGLMChat
import AutoGLMEngine
package import AutoGLMObservability
import Glibc
import Hummingbird
import Logging
import ServiceLifecycle
import UnixSignals

/// Serves a model until the process is told to stop.
///
/// The port is bound first, then `load` runs on a thread of its own; meanwhile health checks are
/// answered and work is asked to come back. SIGTERM or SIGINT drains: `/readyz` and new work get
/// 503 at once, streams finish or get an error event after `drainTimeout`, then this returns. A
/// second signal ends the process.
///
/// - Throws: ``ServerOptionsError``, ``ListenError``, or what loading failed with.
package func serve(
    options: ServerOptions, metrics: ServerMetrics, load: @escaping ModelLoader
) async throws {
    DescriptorLimit.raise(options.logger)
    MemoryLimits.settleAllocator()
    let slot = ModelSlot()
    let server = try ModelServer(slot: slot, options: options, metrics: metrics)
    DescriptorLimit.warn(server.census.limits, options)
    if options.isInsecure, !ServerOptions.isLoopback(options.host), options.keys.isEmpty {
        options.logger.warning(
            "open to the network without keys", metadata: ["host": "\(options.host)"])
    }
    defer { slot.loaded?.engine.shutdown() }
    let reports = options.notifier.map { ServiceReports($0, slot, server.state) }
    reports?.start()
    defer { reports?.end() }
    let (listening, ports) = AsyncStream.makeStream(of: Int.self)
    let application = server.application { port in
        options.onListening?(port)
        ports.yield(port)
    }
    // Services are shut down from last to first: the drain ends before connections are closed.
    // A model that fails to load ends them so, too: cancelling would leave accepted connections
    // that nobody has looked at, and NIO takes those for a mistake that ends the process.
    let group = ServiceGroup(
        configuration: .init(
            services: [
                .init(service: ApplicationService(application: application, options: options)),
                .init(
                    service: LoadService(
                        slot: slot, options: options, listening: listening, load: load),
                    successTerminationBehavior: .ignore,
                    failureTerminationBehavior: .gracefullyShutdownGroup),
                .init(
                    service: MemoryMonitor(
                        slot: slot, state: server.state, budget: server.budget,
                        census: server.census, options: options, metrics: metrics),
                    successTerminationBehavior: .ignore),
                .init(service: DrainService(server: server)),
            ],
            gracefulShutdownSignals: options.handlesSignals ? [.sigterm, .sigint] : [],
            logger: options.logger))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        if options.handlesSignals { tasks.addTask { await exitOnSecondSignal(options.logger) } }
        defer { tasks.cancelAll() }
        try await group.run()
    }
}

/// Wraps an application so that its concrete type need not be named.
private struct ApplicationService<App: ApplicationProtocol>: Service {
    let application: App
    let options: ServerOptions

    func run() async throws {
        do {
            try await application.run()
        } catch {
            throw ListenError(error, host: options.host, port: options.port) ?? error
        }
    }
}

/// Waits for the order to stop, then for the work under way.
struct DrainService: Service {
    let server: ModelServer

    func run() async throws {
        try? await gracefulShutdown()
        await server.drain()
    }
}

private func exitOnSecondSignal(_ logger: Logger) async {
    var count = 0
    for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
        count += 1
        if count == 2 {
            logger.warning("stopping at once")
            LineSink.standardError.flush(within: .milliseconds(200))
            // Nothing is on disk that could be torn, and threads may be in the middle of a step.
            _exit(130)
        }
    }
}
