import AutoGLMJSON
import TestKit

@testable import AutoGLMChat

/// What a model of each family might write, in one piece and in pieces: both must be read alike.
/// Three bytes choose the family, the circumstances and where the text is cut.
let toolTextTarget = FuzzTarget(
    "tool-text", seeds: toolTextSeeds(), words: toolTextWords
) { bytes in
    guard bytes.count > 3 else { return }
    let family = families[Int(bytes[0]) % families.count]
    let flags = bytes[1]
    // The detokenizer gives whole characters only.
    let text = Array(String(decoding: bytes[3...], as: UTF8.self).utf8)[...]
    func parser() -> TurnParser {
        TurnParser(
            family.grammar,
            tools: flags & 1 == 0 ? tools : flags & 2 == 0 ? ToolSchemas(nil) : ToolSchemas([]),
            reasoning: flags & 4 == 0 ? family.thinking : nil,
            startsInReasoning: flags & 8 != 0)
    }
    let isCall = flags & 16 != 0
    let whole = Reading(parser(), [text], isCall)
    var pieces: [ArraySlice<UInt8>] = []
    var rest = text
    var random = SplitMix64(seed: UInt64(bytes[2]))
    while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 1...(flags & 32 == 0 ? 1 : 9), using: &random))
        pieces.append(piece)
        rest = rest.dropFirst(piece.count)
    }
    let cut = Reading(parser(), pieces, isCall)
    promise(
        whole == cut,
        "\(family.name) reads \(whole) in one piece, but \(cut) in pieces")
    promise(whole.isOrderly, "\(family.name): events out of order: \(whole)")
}

/// The events of a text, joined.
private struct Reading: Equatable {
    var content = ""
    var reasoning = ""
    var calls: [[String]] = []
    var ended = 0
    var isOrderly = true

    init(_ parser: TurnParser, _ pieces: [ArraySlice<UInt8>], _ isCall: Bool) {
        var parser = parser
        for piece in pieces { take(parser.push(utf8: piece)) }
        take(parser.finish(endsWithCall: isCall))
        isOrderly = isOrderly && ended == calls.count
    }

    private mutating func take(_ events: [TurnEvent]) {
        for event in events {
            switch event {
            case .content(let text): content += text
            case .reasoning(let text): reasoning += text
            case .callStart(let index, let name):
                isOrderly = isOrderly && index == calls.count && ended == index
                calls.append([name, ""])
            case .callArguments(let index, let text):
                isOrderly = isOrderly && index == calls.count - 1 && ended == index
                if isOrderly { calls[index][1] += text }
            case .callEnd(let index):
                isOrderly = isOrderly && index == calls.count - 1 && ended == index
                ended += 1
            }
        }
    }
}

private let tools = ToolSchemas([
    [
        "type": "function",
        "function": [
            "name": "get_weather",
            "parameters": [
                "type": "object",
                "properties": [
                    "city": ["type": "string"], "days": ["type": "integer"],
                    "units": ["type": "array"],
                ],
            ],
        ],
    ],
    ["type": "function", "function": ["name": "get", "parameters": ["type": "object"]]],
])

private let toolTexts = [
    "get_weather\n{\"city\": \"北京\", \"days\": 3}",
    "<think>hm</think>\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>A</arg_value>\n"
        + "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
    "Well.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": [1, {\"b\": null}]}}\n</tool_call>x",
    "get_weather\n```python\ntool_call(city='A', days=3)\n```<|assistant|>get\n{}",
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nA\n</parameter>\n</function>\n</tool_call>",
    "[TOOL_CALLS]get[ARGS]{\"a\": 1}[TOOL_CALLS][{\"name\": \"get\", \"arguments\": {}}]",
    "<|python_tag|>{\"name\": \"get\", \"parameters\": {\"q\": \"x\"}}; get_weather(city=\"A\")",
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get\n```json\n{}\n```"
        + "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"get\">\n<｜DSML｜parameter name=\"a\" string=\"true\">x"
        + "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    "<function_calls>\nget_weather(city='A', days=3)\nget(a=[1, 'x'], b={'c': None})\n</function_calls>",
]

private func toolTextSeeds() -> [[UInt8]] {
    families.indices.flatMap { family in
        toolTexts.enumerated().map { [UInt8(family), UInt8($0.0 * 37 & 63), 7] + Array($0.1.utf8) }
    }
}

private let toolTextWords = [
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>",
    "</arg_value>", "<|assistant|>", "<|observation|>", "get_weather", "get\n", "{\"name\": \"get\"",
    "\"arguments\": {", "\"parameters\": ", "```python", "```", "tool_call(", "[TOOL_CALLS]", "[ARGS]",
    "<function=get>", "</function>", "<parameter=a>", "</parameter>", "<|python_tag|>",
    "<function_calls>", "</function_calls>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>",
    "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜DSML｜", "\\u12", "\\\"", "{\"a\":", "[[", "'''", "=",
    "\n\n", "\r\n", "你", "\u{1F600}", "None", "1e5", "-", "<|eom_id|>", "; ",
]
