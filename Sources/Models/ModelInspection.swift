package import AutoGLMCompute

/// What a model is and what it needs, from its configuration and the headers of its files alone.
package struct ModelInspection: Sendable {
    /// `weightBytes` is an estimate: matrices in the form asked for, or as stored.
    package let info: ModelInfo
    /// Bytes of all its tensors on disk.
    package let storedBytes: Int
    /// Bytes on disk by stored type (`bf16`, `q4_K`, …), largest first.
    package let storedTypes: [(type: String, bytes: Int)]
    package let files: [String]
    /// How the weights were quantised: a scheme of ours, or the name of another program's.
    package let quantization: String?
    /// Present where `autoglm quantize` wrote the model.
    package var scheme: QuantizationScheme? { config.quantization?.scheme }
    private let config: ModelConfig

    /// - Throws: what loading would throw for these files, weights aside.
    package init(_ path: String, options: LoadOptions = LoadOptions()) throws(CheckpointError) {
        self.init(try ModelSource(path, options: options))
    }

    package init(_ source: ModelSource) {
        let options = source.options
        var stored = 0
        var inMemory = 0
        var types: [String: Int] = [:]
        for (name, tensor) in source.checkpoint.tensors
        where !source.architecture.ignores(name, source.config) {
            stored += tensor.byteCount
            let type =
                if case .stored(let type) = tensor.type {
                    type.name
                } else {
                    PanelTensors.form(name).map { $0.rawValue + " panels" } ?? "integer"
                }
            types[type, default: 0] += tensor.byteCount
            let isMatrix =
                tensor.shape.count >= 2 && source.architecture.role(of: name) != .embedding
            inMemory +=
                isMatrix && source.panels == nil
                ? options.weightFormat?.bytes(values: tensor.elementCount) ?? tensor.byteCount
                : tensor.byteCount
        }
        info = source.info(weightBytes: inMemory)
        config = source.config
        quantization = source.config.quantization?.name
        storedBytes = stored
        storedTypes = types.map { (type: $0.key, bytes: $0.value) }
            .sorted { ($0.bytes, $1.type) > ($1.bytes, $0.type) }
        files = source.checkpoint.files.map(\.path)
    }

    /// Bytes of weights and of keys and values for `concurrency` sequences of `context` tokens.
    /// - Parameters:
    ///   - context: tokens of prompt and answer together; nil takes the model's limit.
    /// - Returns: nil where the sum cannot be represented.
    package func memory(context: Int? = nil, concurrency: Int = 1) -> Int? {
        let blocks = ((context ?? info.contextLength) + info.blockTokens - 1) / info.blockTokens
        let (tokens, overflow) = blocks.multipliedReportingOverflow(by: info.blockTokens)
        let (perSequence, overflow2) = tokens.multipliedReportingOverflow(by: info.bytesPerToken)
        let (all, overflow3) = perSequence.multipliedReportingOverflow(by: concurrency)
        let (sum, overflow4) = all.addingReportingOverflow(info.weightBytes)
        return overflow || overflow2 || overflow3 || overflow4 ? nil : sum
    }
}
