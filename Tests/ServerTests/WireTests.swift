import AutoGLMAPI
import AutoGLMDecoding
import AutoGLMJSON
import Foundation
import TestKit
import Testing

@Suite struct WireTests {
    private func parse(_ text: String) throws -> JSONValue {
        try JSONValue.parse(text, options: .request)
    }

    @Test func keepsOrderAndKinds() throws {
        let value = try parse(#"{"b":1,"a":[1.5,-0,true,null,"\u00e9\ud83d\ude00\n"],"c":{}}"#)
        var json = JSONWriter()
        json.value(value)
        #expect(json.text == #"{"b":1,"a":[1.5,0,true,null,"é😀\n"],"c":{}}"#)
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":1,}", "01", "1.", "+1", "nul", "\"\u{01}\"", "[1] 2",
        "{\"a\":1,\"a\":2}", "1e400", "-1e999", #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#,
        #""\x""#, "\u{FEFF}{}", "{'a':1}", "NaN", "Infinity", "{\"a\" 1}", "[1 2]",
    ])
    func refuses(_ text: String) {
        #expect(throws: JSONError.self) { try parse(text) }
    }

    @Test func refusesDepthBeyondTheLimit() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try parse(nested(64))
        #expect(throws: JSONError.self) { try parse(nested(65)) }
        #expect(throws: JSONError.self) {
            try parse(String(repeating: "[", count: 1_000_000))
        }
        #expect(throws: JSONError.self) {
            try parse(String(repeating: "{\"a\":", count: 100_000))
        }
    }

    @Test func refusesInvalidUTF8() {
        for bytes: [UInt8] in [[0x22, 0xFF, 0x22], [0x22, 0xC0, 0xAF, 0x22]] {
            #expect(throws: JSONError.self) { try JSONValue.parse(bytes, options: .request) }
        }
    }

    /// Refused by its length, before anything tries to convert it.
    @Test func refusesEndlessNumbers() {
        let digits = String(repeating: "9", count: 8_000_000)
        #expect(throws: JSONError(reason: .numberTooLong(limit: 1_024), offset: 0)) {
            try parse(digits)
        }
    }

    @Test func manyKeysAreLinear() throws {
        let members = (0..<100_000).map { "\"k\($0)\":0" }.joined(separator: ",")
        let start = ContinuousClock.now
        _ = try parse("{\(members)}")
        #expect(ContinuousClock.now - start < .seconds(3))
    }

    @Test(.enabled(if: SharedData.url("json-parsing/test_parsing") != nil))
    func agreesWithTheJSONTestSuite() throws {
        let folder = try #require(SharedData.url("json-parsing/test_parsing"))
        let files = try FileManager.default.contentsOfDirectory(
            at: folder, includingPropertiesForKeys: nil)
        var counts = (accepted: 0, refused: 0)
        for file in files where file.pathExtension == "json" {
            let name = file.lastPathComponent
            let bytes = Array(try Data(contentsOf: file))
            let isAccepted = (try? JSONValue.parse(bytes, options: .request)) != nil
            // Duplicate keys are valid JSON that we refuse on purpose.
            if name.hasPrefix("y_"), !name.contains("duplicated_key") {
                #expect(isAccepted, "\(name)")
                counts.accepted += 1
            } else if name.hasPrefix("n_") {
                #expect(!isAccepted, "\(name)")
                counts.refused += 1
            }
        }
        #expect(counts.accepted > 20 && counts.refused > 50)
    }

    @Test func neverWritesWhatIsNotJSON() {
        var json = JSONWriter()
        json.beginArray()
        for value in [Double.nan, .infinity, -.infinity, 1e300, 5e-324] { json.double(value) }
        json.float(-.infinity)
        json.float(.nan)
        json.string("\u{0}\u{1F}\"\\/\u{7F}\u{2028}")
        json.endArray()
        let text = json.text
        #expect((try? JSONSerialization.jsonObject(with: Data(text.utf8))) != nil)
        #expect(text.hasPrefix("[null,null,-9999,1e+300,5e-324,-9999,null,"))
    }
}

/// Every numeric field at its limit, one beyond it and at the ends of the number range.
@Suite struct RequestLimitsTests {
    private func request(_ field: String, _ value: String) throws -> ChatCompletionRequest {
        let logprobs = field == "top_logprobs" ? #","logprobs":true"# : ""
        let body =
            #"{"messages":[{"role":"user","content":"x"}]\#(logprobs),"\#(field)":\#(value)}"#
        return try ChatCompletionRequest(body: Array(body.utf8))
    }

