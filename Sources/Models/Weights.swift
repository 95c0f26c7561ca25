import AutoGLMCompute

/// The weights of a checkpoint as an architecture sees them: a view of one part of the name
/// space, which hands tensors to the backend and remembers what it handed out.
///
/// `weights["model"]["layers.3"].norm("input_layernorm", …)` loads
/// `model.layers.3.input_layernorm.weight`, or says in full what is missing or misshapen.
struct Weights<B: Backend> {
    let store: WeightStore<B>
    /// Of this part, with a point at its end.
    let path: String

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

    /// A norm of all features.
    func norm(_ name: String, _ config: ModelConfig) throws(CheckpointError) -> B.Norm {
        try norm(name, size: config.hidden, epsilon: config.normEpsilon)
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

    func record(_ name: String) throws(CheckpointError) {
        if let recorder = store.recorder, let tensor = store.checkpoint.tensors[path + name] {
            try recorder.record(tensor: tensor, name: path + name)
        }
    }
}
