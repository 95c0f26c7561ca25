import Foundation
import TestKit
import Testing

@testable import AutoGLMServer

/// Answers in a form, through the whole server.
@Suite struct FormTests {
    private static let schema =
        #"{"type":"object","properties":{"n":{"type":"integer","maximum":99,"minimum":10}},"#
        + #""required":["n"],"additionalProperties":false,"x-note":1}"#

    private func form(_ schema: String) -> String {
        #","response_format":{"type":"json_schema","json_schema":{"name":"a","schema":"#
            + schema + "}}"
    }

    /// The script says words; the form takes of them what fits.
    @Test func answersHaveTheForm() async throws {
        let server = try TestServer(Script("Here: {\"n\": 42}"))
        try await server.test { client in
            let whole = try await client.chat(form(Self.schema) + #","n":2,"logprobs":true"#)
            #expect(whole.headers[.grammarIgnored] == "#/x-note")
            for choice in whole.choices {
                let content = (choice["message"] as? [String: Any])?["content"] as? String ?? ""
                let value = try JSONSerialization.jsonObject(with: Data(content.utf8))
                #expect((10...99).contains((value as? [String: Int])?["n"] ?? 0))
                #expect(choice["finish_reason"] as? String == "stop")
                let logprobs = choice["logprobs"] as? [String: Any]
                let bytes = (logprobs?["content"] as? [[String: Any]] ?? [])
                    .flatMap { $0["bytes"] as? [Int] ?? [] }
                #expect(String(decoding: bytes.map { UInt8($0) }, as: UTF8.self) == content)
            }
            let greedy = form(Self.schema) + #","temperature":0"#
            let plain = try await client.chat(greedy)
            let stream = try await client.chat(greedy + #","stream":true"#)
            #expect(stream.joined("content") == plain.message["content"] as? String)
            #expect(stream.headers[.grammarIgnored] == "#/x-note")
            let cut = try await client.chat(greedy + #","max_tokens":4"#)
            #expect(cut.choices.first?["finish_reason"] as? String == "length")
            let stopped = try await client.chat(greedy + #","stop":":""#)
            #expect(stopped.choices.first?["finish_reason"] as? String == "stop")
            let content = stopped.message["content"] as? String ?? ""
            #expect(content.contains("\"n\"") && !content.contains(":"))
        }
        #expect(await eventually { server.blocksUsed == 0 })
    }

    @Test func completionsHaveFormsToo() async throws {
        let server = try TestServer(Script("yes, maybe"))
        try await server.test { client in
            let answer = try await client.post(
                "/v1/completions", #"{"prompt":"Say","guided_choice":["no","maybe"],"temperature":0}"#)
            #expect(["no", "maybe"].contains(answer.choices.first?["text"] as? String))
            #expect(answer.choices.first?["finish_reason"] as? String == "stop")
        }
    }

    @Test func refusalsNameThePlace() async throws {
        let server = try TestServer()
        try await server.test { client in
            let remote = try await client.chat(
                form(#"{"properties":{"x":{"$ref":"http://x/y"}}}"#))
            #expect(remote.status == 400 && remote.code == "grammar_unsupported")
            #expect(
                remote.parameter == "response_format.json_schema.schema#/properties/x/$ref")
            let none = try await client.chat(
                #","guided_json":{"type":"string","minLength":3,"maxLength":2}"#)
            #expect(none.status == 400 && none.code == "grammar_unsatisfiable")
            let look = try await client.chat(#","guided_regex":"a(?=b)""#)
            #expect(look.status == 400 && look.parameter == "guided_regex")
            let tool = try await client.chat(
                #","tools":[{"type":"function","function":{"name":"a"}},{"type":"function","#
                    + #""function":{"name":"b","strict":true,"parameters":{"type":"object","#
                    + #""properties":{"x":{"$ref":"http://x/y"}}}}}]"#)
            #expect(tool.status == 400)
            #expect(tool.parameter == "tools[1].function.parameters#/properties/x/$ref")
        }
    }

    @Test func aServerWithoutATokenizerHasNoForms() async throws {
        let server = try TestServer(hasTokenizer: false)
        try await server.test { client in
            let answer = try await client.post(
                "/v1/completions", #"{"prompt":[72],"guided_regex":"a"}"#)
            #expect(answer.status == 400 && answer.code == "tokenizer_missing")
            #expect(answer.parameter == "guided_regex")
        }
    }

    /// Thinking comes before the form.
    @Test func thinkingIsNoPartOfTheForm() async throws {
        let template = ScriptedChat.template + "{# <think> #}"
        let script = Script(says: [
            "<think>", "Hm, {.", "</think>", "\n\n", "{\"n\": 12}", "<|user|>",
        ])
        let server = try TestServer(script, template: template)
        try await server.test { client in
            let answer = try await client.chat(form(Self.schema) + #","temperature":0"#)
            #expect(answer.message["reasoning_content"] as? String == "Hm, {.")
            #expect(answer.message["content"] as? String == "{\"n\": 12}")
        }
    }

    /// A strict tool that may be called: words stay words, a call follows its schema.
    @Test func strictToolsAreTypedWhenCalled() async throws {
        let tools = #","temperature":0,"tools":[{"type":"function","function":{"name":"get","#
            + #""strict":true,"parameters":"# + Self.schema + "}}]"
        for (says, isCall) in [("get\n{\"n\": 7777}", true), ("getting on", false)] {
            let server = try TestServer(Script(says))
            try await server.test { client in
                let answer = try await client.chat(tools)
                guard isCall else {
                    #expect(answer.message["content"] as? String == says)
                    return
                }
                let call = (answer.message["tool_calls"] as? [[String: Any]])?.first
                let function = call?["function"] as? [String: Any]
                let arguments = function?["arguments"] as? String ?? ""
                let value = try JSONSerialization.jsonObject(with: Data(arguments.utf8))
                #expect((10...99).contains((value as? [String: Int])?["n"] ?? 0))
                // The template does not show what binds only us.
                #expect(answer.choices.first?["finish_reason"] as? String == "tool_calls")
            }
        }
    }
}
