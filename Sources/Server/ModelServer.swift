package import AutoGLMChat
import AutoGLMEngine
package import AutoGLMObservability
import HTTPTypes
package import Hummingbird
import HummingbirdCore
import Logging
import ServiceLifecycle

/// One model behind HTTP: the parts, wired up. ``serve(options:metrics:load:)`` runs it.
package struct ModelServer: Sendable {
    let slot: ModelSlot
    let options: ServerOptions
    let state = ServerState()
    let census: ConnectionCensus
    let budget: MemoryBudget
    let texts: TextPool
    package let metrics: ServerMetrics

    /// - Throws: ``ServerOptionsError``
    package init(
        slot: ModelSlot, options: ServerOptions, metrics: ServerMetrics
    ) throws(ServerOptionsError) {
        try options.validate()
        self.slot = slot
        self.options = options
        self.metrics = metrics
        census = ConnectionCensus(
            .init(
                options, descriptors: DescriptorLimit.current, used: DescriptorLimit.used))
        budget = MemoryBudget(shares: options.memoryShares)
        texts = TextPool(threads: options.textThreads)
    }

    /// A server of a model that is already there.
    package init(
        model: ChatModel, options: ServerOptions, metrics: ServerMetrics
    ) throws(ServerOptionsError) {
        try self.init(slot: ModelSlot(model), options: options, metrics: metrics)
    }

    func router() -> Router<ServerContext> {
        let router = Router(context: ServerContext.self)
        router.add(
            middleware: Gate(
                slot: slot, options: options, state: state, metrics: metrics, budget: budget,
                keys: KeyRing(options.keys), hosts: HostList(options)))
        // The connection leaves out the body of what answers HEAD.
        for route in Route.allCases {
            for method in route.methods {
                router.on(RouterPath(route.pattern), method: method) { request, context in
                    try await answer(route, request, context)
                }
            }
        }
        return router
    }

    private func answer(
        _ route: Route, _ request: Request, _ context: ServerContext
    ) async throws -> Response {
        let status = StatusRoutes(
            slot: slot, options: options, state: state, metrics: metrics, census: census,
            budget: budget)
        let intake = RequestIntake(budget: budget, texts: texts, options: options)
        switch route {
        case .chatCompletions:
            let chat = ChatRoute(model: try slot.model(), intake: intake, metrics: metrics)
            return try await chat.handle(request, context)
        case .completions:
            let route = CompletionRoute(model: try slot.model(), intake: intake, metrics: metrics)
            return try await route.handle(request, context)
        case .tokenize:
            let tokens = TokenRoutes(model: try slot.model(), intake: intake)
            return try await tokens.tokenize(request, context)
        case .detokenize:
            let tokens = TokenRoutes(model: try slot.model(), intake: intake)
            return try await tokens.detokenize(request, context)
        case .models: return try status.models()
        case .model: return try status.model(request)
        case .live: return status.live()
        case .ready, .health: return try status.ready()
        case .ping: return status.ping()
        case .version: return status.version()
        case .metrics: return status.metrics(request)
        }
    }

    /// The server as a service; graceful shutdown of the group it runs in ends it.
    ///
    /// A model that is small, or broken, is loaded or given up within ``ServerOptions/settleTime``:
    /// until then clients wait to be answered, which spares them a 503 that is over at once.
    ///
    /// - Parameter onListening: Told the port; takes the place of the options' own.
    package func application(
        onListening: (@Sendable (Int) -> Void)? = nil
    ) -> some ApplicationProtocol {
        let timeouts = ConnectionHandler.Timeouts(options)
        var limits = RequestParser.Limits()
        limits.bodyBytes = options.bodyBytesMax
        let onListening = onListening ?? options.onListening
        // The framework's lines say nothing that ours do not, and show its internals.
        var frameworkLogger = options.logger
        frameworkLogger.logLevel = .critical
        return Application(
            router: router(),
            server: HTTPServerBuilder { [limits] responder in
                HTTPChannel(
                    responder: responder, timeouts: timeouts, limits: limits, census: census,
                    budget: budget, metrics: metrics, slot: slot)
            },
            configuration: .init(
                address: .hostname(options.host, port: options.port), serverName: "autoglm",
                backlog: 1_024),
            onServerRunning: { channel in
                let gate = channel.eventLoop.submit { [metrics] in
                    try channel.pipeline.syncOperations.addHandler(
                        AcceptGate(metrics: metrics), position: .first)
                }
                try? await gate.get()
                onListening?(channel.localAddress?.port ?? 0)
                await slot.settled(within: options.settleTime)
            },
            logger: frameworkLogger)
    }

    /// Refuses new work and waits for what is under way.
    func drain() async {
        state.beginDrain()
        census.drain()
        guard let model = slot.loaded else { return }
        model.engine.beginDrain()
        options.logger.info("draining", metadata: ["open": .stringConvertible(state.open)])
        let start = ContinuousClock.now
        await model.engine.drain(within: options.drainTimeout)
        // The last events of ended sequences still have to reach their clients.
        let patience = start + options.drainTimeout + .seconds(2)
        while state.open > 0, ContinuousClock.now < patience {
            try? await Task.sleep(for: .milliseconds(10))
        }
    }
}
