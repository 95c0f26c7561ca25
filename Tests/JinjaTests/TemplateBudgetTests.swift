import AutoGLMJSON
@testable import AutoGLMJinja
import Foundation
import OrderedCollections
import TestKit
import Testing

/// A template is a program from a stranger: it must end soon, whatever it does.
@Suite(.serialized) struct TemplateBudgetTests {
    static let attacks: [String] = [
        // Loops.
        "{% for a in range(1000000) %}{% for b in range(1000000) %}x{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}"
            + "{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        // Strings.
        "{% set ns = namespace(s='ab') %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}"
            + "{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}"
            + "{% endfor %}",
        "{% set ns = namespace(s='ab') %}{% for i in range(40) %}"
            + "{% set ns.s = ns.s | replace('a', 'aa') %}{% endfor %}",
        "{{ 'a' * 1000000000000 }}", "{{ 'a'.center(1000000000000) }}",
        "{{ '%999999999d' % 1 }}", "{{ '{:999999999}'.format(1) }}",
        "{{ 'x' | indent(99999999999) }}", "{{ 'a'.ljust(9223372036854775807) }}",
        "{% set s = 'a' * 8000000 %}{% for i in range(100000) %}"
            + "{{ s | replace('a', 'b') | length }}{% endfor %}",
        "{% set s = 'a' * 8000000 %}{% for i in range(100000) %}{% if s == s ~ '' %}{% endif %}"
            + "{% endfor %}",
        "{% set s = 'a' * 4000000 %}{% for i in range(1000) %}{{ s.find('aaaaaaaaaaaaaaaab') }}"
            + "{% endfor %}",
        "{% for i in range(100000) %}{{ 'a' * 100000 }}{% endfor %}",
        // Containers.
        "{{ [0] * 1000000000 }}", "{{ range(100000) | list + [1] * 99999999999 }}",
        "{% set ns = namespace(l=[0]) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}"
            + "{% endfor %}{{ ns.l | length }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}"
            + "{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
            + "{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
            + "{% endfor %}{{ ns.l | tojson }}",
        "{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(60) %}"
            + "{% set a.l = [a.l, a.l] %}{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}",
        "{% set ns = namespace(g=[1]) %}{% for i in range(100000) %}"
            + "{% set ns.g = ns.g | map('upper') %}{% endfor %}{{ ns.g | list }}",
        "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}",
        "{{ range(100000) | map('string') | sort | join | length }}{% for i in range(100000) %}"
            + "{{ range(100000) | sum }}{% endfor %}",
        "{% for i in range(100000) %}{% macro f() %}{% endmacro %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = [ns.l] %}"
            + "{% endfor %}{{ ns.l | tojson(indent=' ' * 8000000) }}",
        "{{ 2 ** 100000000000 }}", "{{ 2 ** -9223372036854775808 }}", "{{ 10 ** 400 }}", "{{ 1e308 | round(300) }}"
            + "{% for i in range(100000) %}{{ 1e308 | round(300) }}{% endfor %}",
    ]

