import AutoGLMJSON
import FoundationEssentials
import OrderedCollections

/// Finds a model's tokenizer among its files and joins it with what its config says of special
/// tokens.
struct TokenizerDirectory {
    let path: String

    func parts() throws(TokenizerError) -> TokenizerParts {
        let settings = try TokenizerSettings(directory: self)
        var parts: TokenizerParts
        if let bytes = try read("tokenizer.json") {
            parts = try TokenizerJSON(file: file("tokenizer.json"), bytes: bytes).parts()
        } else if let bytes = try read("tokenizer.model") {
            let name = file("tokenizer.model")
            if TiktokenFile.matches(bytes) {
                parts = try TiktokenFile(file: name, bytes: bytes).parts(settings)
            } else {
                parts = try SentencePieceFile(file: name, bytes: bytes).parts(settings)
            }
        } else if let vocabulary = try read("vocab.json"), let merges = try read("merges.txt") {
            parts = try VocabularyFiles(
                vocabularyFile: file("vocab.json"), vocabulary: vocabulary,
                mergesFile: file("merges.txt"), merges: merges
            ).parts(settings)
        } else {
            throw TokenizerError.missing(directory: path)
        }
        settings.complete(&parts)
        return parts
    }

    func file(_ name: String) -> String {
        path.hasSuffix("/") ? path + name : path + "/" + name
    }

    /// The bytes of one file, nil where there is none.
    func read(_ name: String) throws(TokenizerError) -> [UInt8]? {
        let file = file(name)
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        guard let data = FileManager.default.contents(atPath: file) else {
            throw TokenizerError.unreadable(file: file, reason: "the system refused to read it")
        }
        guard !isGitLFSPointer(data) else {
            throw TokenizerError.unreadable(
                file: file,
                reason: "it is a Git LFS pointer, not the file itself; run `git lfs pull` in its "
                    + "directory, or download it again")
        }
        return [UInt8](data)
    }

    /// A JSON file as a value, nil where there is none.
    func readJSON(_ name: String) throws(TokenizerError) -> JSONValue? {
        guard let bytes = try read(name) else { return nil }
        do throws(JSONError) {
            return try JSONValue.parse(bytes, options: .checkpointFile)
        } catch {
            throw TokenizerError.malformed(
                file: file(name), field: "document", reason: error.description)
        }
    }
}

/// What tokenizer_config.json, special_tokens_map.json and added_tokens.json say.
struct TokenizerSettings: Sendable {
    var added: [AddedToken] = []
    /// Name of the Python class that the model's authors use.
    var tokenizerClass: String?
    var bos: String?
    var eos: String?
    var pad: String?
    var unknown: String?
    var addsBOS: Bool?
    var addsEOS: Bool?
    var addsPrefixSpace: Bool?
    /// False: the dummy prefix stands only where the text starts.
    var isLegacy = true

    init() {}

    init(directory: TokenizerDirectory) throws(TokenizerError) {
        let config = try directory.readJSON("tokenizer_config.json") ?? .null
        let map = try directory.readJSON("special_tokens_map.json") ?? .null
        func name(_ key: String) -> String? {
            for source in [config, map] {
                if let text = source[key]?.stringValue { return text }
                if let text = source[key]?["content"]?.stringValue { return text }
            }
            return nil
        }
        tokenizerClass = config["tokenizer_class"]?.stringValue
        bos = name("bos_token")
        eos = name("eos_token")
        pad = name("pad_token")
        unknown = name("unk_token")
        addsBOS = config["add_bos_token"]?.boolValue
        addsEOS = config["add_eos_token"]?.boolValue
        addsPrefixSpace = config["add_prefix_space"]?.boolValue
        isLegacy = config["legacy"]?.boolValue ?? true
        let file = directory.file("tokenizer_config.json")
        for (key, entry) in config["added_tokens_decoder"]?.objectValue ?? [:] {
            guard let id = TokenID(key), id >= 0, id < PieceTable.idMax,
                let content = entry["content"]?.stringValue
            else {
                throw TokenizerError.malformed(
                    file: file, field: "added_tokens_decoder[\(key.debugDescription)]",
                    reason: "expected an id below \(PieceTable.idMax) and a content string")
            }
            added.append(AddedToken(id: id, content: content, flags: entry))
        }
        let special = Set(
            [bos, eos, pad, unknown].compactMap { $0 }
                + [config, map].flatMap { $0["additional_special_tokens"]?.arrayValue ?? [] }
                .compactMap { $0.stringValue ?? $0["content"]?.stringValue })
        for (content, value) in try directory.readJSON("added_tokens.json")?.objectValue ?? [:] {
            guard let id = value.intValue, id >= 0, id < PieceTable.idMax else {
                throw TokenizerError.malformed(
                    file: directory.file("added_tokens.json"), field: content.debugDescription,
                    reason: "expected an id below \(PieceTable.idMax)")
            }
            if added.contains(where: { $0.id == TokenID(id) }) { continue }
            added.append(
                AddedToken(
                    id: TokenID(id), content: Array(content.utf8),
                    isSpecial: special.contains(content)))
        }
    }

    /// Adds the tokens that the tokenizer's own file lacks, and finds the named ones.
    func complete(_ parts: inout TokenizerParts) {
        let known = Set(parts.added.lazy.map(\.id))
        parts.added += added.filter { !known.contains($0.id) }
        func id(_ name: String?) -> TokenID? {
            guard let name else { return nil }
            let bytes = Array(name.utf8)
            return parts.added.first { $0.content == bytes }?.id ?? parts.model.pieces.id(of: bytes)
        }
        parts.bosID = id(bos) ?? parts.bosID
        parts.eosID = id(eos) ?? parts.eosID
        parts.padID = id(pad) ?? parts.padID
        parts.unknownID = id(unknown) ?? parts.unknownID
        // These classes write their prefix themselves, whatever the post-processor says.
        if tokenizerClass == "ChatGLM4Tokenizer", let mask = id("[gMASK]"),
            let start = id("<sop>")
        {
            parts.prefixIDs = [mask, start]
        } else if tokenizerClass == "ChatGLMTokenizer", let mask = id("[gMASK]"),
            let start = id("sop")
        {
            parts.prefixIDs = [mask, start]
        } else if let bos = parts.bosID, parts.prefixIDs.isEmpty, addsBOS == true {
            parts.prefixIDs = [bos]
        }
        if let eos = parts.eosID, parts.suffixIDs.isEmpty, addsEOS == true {
            parts.suffixIDs = [eos]
        }
    }
}

extension Tokenizer {
    /// Loads the tokenizer of the model in `directory`: tokenizer.json, else tokenizer.model
    /// (tiktoken ranks or SentencePiece), else vocab.json with merges.txt; special tokens also
    /// from tokenizer_config.json, special_tokens_map.json and added_tokens.json.
    /// - Throws: `TokenizerError`, which names the file and the field.
    package static func load(directory: String) throws(TokenizerError) -> Tokenizer {
        Tokenizer(try TokenizerDirectory(path: directory).parts())
    }
}
