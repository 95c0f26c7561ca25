import CAutoGLMKernels

/// How weights become integers, and what their activations are multiplied as.
///
/// The one grammar of `quantize --scheme`, `--quantization` and the header of quantised files:
/// `int8` or `int4`, then, where wanted and in this order, `-asym`; one of `-channel`, `-g32`,
/// `-g64`, `-g128`; one of `-dynamic`, `-static`, `-weights`. Plain `int4` is symmetric, in groups
/// of 32, with dynamic activations.
package struct QuantizationScheme: Sendable, Hashable {
    package enum Activations: String, Sendable, CaseIterable {
        /// 8 bits, one scale per 32 values of each row.
        case dynamic
        /// 8 bits, one scale per 32 inputs, measured on a text when the model was quantised.
        case fixed = "static"
        /// Not quantised: weights become floats on the way into the product.
        case float = "weights"
    }
    /// 4 or 8.
    package let bits: Int
    /// With a minimum beside the scale.
    package let isAsymmetric: Bool
    /// Inputs of a row that share a scale; nil: the whole row (an output channel).
    package let group: Int?
    package let activations: Activations

    package static let groups = [32, 64, 128]
    package static let grammar =
        "int8 or int4, then optionally -asym, then -channel, -g32, -g64 or -g128, then -dynamic, "
        + "-static or -weights; for example int8, int4-asym-g64, int8-channel-static, int4-weights"

    /// - Precondition: bits are 4 or 8, the group is nil or one of ``groups``.
    package init(
        bits: Int, isAsymmetric: Bool = false, group: Int? = 32, activations: Activations = .dynamic
    ) {
        precondition(bits == 4 || bits == 8)
        precondition(group.map(Self.groups.contains) ?? true)
        self.bits = bits
        self.isAsymmetric = isAsymmetric
        self.group = group
        self.activations = activations
    }

    /// - Returns: nil for a name that the grammar does not have.
    package init?(_ name: String) {
        var words = name.split(separator: "-", omittingEmptySubsequences: false)[...]
        guard let first = words.popFirst(), first == "int8" || first == "int4" else { return nil }
        bits = first == "int8" ? 8 : 4
        isAsymmetric = words.first == "asym"
        if isAsymmetric { words.removeFirst() }
        let names = ["channel": 0, "g32": 32, "g64": 64, "g128": 128]
        if let word = words.first, let size = names[String(word)] {
            group = size == 0 ? nil : size
            words.removeFirst()
        } else {
            group = 32
        }
        if let word = words.first, let kind = Activations(rawValue: String(word)) {
            activations = kind
            words.removeFirst()
        } else {
            activations = .dynamic
        }
        guard words.isEmpty else { return nil }
    }

    /// The shortest name, without what is the default.
    package var name: String {
        var name = "int\(bits)" + (isAsymmetric ? "-asym" : "")
        if let group {
            if group != 32 { name += "-g\(group)" }
        } else {
            name += "-channel"
        }
        return activations == .dynamic ? name : name + "-" + activations.rawValue
    }

    /// The output projection decides between tokens, so it keeps 8 bits.
    package var ofHead: QuantizationScheme {
        bits == 8 ? self : QuantizationScheme(bits: 8, activations: activations)
    }

    /// How such weights lie in panels.
    package var form: PanelForm {
        bits == 8 ? (isAsymmetric ? .q8fm : .q8) : (isAsymmetric ? .q4m : .q4)
    }

    var kernels: k_scheme {
        k_scheme(
            bits: Int32(bits), group: Int32(group ?? 0), asymmetric: isAsymmetric ? 1 : 0)
    }

    /// Groups of 32 are rounded as GGUF's block types are, and so keep such blocks as they are.
    var isBlockType: Bool { group == 32 && form != .q8fm }
}

