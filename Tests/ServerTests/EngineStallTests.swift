import AutoGLMChat
import AutoGLMEngine
import Foundation
import Glibc
import HTTPTypes
import TestKit
import Testing

@testable import AutoGLMServer

/// Requests with the byte 7 in their prompts stop the engine.
private func stalling(_ gate: StepGate) -> Script {
    var script = Script("Hello!")
    script.hang = (token: 7, gate: gate)
    return script
}

@Suite(.serialized, .timeLimit(.minutes(2))) struct EngineStallTests {
    private func body(_ prompt: String, stream: Bool = false) -> String {
        #"{"model":"scripted","prompt":"\#(prompt)","max_tokens":6,"temperature":0,"#
            + #""stream":\#(stream)}"#
    }

    @Test func aStuckEngineIsUnreadyThenReplacedAndAnswersAsBefore() async throws {
        let gate = StepGate()
        let server = try TestServer(
            stalling(gate), engine: { $0.restartAfter = .seconds(5) })
        try await server.test { client in
            let before = try await client.post("/v1/completions", body("hi"))
            #expect(before.status == 200)
            #expect(try await client.get("/readyz").status == 200)

            async let stuck = client.post("/v1/completions", body("\\u0007"))
            async let stream = client.post("/v1/completions", body("\\u0007 x", stream: true))
            #expect(await eventually { gate.hanging == 1 })
            let start = ContinuousClock.now
            var isReady = true
            while isReady, ContinuousClock.now - start < .seconds(5) {
                isReady = try await client.get("/readyz").status == 200
                try await Task.sleep(for: .milliseconds(50))
            }
            #expect(!isReady)
            let unready = try await client.get("/readyz")
            #expect(unready.status == 503 && unready.json["status"] as? String == "stalled")
            #expect(try await client.get("/livez").status == 200)

            let failed = try await stuck
            #expect(failed.status == 503 && failed.code == "engine_restarted")
            #expect(failed.headers[.retryAfter] != nil)
            let broken = try await stream
            // In the step that hung, or waiting and kept; then it stops the next engine.
            #expect(broken.text.contains("engine_restarted") && !broken.events.isDone)

            let after = try await client.post("/v1/completions", body("hi"))
            #expect(after.status == 200)
            #expect(
                after.choices.first?["text"] as? String == before.choices.first?["text"] as? String)
            #expect(try await client.get("/readyz").status == 200)
            let metrics = try await client.get("/metrics").text
            #expect(metrics.contains("autoglm_engine_restarts_total"))
            #expect(!metrics.contains("autoglm_engine_restarts_total 0"))
        }
        gate.open()
    }

    @Test func deadlinesAreKeptByTheServerOfAStuckEngine() async throws {
        let gate = StepGate()
        let server = try TestServer(stalling(gate), engine: { $0.restartAfter = nil })
        try await server.test { client in
            let start = ContinuousClock.now
            let answer = try await client.post(
                "/v1/completions", body("\\u0007"), headers: [.deadline: "800"])
            #expect(answer.status == 504 && answer.code == "deadline_exceeded")
            #expect(ContinuousClock.now - start < .seconds(5))
        }
        gate.open()
    }

    @Test func aFailedStepIsAnErrorOfItsRequest() async throws {
        var script = Script("Hello!")
        script.failAfter = (tokens: 3, error: .device("at 0x7fff in /srv/model"))
        let server = try TestServer(script)
        try await server.test { client in
            let answer = try await client.post("/v1/completions", body("hi"))
            #expect(answer.status == 500 && answer.code == "engine_error")
            #expect(!answer.text.contains("0x7fff") && !answer.text.contains("/srv"))
            let metrics = try await client.get("/metrics").text
            #expect(!metrics.contains("autoglm_failed_steps_total 0"))
        }
    }
}

@Suite struct ServiceNotifierTests {
    private func ready(_ running: Int = 0) -> ServiceState {
        ServiceState(phase: .ready(model: "m\nREADY=1", running: running, waiting: 0))
    }

    @Test func readyOnceStatusAsItChangesStoppingOnce() {
        var lines = ServiceLines(watchdog: nil)
        let stopping = ServiceState(phase: .stopping)
        let states: [(ServiceState, Duration)] = [
            (ServiceState(phase: .loading(percent: 3)), .zero),
            (ServiceState(phase: .loading(percent: 4)), .zero),
            (ready(), .milliseconds(10)), (ready(), .seconds(9)), (ready(2), .seconds(10)),
            (stopping, .seconds(11)), (stopping, .seconds(12)),
        ]
        let said = states.map { lines.lines($0.0, now: $0.1) }
        #expect(
            said == [
                ["STATUS=Loading the model: 3 %", "EXTEND_TIMEOUT_USEC=60000000"], [],
                ["READY=1", "STATUS=Serving m READY=1: 0 running, 0 waiting"], [],
                ["STATUS=Serving m READY=1: 2 running, 0 waiting"],
                ["STOPPING=1", "STATUS=Finishing what is under way"], [],
            ])
    }

    @Test func theWatchdogIsFedAtHalfItsTimeAndOnlyWhileTheEngineLives() {
        var lines = ServiceLines(watchdog: .seconds(10))
        var fed = 0
        for tick in 0..<400 {
            fed += lines.lines(ready(), now: .milliseconds(tick * 100)).count { $0 == "WATCHDOG=1" }
        }
        #expect(fed == 8)
        var dead = ready()
        dead.isAlive = false
        let last = lines.lines(dead, now: .seconds(100))
        #expect(!last.contains("WATCHDOG=1"))
    }

    @Test(arguments: [false, true]) func datagramsArrive(isAbstract: Bool) throws {
        let name = "autoglm-notify-\(UInt32.random(in: 0 ... .max))"
        let path = isAbstract ? "@" + name : NSTemporaryDirectory() + "/" + name
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer {
            close(descriptor)
            if !isAbstract { unlink(path) }
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { room in
            room.copyBytes(from: path.utf8)
            if isAbstract { room[0] = 0 }
        }
        let length = socklen_t(2 + path.utf8.count)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(bound == 0)
        let notifier = try ServiceNotifier(socket: path)
        notifier.send(["READY=1", "STATUS=ok"])
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = recv(descriptor, &bytes, bytes.count, Int32(MSG_DONTWAIT))
        #expect(count > 0)
        let text = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
        #expect(text == "READY=1\nSTATUS=ok")
    }

    @Test func nonsenseIsRefused() {
        for socket in ["x", "vsock:2:3", "@", "/" + String(repeating: "x", count: 200)] {
            #expect(throws: ServiceNotifierError.self) { try ServiceNotifier(socket: socket) }
        }
        // Nobody listens: lost, and nothing else.
        try? ServiceNotifier(socket: "/nowhere/at/all").send(["READY=1"])
    }
}
