import AutoGLMCompute

/// How single matrices get from the files to the backend: out of panels, integer layers or plain
/// tensors.
extension Weights {
    func hasMatrix(_ name: String) -> Bool {
        contains(name + ".weight") || store.quantized?.contains(path + name) == true
    }

    /// A matrix that the checkpoint holds in panels; nil where it does not.
    func packed(_ name: String, outputs: Int, inputs: Int, bias: Bias)
        throws(CheckpointError) -> B.Matrix?
    {
        guard let packed = try store.panels?.matrix(
            path + name, outputs: outputs, inputs: inputs, isGated: false, store.claim)
        else { return nil }
        let values = try biases([(name, outputs)], bias)
        let matrix = try store.wrap(path + name) { () throws(BackendError) in
            try backend.matrix(packed: packed, bias: values)
        }
        store.account(packed)
        return matrix
    }

    func packedGated(_ name: String, outputs: Int, inputs: Int)
        throws(CheckpointError) -> B.GatedMatrix?
    {
        guard let packed = try store.panels?.matrix(
            path + name, outputs: outputs, inputs: inputs, isGated: true, store.claim)
        else { return nil }
        let matrix = try store.wrap(path + name) { () throws(BackendError) in
            try backend.gatedMatrix(packed: packed)
        }
        store.account(packed)
        return matrix
    }

    /// - Parameter fused: what the parts of the source together are called; nil: `name`.
    func matrix(
        _ source: MatrixSource, bias: [Float]?, format: WeightFormat?, name: String,
        fused: String? = nil, isRecorded: Bool = true
    ) throws(CheckpointError) -> B.Matrix {
        let matrix = try store.wrap(path + name) { () throws(BackendError) in
            try backend.matrix(source, bias: bias, format: format)
        }
        store.account(source, format: format)
        if isRecorded {
            try store.recorder?.record(matrix, name: path + (fused ?? name), bias: bias)
        }
        return matrix
    }

    func gatedMatrix(gate: MatrixSource, up: MatrixSource, name: String)
        throws(CheckpointError) -> B.GatedMatrix
    {
        let format = store.options.weightFormat
        let matrix = try store.wrap(gate.segments[0].tensor.name) { () throws(BackendError) in
            try backend.gatedMatrix(gate: gate, up: up, format: format)
        }
        store.account(gate, format: format)
        store.account(up, format: format)
        try store.recorder?.record(gated: matrix, name: path + name)
        return matrix
    }

    func source(_ parts: [(name: String, rows: Int)], columns: Int)
        throws(CheckpointError) -> MatrixSource
    {
        var segments: [MatrixSource.Segment] = []
        for part in parts {
            segments.append(
                contentsOf: try source(part.name, rows: part.rows, columns: columns).segments)
        }
        return MatrixSource(segments: segments, columns: columns)
    }

    /// - Parameter stack: matrices of this shape that lie one after the other in the tensor.
    func source(_ name: String, rows: Int, columns: Int, stack: Int? = nil)
        throws(CheckpointError) -> MatrixSource
    {
        let full = path + name
        if let quantized = store.quantized,
            let tensor = try quantized.tensor(full, rows: rows, columns: columns, store.claim)
        {
            return MatrixSource(
                segments: [.init(tensor: tensor, rows: 0..<rows)], columns: columns)
        }
        let shape = (stack.map { [$0] } ?? []) + [rows, columns]
        let tensor = try store.tensor(full + ".weight", shape: shape)
        return MatrixSource(
            segments: [.init(tensor: try tensor.stored(), rows: 0..<rows * (stack ?? 1))],
            columns: columns)
    }

    func biases(_ parts: [(name: String, rows: Int)], _ bias: Bias)
        throws(CheckpointError) -> [Float]?
    {
        switch bias {
        case .none: return nil
        case .required: break
        case .ifPresent: if !contains(parts[0].name + ".bias") { return nil }
        }
        var values: [Float] = []
        for part in parts {
            values.append(
                contentsOf: try store.floats(path + part.name + ".bias", count: part.rows))
        }
        return values
    }
}

extension MatrixSource {
    /// Some of the rows; only for a source made of one tensor.
    func rows(_ range: Range<Int>) -> MatrixSource {
        let start = segments[0].rows.lowerBound
        return MatrixSource(
            segments: [
                .init(
                    tensor: segments[0].tensor,
                    rows: start + range.lowerBound..<start + range.upperBound)
            ], columns: columns)
    }
}
