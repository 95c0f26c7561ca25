import AutoGLMCompute

/// The weights of a checkpoint as an architecture sees them: a view of one part of the name
/// space, which hands tensors to the backend and remembers what it handed out.
///
/// `weights["model"]["layers.3"].norm("input_layernorm", …)` loads
/// `model.layers.3.input_layernorm.weight`, or says in full what is missing or misshapen.
struct Weights<B: Backend> {
    private let store: WeightStore<B>
    private let path: String

    init(_ store: WeightStore<B>) {
        self.store = store
        self.path = ""
    }

    private init(_ store: WeightStore<B>, path: String) {
        self.store = store
        self.path = path
    }

    var backend: B { store.backend }

    subscript(component: String) -> Weights { Weights(store, path: path + component + ".") }

    /// Whether a tensor is there, by its full name within this view.
    func contains(_ name: String) -> Bool { store.checkpoint.tensors[path + name] != nil }

    // MARK: Parts of a model

    /// One value per layer of `layers.0 … layers.count-1`.
    func layers<Layer>(
        _ count: Int, _ make: (Int, Weights) throws(CheckpointError) -> Layer
    ) throws(CheckpointError) -> [Layer] {
        var layers: [Layer] = []
        layers.reserveCapacity(count)
        for index in 0..<count { layers.append(try make(index, self["layers.\(index)"])) }
        return layers
    }

    func norm(_ name: String, size: Int, epsilon: Float) throws(CheckpointError) -> B.Norm {
        let weight = try floats(name + ".weight", count: size)
        return try store.wrap(path + name) { () throws(BackendError) in
            try backend.norm(weight, epsilon: epsilon)
        }
    }

    /// The token embeddings and the output projection, which may be one and the same matrix.
    /// - Parameters:
    ///   - table: `[vocabulary, hidden]`, by its full name.
    ///   - head: the same shape.
    func embeddingAndHead(_ config: ModelConfig, table: String, head: String)
        throws(CheckpointError) -> (embedding: B.Embedding, head: B.Matrix)
    {
        let isTied = config.tiedEmbeddings || store.checkpoint.isGGUF && !contains(head + ".weight")
        if isTied {
            // Some makers store the shared matrix twice.
            store.claim(path + head + ".weight")
            let matrix = try headMatrix(config, table)
            let embedding = try store.wrap(path + table) { () throws(BackendError) in
                try backend.embedding(tiedTo: matrix)
            }
            return (embedding, matrix)
        }
        let rows = try source(table, rows: config.vocabulary, columns: config.hidden)
        let embedding = try store.wrap(path + table) { () throws(BackendError) in
            try backend.embedding(rows)
        }
        store.account(rows, format: nil)
        try record(table + ".weight")
        return (embedding, try headMatrix(config, head))
    }

    private func headMatrix(_ config: ModelConfig, _ name: String)
        throws(CheckpointError) -> B.Matrix
    {
        let (rows, columns) = (config.vocabulary, config.hidden)
        if let matrix = try packed(name, outputs: rows, inputs: columns, bias: .none) {
            return matrix
        }
        return try matrix(
            source(name, rows: rows, columns: columns), bias: nil, format: store.headFormat,
            name: name)
    }

    enum Bias {
        case none, required, ifPresent
        /// - Parameter stated: what the configuration says; nil where it does not.
        init(_ stated: Bool?) { self = stated.map { $0 ? .required : .none } ?? .ifPresent }
    }

    /// `[outputs, inputs]` and its bias.
    func linear(
        _ name: String, outputs: Int, inputs: Int, bias: Bias = .none, exact: Bool = false
    ) throws(CheckpointError) -> B.Matrix {
        if !exact, let matrix = try packed(name, outputs: outputs, inputs: inputs, bias: bias) {
            return matrix
        }
        let source = try source(name, rows: outputs, columns: inputs)
        if exact { try record(name + ".weight") }
        return try matrix(
            source, bias: biases([(name, outputs)], bias),
            format: exact ? .f32 : store.options.weightFormat, name: name, isRecorded: !exact)
    }

