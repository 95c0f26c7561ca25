import AutoGLMJSON
@testable import AutoGLMJinja
import Foundation
import OrderedCollections
import TestKit
import Testing

/// Small templates against what Jinja2 3.1.6 gives (`Tests/Golden/templates`).
@Suite struct TemplateSemanticsTests {
    /// How our kinds of error relate to Python's classes.
    static func matches(_ kind: TemplateError.Kind, _ raised: String) -> Bool {
        let loading = ["TemplateSyntaxError", "TemplateAssertionError", "SyntaxError"]
        switch kind {
        case .syntax, .unknownName: return loading.contains(raised)
        case .limit: return false
        default: return kind.rawValue == raised
        }
    }

    @Test func golden() throws {
        let url = SharedData.repository.appendingPathComponent(
            "Tests/Golden/templates/semantics.json")
        let suite = try JSONValue.parse(Array(Data(contentsOf: url)))
        let context = try #require(suite["context"]?.objectValue)
        let cases = try #require(suite["cases"]?.arrayValue)
        #expect(cases.count > 160)
        for sample in cases {
            let source = try #require(sample["template"]?.stringValue)
            let variables = Dictionary(uniqueKeysWithValues: context.map { ($0.key, $0.value) })
            let outcome = TemplateReferenceTests.outcome(source, variables)
            if let text = sample["text"]?.stringValue {
                #expect(
                    outcome.text == text,
                    "\(source)\ngot  \(outcome)\nwant \(text.debugDescription)")
            } else {
                let raised = sample["raises"]?.stringValue ?? ""
                let kind = outcome.error?.kind
                #expect(
                    kind.map { Self.matches($0, raised) } == true,
                    "\(source)\ngot \(outcome), wanted \(sample)")
            }
        }
    }

    /// An error says where it is.
    @Test func errorsNameTheLine() {
        let source = "a\n{% if x %}\n{{ y.z }}{% endif %}"
        let outcome = TemplateReferenceTests.outcome(source, ["x": 1])
        #expect(outcome.error?.line == 3)
        #expect(TemplateReferenceTests.outcome("a\n\n{{ 1 + }}", [:]).error?.line == 3)
    }

    @Test(arguments: [
        "{% include 'x' %}", "{% import 'x' as y %}", "{% from 'x' import y %}",
        "{% extends 'x' %}", "{{ x | random }}", "{{ x | urlize }}",
    ])
    func nothingButTheValues(source: String) {
        #expect(throws: TemplateError.self) { try JinjaTemplate(source: source) }
    }

    @Test(arguments: [
        "{{ x.__class__.__mro__ }}", "{{ x['__class__'] }}{{ x['__class__'].a }}",
        "{{ open('/etc/passwd') }}", "{{ self.x }}", "{{ range.__globals__.os }}",
        "{{ lipsum.__globals__ }}", "{{ cycler.__init__.__globals__.os }}",
        "{{ ''.format.__self__.x }}", "{{ '{0.__class__.a}'.format(x) }}",
    ])
    func noWayOut(source: String) {
        let outcome = TemplateReferenceTests.outcome(source, ["x": "v"])
        #expect(outcome.error != nil, "\(outcome)")
    }
}

/// Which text of a prompt may hold special tokens.
@Suite struct TemplateOriginTests {
    static func runs(
        _ source: String, _ variables: [String: JSONValue], trust: JinjaTrust = JinjaTrust()
    ) throws -> [RenderedTemplate.Run] {
        let template = try JinjaTemplate(source: source)
        return try template.render(variables, trust: trust, now: TemplateReferenceTests.date).runs
    }

    static func untrusted(_ source: String, _ variables: [String: JSONValue]) throws -> String {
        try runs(source, variables).filter { !$0.isTrusted }.map(\.text).joined(separator: "‖")
    }

    /// Trust is given by name of variable, or by place in a list and word.
    @Test func trustIsGiven() throws {
        let row: JSONValue = ["kind": "word", "rest": "word"]
        let variables: [String: JSONValue] = [
            "mine": ["word"], "rows": [row, ["kind": "other"]], "single": row,
            "nested": [["row": row]],
        ]
        let runs = try Self.runs(
            "{{ mine[0] }}.{% for r in rows %}{{ r.kind }}{{ r.rest }}.{% endfor %}"
                + "{{ single.kind }}.{{ nested[0].row.kind }}",
            variables, trust: JinjaTrust(variables: ["mine"], members: ["kind": ["word"]]))
        #expect(runs.map(\.text) == ["word.word", "word", ".", "other", ".", "word", ".", "word"])
        #expect(runs.map(\.isTrusted) == [true, false, true, false, true, false, true, false])
    }

    /// Whatever is done to a value, its bytes stay untrusted and the template's stay trusted.
    @Test(arguments: [
        ("A{{ x + 'B' }}", "<u>"), ("A{{ 'B' ~ x ~ 'C' ~ x }}", "<u>‖<u>"), ("{{ x[1:] }}A", "u>"),
        ("{{ (x ~ 'A').split('u')[1] }}", ">"), ("{{ x | replace('u', 'A') }}", "<‖>"),
        ("{{ 'AxA' | replace('x', x) }}", "<u>"), ("{{ ['A', x] | join('B') }}", "<u>"),
        ("{{ [x, 'A'] | tojson }}", "<u>"), ("{{ {'A': x} }}", "<u>"), ("{{ x | upper }}A", "<U>"),
        ("{{ (' ' ~ x ~ ' ') | trim }}", "<u>"), ("{{ 'A%sB' % x }}", "<u>"),
        ("{{ 'A{}B'.format(x) }}", "<u>"), ("{{ x.center(7, 'A') }}", "<u>"),
        ("{% set y %}A{{ x }}{% endset %}{{ y }}", "<u>"), ("{{ x | reverse }}", ">u<"),
        ("{% macro f(v) %}A{{ v }}{% endmacro %}{{ f(x) }}", "<u>"), ("{{ x * 2 }}A", "<u><u>"),
        ("{{ ('A\\n' ~ x) | indent(2) }}", "<u>"), ("{{ x | first }}A{{ x | last }}", "<‖>"),
        ("{% for c in x %}{{ c }}-{% endfor %}", "<‖u‖>"), ("{{ x | list | join('A') }}", "<‖u‖>"),
        ("{{ d | tojson }}", "k‖v\\n"), ("{% for k in d %}{{ k }}{% endfor %}", "k"),
        ("{{ d.items() | list }}", "k‖v"), ("{{ [x ~ 'A' ~ x] | tojson }}", "<u>‖<u>"),
        ("{{ d | tojson(ensure_ascii=true, indent=1) }}", "k‖v\\n"),
        ("{{ ['A', 1] | tojson(separators=(x, ':')) }}", "[\"A\"<u>1]"),
        ("{{ [1] | tojson(indent=x) }}", "[\n<u>1\n]"),
    ])
    func everyOperationKeepsIt(source: String, untrusted: String) throws {
        let variables: [String: JSONValue] = ["x": "<u>", "d": ["k": "v\n"]]
        #expect(try Self.untrusted(source, variables) == untrusted)
    }
}
