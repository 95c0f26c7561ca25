import AutoGLMChat
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMObservability
import Foundation
import Hummingbird
import Logging
import ServiceLifecycle
import TestKit

@testable import AutoGLMServer

/// A server around a real model with a scripted `CausalLM`, and short ways to talk to it.
struct TestServer: Sendable {
    let chat: ScriptedChat
    let server: ModelServer

    init(
        _ script: Script = .init(), template: String? = ScriptedChat.template,
        hasTokenizer: Bool = true, makers: SamplingOverrides = .init(),
        contextMax: Int = 4_096,
        options change: (inout ServerOptions) -> Void = { _ in },
        engine changeEngine: (inout EngineOptions) -> Void = { _ in }
    ) throws {
        let metrics = ServerMetrics(version: "test")
        chat = try ScriptedChat(
            script, template: template, hasTokenizer: hasTokenizer, makers: makers,
            contextMax: contextMax
        ) { options in
            options.onStep = { metrics.record($0) }
            changeEngine(&options)
        }
        server = try ModelServer(model: chat.model, options: .test(change), metrics: metrics)
    }

    var status: EngineStatus { chat.status }
    var blocksUsed: Int { chat.status.blocksUsed }

    func test<Value: Sendable>(
        _ body: @Sendable (LoopbackClient) async throws -> Value
    ) async throws -> Value {
        try await server.test(body)
    }
}

extension AccessKey: ExpressibleByStringLiteral {
    public init(stringLiteral key: String) { self.init(key) }
}

extension ServerOptions {
    static func test(_ change: (inout ServerOptions) -> Void = { _ in }) -> ServerOptions {
        var options = ServerOptions()
        options.port = 0
        options.handlesSignals = false
        options.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        change(&options)
        return options
    }
}

extension ModelServer {
    /// Runs on a free port of the loopback interface for as long as `body` does.
    func test<Value: Sendable>(
        _ body: @Sendable (LoopbackClient) async throws -> Value
    ) async throws -> Value {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let application = application { listening.yield($0) }
        let group = ServiceGroup(
            configuration: .init(services: [application], logger: options.logger))
        return try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                defer { listening.finish() }
                try await group.run()
            }
            guard let port = await ports.first(where: { _ in true }) else {
                throw POSIXError(.EADDRNOTAVAIL)
            }
            let result: Result<Value, any Error>
            do { result = .success(try await body(LoopbackClient(port: port))) } catch {
                result = .failure(error)
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            return try result.get()
        }
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
