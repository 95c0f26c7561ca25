import AutoGLMAPI
import AutoGLMJSON
import TestKit

@testable import AutoGLMChat
@testable import AutoGLMServer
@testable import AutoGLMText

/// Bodies as the routes read them: the first byte says which route, and which family's template
/// renders a chat. The reader's verdicts on JSON are checked by writing and reading again.
let requestTarget: FuzzTarget = {
    let models = try? requestModels()
    return FuzzTarget("request", seeds: requestSeeds, words: requestWords) { bytes in
        guard let first = bytes.first, let models else { return }
        let body = Array(bytes.dropFirst())
        if let value = try? JSONValue.body(body) {
            let again = try? JSONValue.body(Array(value.serialized().utf8))
            promise(again == value, "JSON written is another value than the one read")
        }
        do throws(APIError) {
            switch first & 3 {
            case 0: _ = try CompletionRequest(body: body)
            case 1: _ = try TokenizeRequest(body: body)
            case 2: _ = try DetokenizeRequest(body: body)
            default:
                let request = try ChatCompletionRequest(body: body)
                let conversation = Conversation(request.conversation)
                let model = models[Int(first >> 2) % models.count]
                let tokens: [TokenID]
                do { tokens = try model.prompt(conversation) } catch {
                    FuzzTarget.checkMessage("\(error)", of: "request")
                    return
                }
                promise(tokens.allSatisfy { $0 >= 0 }, "negative tokens")
            }
        } catch {
            promise((400..<500).contains(error.status), "status \(error.status)")
            promise((try? JSONValue.parse(error.body)) != nil, "an error that is no JSON")
            promise(error.body.count < 16_384, "an error of \(error.body.count) bytes")
        }
    }
}()

/// One for each family's own template, and one for a template that prints everything.
private func requestModels() throws -> [ModelText] {
    let tokenizer = try ByteVocabulary.tokenizer()
    var templates = families.compactMap { $0.template }
    templates.append(ScriptedChat.template)
    templates.append("{{ tools|tojson }}{% for m in messages %}<|{{ m.role }}|>{{ m }}{% endfor %}")
    return try templates.map {
        try ModelText(tokenizer: tokenizer, templates: ["default": $0], name: "m")
    }
}

private let requestSeeds: [[UInt8]] = chatSeeds.map { [3] + Array($0.utf8) }
    + otherSeeds.map { [$0.route] + Array($0.body.utf8) }

private let chatSeeds: [String] = [
    #"{"messages":[{"role":"user","content":"hi"}],"max_tokens":5,"stream":true,"n":2}"#,
    #"{"messages":[{"role":"system","content":[{"type":"text","text":"a"}]},{"role":"user","content":"b"},"#
        + #"{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":"#
        + #"{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"1","content":"2"}],"#
        + #""tools":[{"type":"function","function":{"name":"f","description":"d","parameters":"#
        + #"{"type":"object","properties":{"a":{"type":"integer"}}}}}],"tool_choice":"auto"}"#,
    #"{"messages":[{"role":"user","content":"x"}],"temperature":0.5,"top_p":0.9,"stop":["a","b"],"#
        + #""logprobs":true,"top_logprobs":3,"seed":-9,"logit_bias":{"5":-100},"response_format":"#
        + #"{"type":"text"},"chat_template_kwargs":{"enable_thinking":false},"thinking":{"type":"disabled"}}"#,
]

