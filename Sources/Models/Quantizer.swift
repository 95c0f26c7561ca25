package import AutoGLMCompute
import AutoGLMJSON
import FoundationEssentials

/// Rounds the weights of a model by a scheme and writes them as the kernels want them.
///
/// The model is loaded as for serving, matrix by matrix; each is written as soon as it is packed.
/// So memory holds the quantised model once, and the original a few rows at a time.
package struct Quantizer {
    package struct Options: Sendable {
        package var scheme: QuantizationScheme
        /// Written into the file.
        package var program = "autoglm"
        /// Of the file's panels; others than the kernels' own are for tests.
        package var panelOutputs = PackedMatrix.ownWidth
        package var progress: (@Sendable (LoadProgress) -> Void)?
        package init(scheme: QuantizationScheme) { self.scheme = scheme }
    }

    package struct Report: Sendable {
        package var bytes = 0
        /// Matrices with measured scales, and those the text never reached.
        package var calibrated = 0
        package var uncalibrated = 0
        package var files: [String] = []
    }

    private let path: String
    private let options: Options
    private let source: ModelSource
    private let loadOptions: LoadOptions

    /// Reads configuration and headers, no weights.
    /// - Throws: `CheckpointError` where nothing is there, or what is there is quantised already.
    package init(_ path: String, options: Options) throws(CheckpointError) {
        if case .gguf(let file) = try ModelLocation(path) {
            throw .unsupported(
                what: "quantising a GGUF file", file: file,
                remedy: "serve it as it is (--quantization rounds on load), or quantise the "
                    + "safetensors checkpoint it was made from")
        }
        var load = LoadOptions()
        load.weightFormat = .integers(options.scheme)
        load.progress = options.progress
        let source = try ModelSource(path)
        if let quantization = source.config.quantization {
            throw .unsupported(
                what: "quantising a model that is quantised already (\(quantization.name))",
                file: path,
                remedy: "serve it as it is, or quantise the original it was made from")
        }
        self.path = path
        self.options = options
        self.source = source
        loadOptions = load
    }

    /// Bytes on disk of the original.
    package var sourceBytes: Int { source.checkpoint.byteCount }

    /// Bytes the quantised model will have at most, roughly.
    package var bytesEstimated: Int {
        let format = WeightFormat.integers(options.scheme)
        return headerBytes + source.checkpoint.tensors.reduce(0) { sum, entry in
            let (name, tensor) = entry
            let role = source.architecture.role(of: name)
            guard tensor.shape.count >= 2, role != .embedding else {
                return sum + 2 * tensor.byteCount
            }
            // Panels are filled up to 32 outputs and 32 inputs.
            let rows = tensor.shape.dropLast().reduce(1, *) + 64
            let columns = (tensor.shape[tensor.shape.count - 1] + 31) / 32 * 32
            let form = role == .head ? format.ofHead : format
            return sum + form.bytes(values: rows * columns)
        }
    }

    private var headerBytes: Int {
        let names = source.checkpoint.tensors.values.reduce(0) { $0 + $1.name.utf8.count + 300 }
        let experts = source.config.mixture.map { $0.experts * source.config.layers * 600 } ?? 0
        return 16_384 + 2 * names + experts
    }

    /// Writes the model's files into `directory`, which is there and empty.
    /// - Parameter calibrate: runs a text through the model, whose weights are rounded by then;
    ///   asked for where the scheme has fixed scales.
    package func write(
        to directory: String, backend: CPUBackend,
        calibrate: (any CausalLM) throws -> Void
    ) throws -> Report {
        var report = Report()
        let writer = try SafetensorsWriter(
            path: directory + "/model.safetensors", headerBytes: headerBytes)
        let recorder = PanelRecorder(writer, options)
        let store = WeightStore(source, loadOptions, backend)
        store.recorder = recorder
        let decoder = try Decoder(source.architecture, source.config, Weights(store))
        try store.finish { source.architecture.ignores($0, source.config) }
        if options.scheme.activations == .fixed {
            let info = ModelInfo(
                source.config, loadOptions, parameters: source.parameterCount,
                weightBytes: store.weightBytes)
            for entry in recorder.images { entry.image.observeInputs() }
            try calibrate(DecoderModel(info, decoder, backend))
            try recorder.writeScales(&report)
        }
        report.bytes = try writer.finish(metadata: metadata())
        try writeConfiguration(directory)
        report.files = ["config.json", "model.safetensors"] + (try copyOthers(directory))
        return report
    }

    private func metadata() -> [(key: String, value: String)] {
        let scheme = options.scheme
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return [
            ("format", PanelTensors.format), ("version", PanelTensors.version),
            ("scheme", scheme.name), ("bits", "\(scheme.bits)"),
            ("group", scheme.group.map(String.init) ?? "channel"),
            ("symmetric", scheme.isAsymmetric ? "false" : "true"),
            ("activations", scheme.activations.rawValue), ("layout", PanelTensors.layout),
            ("panel_outputs", "\(options.panelOutputs)"),
            ("parameters", "\(source.parameterCount)"), ("source", name),
            ("source_bytes", "\(sourceBytes)"), ("created_by", options.program),
        ]
    }

    // MARK: Files beside the weights

    /// - Invariant: a GGUF file, which has none, was refused.
    private var sourceDirectory: String { source.directory ?? path }

    /// The configuration as it is, and how the weights were rounded, so that other programs see
    /// at once that they cannot read them.
    private func writeConfiguration(_ directory: String) throws {
        let file = sourceDirectory + "/" + loadOptions.configurationFile
        let opened = try CheckpointFile(path: file)
        let text = String(
            decoding: try opened.bytes(at: 0, count: opened.byteCount), as: UTF8.self)
        guard let brace = text.firstIndex(of: "{"), !text.contains("\"quantization_config\"") else {
            throw CheckpointError.configuration(
                file: file, key: "quantization_config", value: "null",
                reason: "it must be left out of a model that is to be quantised")
        }
        let entry = """

              "quantization_config": {
                "quant_method": "autoglm",
                "format": "\(PanelTensors.format)",
                "version": \(PanelTensors.version),
                "scheme": "\(options.scheme.name)"
              },
            """
        let whole = text[...brace] + entry + text[text.index(after: brace)...]
        try writeNewFile(Array(whole.utf8), directory + "/config.json")
    }

    /// What belongs to a model besides weights and configuration.
    private static let otherFiles: Set<String> = [
        "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
        "chat_template.jinja", "chat_template.json", "LICENSE", "LICENSE.txt", "NOTICE",
    ]

    private func copyOthers(_ directory: String) throws -> [String] {
        let names = Self.otherFiles.sorted().filter {
            FileManager.default.fileExists(atPath: sourceDirectory + "/" + $0)
        }
        for name in names {
            // The bytes, not a link to them.
            let file = try CheckpointFile(path: sourceDirectory + "/" + name)
            try writeNewFile(
                try file.bytes(at: 0, count: file.byteCount), directory + "/" + name)
        }
        return names
    }
}

