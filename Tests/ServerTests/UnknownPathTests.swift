import AutoGLMAPI
import Foundation
import Testing

@testable import AutoGLMServer

/// A wrong address is answered with the right one.
@Suite struct UnknownPathTests {
    @Test(arguments: [
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/Chat/Completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"), ("/v1/model", "/v1/models"),
        ("/healthz", "/health"), ("/ready", "/readyz"), ("/metric", "/metrics"),
    ])
    func theNearestRouteIsNamed(path: String, route: String) async throws {
        let server = try TestServer()
        try await server.test { client in
            let answer = try await client.get(path)
            #expect(answer.status == 404 && answer.code == "not_found")
            let message = answer.error["message"] as? String ?? ""
            #expect(message.contains("Did you mean \(route)?"), "\(message)")
        }
    }

    @Test(arguments: ["/", "/v1", "/admin/login", "/" + String(repeating: "v", count: 4_000)])
    func elsewhereAllRoutesAreListed(path: String) async throws {
        let server = try TestServer()
        try await server.test { client in
            let answer = try await client.get(path)
            #expect(answer.status == 404)
            let message = answer.error["message"] as? String ?? ""
            for route in Route.allCases {
                #expect(message.contains("\(route.method.rawValue) \(route.rawValue)"))
            }
            #expect(!message.contains("vvvv"))
        }
    }

    @Test func wrongMethodsLearnTheRightOnes() async throws {
        let server = try TestServer()
        try await server.test { client in
            let post = try await client.post("/v1/models", "{}")
            #expect(post.status == 405)
            #expect(
                post.error["message"] as? String == "/v1/models answers GET and HEAD, not POST.")
            let get = try await client.get("/v1/chat/completions")
            #expect(
                get.error["message"] as? String == "/v1/chat/completions answers POST, not GET.")
        }
    }

    @Test func distancesAreLevenshteins() {
        #expect(editDistance("kitten", "sitting") == 3)
        #expect(editDistance("", "abc") == 3 && editDistance("abc", "") == 3)
        #expect(nearestName(to: "prot", in: ["port", "host"]) == "port")
        #expect(nearestName(to: "entirely", in: ["port", "host"]) == nil)
    }
}
