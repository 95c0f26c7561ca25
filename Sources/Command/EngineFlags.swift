import ArgumentParser
import AutoGLMChat
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

    /// - Parameter source: the model, whose stored form decides where no flag does: whoever
    ///   keeps weights in f32 wants what they say.
    func computeOptions(_ source: ModelSource) throws -> ComputeOptions {
        var options = ComputeOptions()
        if let compute {
            options.precision = compute
        } else if quantization == nil, try isKeptInF32(source) {
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
func isKeptInF32(_ source: ModelSource) throws -> Bool {
    let inspection = ModelInspection(source)
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

    func apply(to options: inout ModelOptions) throws {
        options.engine.contextMax = maxModelTokens
        options.engine.cacheBytes = kvCacheMemory?.bytes
        options.engine.blockTokens = kvBlockTokens
        options.engine.sequencesMax = maxSequences
        options.engine.stepTokens = stepTokens
        options.engine.prefixCache = !noPrefixCache
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
    _ flags: ModelFlags, _ capacity: CapacityFlags?, sampling: SamplingOverrides,
    adjust: (inout ModelOptions) -> Void = { _ in }
) throws -> ChatModel {
    var options = ModelOptions()
    let source = try ModelSource(try flags.path())
    options.engine.compute = try flags.computeOptions(source)
    options.engine.weightFormat = flags.quantization
    options.sampling = sampling
    try capacity?.apply(to: &options)
    if flags.isDefaultModel { options.name = DefaultModel.name }
    let bar = ProgressBar()
    options.engine.onProgress = { bar.update("loading", $1, $2) }
    defer { bar.clear() }
    adjust(&options)
    return try ChatModel(source, options: options)
}

/// How tokens are picked, for the commands that generate. Names, ranges and meanings come from the
/// one table; here each row gets its flag.
struct SamplingFlags: ParsableArguments {
    @Option(help: .sampling("max_tokens")) var maxTokens: String?
    @Option(help: .sampling("temperature")) var temperature: String?
    @Option(help: .sampling("top_p")) var topP: String?
    @Option(help: .sampling("top_k")) var topK: String?
    @Option(help: .sampling("min_p")) var minP: String?
    @Option(help: .sampling("repetition_penalty")) var repetitionPenalty: String?
    @Option(help: .sampling("frequency_penalty")) var frequencyPenalty: String?
    @Option(help: .sampling("presence_penalty")) var presencePenalty: String?
    @Option(help: .sampling("seed")) var seed: String?
    @Option(help: .sampling("min_tokens")) var minTokens: String?

    /// What was given, by the table's names.
    private var given: [String: String] {
        let flags = [
            "max_tokens": maxTokens, "temperature": temperature, "top_p": topP, "top_k": topK,
            "min_p": minP, "repetition_penalty": repetitionPenalty,
            "frequency_penalty": frequencyPenalty, "presence_penalty": presencePenalty,
            "seed": seed, "min_tokens": minTokens,
        ]
        return flags.compactMapValues(\.self)
    }

    /// What was given, checked.
    func overrides() throws -> SamplingOverrides {
        var overrides = SamplingOverrides()
        for field in SamplingParameters.fields {
            guard let text = given[field.name] else { continue }
            do {
                overrides.set(field, try field.value(text: text))
            } catch {
                throw ValidationError("\(field.flag) is \(error.value); expected \(error.limit)")
            }
        }
        return overrides
    }

    func validate() throws { _ = try overrides() }
}

extension ArgumentHelp {
    fileprivate static func sampling(_ name: String) -> ArgumentHelp {
        ArgumentHelp(
            stringLiteral: SamplingParameters.field(name).map {
                "\($0.meaning) (\($0.limit))"
            } ?? name)
    }
}
