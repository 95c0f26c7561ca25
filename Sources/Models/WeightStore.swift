import AutoGLMCompute

/// What all views of the weights share: the tensors, the backend, and what was taken so far.
final class WeightStore<B: Backend> {
    let checkpoint: Checkpoint
    let backend: B
    let options: LoadOptions
    /// Present when linear layers are stored as integers with scales (GPTQ, AWQ, …).
    let quantized: QuantizedTensors?
    private var claimed: Set<String> = []
    private var bytesRead = 0
    private let bytesTotal: Int
    private(set) var weightBytes = 0

    init(
        _ checkpoint: Checkpoint, _ config: ModelConfig, _ options: LoadOptions, _ backend: B
    ) {
        self.checkpoint = checkpoint
        self.backend = backend
        self.options = options
        self.quantized = config.quantization.map { QuantizedTensors($0, checkpoint) }
        self.bytesTotal = checkpoint.byteCount
    }

    /// The output projection decides between tokens, so it keeps more bits than the rest.
    var headFormat: WeightFormat? {
        options.headFormat ?? (options.weightFormat == .int4 ? .int8 : options.weightFormat)
    }

    /// Marks a tensor as used; a name that is not there is no harm.
    func claim(_ name: String) { claimed.insert(name) }

    func tensor(_ name: String, shape: [Int]) throws(CheckpointError) -> CheckpointTensor {
        guard let tensor = checkpoint.tensors[name] else {
            throw .missingTensor(
                name: checkpoint.names.original(name), checkpoint: checkpoint.path,
                remedy: "the configuration asks for the shape \(shape); "
                    + "the download is incomplete or the configuration belongs to another model")
        }
        guard tensor.shape == shape else {
            throw .misshapenTensor(
                name: tensor.name, file: tensor.file.path, shape: tensor.shape, expected: shape)
        }
        claim(name)
        return tensor
    }

    func floats(_ name: String, count: Int) throws(CheckpointError) -> [Float] {
        let tensor = try tensor(name, shape: [count])
        let bytes = try tensor.file.bytes(at: tensor.offset, count: tensor.byteCount)
        bytesRead += bytes.count
        return try decodeFloats(bytes, tensor)
    }

    /// Runs a call of the backend and gives its errors the name of the tensor.
    func wrap<Value>(_ name: String, _ body: () throws(BackendError) -> Value)
        throws(CheckpointError) -> Value
    {
        do { return try body() } catch {
            throw .backend(error, tensor: checkpoint.names.original(name))
        }
    }

    /// Counts a matrix that has been handed over, and reports progress.
    func account(_ source: MatrixSource, format: WeightFormat?) {
        for segment in source.segments {
            let type = segment.tensor.type
            let values = segment.rows.count * source.columns
            let stored = values / type.block.values * type.block.bytes
            bytesRead += stored
            weightBytes += format?.bytes(values: values) ?? stored
        }
        report(min(bytesRead, bytesTotal), source.segments.first?.tensor.name ?? "")
    }

    private func report(_ bytesRead: Int, _ tensor: String) {
        options.progress?(
            LoadProgress(bytesRead: bytesRead, bytesTotal: bytesTotal, tensor: tensor))
    }

    /// - Throws: ``CheckpointError/unclaimedTensors(names:count:checkpoint:)``
    func finish(ignoring isIgnored: (String) -> Bool) throws(CheckpointError) {
        let rest = checkpoint.tensors.keys.filter { !claimed.contains($0) && !isIgnored($0) }
        guard rest.isEmpty else {
            throw .unclaimedTensors(
                names: rest.sorted().prefix(3).map { checkpoint.tensors[$0]?.name ?? $0 },
                count: rest.count, checkpoint: checkpoint.path)
        }
        // What was ignored counts as done.
        report(bytesTotal, "")
    }
}

extension WeightFormat {
    /// Bytes of a matrix in memory, scales included (f32 per 32 values, see ``Backend``).
    func bytes(values: Int) -> Int {
        switch self {
        case .f32: values * 4
        case .f16, .bf16: values * 2
        case .int8: values + values / 8
        case .int4: values / 2 + values / 8
        }
    }
}

/// Values of a small float tensor (a norm, a bias, scales) as f32.
func decodeFloats(_ bytes: [UInt8], _ tensor: CheckpointTensor) throws(CheckpointError) -> [Float] {
    func half(_ index: Int) -> UInt16 {
        UInt16(bytes[2 * index]) | UInt16(bytes[2 * index + 1]) << 8
    }
    let type = try tensor.stored().type
    switch type {
    case .f32:
        return (0..<bytes.count / 4).map { index in
            let low = UInt32(half(2 * index))
            return Float(bitPattern: low | UInt32(half(2 * index + 1)) << 16)
        }
    case .bf16:
        return (0..<bytes.count / 2).map { Float(bitPattern: UInt32(half($0)) << 16) }
    case .f16:
        return (0..<bytes.count / 2).map { Float(Float16(bitPattern: half($0))) }
    default:
        throw .unsupported(
            what: "tensor \(excerpt(tensor.name)) of type \(type.rawValue)",
            file: tensor.file.path, remedy: "vectors must be f32, f16 or bf16")
    }
}
