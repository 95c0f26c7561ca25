import AutoGLMObservability
import AutoGLMServer
import Foundation
import Glibc
import Hummingbird
import HummingbirdTesting
import Logging

@testable import AutoGLMServer

/// A server around a scripted model, and short ways to talk to it.
struct TestServer: Sendable {
    let model: ScriptedModel
    let server: ModelServer

    init(
        _ script: ScriptedModel.Script = .init(),
        options change: (inout ServerOptions) -> Void = { _ in }
    ) throws {
        model = ScriptedModel(script)
        var options = ServerOptions()
        options.port = 0
        options.handlesSignals = false
        options.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        change(&options)
        server = try ModelServer(
            model: model, options: options, metrics: ServerMetrics(version: "test"))
    }

    func test<Value: Sendable>(
        _ setup: TestingSetup = .router,
        _ body: @Sendable (any TestClientProtocol) async throws -> Value
    ) async throws -> Value {
        try await server.application().test(setup, body)
    }
}

/// An answer, with its body as JSON or as the data lines of a stream.
struct Answer: Sendable {
    let status: Int
    let headers: HTTPFields
    let text: String

    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: Data(text.utf8))) as? [String: Any] ?? [:]
    }

    var error: [String: Any] { json["error"] as? [String: Any] ?? [:] }
    var code: String? { error["code"] as? String }
    var parameter: String? { error["param"] as? String }

    /// The data of each event, and whether the stream ended with `[DONE]`.
    var events: (data: [[String: Any]], isDone: Bool) {
        var data: [[String: Any]] = []
        var isDone = false
        for block in text.components(separatedBy: "\n\n") where block.hasPrefix("data: ") {
            let payload = String(block.dropFirst(6))
            if payload == "[DONE]" {
                isDone = true
            } else if let object = try? JSONSerialization.jsonObject(with: Data(payload.utf8)) {
                data.append(object as? [String: Any] ?? [:])
            }
        }
        return (data, isDone)
    }

    /// What the events add to `choices[0].delta[key]`, joined.
    func joined(_ key: String) -> String {
        events.data.compactMap { event in
            let choice = (event["choices"] as? [[String: Any]])?.first
            return (choice?["delta"] as? [String: Any])?[key] as? String
        }.joined()
    }

    var choices: [[String: Any]] { json["choices"] as? [[String: Any]] ?? [] }
    var message: [String: Any] { choices.first?["message"] as? [String: Any] ?? [:] }
}

extension TestClientProtocol {
    func get(_ uri: String, headers: HTTPFields = [:]) async throws -> Answer {
        try await call(uri, .get, headers, nil)
    }

    func post(_ uri: String, _ body: String, headers: HTTPFields = [:]) async throws -> Answer {
        var headers = headers
        if headers[.contentType] == nil { headers[.contentType] = "application/json" }
        return try await call(uri, .post, headers, body)
    }

    func call(
        _ uri: String, _ method: HTTPRequest.Method, _ headers: HTTPFields, _ body: String?
    ) async throws -> Answer {
        try await execute(
            uri: uri, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) }
        ) { response in
            Answer(
                status: Int(response.status.code), headers: response.headers,
                text: String(buffer: response.body))
        }
    }

    func chat(_ extra: String = "") async throws -> Answer {
        let body = #"{"messages":[{"role":"user","content":"Hi"}]"# + extra + "}"
        return try await post("/v1/chat/completions", body)
    }
}

/// A client made of a bare socket: it can be slow, rude or gone.
///
/// Its calls block, so they run on threads of their own and never on the pool the server needs.
final class RawClient: Sendable {
    private let descriptor: Int32

    init(port: Int) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if result != 0 { throw POSIXError(.ECONNREFUSED) }
        self.descriptor = descriptor
    }

    func send(_ text: String) async {
        let bytes = Array(text.utf8)
        await blocking { descriptor in
            _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
    }

    private func blocking<Value: Sendable>(
        _ call: @escaping @Sendable (Int32) -> Value
    ) async -> Value {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [descriptor] in
                continuation.resume(returning: call(descriptor))
            }
        }
    }

    func post(_ path: String, _ body: String, headers: String = "") async {
        await send(
            "POST \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }

    /// Reads until `text` appears or the server closes.
    func read(until text: String? = nil) async -> String {
        await blocking { descriptor in
            var received: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count <= 0 { break }
                received += buffer[..<count]
                if let text, String(decoding: received, as: UTF8.self).contains(text) { break }
            }
            return String(decoding: received, as: UTF8.self)
        }
    }

    /// Leaves without a word.
    func leave() { Glibc.shutdown(descriptor, Int32(SHUT_RDWR)) }

    deinit { Glibc.close(descriptor) }
}

/// Waits until a condition holds.
func eventually(
    within limit: Duration = .seconds(5), _ condition: @Sendable () -> Bool
) async -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if condition() { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return condition()
}
