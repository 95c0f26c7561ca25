import AutoGLMAPI
import AutoGLMEngine
import Foundation
import Hummingbird
import Logging
import ServiceLifecycle
import Synchronization
import TestKit
import Testing

@testable import AutoGLMServer

/// What only a real socket shows: clients that leave, stall or flood, and the end of the process.
@Suite(.serialized) struct LiveTests {
    private static let body = #"{"messages":[{"role":"user","content":"x"}]}"#
    private static let streamBody =
        #"{"messages":[{"role":"user","content":"x"}],"stream":true}"#

    /// Five milliseconds a token, and no loop.
    private func slow(_ length: Int = 4_000) -> Script {
        var script = Script(words: ["abcd "])
        var random = SplitMix64(seed: 7)
        script.tokens += (0..<length).map { _ in Int32.random(in: 97...122, using: &random) }
        script.delay = .milliseconds(5)
        return script
    }

    @Test(arguments: [true, false])
    func aClientThatLeavesFreesItsBlocks(isStream: Bool) async throws {
        let server = try TestServer(slow())
        try await server.test { client in
            for _ in 0..<20 {
                let raw = try RawClient(port: client.port)
                await raw.post("/v1/chat/completions", isStream ? Self.streamBody : Self.body)
                if isStream { _ = await raw.read(until: "abcd") }
                #expect(await eventually { server.blocksUsed > 0 })
                raw.leave()
                #expect(await eventually(within: .seconds(2)) { server.blocksUsed == 0 })
            }
        }
        #expect(server.server.metrics.finished.value("abort") == 20)
        #expect(server.server.state.open == 0)
        #expect(server.server.metrics.requests.value("POST", "/v1/chat/completions", "499") == 20)
    }

