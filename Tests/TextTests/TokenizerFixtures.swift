import AutoGLMJSON
import Foundation
import TestKit

@testable import AutoGLMText

/// One text with the ids a reference library gave it.
struct TokenizerCase {
    var text: String
    var ids: [TokenID]
}

enum TokenizerFixtures {
    static let isPresent = SharedData.url("tokenizers/glm-4-9b-chat.expected.json") != nil

    static func json(_ path: String) throws -> JSONValue {
        let data = try Data(contentsOf: URL(fileURLWithPath: SharedData.path(path)))
        return try JSONValue.parse([UInt8](data))
    }

    static func expected(_ name: String) throws -> [TokenizerCase] {
        let document = try json("tokenizers/\(name).expected.json")
        return (document["cases"]?.arrayValue ?? []).compactMap { entry in
            guard let text = entry["text"]?.stringValue, let ids = ids(entry["ids"]) else {
                return nil
            }
            return TokenizerCase(text: text, ids: ids)
        }
    }

    static func ids(_ value: JSONValue?) -> [TokenID]? {
        value?.arrayValue?.compactMap { $0.intValue.map { TokenID($0) } }
    }

    static func load(_ name: String) throws -> Tokenizer {
        try Tokenizer.load(directory: SharedData.path("tokenizers/\(name)"))
    }

    /// Only the tiktoken file of GLM-4, without tokenizer.json beside it.
    static func glmTiktoken() throws -> Tokenizer {
        let bytes = try Data(
            contentsOf: URL(
                fileURLWithPath: SharedData.path("tokenizers/glm-4-9b-chat/tokenizer.model")))
        return Tokenizer(
            try TiktokenFile(file: "tokenizer.model", bytes: [UInt8](bytes))
                .parts(TokenizerSettings()))
    }

    /// The texts of llama.cpp's `.inp` and the ids of its `.out`.
    static func llamaCases(_ name: String) throws -> [TokenizerCase] {
        let path = "tokenizers/llama.cpp-vocabs/ggml-vocab-\(name).gguf"
        let input = try String(
            contentsOf: URL(fileURLWithPath: SharedData.path(path + ".inp")), encoding: .utf8)
        let output = try String(
            contentsOf: URL(fileURLWithPath: SharedData.path(path + ".out")), encoding: .utf8)
        let texts = input.components(separatedBy: "\n__ggml_vocab_test__\n")
        let lines = output.components(separatedBy: "\n")
        return zip(texts, lines).map { text, line in
            TokenizerCase(text: text, ids: line.split(separator: " ").compactMap { TokenID($0) })
        }
    }

    static func gguf(_ name: String) throws -> Tokenizer {
        let path = "tokenizers/llama.cpp-vocabs/ggml-vocab-\(name).gguf"
        let data = try Data(contentsOf: URL(fileURLWithPath: SharedData.path(path)))
        return try Tokenizer(gguf: GGUFMetadata([UInt8](data)).vocabulary, file: path)
    }

    /// A temporary directory with the given files, removed by the caller's test run end.
    static func directory(_ files: [String: String]) throws -> String {
        let url = FileManager.default.temporaryDirectory
            .appendingPathComponent("tokenizer-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        for (name, text) in files {
            try Data(text.utf8).write(to: url.appendingPathComponent(name))
        }
        return url.path
    }
}

/// Just enough GGUF to take the tokenizer out of a well-formed file.
struct GGUFMetadata {
    private let bytes: [UInt8]
    private var position = 24
    private(set) var values: [String: JSONValue] = [:]
    private(set) var strings: [String: [[UInt8]]] = [:]
    private(set) var floats: [String: [Float]] = [:]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        position = 16
        let count = integer(8)
        for _ in 0..<count {
            let key = String(decoding: string(), as: UTF8.self)
            read(key, type: integer(4))
        }
    }

    private mutating func integer(_ size: Int) -> Int {
        var value = 0
        for index in 0..<size { value |= Int(bytes[position + index]) << (index * 8) }
        position += size
        return value
    }

    private mutating func string() -> [UInt8] {
        let count = integer(8)
        defer { position += count }
        return Array(bytes[position..<position + count])
    }

    private mutating func read(_ key: String, type: Int) {
        switch type {
        case 0, 1, 7: values[key] = .int(Int64(integer(1)))
        case 2, 3: values[key] = .int(Int64(integer(2)))
        case 4: values[key] = .int(Int64(integer(4)))
        case 5: values[key] = .int(Int64(Int32(truncatingIfNeeded: integer(4))))
        case 6: values[key] = .double(Double(Float(bitPattern: UInt32(integer(4)))))
        case 8: values[key] = .string(String(decoding: string(), as: UTF8.self))
        case 9:
            let element = integer(4)
            let count = integer(8)
            switch element {
            case 8: strings[key] = (0..<count).map { _ in string() }
            case 6: floats[key] = (0..<count).map { _ in Float(bitPattern: UInt32(integer(4))) }
            case 4, 5:
                values[key] = .array((0..<count).map { _ in .int(Int64(integer(4))) })
            default: fatalError("unexpected array of \(element)")
            }
        default: _ = integer(8)
        }
    }

    var vocabulary: GGUFVocabulary {
        func id(_ name: String) -> TokenID? {
            values["tokenizer.ggml.\(name)"]?.intValue.map { TokenID(truncatingIfNeeded: $0) }
        }
        func flag(_ name: String) -> Bool? {
            values["tokenizer.ggml.\(name)"]?.intValue.map { $0 != 0 }
        }
        return GGUFVocabulary(
            model: values["tokenizer.ggml.model"]?.stringValue ?? "",
            pre: values["tokenizer.ggml.pre"]?.stringValue,
            tokens: strings["tokenizer.ggml.tokens"] ?? [],
            scores: floats["tokenizer.ggml.scores"] ?? [],
            tokenTypes: (values["tokenizer.ggml.token_type"]?.arrayValue ?? []).compactMap {
                $0.intValue.map { Int($0) }
            },
            merges: strings["tokenizer.ggml.merges"] ?? [],
            bosID: id("bos_token_id"), eosID: id("eos_token_id"),
            unknownID: id("unknown_token_id"), padID: id("padding_token_id"),
            addsBOS: flag("add_bos_token"), addsEOS: flag("add_eos_token"),
            addsSpacePrefix: flag("add_space_prefix"))
    }
}
