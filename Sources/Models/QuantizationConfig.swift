package import AutoGLMCompute
import AutoGLMJSON

/// How the linear layers of a safetensors checkpoint were quantised (`quantization_config`).
package struct QuantizationConfig: Sendable, Equatable {
    package enum Method: Sendable, Equatable {
        /// - Parameters:
        ///   - zeroOffset: added to stored zero points; 1 in the first format, 0 in v2.
        ///   - isAsymmetric: whether the file says that zero points lie anywhere (`sym: false`).
        case gptq(zeroOffset: Int, isAsymmetric: Bool)
        case awq
        case compressedTensors
        /// Panels, written by `autoglm quantize`.
        case panels(QuantizationScheme)
    }
    package var method: Method
    /// Bits of one weight: 4 or 8.
    package var bits: Int

    /// How the model was quantised, in words.
    package var name: String {
        switch method {
        case .gptq: "GPTQ, \(bits) bits"
        case .awq: "AWQ, \(bits) bits"
        case .compressedTensors: "compressed-tensors, \(bits) bits"
        case .panels(let scheme): scheme.name
        }
    }

    /// Of a model that `autoglm quantize` wrote.
    package var scheme: QuantizationScheme? {
        if case .panels(let scheme) = method { scheme } else { nil }
    }

    init(_ json: ConfigObject) throws(CheckpointError) {
        let name = try json.string("quant_method") ?? "unknown"
        func unsupported(_ what: String) -> CheckpointError {
            .unsupported(
                what: what, file: json.file, remedy: "convert the checkpoint to bf16 or GGUF")
        }
        switch name {
        case "gptq":
            let isSecond = try json.string("checkpoint_format") == "gptq_v2"
            method = .gptq(
                zeroOffset: isSecond ? 0 : 1, isAsymmetric: try json.bool("sym") == false)
            bits = try json.required("bits")
        case "awq":
            let version = try json.string("version") ?? "gemm"
            guard version.lowercased() == "gemm" else {
                throw unsupported("AWQ version \(excerpt(version))")
            }
            method = .awq
            bits = try json.required("bits", "w_bit")
        case "compressed-tensors":
            method = .compressedTensors
            bits = try Self.compressedBits(json)
        case "autoglm":
            let written = try json.string("scheme") ?? "missing"
            guard let scheme = QuantizationScheme(written) else {
                throw json.refuse(
                    "scheme", .string(written), "must be " + QuantizationScheme.grammar)
            }
            method = .panels(scheme)
            bits = scheme.bits
        default:
            throw unsupported("quantisation \(excerpt(name))")
        }
        guard bits == 4 || bits == 8, method != .awq || bits == 4 else {
            throw unsupported("\(excerpt(name)) with \(bits) bits")
        }
    }

    /// The bits that all groups of layers have in common.
    private static func compressedBits(_ json: ConfigObject) throws(CheckpointError) -> Int {
        var found: Set<Int> = []
        if let groups = try json.object("config_groups") {
            for name in groups.members.keys.sorted() {
                guard let weights = try groups.object(name)?.object("weights") else { continue }
                guard try weights.string("type") ?? "int" == "int" else {
                    throw .unsupported(
                        what: "weights that are no integers", file: json.file,
                        remedy: "convert the checkpoint to bf16")
                }
                found.insert(try weights.required("num_bits"))
            }
        }
        guard let bits = found.first, found.count == 1 else {
            throw .unsupported(
                what: "compressed-tensors with the bits \(found.sorted())", file: json.file,
                remedy: "one width for all layers is expected")
        }
        return bits
    }
}
