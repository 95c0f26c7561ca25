import AutoGLM
import AutoGLMDecoding
import AutoGLMJSON
import AutoGLMObservability
import AutoGLMServer
import Foundation
import Logging
import Synchronization
import TestKit
import Testing

@testable import AutoGLMChat
@testable import AutoGLMCommand
@testable import AutoGLMEngine

/// The engine in a process of its own (`serve --isolate`): the built program, Mini-GLM.
@Suite(.serialized, .timeLimit(.minutes(5))) struct IsolationTests {
    /// What an engine has told for the log.
    final class Diary: Sendable {
        private let all = Mutex<(incidents: [EngineIncident], lines: [String])>(([], []))
        func add(_ incident: EngineIncident) { all.withLock { $0.incidents.append(incident) } }
        func add(line: String) { all.withLock { $0.lines.append(line) } }
        var incidents: [EngineIncident] { all.withLock { $0.incidents } }
        var lines: [String] { all.withLock { $0.lines } }
    }

    /// The program that was built beside these tests.
    static var program: String {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        let folder = (tests ?? "").split(separator: "/").dropLast().joined(separator: "/")
        return "/" + folder + "/autoglm"
    }

    static func model(
        isolated: Bool, _ diary: Diary = Diary(), _ change: (inout ModelOptions) -> Void = { _ in }
    ) throws -> ChatModel {
        var options = ModelOptions()
        options.usesFloat32 = true
        options.engine.compute.threads = 1
        options.engine.cacheBlocks = 512
        options.engine.onIncident = { diary.add($0) }
        if isolated {
            options.engine.isolation = EngineIsolation(
                executable: program, arguments: ["engine-process"],
                environment: ["SWIFT_BACKTRACE": "enable=no"], onLine: { diary.add(line: $0) })
        }
        change(&options)
        return try ChatModel.load(
            directory: SharedData.repository.appendingPathComponent("Models/mini-glm").path,
            options: options)
    }

    /// Engines that this process has started and that live.
    private func engines() -> [pid_t] {
        let mine = "\(getpid())"
        return (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap { name in
            guard let process = pid_t(name),
                let words = FileManager.default.contents(atPath: "/proc/\(name)/cmdline")
            else { return nil }
            let parts = String(decoding: words, as: UTF8.self).split(separator: "\0")
            return parts.count == 3 && parts[1] == "engine-process" && parts[2] == mine
                ? process : nil
        } ?? []
    }

    private func wait(
        _ limit: Duration = .seconds(30), _ condition: () -> Bool,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async {
        let end = ContinuousClock.now + limit
        while ContinuousClock.now < end {
            if condition() { return }
            try? await Task.sleep(for: .milliseconds(5))
        }
        Issue.record("it did not come to that", sourceLocation: sourceLocation)
    }

    private func request(_ word: Int32, tokens: Int = 40) -> GenerationRequest {
        var request = GenerationRequest(prompt: [word, 20, 30, 40], sampling: .greedy)
        request.sampling.maxTokens = tokens
        request.sampling.ignoreEOS = true
        return request
    }

    private func read(_ stream: TokenStream) async -> (tokens: [Int32], error: GenerationError?) {
        var tokens: [Int32] = []
        do {
            while let batch = try await stream.next() { tokens += batch.tokens.map(\.token) }
            return (tokens, nil)
        } catch {
            return (tokens, error)
        }
    }

    // MARK: The same bytes

    private static let schema = #""response_format":{"type":"json_schema","json_schema":{"name":"#
        + #""river","strict":true,"schema":{"type":"object","properties":{"zone":{"enum":["Æ",2]},"#
        + #""length":{"type":"integer","maximum":99},"names":{"type":"array","maxItems":2,"items":"#
        + #"{"type":"string","maxLength":8}}},"required":["zone","length","names"],"#
        + #""additionalProperties":false}}}"#
    private static let tool = #""tools":[{"type":"function","function":{"name":"look","strict":true,"#
        + #""parameters":{"type":"object","properties":{"at":{"type":"string","maxLength":9},"far":"#
        + #"{"type":"boolean"}},"required":["at","far"],"additionalProperties":false}}}]"#

    private static let chats = [
        #""seed":11,"temperature":1.3,"max_tokens":40,"logprobs":true,"top_logprobs":5"#,
        #""seed":7,"n":3,"temperature":1,"max_tokens":25"#,
        #""temperature":0,"max_tokens":60,"stop":["the"," a "]"#,
        #""temperature":0,"max_tokens":20,"logit_bias":{"100":50,"7":-100}"#,
        #""seed":3,"frequency_penalty":1,"presence_penalty":0.5,"repetition_penalty":1.2,"#
            + #""top_k":30,"top_p":0.9,"min_p":0.02,"min_tokens":9,"max_tokens":40"#,
        #""temperature":0,"max_tokens":30,"stream":true,"stream_options":{"include_usage":true}"#,
        #""seed":5,"n":2,"max_tokens":12,"stream":true,"logprobs":true,"top_logprobs":2"#,
        #""temperature":0,"max_tokens":40,"tool_choice":"required","tools":[{"type":"function","#
            + #""function":{"name":"look","parameters":{"type":"object"}}},{"type":"function","#
            + #""function":{"name":"leap","parameters":{"type":"object"}}}]"#,
        // Forms: compiled here, followed there.
        #""temperature":0,"max_tokens":80,"response_format":{"type":"json_object"}"#,
        schema + #","seed":4,"n":2,"temperature":1.2,"max_tokens":90"#,
        schema + #","temperature":0,"max_tokens":90,"stream":true,"logprobs":true"#,
        #""seed":1,"temperature":1.5,"max_tokens":40,"structured_outputs":{"regex":"#
            + #""(ab|ba|c[d-z]){3,6}xyz?"}"#,
        #""seed":2,"n":3,"max_tokens":9,"stream":true,"guided_choice":["yes","no","maybe"]"#,
        #""temperature":0,"max_tokens":60,"guided_grammar":"root ::= \"a\" (\"b\" | \"é\")+ \"!\"""#,
        tool + #","seed":9,"max_tokens":90,"tool_choice":{"type":"function","function":"#
            + #"{"name":"look"}}"#,
        tool + #","seed":6,"n":2,"max_tokens":90,"tool_choice":"required","stream":true"#,
        tool + #","seed":8,"max_tokens":60"#,
        #""max_tokens":5,"structured_outputs":{"regex":"("}"#,
        #""max_tokens":100000"#, #""temperature":9"#, #""max_tokens":2,"n":300"#,
    ]
    private static let completions = [
        #""prompt":"Once upon a time","temperature":0,"max_tokens":30,"echo":true,"logprobs":3"#,
        #""prompt":["One","Two","Three"],"n":2,"seed":4,"max_tokens":10"#,
        #""prompt":[1,2,3,4],"max_tokens":0,"echo":true,"logprobs":1"#,
        #""prompt":[1,2,999999999]"#, #""prompt":"""#,
        #""prompt":"Rivers","ignore_eos":true,"max_tokens":50,"stop_token_ids":[40,41],"seed":2"#,
    ]

    /// Without what is new in each answer.
    private func timeless(_ answer: String) -> String {
        let body = answer.firstRange(of: "\r\n\r\n").map { answer[$0.upperBound...] } ?? ""
        let status = answer.prefix { $0 != "\r\n" }
        return status + "\n" + body
            .replacing(/"id":"[^"]*"/, with: "")
            .replacing(/"created":[0-9]+/, with: "")
            // A slow reader gets several tokens in one event.
            .replacing(/[0-9a-f]+\r\n/, with: "")
    }

    private func answers(_ model: ChatModel) async throws -> [String] {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        var options = ServerOptions()
        options.port = 0
        options.handlesSignals = false
        options.drainTimeout = .milliseconds(100)
        options.logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        options.onListening = { listening.yield($0) }
        let final = options
        let running = Task {
            try await serve(options: final, metrics: ServerMetrics(version: "test")) { _ in model }
        }
        defer { running.cancel() }
        let port = try #require(await ports.first { _ in true })
        var answers: [String] = []
        func ask(_ path: String, _ body: String) async throws {
            let client = try RawClient(port: port)
            await client.post(path, body, headers: "Connection: close\r\n")
            answers.append(timeless(await client.read()))
        }
        let messages = #"{"messages":[{"role":"user","content":"Write about rivers."}],"#
        for fields in Self.chats {
            try await ask("/v1/chat/completions", messages + fields + "}")
        }
        for fields in Self.completions { try await ask("/v1/completions", "{" + fields + "}") }
        try await ask("/v1/models", "")
        return answers
    }

    /// What a stream's events hold together: how many tokens share one is a matter of time.
    private func joined(_ answer: String) -> String {
        guard answer.contains("data: ") else { return answer }
        var texts: [String: String] = [:]
        for line in answer.split(whereSeparator: \.isNewline) where line.hasPrefix("data: {") {
            guard let json = try? JSONValue.parse(String(line.dropFirst(6))) else { continue }
            for choice in json["choices"]?.arrayValue ?? [] {
                let key = "\(choice["index"]?.intValue ?? 0)"
                texts[key, default: ""] += choice["delta"]?["content"]?.stringValue ?? ""
                texts[key, default: ""] += choice["finish_reason"]?.stringValue ?? ""
                for entry in choice["logprobs"]?["content"]?.arrayValue ?? [] {
                    texts[key + " logprobs", default: ""] += "\(entry)"
                }
            }
            if let usage = json["usage"] { texts["usage"] = "\(usage)" }
        }
        return "\(texts.sorted { $0.key < $1.key })"
    }

    @Test func theSameBytesAsInOneProcess() async throws {
        let together = try Self.model(isolated: false)
        let expected = try await answers(together).map(joined)
        together.close()
        let apart = try Self.model(isolated: true)
        defer { apart.close() }
        #expect(apart.facts.fingerprint == together.facts.fingerprint)
        #expect(apart.facts.contextMax == together.facts.contextMax)
        // Weights and KV blocks are there, not here.
        #expect(engines().count == 1)
        #expect(apart.engine.processMemory > 8 << 20)
        let found = try await answers(apart).map(joined)
        #expect(found.count == expected.count)
        for (mine, theirs) in zip(found, expected) { #expect(mine == theirs) }
        #expect(expected.count { $0.contains(" 200 OK") || !$0.hasPrefix("HTTP") } >= 21)
    }

    @Test func cancellingAndClosingFreeWhatWasHeld() async throws {
        let model = try Self.model(isolated: true)
        let first = try model.engine.generate(request(10, tokens: 3_000))
        _ = try await first.next()
        let task = Task { [self] in await read(try model.engine.generate(request(11, tokens: 3_000))) }
        await wait { model.engine.status.running == 2 }
        first.abort()
        task.cancel()
        #expect(try await task.value.error == .cancelled)
        await wait { model.engine.status.running == 0 && model.engine.status.blocksUsed == 0 }
        var late = request(12, tokens: 4_000)
        late.deadline = .milliseconds(100)
        let result = await read(try model.engine.generate(late))
        #expect(result.error == .deadlineExceeded(limit: .milliseconds(100)))
        model.engine.shedCache(keeping: 0)
        await wait { model.engine.status.blocksCached == 0 && model.engine.status.running == 0 }
        model.close()
        await wait { engines().isEmpty }
        #expect(throws: AdmissionError.self) { try model.engine.generate(request(1)) }
    }

    /// Until its form is compiled, the engine thread does not know a request.
    @Test func requestsWithFormsAreAbortedReplacedAndStopped() async throws {
        let model = try Self.model(isolated: true)
        let engine = model.engine
        func form(_ word: Int32) async throws -> GenerationRequest {
            var options = AnswerOptions()
            options.form = OutputForm(.regex("(a|b){1500}\\d{\(word)}"), field: "regex")
            var request = request(word, tokens: 3_000)
            request.sampling.ignoreEOS = false
            request.constraint = try await model.constraint(options)
            return request
        }
        let requests = try await [form(10), form(11), form(12)]
        for request in requests {
            // Before and while it is compiled, and after.
            for time in [0, 1, 20] {
                let stream = try engine.generate(request)
                try await Task.sleep(for: .milliseconds(time))
                stream.abort()
            }
        }
        await wait { engine.status.running == 0 && engine.status.waiting == 0 }
        let whole = await read(try engine.generate(requests[0]))
        #expect(whole.error == nil && whole.tokens.count > 20)
        // A new process knows neither vocabulary nor grammars.
        let stream = try engine.generate(requests[1])
        // `running` may still count the last one.
        #expect(try await stream.next()?.finish == nil)
        kill(try #require(engines().first), SIGKILL)
        #expect(await read(stream).error == .engineRestarted)
        await wait { !engine.status.isRestarting }
        let again = await read(try engine.generate(requests[0]))
        #expect(again.tokens == whole.tokens && again.error == nil)
        let last = try requests.map { try engine.generate($0) }
        model.close()
        for stream in last { #expect(await read(stream).error == .shuttingDown) }
        await wait { engines().isEmpty }
    }

    /// It is the one that can be replaced.
    @Test func memoryThatRunsOutTakesTheEngineFirst() throws {
        func adjustment(_ process: pid_t) throws -> Int {
            let text = try String(
                contentsOfFile: "/proc/\(process)/oom_score_adj", encoding: .utf8)
            return try #require(Int(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        }
        let model = try Self.model(isolated: true)
        defer { model.close() }
        let mine = try adjustment(getpid())
        #expect(try adjustment(try #require(engines().first)) == min(mine + 500, 1_000))
    }

    // MARK: Deaths

    @Test func aKilledEngineIsReplacedAndAnswersAsBefore() async throws {
        let diary = Diary()
        let model = try Self.model(isolated: true, diary) { $0.engine.sequencesMax = 2 }
        defer { model.close() }
        let engine = model.engine
        let before = await read(try engine.generate(request(10)))
        let running = try (0..<2).map { try engine.generate(request($0, tokens: 1_500)) }
        await wait { engine.status.running == 2 }
        let waiting = try (10..<13).map { try engine.generate(request($0)) }
        let process = try #require(engines().first)
        kill(process, SIGKILL)
        for stream in running { #expect(await read(stream).error == .engineRestarted) }
        // Until the next one has its weights, there is no use in waiting.
        do {
            _ = try engine.generate(request(10))
        } catch AdmissionError.engineRestarting(let after) {
            #expect(after >= .seconds(1))
        }
        let kept = await read(waiting[0])
        #expect(kept.tokens == before.tokens && kept.error == nil)
        for stream in waiting.dropFirst() { #expect(await read(stream).error == nil) }
        let after = await read(try engine.generate(request(10)))
        #expect(after.tokens == before.tokens && after.error == nil)
        await wait { diary.incidents.count == 2 }
        guard case .died(let reason, 2, 3) = diary.incidents.first,
            case .recovered = diary.incidents.last
        else {
            Issue.record("\(diary.incidents)")
            return
        }
        #expect(reason == "signal 9")
        #expect(engine.status.processRestarts == 1 && engine.status.restarts == 0)
        await wait { engine.status.running == 0 && engine.status.waiting == 0 }
        #expect(engines().count == 1 && engines().first != process)
    }

    @Test func aStoppedEngineIsReplaced() async throws {
        let diary = Diary()
        let model = try Self.model(isolated: true, diary) {
            $0.engine.restartAfter = .milliseconds(700)
        }
        defer { model.close() }
        let stream = try model.engine.generate(request(3, tokens: 3_000))
        await wait { model.engine.status.running == 1 }
        kill(try #require(engines().first), SIGSTOP)
        #expect(await read(stream).error == .engineRestarted)
        await wait { diary.incidents.contains { if case .recovered = $0 { true } else { false } } }
        #expect(await read(try model.engine.generate(request(4))).error == nil)
        #expect(engines().count == 1)
    }

    /// Its own fault twice, while it computed the same request: it is not tried a third time.
    @Test func aRequestThatCrashesTheEngineTwiceIsRefused() async throws {
        let model = try Self.model(isolated: true)
        defer { model.close() }
        var refusal: AdmissionError?
        // Between two steps, for some microseconds, nobody is to blame.
        for _ in 0..<4 where refusal == nil {
            await wait { !model.engine.status.isRestarting }
            do {
                let stream = try model.engine.generate(request(7, tokens: 3_000))
                await wait { model.engine.status.running == 1 }
                kill(try #require(engines().first), SIGSEGV)
                #expect(await read(stream).error == .engineRestarted)
            } catch let error as AdmissionError {
                refusal = error
            }
        }
        await wait { !model.engine.status.isRestarting }
        guard case .quarantined(times: 2, _) = refusal else {
            Issue.record("\(String(describing: refusal))")
            return
        }
        #expect(await read(try model.engine.generate(request(8))).error == nil)
    }

    @Test func afterFiveDeathsItGivesUp() async throws {
        let diary = Diary()
        let model = try Self.model(isolated: true, diary)
        defer { model.close() }
        var last: pid_t = 0
        for _ in 0..<5 {
            await wait { engines().contains { $0 != last } && !model.engine.status.isRestarting }
            last = try #require(engines().first)
            kill(last, SIGKILL)
            await wait { !engines().contains(last) }
        }
        await wait { diary.incidents.last == .gaveUp(restarts: 4) }
        #expect(model.engine.status.hasFailed)
        #expect(throws: AdmissionError.engineFailed(retryAfter: .seconds(30))) {
            try model.engine.generate(request(1))
        }
    }

    // MARK: What is no engine

    @Test(arguments: [
        ("exit 3", "exit code 3"), ("printf 'HTTP/1.1 200 OK' >&3; exec sleep 60", "limit"),
        ("printf '\\001\\000\\000\\000\\001' >&3; exec sleep 60", "unknown kind"),
        ("printf '\\005\\000\\000\\000\\106\\001\\002\\003\\004' >&3; exec sleep 60", "sequences"),
        ("echo broken >&2; kill -ABRT $$", "signal 6"),
    ])
    func aProcessThatIsNoEngineIsAnError(script: String, reason: String) async throws {
        let diary = Diary()
        do {
            let model = try Self.model(isolated: true, diary) { options in
                options.engine.isolation?.executable = "/bin/sh"
                options.engine.isolation?.arguments = ["-c", script]
            }
            model.close()
            Issue.record("an engine without a model")
        } catch let error as EngineProcessError {
            #expect(error.description.contains(reason) || script.hasPrefix("printf"), "\(error)")
            #expect(error.description.contains("signal") || error.description.contains("exit"))
        }
        if script.hasPrefix("echo") { await wait { diary.lines == ["broken"] } }
    }

    @Test func aBrokenModelIsNamedAsInOneProcess() throws {
        let directory = try TemporaryDirectory()
        let source = SharedData.repository.appendingPathComponent("Models/mini-glm")
        for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
            try FileManager.default.copyItem(
                at: source.appendingPathComponent(file),
                to: directory.url.appendingPathComponent(file))
        }
        func message(isolated: Bool) -> String {
            do {
                try Self.model(isolated: isolated) { $0.engine.contextMax = 1 << 22 }.close()
                return ""
            } catch {
                return "\(error)"
            }
        }
        let plain = message(isolated: false)
        #expect(plain.contains("--max-model-tokens"))
        #expect(message(isolated: true) == plain)
    }
}
