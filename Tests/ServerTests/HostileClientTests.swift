import AutoGLMEngine
import Foundation
import TestKit
import Testing

@testable import AutoGLMServer

/// Clients that are slow, half gone or too many, and what they still get.
@Suite(.serialized) struct HostileClientTests {
    private static let body = #"{"messages":[{"role":"user","content":"x"}]}"#
    private static let streamBody =
        #"{"messages":[{"role":"user","content":"x"}],"stream":true}"#

    private func slow(_ length: Int = 40) -> Script {
        var script = Script(words: ["abcd "])
        var random = SplitMix64(seed: 7)
        script.tokens += (0..<length).map { _ in Int32.random(in: 97...122, using: &random) }
        script.delay = .milliseconds(5)
        return script
    }

    private func get(_ path: String, _ headers: String = "") -> String {
        "GET \(path) HTTP/1.1\r\nHost: localhost\r\n\(headers)\r\n"
    }

    // MARK: Half-closed connections

    @Test(arguments: [true, false])
    func aClientThatSendsNoMoreGetsItsAnswer(isStream: Bool) async throws {
        let server = try TestServer(slow())
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.post("/v1/chat/completions", isStream ? Self.streamBody : Self.body)
            raw.finishSending()
            let answer = await raw.read()
            #expect(answer.hasPrefix("HTTP/1.1 200"))
            #expect(answer.contains(isStream ? "data: [DONE]\n\n" : #""finish_reason":"stop""#))
        }
        #expect(server.server.state.open == 0)
    }

    /// All requests that were sent before, in their order.
    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let server = try TestServer(slow())
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.post(
                "/v1/chat/completions", Self.streamBody)
            await raw.send(get("/ping") + get("/version") + get("/nowhere"))
            raw.finishSending()
            let answer = await raw.read()
            let parts = answer.components(separatedBy: "HTTP/1.1 ").dropFirst()
            #expect(parts.map { $0.prefix(3) } == ["200", "200", "200", "404"])
            #expect(parts.first?.hasSuffix("data: [DONE]\n\n\r\n0\r\n\r\n") ?? false)
            #expect(parts.dropFirst().first?.hasSuffix("pong") ?? false)
        }
    }

    /// Without a word of ours, only the kernel knows that the other end is closed.
    @Test func aClientThatLeavesAfterItsLastWordIsNoticed() async throws {
        let server = try TestServer(slow(4_000))
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.post("/v1/chat/completions", Self.body)
            raw.finishSending()
            #expect(await eventually { server.blocksUsed > 0 })
            try await Task.sleep(for: .milliseconds(300))
            #expect(server.blocksUsed > 0)
            raw.leave()
            #expect(await eventually { server.blocksUsed == 0 })
        }
    }

    @Test func anUnfinishedRequestIsRefusedAtOnce() async throws {
        let server = try TestServer()
        try await server.test { client in
            for text in [
                "GET /ping HTTP/1.1\r\nHost: lo",
                "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\n"
                    + "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
            ] {
                let raw = try RawClient(port: client.port)
                await raw.send(text)
                raw.finishSending()
                #expect(await raw.read().hasPrefix("HTTP/1.1 400"))
            }
        }
    }

    /// What lies in our buffers when the connection ends still has to get there.
    @Test(arguments: [true, false])
    func longAnswersAreWhole(isHalfClosed: Bool) async throws {
        var script = Script(words: [String(repeating: "abcdefgh", count: 8 << 10)])
        script.tokens = Array(repeating: script.tokens[0], count: 128)
        let server = try TestServer(script) { $0.writeStallTimeout = .seconds(1) }
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.post(
                "/v1/chat/completions", #"{"messages":[{"role":"user","content":"x"}],"#
                    + #""loop_guard":false}"#, headers: "Connection: close\r\n")
            if isHalfClosed { raw.finishSending() }
            #expect(await eventually(within: .seconds(15)) { server.status.running == 0 })
            try await Task.sleep(for: .milliseconds(500))
            let answer = await raw.readBytes()
            let end = try #require(answer.firstRange(of: Array("\r\n\r\n".utf8))).upperBound
            let head = String(decoding: answer[..<end], as: UTF8.self)
            #expect(head.contains("Content-Length: \(answer.count - end)\r\n"))
            #expect(answer.count > 8 << 20)
        }
    }

    // MARK: Slow senders

    @Test func trickledBodiesEnd() async throws {
        let server = try TestServer {
            $0.bodyIdleTimeout = .milliseconds(400)
            $0.bodyRateMin = 100_000
        }
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            await raw.send(
                "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n"
                    + "Content-Type: application/json\r\n\r\n")
            let trickle = Task {
                while !Task.isCancelled {
                    await raw.send(" ")
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
            let answer = await raw.read()
            trickle.cancel()
            await trickle.value
            #expect(answer.hasPrefix("HTTP/1.1 408"))
            #expect(answer.contains("request_timeout"))
        }
        #expect(server.server.metrics.refusals.value("request_timeout", "body") == 1)
    }

    // MARK: What is said before a body is read

    @Test func strangersAreNotAskedForTheirBody() async throws {
        let server = try TestServer { $0.keys = ["correct-key"] }
        try await server.test { client in
            for (headers, first) in [
                ("Content-Length: 20\r\n", "401"),
                ("Authorization: Bearer correct-key\r\nContent-Length: 99999999\r\n", "413"),
                ("Authorization: Bearer correct-key\r\nContent-Length: 20\r\n", "100"),
                (
                    "Authorization: Bearer correct-key\r\nContent-Length: 20\r\n"
                        + "Content-Encoding: gzip\r\n", "415"
                ),
            ] {
                let raw = try RawClient(port: client.port)
                await raw.send(
                    "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nExpect: 100-Continue\r\n"
                        + "Content-Type: application/json\r\n\(headers)\r\n")
                let answer = await raw.read(until: "\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 \(first)"))
                #expect(first == "100" || answer.contains("Connection: close\r\n"))
                raw.leave()
            }
        }
    }

    /// A body that nobody wants does not hold a connection, nor does a small one cost it.
    @Test func unwantedBodies() async throws {
        let server = try TestServer()
        try await server.test { client in
            let large = try RawClient(port: client.port)
            await large.send(get("/ping", "Content-Length: 10000000000\r\n"))
            let answer = await large.read()
            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.contains("Connection: close"))
            let small = try RawClient(port: client.port)
            await small.send(get("/ping", "Content-Length: 5\r\n"))
            #expect(await small.read(until: "pong").contains("pong"))
            await small.send("12345" + get("/version"))
            #expect(await small.read(until: "}").hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func absoluteTargetsAreNames() async throws {
        let server = try TestServer()
        try await server.test { client in
            for (target, host, status) in [
                ("http://localhost/ping", "localhost", 200),
                ("http://LOCALHOST:80/ping", "localhost:80", 200),
                ("http://evil.example/ping", "evil.example", 403),
                ("http://evil.example/ping", "localhost", 400),
                ("http://localhost/ping", "evil.example", 400),
            ] {
                let raw = try RawClient(port: client.port)
                await raw.send(
                    "GET \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
                #expect(await raw.read().hasPrefix("HTTP/1.1 \(status)"), "\(target) \(host)")
            }
        }
    }

    // MARK: The end

    /// What is still being sent when the server drains would be refused once it is whole: it is
    /// refused at once, and neither it nor who says nothing holds up the end.
    @Test func halfRequestsDoNotHoldUpTheEnd() async throws {
        let server = try TestServer(slow()) { $0.bodyIdleTimeout = .seconds(600) }
        let start = ContinuousClock.now
        try await server.test { client in
            let half = try RawClient(port: client.port)
            await half.send(
                "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    + "Content-Length: 99\r\n\r\n{")
            let silent = try RawClient(port: client.port)
            let busy = try RawClient(port: client.port)
            await busy.post("/v1/chat/completions", Self.streamBody)
            #expect(await busy.read(until: "abcd").contains("abcd"))
            await server.server.drain()
            let refusal = await half.read()
            #expect(refusal.hasPrefix("HTTP/1.1 503"))
            #expect(refusal.contains(#""code":"shutting_down""#))
            #expect(await busy.read(until: "[DONE]").contains("[DONE]"))
            let late = try RawClient(port: client.port)
            await late.send(
                "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    + "Content-Length: 99\r\n\r\n{")
            _ = silent
        }
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    // MARK: Too many

    /// What memory pressure does at its last step.
    @Test func idleConnectionsAreClosedOnOrder() async throws {
        let server = try TestServer(slow())
        try await server.test { client in
            let idle = try RawClient(port: client.port)
            await idle.send(get("/ping"))
            #expect(await idle.read(until: "pong").contains("pong"))
            let busy = try RawClient(port: client.port)
            await busy.post("/v1/chat/completions", Self.streamBody)
            #expect(await busy.read(until: "abcd").contains("abcd"))
            server.server.census.closeIdle()
            #expect(await idle.read().isEmpty)
            #expect(await busy.read(until: "[DONE]").contains("[DONE]"))
        }
    }

    @Test func withoutMemoryOnlyHealthIsAnswered() async throws {
        let server = try TestServer()
        try await server.test { client in
            server.server.census.setShortOfMemory(true)
            let refused = try await client.get("/v1/models")
            #expect(refused.code == "memory_pressure")
            let health = try await client.get("/livez")
            #expect(health.status == 200)
            server.server.census.setShortOfMemory(false)
            let again = try await client.get("/v1/models")
            #expect(again.status == 200)
        }
    }

    @Test func aFullServerShowsItsHealth() async throws {
        let server = try TestServer { $0.connectionsMax = 3 }
        try await server.test { client in
            let held = try (0..<3).map { _ in try RawClient(port: client.port) }
            #expect(await eventually { server.server.census.total == 3 })
            // More than there is room for: the oldest of them make room.
            let crowd = try (0..<100).map { _ in try RawClient(port: client.port) }
            for path in ["/livez", "/readyz", "/health", "/readyz?x=1"] {
                let probe = try RawClient(port: client.port)
                await probe.send(get(path))
                let answer = await probe.read()
                #expect(answer.hasPrefix("HTTP/1.1 200"))
                #expect(answer.contains("Connection: close"))
            }
            let other = try RawClient(port: client.port)
            await other.send(get("/v1/models"))
            let refused = await other.read()
            #expect(refused.hasPrefix("HTTP/1.1 503"))
            #expect(refused.contains("server_full") && refused.contains("Retry-After"))
            #expect(await crowd[0].read().contains("server_full"))
            for raw in held + crowd { raw.leave() }
        }
        #expect(await eventually { server.server.census.total == 0 })
    }
}
