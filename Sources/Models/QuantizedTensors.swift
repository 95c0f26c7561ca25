import AutoGLMCompute
import AutoGLMJSON

/// Linear layers stored as integers with scales: GPTQ, AWQ, compressed-tensors.
///
/// Where it loses nothing, a layer is handed on in the block form that has the same values
/// (`q4_0`, `q8_0`), so that its integers reach the kernels unchanged; else as f32.
struct QuantizedTensors: Sendable {
    private let config: QuantizationConfig
    private let checkpoint: Checkpoint

    init(_ config: QuantizationConfig, _ checkpoint: Checkpoint) {
        self.config = config
        self.checkpoint = checkpoint
    }

    /// The tensor that holds the integers of a layer; nil for a layer that was left alone.
    private func integers(of name: String) -> String? {
        switch config.method {
        case .gptq, .awq:
            let packed = name + ".qweight"
            return checkpoint.tensors[packed] == nil ? nil : packed
        case .compressedTensors:
            if checkpoint.tensors[name + ".weight_packed"] != nil { return name + ".weight_packed" }
            return checkpoint.tensors[name + ".weight_scale"] == nil ? nil : name + ".weight"
        case .panels: return nil
        }
    }

    func contains(_ name: String) -> Bool { integers(of: name) != nil }

    /// The layer `name`, `[rows, columns]`; nil where it is not quantised.
    func tensor(_ name: String, rows: Int, columns: Int, _ claim: (String) -> Void)
        throws(CheckpointError) -> StoredTensor?
    {
        guard let packed = integers(of: name), let tensor = checkpoint.tensors[packed] else {
            return nil
        }
        var layer = Layer(name: tensor.name, file: tensor.file.path, rows: rows, columns: columns)
        layer.bits = config.bits
        switch config.method {
        case .gptq(let zeroOffset, let isAsymmetric):
            try readGPTQ(name, &layer)
            layer.offsetZeros(by: isAsymmetric ? zeroOffset : layer.zeroOffset ?? zeroOffset)
        case .awq: try readAWQ(name, &layer)
        case .compressedTensors: try readCompressed(name, packed, &layer)
        case .panels: return nil
        }
        claim(packed)
        for suffix in Self.besides { claim(name + "." + suffix) }
        return layer.stored()
    }

    /// What belongs to a layer beside its integers.
    private static let besides: Set<String> = [
        "qzeros", "scales", "g_idx", "weight_scale", "weight_shape", "weight_zero_point",
        "weight_g_idx", "input_scale", "input_zero_point",
    ]

    /// Parameters of the model that a tensor of such a checkpoint holds.
    static func parameters(
        of tensor: CheckpointTensor, _ name: String, _ config: QuantizationConfig
    ) -> Int {
        let part = String(name.split(separator: ".").last ?? "")
        if besides.contains(part) { return 0 }
        let isPacked = part == "qweight" || part == "weight_packed"
        return tensor.elementCount * (isPacked ? 32 / config.bits : 1)
    }

    // MARK: Formats

    /// `qweight [columns / n, rows]`, `qzeros [groups, rows / n]`, `scales [groups, rows]`, n
    /// integers to a word; `g_idx [columns]` when columns were reordered. Zeros are left as stored.
    /// - SeeAlso: Frantar et al. 2022, GPTQ.
    private func readGPTQ(_ name: String, _ layer: inout Layer) throws(CheckpointError) {
        let perWord = 32 / config.bits
        try layer.check(divisor: perWord)
        let (rows, columns) = (layer.rows, layer.columns)
        layer.words = try words(name + ".qweight", [columns / perWord, rows])
        layer.order = .columnsPacked
        let groups = try readGroups(name + ".scales", &layer)
        let zeros = try words(name + ".qzeros", [groups, rows / perWord])
        let mask = (1 << config.bits) - 1
        layer.zeros = (0..<rows * groups).map { index in
            let (row, group) = (index / groups, index % groups)
            let word = zeros[group * (rows / perWord) + row / perWord]
            return Int16(Int(word >> UInt32(config.bits * (row % perWord))) & mask)
        }
        if checkpoint.tensors[name + ".g_idx"] != nil {
            try layer.reorder(words(name + ".g_idx", [columns]), groups)
        }
    }

    /// `qweight [columns, rows / 8]`, `qzeros [groups, rows / 8]`, `scales [groups, rows]`, the
    /// eight integers of a word in the order of its kernels.
    /// - SeeAlso: Lin et al. 2023, AWQ.
    private func readAWQ(_ name: String, _ layer: inout Layer) throws(CheckpointError) {
        try layer.check(divisor: 8)
        let (rows, columns) = (layer.rows, layer.columns)
        layer.words = try words(name + ".qweight", [columns, rows / 8])
        layer.order = .rowsInterleaved
        let groups = try readGroups(name + ".scales", &layer)
        let zeros = try words(name + ".qzeros", [groups, rows / 8])
        layer.zeros = (0..<rows * groups).map { index in
            let (row, group) = (index / groups, index % groups)
            return Int16(zeros[group * (rows / 8) + row / 8] >> Layer.interleavedShift(row) & 15)
        }
    }

    /// Scales `[groups, rows]`, transposed to one run per row.
    /// - Returns: the number of groups.
    private func readGroups(_ name: String, _ layer: inout Layer) throws(CheckpointError) -> Int {
        guard let tensor = checkpoint.tensors[name], tensor.shape.count == 2 else {
            throw missing(name)
        }
        let groups = tensor.shape[0]
        let scales = try floats(name, [groups, layer.rows])
        try layer.divide(into: groups)
        layer.scales = (0..<layer.rows * groups).map {
            scales[$0 % groups * layer.rows + $0 / groups]
        }
        return groups
    }

