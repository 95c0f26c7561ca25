import AutoGLMChat
import AutoGLMObservability
import Foundation
import Glibc
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import TestKit
import Testing

@testable import AutoGLMServer

/// The server before it has a model.
@Suite(.serialized) struct LoadingTests {
    private struct Broken: Error, Equatable {}

    /// Holds the loading thread where a test wants it.
    private final class Loader: Sendable {
        private let gate = DispatchSemaphore(value: 0)
        private let isBroken: Bool
        let calls = Atomic<Int>(0)

        init(isBroken: Bool = false) { self.isBroken = isBroken }

        func go() { gate.signal() }

        func load(_ progress: @Sendable (Int, Int) -> Void) throws -> ChatModel {
            calls.wrappingAdd(1, ordering: .relaxed)
            progress(42, 100)
            gate.wait()
            if isBroken { throw Broken() }
            return try ScriptedChat().model
        }
    }

    private func options(
        settle: Duration = .zero, lines: LineBox? = nil
    ) -> ServerOptions {
        var options = ServerOptions()
        options.port = 0
        options.handlesSignals = false
        options.settleTime = settle
        options.loadingLogInterval = .milliseconds(50)
        options.logger = Logger(label: "test") { label in
            guard let lines else { return SwiftLogNoOpLogHandler() }
            return LineLogHandler(label: label, format: .json) { lines.add($0) }
        }
        return options
    }

    private final class LineBox: Sendable {
        private let lines = Mutex("")
        func add(_ line: String) { lines.withLock { $0 += line } }
        var text: String { lines.withLock { $0 } }
    }

