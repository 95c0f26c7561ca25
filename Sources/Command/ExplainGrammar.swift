import ArgumentParser
import AutoGLMDecoding
import AutoGLMJSON
import AutoGLMText
import Foundation

struct ExplainGrammar: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "grammar",
        abstract: "Say what a JSON schema, regular expression or grammar lets a model write.",
        discussion: """
            Prints what is enforced exactly, what is only an annotation, or what is refused and \
            where. With --model, also how long token masks take along random texts of the grammar.

            With --jsonl, each line {"schema"|"regex"|"gbnf"|"tools": …, "instances": [text, …]} \
            of standard input becomes a line {"accepted": [true, …]} or {"error": …, "code": …, \
            "path": …}.
            """)

    @Argument(help: "File with a JSON schema; - reads it from standard input.")
    var schema: String?

    @Option(help: ArgumentHelp("A regular expression instead.", valueName: "pattern"))
    var regex: String?

    @Option(help: ArgumentHelp("File with a GBNF grammar instead.", valueName: "file"))
    var gbnf: String?

    @Option(name: .shortAndLong, help: ArgumentHelp(
        "Model directory or file whose tokens masks are made for.", valueName: "path"))
    var model: String?

    @Flag(help: "Members in the schema's own order, as strict asks.")
    var strict = false

    @Flag(help: "Read JSON lines from standard input, write JSON lines.")
    var jsonl = false

    func validate() throws {
        let sources = [schema, regex, gbnf].compactMap { $0 }.count + (jsonl ? 1 : 0)
        if sources != 1 {
            throw ValidationError(
                "give one of: a schema file, --regex, --gbnf, or --jsonl with lines on "
                    + "standard input")
        }
    }

    func run() throws {
        if jsonl {
            let vocabulary = TokenTrie(tokens: [], endTokens: [])
            return try mapLines { row throws in try Self.verdicts(row, vocabulary, strict) }
        }
        try explain()
    }

    // MARK: Lines

    private static func verdicts(
        _ row: JSONValue, _ vocabulary: TokenTrie, _ strict: Bool
    ) throws -> [String: JSONValue] {
        guard let instances = row["instances"]?.arrayValue else {
            throw CommandError("\"instances\" must be a list of texts")
        }
        let grammar: Grammar
        do {
            grammar = try Grammar.compile(
                try source(row, keepsKeyOrder: strict), vocabulary: vocabulary)
        } catch let error as GrammarError {
            return Self.described(error)
        }
        var accepted: [JSONValue] = []
        for instance in instances {
            guard let text = instance.stringValue else {
                throw CommandError("\"instances\" must hold texts")
            }
            var state = grammar.makeState()
            let isRead = state.accept(text: text.utf8)
            accepted.append(.bool(isRead && state.isComplete))
        }
        var result: [String: JSONValue] = ["accepted": .array(accepted)]
        if !grammar.annotations.isEmpty {
            result["annotations"] = .array(grammar.annotations.map { .string($0) })
        }
        return result
    }

    private static func described(_ error: GrammarError) -> [String: JSONValue] {
        var result: [String: JSONValue] = [
            "error": .string(error.description), "code": .string(error.code),
        ]
        result["path"] = error.path.map { .string($0) } ?? .null
        return result
    }

    private static func source(
        _ row: JSONValue, keepsKeyOrder: Bool
    ) throws -> GrammarSource {
        if let schema = row["schema"] { return .schema(schema, keepsKeyOrder: keepsKeyOrder) }
        if let pattern = row["regex"]?.stringValue { return .regex(pattern) }
        if let grammar = row["gbnf"]?.stringValue { return .gbnf(grammar) }
        if let options = row["choice"]?.arrayValue {
            return .choice(options.compactMap(\.stringValue))
        }
        guard let tools = row["tools"]?.arrayValue else {
            throw CommandError("give \"schema\", \"regex\", \"gbnf\", \"choice\" or \"tools\"")
        }
        return .schema(try callSchema(tools), keepsKeyOrder: keepsKeyOrder)
    }

    /// A call as most families write it: `{"name": …, "arguments": {…}}`.
    private static func callSchema(_ tools: [JSONValue]) throws -> JSONValue {
        var calls: [JSONValue] = []
        for tool in tools {
            let function = tool["function"] ?? tool
            guard let name = function["name"]?.stringValue else {
                throw CommandError("a tool without a name")
            }
            let call = JSONValue(members: [
                ("type", "object"),
                ("properties", JSONValue(members: [
                    ("name", ["const": .string(name)]),
                    ("arguments", function["parameters"] ?? ["type": "object"]),
                ])),
                ("required", ["name", "arguments"]),
                ("additionalProperties", false),
            ])
            calls.append(call)
        }
        return ["anyOf": .array(calls)]
    }

    // MARK: One grammar

    private func readSource() throws -> GrammarSource {
        if let regex { return .regex(regex) }
        if let gbnf { return .gbnf(try String(contentsOfFile: gbnf, encoding: .utf8)) }
        let text = schema == "-"
            ? try readStandardInput()
            : try String(contentsOfFile: schema ?? "", encoding: .utf8)
        return .schema(try JSONValue.parse(text), keepsKeyOrder: strict)
    }

    private func explain() throws {
        let source = try readSource()
        let vocabulary = try model.map { try Self.vocabulary(of: $0) }
            ?? TokenTrie(tokens: [], endTokens: [])
        let clock = ContinuousClock()
        let start = clock.now
        let grammar: Grammar
        do {
            grammar = try Grammar.compile(source, vocabulary: vocabulary)
        } catch {
            print("refused    \(error.code)")
            if let path = error.path { print("at         \(path)") }
            print("because    \(error)")
            throw ExitCode.failure
        }
        print("accepted   everything is enforced exactly")
        print("compiled   in \(Self.milliseconds(clock.now - start))")
        for (index, path) in grammar.annotations.enumerated() {
            print("\(index == 0 ? "annotation" : "          ") \(path) (says nothing about values)")
        }
        if vocabulary.tokenCount > 0 { try measure(grammar) }
        print("states     \(grammar.stateCount)")
        print("memory     about \(grammar.byteCount / 1_024) KiB")
    }

    private static func vocabulary(of model: String) throws -> TokenTrie {
        let tokenizer = try loadTokenizer(model)
        let tokens = (0..<Int32(tokenizer.vocabularyCount)).map {
            tokenizer.isSpecial($0) ? [] : tokenizer.tokenBytes($0)
        }
        return TokenTrie(tokens: tokens, endTokens: tokenizer.eosID.map { [$0] } ?? [])
    }

    private static func milliseconds(_ duration: Duration) -> String {
        String(format: "%.2f ms", Self.microseconds(duration) / 1_000)
    }

    private static func microseconds(_ duration: Duration) -> Double {
        Double(duration.components.attoseconds) / 1e12 + Double(duration.components.seconds) * 1e6
    }

    /// Masks along random texts of the grammar: a token of each mask, all as likely.
    private func measure(_ grammar: Grammar) throws {
        let random = CounterRandom(seed: 1)
        var draws = 0
        var mask = TokenMask(count: grammar.vocabulary.tokenCount)
        var times: [Double] = []
        let clock = ContinuousClock()
        for _ in 0..<20 {
            var state = grammar.makeState()
            for _ in 0..<60 where !state.isFinished {
                let start = clock.now
                try state.fill(&mask)
                times.append(Self.microseconds(clock.now - start))
                let allowed = mask.allowed.filter { !grammar.vocabulary.endTokens.contains($0) }
                guard !allowed.isEmpty else { break }
                state.accept(allowed[Int(random.bits(at: draws) % UInt64(allowed.count))])
                draws += 1
            }
        }
        let sorted = times.sorted()
        let shown = [("p50", 0.5), ("p99", 0.99), ("max", 1.0)].map { name, share in
            let index = min(sorted.count - 1, Int(Double(sorted.count) * share))
            return "\(name) \(String(format: "%.1f", sorted[index]))"
        }
        print("masks      \(times.count), µs: " + shown.joined(separator: ", "))
    }
}