/// Writes what passes through a ``WeightStore``.
private final class PanelRecorder: WeightRecorder {
    typealias B = CPUBackend
    private let writer: SafetensorsWriter
    private let options: Quantizer.Options
    private(set) var images: [(name: String, image: PanelImage)] = []

    init(_ writer: SafetensorsWriter, _ options: Quantizer.Options) {
        self.writer = writer
        self.options = options
    }

    func record(_ matrix: CPUMatrix, name: String, bias: [Float]?) throws(CheckpointError) {
        try record(matrix.image, name)
        guard let bias else { return }
        writer.begin(name + ".bias", type: "F32", shape: [bias.count], byteCount: bias.count * 4)
        try writer.write(bias)
    }

    func record(gated matrix: CPUGatedMatrix, name: String) throws(CheckpointError) {
        try record(matrix.image, name)
    }

    private func record(_ image: PanelImage?, _ name: String) throws(CheckpointError) {
        let width = options.panelOutputs
        guard let image,
            let bytes = image.form.panelBytes(inputs: image.inputs, panelOutputs: width)
        else {
            throw .unsupported(
                what: "the matrix \(excerpt(name)), whose parts have different types",
                file: writer.path, remedy: "convert the original to bf16 first")
        }
        let count = PackedMatrix.panels(
            outputs: image.outputs, isGated: image.isGated, panelOutputs: width)
        writer.begin(
            PanelTensors.name(name, image.form), type: "U8", shape: [count, bytes],
            byteCount: count * bytes)
        try unsafe image.write(panelOutputs: width) { piece throws(CheckpointError) in
            try unsafe writer.write(piece)
        }
        images.append((name, image))
    }

    func record(tensor: CheckpointTensor, name: String) throws(CheckpointError) {
        guard case .stored(let type) = tensor.type, [.f32, .f16, .bf16].contains(type) else {
            throw .unsupported(
                what: "tensor \(excerpt(name)), whose values are no floats", file: tensor.file.path,
                remedy: "convert the original to bf16 first")
        }
        writer.begin(
            name, type: type.name.uppercased(), shape: tensor.shape,
            byteCount: tensor.byteCount)
        try writer.copy(tensor)
    }

    func writeScales(_ report: inout Quantizer.Report) throws(CheckpointError) {
        for (name, image) in images {
            guard let magnitudes = image.inputMagnitudes, let most = magnitudes.max(), most > 0,
                most < PackedMatrix.inputScaleRange.upperBound
            else {
                report.uncalibrated += 1
                continue
            }
            // Inputs that were silent may yet speak: they get a thousandth of the loudest.
            let scales = magnitudes.map {
                max($0, most / 1_000, PackedMatrix.inputScaleRange.lowerBound * 127) / 127
            }
            writer.begin(
                name + PanelTensors.scalesSuffix, type: "F32", shape: [scales.count],
                byteCount: scales.count * 4)
            try writer.write(scales)
            report.calibrated += 1
        }
    }
}
