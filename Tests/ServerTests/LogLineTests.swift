import Foundation
import Glibc
import Logging
import Synchronization
import TestKit
import Testing

@testable import AutoGLMObservability
@testable import AutoGLMServer

/// What the lines say, what they never say, and that writing them cannot hurt.
@Suite(.serialized) struct LogLineTests {
    private final class Lines: Sendable {
        private let lines = Mutex<[String]>([])

        func logger(_ level: Logger.Level = .info) -> Logger {
            Logger(label: "test") { label in
                LineLogHandler(label: label, format: .json, level: level) { line in
                    self.lines.withLock { $0.append(line) }
                }
            }
        }

        var text: String { lines.withLock { $0.joined() } }

        var objects: [[String: Any]] {
            lines.withLock { $0 }.map {
                (try? JSONSerialization.jsonObject(with: Data($0.utf8))) as? [String: Any] ?? [:]
            }
        }
    }

    @Test func numbersStayNumbers() throws {
        let lines = Lines()
        lines.logger().info(
            "m",
            metadata: [
                "int": .stringConvertible(200), "small": .stringConvertible(UInt8(7)),
                "double": .stringConvertible(1.5), "float": .stringConvertible(Float(0.25)),
                "yes": .stringConvertible(true), "nan": .stringConvertible(Double.nan),
                "text": "200", "other": .stringConvertible(Duration.seconds(1)),
                "list": ["1", "2"],
            ])
        let text = lines.text
        for part in [
            #""int":200"#, #""small":7"#, #""double":1.5"#, #""float":0.25"#, #""yes":true"#,
            #""nan":null"#, #""text":"200""#, #""other":"1.0 seconds""#,
        ] {
            #expect(text.contains(part), "\(part)")
        }
        #expect(lines.objects.first?["message"] as? String == "m")
    }

    @Test func humanLinesShowTheSame() {
        let written = Mutex("")
        let logger = Logger(label: "l") { label in
            LineLogHandler(label: label, format: .human) { line in written.withLock { $0 = line } }
        }
        logger.info("m", metadata: ["a": .stringConvertible(1), "b": .stringConvertible(true)])
        #expect(written.withLock { $0 }.hasSuffix("INFO m a=1 b=true\n"))
    }

    @Test func aRequestsLineIsComplete() async throws {
        let lines = Lines()
        let server = try TestServer {
            $0.logger = lines.logger()
            $0.keys = ["first-secret", "second-secret"]
        }
        try await server.test { client in
            let body = #"{"messages":[{"role":"user","content":"xy"}]}"#
            for id in ["id-0", "id-1"] {
                _ = try await client.post(
                    "/v1/chat/completions", body,
                    headers: [.authorization: "Bearer second-secret", .requestID: id])
            }
        }
        // The second finds the first one's prompt in the cache.
        let line = try #require(lines.objects.last { $0["message"] as? String == "request" })
        #expect(line["request"] as? String == "id-1")
        #expect(line["method"] as? String == "POST")
        #expect(line["route"] as? String == "/v1/chat/completions")
        #expect(line["code"] as? Int == 200)
        #expect(line["ms"] is Int)
        #expect(line["client"] as? String == "127.0.0.1")
        #expect(line["model"] as? String == "scripted")
        #expect(line["key"] as? String == "key-1")
        #expect(line["prompt_tokens"] as? Int == 3)
        #expect(line["cached_tokens"] as? Int == 2)
        #expect(line["completion_tokens"] as? Int == 13)
    }

    @Test func ticketsTakeTimes() throws {
        let lines = Lines()
        let logger = lines.logger()
        let ticket = RequestTicket { code, details in
            var details = details
            details["code"] = .stringConvertible(code)
            logger.info("request", metadata: details)
        }
        ticket.noteTimeToFirstToken(.microseconds(12_340))
        ticket.noteQueueTime(.milliseconds(3))
        ticket.noteTokens(prompt: 5, cached: 2, completion: 7)
        ticket.close(code: 200)
        let line = try #require(lines.objects.first)
        #expect(line["ttft_ms"] as? Double == 12.3)
        #expect(line["queue_ms"] as? Double == 3)
        #expect(line["completion_tokens"] as? Int == 7)
    }

    /// Neither a right key nor a wrong one is in any line, also not in those of the framework.
    @Test func keysAreNeverLogged() async throws {
        let lines = Lines()
        let server = try TestServer {
            $0.logger = lines.logger(.trace)
            $0.keys = ["RIGHTKEY-0123"]
        }
        try await server.test { client in
            for key in ["RIGHTKEY-0123", "WRONGKEY-0123"] {
                let head = "Host: localhost\r\nAuthorization: Bearer \(key)\r\n"
                let json = "Content-Type: application/json\r\n"
                for text in [
                    "GET /v1/models HTTP/1.1\r\n\(head)Connection: close\r\n\r\n",
                    "GET /v1/models HTTP/1.0\r\n\(head)\r\n",
                    "GET /nowhere HTTP/1.1\r\n\(head)Connection: close\r\n\r\n",
                    // Errors of the reader: after a body, in a body, in the next head.
                    "GET /v1/models HTTP/1.1\r\n\(head)\r\n\(key)\r\n\r\n",
                    "POST /v1/tokenize HTTP/1.1\r\n\(head)\(json)Transfer-Encoding: chunked\r\n\r\n"
                        + "zz\(key)\r\n\r\n",
                    "POST /v1/tokenize HTTP/1.1\r\n\(head)\(json)Content-Length: 20\r\n"
                        + "Connection: close\r\n\r\n{\"\(key)\"}....",
                    "BAD METHOD /v1/models HTTP/1.1\r\n\(head)\r\n",
                ] {
                    let raw = try RawClient(port: client.port)
                    await raw.send(text)
                    _ = await raw.read(until: "}")
                    raw.leave()
                }
            }
        }
        let text = lines.text
        #expect(text.contains("\"key\":\"key-0\""))
        #expect(!text.contains("KEY-0123"))
    }
}