    /// Query, key and value projections as one matrix: stored as one, or as three.
    func queryKeyValue(_ config: ModelConfig, bias: Bias) throws(CheckpointError) -> B.Matrix {
        let queries = config.heads * config.headDim
        let keys = config.kvHeads * config.headDim
        let fused = "qkv_proj"
        if let matrix = try packed(
            fused, outputs: queries + 2 * keys, inputs: config.hidden, bias: bias)
        {
            return matrix
        }
        let parts =
            hasMatrix(fused)
            ? [(fused, queries + 2 * keys)]
            : [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)]
        return try matrix(
            source(parts, columns: config.hidden), bias: biases(parts, bias),
            format: store.options.weightFormat, name: parts[0].0, fused: fused)
    }

    /// Gate and up projections: stored as two matrices, or as one with the gate's rows first.
    func gated(inputs: Int, features: Int) throws(CheckpointError) -> B.GatedMatrix {
        if let matrix = try packedGated(Self.gateUp, outputs: features, inputs: inputs) {
            return matrix
        }
        let gate: MatrixSource
        let up: MatrixSource
        if hasMatrix("gate_up_proj") {
            let both = try source("gate_up_proj", rows: 2 * features, columns: inputs)
            gate = both.rows(0..<features)
            up = both.rows(features..<2 * features)
        } else {
            gate = try source("gate_proj", rows: features, columns: inputs)
            up = try source("up_proj", rows: features, columns: inputs)
        }
        return try gatedMatrix(gate: gate, up: up, name: Self.gateUp)
    }
    private static var gateUp: String { "gate_up_proj" }

    /// Experts stored one by one (`experts.7.gate_proj`), or all in one tensor per projection.
    func experts(_ count: Int, inputs: Int, features: Int)
        throws(CheckpointError) -> [Expert<B.Matrix, B.GatedMatrix>]
    {
        guard hasMatrix("experts.gate_proj") else {
            var experts: [Expert<B.Matrix, B.GatedMatrix>] = []
            for index in 0..<count {
                experts.append(
                    try self["experts.\(index)"].expert(inputs: inputs, features: features))
            }
            return experts
        }
        let gates = try source("experts.gate_proj", rows: features, columns: inputs, stack: count)
        let ups = try source("experts.up_proj", rows: features, columns: inputs, stack: count)
        let downs = try source("experts.down_proj", rows: inputs, columns: features, stack: count)
        var experts: [Expert<B.Matrix, B.GatedMatrix>] = []
        for index in 0..<count {
            let rows = index * features..<(index + 1) * features
            experts.append(Expert(
                gated: try gatedMatrix(
                    gate: gates.rows(rows), up: ups.rows(rows),
                    name: "experts.\(index)." + Self.gateUp),
                down: try matrix(
                    downs.rows(index * inputs..<(index + 1) * inputs), bias: nil,
                    format: store.options.weightFormat, name: "experts.down_proj",
                    fused: "experts.\(index).down_proj")))
        }
        return experts
    }

    /// One feed-forward block: `gate_proj`, `up_proj`, `down_proj`.
    func expert(inputs: Int, features: Int)
        throws(CheckpointError) -> Expert<B.Matrix, B.GatedMatrix>
    {
        Expert(
            gated: try gated(inputs: inputs, features: features),
            down: try linear("down_proj", outputs: inputs, inputs: features))
    }

    /// The angles of the model; a checkpoint may bring its own divisors (`rope_freqs`).
    func rotary(_ config: ModelConfig, pairing: RotarySpecification.Pairing)
        throws(CheckpointError) -> B.Rotary
    {
        var rope = config.rope
        if contains("rope_freqs.weight") {
            rope.scaling = .divisors(
                try floats("rope_freqs.weight", count: rope.rotatedDims / 2))
            try rope.validate(headDim: config.headDim, file: config.file)
        }
        let specification = rope.specification(positions: config.contextLength, pairing: pairing)
        return try store.wrap("rotary") { () throws(BackendError) in
            try backend.rotary(specification)
        }
    }

    /// A vector in f32.
    func floats(_ name: String, count: Int) throws(CheckpointError) -> [Float] {
        let values = try store.floats(path + name, count: count)
        try record(name)
        return values
    }

    private func record(_ name: String) throws(CheckpointError) {
        if let recorder = store.recorder, let tensor = store.checkpoint.tensors[path + name] {
            try recorder.record(tensor: tensor, name: path + name)
        }
    }

    // MARK: Matrices

    private func hasMatrix(_ name: String) -> Bool {
        contains(name + ".weight") || store.quantized?.contains(path + name) == true
    }

    /// A matrix that the checkpoint holds in panels; nil where it does not.
    private func packed(_ name: String, outputs: Int, inputs: Int, bias: Bias)
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

    private func packedGated(_ name: String, outputs: Int, inputs: Int)
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
    private func matrix(
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

    private func gatedMatrix(gate: MatrixSource, up: MatrixSource, name: String)
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

    private func source(_ parts: [(name: String, rows: Int)], columns: Int)
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
    private func source(_ name: String, rows: Int, columns: Int, stack: Int? = nil)
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

    private func biases(_ parts: [(name: String, rows: Int)], _ bias: Bias)
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
    fileprivate func rows(_ range: Range<Int>) -> MatrixSource {
        let start = segments[0].rows.lowerBound
        return MatrixSource(
            segments: [
                .init(
                    tensor: segments[0].tensor,
                    rows: start + range.lowerBound..<start + range.upperBound)
            ], columns: columns)
    }
}
