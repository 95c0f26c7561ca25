import AutoGLMAPI
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOPosix
import TestKit
import Testing

@testable import AutoGLMServer

extension ServerContext {
    /// The context of a request that came by no connection.
    static func test() async throws -> ServerContext {
        let group = MultiThreadedEventLoopGroup.singleton
        let channel = try await DatagramBootstrap(group: group).bind(host: "127.0.0.1", port: 0)
            .get()
        defer { channel.close(promise: nil) }
        let options = ServerOptions.test()
        return ServerContext(source: .init(channel: channel, logger: options.logger))
    }
}

extension Request {
    static func test(_ headers: HTTPFields) -> Request {
        Request(
            head: HTTPRequest(
                method: .post, scheme: nil, authority: nil, path: "/v1/chat/completions",
                headerFields: headers),
            body: RequestBody(buffer: .init()))
    }
}

/// The earlier of the client's deadline and the operator's holds; without both there is none.
@Suite struct DeadlineTests {
    @Test(arguments: [
        (nil, nil, nil), (nil, "86400000", 86_400_000), (nil, "1500", 1_500),
        (2, nil, 2_000), (2, "1500", 1_500), (2, "5000", 2_000),
    ] as [(Int?, String?, Int?)])
    func theEarlierHolds(
        operatorSeconds: Int?, client header: String?, effective: Int?
    ) async throws {
        let server = try TestServer {
            $0.requestTimeout = operatorSeconds.map { .seconds($0) }
        }
        var headers: HTTPFields = [:]
        headers[.deadline] = header
        let body = #"{"messages":[{"role":"user","content":"x"}]}"#
        let builder = RequestBuilder(model: server.chat.model, options: server.server.options)
        let answer = try builder.answerOptions(
            try ChatCompletionRequest(body: Array(body.utf8)).generation, .test(headers),
            try await ServerContext.test())
        #expect(answer.deadline == effective.map { .milliseconds($0) })
        let sent = headers
        try await server.test { client in
            let answer = try await client.post("/v1/chat/completions", body, headers: sent)
            #expect(answer.status == 200)
        }
    }

    @Test func aDayIsTheLongest() async throws {
        let server = try TestServer()
        try await server.test { client in
            for value in ["86400001", "9223372036854775807", "0", "-1", "1.5", "soon"] {
                let answer = try await client.post(
                    "/v1/chat/completions", #"{"messages":[{"role":"user","content":"x"}]}"#,
                    headers: [.deadline: value])
                #expect(answer.status == 400 && answer.parameter == "x-deadline-ms", "\(value)")
            }
        }
    }
}
