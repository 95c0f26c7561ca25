import AutoGLMDecoding
import AutoGLMJSON
import Foundation
import TestKit
import Testing

/// Texts that masks lead to are valid, as a validator says that no one here wrote.
@Suite struct GrammarWalkTests {
    /// A text of legal tokens, chosen at random and, after a while, so that it comes to an end.
    static func walk(_ grammar: Grammar, seed: UInt64) throws -> String? {
        let trie = Grammars.fewTokens
        let random = CounterRandom(seed: seed)
        var state = grammar.makeState()
        var mask = TokenMask(count: trie.tokenCount)
        var bytes: [UInt8] = []
        for step in 0..<1_500 {
            try state.fill(&mask)
            if mask[0], state.isFinished || step > 40 { return String(decoding: bytes, as: UTF8.self) }
            var choice = mask.allowed.filter { $0 != 0 }
            if step > 40 {
                let closing = choice.filter { token in
                    trie.bytes(of: token).count == 1 && "\"]}:".utf8.contains(trie.bytes(of: token)[0])
                }
                if !closing.isEmpty { choice = closing } else if step % 4 > 0 {
                    choice = choice.filter {
                        trie.bytes(of: $0).count == 1 && trie.bytes(of: $0)[0] != 0x2C
                            && trie.bytes(of: $0)[0] > 0x20
                    }
                    if choice.isEmpty { choice = mask.allowed.filter { $0 != 0 } }
                }
            }
            guard !choice.isEmpty else { return nil }
            let token = choice[Int(random.bits(at: step) % UInt64(choice.count))]
            bytes += trie.bytes(of: token)
            state.accept(token)
        }
        return nil
    }

    private static let validator = """
        import sys, json, warnings
        warnings.simplefilter("ignore")
        import jsonschema
        for line in sys.stdin:
            row = json.loads(line)
            v = jsonschema.validators.validator_for(row["schema"], jsonschema.Draft202012Validator)
            try:
                errors = [e.message[:200] for e in v(row["schema"]).iter_errors(json.loads(row["text"]))]
            except Exception as e:
                print("null", flush=True)
                continue
            print(json.dumps(errors), flush=True)
        """

    private static func python(_ arguments: [String], input: Data) throws -> Data? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3"] + arguments
        let file = FileManager.default.temporaryDirectory
            .appendingPathComponent("walks-\(UUID().uuidString).jsonl")
        try input.write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        process.standardInput = try FileHandle(forReadingFrom: file)
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return process.terminationStatus == 0 ? data : nil
    }

    @Test(.enabled(if: SharedData.isPresent))
    func randomWalksEndInValidDocuments() throws {
        guard try Self.python(["-c", "import jsonschema"], input: Data()) != nil else { return }
        let rows = try Grammars.lines(gzipped: "jsonschemabench/maskbench-sample.jsonl.gz")
        var input = Data(), texts: [(Int, String)] = [], unfinished = 0, stuck: [String] = []
        for (number, row) in rows.enumerated() where number % 13 == 5 {
            guard let schema = row["schema"],
                let grammar = try? Grammars.compile(.schema(schema), Grammars.fewTokens)
            else { continue }
            for seed in 1...2 {
                do {
                    guard let text = try Self.walk(grammar, seed: UInt64(seed)) else {
                        unfinished += 1
                        continue
                    }
                    texts.append((number, text))
                    let line = JSONValue(members: [("schema", schema), ("text", .string(text))])
                    input += Data((line.serialized(.compact) + "\n").utf8)
                } catch { stuck.append("\(number): \(error)") }
            }
        }
        let output = try #require(try Self.python(["-c", Self.validator], input: input))
        let verdicts = try output.split(separator: 10).map { try JSONValue.parse(Array($0)) }
        #expect(verdicts.count == texts.count)
        for ((number, text), verdict) in zip(texts, verdicts) {
            // The validator may stumble over a schema itself: nothing is learnt then.
            guard let errors = verdict.arrayValue else { continue }
            #expect(errors.isEmpty, "\(number): \(text.prefix(300)): \(verdict)")
        }
        #expect(texts.count > 250, "\(unfinished) not finished")
        #expect(stuck.count <= 2, "\(stuck)")
    }
}
