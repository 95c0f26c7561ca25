import ArgumentParser
import AutoGLMChat
import AutoGLMJSON
import AutoGLMText
import Foundation

struct Tokenize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show how a model's tokenizer cuts a text.",
        discussion: """
            With --jsonl, each line {"text": …} of standard input becomes a line {"ids": […]}.
            """)

    @Argument(help: "The text; - reads it from standard input.")
    var text: String?

    @Option(name: .shortAndLong, help: ArgumentHelp("Model directory or file.", valueName: "path"))
    var model: String?

    @Flag(help: "Let special tokens written in the text count as such.")
    var special = false

    @Flag(help: "Add the tokens that the tokenizer puts around a text.")
    var addSpecial = false

    @Flag(help: "Read JSON lines from standard input, write JSON lines.")
    var jsonl = false

    @Flag(help: "Print only the ids, separated by spaces.")
    var ids = false

    @Flag(help: "The text is token ids; print their text.")
    var decode = false

    func validate() throws {
        if jsonl == (text != nil) {
            throw ValidationError("give a text, or --jsonl with lines on standard input")
        }
    }

    func run() throws {
        let path = try modelPath(model)
        let tokenizer = try loadTokenizer(path)
        if jsonl {
            try mapLines { row throws in
                guard let text = row["text"]?.stringValue else {
                    throw CommandError("\"text\" must be a string")
                }
                let ids = tokenizer.encode(text, allowSpecial: special, addSpecial: addSpecial)
                return ["ids": .array(ids.map { .int(Int64($0)) })]
            }
            return
        }
        let input = text == "-" ? try readStandardInput() : text ?? ""
        if decode {
            let words = input.split { $0 == " " || $0 == "," || $0.isNewline }
            let ids = try words.map { word in
                guard let id = Int32(word), id >= 0, Int(id) < tokenizer.vocabularyCount else {
                    throw CommandError(
                        "\(word) is not a token id below \(tokenizer.vocabularyCount)")
                }
                return id
            }
            print(tokenizer.decode(ids, skipSpecial: false))
            return
        }
        let tokens = tokenizer.encode(input, allowSpecial: special, addSpecial: addSpecial)
        if ids {
            print(tokens.map(String.init).joined(separator: " "))
        } else {
            let rows = tokens.map { id in
                ["\(id)", JSONValue.string(
                    String(decoding: tokenizer.tokenBytes(id), as: UTF8.self)
                ).serialized(JSONWriteOptions(ensureASCII: false))]
            }
            print(rows.map { "\($0[0])\t\($0[1])" }.joined(separator: "\n"))
            print(Terminal.dim("\(tokens.count) tokens"))
        }
    }
}

func modelPath(_ model: String?) throws -> String {
    if let model { return model }
    return try DefaultModel.directory(environment: ProcessInfo.processInfo.environment)
}

func loadTokenizer(_ path: String) throws -> Tokenizer {
    guard let tokenizer = try ModelText(path: path).tokenizer else {
        throw ChatError.missingTokenizer(model: path)
    }
    return tokenizer
}

/// Calls `body` for each JSON object on standard input and prints what it returns; an error
/// becomes a line `{"error": …}`, and the next line goes on.
func mapLines(_ body: (JSONValue) throws -> [String: JSONValue]) throws {
    while let line = readLine() {
        if line.allSatisfy(\.isWhitespace) { continue }
        var result: [String: JSONValue]
        do {
            let row = try JSONValue.parse(line)
            guard case .object = row else { throw CommandError("expected a JSON object") }
            result = try body(row)
        } catch {
            result = ["error": .string(String(describing: error))]
        }
        let line = JSONValue(members: result.map { ($0.key, $0.value) })
        // ASCII, so that readers which also split lines at U+2028 and the like see one line.
        print(line.serialized())
    }
}
