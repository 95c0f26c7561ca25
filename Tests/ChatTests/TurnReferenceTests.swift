@testable import AutoGLMChat
import AutoGLMJSON
import Foundation
import OrderedCollections
import TestKit
import Testing

/// What a parser reported, with adjacent pieces joined.
struct TurnReading: Equatable, CustomStringConvertible {
    var content = ""
    var reasoning = ""
    var calls: [Call] = []
    /// Calls that began and did not end, or pieces out of order.
    var isOrderly = true

    struct Call: Equatable {
        var name: String
        var arguments = ""
        var isEnded = false
    }

    var description: String {
        "content \(content.debugDescription), reasoning \(reasoning.debugDescription), "
            + "calls \(calls)"
    }

    mutating func take(_ events: [TurnEvent]) {
        for event in events {
            switch event {
            case .content(let text): content += text
            case .reasoning(let text): reasoning += text
            case .callStart(let index, let name):
                isOrderly = isOrderly && index == calls.count && calls.allSatisfy(\.isEnded)
                calls.append(Call(name: name))
            case .callArguments(let index, let delta):
                isOrderly = isOrderly && index == calls.count - 1 && !calls[index].isEnded
                calls[index].arguments += delta
            case .callEnd(let index):
                isOrderly = isOrderly && index == calls.count - 1
                calls[index].isEnded = true
            }
        }
    }

    func arguments(_ index: Int) -> JSONValue? { try? JSONValue.parse(calls[index].arguments) }

    /// Reads a text in one piece, cut in two at every byte, in random pieces and byte by byte; all
    /// must agree.
    static func everySplit(
        _ text: String, endsWithCall: Bool = false, _ make: () -> TurnParser
    ) -> TurnReading {
        let bytes = Array(text.utf8)
        func read(_ pieces: [ArraySlice<UInt8>]) -> TurnReading {
            var parser = make()
            var reading = TurnReading()
            for piece in pieces { reading.take(parser.push(utf8: piece)) }
            reading.take(parser.finish(endsWithCall: endsWithCall))
            return reading
        }
        let whole = read([bytes[...]])
        #expect(whole.isOrderly)
        for cut in 0...bytes.count {
            let split = read([bytes[..<cut], bytes[cut...]])
            #expect(split == whole, "cut at \(cut) of \(text.debugDescription)")
            if split != whole { break }
        }
        var random = SplitMix64(seed: UInt64(bytes.count))
        for _ in 0..<16 {
            var pieces: [ArraySlice<UInt8>] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let piece = rest.prefix(Int.random(in: 1...9, using: &random))
                pieces.append(piece)
                rest = rest.dropFirst(piece.count)
            }
            let pieced = read(pieces)
            #expect(pieced == whole, "\(pieces.map(\.count)) of \(text.debugDescription)")
        }
        let single = read(bytes.indices.map { bytes[$0...$0] })
        #expect(single == whole, "byte by byte: \(text.debugDescription)")
        return whole
    }
}

/// Cases of other servers' parsers.
@Suite struct TurnReferenceTests {
    static func json(_ path: String) throws -> [JSONValue] {
        let url = URL(fileURLWithPath: SharedData.path("tool-calling/\(path)"))
        return try JSONValue.parse(Array(Data(contentsOf: url))).arrayValue ?? []
    }

    static func parser(
        _ family: any Family.Type, reasoning: Bool = false, tools: [JSONValue]? = nil
    ) -> TurnParser {
        TurnParser(
            family.grammar, tools: ToolSchemas(tools),
            reasoning: reasoning ? ReasoningTags() : nil, startsInReasoning: reasoning)
    }

    /// A text without the marks of GLM-4.5.
    static func unmarked(_ text: String) -> String {
        let tags = GLM45.Arguments.tags.map { String(decoding: $0, as: UTF8.self) }
        return (["<tool_call>", "</tool_call>"] + tags)
            .reduce(text) { $0.replacing($1, with: "") }
    }

    /// Calls whose text between the marks is their name.
    enum RawBody: CallBody {
        static let quotesMarks = false
        static func read(_ body: [UInt8], _ tools: ToolSchemas) -> [ParsedCall]? {
            [ParsedCall(name: String(decoding: body, as: UTF8.self), arguments: "")]
        }
    }

    /// Values such as `{"_call": "int64", "args": [42]}` stand for their argument.
    static func plain(_ value: JSONValue) -> JSONValue {
        if let call = value["_call"]?.stringValue {
            let arguments = value["args"]?.arrayValue ?? []
            if call == "testArgs" || call == "float64" || call == "int64" {
                return arguments.first.map(plain) ?? .object([:])
            }
            return .object([:])
        }
        switch value {
        case .array(let items): return .array(items.map(plain))
        case .object(let members): return .object(members.mapValues(plain))
        case .double(let number): return Int64(exactly: number).map { .int($0) } ?? value
        default: return value
        }
    }

