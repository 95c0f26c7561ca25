import ArgumentParser
import AutoGLMDecoding
import AutoGLMJSON
import Foundation

/// What answers must look like, for the commands that print them.
struct FormFlags: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Answer with JSON that satisfies the JSON Schema in this file.", valueName: "file"))
    var jsonSchema: String?

    @Option(
        help: ArgumentHelp(
            "Answer with a text that matches this regular expression (RE2) as a whole.",
            valueName: "pattern"))
    var regex: String?

    @Option(
        help: ArgumentHelp(
            "Answer with a text of the grammar (GBNF) in this file.", valueName: "file"))
    var grammar: String?

    func validate() throws {
        if [jsonSchema, regex, grammar].compactMap(\.self).count > 1 {
            throw ValidationError("give one of --json-schema, --regex and --grammar")
        }
    }

    /// The form asked for, nil for any text. It is compiled here once, without a model's tokens:
    /// what cannot be followed should not cost the load of a model.
    func form() throws -> OutputForm? {
        guard let (form, name) = try read() else { return nil }
        do {
            let noTokens = TokenTrie(tokens: [], endTokens: [])
            _ = try Grammar.compile(form.source, vocabulary: noTokens)
        } catch {
            throw CommandError("\(name): \(error)")
        }
        return form
    }

    /// - Returns: also what to call it in messages: the flag, and the file.
    private func read() throws -> (OutputForm, name: String)? {
        if let regex { return (OutputForm(.regex(regex), field: "--regex"), "--regex") }
        if let grammar {
            let name = "--grammar \(grammar)"
            let text = String(decoding: try bytes(grammar, name), as: UTF8.self)
            return (OutputForm(.gbnf(text), field: name), name)
        }
        guard let jsonSchema else { return nil }
        let name = "--json-schema \(jsonSchema)"
        let schema: JSONValue
        do {
            schema = try JSONValue.parse(Array(try bytes(jsonSchema, name)))
        } catch let error as JSONError {
            throw CommandError("\(name) is no JSON: \(error)")
        }
        return (OutputForm(.schema(schema), field: name), name)
    }

    private func bytes(_ path: String, _ name: String) throws -> Data {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw CommandError("cannot read \(name)")
        }
        return data
    }
}
