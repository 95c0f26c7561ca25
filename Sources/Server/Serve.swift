import AutoGLMEngine
package import AutoGLMObservability
import Glibc
import Hummingbird
import Logging
import ServiceLifecycle
import UnixSignals

/// Serves a model until the process is told to stop.
///
/// SIGTERM or SIGINT drains: `/readyz` and new work get 503 at once, streams finish or get an error
/// event after `drainTimeout`, then this returns. A second signal ends the process.
///
/// - Throws: ``ServerOptionsError``, or what binding the port failed with.
package func serve(
    model: any ServedModel, options: ServerOptions, metrics: ServerMetrics
) async throws {
    let server = try ModelServer(model: model, options: options, metrics: metrics)
    if options.isInsecure, !ServerOptions.isLoopback(options.host), options.keys.isEmpty {
        options.logger.warning(
            "open to the network without keys", metadata: ["host": "\(options.host)"])
    }
    defer { model.shutdown() }
    // Services are shut down from last to first: the drain ends before connections are closed.
    let group = ServiceGroup(
        configuration: .init(
            services: [
                .init(service: ApplicationService(application: server.application())),
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

    func run() async throws { try await application.run() }
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
            // Nothing is on disk that could be torn, and threads may be in the middle of a step.
            _exit(130)
        }
    }
}