    @Test func silentStreamsGetComments() async throws {
        // A step for the word, and one for the end.
        var script = Script(words: ["late"])
        script.delay = .milliseconds(300)
        let server = try TestServer(script) { $0.keepAliveInterval = .milliseconds(100) }
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.post("/v1/chat/completions", Self.streamBody)
            let text = await raw.read(until: "[DONE]")
            let comments = text.components(separatedBy: ": keep-alive\n\n").count - 1
            #expect((3...7).contains(comments))
            #expect(text.contains("\"content\":\"late\""))
        }
    }

    @Test func slowHeadersAndBodiesTimeOut() async throws {
        let server = try TestServer {
            $0.headerTimeout = .milliseconds(600)
            $0.bodyIdleTimeout = .milliseconds(600)
            $0.idleTimeout = .milliseconds(600)
        }
        try await server.test { client in
            let port = client.port
            let header = try RawClient(port: port)
            await header.send("GET /ping HTTP/1.1\r\nHost: local")
            let text = await header.read()
            #expect(text.hasPrefix("HTTP/1.1 408"))
            #expect(text.contains("request_timeout"))

            let body = try RawClient(port: port)
            await body.send(
                "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
                    + "Content-Type: application/json\r\n\r\n{\"pro")
            #expect(await body.read().hasPrefix("HTTP/1.1 408"))

            let idle = try RawClient(port: port)
            await idle.send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            let start = ContinuousClock.now
            #expect(await idle.read().hasSuffix("pong"))
            #expect(ContinuousClock.now - start < .seconds(3))
        }
    }

    @Test func headerFloodsAreRefused() async throws {
        let server = try TestServer()
        try await server.test { client in
            let port = client.port
            let many = try RawClient(port: port)
            await many.send(
                "GET /ping HTTP/1.1\r\nHost: localhost\r\n"
                    + String(repeating: "a: b\r\n", count: 1_000) + "\r\n")
            #expect(await many.read().hasPrefix("HTTP/1.1 431"))
            let large = try RawClient(port: port)
            await large.send(
                "GET /ping HTTP/1.1\r\nHost: localhost\r\nx: "
                    + String(repeating: "y", count: 60_000) + "\r\n\r\n")
            #expect(await large.read().hasPrefix("HTTP/1.1 431"))
            let nonsense = try RawClient(port: port)
            await nonsense.send("NONSENSE\r\n\r\n")
            #expect(await nonsense.read().hasPrefix("HTTP/1.1 400"))
        }
    }

    @Test func hugeBodiesAreRefusedUnread() async throws {
        let server = try TestServer()
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.send(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 10000000000\r\n\r\n{")
            let start = ContinuousClock.now
            let text = await raw.read()
            #expect(text.hasPrefix("HTTP/1.1 413"))
            #expect(ContinuousClock.now - start < .seconds(3))

            for size in ["100000004\r\n", "11111111111111111\r\n"] {
                let chunked = try RawClient(port: client.port)
                await chunked.send(
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                        + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + size + String(repeating: " ", count: 9 << 20))
                let answer = await chunked.read()
                #expect(answer.hasPrefix("HTTP/1.1 413") || answer.hasPrefix("HTTP/1.1 400"))
            }
        }
    }

    @Test func expectIsAnswered() async throws {
        let server = try TestServer()
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            let body = #"{"prompt":"Hi"}"#
            await raw.send(
                "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                    + "Content-Type: application/json\r\n"
                    + "Content-Length: \(body.utf8.count)\r\n\r\n")
            #expect(await raw.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
            await raw.send(body)
            #expect(await raw.read(until: "105]").contains("[72,105]"))
        }
    }

    @Test func connectionsPerAddressAreLimited() async throws {
        let server = try TestServer { $0.connectionsPerAddressMax = 4 }
        try await server.test { client in
            let held = try (0..<4).map { _ in try RawClient(port: client.port) }
            for raw in held { await raw.send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n") }
            for raw in held { #expect(await raw.read(until: "pong").contains("pong")) }
            // One says what it wants, one never does.
            let refused = try RawClient(port: client.port)
            await refused.send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(await refused.read().hasPrefix("HTTP/1.1 429"))
            let silent = try RawClient(port: client.port)
            #expect(await silent.read().hasPrefix("HTTP/1.1 429"))
            let probe = try RawClient(port: client.port)
            await probe.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(await probe.read().hasPrefix("HTTP/1.1 200"))
            for raw in held { raw.leave() }  // held until here
        }
        #expect(await eventually { server.server.census.total == 0 })
    }

    /// A reader that takes nothing must not hold the sequence back, nor stay for ever.
    @Test func aClientThatDoesNotReadIsClosed() async throws {
        // 16 MiB in 256 tokens.
        var script = Script(words: [String(repeating: "abcdefgh", count: 8 << 10)])
        script.tokens = Array(repeating: script.tokens[0], count: 256)
        let server = try TestServer(script) { $0.writeStallTimeout = .milliseconds(300) }
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.post("/v1/chat/completions", Self.streamBody)
            #expect(await eventually { server.chat.prompts.count == 1 })
            #expect(await eventually(within: .seconds(15)) { server.blocksUsed == 0 })
            #expect(await eventually(within: .seconds(15)) { server.server.state.open == 0 })
            raw.leave()
        }
    }

    /// Streams run on, new work is refused, readiness fails at once, and all ends in time.
    @Test(arguments: [true, false])
    func drain(finishesInTime: Bool) async throws {
        let server = try TestServer(slow(finishesInTime ? 200 : 4_000)) {
            $0.drainTimeout = finishesInTime ? .seconds(10) : .milliseconds(500)
        }
        let ready = AsyncStream<Int>.makeStream()
        var options = server.server.options
        options.onListening = { ready.continuation.yield($0) }
        let live = try ModelServer(
            model: server.chat.model, options: options, metrics: server.server.metrics)
        let group = ServiceGroup(
            configuration: .init(
                services: [
                    .init(service: AnyService(live.application())),
                    .init(service: DrainService(server: live)),
                ],
                logger: options.logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            var ports = ready.stream.makeAsyncIterator()
            let port = try #require(await ports.next())
            let streams = try (0..<10).map { _ in try RawClient(port: port) }
            for stream in streams { await stream.post("/v1/chat/completions", Self.streamBody) }
            #expect(await eventually { server.status.running == 10 })

            let start = ContinuousClock.now
            await group.triggerGracefulShutdown()
            let probe = try RawClient(port: port)
            #expect(
                await eventually(within: .milliseconds(100)) { live.state.isDraining })
            await probe.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(await probe.read(until: "}").hasPrefix("HTTP/1.1 503"))
            let refused = try RawClient(port: port)
            await refused.post("/v1/chat/completions", Self.body)
            let text = await refused.read(until: "}")
            #expect(text.hasPrefix("HTTP/1.1 503"))
            #expect(text.lowercased().contains("retry-after"))
            probe.leave()
            refused.leave()

            for stream in streams {
                let text = await stream.read()
                #expect(text.contains("[DONE]") == finishesInTime)
                #expect(text.contains("shutting_down") != finishesInTime)
            }
            try await tasks.waitForAll()
            #expect(ContinuousClock.now - start < .seconds(8))
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    private struct AnyService<App: ApplicationProtocol>: Service {
        let application: App
        init(_ application: App) { self.application = application }
        func run() async throws { try await application.run() }
    }
}
