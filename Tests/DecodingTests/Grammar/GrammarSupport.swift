import AutoGLMDecoding
import AutoGLMJSON
import AutoGLMText
import Foundation
import TestKit

/// Grammars without tokens, and with those of GLM-4.
enum Grammars {
    static let noTokens = TokenTrie(tokens: [], endTokens: [])

    /// A small vocabulary with tokens that cross every boundary there is.
    static let fewTokens: TokenTrie = {
        var tokens: [[UInt8]] = [[]]
        tokens += (UInt8.min...UInt8.max).map { [$0] }
        let words = [
            "{\"", "\":", "\": \"", "\", \"", "}}", "\"}", "]}", "[[", "true", "false", "null", "12",
            "00", "-1", "0.5", "1e", " \"", ", ", "\": ", "abc", "name", "na", "é", "中文", "\\n",
            "\\\"", "\\u00", "a\"", "\"a", "<tool", "_call>", "\n", "  ", "ab", "aa", "},{\"",
        ]
        tokens += words.map { Array($0.utf8) }
        // A token twice, and halves of characters.
        tokens += [Array("abc".utf8), [0xE4, 0xB8], [0xAD, 0xE6]]
        return TokenTrie(tokens: tokens, endTokens: [0])
    }()

    static let fewTokenBytes: [[UInt8]] = (0..<Int32(fewTokens.tokenCount)).map { token in
        fewTokens.bytes(of: token)
    }

    static func compile(
        _ source: GrammarSource, _ vocabulary: TokenTrie = noTokens
    ) throws -> Grammar {
        try Grammar.compile(source, vocabulary: vocabulary)
    }

    static func schema(_ text: String) throws -> Grammar {
        try compile(.schema(try JSONValue.parse(text)))
    }

    static func accepts(_ grammar: Grammar, _ text: String) -> Bool {
        var state = grammar.makeState()
        return state.accept(text: text.utf8) && state.isComplete
    }

    /// Lines of a compressed file of the reference data.
    static func lines(gzipped path: String) throws -> [JSONValue] {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/gzip")
        process.arguments = ["-dc", SharedData.path(path)]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return try data.split(separator: 10).map { try JSONValue.parse(Array($0)) }
    }

    /// As Python's `json.dumps(value, ensure_ascii=False)`.
    static let written = JSONWriteOptions(ensureASCII: false)
}
