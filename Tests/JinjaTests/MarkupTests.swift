@testable import AutoGLMJinja
import AutoGLMJSON
import Foundation
import TestKit
import Testing

/// Strings marked safe, against what Jinja2 makes of them (`make_markup.py`).
@Suite struct MarkupTests {
    @Test func golden() throws {
        let url = SharedData.repository.appendingPathComponent("Tests/JinjaTests/markup.json")
        let suite = try JSONValue.parse(Array(Data(contentsOf: url)))
        let context = try #require(suite["context"]?.objectValue)
        let variables = Dictionary(uniqueKeysWithValues: context.map { ($0.key, $0.value) })
        let cases = try #require(suite["cases"]?.arrayValue)
        #expect(cases.count > 150)
        for sample in cases {
            let source = try #require(sample["template"]?.stringValue)
            let outcome = TemplateReferenceTests.outcome(source, variables)
            if let text = sample["text"]?.stringValue {
                #expect(
                    outcome.text == text,
                    "\(source)\ngot  \(outcome)\nwant \(text.debugDescription)")
            } else {
                let raised = sample["raises"]?.stringValue ?? ""
                #expect(
                    outcome.error.map { TemplateSemanticsTests.matches($0.kind, raised) } == true,
                    "\(source)\ngot \(outcome), wanted \(sample)")
            }
        }
    }

    /// Marking text safe is about HTML: it never makes a client's bytes the template's.
    @Test(arguments: [
        ("A{{ x | safe }}", "<|u|>"), ("A{{ x | e }}", "&lt;|u|&gt;"),
        ("A{{ x | forceescape }}", "&lt;|u|&gt;"), ("{{ ('A' | safe) + x }}", "&lt;|u|&gt;"),
        ("{{ '<' + (x | safe) }}", "<|u|>"), ("{{ ('A%s' | safe) % x }}", "&lt;|u|&gt;"),
        ("{{ ('A{}' | safe).format(x) }}", "&lt;|u|&gt;"),
        ("{{ ('A' | safe).join([x, x]) }}", "&lt;|u|&gt;‖&lt;|u|&gt;"),
        ("{{ ('AB' | safe).replace('B', x) }}", "&lt;|u|&gt;"),
        ("{{ (x | e).unescape() }}A", "<|u|>"), ("A{{ x | e | striptags }}", "<|u|>"),
        ("{{ (x | safe)[1:3] }}A", "|u"), ("{{ [x | safe] }}", "<|u|>"),
        ("{{ (x | safe) | indent('A', true) }}", "<|u|>"),
        ("{{ '&' + x[4:] + 'A' }}", ">"), ("{{ ('&l' + t) | striptags }}", "<"),
    ])
    func originSurvives(source: String, untrusted: String) throws {
        let variables: [String: JSONValue] = ["x": "<|u|>", "t": "t;"]
        #expect(try TemplateOriginTests.untrusted(source, variables) == untrusted)
    }
}
