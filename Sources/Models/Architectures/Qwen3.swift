import AutoGLMCompute

/// Qwen3: Llama with queries and keys normalised head by head before they are rotated.
enum Qwen3: Architecture {
    static let names = ["Qwen3ForCausalLM"]
    static let ggufName = "qwen3"

    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B> {
        DecoderLayer(
            try Attention(
                config, weights["self_attn"], rotary,
                norm: try weights.norm("input_layernorm", config),
                .init(
                    bias: .init(config.attentionBias), outputBias: .init(config.attentionBias),
                    queryKeyNorm: true)),
            .dense(
                try FeedForward(
                    config, weights["mlp"],
                    norm: try weights.norm("post_attention_layernorm", config))))
    }
}
