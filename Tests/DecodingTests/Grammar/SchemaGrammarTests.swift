import AutoGLMDecoding
import AutoGLMJSON
import Foundation
import TestKit
import Testing

@Suite struct SchemaGrammarTests {
    /// Those who write have one way for a number, integers that strict readers take, and no blanks
    /// that lead nowhere.
    @Test(arguments: [
        (#"{"enum":[1,2]}"#, "2", true), (#"{"enum":[1,2]}"#, "2.0", false),
        (#"{"enum":[1,2]}"#, "20e-1", false), (#"{"enum":[1,2]}"#, "12", false),
        (#"{"type":"integer","enum":[1,2]}"#, "20e-1", false),
        (#"{"const":-0.050}"#, "-0.05", true), (#"{"const":-0.050}"#, "-5e-2", false),
        (#"{"const":1e300}"#, "1e300", true), (#"{"const":0}"#, "-0", false),
        (#"{"minimum":3,"maximum":3}"#, "3", true), (#"{"minimum":3,"maximum":3}"#, "3.0", false),
        (#"{"type":"integer"}"#, "12", true), (#"{"type":"integer"}"#, "12.0", false),
        (#"{"type":"integer","minimum":1}"#, "89", true),
        (#"{"type":"integer","minimum":1}"#, "89.0", false),
        (#"{"type":"integer","minimum":1}"#, "1e2", false),
        (#"{"type":"number"}"#, "89.0", true), (#"{"type":"number"}"#, "1e2", true),
        (#"{"type":"object"}"#, #"{"a": 1}"#, true), (#"{"type":"object"}"#, #"{"a" :1}"#, false),
        (#"{"type":"object"}"#, "{\n    \"a\": 1\n}", true),
    ]) func writing(schema: String, text: String, isAccepted: Bool) throws {
        let grammar = try Grammar.compile(
            .schema(try JSONValue.parse(schema)), vocabulary: Grammars.noTokens, style: .writing)
        #expect(Grammars.accepts(grammar, text) == isAccepted)
    }

    /// Schema, text, whether it is accepted.
    @Test(arguments: [
        (#"{"type":"integer"}"#, "12", true), (#"{"type":"integer"}"#, "1.0", true),
        (#"{"type":"integer"}"#, "1.5", false), (#"{"type":"integer"}"#, "01", false),
        (#"{"minimum":1,"maximum":65535,"type":"integer"}"#, "65535", true),
        (#"{"minimum":1,"maximum":65535,"type":"integer"}"#, "65536", false),
        (#"{"minimum":1,"maximum":65535,"type":"integer"}"#, "0", false),
        (#"{"type":"number","maximum":0.3}"#, "0.30000000000000004", false),
        (#"{"type":"number","minimum":0,"maximum":1}"#, "1e-05", true),
        (#"{"type":"number","minimum":0,"maximum":1}"#, "1e5", false),
        (#"{"type":"number","exclusiveMinimum":-2.5,"maximum":-1}"#, "-2.5", false),
        (#"{"type":"number","exclusiveMinimum":-2.5,"maximum":-1}"#, "-2.4", true),
        (#"{"type":"number","multipleOf":0.01}"#, "4.35", true),
        (#"{"type":"number","multipleOf":0.01}"#, "4.355", false),
        (#"{"type":"integer","multipleOf":9973}"#, "99460729", true),
        (#"{"type":"integer","multipleOf":9973}"#, "99460730", false),
        (#"{"minimum":5,"exclusiveMinimum":true,"type":"integer"}"#, "5", false),
        (#"{"enum":[1,2]}"#, "2", true), (#"{"enum":[1,2]}"#, "2.0", true),
        (#"{"enum":[1,2]}"#, "12", false), (#"{"enum":[1,2,3,4]}"#, "4.0", true),
        (#"{"type":"integer","enum":[1,2]}"#, "2", true),
        (#"{"const":-0.050}"#, "-0.05", true), (#"{"const":1e300}"#, "1e300", true),
        (#"{"minimum":3,"maximum":3}"#, "3", true), (#"{"minimum":3,"maximum":3}"#, "3.0", true),
        (#"{"type":"array","uniqueItems":true,"items":{"enum":[1,2,"a"]}}"#, #"[2,1,"a"]"#, true),
        (#"{"type":"array","uniqueItems":true,"items":{"enum":[1,2,"a"]}}"#, "[2,1,2]", false),
        (#"{"type":"array","uniqueItems":true,"items":{"enum":[1,2]},"minItems":2}"#, "[2,1]",
            true),
        (#"{"type":"integer","not":{"multipleOf":2}}"#, "3", true),
        (#"{"type":"integer","not":{"multipleOf":2}}"#, "4", false),
        (#"{"type":"number","not":{"type":"integer"}}"#, "4.0", false),
        (#"{"type":"number","not":{"type":"integer"}}"#, "4.5", true),
        (#"{"const":[1,{"b":2,"a":null}]}"#, #"[1, {"a": null, "b": 2}]"#, true),
        (#"{"const":[1,{"b":2,"a":null}]}"#, #"[1, {"a": null}]"#, false),
        (#"{"type":"string","minLength":2,"maxLength":3}"#, "\"😀é\"", true),
        (#"{"type":"string","minLength":2,"maxLength":3}"#, "\"a\"", false),
        (#"{"type":"string","minLength":2,"maxLength":3}"#, #""\ud83d\ude00""#, false),
        (#"{"type":"string","maxLength":1}"#, #""\ud83d\ude00""#, true),
        (#"{"type":"string"}"#, #""\ud83d""#, false), (#"{"type":"string"}"#, "\"\n\"", false),
        (#"{"type":"string","pattern":"^[a-c]+$"}"#, "\"abc\"", true),
        (#"{"type":"string","pattern":"b"}"#, "\"abc\"", true),
        (#"{"type":"string","pattern":"^a\\nb$"}"#, #""a\nb""#, true),
        (#"{"type":"string","not":{"pattern":"^a"}}"#, "\"abc\"", false),
        (#"{"type":"string","not":{"enum":["x","y"]}}"#, "\"x\"", false),
        (#"{"type":"string","not":{"enum":["x","y"]}}"#, "\"xy\"", true),
        (#"{"type":"string","format":"date"}"#, "\"2023-02-29\"", false),
        (#"{"type":"string","format":"date"}"#, "\"2024-02-29\"", true),
        (#"{"type":"array","uniqueItems":true}"#, "[1, 1.0]", false),
        (#"{"type":"array","uniqueItems":true}"#, #"["a", "b", {"x": 1}]"#, true),
        (#"{"type":"array","uniqueItems":true}"#, #"[{"x":1,"y":2}, {"y":2,"x":1}]"#, false),
        (#"{"type":"array","contains":{"type":"string"},"maxContains":1}"#, #"[1,"a"]"#, true),
        (#"{"type":"array","contains":{"type":"string"},"maxContains":1}"#, #"["b","a"]"#, false),
        (#"{"type":"array","contains":{"type":"string"}}"#, "[1,2]", false),
        (#"{"prefixItems":[{"type":"string"}],"items":{"type":"null"}}"#, #"["a",null]"#, true),
        (#"{"prefixItems":[{"type":"string"}],"items":{"type":"null"}}"#, #"["a",1]"#, false),
        (#"{"items":[{"type":"string"}],"additionalItems":false}"#, #"["a",1]"#, false),
        (#"{"minProperties":1,"anyOf":[{"type":"object"}]}"#, "{}", false),
        (#"{"properties":{"a":{"type":"null"}},"required":["a"]}"#, #"{"b":1,"a":null}"#, true),
        (#"{"properties":{"a":{"type":"null"}},"required":["a"]}"#, #"{"a":null,"a":null}"#, false),
        (#"{"type":"object"}"#, #"{"a":1,"b":{"a":2},"a":1}"#, false),
        (#"{"type":"object"}"#, #"{"a":1,"b":{"a":2},"c":"a"}"#, true),
        (#"{"patternProperties":{"^x":{"type":"null"}}}"#, #"{"xy":null,"xy":null}"#, false),
        (#"{"type":"string"}"#, #""{a:{[""#, true),
        (#"{"type":"array","uniqueItems":true}"#, #"["a\"", "b", "a\""]"#, false),
        (#"{"type":"array","uniqueItems":true}"#, #"["A", "\u0041"]"#, false),
        (#"{"type":"array","uniqueItems":true}"#, "[true, 1, [1, 2], null, [2, 1]]", true),
        (#"{"type":"array","uniqueItems":true}"#, "[[1, 2], [1,2.0]]", false),
        (#"{"type":"array","uniqueItems":true}"#, "[null, null]", false),
        (#"{"items":{"uniqueItems":true}}"#, "[[1, 2], [1, 2], [3, 3]]", false),
        (#"{"items":{"uniqueItems":true}}"#, "[[1, 2], [1, 2]]", true),
        (#"{"anyOf":[{"uniqueItems":true},{"maxItems":2}],"type":"array"}"#, "[1, 1]", true),
        (#"{"anyOf":[{"uniqueItems":true},{"maxItems":2}],"type":"array"}"#, "[1, 1, 2]", false),
        (#"{"type":"string","pattern":"^(aa)+$","minLength":3,"maxLength":5}"#, #""aaaa""#, true),
        (#"{"type":"string","pattern":"^(aa)+$","minLength":3,"maxLength":5}"#, #""aa""#, false),
        (#"{"properties":{"é":{"type":"null"}}}"#, #"{"é":1}"#, false),
        (#"{"patternProperties":{"^x":{"type":"null"}},"additionalProperties":false}"#,
            #"{"xy":null}"#, true),
        (#"{"patternProperties":{"^x":{"type":"null"}},"additionalProperties":false}"#,
            #"{"y":null}"#, false),
        (#"{"propertyNames":{"maxLength":2}}"#, #"{"ab":1}"#, true),
        (#"{"propertyNames":{"maxLength":2}}"#, #"{"abc":1}"#, false),
        (#"{"not":{"required":["a"]}}"#, #"{"a":1}"#, false),
        (#"{"not":{"required":["a"]}}"#, #"{"b":1}"#, true),
        (#"{"type":"object","not":{"additionalProperties":{"type":"string"}}}"#,
            #"{"a":"b"}"#, false),
        (#"{"type":"object","not":{"additionalProperties":{"type":"string"}}}"#,
            #"{"a":"b","c":1}"#, true),
        (#"{"oneOf":[{"required":["a"]},{"required":["b"]}]}"#, #"{"a":1,"b":2}"#, false),
        (#"{"oneOf":[{"required":["a"]},{"required":["b"]}]}"#, #"{"b":2}"#, true),
        (#"{"if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"required":["a"]}}"#,
            #"{"k":1}"#, false),
        (#"{"if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"required":["a"]}}"#,
            #"{"k":2}"#, true),
        (#"{"dependencies":{"a":["b"]}}"#, #"{"a":1}"#, false),
        (#"{"dependencies":{"a":["b"]}}"#, #"{"b":1,"a":1}"#, true),
        (##"{"$ref":"#/$defs/t","$defs":{"t":{"type":"object","properties":{"k":{"$ref":"#"}}}}}"##,
            #"{"k":{"k":{}}}"#, true),
        (#"{"type":"object"}"#, "{\n  \"a\": [\n    1\n  ]\n}", true),
        (#"{"type":"object"}"#, "{\n\n}", false), (#"{"type":"object"}"#, " {}", false),
    ])
    func verdicts(_ schema: String, _ text: String, _ isValid: Bool) throws {
        let grammar = try Grammars.schema(schema)
        #expect(Grammars.accepts(grammar, text) == isValid, "\(schema) on \(text)")
    }

    @Test(arguments: [
        (#"{"properties":{"a":{"$ref":"http://127.0.0.1:9/x.json"}}}"#, "grammar_unsupported",
            "#/properties/a/$ref"),
        (##"{"$ref":"#"}"##, "grammar_unsupported", "#"),
        (#"{"type":"string","minLength":5,"maxLength":2}"#, "grammar_unsatisfiable", "#"),
        (#"{"type":"string","pattern":"(?=a)b"}"#, "grammar_unsupported", "#/pattern"),
        (#"{"type":"array","minItems":1000000000}"#, "grammar_too_large", "#/minItems"),
        (#"{"type":"strin"}"#, "grammar_invalid", "#/type"),
        (#"{"items":{"minLength":-1}}"#, "grammar_invalid", "#/items/minLength"),
        (#"{"allOf":[{"enum":["a"]},{"enum":["b"]}]}"#, "grammar_unsatisfiable", "#"),
        (##"{"$defs":{"l":{"properties":{"n":{"$ref":"#/$defs/l"}},"required":["n"],"type":"object"}},"$ref":"#/$defs/l"}"##,
            "grammar_unsatisfiable", "#"),
    ])
    func refusals(_ schema: String, _ code: String, _ path: String) {
        #expect { try Grammars.schema(schema) } throws: { error in
            let error = error as? GrammarError
            return error?.code == code && error?.path == path
        }
    }

    /// What would take long is refused at once, by counted steps.
    @Test func hostileSchemasAreRefused() throws {
        let patterns = (0..<50).map { index in
            let letter = Character(Unicode.Scalar(UInt8(97 + index % 26)))
            return ("^.*\(letter).{\(index / 26 + 3)}$", JSONValue(members: [("type", "integer")]))
        }
        let schema = JSONValue(members: [
            ("type", "object"), ("patternProperties", JSONValue(members: patterns)),
            ("additionalProperties", false),
        ])
        #expect { try Grammars.compile(.schema(schema)) } throws: { error in
            (error as? GrammarError)?.code == "grammar_too_large"
        }
    }

    @Test func annotationsAreListed() throws {
        let grammar = try Grammars.schema(
            #"{"x-note":1,"properties":{"a":{"format":"color","type":"string"}}}"#)
        #expect(grammar.annotations.sorted() == ["#/properties/a/format", "#/x-note"])
    }

    @Test func strictKeepsTheSchemasOrder() throws {
        let schema = try JSONValue.parse(
            #"{"type":"object","properties":{"b":{},"a":{},"c":{}},"required":["b","c"]}"#)
        let grammar = try Grammars.compile(.schema(schema, keepsKeyOrder: true))
        #expect(Grammars.accepts(grammar, #"{"b":1,"a":2,"c":3}"#))
        #expect(Grammars.accepts(grammar, #"{"b":1,"c":3}"#))
        #expect(!Grammars.accepts(grammar, #"{"c":3,"b":1}"#))
        #expect(!Grammars.accepts(grammar, #"{"b":1,"c":3,"a":2}"#))
    }

    /// Real schemas: nothing invalid accepted, at most a handful of valid ones refused.
    @Test(.enabled(if: SharedData.isPresent))
    func realSchemas() throws {
        var accepted = 0, valid = 0
        var wrongAccepts: [String] = [], wrongRejects: [String] = []
        let rows = try Grammars.lines(gzipped: "jsonschemabench/maskbench-sample.jsonl.gz")
        for (number, row) in rows.enumerated() {
            guard let schema = row["schema"],
                let grammar = try? Grammars.compile(.schema(schema))
            else { continue }
            accepted += 1
            for (index, test) in (row["tests"]?.arrayValue ?? []).enumerated() {
                let text = (test["data"] ?? .null).serialized(Grammars.written)
                let isAccepted = Grammars.accepts(grammar, text)
                if test["valid"]?.boolValue == true {
                    valid += 1
                    if !isAccepted { wrongRejects.append("\(number).\(index)") }
                } else if isAccepted {
                    wrongAccepts.append("\(number).\(index)")
                }
            }
        }
        #expect(accepted >= 2_500, "of \(rows.count)")
        #expect(wrongAccepts.isEmpty)
        #expect(wrongRejects.count * 200 <= valid, "\(wrongRejects)")
    }

    /// The standard's own cases: no invalid instance accepted; which keywords are refused or
    /// stricter than they need be is counted.
    @Test(.enabled(if: SharedData.isPresent), arguments: ["draft2020-12", "draft7"])
    func standardCases(_ draft: String) throws {
        let root = SharedData.root.appendingPathComponent("json-schema-test-suite/tests/\(draft)")
        let walker = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil)
        var groups = 0, refused = 0, strict: [String] = []
        for file in walker?.allObjects as? [URL] ?? [] where file.pathExtension == "json" {
            // What a validator may do beyond the standard, and formats, which the suite counts as
            // annotations and we enforce.
            let name = file.lastPathComponent
            if file.path.contains("/optional/") || name == "format.json" { continue }
            let list = try JSONValue.parse(Array(Data(contentsOf: file)))
            for group in list.arrayValue ?? [] {
                groups += 1
                var schema = group["schema"] ?? true
                if draft == "draft7", case .object = schema, schema["$schema"] == nil {
                    schema = schema.setting("$schema", "http://json-schema.org/draft-07/schema#")
                }
                guard let grammar = try? Grammars.compile(.schema(schema)) else {
                    refused += 1
                    continue
                }
                for test in group["tests"]?.arrayValue ?? [] {
                    let text = (test["data"] ?? .null).serialized(Grammars.written)
                    let isAccepted = Grammars.accepts(grammar, text)
                    let what = "\(name): \(group["description"]?.stringValue ?? ""): \(text)"
                    if test["valid"]?.boolValue == false {
                        #expect(!isAccepted, "\(what)")
                    } else if !isAccepted {
                        strict.append(what)
                    }
                }
            }
        }
        #expect(groups > 80)
        #expect(refused < groups / 3, "\(refused) of \(groups)")
        #expect(strict.count <= 12, "\(strict)")
    }
}
