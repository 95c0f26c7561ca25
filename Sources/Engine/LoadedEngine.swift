import AutoGLMCompute
package import AutoGLMModels

/// An engine and what it has loaded.
package struct LoadedEngine: Sendable {
    package let engine: Engine
    package let description: EngineDescription

    /// Reads the weights and starts the engine, in a process of its own where the options say so.
    /// Blocks while it reads.
    /// - Parameters:
    ///   - vocabulary: tokens that may be sampled; nil allows all rows.
    ///   - stopTokens: what ends a turn, beside a request's own.
    /// - Throws: `CheckpointError`, `BackendError`, ``EngineError``, ``EngineProcessError`` or
    ///   ``LoadError``; each says in one line what is wrong and what to do.
    package init(
        _ source: ModelSource, options: EngineOptions, vocabulary: Int?, stopTokens: [Int32]
    ) throws {
        if let isolation = options.isolation {
            (engine, description) = try Engine.isolated(
                isolation, modelPath: source.path, options: options, vocabulary: vocabulary,
                stopTokens: stopTokens)
            return
        }
        let loaded = try LoadedModel(
            source, options: options, vocabulary: vocabulary, stopTokens: stopTokens)
        description = loaded.description
        engine = try Engine(loaded.model, shape: description.shape, options: options)
    }

    /// Bytes that can be taken without swapping, limits of control groups included.
    package static func availableMemory() -> Int { MemoryLimits().available() }
}

/// A model's weights in memory, with a KV cache, ready for an engine.
struct LoadedModel {
    let model: any CausalLM
    let description: EngineDescription

    init(
        _ source: ModelSource, options: EngineOptions, vocabulary: Int?, stopTokens: [Int32]
    ) throws {
        let backend = try CPUBackend(options: options.compute)
        let source = try source.with(Self.loadOptions(options, source.options))
        model = try ModelLoader.load(source, backend: backend)
        let info = model.info
        let contextMax = try Self.context(info, options)
        let blocks = try Self.cacheBlocks(info, contextMax: contextMax, options)
        try Self.allocateCache(of: model, blocks: blocks)
        var description = EngineDescription()
        description.shape = EngineShape(
            rowWidth: info.vocabulary, vocabulary: vocabulary ?? info.vocabulary,
            contextMax: contextMax, blocks: blocks, blockTokens: info.blockTokens,
            stopTokens: stopTokens)
        description.name = info.name
        description.contextMax = min(contextMax, blocks * info.blockTokens)
        description.fingerprint = Self.fingerprint(source, info, options, backend.instructionSet)
        let newest = source.fileIdentities.map(\.modified).max() ?? .zero
        description.created = Int(newest.components.seconds)
        description.weightBytes = info.weightBytes
        description.weightBytesPerStep = info.weightBytesPerStep
        description.bytesPerToken = info.bytesPerToken
        description.warnings = info.warnings
        self.description = description
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

    private static func loadOptions(_ options: EngineOptions, _ given: LoadOptions) -> LoadOptions {
        var load = given
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
        let budget = Int(Double(MemoryLimits().available()) * 0.4) / bytesPerBlock
        let wanted = blocksPerSequence.multipliedReportingOverflow(by: 32)
        let blocks = min(max(budget, 1), wanted.overflow ? most : wanted.partialValue, most)
        // A context that does not fit is cut by admission; one that is a mere fraction is no use.
        guard blocks * size >= min(contextMax, 512) else {
            throw LoadError.cacheTooSmall(tokens: blocks * size, needed: min(contextMax, 512))
        }
        return blocks
    }

    /// A hash over what decides the bytes of an answer. Weight files count by name, size and
    /// time: reading them all again would take as long as loading.
    private static func fingerprint(
        _ source: ModelSource, _ info: ModelInfo, _ options: EngineOptions, _ set: InstructionSet
    ) -> String {
        var text = "\(info.architecture) \(info.parameterCount) \(info.vocabulary) \(set)"
        text += " \(options.compute.precision.rawValue) \(options.compute.cacheFormat.rawValue)"
        text += " \(options.weightFormat?.rawValue ?? "stored")"
        text += " \(options.compute.activationScaling?.rawValue ?? "best")"
        for file in source.fileIdentities {
            text += " \(file.name) \(file.byteCount) \(file.modified.components.seconds)"
        }
        // FNV-1a; it tells versions apart, nothing rests on its strength.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash, radix: 16)
        return "fp_" + String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// Why a model's weights cannot be served as asked.
package enum LoadError: Error, Equatable, CustomStringConvertible {
    /// Not even one sequence of the context fits.
    case cacheTooSmall(tokens: Int, needed: Int)
    case contextTooLong(tokens: Int, limit: Int)
    case outOfMemory(what: String, bytes: Int, remedy: String)

    package var description: String {
        switch self {
        case .cacheTooSmall(let tokens, let needed):
            "The KV cache holds \(tokens) tokens, but \(needed) are needed. Raise "
                + "--kv-cache-memory or lower --max-model-tokens."
        case .contextTooLong(let tokens, let limit):
            "--max-model-tokens is \(tokens), but the model's context is \(limit). Lower it."
        case .outOfMemory(let what, let bytes, let remedy):
            "There is no memory for \(what): \(formatBytes(bytes)). \(remedy)"
        }
    }
}
