import AutoGLMCompute
package import AutoGLMDecoding
package import AutoGLMEngine
package import AutoGLMModels
import AutoGLMText

/// How a model is loaded. The defaults serve well.
public struct ModelOptions: Sendable {
    package var engine = EngineOptions()
    /// The model's name in the API; nil is the name of its directory or file.
    package var name: String?
    /// A chat template to use instead of the model's own.
    package var chatTemplate: String?
    /// Settings over the makers' and under a request's own.
    package var sampling = SamplingOverrides()

    public init() {}

    /// Threads that compute; nil takes all cores this process may use.
    public var threads: Int? {
        get { engine.compute.threads }
        set { engine.compute.threads = newValue }
    }

    /// Exact f32 arithmetic instead of bf16: slower, for comparisons.
    public var usesFloat32: Bool {
        get { engine.compute.precision == .f32 }
        set {
            engine.compute.precision = newValue ? .f32 : .bf16
            engine.compute.cacheFormat = newValue ? .f32 : .bf16
        }
    }

    /// Tokens of prompt and answer together at most; nil is the model's own limit.
    public var contextLength: Int? {
        get { engine.contextMax }
        set { engine.contextMax = newValue }
    }

    /// Bytes for keys and values; nil takes what fits sensibly.
    public var cacheBytes: Int? {
        get { engine.cacheBytes }
        set { engine.cacheBytes = newValue }
    }
}

extension ChatModel {
    /// Loads a model whose files are open, and starts its engine. Blocks while it reads.
    /// - Throws: `CheckpointError`, `TokenizerError`, `TemplateError`, ``TextFileError``,
    ///   `BackendError`, `EngineError`, `EngineProcessError` or `LoadError`; each says in one line
    ///   what is wrong and what to do.
    package convenience init(_ source: ModelSource, options: ModelOptions) throws {
        // Text first: it takes milliseconds, and its mistakes show before the weights are read.
        let text = try ModelText(source, templateOverride: options.chatTemplate)
        let makers: SamplingOverrides
        do {
            makers = try SamplingOverrides(generationConfig: source.generationConfig)
        } catch {
            throw TextFileError(
                file: (source.directory ?? source.path) + "/generation_config.json",
                reason: "\(error)")
        }
        let loaded = try LoadedEngine(
            source, options: options.engine,
            vocabulary: text.tokenizer.map { $0.vocabularyCount },
            stopTokens: text.stopTokens(
                configured: source.config.stopTokens, vocabulary: source.config.vocabulary))
        let description = loaded.description
        var facts = ModelFacts(
            name: options.name ?? description.name, contextMax: description.contextMax,
            vocabulary: description.shape.vocabulary, fingerprint: description.fingerprint,
            created: description.created)
        facts.weightBytes = description.weightBytes
        facts.weightBytesPerStep = description.weightBytesPerStep
        facts.bytesPerToken = description.bytesPerToken
        facts.warnings = description.warnings + (text.tokenizer?.remarks ?? [])
        self.init(
            facts: facts,
            engine: loaded.engine, text: text, makers: makers, operators: options.sampling)
    }

    /// Reads a model: a directory with `config.json` and safetensors, or a `.gguf` file. Blocks
    /// until the weights are in memory.
    /// - Throws: an error whose description says in one line what is wrong and what to do.
    public static func load(
        directory path: String, options: ModelOptions = ModelOptions()
    ) throws -> ChatModel {
        try ChatModel(try ModelSource(path), options: options)
    }
}
