import AutoGLMCompute

/// What all architectures have in common: embedding, layers, final norm, output projection.
///
/// It is one concrete type, and so is its layer, with an enum where architectures differ: `forward`
/// asks the compiler for a copy of its own for the CPU, in which every call is direct. Through
/// protocols, every layer costs 0.8 µs in witness calls and copies, a seventh of a step of a tiny
/// model.
struct Decoder<B: Backend> {
    private let embedding: B.Embedding
    private let layers: [DecoderLayer<B>]
    let norm: B.Norm
    let head: B.Matrix

    init(
        _ architecture: any Architecture.Type, _ config: ModelConfig, _ weights: Weights<B>
    ) throws(CheckpointError) {
        let rotary = try weights.rotary(config, pairing: architecture.pairing)
        (embedding, head) = try weights.embeddingAndHead(
            config, table: DecoderNames.embedding, head: DecoderNames.head)
        var layers: [DecoderLayer<B>] = []
        for index in 0..<config.layers {
            let layer = weights[DecoderNames.layers]["\(index)"]
            layers.append(try architecture.layer(config, layer, rotary, index))
        }
        self.layers = layers
        norm = try weights.norm(DecoderNames.norm, config)
    }

    /// - Returns: `[rows, hidden]`, before the final norm.
    @_specialize(where B == CPUBackend)
    func forward(_ context: ForwardContext<B>, _ batch: borrowing StepBatch) -> B.Activations {
        let x = context.backend.embed(embedding, batch)
        for index in layers.indices {
            let mark = context.backend.mark()
            layers[index].attention.add(to: x, layer: index, context, batch)
            switch layers[index].branch {
            case .dense(let feedForward): feedForward.add(to: x, context)
            case .experts(let mixture): mixture.add(to: x, context)
            }
            context.backend.release(mark)
        }
        return x
    }
}

/// One layer: attention, then a branch of the kind the architecture chose.
struct DecoderLayer<B: Backend> {
    enum Branch {
        case dense(FeedForward<B>)
        case experts(MixtureOfExperts<B>)
    }
    let attention: Attention<B>
    let branch: Branch

    init(_ attention: Attention<B>, _ branch: Branch) {
        self.attention = attention
        self.branch = branch
    }
}

/// What every layer needs in a step.
struct ForwardContext<B: Backend> {
    let backend: B
    let cache: B.Cache
}

/// The canonical names of what lies outside the layers: those of transformers.
enum DecoderNames {
    static let embedding = "model.embed_tokens"
    static let head = "lm_head"
    static let norm = "model.norm"
    static let layers = "model.layers"

    static func role(of tensor: String) -> TensorRole {
        if tensor.hasPrefix(embedding + ".") { return .embedding }
        return tensor.hasPrefix(head + ".") ? .head : .other
    }
}
