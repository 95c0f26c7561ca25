package import AutoGLMChat
import AutoGLMCompute
package import AutoGLMJSON
import AutoGLMModels
package import AutoGLMText
import FoundationEssentials

extension LoadedModel {
    /// Reads a model directory, `.gguf` or `.safetensors` file and starts its engine.
    /// Blocks while it reads.
    /// - Throws: `CheckpointError`, `TokenizerError`, `TemplateError`, `BackendError` or
    ///   ``LoadError``; each says in one line what is wrong and what to do.
    package static func load(_ path: String, options: EngineOptions) throws -> LoadedModel {
        // Text first: it takes milliseconds, and its mistakes show before the weights are read.
        let text = try ModelText(path, templateOverride: options.chatTemplate)
        let backend = try CPUBackend(options: options.compute)
        let model = try ModelLoader.load(path, options: loadOptions(options), backend: backend)
        let info = model.info
        let contextMax = try context(info, options)
        let blocks = try cacheBlocks(info, contextMax: contextMax, options)
        try allocateCache(of: model, blocks: blocks)
        let shape = EngineShape(
            rowWidth: info.vocabulary,
            vocabulary: text.tokenizer.map { $0.vocabularyCount } ?? info.vocabulary,
            contextMax: contextMax, blocks: blocks, blockTokens: info.blockTokens,
            stopTokens: stopTokens(info, text.tokenizer))
        let engine = try Engine(model, shape: shape, options: options)
        return LoadedModel(
            name: options.name ?? info.name, info: info, engine: engine, text: text,
            contextMax: min(contextMax, blocks * info.blockTokens),
            fingerprint: fingerprint(path, info, options, backend.instructionSet),
            created: newestFile(path))
    }

    private static func allocateCache(of model: any CausalLM, blocks: Int) throws {
        do {
            try model.allocateCache(blocks: blocks)
        } catch {
            guard case .outOfMemory(let bytes) = error else { throw error }
            throw LoadError.outOfMemory(
                what: "the KV cache", bytes: bytes,
                remedy: "Lower --kv-cache-memory or --max-model-tokens.")
        }
    }

    private static func loadOptions(_ options: EngineOptions) -> LoadOptions {
        var load = LoadOptions()
        load.weightFormat = options.weightFormat
        load.cacheFormat = options.compute.cacheFormat
        load.blockTokens = options.blockTokens
        if let onProgress = options.onProgress {
            load.progress = { onProgress($0.tensor, $0.bytesRead, $0.bytesTotal) }
        }
        return load
    }

    /// Sizes below this are always given, so that small models never run out of positions.
    private static let contextMin = 2

    private static func context(_ info: ModelInfo, _ options: EngineOptions) throws -> Int {
        guard let asked = options.contextMax else { return info.contextLength }
        guard asked <= info.contextLength else {
            throw LoadError.contextTooLong(tokens: asked, limit: info.contextLength)
        }
        return max(asked, contextMin)
    }

    /// Blocks that fit the memory given, or sensibly into what is free.
    private static func cacheBlocks(
        _ info: ModelInfo, contextMax: Int, _ options: EngineOptions
    ) throws -> Int {
        let size = info.blockTokens
        let blocksPerSequence = (contextMax + size - 1) / size
        let bytesPerBlock = max(info.bytesPerToken * size, 1)
        // 2³¹ blocks are more than block indices can name.
        let most = Int(Int32.max) / size
        if let blocks = options.cacheBlocks { return min(max(blocks, 1), most) }
        if let bytes = options.cacheBytes {
            let blocks = min(bytes / bytesPerBlock, most)
            guard blocks > 0 else {
                throw LoadError.cacheTooSmall(tokens: 0, needed: size)
            }
            return blocks
        }
        let budget = Int(Double(availableMemory()) * 0.4) / bytesPerBlock
        let wanted = blocksPerSequence.multipliedReportingOverflow(by: 32)
        let blocks = min(max(budget, 1), wanted.overflow ? most : wanted.partialValue, most)
        // A context that does not fit is cut by admission; one that is a mere fraction is no use.
        guard blocks * size >= min(contextMax, 512) else {
            throw LoadError.cacheTooSmall(tokens: blocks * size, needed: min(contextMax, 512))
        }
        return blocks
    }

    /// Bytes that can be taken without swapping, cgroup limits included.
    package static func availableMemory() -> Int {
        var available = 4 << 30
        if let meminfo = readText("/proc/meminfo"),
            let line = meminfo.split(separator: "\n").first(where: {
                $0.hasPrefix("MemAvailable:")
            }),
            let kibibytes = line.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        {
            available = kibibytes << 10
        }
        let groups = [
            ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
            (
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.usage_in_bytes"
            ),
        ]
        for (limit, usage) in groups {
            guard let limit = readText(limit).flatMap({ Int(trimmed($0)) }),
                let usage = readText(usage).flatMap({ Int(trimmed($0)) })
            else { continue }
            available = min(available, max(limit - usage, 0))
        }
        return available
    }

    private static func readText(_ path: String) -> String? {
        try? String(contentsOfFile: path, encoding: .utf8)
    }

    private static func trimmed(_ text: String) -> Substring {
        text.prefix { $0 != "\n" }
    }