    @Test(.enabled(if: SharedData.isPresent)) func vllmGLM() throws {
        let cases = try Self.json("vllm-glm4-moe-parser.json")
        #expect(cases.count == 6)
        for sample in cases {
            let output = try #require(sample["model_output"]?.stringValue)
            let reading = TurnReading.everySplit(output) { Self.parser(GLM45.self) }
            let expected = sample["expected_tool_calls"]?.arrayValue ?? []
            #expect(reading.calls.map(\.name) == expected.map { $0["name"]?.stringValue ?? "" })
            for (index, call) in expected.enumerated() {
                #expect(reading.arguments(index) == call["arguments"], "\(output)")
            }
            // What is no call after all shows no marks here.
            let content = Self.unmarked(sample["expected_content"]?.stringValue ?? "")
            // The reference reports only what stands before the first call.
            if sample["name"] == "mixed_content" {
                #expect(reading.content.hasPrefix(content))
            } else {
                #expect(reading.content == content)
            }
        }
    }

    /// Cases that list steps and the events wanted: marks, thinking and white space.
    @Test(
        .enabled(if: SharedData.isPresent),
        arguments: ["glm46", "qwen3coder", "qwen3vl_nonthinking", "qwen3vl_thinking"])
    func steps(file: String) throws {
        let isThinking = file == "qwen3vl_thinking"
        var count = 0
        for sample in try Self.json("ollama-parsers/\(file).json") {
            guard let steps = sample["steps"]?.arrayValue else { continue }
            count += 1
            var wanted = TurnReading()
            var text = ""
            for step in steps {
                text += step["input"]?.stringValue ?? ""
                for event in step["wantEvents"]?.arrayValue ?? [] {
                    let type = event["_type"]?.stringValue ?? ""
                    let words = (event["content"] ?? event["raw"])?.stringValue ?? ""
                    if type.hasSuffix("ThinkingContent") {
                        wanted.reasoning += words
                    } else if type.hasSuffix("RawToolCall") {
                        wanted.calls.append(.init(name: words, arguments: "{}", isEnded: true))
                    } else {
                        wanted.content += words
                    }
                }
            }
            // A repeated opening tag is not part of the thinking here.
            if wanted.reasoning.hasPrefix("<think>") { wanted.reasoning.removeFirst(7) }
            let test = sample["test"]?.stringValue ?? ""
            let starts = isThinking && !test.contains("NonThinking") && sample["prefillMsg"] == nil
            let reasoning = file == "glm46" || starts
            var reading = TurnReading.everySplit(text) {
                var grammar = TurnGrammar(
                    .whole(RawBody.self), open: "<tool_call>", close: "</tool_call>")
                grammar.callEndsReasoning = starts
                return TurnParser(
                    grammar, tools: ToolSchemas(nil), reasoning: reasoning ? ReasoningTags() : nil,
                    startsInReasoning: starts)
            }
            // The cases stop in the middle; the end of the text releases what was held back.
            if reading.content.hasPrefix(wanted.content), reading.content != wanted.content {
                let rest = reading.content.dropFirst(wanted.content.count)
                let held = rest.drop(while: \.isWhitespace)
                #expect(held.isEmpty || "<tool_call>".hasPrefix(held), "\(sample)")
                reading.content = wanted.content
            }
            #expect(reading == wanted, "\(sample["desc"]?.stringValue ?? "")")
        }
        #expect(count > 5)
    }

    @Test(.enabled(if: SharedData.isPresent)) func repairedXML() throws {
        for sample in try Self.json("ollama-parsers/glm46.json") {
            if sample["test"] == "TestRepairGLM46XML" {
                let input = try #require(sample["input"]?.stringValue)
                let want = try #require(sample["want"]?.stringValue)
                let tools = ToolSchemas(nil)
                let read = try #require(GLM45.Arguments.read(Array(input.utf8), tools), "\(input)")
                #expect(read == GLM45.Arguments.read(Array(want.utf8), tools), "\(input)")
                #expect(read[0].name == "func")
            } else if let xml = sample["xml"]?.stringValue {
                let reading = TurnReading.everySplit(xml) { Self.parser(GLM45.self) }
                let arguments = try #require(reading.arguments(0)?.objectValue)
                #expect(Array(arguments.keys) == ["x", "y", "z"])
                #expect(Array(arguments.values) == ["X", "Y", "Z"])
            } else if let input = sample["input"]?.stringValue {
                let reading = TurnReading.everySplit(input) { Self.parser(GLM45.self) }
                #expect(reading.calls.isEmpty)
                #expect(reading.content == Self.unmarked(input))
            }
        }
    }