/// The form a weight matrix is kept in, in memory.
package enum WeightFormat: Sendable, Hashable, RawRepresentable {
    case f32, f16, bf16
    case integers(QuantizationScheme)

    package static let int8 = WeightFormat.integers(QuantizationScheme(bits: 8))
    package static let int4 = WeightFormat.integers(QuantizationScheme(bits: 4))

    package init?(rawValue: String) {
        switch rawValue {
        case "f32": self = .f32
        case "f16": self = .f16
        case "bf16": self = .bf16
        default:
            guard let scheme = QuantizationScheme(rawValue) else { return nil }
            self = .integers(scheme)
        }
    }

    package var rawValue: String {
        switch self {
        case .f32: "f32"
        case .f16: "f16"
        case .bf16: "bf16"
        case .integers(let scheme): scheme.name
        }
    }

    package var scheme: QuantizationScheme? {
        if case .integers(let scheme) = self { scheme } else { nil }
    }

    /// The form of an output projection beside weights of this one.
    package var ofHead: WeightFormat {
        if case .integers(let scheme) = self { .integers(scheme.ofHead) } else { self }
    }

    /// Bytes of a matrix in memory, scales included.
    package func bytes(values: Int) -> Int {
        switch self {
        case .f32: values * 4
        case .f16, .bf16: values * 2
        case .integers(let scheme): values / 32 * scheme.form.groupBytes
        }
    }
}

/// How quantised weights lie in panels: integers and scales of 32 inputs, all outputs of the panel
/// side by side (`quant_forms.h`).
package enum PanelForm: String, Sendable, CaseIterable {
    /// `d (q - 8)`, f16 `d`.
    case q4
    /// `d q + m`, f16 `d` and `m`.
    case q4m
    /// `d (q - 128)`, f16 `d`.
    case q8
    /// `d q + m`, f32 `d` and `m`.
    case q8fm

    var kernels: k_quant_form {
        switch self {
        case .q4: K_FORM_Q4
        case .q4m: K_FORM_Q4M
        case .q8: K_FORM_Q8
        case .q8fm: K_FORM_Q8FM
        }
    }
    var format: UInt32 { UInt32(K_FORMAT_QUANT.rawValue) + kernels.rawValue }

    init?(format: UInt32) {
        guard let form = Self.allCases.first(where: { $0.format == format }) else { return nil }
        self = form
    }

    /// Bytes of 32 inputs of one output.
    package var groupBytes: Int {
        switch self {
        case .q4: 18
        case .q4m: 20
        case .q8: 34
        case .q8fm: 40
        }
    }

    /// Bytes of one panel; nil where they cannot be counted.
    package func panelBytes(inputs: Int, panelOutputs: Int) -> Int? {
        guard (1...Int(K_INPUTS_MAX)).contains(inputs), PackedMatrix.widths.contains(panelOutputs)
        else { return nil }
        return k_panel_bytes_wide(kernels, Int32(inputs), Int32(panelOutputs))
    }
}

/// A weight matrix that lies in a file as the kernels want it, or in panels of another width.
package struct PackedMatrix: Sendable {
    /// Widths of panels that can be read, in outputs.
    package static let widths = [8, 16, 32, 64, 128]
    /// The width of this program's kernels.
    package static let ownWidth = Int(K_PANEL)

    package var name: String
    package var form: PanelForm
    /// Rows of the matrix; of a gated one, of each half.
    package var outputs: Int
    package var inputs: Int
    /// Gate and up panels alternate.
    package var isGated: Bool
    package var panelOutputs: Int
    package var activations: QuantizationScheme.Activations
    /// One per 32 inputs, where activations have fixed scales.
    package var inputScales: [Float]?
    /// Gives the panels, one after the other.
    package var reader: any TensorReader

    package init(
        name: String, form: PanelForm, outputs: Int, inputs: Int, isGated: Bool, panelOutputs: Int,
        activations: QuantizationScheme.Activations, inputScales: [Float]?,
        reader: any TensorReader
    ) {
        self.name = name
        self.form = form
        self.outputs = outputs
        self.inputs = inputs
        self.isGated = isGated
        self.panelOutputs = panelOutputs
        self.activations = activations
        self.inputScales = inputScales
        self.reader = reader
    }

    /// Panels in the file.
    package static func panels(outputs: Int, isGated: Bool, panelOutputs: Int) -> Int {
        (outputs + panelOutputs - 1) / panelOutputs * (isGated ? 2 : 1)
    }

    /// What a scale of activations may be: its inverse must be finite too.
    package static let inputScaleRange: ClosedRange<Float> = 1e-30...1e30
}
