import AutoGLMCompute
package import AutoGLMJSON
import FoundationEssentials

/// A model as its files describe it: opened and read once, before any weight, and passed on to
/// whoever wants something of it (text, weights, `show`, a fingerprint).
///
/// It lies in a directory with `config.json` and safetensors, in a `.gguf` file (or the first of
/// a split one), or in one `.safetensors` file with its `config.json` beside it.
package struct ModelSource: Sendable {
    /// As it was given.
    package let path: String
    /// Where the files beside the weights lie; nil for a `.gguf` file, which brings them along.
    package let directory: String?
    /// The tokenizer and the chat templates that a GGUF file brings; nil for other models.
    package let tokenizer: GGUFTokenizer?
    /// The object in `generation_config.json`, or null where there is none (and for GGUF).
    package let generationConfig: JSONValue
    package private(set) var options: LoadOptions
    package private(set) var config: ModelConfig
    /// As the files have it, before options.
    private let configRead: ModelConfig
    let architecture: any Architecture.Type
    let checkpoint: Checkpoint
    /// Present where `autoglm quantize` wrote the model.
    let panels: PanelTensors?

    /// Reads configuration and headers, no weights.
    package init(_ path: String, options: LoadOptions = LoadOptions()) throws(CheckpointError) {
        let files = try ModelFiles(path, configurationFile: options.configurationFile)
        var config = files.config
        architecture = files.architecture
        try architecture.complete(&config)
        try config.validate()
        config.dropImpossibleTokens()
        checkpoint = try Checkpoint(
            path: path, tensors: files.weights.tensors,
            names: architecture.tensorNames(config, isGGUF: files.isGGUF), isGGUF: files.isGGUF)
        panels = config.quantization?.scheme == nil
            ? nil : try PanelTensors(checkpoint, files.weights.metadata)
        self.path = path
        directory = files.directory
        tokenizer = files.tokenizer
        generationConfig = files.generationConfig
        configRead = config
        self.config = config
        self.options = options
        try apply(options)
    }

    /// The same files to be loaded in another way; nothing is read again.
    /// - Precondition: the options name the same configuration file.
    package func with(_ options: LoadOptions) throws(CheckpointError) -> ModelSource {
        precondition(options.configurationFile == self.options.configurationFile)
        var other = self
        try other.apply(options)
        return other
    }

    private mutating func apply(_ options: LoadOptions) throws(CheckpointError) {
        config = configRead
        if let length = options.contextLength {
            config.contextLength = length
            try config.validate()
        }
        if let panels, let format = options.weightFormat, format.scheme != panels.scheme {
            throw .unsupported(
                what: "\(format.rawValue) for a model quantised as \(panels.scheme.name)",
                file: path,
                remedy: "leave --quantization out, or quantise the original model again")
        }
        self.options = options
    }

    /// The weight files as they were when they were opened, in the order of their paths.
    package var fileIdentities: [FileIdentity] {
        checkpoint.files.map(\.identity)
    }
}

/// What tells a version of a file from another without reading it.
package struct FileIdentity: Sendable, Hashable {
    /// The last part of its path.
    package let name: String
    package let byteCount: Int
    /// When it was changed last, since 1970.
    package let modified: Duration
}

/// The files of a model, each opened and parsed once.
private struct ModelFiles {
    let directory: String?
    let config: ModelConfig
    let architecture: any Architecture.Type
    let weights: WeightFiles
    let tokenizer: GGUFTokenizer?
    let generationConfig: JSONValue
    var isGGUF: Bool { tokenizer != nil }

    init(_ path: String, configurationFile: String) throws(CheckpointError) {
        switch try ModelLocation(path) {
        case .directory(let directory):
            try self.init(directory, configurationFile) { () throws(CheckpointError) in
                try Safetensors.weights(inDirectory: directory)
            }
        case .safetensors(let file):
            let directory = AutoGLMModels.directory(of: file)
            try self.init(directory, configurationFile) { () throws(CheckpointError) in
                try Safetensors.weights(of: CheckpointFile(path: file))
            }
        case .gguf(let file): try self.init(gguf: file, directory: file == path ? nil : path)
        }
    }

    private init(gguf path: String, directory: String?) throws(CheckpointError) {
        let file = try GGUF(path: path)
        let tokenizer = try GGUFTokenizer(file)
        (config, architecture) = try ModelConfig.read(file, tokenizer)
        weights = WeightFiles(tensors: file.tensors)
        self.directory = directory
        self.tokenizer = tokenizer
        generationConfig = .null
    }

    private init(
        _ directory: String, _ configurationFile: String,
        _ weights: () throws(CheckpointError) -> WeightFiles
    ) throws(CheckpointError) {
        let file = directory + "/generation_config.json"
        let generation: ConfigObject? =
            FileManager.default.fileExists(atPath: file) ? try ConfigObject(file: file) : nil
        (config, architecture) = try ModelConfig.read(
            directory: directory, fileName: configurationFile, generation: generation)
        self.weights = try weights()
        self.directory = directory
        tokenizer = nil
        generationConfig = generation?.json ?? .null
    }
}
