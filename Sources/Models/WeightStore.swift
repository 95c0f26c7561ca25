import AutoGLMCompute
import AutoGLMJSON

/// What all views of the weights share: the tensors, the backend, and what was taken so far.
final class WeightStore<B: Backend> {
    let checkpoint: Checkpoint
    let backend: B
    private(set) var options: LoadOptions
    /// Present when linear layers are stored as integers with scales (GPTQ, AWQ, …).
    let quantized: QuantizedTensors?
    /// Present when linear layers are stored in panels.
    let panels: PanelTensors?
    /// Sees every part of the model as it is loaded.
    var recorder: (any WeightRecorder<B>)?
    private var claimed: Set<String> = []
    private var bytesRead = 0
    private let bytesTotal: Int
    private(set) var weightBytes = 0

    init(_ source: ModelSource, _ options: LoadOptions, _ backend: B) {
        self.checkpoint = source.checkpoint
        self.backend = backend
        self.options = options
        self.panels = source.panels
        self.quantized =
            source.panels == nil
            ? source.config.quantization.map { QuantizedTensors($0, source.checkpoint) } : nil
        self.bytesTotal = checkpoint.byteCount
        // What is in panels already stays as it is.
        if panels != nil { self.options.weightFormat = nil }
    }

    var headFormat: WeightFormat? { options.headFormat ?? options.weightFormat?.ofHead }

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

    /// Counts panels that have been handed over.
    func account(_ packed: PackedMatrix) {
        let panels = PackedMatrix.panels(
            outputs: packed.outputs, isGated: packed.isGated, panelOutputs: packed.panelOutputs)
        let bytes = panels * (packed.form.panelBytes(
            inputs: packed.inputs, panelOutputs: packed.panelOutputs) ?? 0)
        bytesRead += bytes
        weightBytes += bytes
        report(min(bytesRead, bytesTotal), packed.name)
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

/// Takes down the parts of a model, under their canonical names, in the order they are loaded.
protocol WeightRecorder<B>: AnyObject {
    associatedtype B: Backend
    func record(_ matrix: B.Matrix, name: String, bias: [Float]?) throws(CheckpointError)
    func record(gated matrix: B.GatedMatrix, name: String) throws(CheckpointError)
    /// A tensor that stays as it is: a norm, embeddings, a router.
    func record(tensor: CheckpointTensor, name: String) throws(CheckpointError)
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
            what: "tensor \(excerpt(tensor.name)) of type \(type.name)",
            file: tensor.file.path, remedy: "vectors must be f32, f16 or bf16")
    }
}
