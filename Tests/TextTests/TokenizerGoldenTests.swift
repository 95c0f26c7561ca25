import AutoGLMJSON
import Foundation
import TestKit
import Testing

@testable import AutoGLMText

/// Small tokenizers of every supported kind against the reference libraries
/// (Tests/Golden/tokenizers, made by make.py there).
@Suite struct TokenizerGoldenTests {
    private static let folder = SharedData.repository
        .appendingPathComponent("Tests/Golden/tokenizers")

    private func document(_ name: String) throws -> JSONValue {
        let data = try Data(contentsOf: Self.folder.appendingPathComponent("\(name).json"))
        return try JSONValue.parse([UInt8](data))
    }

    private func compare(
        _ name: String, _ tokenizer: Tokenizer, _ texts: [String], _ ids: [JSONValue],
        _ decoded: [JSONValue], allowSpecial: Bool
    ) {
        var wrong: [String] = []
        for (index, text) in texts.enumerated() {
            guard let wanted = TokenizerFixtures.ids(ids[index]) else { continue }
            let found = tokenizer.encode(text, allowSpecial: allowSpecial)
            if found != wanted {
                wrong.append("\(text.debugDescription): \(found) != \(wanted)")
                continue
            }
            // The reference decodes a run of bytes that is no UTF-8 byte by byte; we decode
            // what is valid in it.
            let back = tokenizer.decode(wanted, skipSpecial: false)
            if let text = decoded[index].stringValue, !text.contains("\u{FFFD}"),
                !back.unicodeScalars.elementsEqual(text.unicodeScalars)
            {
                wrong.append(
                    "\(wanted) is \(back.debugDescription), not \(text.debugDescription)")
            }
        }
        #expect(wrong.isEmpty, "\(name): \(wrong.count) of \(texts.count): \(wrong.prefix(3))")
    }

    @Test(arguments: ["byte-level", "characters", "unigram"])
    func tokenizerJSON(name: String) throws {
        let document = try document(name)
        let texts = (document["texts"]?.arrayValue ?? []).compactMap(\.stringValue)
        guard case .object(let base) = document["base"] else { throw CancellationError() }
        for (variant, entry) in document["variants"]?.objectValue ?? [:] {
            var parts = base
            for (key, value) in entry["change"]?.objectValue ?? [:] {
                if key == "model", case .object(var model) = parts["model"] {
                    for (field, setting) in value.objectValue ?? [:] { model[field] = setting }
                    parts["model"] = .object(model)
                } else {
                    parts[key] = value
                }
            }
            let bytes = Array(JSONValue.object(parts).serialized().utf8)
            let tokenizer = Tokenizer(
                try TokenizerJSON(file: "\(name)/\(variant)", bytes: bytes).parts())
            compare(
                "\(name)/\(variant)", tokenizer, texts, entry["ids"]?.arrayValue ?? [],
                entry["decoded"]?.arrayValue ?? [], allowSpecial: true)
            let hello = tokenizer.encode("hello", addSpecial: true)
            #expect(hello == TokenizerFixtures.ids(entry["added"]))
        }
    }

    @Test(arguments: ["sp-bpe", "sp-bpe-plain", "sp-unigram", "sp-unigram-bytes"])
    func sentencePiece(name: String) throws {
        let document = try document(name)
        let data = try Data(contentsOf: Self.folder.appendingPathComponent("\(name).model"))
        let tokenizer = Tokenizer(
            try SentencePieceFile(file: name, bytes: [UInt8](data)).parts(TokenizerSettings()))
        let texts = (document["texts"]?.arrayValue ?? []).compactMap(\.stringValue)
        // The reference prints unknown pieces as " ⁇ "; ours are checked by ids only.
        let decoded = (document["decoded"]?.arrayValue ?? []).map { value in
            value.stringValue?.contains("\u{2047}") ?? true ? JSONValue.null : value
        }
        compare(
            name, tokenizer, texts, document["ids"]?.arrayValue ?? [], decoded, allowSpecial: false)
    }
}