    @Test(.enabled(if: SharedData.isPresent)) func typedValues() throws {
        var count = 0
        for sample in try Self.json("ollama-parsers/qwen3coder.json")
        where sample["test"] == "TestQwenToolCallValueParsing" {
            let raw = try #require(sample["raw"]?.stringValue)
            let types = sample["paramType"] ?? .object([:])
            var schema: JSONValue = ["type": types]
            if types.arrayValue == nil { schema = .object([:]) }
            let tools: [JSONValue] = [
                ["function": ["name": "f", "parameters": ["properties": ["p": schema]]]]
            ]
            let text =
                "<tool_call>\n<function=f>\n<parameter=p>\(raw)</parameter>\n"
                + "</function>\n</tool_call>"
            let reading = TurnReading.everySplit(text) {
                Self.parser(Qwen3Coder.self, tools: tools)
            }
            var want = Self.plain(sample["want"] ?? .null)
            // Null is null only where the schema admits it.
            if sample["desc"] == "null value case insensitive" { want = .string(raw) }
            #expect(
                reading.arguments(0)?["p"].map(Self.plain) == want,
                "\(sample["desc"]?.stringValue ?? ""): \(reading)")
            count += 1
        }
        #expect(count > 30)
    }

    /// Cases that give a whole output, or chunks, and the calls wanted.
    @Test(
        .enabled(if: SharedData.isPresent),
        arguments: [
            ("deepseek3", DeepSeek.self), ("cogito", DeepSeek.self), ("olmo3", OLMo.self),
        ] as [(String, any Family.Type)])
    func outputs(file: String, family: any Family.Type) throws {
        var count = 0
        for sample in try Self.json("ollama-parsers/\(file).json") {
            let chunks = sample["chunks"]?.arrayValue?.compactMap(\.stringValue)
            guard let text = chunks?.joined() ?? sample["input"]?.stringValue else { continue }
            // These two leave a complete call, or the end of thinking, in the content.
            let name = sample["name"]?.stringValue ?? ""
            let bodyOnly = sample["test"] == "TestParseOlmo3FunctionCalls"
            let leaves =
                name.contains("conservative_parsing")
                || (file == "cogito" && name == "thinking_with_tool_call")
            if bodyOnly || leaves { continue }
            let thinking = sample["expectedThinking"]?.stringValue ?? ""
            let starts = sample["hasThinking"]?.boolValue ?? !thinking.isEmpty
            let reading = TurnReading.everySplit(text) {
                Self.parser(family, reasoning: starts)
            }
            count += 1
            let held = name.hasPrefix("partial_think_tag") ? "</th" : ""
            #expect(reading.content == sample["expectedContent"]?.stringValue ?? "", "\(name)")
            #expect(reading.reasoning == thinking + held, "\(name)")
            let calls = (sample["expectedCalls"] ?? sample["expectedToolCalls"])?.arrayValue ?? []
            #expect(reading.calls.count == calls.count, "\(name): \(reading)")
            for (index, call) in calls.enumerated() where index < reading.calls.count {
                let function = try #require(call["Function"])
                #expect(reading.calls[index].name == function["Name"]?.stringValue)
                // One transcription lists the values apart from their keys.
                if name == "complex_tool_arguments" && file == "deepseek3" { continue }
                #expect(
                    reading.arguments(index).map(Self.plain)
                        == function["Arguments"].map(Self.plain), "\(name): \(reading)")
            }
        }
        #expect(count > 5)
    }

    @Test(.enabled(if: SharedData.isPresent)) func mistral() throws {
        for sample in try Self.json("ollama-parsers/ministral.json") {
            guard let steps = sample["steps"]?.arrayValue else { continue }
            let text = steps.compactMap { $0["input"]?.stringValue }.joined()
            let isThinking = sample["think"]?.boolValue ?? false
            let reading = TurnReading.everySplit(text) {
                TurnParser(
                    Mistral.grammar, tools: ToolSchemas(nil), reasoning: Mistral.thinking,
                    startsInReasoning: isThinking)
            }
            var wanted = TurnReading()
            for event in steps.flatMap({ $0["wantEvents"]?.arrayValue ?? [] }) {
                wanted.content += event["content"]?.stringValue ?? ""
                wanted.reasoning += event["thinking"]?.stringValue ?? ""
                if let name = event["name"]?.stringValue {
                    let arguments = event["args"]?.stringValue ?? ""
                    wanted.calls.append(.init(name: name, arguments: arguments, isEnded: true))
                }
            }
            #expect(reading == wanted, "\(sample["desc"]?.stringValue ?? "")")
        }
    }
}
