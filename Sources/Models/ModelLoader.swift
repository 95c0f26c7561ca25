package import AutoGLMCompute
import FoundationEssentials

/// Opens a model: a directory with `config.json` and safetensors, a `.gguf` file (or the first of
/// a split one), or one `.safetensors` file with its `config.json` beside it.
package enum ModelLoader {
    /// Reads and checks everything, and hands every weight to `backend`.
    /// - Throws: ``CheckpointError`` with file, tensor, value and remedy.
    package static func load<B: Backend>(
        _ path: String, options: LoadOptions = LoadOptions(), backend: B
    ) throws(CheckpointError) -> any CausalLM {
        if let scheme = options.weightFormat?.scheme, scheme.activations == .fixed {
            throw .unsupported(
                what: "\(scheme.name) on load", file: path,
                remedy: "fixed scales are measured on a text: write a quantised model with "
                    + "`autoglm quantize --calibration`, or load with "
                    + "\(QuantizationScheme(bits: scheme.bits).name)")
        }
        let source = try ModelSource(path, options)
        let store = WeightStore(source, options, backend)
        let network = try source.architecture.network(source.config, Weights(store))
        try store.finish { source.architecture.ignores($0, source.config) }
        var info = ModelInfo(
            source.config, options, parameters: source.parameterCount,
            weightBytes: store.weightBytes)
        source.countStep(options, &info)
        return LoadedModel(info, network, backend)
    }

    /// The tokenizer and chat template a GGUF file brings; nil for other models.
    package static func tokenizer(_ path: String) throws(CheckpointError) -> GGUFTokenizer? {
        guard case .gguf(let file) = try ModelLocation(path) else { return nil }
        return try GGUFTokenizer(try GGUF(path: file))
    }
}

/// Which files make up the model at a path.
enum ModelLocation {
    case directory(String)
    case safetensors(String)
    case gguf(String)

    init(_ path: String) throws(CheckpointError) {
        var isDirectory = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
            throw .notFound(
                path: path,
                remedy: "give a directory with config.json, a .gguf file or a .safetensors file")
        }
        if !isDirectory {
            if path.hasSuffix(".gguf") {
                self = .gguf(path)
            } else if path.hasSuffix(".safetensors") {
                self = .safetensors(path)
            } else {
                throw .unsupported(
                    what: "a file that is neither .gguf nor .safetensors", file: path,
                    remedy: "pickled weights (.bin, .pt) are never read; convert them")
            }
            return
        }
        let directory = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        if FileManager.default.fileExists(atPath: directory + "/config.json") {
            self = .directory(directory)
            return
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        let files = names.filter { $0.hasSuffix(".gguf") }.sorted()
        // A split file counts as one.
        guard let first = files.first,
            files.count == 1 || files.allSatisfy({ GGUF.isPart($0, of: first) })
        else {
            throw .notFound(
                path: path,
                remedy: files.isEmpty
                    ? "expected config.json or a .gguf file in it"
                    : "it holds \(files.count) .gguf files; name one of them")
        }
        self = .gguf(directory + "/" + first)
    }
}

/// A model as its files describe it, before any weight is read.
struct ModelSource {
    var config: ModelConfig
    let architecture: any Architecture.Type
    let checkpoint: Checkpoint
    /// Present where `autoglm quantize` wrote the model.
    let panels: PanelTensors?

    init(_ path: String, _ options: LoadOptions) throws(CheckpointError) {
        let tensors: [CheckpointTensor]
        let isGGUF: Bool
        switch try ModelLocation(path) {
        case .directory(let directory):
            config = try ModelConfig(directory: directory, fileName: options.configurationFile)
            architecture = try AutoGLMModels.architecture(of: config, isGGUF: false)
            tensors = try Safetensors.tensors(inDirectory: directory)
            isGGUF = false
        case .safetensors(let path):
            let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
            config = try ModelConfig(directory: directory, fileName: options.configurationFile)
            architecture = try AutoGLMModels.architecture(of: config, isGGUF: false)
            tensors = try Safetensors.tensors(of: CheckpointFile(path: path))
            isGGUF = false
        case .gguf(let path):
            let file = try GGUF(path: path)
            config = try ModelConfig(file)
            architecture = try AutoGLMModels.architecture(of: config, isGGUF: true)
            tensors = file.tensors
            isGGUF = true
        }
        try architecture.complete(&config)
        if let length = options.contextLength { config.contextLength = length }
        try config.validate()
        config.dropImpossibleTokens()
        checkpoint = try Checkpoint(
            path: path, tensors: tensors,
            names: architecture.tensorNames(config, isGGUF: isGGUF), isGGUF: isGGUF)
        panels = config.quantization?.scheme == nil ? nil : try PanelTensors(checkpoint)
        if let panels, let format = options.weightFormat, format.scheme != panels.scheme {
            throw .unsupported(
                what: "\(format.rawValue) for a model quantised as \(panels.scheme.name)",
                file: path,
                remedy: "leave --quantization out, or quantise the original model again")
        }
    }

    /// Parameters of the model: of quantised layers the weights, not their scales.
    var parameterCount: Int {
        if let panels { return panels.parameterCount }
        return checkpoint.tensors.reduce(0) { sum, entry in
            architecture.ignores(entry.key, config) ? sum : sum + parameters(entry.key, entry.value)
        }
    }

    /// Counts what one decoded token multiplies with and reads: the whole model but the input
    /// embedding (one row of it) and the experts that are not chosen.
    func countStep(_ options: LoadOptions, _ info: inout ModelInfo) {
        info.parametersPerToken = 0
        info.weightBytesPerStep = 0
        let hasHead = checkpoint.tensors["lm_head.weight"] != nil || panels != nil
        for (name, tensor) in checkpoint.tensors where !architecture.ignores(name, config) {
            if hasHead, name == "model.embed_tokens.weight" { continue }
            var share = 1.0
            if let experts = config.mixture, name.contains(".mlp.experts") {
                share = Double(experts.expertsPerToken) / Double(experts.experts)
            }
            let bytes =
                tensor.shape.count >= 2 && panels == nil
                ? options.weightFormat?.bytes(values: tensor.elementCount) ?? tensor.byteCount
                : tensor.byteCount
            info.parametersPerToken += Int(share * Double(parameters(name, tensor)))
            info.weightBytesPerStep += Int(share * Double(bytes))
        }
    }

    private func parameters(_ name: String, _ tensor: CheckpointTensor) -> Int {
        if panels != nil {
            if let form = PanelTensors.form(name) { return tensor.byteCount / form.groupBytes * 32 }
            return name.hasSuffix(PanelTensors.scalesSuffix) ? 0 : tensor.elementCount
        }
        guard let quantization = config.quantization else { return tensor.elementCount }
        let part = name.split(separator: ".").last ?? ""
        switch part {
        case "qweight", "weight_packed": return tensor.elementCount * (32 / quantization.bits)
        case "weight", "bias", "e_score_correction_bias": return tensor.elementCount
        default: return 0
        }
    }
}
