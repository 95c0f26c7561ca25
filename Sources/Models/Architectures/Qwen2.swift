import AutoGLMCompute

/// Qwen2 and Qwen2.5: Llama with biases on queries, keys and values.
enum Qwen2: Architecture {
    static let names = ["Qwen2ForCausalLM"]
    static let ggufName = "qwen2"

    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B> {
        DecoderLayer(
            try Attention(
                config, weights["self_attn"], rotary,
                norm: try weights.norm("input_layernorm", config),
                .init(bias: .required)),
            .dense(
                try FeedForward(
                    config, weights["mlp"],
                    norm: try weights.norm("post_attention_layernorm", config))))
    }
}
