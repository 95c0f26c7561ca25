import AutoGLMCompute

/// `x += postNorm(output(attention(qkv(norm(x)))))`, keys and values in the cache.
struct Attention<B: Backend> {
    private let norm: B.Norm
    private let queryKeyValue: B.Matrix
    private let specification: AttentionSpecification<B.Rotary, B.Norm>
    private let output: B.Matrix
    private let postNorm: B.Norm?

    struct Options {
        var bias = Weights<B>.Bias.none
        var outputBias = Weights<B>.Bias.none
        /// Queries and keys normalised head by head (`q_norm`, `k_norm`).
        var queryKeyNorm = false
    }

    /// - Parameters:
    ///   - weights: of the attention alone (`layers.3.self_attn`).
    ///   - norm: before the projections.
    ///   - postNorm: of the branch, before it is added.
    init(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, norm: B.Norm,
        postNorm: B.Norm? = nil, _ options: Options
    ) throws(CheckpointError) {
        self.norm = norm
        self.postNorm = postNorm
        queryKeyValue = try weights.queryKeyValue(config, bias: options.bias)
        var specification = AttentionSpecification<B.Rotary, B.Norm>(
            heads: config.heads, kvHeads: config.kvHeads, headDim: config.headDim,
            scale: 1 / Float(config.headDim).squareRoot(), rotary: rotary)
        if options.queryKeyNorm {
            specification.queryNorm = try weights.norm(
                "q_norm", size: config.headDim, epsilon: config.normEpsilon)
            specification.keyNorm = try weights.norm(
                "k_norm", size: config.headDim, epsilon: config.normEpsilon)
        }
        self.specification = specification
        output = try weights.linear(
            "o_proj", outputs: config.hidden, inputs: config.heads * config.headDim,
            bias: options.outputBias)
    }

    func add(
        to x: B.Activations, layer: Int, _ context: ForwardContext<B>,
        _ batch: borrowing StepBatch
    ) {
        let qkv = context.backend.linear(x, norm: norm, queryKeyValue)
        let attended = context.backend.attention(
            qkv, specification, layer: layer, context.cache, batch)
        context.backend.addLinear(attended, output, postNorm: postNorm, to: x)
    }
}

/// `x += postNorm(down(silu(gate(norm(x))) × up(norm(x))))`
struct FeedForward<B: Backend> {
    private let norm: B.Norm
    private let expert: Expert<B.Matrix, B.GatedMatrix>
    private let postNorm: B.Norm?

    /// - Parameter weights: of the block alone (`layers.3.mlp`).
    init(
        _ config: ModelConfig, _ weights: Weights<B>, norm: B.Norm, postNorm: B.Norm? = nil
    ) throws(CheckpointError) {
        self.norm = norm
        self.postNorm = postNorm
        expert = try weights.expert(inputs: config.hidden, features: config.feedForward)
    }

    func add(to x: B.Activations, _ context: ForwardContext<B>) {
        let features = context.backend.gated(x, norm: norm, expert.gated)
        context.backend.addLinear(features, expert.down, postNorm: postNorm, to: x)
    }
}

/// `x += Σ weightᵢ · expertᵢ(norm(x)) + shared(norm(x))`
struct MixtureOfExperts<B: Backend> {
    private let norm: B.Norm
    private let mixture: Mixture<B.Matrix, B.GatedMatrix>

    /// - Parameter weights: of the block alone (`layers.3.mlp`).
    init(
        _ config: ModelConfig, _ mixture: MixtureConfig, _ weights: Weights<B>, norm: B.Norm
    ) throws(CheckpointError) {
        self.norm = norm
        self.mixture = Mixture(
            router: try weights.linear(
                "gate", outputs: mixture.experts, inputs: config.hidden, exact: true),
            correctionBias: try weights.floats(
                "gate.e_score_correction_bias", count: mixture.experts),
            experts: try weights.experts(
                mixture.experts, inputs: config.hidden, features: mixture.feedForward),
            shared: mixture.sharedExperts == 0
                ? nil
                : try weights["shared_experts"].expert(
                    inputs: config.hidden, features: mixture.feedForward * mixture.sharedExperts),
            expertsPerToken: mixture.expertsPerToken, groups: mixture.groups,
            groupsPerToken: mixture.groupsPerToken,
            normalizesWeights: mixture.normalizesWeights, scale: mixture.scale)
    }

    func add(to x: B.Activations, _ context: ForwardContext<B>) {
        context.backend.addMixture(norm: norm, mixture, to: x)
    }
}
