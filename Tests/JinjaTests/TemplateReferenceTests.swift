import AutoGLMJSON
import AutoGLMJinja
import Foundation
import OrderedCollections
import TestKit
import Testing

/// Published templates and small snippets against what Jinja2 itself gives.
@Suite struct TemplateReferenceTests {
    static let date = TemplateDate(
        year: 2024, month: 7, day: 26, hour: 12, minute: 34, second: 56)

    static func json(_ path: String) throws -> JSONValue {
        try JSONValue.parse(Array(Data(contentsOf: URL(fileURLWithPath: SharedData.path(path)))))
    }

    static let names: [String] = {
        let folder = SharedData.path("chat-templates/expected")
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()
    }()

    /// What transformers passes where a case of its outputs gives nothing.
    private static let transformersDefaults: [String: JSONValue] = [
        "tools": .null, "documents": .null, "add_generation_prompt": .bool(false),
    ]

    /// What a case gave: the text, or the kind of error.
    static func outcome(
        _ source: String, _ variables: [String: JSONValue]
    ) -> (text: String?, error: TemplateError?) {
        do throws(TemplateError) {
            let template = try JinjaTemplate(source: source, name: "test")
            let given = transformersDefaults.merging(variables) { $1 }
            let rendered = try template.render(given, trust: JinjaTrust(), now: date)
            return (rendered.text, nil)
        } catch {
            return (nil, error)
        }
    }

    static func agrees(
        _ outcome: (text: String?, error: TemplateError?), with expected: JSONValue
    ) -> Bool {
        if let text = expected["text"]?.stringValue { return outcome.text == text }
        return outcome.error != nil && outcome.error?.kind != .limit
    }

    @Test(.enabled(if: SharedData.isPresent), arguments: names)
    func publishedTemplate(name: String) throws {
        let source = try String(
            contentsOfFile: SharedData.path("chat-templates/templates/\(name).jinja"),
            encoding: .utf8)
        let conversations = try #require(
            try Self.json("chat-templates/conversations.json").objectValue)
        let cases = try #require(
            try Self.json("chat-templates/expected/\(name).json")["cases"]?.objectValue)
        for (situation, arguments) in conversations {
            var variables: [String: JSONValue] = [
                "bos_token": "<BOS>", "eos_token": "<EOS>", "pad_token": "<PAD>",
                "unk_token": "<UNK>",
            ]
            for (key, value) in arguments.objectValue ?? [:] { variables[key] = value }
            let expected = try #require(cases[situation])
            let outcome = Self.outcome(source, variables)
            #expect(
                Self.agrees(outcome, with: expected),
                "\(name) / \(situation): got \(outcome), wanted \(expected)")
            if let message = expected["message"]?.stringValue, let error = outcome.error {
                #expect(error.message == message, "\(name) / \(situation)")
            }
        }
    }

    @Test(.enabled(if: SharedData.isPresent)) func snippets() throws {
        let suite = try Self.json("chat-templates/jinja-syntax.json")
        let context = try #require(suite["context"]?.objectValue)
        let cases = try #require(suite["cases"]?.arrayValue)
        #expect(cases.count == 113)
        for sample in cases {
            let source = try #require(sample["template"]?.stringValue)
            var variables: [String: JSONValue] = [:]
            for (key, value) in context { variables[key] = value }
            let outcome = Self.outcome(source, variables)
            // A memory address in the reference cannot be reproduced.
            if source.contains("[] | items") {
                #expect(outcome.text?.hasPrefix("<generator object do_items at 0x") == true)
                continue
            }
            #expect(
                Self.agrees(outcome, with: sample), "\(source)\ngot \(outcome), wanted \(sample)")
        }
    }
}
