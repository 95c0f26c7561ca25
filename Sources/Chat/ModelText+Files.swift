import AutoGLMJSON
package import AutoGLMModels
import AutoGLMText
import FoundationEssentials

extension ModelText {
    /// The text of a model whose files are open.
    /// - Throws: `TokenizerError`, `TemplateError` or ``TextFileError``.
    package init(_ source: ModelSource, templateOverride: String? = nil) throws {
        // Files beside the weights come first: they are what the model's makers published.
        if let directory = source.directory,
            source.tokenizer == nil || Self.hasTokenizer(directory)
        {
            try self.init(directory: directory, templateOverride: templateOverride)
            return
        }
        let file = source.tokenizer
        try self.init(
            tokenizer: try file.flatMap { file in
                file.tokens.isEmpty
                    ? nil : try Tokenizer(gguf: GGUFVocabulary(file), file: source.path)
            },
            templates: file?.chatTemplates ?? [:], override: templateOverride,
            name: source.config.name)
    }

    /// The text of a model at a path, of which nothing else is wanted: the weights need not be
    /// there.
    /// - Throws: `CheckpointError` besides.
    package init(path: String, templateOverride: String? = nil) throws {
        if FileManager.default.fileExists(atPath: path + "/config.json")
            || Self.hasTokenizer(path)
        {
            try self.init(directory: path, templateOverride: templateOverride)
        } else {
            try self.init(try ModelSource(path), templateOverride: templateOverride)
        }
    }

    private static let tokenizerFiles = ["tokenizer.json", "tokenizer.model", "vocab.json"]

    private static func hasTokenizer(_ directory: String) -> Bool {
        tokenizerFiles.contains {
            FileManager.default.fileExists(atPath: directory + "/" + $0)
        }
    }

    private init(directory: String, templateOverride: String?) throws {
        let hasTokenizer = Self.hasTokenizer(directory)
        try self.init(
            tokenizer: hasTokenizer ? try Tokenizer.load(directory: directory) : nil,
            templates: templateOverride == nil ? try Self.templates(in: directory) : [:],
            override: templateOverride,
            name: directory.split(separator: "/").last.map(String.init) ?? directory)
    }

    /// `chat_template.jinja` with `additional_chat_templates/NAME.jinja`, else `chat_template` in
    /// tokenizer_config.json: a text, or a list of named ones.
    private static func templates(in directory: String) throws -> [String: String] {
        var templates: [String: String] = [:]
        let folder = directory + "/additional_chat_templates"
        for file in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where file.hasSuffix(".jinja") {
            templates[String(file.dropLast(6))] = try read(folder + "/" + file)
        }
        if let source = try read(directory + "/chat_template.jinja") {
            templates["default"] = source
            return templates
        }
        let path = directory + "/tokenizer_config.json"
        guard let text = try read(path) else { return templates }
        let config: JSONValue
        do {
            config = try JSONValue.parse(Array(text.utf8), options: .checkpointFile)
        } catch {
            throw TextFileError(file: path, reason: "\(error)")
        }
        switch config["chat_template"] {
        case .string(let source): templates["default"] = source
        case .array(let named):
            for entry in named {
                guard let name = entry["name"]?.stringValue else { continue }
                templates[name] = entry["template"]?.stringValue
            }
        default: break
        }
        return templates
    }

    /// nil where there is no such file.
    private static func read(_ path: String) throws(TextFileError) -> String? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw TextFileError(file: path, reason: "the system refused to read it")
        }
        guard data.count <= 64 << 20 else {
            throw TextFileError(file: path, reason: "\(data.count) bytes; at most 64 MiB are read")
        }
        if isGitLFSPointer(data) {
            throw TextFileError(
                file: path,
                reason: "is a Git LFS pointer, not the file itself; run `git lfs pull` in its "
                    + "directory, or download it again")
        }
        return String(decoding: data, as: UTF8.self)
    }
}

/// A text file beside the weights that cannot be used.
package struct TextFileError: Error, Equatable, CustomStringConvertible {
    package let file: String
    package let reason: String

    package var description: String { "\(file): \(reason)" }
}

extension GGUFVocabulary {
    fileprivate init(_ file: GGUFTokenizer) {
        self.init(
            model: file.model, pre: file.pre, tokens: file.tokens.map { Array($0.utf8) },
            scores: file.scores, tokenTypes: file.types.map { Int($0) },
            merges: file.merges.map { Array($0.utf8) }, bosID: file.begin.map { TokenID($0) },
            eosID: file.end.map { TokenID($0) }, unknownID: file.unknown.map { TokenID($0) },
            padID: file.padding.map { TokenID($0) }, addsBOS: file.addsBegin,
            addsEOS: file.addsEnd, addsSpacePrefix: file.addsSpacePrefix)
    }
}
