import AutoGLMCompute

/// GLM-4-0414 and Z1, 9B and 32B: a norm before and after each branch, interleaved rotary pairs
/// in the first half of each head. The names mislead: `post_attention_layernorm` stands before
/// the feed-forward block, the two others after their branch.
enum GLM4: Architecture {
    static let names = ["Glm4ForCausalLM"]
    static let ggufName = "glm4"
    static let defaults = ConfigDefaults(normEpsilon: 1.5625e-7, partialRotaryFactor: 0.5)
    static let pairing = RotarySpecification.Pairing.interleaved

    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames {
        isGGUF
            ? .gguf([
                "ffn_up": "mlp.gate_up_proj", "post_attention_norm": "post_self_attn_layernorm",
                "post_ffw_norm": "post_mlp_layernorm",
            ]) : .identity
    }

    static func complete(_ config: inout ModelConfig) {
        config.stopTokens += GLMTokens.turnEnds(vocabulary: config.vocabulary)
    }

    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B> {
        DecoderLayer(
            try Attention(
                config, weights["self_attn"], rotary,
                norm: try weights.norm("input_layernorm", config),
                postNorm: try weights.norm("post_self_attn_layernorm", config),
                .init(bias: .init(config.attentionBias))),
            .dense(
                try FeedForward(
                    config, weights["mlp"],
                    norm: try weights.norm("post_attention_layernorm", config),
                    postNorm: try weights.norm("post_mlp_layernorm", config))))
    }
}
