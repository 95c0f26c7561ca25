/// How the linear layers of a safetensors checkpoint were quantised.
package struct QuantizationConfig: Sendable, Equatable {
    package enum Method: String, Sendable { case gptq, awq, compressedTensors = "compressed-tensors" }
    package var method: Method
    package var bits: Int
    /// Inputs that share a scale; -1 for a whole row.
    package var groupSize: Int
    package var isSymmetric: Bool

    init(_ json: ConfigObject) throws(CheckpointError) {
        let name = try json.string("quant_method") ?? "unknown"
        guard let method = Method(rawValue: name) else {
            throw .unsupported(
                what: "quantisation \(excerpt(name))", file: json.file,
                remedy: "known are gptq, awq, compressed-tensors; or convert to bf16")
        }
        self.method = method
        self.bits = 0
        self.groupSize = 0
        self.isSymmetric = true
        throw .unsupported(
            what: "quantisation \(excerpt(name))", file: json.file, remedy: "convert to bf16 or GGUF")
    }
}
