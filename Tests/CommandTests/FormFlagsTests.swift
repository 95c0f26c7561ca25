import AutoGLMDecoding
import Foundation
import TestKit
import Testing

@testable import AutoGLMCommand

@Suite struct FormFlagsTests {
    private func form(_ arguments: [String]) throws -> OutputForm? {
        try FormFlags.parse(arguments).form()
    }

    @Test func filesAndPatternsAreRead() throws {
        let directory = try TemporaryDirectory()
        let schema = directory.url.appendingPathComponent("s.json").path
        let grammar = directory.url.appendingPathComponent("g.gbnf").path
        try "{\"type\": \"integer\"}".write(toFile: schema, atomically: false, encoding: .utf8)
        try "root ::= \"a\"".write(toFile: grammar, atomically: false, encoding: .utf8)
        #expect(try form([]) == nil)
        #expect(try form(["--json-schema", schema])?.source == .schema(["type": "integer"]))
        #expect(try form(["--grammar", grammar])?.source == .gbnf("root ::= \"a\""))
        #expect(try form(["--regex", "a|b"])?.source == .regex("a|b"))
        #expect(throws: (any Error).self) { try form(["--regex", "a", "--grammar", grammar]) }
        #expect(try Run.parse(["hello", "--regex", "a"]).form.regex == "a")
        #expect(try Chat.parse(["--json-schema", schema]).form.jsonSchema == schema)
    }

    /// What cannot be followed is named before a model is loaded.
    @Test(arguments: [
        ("{\"properties\": {\"x\": {\"$ref\": \"http://a/b\"}}}", "(at #/properties/x"),
        ("{\"type\": \"integer\", \"minimum\": \"a\"}", "(at #/minimum)"),
        ("{\"type\": ", "is no JSON"), ("[1]", "schema"),
        ("{\"allOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}", "nothing can satisfy"),
    ])
    func refusalsNameTheFlagAndThePlace(text: String, expected: String) throws {
        let directory = try TemporaryDirectory()
        let file = directory.url.appendingPathComponent("s.json").path
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        let error = #expect(throws: CommandError.self) { try form(["--json-schema", file]) }
        let message = error.map(String.init(describing:)) ?? ""
        #expect(message.contains("--json-schema \(file)"), "\(message)")
        #expect(message.contains(expected), "\(message)")
    }

    @Test func missingFilesAndBrokenPatternsAreNamed() {
        #expect(throws: CommandError.self) { try form(["--grammar", "/nowhere/g.gbnf"]) }
        let error = #expect(throws: CommandError.self) { try form(["--regex", "(a"]) }
        #expect(error.map { String(describing: $0).hasPrefix("--regex: ") } == true)
    }
}