    @Test(arguments: attacks) func stops(source: String) throws {
        let template = try JinjaTemplate(source: source)
        let clock = ThreadClock()
        #expect(throws: TemplateError.self) {
            try template.render([:], trust: JinjaTrust(), now: TemplateReferenceTests.date)
        }
        let time = clock.milliseconds
        // In release 250 ms is the aim and about 200 the worst seen; the rest is room for a
        // slower or busy machine.
        #if DEBUG || SANITIZED
            #expect(time < 10_000, "\(time) ms: \(source)")
        #else
            #expect(time < 500, "\(time) ms: \(source)")
        #endif
    }

    /// Nesting in the source is bounded where it is parsed.
    @Test(arguments: [
        String(repeating: "(", count: 100_000), String(repeating: "[", count: 100_000),
        String(repeating: "-", count: 100_000), String(repeating: "not ", count: 100_000) + "x",
        "x" + String(repeating: ".a", count: 100_000),
        "x" + String(repeating: "|list", count: 100_000),
        "x" + String(repeating: " if x else x", count: 100_000),
        String(repeating: "{'a':", count: 100_000),
    ])
    func deepExpressions(source: String) {
        let result = TemplateReferenceTests.outcome("{{ \(source) }}", [:])
        // A chain of `not` is no nesting; everything else must be refused.
        if !source.hasPrefix("not") { #expect(result.error != nil) }
    }

    @Test func deepBlocks() {
        let count = 100_000
        let source = String(repeating: "{% if x %}", count: count)
        #expect(TemplateReferenceTests.outcome(source, [:]).error?.kind == .limit)
    }

    /// Long chains of one operator are not nesting.
    @Test func longChains() {
        let sum = Array(repeating: "'a'", count: 5000).joined(separator: " + ")
        #expect(TemplateReferenceTests.outcome("{{ \(sum) }}", [:]).text?.utf8.count == 5000)
        let arms = (0..<2000).map { "{% elif x == \($0) %}\($0)" }.joined()
        let source = "{% if false %}\(arms)z{% endif %}"
        let outcome = TemplateReferenceTests.outcome(source, ["x": 1999])
        #expect(outcome.text == "1999z")
    }

    @Test func deepValues() {
        var value: JSONValue = 1
        for _ in 0..<500 { value = [value] }
        let outcome = TemplateReferenceTests.outcome("{{ x }}", ["x": value])
        #expect(outcome.error?.kind == .limit)
    }

    @Test func bigSourceAndOutput() {
        let source = String(repeating: "a", count: 2 << 20)
        #expect(TemplateReferenceTests.outcome(source, [:]).error?.kind == .limit)
        let half = JSONValue.string(String(repeating: "a", count: 5 << 20))
        #expect(TemplateReferenceTests.outcome("{{ x }}", ["x": half]).text?.utf8.count == 5 << 20)
        #expect(TemplateReferenceTests.outcome("{{ x }}{{ x }}", ["x": half]).error?.kind == .limit)
    }

    /// The deepest rendering fits a small stack.
    @Test func depthFitsASmallThread() async throws {
        let (open, close) = (String(repeating: "(", count: 40), String(repeating: ")", count: 40))
        let nested = "\(open)f(n - 1)\(close)"
        let source =
            "{% macro f(n) %}{% for i in [1] %}{% if true %}{{ [[[\(nested)]]] }}{% endif %}"
            + "{% endfor %}{% endmacro %}{{ f(1000) }}"
        let template = try JinjaTemplate(source: source)
        let kind = await withCheckedContinuation { continuation in
            let thread = Thread {
                do throws(TemplateError) {
                    _ = try template.render(
                        [:], trust: JinjaTrust(), now: TemplateReferenceTests.date)
                    continuation.resume(returning: TemplateError.Kind.runtime)
                } catch {
                    continuation.resume(returning: error.kind)
                }
            }
            #if DEBUG || SANITIZED
                thread.stackSize = 8 << 20
            #else
                thread.stackSize = 512 << 10
            #endif
            thread.start()
        }
        #expect(kind == .limit)
    }

    /// A long conversation in a real template stays far from every budget.
    @Test(.enabled(if: SharedData.isPresent), arguments: ["glm-4-9b-chat", "GLM-4.6", "GLM-5.2"])
    func longConversations(name: String) throws {
        let source = try String(
            contentsOfFile: SharedData.path("chat-templates/templates/\(name).jinja"),
            encoding: .utf8)
        let body = String(repeating: "word ", count: 600)
        let messages: [JSONValue] = (0..<2048).map { index in
            ["role": index % 2 == 0 ? "user" : "assistant", "content": .string(body)]
        }
        let template = try JinjaTemplate(source: source)
        let prompt = try template.render(
            ["messages": .array(messages), "add_generation_prompt": true, "tools": nil],
            trust: JinjaTrust(), now: TemplateReferenceTests.date,
            limits: TemplateLimits(steps: 500_000))
        #expect(prompt.text.utf8.count > 6_000_000)
    }
}
