import ArgumentParser
import AutoGLMCompute
import AutoGLMDecoding
import AutoGLMEngine
import AutoGLMModels
import Foundation

/// Which model, and how it computes. Shared by every command that loads weights.
struct ModelFlags: ParsableArguments {
    @Option(
        name: .shortAndLong,
        help: ArgumentHelp(
            "Model directory, .gguf file or .safetensors file.", valueName: "path"))
    var model: String?

    @Option(
        help: "Arithmetic of unquantised weights: f32 or bf16. Default: f32 for weights in f32.")
    var compute: ComputePrecision?

    @Option(
        help: ArgumentHelp(
            "Keep weights as bf16, f16 or f32, or quantise them on load: int8, int4, with "
                + "-asym; -channel, -g64 or -g128; -weights (activations stay floats).",
            valueName: "format"),
        transform: weightFormat)
    var quantization: WeightFormat?

    @Option(help: "KV cache: f32, bf16 or int8. Default: as --compute.")
    var kvCacheFormat: CacheFormat?

    @Option(
        help: ArgumentHelp(
            "Scales of quantised activations: exact, powerOfTwo or row.", visibility: .hidden))
    var activationScaling: ActivationScaling?

    @Option(name: .shortAndLong, help: "Threads that compute. Default: all cores.")
    var threads: Int?

    @Option(help: "Kernels to use: avx512, avx2 or scalar. Default: the best for this CPU.")
    var cpuIsa: String?

    @Option(help: ArgumentHelp("YAML file with the long flags as keys.", valueName: "file"))
    var config: String?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads is \(threads); expected 1 to 1024")
        }
    }

    /// - Parameter path: of the model, whose stored form decides where no flag does: whoever
    ///   keeps weights in f32 wants what they say.
    func computeOptions(_ path: String) throws -> ComputeOptions {
        var options = ComputeOptions()
        if let compute {
            options.precision = compute
        } else if quantization == nil, try isKeptInF32(path) {
            options.precision = .f32
        }
        options.cacheFormat = kvCacheFormat ?? (options.precision == .f32 ? .f32 : .bf16)
        options.activationScaling = activationScaling
        options.threads = threads
        options.instructionSet = cpuIsa
        return options
    }

    /// The path given, or that of the embedded model.
    func path() throws -> String {
        if let model { return model }
        return try DefaultModel.directory(environment: ProcessInfo.processInfo.environment)
    }

    var isDefaultModel: Bool { model == nil }
}

/// Whether most of a model's weights are f32 in its files.
func isKeptInF32(_ path: String) throws -> Bool {
    let inspection = try ModelInspection(path)
    return inspection.scheme == nil && inspection.storedTypes.first?.type == "f32"
}

extension ComputePrecision: ExpressibleByArgument {}

/// - Throws: what formats there are.
private func weightFormat(_ text: String) throws -> WeightFormat {
    guard let format = WeightFormat(rawValue: text) else {
        throw ValidationError("expected bf16, f16, f32, or " + QuantizationScheme.grammar)
    }
    if let scheme = format.scheme, scheme.activations == .fixed {
        throw ValidationError(
            "fixed scales are measured on a text; write a quantised "
                + "model with `autoglm quantize --scheme \(text) --calibration FILE`")
    }
    return format
}

extension CacheFormat: ExpressibleByArgument {}
extension ActivationScaling: ExpressibleByArgument {}

/// How much the engine may take on at once.
struct CapacityFlags: ParsableArguments {
    @Option(help: "Prompt and output tokens of one request at most. Default: the model's context.")
    var maxModelTokens: Int?

    @Option(
        help: ArgumentHelp(
            "Memory for keys and values, such as 4GiB. Default: 40 % of free memory at most.",
            valueName: "size"))
    var kvCacheMemory: ByteSize?

    @Option(help: "Tokens per KV block: 16 or 32.")
    var kvBlockTokens: Int = 16

