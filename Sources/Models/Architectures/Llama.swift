import AutoGLMCompute

/// Llama 2 and 3: pre-norm blocks, rotary pairs split in halves over the whole head.
enum Llama: Architecture {
    static let names = ["LlamaForCausalLM"]
    static let ggufName = "llama"

    static func complete(_ config: inout ModelConfig) {
        // Converters permute the rows of queries and keys, of this architecture only.
        if config.architecture == ggufName { config.rope.pairing = .interleaved }
    }

    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B> {
        DecoderLayer(
            try Attention(
                config, weights["self_attn"], rotary,
                norm: try weights.norm("input_layernorm", config),
                .init(
                    bias: .init(config.attentionBias), outputBias: .init(config.attentionBias))),
            .dense(
                try FeedForward(
                    config, weights["mlp"],
                    norm: try weights.norm("post_attention_layernorm", config))))
    }
}
