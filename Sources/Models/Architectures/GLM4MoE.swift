import AutoGLMCompute

/// GLM-4.5, 4.6, 4.7 and Air: a few dense layers, then routed experts beside a shared one;
/// rotary pairs split in halves, over the first half of each head; queries and keys normalised
/// in the large ones. Layers after the last predict further tokens (MTP) and are ignored.
enum GLM4MoE: Architecture {
    static let names = ["Glm4MoeForCausalLM"]
    static let ggufName = "glm4moe"

    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames {
        guard isGGUF else { return .identity }
        return .gguf([
            "post_attention_norm": "post_attention_layernorm", "ffn_gate_inp": "mlp.gate",
            "exp_probs_b": "mlp.gate.e_score_correction_bias",
            "exp_probs_b.bias": "mlp.gate.e_score_correction_bias",
            "ffn_gate_exps": "mlp.experts.gate_proj", "ffn_up_exps": "mlp.experts.up_proj",
            "ffn_down_exps": "mlp.experts.down_proj",
            "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
            "ffn_up_shexp": "mlp.shared_experts.up_proj",
            "ffn_down_shexp": "mlp.shared_experts.down_proj",
        ])
    }

    static func complete(_ config: inout ModelConfig) throws(CheckpointError) {
        config.stopTokens += GLMTokens.turnEnds(vocabulary: config.vocabulary)
        guard config.mixture != nil else {
            throw .configuration(
                file: config.file, key: "number of experts", value: "missing",
                reason: "a mixture of experts needs it")
        }
    }

    static func ignores(_ tensor: String, _ config: ModelConfig) -> Bool {
        // Not every configuration counts the MTP layer whose tensors its files hold.
        let following = config.layers..<config.layers + max(1, config.nextTokenLayers)
        return following.contains { tensor.hasPrefix("model.layers.\($0).") }
            || following.contains { tensor.hasPrefix("blk.\($0).") } || isRotaryBuffer(tensor)
    }

    static func network<B: Backend>(_ config: ModelConfig, _ weights: Weights<B>)
        throws(CheckpointError) -> any Network<B>
    {
        try Decoder(config, weights)
    }

    private struct Decoder<B: Backend>: Network {
        enum Branch {
            case dense(FeedForward<B>)
            case experts(MixtureOfExperts<B>)
        }
        let embedding: B.Embedding
        let layers: [(attention: Attention<B>, branch: Branch)]
        let norm: B.Norm
        let head: B.Matrix

        init(_ config: ModelConfig, _ weights: Weights<B>) throws(CheckpointError) {
            let size = config.hidden
            let epsilon = config.normEpsilon
            let rotary = try weights.rotary(config, pairing: .halves)
            (embedding, head) = try weights.embeddingAndHead(
                config, table: "model.embed_tokens", head: "lm_head")
            layers = try weights["model"].layers(config.layers) {
                index, w throws(CheckpointError) in
                let attention = try Attention(
                    config, w["self_attn"], rotary,
                    norm: try w.norm("input_layernorm", size: size, epsilon: epsilon),
                    .init(
                        bias: .init(config.attentionBias),
                        queryKeyNorm: config.queryKeyNorm
                            ?? w.contains("self_attn.q_norm.weight")))
                let norm = try w.norm("post_attention_layernorm", size: size, epsilon: epsilon)
                guard let mixture = config.mixture, index >= mixture.denseLayers else {
                    return (attention, .dense(try FeedForward(config, w["mlp"], norm: norm)))
                }
                return (
                    attention,
                    .experts(try MixtureOfExperts(config, mixture, w["mlp"], norm: norm))
                )
            }
            norm = try weights["model"].norm("norm", size: size, epsilon: epsilon)
        }

        @_specialize(where B == CPUBackend)
        func forward(_ context: ForwardContext<B>, _ batch: borrowing StepBatch) -> B.Activations {
            let x = context.backend.embed(embedding, batch)
            for (index, layer) in layers.enumerated() {
                let mark = context.backend.mark()
                layer.attention.add(to: x, layer: index, context, batch)
                switch layer.branch {
                case .dense(let feedForward): feedForward.add(to: x, context)
                case .experts(let mixture): mixture.add(to: x, context)
                }
                context.backend.release(mark)
            }
            return x
        }
    }
}
