import Foundation
import HTTPTypes
import Hummingbird
import TestKit
import Testing

@testable import AutoGLMServer

/// Whatever answers GET answers HEAD: the same head and nothing behind it.
@Suite struct HeadTests {
    @Test(arguments: Route.allCases.filter { $0.method == .get })
    func headIsGetWithoutBody(route: Route) async throws {
        let server = try TestServer()
        let path = route == .model ? "/v1/models/scripted" : route.rawValue
        try await server.test { client in
            let get = try await client.get(path)
            let head = try await client.call(path, .head, [:], nil)
            #expect(get.status == 200 && head.status == 200)
            #expect(head.text.isEmpty)
            let length = try #require(head.headers[.contentLength].flatMap { Int($0) })
            if route != .metrics { #expect(length == get.text.utf8.count) }
            #expect(head.headers[.contentType] == get.headers[.contentType])
            let names = { (answer: Answer) in Set(answer.headers.map(\.name)) }
            #expect(names(head) == names(get))
        }
    }

    /// A body after all would be read as the next answer's head.
    @Test func theConnectionStaysUsable() async throws {
        let server = try TestServer { $0.keys = ["correct-key"] }
        try await server.test { client in
            let raw = try RawClient(port: client.port)
            for (path, status) in [
                ("/readyz", 200), ("/v1/chat/completions", 405), ("/nowhere", 404),
                ("/v1/models/other", 404),
            ] {
                await raw.send(
                    "HEAD \(path) HTTP/1.1\r\nHost: localhost\r\n"
                        + "Authorization: Bearer correct-key\r\n\r\n")
                let head = await raw.read(until: "\r\n\r\n")
                #expect(head.hasPrefix("HTTP/1.1 \(status) "))
                #expect(head.hasSuffix("\r\n\r\n"))
            }
            await raw.send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            #expect(await raw.read(until: "pong").hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test func allowNamesEveryMethod() async throws {
        let server = try TestServer()
        try await server.test { client in
            let get = try await client.post("/v1/models", "{}")
            #expect(get.status == 405 && get.headers[.allow] == "GET, HEAD")
            let post = try await client.call("/v1/completions", .head, [:], nil)
            #expect(post.status == 405 && post.headers[.allow] == "POST")
        }
    }
}
