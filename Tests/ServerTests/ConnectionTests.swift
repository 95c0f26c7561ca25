import Foundation
import TestKit
import Testing

@testable import AutoGLMServer

/// When connections end, and how the end of an answer is told, by version and `Connection` header.
@Suite struct ConnectionTests {
    private static let chat = #"{"messages":[{"role":"user","content":"Hi"}]}"#
    private static let stream = #"{"messages":[{"role":"user","content":"Hi"}],"stream":true}"#

    private func head(
        _ method: String = "GET", _ path: String, _ version: String, _ headers: String...,
        body: String = ""
    ) -> String {
        var text = "\(method) \(path) HTTP/\(version)\r\nHost: localhost\r\n"
        for header in headers { text += header + "\r\n" }
        if !body.isEmpty {
            text += "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
        }
        return text + "\r\n" + body
    }

    /// Sends one request, reads to the close and says how long that took.
    private func exchange(_ port: Int, _ text: String) async throws -> (String, Duration) {
        let raw = try RawClient(port: port)
        let start = ContinuousClock.now
        await raw.send(text)
        return (await raw.read(), ContinuousClock.now - start)
    }

    /// What the client asked to be the last request is: it reads to the end and does not wait.
    @Test(arguments: [
        ("1.0", ""), ("1.0", "Connection: close"), ("1.0", "Connection: keep-alive, Close"),
        ("1.0", "Connection: upgrade"), ("1.1", "Connection: close"), ("1.1", "Connection: Close"),
        ("1.1", "Connection: CLOSE"), ("1.1", "Connection: keep-alive, Close"),
        ("1.1", "Connection: Keep-Alive\r\nConnection: close"), ("1.1", "connection:,close ,"),
    ])
    func closes(version: String, header: String) async throws {
        let server = try TestServer()
        try await server.test { client in
            let headers = header.isEmpty ? "X-Nothing: 1" : header
            for text in [
                head("GET", "/readyz", version, headers),
                head("POST", "/v1/chat/completions", version, headers, body: Self.chat),
                head("GET", "/nowhere", version, headers),
            ] {
                let (answer, time) = try await exchange(client.port, text)
                #expect(time < .seconds(3))
                #expect(answer.hasPrefix("HTTP/1.1 "))
                let lower = answer.lowercased()
                #expect(lower.contains("connection: close\r\n"))
                #expect(lower.contains("content-length: "))
                #expect(!lower.contains("transfer-encoding"))
            }
        }
    }

    @Test func streamsToOldClientsAreNotChunked() async throws {
        let server = try TestServer()
        try await server.test { client in
            for headers in ["X-Nothing: 1", "Connection: keep-alive"] {
                let (answer, time) = try await exchange(
                    client.port,
                    head("POST", "/v1/chat/completions", "1.0", headers, body: Self.stream))
                #expect(time < .seconds(3))
                let lower = answer.lowercased()
                #expect(!lower.contains("transfer-encoding"))
                #expect(lower.contains("connection: close\r\n"))
                let end = try #require(answer.firstRange(of: "\r\n\r\n")).upperBound
                #expect(answer[end...].hasPrefix("data: {"))
                #expect(answer.hasSuffix("data: [DONE]\n\n"))
            }
        }
    }

    @Test func connectionsAreKept() async throws {
        let server = try TestServer()
        try await server.test { client in
            for (version, header) in [
                ("1.0", "Connection: Keep-Alive"), ("1.1", "X-Nothing: 1"),
                ("1.1", "Connection: keep-alive"), ("1.1", "Connection: TE, x-close"),
            ] {
                let raw = try RawClient(port: client.port)
                for _ in 0..<3 {
                    await raw.send(head("GET", "/ping", version, header))
                    let answer = await raw.read(until: "pong").lowercased()
                    #expect(answer.hasPrefix("http/1.1 200"))
                    #expect(answer.contains("connection: keep-alive\r\n") == (version == "1.0"))
                    #expect(!answer.contains("connection: close"))
                }
            }
        }
    }

    /// Heads that a proxy before us could read differently.
    @Test(arguments: [
        "POST /v1/tokenize HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n"
            + "Transfer-Encoding: chunked\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ])
    func ambiguousHeadsAreRefused(head: String) async throws {
        let server = try TestServer()
        try await server.test { client in
            let (answer, time) = try await exchange(client.port, head + "3\r\n{} \r\n0\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 400"))
            #expect(answer.contains("malformed_request"))
            #expect(time < .seconds(3))
        }
    }

    @Test func bytesAfterARequestDoNotCostItsAnswer() async throws {
        var script = Script()
        script.delay = .milliseconds(10)
        let server = try TestServer(script)
        try await server.test { client in
            let (answer, _) = try await exchange(
                client.port,
                head("POST", "/v1/chat/completions", "1.1", body: Self.chat)
                    + "\u{1}nonsense\r\n\r\n")
            #expect(answer.hasPrefix("HTTP/1.1 200"))
            #expect(answer.contains("Hello, world!"))
        }
    }

    /// A second request that never becomes whole must not end up in the first one's stream.
    @Test func halfARequestBehindAStreamWaits() async throws {
        var script = Script()
        script.delay = .milliseconds(60)
        let server = try TestServer(script) { $0.bodyIdleTimeout = .milliseconds(200) }
        try await server.test { client in
            let (answer, _) = try await exchange(
                client.port,
                head("POST", "/v1/chat/completions", "1.1", body: Self.stream)
                    + "POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
                    + "Content-Type: application/json\r\n\r\n{")
            let parts = answer.components(separatedBy: "data: [DONE]\n\n\r\n0\r\n\r\n")
            #expect(parts.count == 2)
            #expect(parts.first?.components(separatedBy: "HTTP/1.1 ").count == 2)
            #expect(parts.last?.hasPrefix("HTTP/1.1 408") ?? false)
        }
    }
}