    /// `weight_packed [rows, columns / n]` or int8 `weight [rows, columns]`,
    /// `weight_scale [rows, groups]` (one column: per row; one value: for all).
    private func readCompressed(_ name: String, _ packed: String, _ layer: inout Layer)
        throws(CheckpointError)
    {
        let (rows, columns) = (layer.rows, layer.columns)
        let isPacked = packed.hasSuffix("_packed")
        let perWord = 32 / config.bits
        guard let scale = checkpoint.tensors[name + ".weight_scale"] else {
            throw missing(name + ".weight_scale")
        }
        let isSingle = scale.elementCount == 1
        let groups = isSingle ? 1 : scale.elementCount / rows
        let scales = try floats(
            name + ".weight_scale", scale.shape.count == 1 && !isSingle ? [rows] : scale.shape)
        try layer.divide(into: groups)
        guard scales.count == (isSingle ? 1 : rows * groups) else {
            throw .misshapenTensor(
                name: scale.name, file: scale.file.path, shape: scale.shape,
                expected: [rows, max(groups, 1)])
        }
        layer.scales =
            isSingle ? [Float](repeating: scales[0], count: rows) : scales
        if isPacked {
            let wordsPerRow = (columns + perWord - 1) / perWord
            layer.words = try words(packed, [rows, wordsPerRow])
            layer.order = .rowMajor(wordsPerRow: wordsPerRow)
        } else {
            layer.bytes = try bytes(packed, [rows, columns], .integer(bits: 8, signed: true))
            layer.order = .bytes
        }
        let middle = isPacked ? Int16(1 << (config.bits - 1)) : 0
        layer.zeros = [Int16](repeating: middle, count: rows * groups)
        if let zeros = checkpoint.tensors[name + ".weight_zero_point"] {
            try readCompressedZeros(zeros, name, &layer, groups, isPacked, isSingle)
        }
        if checkpoint.tensors[name + ".weight_g_idx"] != nil {
            try layer.reorder(words(name + ".weight_g_idx", [columns]), groups)
        }
    }

    private func readCompressedZeros(
        _ tensor: CheckpointTensor, _ name: String, _ layer: inout Layer, _ groups: Int,
        _ isPacked: Bool, _ isSingle: Bool
    ) throws(CheckpointError) {
        let rows = layer.rows
        if tensor.type == .integer(bits: 8, signed: true) {
            let zeros = try bytes(
                name + ".weight_zero_point", tensor.shape, .integer(bits: 8, signed: true))
            let middle = isPacked ? 1 << (config.bits - 1) : 0
            guard zeros.count == (isSingle ? 1 : rows * groups) else {
                throw .misshapenTensor(
                    name: tensor.name, file: tensor.file.path, shape: tensor.shape,
                    expected: [rows, groups])
            }
            for index in layer.zeros.indices {
                let zero = Int8(bitPattern: zeros[isSingle ? 0 : index])
                layer.zeros[index] = Int16(Int(zero) + middle)
            }
            return
        }
        // Packed down the rows.
        let perWord = 32 / config.bits
        let zeros = try words(
            name + ".weight_zero_point", [(rows + perWord - 1) / perWord, groups])
        let mask = UInt32((1 << config.bits) - 1)
        for index in layer.zeros.indices {
            let (row, group) = (index / groups, index % groups)
            let word = zeros[row / perWord * groups + group]
            layer.zeros[index] = Int16(word >> UInt32(config.bits * (row % perWord)) & mask)
        }
    }

    // MARK: Reading

    private func missing(_ name: String) -> CheckpointError {
        .missingTensor(
            name: name, checkpoint: checkpoint.path,
            remedy: "a quantised layer needs it; download the checkpoint again")
    }

    private func bytes(_ name: String, _ shape: [Int], _ type: ElementType)
        throws(CheckpointError) -> [UInt8]
    {
        guard let tensor = checkpoint.tensors[name] else { throw missing(name) }
        guard tensor.shape == shape else {
            throw .misshapenTensor(
                name: tensor.name, file: tensor.file.path, shape: tensor.shape, expected: shape)
        }
        guard tensor.type == type else {
            throw .unsupported(
                what: "tensor \(excerpt(name)) of another type than expected",
                file: tensor.file.path, remedy: "convert the checkpoint to bf16 or GGUF")
        }
        return try tensor.file.bytes(at: tensor.offset, count: tensor.byteCount)
    }

    private func words(_ name: String, _ shape: [Int]) throws(CheckpointError) -> [UInt32] {
        let bytes = try bytes(name, shape, .integer(bits: 32, signed: true))
        var words: [UInt32] = []
        words.reserveCapacity(bytes.count / 4)
        for start in stride(from: 0, to: bytes.count, by: 4) {
            var word: UInt32 = 0
            for place in 0..<4 { word |= UInt32(bytes[start + place]) << UInt32(8 * place) }
            words.append(word)
        }
        return words
    }

    private func floats(_ name: String, _ shape: [Int]) throws(CheckpointError) -> [Float] {
        guard let tensor = checkpoint.tensors[name] else { throw missing(name) }
        guard tensor.shape == shape else {
            throw .misshapenTensor(
                name: tensor.name, file: tensor.file.path, shape: tensor.shape, expected: shape)
        }
        return try decodeFloats(
            tensor.file.bytes(at: tensor.offset, count: tensor.byteCount), tensor)
    }
}
