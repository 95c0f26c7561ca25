import AutoGLMCompute
import AutoGLMJSON

/// Linear layers that `autoglm quantize` wrote: in panels, as the kernels want them.
///
/// `NAME.panels.FORM` (`U8`, `[panels, bytes of a panel]`) holds a matrix; query, key and value
/// projections are one (`qkv_proj`), gate and up projections too (`gate_up_proj`, their panels
/// alternating). `NAME.bias` is its bias in f32, `NAME.input_scales` (f32, one per 32 inputs) what
/// its activations are divided by where the scheme measured that. All other tensors are as in the
/// model they came from. The metadata of the header say the rest.
struct PanelTensors: Sendable {
    static let format = "autoglm-panels"
    static let version = "1"
    /// How integers lie in a group: four inputs of an output to a word, words of all outputs side
    /// by side, low and high nibbles of one word being neighbouring fours.
    static let layout = "group32-step4"

    let scheme: QuantizationScheme
    let panelOutputs: Int
    /// Of the model it was made from.
    let parameterCount: Int
    private let checkpoint: Checkpoint

    /// - Parameter metadata: of the file's header.
    init(_ checkpoint: Checkpoint, _ metadata: [String: String]) throws(CheckpointError) {
        guard let file = checkpoint.tensors.values.first?.file else {
            throw .notFound(path: checkpoint.path, remedy: "it holds no tensors")
        }
        func refuse(_ key: String, _ reason: String) -> CheckpointError {
            let value = metadata[key].map { "\"\(excerpt($0))\"" } ?? "missing"
            return .malformed(
                file: file.path, offset: 8, field: "__metadata__.\(key)",
                reason: "is \(value), but \(reason)")
        }
        guard metadata["format"] == Self.format else {
            throw refuse("format", "config.json says \"\(Self.format)\"")
        }
        guard metadata["version"] == Self.version, metadata["layout"] == Self.layout else {
            throw .unsupported(
                what: "version \(excerpt(metadata["version"] ?? "missing")) "
                    + "(\(excerpt(metadata["layout"] ?? "missing"))) of quantised files",
                file: file.path,
                remedy: "this program reads version \(Self.version) (\(Self.layout)); quantise the "
                    + "original model again with it")
        }
        guard let scheme = metadata["scheme"].flatMap(QuantizationScheme.init) else {
            throw refuse("scheme", "must be " + QuantizationScheme.grammar)
        }
        guard let width = metadata["panel_outputs"].flatMap({ Int($0) }),
            PackedMatrix.widths.contains(width)
        else { throw refuse("panel_outputs", "must be one of \(PackedMatrix.widths)") }
        guard let parameters = metadata["parameters"].flatMap({ Int($0) }), parameters >= 0 else {
            throw refuse("parameters", "must be a number")
        }
        self.scheme = scheme
        panelOutputs = width
        parameterCount = parameters
        self.checkpoint = checkpoint
    }

    /// The matrix `name`; nil where the file does not hold it in panels.
    func matrix(
        _ name: String, outputs: Int, inputs: Int, isGated: Bool, _ claim: (String) -> Void
    ) throws(CheckpointError) -> PackedMatrix? {
        for form in PanelForm.allCases {
            let full = Self.name(name, form)
            guard let tensor = checkpoint.tensors[full] else { continue }
            guard let bytes = form.panelBytes(inputs: inputs, panelOutputs: panelOutputs) else {
                throw .unsupported(
                    what: "a matrix of \(inputs) columns in panels", file: tensor.file.path,
                    remedy: "load the original model")
            }
            let shape = [
                PackedMatrix.panels(
                    outputs: outputs, isGated: isGated, panelOutputs: panelOutputs), bytes,
            ]
            guard tensor.type == .integer(bits: 8, signed: false), tensor.shape == shape else {
                throw .misshapenTensor(
                    name: tensor.name, file: tensor.file.path, shape: tensor.shape,
                    expected: shape)
            }
            claim(full)
            return PackedMatrix(
                name: tensor.name, form: form, outputs: outputs, inputs: inputs, isGated: isGated,
                panelOutputs: panelOutputs, activations: scheme.activations,
                inputScales: try inputScales(name, inputs: inputs, claim), reader: tensor.reader)
        }
        return nil
    }

    /// Layers that the calibration never reached have none, and scale each row by itself.
    private func inputScales(_ name: String, inputs: Int, _ claim: (String) -> Void)
        throws(CheckpointError) -> [Float]?
    {
        let full = name + Self.scalesSuffix
        guard scheme.activations == .fixed, let tensor = checkpoint.tensors[full] else {
            return nil
        }
        let shape = [(inputs + 31) / 32]
        guard tensor.shape == shape else {
            throw .misshapenTensor(
                name: tensor.name, file: tensor.file.path, shape: tensor.shape, expected: shape)
        }
        let bytes = try tensor.file.bytes(at: tensor.offset, count: tensor.byteCount)
        let scales = try decodeFloats(bytes, tensor)
        guard scales.allSatisfy({ PackedMatrix.inputScaleRange.contains($0) }) else {
            throw .malformed(
                file: tensor.file.path, offset: tensor.offset, field: excerpt(tensor.name),
                reason: "scales must be numbers above 0")
        }
        claim(full)
        return scales
    }

    static let scalesSuffix = ".input_scales"

    static func name(_ name: String, _ form: PanelForm) -> String {
        "\(name).panels.\(form.rawValue)"
    }

    /// The form of a tensor of panels, by its name.
    static func form(_ name: String) -> PanelForm? {
        PanelForm.allCases.first { name.hasSuffix(".panels.\($0.rawValue)") }
    }
}
