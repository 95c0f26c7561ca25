import AutoGLMAPI
import AutoGLMChat
import AutoGLMEngine
import Foundation
import Hummingbird
import TestKit
import Testing

@testable import AutoGLMServer

@Suite struct RouteTests {
    /// Four thousand tokens, and no loop in them.
    private var slow: Script {
        var script = Script()
        var random = SplitMix64(seed: 3)
        script.tokens += (0..<4_000).map { _ in Int32.random(in: 97...122, using: &random) }
        return script
    }

    @Test func chat() async throws {
        let server = try TestServer()
        try await server.test { client in
            let answer = try await client.chat()
            #expect(answer.status == 200)
            #expect(answer.json["object"] as? String == "chat.completion")
            #expect((answer.json["id"] as? String)?.hasPrefix("chatcmpl-") == true)
            #expect(answer.json["model"] as? String == "scripted")
            #expect(answer.json["system_fingerprint"] as? String == "fp_test")
            #expect(answer.message["role"] as? String == "assistant")
            #expect(answer.message["content"] as? String == "Hello, world!")
            #expect(answer.choices.first?["finish_reason"] as? String == "stop")
            let usage = try #require(answer.json["usage"] as? [String: Any])
            #expect(usage["prompt_tokens"] as? Int == 3)
            #expect(usage["completion_tokens"] as? Int == 13)
            #expect(usage["total_tokens"] as? Int == 16)
            let details = usage["prompt_tokens_details"] as? [String: Any]
            #expect(details?["cached_tokens"] as? Int == 0)
            let again = try await client.chat().json["usage"] as? [String: Any]
            let cached = again?["prompt_tokens_details"] as? [String: Any]
            #expect(cached?["cached_tokens"] as? Int == 2)
            #expect(answer.headers[.processingTime].flatMap { Int($0) } != nil)
            #expect(answer.headers[.requestID]?.hasPrefix("req_") == true)
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    @Test func chatStream() async throws {
        let server = try TestServer()
        try await server.test { client in
            let answer = try await client.chat(
                #","stream":true,"stream_options":{"include_usage":true}"#)
            #expect(answer.headers[.contentType] == "text/event-stream")
            #expect(answer.headers[.cacheControl] == "no-cache")
            #expect(answer.headers[.accelBuffering] == "no")
            let (events, isDone) = answer.events
            #expect(isDone)
            let first = try #require((events.first?["choices"] as? [[String: Any]])?.first)
            #expect((first["delta"] as? [String: Any])?["role"] as? String == "assistant")
            #expect(answer.joined("content") == "Hello, world!")
            let last = try #require(events.last)
            #expect((last["choices"] as? [Any])?.isEmpty == true)
            #expect((last["usage"] as? [String: Any])?["completion_tokens"] as? Int == 13)
            let reason = events.dropLast().last?["choices"] as? [[String: Any]]
            #expect(reason?.first?["finish_reason"] as? String == "stop")
            #expect(Set(events.compactMap { $0["id"] as? String }).count == 1)
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    /// The exact bytes of a small stream.
    @Test func streamGolden() async throws {
        // One token, so that it is one event.
        let server = try TestServer(Script(words: ["Hi\"\n"]))
        try await server.test { client in
            let answer = try await client.chat(#","stream":true"#)
            let id = try #require(answer.events.data.first?["id"] as? String)
            let created = try #require(answer.events.data.first?["created"] as? Int)
            let head =
                #"data: {"id":"\#(id)","object":"chat.completion.chunk","created":\#(created),"#
                + #""model":"scripted","system_fingerprint":"fp_test","choices":[{"index":0,"delta":"#
            let expected = """
                \(head){"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

                \(head){"content":"Hi\\"\\n"},"logprobs":null,"finish_reason":null}]}

                \(head){},"logprobs":null,"finish_reason":"stop"}]}

                data: [DONE]


                """
            #expect(answer.text == expected)
        }
    }

    @Test func toolCalls() async throws {
        let server = try TestServer(Script("get_weather\n{\"city\": \"Beijing\"}"))
        let tools =
            #","tools":[{"type":"function","function":{"name":"get_weather","parameters":{"#
            + #""type":"object","properties":{"city":{"type":"string"}}}}}]"#
        try await server.test { client in
            let whole = try await client.chat(tools)
            let call = try #require((whole.message["tool_calls"] as? [[String: Any]])?.first)
            #expect((call["id"] as? String)?.hasPrefix("call_") == true)
            let function = try #require(call["function"] as? [String: Any])
            #expect(function["name"] as? String == "get_weather")
            #expect(function["arguments"] as? String == "{\"city\": \"Beijing\"}")
            #expect(whole.message["content"] is NSNull)
            #expect(whole.choices.first?["finish_reason"] as? String == "tool_calls")

            let stream = try await client.chat(tools + #","stream":true"#)
            let deltas = stream.events.data.compactMap { event -> [String: Any]? in
                let choice = (event["choices"] as? [[String: Any]])?.first
                let calls = (choice?["delta"] as? [String: Any])?["tool_calls"]
                return (calls as? [[String: Any]])?.first
            }
            #expect(deltas.allSatisfy { $0["index"] as? Int == 0 })
            #expect(deltas.count { $0["id"] != nil } == 1)
            let names = deltas.compactMap { ($0["function"] as? [String: Any])?["name"] as? String }
            #expect(names == ["get_weather"])
            let arguments = deltas.compactMap {
                ($0["function"] as? [String: Any])?["arguments"] as? String
            }
            #expect(arguments.joined() == "{\"city\": \"Beijing\"}")
        }
        // The template shows the tools.
        #expect(server.chat.prompts.first == tokens("get_weather;Hi") + [257])
    }

    @Test func toolChoice() async throws {
        let server = try TestServer(Script("{}"))
        let tools = #","tools":["# + ["alpha", "beta"].map {
            #"{"type":"function","function":{"name":"\#($0)"}}"#
        }.joined(separator: ",") + "]"
        try await server.test { client in
            // The model is given the name and makes the arguments.
            let named = try await client.chat(
                tools + #","tool_choice":{"type":"function","function":{"name":"beta"}}"#)
            let call = (named.message["tool_calls"] as? [[String: Any]])?.first
            #expect((call?["function"] as? [String: Any])?["name"] as? String == "beta")
            let prompt = try #require(server.chat.prompts.last)
            #expect(prompt == tokens("alpha;beta;Hi") + [257] + tokens("beta\n"))

            let none = try await client.chat(tools + #","tool_choice":"none""#)
            #expect(none.message["tool_calls"] == nil)
            #expect(server.chat.prompts.last == tokens("Hi") + [257])

            // The scripted model says "{", which begins no name: some tool is called all the same.
            let required = try await client.chat(tools + #","tool_choice":"required""#)
            #expect((required.message["tool_calls"] as? [Any])?.count == 1)
        }
        // Where the names part, the model decides.
        let asked = try TestServer(Script("beta\n{}"))
        try await asked.test { client in
            let required = try await client.chat(tools + #","tool_choice":"required""#)
            let call = (required.message["tool_calls"] as? [[String: Any]])?.first
            #expect((call?["function"] as? [String: Any])?["name"] as? String == "beta")
            let some = #","tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","#
                + #""tools":[{"type":"function","function":{"name":"alpha"}}]}}"#
            let allowed = try await client.chat(tools + some)
            let other = (allowed.message["tool_calls"] as? [[String: Any]])?.first
            #expect((other?["function"] as? [String: Any])?["name"] as? String == "alpha")
        }
    }

    private func tokens(_ text: String) -> [Int32] { Array(text.utf8).map(Int32.init) }

    @Test func choicesAndLogprobs() async throws {
        let server = try TestServer()
        try await server.test { client in
            let answer = try await client.chat(
                #","n":3,"seed":7,"logprobs":true,"top_logprobs":2"#)
            #expect(answer.choices.count == 3)
            #expect(answer.choices.map { $0["index"] as? Int } == [0, 1, 2])
            let logprobs = answer.choices.first?["logprobs"] as? [String: Any]
            let content = try #require(logprobs?["content"] as? [[String: Any]])
            #expect(content.count == 13)
            #expect(content.first?["token"] as? String == "H")
            #expect(content.first?["bytes"] as? [Int] == [72])
            #expect((content.first?["top_logprobs"] as? [Any])?.count == 2)
            let usage = answer.json["usage"] as? [String: Any]
            #expect(usage?["prompt_tokens"] as? Int == 3)
            #expect(usage?["completion_tokens"] as? Int == 39)

            let stream = try await client.chat(
                #","n":2,"stream":true,"logprobs":true,"top_logprobs":1"#)
            let entries = stream.events.data.flatMap { event -> [Any] in
                let choice = (event["choices"] as? [[String: Any]])?.first
                return (choice?["logprobs"] as? [String: Any])?["content"] as? [Any] ?? []
            }
            #expect(entries.count == 26)
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    @Test func completions() async throws {
        let server = try TestServer()
        try await server.test { client in
            let plain = try await client.post(
                "/v1/completions", #"{"prompt":"Say","max_tokens":5}"#)
            #expect(plain.choices.first?["text"] as? String == "Hello")
            #expect(plain.choices.first?["finish_reason"] as? String == "length")
            #expect((plain.json["id"] as? String)?.hasPrefix("cmpl-") == true)

            let many = try await client.post(
                "/v1/completions",
                #"{"prompt":["a","bc"],"n":2,"echo":true,"logprobs":1,"max_tokens":3}"#)
            #expect(
                many.choices.compactMap { $0["text"] as? String }
                    == ["aHel", "aHel", "bcHel", "bcHel"])
            let logprobs = try #require(many.choices[2]["logprobs"] as? [String: Any])
            #expect(logprobs["tokens"] as? [String] == ["b", "c", "H", "e", "l"])
            #expect(logprobs["text_offset"] as? [Int] == [0, 1, 2, 3, 4])
            #expect((logprobs["token_logprobs"] as? [Any])?.first is NSNull)
            #expect((many.json["usage"] as? [String: Any])?["prompt_tokens"] as? Int == 3)

            let stream = try await client.post(
                "/v1/completions", #"{"prompt":[72,105],"stream":true,"max_tokens":50}"#)
            let text = stream.events.data.compactMap {
                ($0["choices"] as? [[String: Any]])?.first?["text"] as? String
            }
            #expect(text.joined() == "Hello, world!")
            #expect(stream.events.isDone)

            let unknown = try await client.post("/v1/completions", #"{"prompt":[300]}"#)
            #expect(unknown.status == 400 && unknown.code == "unknown_token")
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    @Test func modelsTokensAndVersion() async throws {
        let server = try TestServer { $0.modelAliases = ["org/alias"] }
        try await server.test { client in
            let models = try await client.get("/v1/models")
            let names = (models.json["data"] as? [[String: Any]])?.compactMap { $0["id"] as? String }
            #expect(names == ["scripted", "org/alias"])
            #expect(try await client.get("/v1/models/scripted").json["id"] as? String == "scripted")
            #expect(try await client.get("/v1/models/org/alias").status == 200)
            #expect(try await client.get("/v1/models/org%2Falias").status == 200)
            let unknown = try await client.get("/v1/models/other")
            #expect(unknown.status == 404 && unknown.code == "model_not_found")

            let tokens = try await client.post("/v1/tokenize", #"{"prompt":"Hi"}"#)
            #expect(tokens.json["tokens"] as? [Int] == [72, 105])
            #expect(tokens.json["count"] as? Int == 2)
            let chat = try await client.post(
                "/v1/tokenize", #"{"messages":[{"role":"user","content":"Hi"}]}"#)
            #expect(chat.json["tokens"] as? [Int] == [72, 105, 257])
            let text = try await client.post("/v1/detokenize", #"{"tokens":[72,105]}"#)
            #expect(text.json["prompt"] as? String == "Hi")
            #expect(try await client.get("/version").json["version"] as? String == "0.1.0")
            #expect(try await client.get("/ping").text == "pong")
        }
    }

    @Test func errors() async throws {
        let server = try TestServer()
        try await server.test { client in
            let missing = try await client.get("/v1/nothing")
            #expect(missing.status == 404 && missing.code == "not_found")
            #expect(missing.error["type"] as? String == "not_found_error")
            let method = try await client.get("/v1/chat/completions")
            #expect(method.status == 405 && method.headers[.allow] == "POST")
            let type = try await client.post(
                "/v1/chat/completions", "{}", headers: [.contentType: "text/plain"])
            #expect(type.status == 415)
            let gzip = try await client.post(
                "/v1/chat/completions", "{}", headers: [.contentEncoding: "gzip"])
            #expect(gzip.status == 415)
            let json = try await client.post("/v1/chat/completions", "{\"a\"")
            #expect(json.status == 400 && json.code == "invalid_json")
            let deep = try await client.post(
                "/v1/chat/completions", String(repeating: "[", count: 100_000))
            #expect(deep.status == 400)
            let empty = try await client.post("/v1/chat/completions", "{}")
            #expect(empty.status == 400 && empty.parameter == "messages")
            let model = try await client.chat(#","model":"gpt-9""#)
            #expect(model.status == 404 && model.code == "model_not_found")
            let url = try await client.get("/" + String(repeating: "a", count: 9_000))
            #expect(url.status == 414)
            let large = try await client.post(
                "/v1/chat/completions", String(repeating: " ", count: RequestLimits.bodyBytes + 1))
            #expect(large.status == 413 && large.code == "body_too_large")
            let deadline = try await client.post(
                "/v1/chat/completions", #"{"messages":[{"role":"user","content":"x"}]}"#,
                headers: [.deadline: "0"])
            #expect(deadline.status == 400 && deadline.parameter == "x-deadline-ms")
            #expect(server.chat.tap.steps == 0)
        }
    }

    @Test func headersReachTheEngine() async throws {
        let server = try TestServer()
        let body = #"{"messages":[{"role":"user","content":"x"}],"priority":9,"top_k":-1}"#
        let fields = try ChatCompletionRequest(body: Array(body.utf8)).generation
        let builder = RequestBuilder(model: server.chat.model, options: server.server.options)
        var context = try await ServerContext.test()
        context.tenant = "key-1"
        let answer = try builder.answerOptions(
            fields, .test([.deadline: "1500", .queueTimeout: "250"]), context)
        #expect(answer.priority == 9)
        #expect(answer.deadline == .milliseconds(1_500))
        #expect(answer.queueTimeout == .milliseconds(250))
        #expect(answer.tenant == "key-1")
        #expect(answer.timeline.received == context.arrival)
        #expect(server.chat.model.sampling(answer).topK == -1)
    }

    /// The same, seen from outside: what the engine does about it.
    @Test func headersAreActedOn() async throws {
        var script = slow
        script.delay = .milliseconds(2)
        let server = try TestServer(
            script, options: { $0.keys = ["first-secret", "second-secret"] },
            engine: { $0.sequencesMax = 1 })
        let body = #"{"messages":[{"role":"user","content":"Hi"}],"max_tokens":3"#
        try await server.test { client in
            func cached(_ key: String) async throws -> Int? {
                let answer = try await client.post(
                    "/v1/chat/completions", body + "}", headers: [.authorization: "Bearer \(key)"])
                let usage = answer.json["usage"] as? [String: Any]
                return (usage?["prompt_tokens_details"] as? [String: Any])?["cached_tokens"] as? Int
            }
            // What one key has computed is not another's.
            #expect(try await cached("first-secret") == 0)
            #expect(try await cached("second-secret") == 0)
            #expect(try await cached("second-secret") == 2)

            async let long = client.post(
                "/v1/chat/completions", #"{"messages":[{"role":"user","content":"x"}]}"#,
                headers: [.authorization: "Bearer first-secret", .deadline: "1500"])
            #expect(await eventually { server.status.running == 1 && server.status.waiting == 0 })
            let waiting = try await client.post(
                "/v1/chat/completions", body + #","priority":9}"#,
                headers: [.authorization: "Bearer second-secret", .queueTimeout: "250"])
            #expect(waiting.status == 503 && waiting.code == "queue_timeout")
            #expect((waiting.error["message"] as? String)?.contains("250.0 ms") == true)
            #expect(server.server.metrics.waiting.value("9") != nil)
            let late = try await long
            #expect(late.status == 504 && late.code == "deadline_exceeded")
            #expect((late.error["message"] as? String)?.contains("1.5 s") == true)
        }
    }

    @Test func requestIDs() async throws {
        let server = try TestServer()
        try await server.test { client in
            let echoed = try await client.get("/ping", headers: [.requestID: "my-id_1"])
            #expect(echoed.headers[.requestID] == "my-id_1")
            for bad in [String(repeating: "x", count: 129), "with space", "é"] {
                let answer = try await client.get("/ping", headers: [.requestID: bad])
                #expect(answer.headers[.requestID]?.hasPrefix("req_") == true)
            }
        }
    }

    @Test(arguments: [
        (AdmissionError.overloaded(waiting: 256, limit: 256, retryAfter: .seconds(4)), 429),
        (.tooManyQueuedTokens(waiting: 9, limit: 8, retryAfter: .seconds(1)), 429),
        (
            .deadlineTooShort(
                wait: .seconds(10), deadline: .seconds(2), retryAfter: .seconds(8)), 429
        ),
        (.shuttingDown(retryAfter: .seconds(1)), 503),
        (.deadlineExceeded(limit: .seconds(1)), 504),
        (.tooManySequences(count: 9, limit: 8), 400),
        (.promptTooLong(tokens: 9, limit: 8), 400),
        (.promptOverflows(tokensMin: 9, limit: 8), 400),
        (.tooManyTokens(prompt: 5, maxTokens: 9, limit: 8), 400),
        (.emptyPrompt, 400),
    ])
    func admission(error: AdmissionError, status: Int) {
        let answer = APIError(error, promptField: "messages", maxTokensField: "max_tokens")
        let response = Gate.response(answer)
        #expect(answer.status == status && response.status.code == status)
        let retry = response.headers[.retryAfter].flatMap { Int($0) }
        if status == 400 || status == 504 {
            #expect(retry == nil)
        } else {
            #expect((1...30).contains(retry ?? 0))
        }
        switch error {
        case .promptTooLong, .promptOverflows:
            #expect(answer.code == "context_length_exceeded")
        case .emptyPrompt: #expect(answer.parameter == "messages")
        case .tooManySequences: #expect(answer.parameter == "n")
        case .tooManyTokens:
            let named = APIError(
                error, promptField: "messages", maxTokensField: "max_completion_tokens")
            #expect(named.parameter == "max_completion_tokens")
        default: break
        }
    }

    /// A queue of one, and three who come.
    @Test func aFullQueueSaysWhenToComeBack() async throws {
        var script = slow
        script.delay = .milliseconds(5)
        let server = try TestServer(
            script,
            engine: { engine in
                engine.sequencesMax = 1
                engine.queueRequests = 1
            })
        try await server.test { client in
            let body = #"{"messages":[{"role":"user","content":"x"}],"stream":true}"#
            let running = try RawClient(port: client.port)
            await running.post("/v1/chat/completions", body)
            #expect(await eventually { server.status.running == 1 && server.status.waiting == 0 })
            let waiting = try RawClient(port: client.port)
            await waiting.post("/v1/chat/completions", body)
            #expect(await eventually { server.status.waiting == 1 })
            for extra in ["", #","stream":true"#] {
                let answer = try await client.chat(extra)
                #expect(answer.status == 429 && answer.code == "queue_full")
                let retry = answer.headers[.retryAfter].flatMap { Int($0) }
                #expect((1...30).contains(retry ?? 0))
            }
            let many = try await client.chat(#","n":2"#)
            #expect(many.status == 400 && many.code == "too_many_sequences")
            #expect(many.parameter == "n")
            let long = try await client.chat(#","max_completion_tokens":100000"#)
            #expect(long.status == 400 && long.code == "context_length_exceeded")
            #expect(long.parameter == "max_completion_tokens")
            running.leave()
            waiting.leave()
        }
        #expect(await eventually { server.blocksUsed == 0 && server.status.waiting == 0 })
        #expect(server.server.metrics.rejections.value("queue_full") == 2)
    }

    @Test func errorsMidStreamEndWithoutDone() async throws {
        var script = Script()
        script.failAfter = (8, .device("/secret/path"))
        let server = try TestServer(script)
        try await server.test { client in
            let stream = try await client.chat(#","stream":true"#)
            #expect(stream.status == 200)
            #expect(stream.joined("content") == "Hello, w")
            let error = stream.events.data.last?["error"] as? [String: Any]
            #expect(error?["code"] as? String == "engine_error")
            #expect(!stream.events.isDone)
            let whole = try await client.chat()
            #expect(whole.status == 500 && whole.code == "engine_error")
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    @Test func deadlinesEndStreamsWithoutDone() async throws {
        var script = slow
        script.delay = .milliseconds(10)
        let server = try TestServer(script) { $0.requestTimeout = .milliseconds(400) }
        try await server.test { client in
            let stream = try await client.chat(#","stream":true"#)
            #expect(stream.status == 200)
            #expect(stream.joined("content").hasPrefix("Hello, w"))
            let error = stream.events.data.last?["error"] as? [String: Any]
            #expect(error?["code"] as? String == "deadline_exceeded")
            #expect(!stream.events.isDone)
            let whole = try await client.chat()
            #expect(whole.status == 504 && whole.code == "deadline_exceeded")
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    /// A failed step's reason may hold paths of this machine.
    @Test func internalReasonsStayInside() async throws {
        var script = Script()
        script.failAfter = (0, .device("/secret/path"))
        let server = try TestServer(script)
        try await server.test { client in
            let answer = try await client.chat()
            #expect(answer.status == 500)
            #expect(!answer.text.contains("secret"))
        }
    }
}

@Suite struct AccessTests {
    /// Every route, with no key, a wrong one and a right one.
    @Test(arguments: Route.allCases)
    func routesAreClosed(route: Route) async throws {
        let server = try TestServer { $0.keys = ["correct-key"] }
        let path = route == .model ? "/v1/models/scripted" : route.rawValue
        try await server.test { client in
            for key in [nil, "Bearer wrong-keyyy", "Bearer ", "correct-key", "Basic correct-key"] {
                var headers: HTTPFields = [.contentType: "application/json"]
                headers[.authorization] = key
                let answer = try await client.call(path, route.method, headers, "{}")
                #expect((answer.status == 401) == route.needsKey, "\(path) \(key ?? "none")")
                if route.needsKey { #expect(answer.code == "invalid_api_key") }
            }
            let answer = try await client.call(
                path, route.method,
                [.contentType: "application/json", .authorization: "Bearer correct-key"], "{}")
            #expect(answer.status != 401)
        }
    }

    @Test func onlyHealthIsOpen() {
        let open = Route.allCases.filter { !$0.needsKey }
        #expect(open == [.health, .live, .ready, .ping, .version])
    }

    @Test func unknownPathsAreClosedToo() async throws {
        let server = try TestServer { $0.keys = ["correct-key"] }
        try await server.test { client in
            for path in ["/v1/secret", "/admin"] {
                let answer = try await client.get(path)
                #expect(answer.status == 401)
            }
        }
    }

    @Test func keysAreComparedWhole() {
        #expect(AccessKey("abc") == AccessKey("abc"))
        for other in ["abd", "ab", "abc\0", "", "Abc"] {
            #expect(AccessKey("abc") != AccessKey(other))
        }
    }

    @Test func keysAreNotKept() {
        let key = "a-key-that-must-not-be-found"
        var seen = ""
        dump(AccessKey(key), to: &seen)
        #expect(!seen.contains("must-not"))
    }

    /// FIPS 180-4 and lengths around the ends of blocks, by an independent implementation.
    @Test(arguments: [
        (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (1, "4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c7785459a"),
        (55, "16fa57a0a3423a715d594516339f36189d6b5f93754a9714fef202616a9fabfe"),
        (56, "c37b44e5f1b18554b36966f4f8e08bfbf3164c4b6c10374d12d89850892073c5"),
        (63, "bbba992d2c85af960fb2987a1fd05e0aa82a3db3c740dd8982a9e273b75e36a3"),
        (64, "66bd4633ed6f71c4ecfa4763bf7ba1c8ec7612de9aa6c0578a7b675207c71e0b"),
        (65, "9f7dc47107b750a1f3d35db5d9547f24ef40da5b731b9540d4f43710a154f6c9"),
        (119, "a3ed307b730fa77c07531300c6e4a282330011d4d4caf6bb7b63ae05950f4b66"),
        (120, "8e3b15d9fea7472655aa069620b7f8c2e55ee1499f763200a7515fe826e99d20"),
        (1000, "095ecb62e30793ab4b954cd6a0586d0cc91f7ea5b1332694d8da780e98676d78"),
    ])
    func hashesAreSHA256(count: Int, expected: String) {
        let text = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ 1) }
        let hash = SHA256.hash(text).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }
        #expect(hash.joined() == expected)
    }

    @Test func openBindingsAreRefused() {
        var options = ServerOptions()
        options.host = "0.0.0.0"
        #expect(throws: ServerOptionsError.openToNetwork(host: "0.0.0.0")) {
            try options.validate()
        }
        options.keys = ["long-enough"]
        #expect(throws: Never.self) { try options.validate() }
        options.keys = ["short"]
        #expect(throws: ServerOptionsError.badKey(bytes: 5)) { try options.validate() }
        options.keys = []
        options.isInsecure = true
        #expect(throws: Never.self) { try options.validate() }
    }

    @Test func foreignNamesAreRefused() async throws {
        let server = try TestServer()
        try await server.test { client in
            for (host, status) in [
                ("evil.example", 403), ("localhost", 200), ("127.0.0.1:8000", 200),
                ("localhost.evil.example", 403), ("[::1]:1", 200),
            ] {
                let raw = try RawClient(port: client.port)
                await raw.send("GET /ping HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
                #expect(await raw.read().hasPrefix("HTTP/1.1 \(status)"), "\(host)")
            }
            let page = try await client.get("/ping", headers: [.origin: "http://evil.example"])
            #expect(page.status == 403)
        }
    }
}