private let otherSeeds: [(route: UInt8, body: String)] = [
    (0, #"{"prompt":["a",[1,2]],"max_tokens":0,"echo":true,"logprobs":2,"stream_options":null}"#),
    (0, #"{"prompt":[1,2,3],"suffix":"","best_of":1,"stop":"x","user":"u"}"#),
    (1, #"{"prompt":"a b","add_special_tokens":false,"parse_special":true}"#),
    (1, #"{"messages":[{"role":"user","content":"a"}],"add_generation_prompt":true}"#),
    (2, #"{"tokens":[1,2,2147483647],"model":"m"}"#),
]

private let requestWords = [
    #""messages":["#, #"{"role":"user","content":""#, #""tools":["#, #""tool_calls":["#,
    #""function":{"name":""#, #""parameters":{"#, #""type":"object""#, #""stop":["#, "\\ud83d",
    "\\ude00", "\\u0000", "1e400", "-0", "1E-999", "18446744073709551616", "[[[[[[[[", "{\"a\":",
    #""response_format":{"type":"json_schema","json_schema":{"#, #""image_url""#, "\u{FEFF}",
    #""tool_choice":{"type":"function","function":{"name":"f"}}"#, #""logit_bias":{"1":2}"#,
    #""metadata":{}"#, #""stream_options":{"include_usage":true}"#, #""priority":9"#, "null", "true",
    #""reasoning_content":"x""#, #""max_completion_tokens":1"#, #""parallel_tool_calls":false"#,
]

/// A schema, a zero byte and the text of an argument, as a tool call brings them together; and the
/// schema as a tool of a request.
let schemaTarget = FuzzTarget(
    "schema", seeds: schemaSeeds.map { Array($0.utf8) }, words: schemaWords
) { bytes in
    let two = halves(bytes)
    let text = String(decoding: two.second ?? [], as: UTF8.self)
    let source = String(decoding: two.first, as: UTF8.self)
    _ = SplitPattern(regex: source)
    let schema = try JSONValue.parse(two.first, options: .request)
    for reader in schemaReaders { try reader(schema, text) }
}

/// Everything that is given a schema by a client. A compiler of schemas to grammars goes here.
private let schemaReaders: [@Sendable (JSONValue, String) throws -> Void] = [
    { schema, text in
        let tools = ToolSchemas([
            ["type": "function", "function": ["name": "f", "parameters": schema]]
        ])
        for name in ["a", "b", "$ref", ""] {
            let value = tools.value(text, of: name, in: "f")
            let bytes = Array(value.serialized().utf8)
            promise((try? JSONValue.parse(bytes)) != nil, "an argument that is no JSON")
        }
    },
    { schema, _ in
        let body: JSONValue = [
            "messages": [["role": "user", "content": "x"]],
            "tools": [["type": "function", "function": ["name": "f", "parameters": schema]]],
        ]
        do throws(APIError) {
            _ = try ChatCompletionRequest(body: Array(body.serialized().utf8))
        } catch {
            promise(error.status == 400, "status \(error.status)")
        }
    },
]

private let schemaSeeds: [String] = [
    ##"{"type":"object","properties":{"a":{"type":"integer"},"b":{"enum":["x",1,null]}}}"## + "\0" + "12",
    ##"{"properties":{"a":{"$ref":"#/$defs/t"}},"$defs":{"t":{"anyOf":[{"type":"null"},{"const":"x"}]}}}"##
        + "\0null",
    ##"{"allOf":[{"properties":{"a":{"type":["number","string"]}}},{"properties":{"a":{"oneOf":[{},true]}}}]}"##
        + "\01e3",
    ##"{"additionalProperties":{"type":"array","items":{"type":"boolean"},"minItems":1},"pattern":"^a+$"}"##
        + "\0[true]",
    ##"{"$ref":"#/properties/a","properties":{"a":{"$ref":"#"}}}"## + "\0{}",
    ##"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
]

private let schemaWords = [
    #""type":"string""#, #""type":["null","integer"]"#, #""properties":{"a":{"#, #""items":{"#,
    ##""$ref":"#/$defs/a""##, ##""$ref":"#""##, #""$defs":{"a":{"#, #""anyOf":[{"#, #""allOf":[{"#,
    #""oneOf":[{"#, #""not":{"#, #""enum":["#, #""const":"#, #""pattern":"(a+)+b""#,
    #""pattern":"(x{1000}){1000}""#, #""minItems":1000000000"#, #""maxLength":0"#,
    #""additionalProperties":false"#, #""format":"date""#, #""prefixItems":["#, #""nullable":true"#,
    #""if":{"#, #""patternProperties":{""#, #""minimum":-1e308"#, #""multipleOf":0"#, "~1", "~0",
    "(?=", "\\\\1", "[^", "{0,9999}", "\\\\p{L}", "None", "True", "007",
]
