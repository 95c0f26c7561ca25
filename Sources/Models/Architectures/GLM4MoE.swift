import AutoGLMCompute

/// GLM-4.5, 4.6, 4.7 and Air: a few dense layers, then routed experts beside a shared one;
/// rotary pairs split in halves, over the first half of each head; queries and keys normalised
/// in the large ones. Layers after the last predict further tokens (MTP) and are ignored.
enum GLM4MoE: Architecture {
    static let names = ["Glm4MoeForCausalLM"]
    static let ggufName = "glm4moe"
    static let defaults = ConfigDefaults(normEpsilon: 1e-5, partialRotaryFactor: 0.5)

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
        return following.contains { tensor.hasPrefix("\(DecoderNames.layers).\($0).") }
            || following.contains { tensor.hasPrefix("blk.\($0).") } || isRotaryBuffer(tensor)
    }

    static func role(of tensor: String) -> TensorRole {
        tensor.contains(".mlp.experts.") ? .expert : DecoderNames.role(of: tensor)
    }

    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B> {
        let attention = try Attention(
            config, weights["self_attn"], rotary,
            norm: try weights.norm("input_layernorm", config),
            .init(
                bias: .init(config.attentionBias),
                queryKeyNorm: config.queryKeyNorm
                    ?? weights.contains("self_attn.q_norm.weight")))
        let norm = try weights.norm("post_attention_layernorm", config)
        guard let mixture = config.mixture, index >= mixture.denseLayers else {
            return DecoderLayer(
                attention, .dense(try FeedForward(config, weights["mlp"], norm: norm)))
        }
        return DecoderLayer(
            attention,
            .experts(try MixtureOfExperts(config, mixture, weights["mlp"], norm: norm)))
    }
}