    private func parameter(_ field: String, _ value: String) -> String? {
        do {
            _ = try request(field, value)
            return nil
        } catch let error as APIError {
            return error.status == 400 ? error.parameter : "status \(error.status)"
        } catch {
            return "other"
        }
    }

    /// Whole-number fields: those of the endpoint, and those of the table of sampling parameters.
    private static let wholeFields: [(field: String, range: ClosedRange<Int64>)] =
        RequestLimits.integers.map { ($0.field, $0.range) }
        + SamplingParameters.fields.compactMap { field in
            switch field.kind {
            case .number: nil
            case .integer(_, let range): (field.name, range)
            // A chat that may not say a word makes no sense; the table allows it for scoring.
            case .bound(_, let range): (field.name, 1...range.upperBound)
            case .seed: (field.name, Int64.min...Int64.max)
            }
        } + [("max_completion_tokens", 1...Int64(Int32.max))]

    @Test func theFieldsAreTheKnownOnes() {
        #expect(
            Self.wholeFields.map(\.field).sorted() == [
                "max_completion_tokens", "max_tokens", "min_tokens", "n", "priority", "seed",
                "top_k", "top_logprobs",
            ])
        #expect(
            Self.realFields.map(\.field).sorted() == [
                "frequency_penalty", "min_p", "presence_penalty", "repetition_penalty",
                "temperature", "top_p",
            ])
    }

    @Test(arguments: wholeFields.map(\.field))
    func integers(field: String) throws {
        let range = try #require(Self.wholeFields.first { $0.field == field }).range
        #expect(parameter(field, "\(range.lowerBound)") == nil)
        #expect(parameter(field, "\(range.upperBound)") == nil)
        let (above, isAbove) = range.upperBound.addingReportingOverflow(1)
        let (below, isBelow) = range.lowerBound.subtractingReportingOverflow(1)
        if !isAbove {
            #expect(parameter(field, "\(above)") == field)
            #expect(parameter(field, "\(Int.max)") == field)
        }
        if !isBelow {
            #expect(parameter(field, "\(below)") == field)
            #expect(parameter(field, "\(Int.min)") == field)
        }
        for value in ["9223372036854775808", "1e30", "1.5", "\"1\"", "true", "[1]", "{}"] {
            #expect(parameter(field, value) == field, "\(value)")
        }
        #expect(parameter(field, "null") == nil)
    }

    private static let realFields: [(field: String, range: ClosedRange<Double>)] =
        SamplingParameters.fields.compactMap { field in
            if case .number(_, let range) = field.kind { (field.name, range) } else { nil }
        }

    @Test(arguments: realFields.map(\.field))
    func floats(field: String) throws {
        let range = try #require(Self.realFields.first { $0.field == field }).range
        #expect(parameter(field, "\(range.upperBound)") == nil)
        #expect(parameter(field, "\(range.lowerBound)") == nil)
        #expect(parameter(field, "\(range.upperBound.nextUp)") == field)
        #expect(parameter(field, "\(range.lowerBound.nextDown)") == field)
        for value in ["1e308", "-1e308", "\"0.5\"", "false", "\(Int.max)"] {
            #expect(parameter(field, value) == field, "\(value)")
        }
        #expect(parameter(field, "NaN") == nil || parameter(field, "NaN") != field)
    }

    /// Of two names of one field, the newer counts, and errors call it by that.
    @Test func aliasesCount() throws {
        func tokens(_ members: String) throws -> SamplingValue? {
            let body = #"{"messages":[{"role":"user","content":"x"}],\#(members)}"#
            let request = try ChatCompletionRequest(body: Array(body.utf8))
            return request.generation.sampling["max_tokens"]
        }
        #expect(try tokens(#""max_completion_tokens":5"#) == .integer(5))
        #expect(try tokens(#""max_tokens":6"#) == .integer(6))
        #expect(try tokens(#""max_tokens":6,"max_completion_tokens":5"#) == .integer(5))
        #expect(try tokens(#""max_tokens":6,"max_completion_tokens":null"#) == .integer(6))
        #expect(parameter("max_completion_tokens", "-1") == "max_completion_tokens")
    }

    @Test func lists() {
        func strings(_ count: Int, _ text: String = "\"a\"") -> String {
            "[" + Array(repeating: text, count: count).joined(separator: ",") + "]"
        }
        #expect(parameter("stop", strings(16)) == nil)
        #expect(parameter("stop", strings(17)) == "stop")
        #expect(parameter("stop", strings(10_000)) == "stop")
        #expect(parameter("stop", "\"\(String(repeating: "s", count: 256))\"") == nil)
        #expect(parameter("stop", "\"\(String(repeating: "s", count: 257))\"") == "stop")
        #expect(parameter("stop", "\"\"") == "stop")
        func biases(_ count: Int) -> String {
            "{" + (0..<count).map { "\"\($0)\":1" }.joined(separator: ",") + "}"
        }
        #expect(parameter("logit_bias", biases(1_024)) == nil)
        #expect(parameter("logit_bias", biases(1_025)) == "logit_bias")
        #expect(parameter("logit_bias", biases(100_000)) == "logit_bias")
        #expect(parameter("logit_bias", #"{"-1":1}"#) == "logit_bias")
        #expect(parameter("logit_bias", #"{"7":101}"#) == "logit_bias.7")
        let message = #"{"role":"user","content":"x"}"#
        #expect(throws: APIError.self) {
            try ChatCompletionRequest(body: Array(#"{"messages":[]}"#.utf8))
        }
        #expect(parameter("n", "8") == nil)
        func body(_ count: Int) -> APIError? {
            let text = #"{"messages":\#(strings(count, message))}"#
            do {
                _ = try ChatCompletionRequest(body: Array(text.utf8))
                return nil
            } catch {
                return error
            }
        }
        #expect(body(2_048) == nil)
        #expect(body(2_049)?.parameter == "messages")
    }

    @Test func prompts() {
        func error(_ prompt: String, _ extra: String = "") -> APIError? {
            do {
                _ = try CompletionRequest(body: Array(#"{"prompt":\#(prompt)\#(extra)}"#.utf8))
                return nil
            } catch {
                return error
            }
        }
        func list(_ count: Int) -> String {
            "[" + Array(repeating: "\"a\"", count: count).joined(separator: ",") + "]"
        }
        #expect(error(list(64)) == nil)
        #expect(error(list(65))?.parameter == "prompt")
        #expect(error(list(100_000))?.parameter == "prompt")
        #expect(error("[1,2,3]") == nil)
        #expect(error("[[1,2],[3]]") == nil)
        #expect(error("[-1]")?.status == 400)
        #expect(error("[1,\"a\"]")?.status == 400)
        #expect(error("[9223372036854775807]")?.status == 400)
        #expect(error("\"x\"", #","suffix":"y""#)?.parameter == "suffix")
        #expect(error("\"x\"", #","best_of":2"#)?.parameter == "best_of")
        #expect(error("\"x\"", #","logprobs":21"#)?.parameter == "logprobs")
        #expect(error("\"x\"", #","max_tokens":0"#)?.parameter == "max_tokens")
        #expect(error("\"x\"", #","max_tokens":0,"echo":true"#) == nil)
    }

    @Test(arguments: [
        (#"[{"type":"function"}]"#, "tools[0].function"),
        (#"[{"type":"x","function":{"name":"a"}}]"#, "tools[0].type"),
        (#"[{"type":"function","function":{"name":""}}]"#, "tools[0].function.name"),
        (#"[{"type":"function","function":{"name":"a b"}}]"#, "tools[0].function.name"),
        (
            #"[{"type":"function","function":{"name":"a","parameters":{"type":7}}}]"#,
            "tools[0].function.parameters.type"
        ),
        (
            #"[{"type":"function","function":{"name":"a","parameters":[]}}]"#,
            "tools[0].function.parameters"
        ),
        (
            #"[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"a"}}]"#,
            "tools[1].function.name"
        ),
    ])
    func tools(json: String, path: String) {
        #expect(parameter("tools", json) == path)
    }

    @Test func noParametersAreNoParameters() throws {
        for tool in [
            #"{"name":"a","parameters":null}"#, #"{"name":"a"}"#, #"{"name":"查询订单"}"#,
        ] {
            let json = #"[{"type":"function","function":\#(tool)}]"#
            #expect(parameter("tools", json) == nil)
        }
    }

    @Test(arguments: [
        (#"[{"role":"user"}]"#, "messages[0].content"),
        (#"[{"role":"king","content":"x"}]"#, "messages[0].role"),
        (#"[{"content":"x"}]"#, "messages[0].role"),
        (#"[{"role":"user","content":7}]"#, "messages[0].content"),
        (
            #"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://169.254.169.254/"}}]}]"#,
            "messages[0].content[0].type"
        ),
        (#"["x"]"#, "messages[0]"),
        (#"{"role":"user"}"#, "messages"),
    ])
    func messages(json: String, path: String) {
        do {
            _ = try ChatCompletionRequest(body: Array(#"{"messages":\#(json)}"#.utf8))
            Issue.record("accepted")
        } catch {
            #expect(error.parameter == path)
        }
    }

    @Test(arguments: [
        #""response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}}"#,
        #""response_format":{"type":"json_schema","schema":{"type":"object"}}"#,
        #""response_format":{"type":"json_object","schema":{"type":"object"}}"#,
        #""response_format":{"type":"json_object"}"#, #""guided_json":{"type":"object"}"#,
        #""guided_json":"{\"type\":\"object\"}""#, #""json_schema":{"type":"object"}"#,
        #""format":{"type":"object"}"#, #""format":"json""#,
        #""structured_outputs":{"json":{"type":"object"}}"#,
        #""structured_outputs":{"json_object":true}"#,
    ])
    func formsUnderManyNames(member: String) throws {
        let body = #"{"messages":[{"role":"user","content":"x"}],\#(member),"grammar":""}"#
        let request = try ChatCompletionRequest(body: Array(body.utf8))
        #expect(request.generation.form?.source == .anyObject)
    }

    @Test(arguments: [
        (#""response_format":{"type":"xml"}"#, "response_format.type"),
        (#""response_format":{"type":"json_schema"}"#, "response_format.json_schema"),
        (#""response_format":{"type":"json_schema","json_schema":{"schema":3}}"#,
            "response_format.json_schema.schema"),
        (#""regex":"a","guided_json":{"type":"object"}"#, "regex"),
        (#""guided_choice":[]"#, "guided_choice"), (#""guided_choice":[1]"#, "guided_choice"),
        (#""structured_outputs":{"structural_tag":"x"}"#, "structured_outputs.structural_tag"),
        (#""guided_json":"{","x":1"#, "guided_json"),
        (#""guided_whitespace_pattern":" ""#, "guided_whitespace_pattern"),
        (#""chat_template":"{{ 1 }}""#, "chat_template"),
        (#""chat_template_kwargs":{"chat_template":"x"}"#, "chat_template_kwargs"),
        (#""chat_template_kwargs":{"tokenize":true}"#, "chat_template_kwargs"),
        (#""stream_options":{"include_usage":true}"#, "stream_options"),
        (#""tool_choice":"required""#, "tool_choice"),
        (#""tool_choice":{"type":"function","function":{"name":"x"}}"#, "tool_choice.function.name"),
        (#""top_logprobs":2"#, "top_logprobs"),
        (#""functions":[{"name":"a"}]"#, "functions"),
    ])
    func refusedFields(member: String, path: String) {
        let body = #"{"messages":[{"role":"user","content":"x"}],\#(member)}"#
        do {
            _ = try ChatCompletionRequest(body: Array(body.utf8))
            Issue.record("accepted")
        } catch {
            #expect(error.parameter == path)
            #expect(error.status == 400)
        }
    }

    /// What says nothing is no reason to refuse; a schema of null is none.
    @Test func whatSaysNothingIsAccepted() throws {
        #expect(parameter("functions", "[]") == nil)
        let body = #"{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","#
            + #""function":{"name":"a","parameters":null}}]}"#
        let request = try ChatCompletionRequest(body: Array(body.utf8))
        #expect(request.conversation.tools == [["type": "function", "function": ["name": "a"]]])
    }

    @Test func partsAreJoinedAndUnknownFieldsIgnored() throws {
        let body = """
            {"unknown":{"deep":[1]},"messages":[{"role":"developer","content":[
            {"type":"text","text":"a"},{"type":"text","text":"b"}],"odd":1}],
            "chat_template_kwargs":{"enable_thinking":false}}
            """
        let request = try ChatCompletionRequest(body: Array(body.utf8))
        var json = JSONWriter()
        json.value(request.conversation.messages[0])
        #expect(json.text == #"{"role":"system","content":"a\nb"}"#)
        #expect(request.conversation.templateArguments.map(\.key) == ["enable_thinking"])
        #expect(request.conversation.thinks == nil)
        for (member, thinks) in [
            (#""enable_thinking":false"#, false), (#""thinking":{"type":"disabled"}"#, false),
            (#""thinking":true"#, true), (#""reasoning_effort":"none""#, false),
            (#""reasoning_effort":"high""#, nil),
        ] as [(String, Bool?)] {
            let body = #"{"messages":[{"role":"user","content":"x"}],\#(member)}"#
            let request = try ChatCompletionRequest(body: Array(body.utf8))
            #expect(request.conversation.thinks == thinks, "\(member)")
        }
    }
}