    /// Runs `serve` until `body` returns.
    private func serving(
        _ loader: Loader, _ options: ServerOptions,
        _ body: @escaping @Sendable (LoopbackClient) async throws -> Void
    ) async throws {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        var options = options
        options.onListening = { listening.yield($0) }
        let final = options
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                defer { listening.finish() }
                try await serve(options: final, metrics: ServerMetrics(version: "test")) {
                    try loader.load($0)
                }
            }
            if let port = await ports.first(where: { _ in true }) {
                try await body(LoopbackClient(port: port))
            }
            tasks.cancelAll()
            do { try await tasks.waitForAll() } catch is CancellationError {}
        }
    }

    @Test func probesAreAnsweredAndWorkIsPutOff() async throws {
        let loader = Loader()
        let lines = LineBox()
        try await serving(loader, options(lines: lines)) { client in
            #expect(await eventually { loader.calls.load(ordering: .relaxed) == 1 })
            for path in ["/livez", "/ping", "/version"] {
                #expect(try await client.get(path).status == 200, "\(path)")
            }
            for path in ["/readyz", "/health", "/v1/models", "/v1/models/x"] {
                let answer = try await client.get(path)
                #expect(answer.status == 503, "\(path)")
                #expect((1...600).contains(answer.headers[.retryAfter].flatMap { Int($0) } ?? 0))
                #expect(answer.json["status"] as? String == "loading")
                #expect(answer.json["progress"] as? Double == 0.42)
            }
            let chat = try await client.chat()
            #expect(chat.status == 503 && chat.code == "model_loading")
            #expect(chat.json["progress"] as? Double == 0.42)
            #expect(chat.headers[.retryAfter] != nil)
            let metrics = try await client.get("/metrics")
            #expect(metrics.status == 200 && metrics.text.contains("\nautoglm_ready 0\n"))
            #expect(await eventually { lines.text.contains(#""message":"loading""#) })
            #expect(lines.text.contains(#""bytes":42,"bytes_total":100"#))
            #expect(lines.text.contains(#""percent":42"#))

            loader.go()
            #expect(await eventually { lines.text.contains(#""message":"serving""#) })
            #expect(try await client.get("/readyz").status == 200)
            #expect(try await client.chat().message["content"] as? String == "Hello, world!")
            #expect(try await client.get("/metrics").text.contains("\nautoglm_ready 1\n"))
        }
    }

    /// A client that comes while a small model is being loaded never learns of it.
    @Test func quickLoadsAreNotSeen() async throws {
        let loader = Loader()
        try await serving(loader, options(settle: .seconds(20))) { client in
            #expect(await eventually { loader.calls.load(ordering: .relaxed) == 1 })
            async let early = client.chat()
            try await Task.sleep(for: .milliseconds(100))
            loader.go()
            #expect(try await early.status == 200)
        }
    }

    /// A model that cannot be loaded ends the server with its own error, and answers nobody.
    @Test(arguments: [Duration.zero, .seconds(20)])
    func aBrokenModelEndsTheServer(settle: Duration) async throws {
        let loader = Loader(isBroken: true)
        await #expect(throws: Broken()) {
            try await serving(loader, options(settle: settle)) { client in
                #expect(await eventually { loader.calls.load(ordering: .relaxed) == 1 })
                let raw = try RawClient(port: client.port)
                await raw.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                if settle == .zero { _ = await raw.read(until: "}") }
                loader.go()
                let text = await raw.read()
                if settle > .zero { #expect(text.isEmpty) }
                // The error of the server, not our cancelling, is to end the test.
                try await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    /// A reader in the middle of the group's end: stopping does not wait for the loading thread.
    @Test func stoppingDoesNotWaitForLoading() async throws {
        let loader = Loader()
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        var options = options(settle: .seconds(20))
        options.onListening = { listening.yield($0) }
        let slot = ModelSlot()
        let server = try ModelServer(
            slot: slot, options: options, metrics: ServerMetrics(version: "test"))
        let (bound, port) = AsyncStream.makeStream(of: Int.self)
        let application = server.application {
            listening.yield($0)
            port.yield($0)
        }
        let service = LoadService(
            slot: slot, options: options, listening: bound, load: { try loader.load($0) })
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: Wrapped(application)),
                    .init(service: service, successTerminationBehavior: .ignore),
                    .init(service: DrainService(server: server)),
                ], logger: options.logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            _ = await ports.first { _ in true }
            #expect(await eventually { loader.calls.load(ordering: .relaxed) == 1 })
            let start = ContinuousClock.now
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            #expect(ContinuousClock.now - start < .seconds(3))
        }
        loader.go()
    }

    private struct Wrapped<App: ApplicationProtocol>: Service {
        let application: App
        init(_ application: App) { self.application = application }
        func run() async throws { try await application.run() }
    }

    private func refusal(_ change: (inout ServerOptions) -> Void) async -> ListenError? {
        var options = options()
        change(&options)
        do {
            try await serve(options: options, metrics: ServerMetrics(version: "test")) { _ in
                Issue.record("loaded without a port")
                return try ScriptedChat().model
            }
        } catch {
            return error as? ListenError
        }
        return nil
    }

    @Test func portsThatCannotBeHadAreNamed() async throws {
        let server = try TestServer()
        try await server.test { client in
            let taken = await refusal { $0.port = client.port }
            #expect(taken == .taken(host: "127.0.0.1", port: client.port))
            let words = "\(try #require(taken))"
            #expect(
                words == "port \(client.port) on 127.0.0.1 is taken by another "
                    + "program; choose another with --port")
        }
        let foreign = await refusal {
            $0.host = "192.0.2.1"
            $0.isInsecure = true
        }
        #expect(foreign == .notOurAddress(host: "192.0.2.1"))
        let unknown = await refusal {
            $0.host = "no-such-host.invalid"
            $0.isInsecure = true
        }
        #expect(unknown == .unknownHost("no-such-host.invalid"))
        #expect(
            ListenError(IOError(errnoCode: EACCES, reason: "bind"), host: "::", port: 80)
                == .privileged(host: "::", port: 80))
    }

    @Test func timeLeftFollowsThePace() {
        var progress = LoadProgress()
        #expect(progress.secondsLeft(after: .seconds(3)) == 5)
        progress.bytesDone = 25
        progress.bytesTotal = 100
        #expect(progress.share == 0.25)
        #expect(progress.secondsLeft(after: .seconds(10)) == 30)
        #expect(progress.secondsLeft(after: .seconds(100_000)) == 600)
        progress.bytesDone = 100
        #expect(progress.secondsLeft(after: .seconds(10)) == 5)
        progress.bytesDone = 101
        #expect(progress.share == 1)
    }
}
