import Foundation
import Hummingbird
import Testing

@testable import AutoGLMServer

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
        try await server.test { client in
            var headers: HTTPFields = [:]
            headers[.deadline] = header
            let answer = try await client.post(
                "/v1/chat/completions", #"{"messages":[{"role":"user","content":"x"}]}"#,
                headers: headers)
            #expect(answer.status == 200)
        }
        let request = try #require(server.model.requests.first)
        #expect(request.deadline == effective.map { .milliseconds($0) })
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