    /// Those of the configuration, and those that end a turn by their text: some configurations
    /// leave out the token that ends a tool call.
    static func stopTokens(_ info: ModelInfo, _ tokenizer: Tokenizer?) -> [TokenID] {
        var tokens = info.stopTokens.map { TokenID($0) }
        guard let tokenizer else { return tokens }
        if let end = tokenizer.eosID { tokens.append(end) }
        let endings = [
            "<|endoftext|>", "<|user|>", "<|observation|>", "<|im_end|>", "<|eot_id|>",
            "<|eom_id|>", "<|end_of_text|>",
        ]
        for ending in endings {
            // Only where the text is one token of its own, not ordinary text of the vocabulary.
            if let id = tokenizer.id(of: ending), tokenizer.isSpecial(id) { tokens.append(id) }
        }
        return Array(Set(tokens)).filter { $0 >= 0 && Int($0) < info.vocabulary }.sorted()
    }

    private static func modelFiles(_ path: String) -> [String] {
        let manager = FileManager.default
        guard let names = try? manager.contentsOfDirectory(atPath: path) else { return [path] }
        return names.filter {
            $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf") || $0 == "config.json"
        }.sorted().map { path + "/" + $0 }
    }

    private static func newestFile(_ path: String) -> Int {
        let dates = modelFiles(path).compactMap { file in
            (try? FileManager.default.attributesOfItem(atPath: file))?[.modificationDate] as? Date
        }
        return Int(dates.max()?.timeIntervalSince1970 ?? 0)
    }

    /// A hash over what decides the bytes of an answer. Weight files count by name, size and
    /// time: reading them all again would take as long as loading.
    private static func fingerprint(
        _ path: String, _ info: ModelInfo, _ options: EngineOptions, _ set: InstructionSet
    ) -> String {
        var text = "\(info.architecture) \(info.parameterCount) \(info.vocabulary) \(set)"
        text += " \(options.compute.precision.rawValue) \(options.compute.cacheFormat.rawValue)"
        text += " \(options.weightFormat?.rawValue ?? "stored")"
        text += " \(options.compute.activationScaling?.rawValue ?? "best")"
        for file in modelFiles(path) {
            let attributes = try? FileManager.default.attributesOfItem(atPath: file)
            let date = (attributes?[.modificationDate] as? Date)?.timeIntervalSince1970 ?? 0
            text += " \(file.split(separator: "/").last ?? "") "
            text += "\(attributes?[.size] as? Int ?? 0) \(Int(date))"
        }
        // FNV-1a; it tells versions apart, nothing rests on its strength.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash, radix: 16)
        return "fp_" + String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// The tokenizer and chat template that belong to a model path; either may be absent.
package struct ModelText: Sendable {
    package let tokenizer: Tokenizer?
    package let template: ChatTemplate?

    /// - Parameter templateOverride: a template's source to use instead of the model's own.
    /// - Throws: `CheckpointError`, `TokenizerError`, `TemplateError` or ``LoadError``.
    package init(_ path: String, templateOverride: String? = nil) throws {
        var source = templateOverride
        let directory = Self.directory(of: path)
        // Files beside the weights come first: they are what the model's makers published.
        let names = ["tokenizer.json", "tokenizer.model", "vocab.json"]
        if names.contains(where: { FileManager.default.fileExists(atPath: directory + "/" + $0) }) {
            tokenizer = try Tokenizer.load(directory: directory)
            if source == nil { source = try Self.templateSource(directory) }
        } else if let gguf = try ModelLoader.tokenizer(path) {
            tokenizer = gguf.tokens.isEmpty
                ? nil : try Tokenizer(gguf: GGUFVocabulary(gguf), file: path)
            source = source ?? gguf.chatTemplate
        } else {
            tokenizer = nil
            if source == nil { source = try Self.templateSource(directory) }
        }
        template = try source.map { try ChatTemplate(source: $0) }
    }

    /// The variables of a template that hold the texts of special tokens.
    package var specialVariables: [String: JSONValue] {
        guard let tokenizer else { return [:] }
        let specials = [
            ("bos_token", tokenizer.bosID), ("eos_token", tokenizer.eosID),
            ("unk_token", tokenizer.unknownID), ("pad_token", tokenizer.padID),
        ]
        var variables: [String: JSONValue] = [:]
        for (key, id) in specials {
            guard let id else { continue }
            variables[key] = .string(String(decoding: tokenizer.tokenBytes(id), as: UTF8.self))
        }
        return variables
    }

    private static func directory(of path: String) -> String {
        guard path.hasSuffix(".safetensors") else { return path }
        return path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// `chat_template.jinja`, or `chat_template` in tokenizer_config.json: a text, or a list of
    /// named ones of which `default` counts.
    private static func templateSource(_ directory: String) throws -> String? {
        if let source = try read(directory + "/chat_template.jinja") {
            return String(decoding: source, as: UTF8.self)
        }
        let path = directory + "/tokenizer_config.json"
        guard let bytes = try read(path) else { return nil }
        let config: JSONValue
        do {
            config = try JSONValue.parse(Array(bytes), options: .checkpointFile)
        } catch {
            throw LoadError.unreadable(file: path, reason: "\(error)")
        }
        switch config["chat_template"] {
        case .string(let source): return source
        case .array(let named):
            let pick = named.first { $0["name"]?.stringValue == "default" } ?? named.first
            return pick?["template"]?.stringValue
        default: return nil
        }
    }

    /// nil where there is no such file.
    private static func read(_ path: String) throws(LoadError) -> Data? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        do {
            let data = try Data(contentsOf: URL(filePath: path))
            guard data.count <= 64 << 20 else {
                throw LoadError.unreadable(
                    file: path, reason: "\(data.count) bytes; at most 64 MiB are read")
            }
            return data
        } catch let error as LoadError {
            throw error
        } catch {
            throw .unreadable(file: path, reason: "the system refused to read it")
        }
    }
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