    @Option(help: "Sequences computed together at most.")
    var maxSequences: Int = 64

    @Option(help: "Rows (prompt and output tokens) computed in one step at most.")
    var stepTokens: Int = 512

    @Flag(help: "Do not share KV blocks between requests with equal beginnings.")
    var noPrefixCache = false

    @Option(
        help: ArgumentHelp("Chat template (Jinja) instead of the model's own.", valueName: "file"))
    var chatTemplate: String?

    func validate() throws {
        try check("--max-model-tokens", maxModelTokens, 2...(1 << 24))
        try check("--kv-block-tokens", kvBlockTokens, 16...32)
        if kvBlockTokens != 16 && kvBlockTokens != 32 {
            throw ValidationError("--kv-block-tokens is \(kvBlockTokens); expected 16 or 32")
        }
        try check("--max-sequences", maxSequences, 1...4096)
        try check("--step-tokens", stepTokens, 1...65536)
    }

    func apply(to options: inout EngineOptions) throws {
        options.contextMax = maxModelTokens
        options.cacheBytes = kvCacheMemory?.bytes
        options.blockTokens = kvBlockTokens
        options.sequencesMax = maxSequences
        options.stepTokens = stepTokens
        options.prefixCache = !noPrefixCache
        if let chatTemplate {
            do {
                options.chatTemplate = try String(contentsOfFile: chatTemplate, encoding: .utf8)
            } catch {
                throw CommandError("cannot read --chat-template \(chatTemplate)")
            }
        }
    }
}

func check(_ name: String, _ value: Int?, _ range: ClosedRange<Int>) throws {
    guard let value, !range.contains(value) else { return }
    throw ValidationError(
        "\(name) is \(value); expected \(range.lowerBound) to \(range.upperBound)")
}

/// Loads a model with a progress bar.
func loadModel(
    _ flags: ModelFlags, _ capacity: CapacityFlags?,
    adjust: (inout EngineOptions) -> Void = { _ in }
) throws -> LoadedModel {
    var options = EngineOptions()
    let path = try flags.path()
    options.compute = try flags.computeOptions(path)
    options.weightFormat = flags.quantization
    try capacity?.apply(to: &options)
    if flags.isDefaultModel { options.name = DefaultModel.name }
    let bar = ProgressBar()
    options.onProgress = { bar.update("loading", $1, $2) }
    defer { bar.clear() }
    adjust(&options)
    return try LoadedModel.load(path, options: options)
}

/// How tokens are picked, for the commands that generate.
struct SamplingFlags: ParsableArguments {
    @Option(help: "Output tokens at most. Default: until the model stops.")
    var maxTokens: Int?

    @Option(help: "0 picks the most likely token. Default: the model's own setting.")
    var temperature: Float?

    @Option(help: "Keep the most likely tokens up to this total probability.")
    var topP: Float?

    @Option(help: "Keep this many of the most likely tokens; 0 keeps all.")
    var topK: Int?

    @Option(help: "Drop tokens less likely than this share of the most likely one.")
    var minP: Float?

    @Option(help: "Above 1: make tokens that already occur less likely.")
    var repetitionPenalty: Float?

    @Option(help: "Repeatable sampling.")
    var seed: UInt64?

    func parameters(for model: LoadedModel) -> SamplingParameters {
        var sampling = SamplingParameters()
        let defaults = model.samplingDefaults
        sampling.temperature = temperature ?? defaults.temperature ?? sampling.temperature
        sampling.topP = topP ?? defaults.topP ?? sampling.topP
        sampling.topK = topK ?? defaults.topK ?? sampling.topK
        sampling.minP = minP ?? sampling.minP
        sampling.repetitionPenalty =
            repetitionPenalty ?? defaults.repetitionPenalty ?? sampling.repetitionPenalty
        sampling.seed = seed
        sampling.maxTokens = maxTokens
        return sampling
    }
}
