import Foundation
import TestKit
import Testing

@testable import AutoGLMServer

/// Requests of reports about other servers (`shared/data/reports`), through the whole server.
@Suite(.enabled(if: SharedData.isPresent)) struct ReportTests {
    struct Report: Sendable, CustomTestStringConvertible {
        let name: String
        let template: String
        let special: [String]
        let says: [String]
        let body: String
        let expected: String
        var testDescription: String { name }
    }

    static let reports: [Report] = {
        let folder = SharedData.path("reports")
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.sorted().filter { $0.hasSuffix(".json") }.compactMap { file in
            guard let data = FileManager.default.contents(atPath: folder + "/" + file),
                let all = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
                let input = all["input"] as? [String: Any], input["form"] as? String == "chat",
                let model = input["model"] as? [String: Any],
                let says = model["says"] as? [String],
                let template = model["template"] as? String,
                let body = try? JSONSerialization.data(withJSONObject: input["request"] ?? [:]),
                let expected = try? JSONSerialization.data(withJSONObject: all["expected"] ?? [:])
            else { return nil }
            return Report(
                name: all["name"] as? String ?? file, template: template,
                special: model["special_tokens"] as? [String] ?? [], says: says,
                body: String(decoding: body, as: UTF8.self),
                expected: String(decoding: expected, as: UTF8.self))
        }
    }()

    @Test func thereAreSome() { #expect(Self.reports.count >= 20) }

    @Test(arguments: reports)
    func isAnsweredAsExpected(report: Report) async throws {
        let script = Script(says: report.says, special: report.special)
        let server = try TestServer(script, template: report.template)
        let answer = try await server.test { client in
            try await client.post("/v1/chat/completions", report.body)
        }
        let expected = try #require(
            JSONSerialization.jsonObject(with: Data(report.expected.utf8)) as? [String: Any])
        if let honoured = Self.honoured[report.name] {
            #expect(answer.status == 200)
            let content = answer.message["content"] as? String ?? ""
            #expect(try honoured.wholeMatch(in: content) != nil)
            return
        }
        #expect(answer.status == expected["status"] as? Int)
        if let parameter = expected["param"] as? String {
            #expect(answer.parameter == parameter)
        }
        if answer.status == 200 { try expect(answer, expected) }
    }

    /// Forms whose refusal the reports allow and whose honouring they like better; an answer that
    /// is cut has the beginning of one.
    nonisolated(unsafe) static let honoured: [String: Regex<AnyRegexOutput>] = [
        "json-schema": Regex(/\{(?s).*/), "structured-outputs": Regex(/\{(?s).*/),
        "regex": Regex(/[0-9]+/),
    ]

    private func expect(_ answer: Answer, _ expected: [String: Any]) throws {
        let isStream = answer.text.hasPrefix("data: ")
        for key in ["content", "reasoning_content"] where expected.keys.contains(key) {
            let text = isStream ? answer.joined(key) : answer.message[key] as? String ?? ""
            #expect(text == expected[key] as? String ?? "")
        }
        if let reason = expected["finish_reason"] as? String {
            let choices = isStream
                ? answer.events.data.compactMap { ($0["choices"] as? [[String: Any]])?.first }
                : answer.choices
            let reasons = choices.compactMap { $0["finish_reason"] as? String }
            #expect(reasons == [reason])
        }
        guard let wanted = expected["tool_calls"] as? [[String: Any]] else { return }
        let calls = isStream ? streamed(answer) : whole(answer)
        #expect(calls.map(\.name) == wanted.map { $0["name"] as? String ?? "" })
        for (call, want) in zip(calls, wanted) {
            let object = try JSONSerialization.jsonObject(with: Data(call.arguments.utf8))
            #expect(
                (object as? NSDictionary) == (want["arguments"] as? NSDictionary),
                "\(call.arguments)")
        }
    }

    private func whole(_ answer: Answer) -> [(name: String, arguments: String)] {
        (answer.message["tool_calls"] as? [[String: Any]] ?? []).map { call in
            let function = call["function"] as? [String: Any] ?? [:]
            return (function["name"] as? String ?? "", function["arguments"] as? String ?? "")
        }
    }

    private func streamed(_ answer: Answer) -> [(name: String, arguments: String)] {
        var calls: [(name: String, arguments: String)] = []
        for event in answer.events.data {
            let choice = (event["choices"] as? [[String: Any]])?.first
            let deltas = (choice?["delta"] as? [String: Any])?["tool_calls"] as? [[String: Any]]
            for delta in deltas ?? [] {
                let function = delta["function"] as? [String: Any] ?? [:]
                if let name = function["name"] as? String { calls.append((name, "")) }
                let text = function["arguments"] as? String ?? ""
                if !calls.isEmpty { calls[calls.count - 1].arguments += text }
            }
        }
        return calls
    }
}
