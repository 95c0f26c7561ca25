import AutoGLMAPI
import AutoGLMEngine
package import AutoGLMObservability
import HTTPTypes
package import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle

/// One model behind HTTP: the parts, wired up. ``serve(model:options:metrics:)`` runs it.
package struct ModelServer: Sendable {
    let model: any ServedModel
    let options: ServerOptions
    let state = ServerState()
    let census: ConnectionCensus
    package let metrics: ServerMetrics

    /// - Throws: ``ServerOptionsError``
    package init(
        model: any ServedModel, options: ServerOptions, metrics: ServerMetrics
    ) throws(ServerOptionsError) {
        try options.validate()
        self.model = model
        self.options = options
        self.metrics = metrics
        census = ConnectionCensus(perAddressMax: options.connectionsPerAddressMax)
    }

    func router() -> Router<ServerContext> {
        let router = Router(context: ServerContext.self)
        router.add(
            middleware: Gate(
                options: options, state: state, metrics: metrics, keys: KeyRing(options.keys),
                hosts: HostList(options)))
        let chat = ChatRoute(model: model, options: options, metrics: metrics)
        let completion = CompletionRoute(model: model, options: options, metrics: metrics)
        let tokens = TokenRoutes(model: model, options: options)
        let status = StatusRoutes(
            model: model, options: options, state: state, metrics: metrics, census: census)
        // The connection leaves out the body of what answers HEAD.
        for route in Route.allCases {
            for method in route.methods {
                router.on(RouterPath(route.pattern), method: method) { request, context in
                    switch route {
                    case .chatCompletions: try await chat.handle(request, context)
                    case .completions: try await completion.handle(request, context)
                    case .tokenize: try await tokens.tokenize(request, context)
                    case .detokenize: try await tokens.detokenize(request, context)
                    case .models: status.models()
                    case .model: try status.model(request)
                    case .live: status.live()
                    case .ready, .health: status.ready()
                    case .ping: status.ping()
                    case .version: status.version()
                    case .metrics: status.metrics(request)
                    }
                }
            }
        }
        return router
    }

    /// The server as a service; graceful shutdown of the group it runs in ends it.
    ///
    /// - Parameter onListening: Told the port; takes the place of the options' own.
    package func application(
        onListening: (@Sendable (Int) -> Void)? = nil
    ) -> some ApplicationProtocol {
        let timeouts = ConnectionHandler.Timeouts(
            header: .init(options.headerTimeout), bodyIdle: .init(options.bodyIdleTimeout),
            idle: .init(options.idleTimeout), writeStall: .init(options.writeStallTimeout),
            keepAlive: .init(options.keepAliveInterval))
        let onListening = onListening ?? options.onListening
        return Application(
            router: router(),
            server: HTTPServerBuilder { responder in
                HTTPChannel(responder: responder, timeouts: timeouts, census: census)
            },
            configuration: .init(
                address: .hostname(options.host, port: options.port), serverName: "autoglm",
                availableConnectionsDelegate: MaximumAvailableConnections(
                    options.connectionsMax)),
            onServerRunning: { channel in
                onListening?(channel.localAddress?.port ?? 0)
            },
            logger: options.logger)
    }

    /// Refuses new work and waits for what is under way.
    func drain() async {
        state.beginDrain()
        model.beginDrain()
        options.logger.info("draining", metadata: ["open": "\(state.open)"])
        let start = ContinuousClock.now
        await model.drain(within: options.drainTimeout)
        // The last events of ended sequences still have to reach their clients.
        let patience = start + options.drainTimeout + .seconds(2)
        while state.open > 0, ContinuousClock.now < patience {
            try? await Task.sleep(for: .milliseconds(10))
        }
    }
}
