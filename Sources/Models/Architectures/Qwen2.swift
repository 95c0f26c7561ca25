import AutoGLMCompute

/// Qwen2 and Qwen2.5: Llama with biases on queries, keys and values.
enum Qwen2: Architecture {
    static let names = ["Qwen2ForCausalLM"]
    static let ggufName = "qwen2"

    static func network<B: Backend>(_ config: ModelConfig, _ weights: Weights<B>)
        throws(CheckpointError) -> any Network<B>
    {
        try Decoder(config, weights)
    }

    private struct Decoder<B: Backend>: Network {
        let embedding: B.Embedding
        let layers: [(attention: Attention<B>, feedForward: FeedForward<B>)]
        let norm: B.Norm
        let head: B.Matrix

        init(_ config: ModelConfig, _ weights: Weights<B>) throws(CheckpointError) {
            let size = config.hidden
            let epsilon = config.normEpsilon
            let rotary = try weights.rotary(config, pairing: .halves)
            (embedding, head) = try weights.embeddingAndHead(
                config, table: "model.embed_tokens", head: "lm_head")
            layers = try weights["model"].layers(config.layers) { _, w throws(CheckpointError) in
                (
                    attention: try Attention(
                        config, w["self_attn"], rotary,
                        norm: try w.norm("input_layernorm", size: size, epsilon: epsilon),
                        .init(bias: .required)),
                    feedForward: try FeedForward(
                        config, w["mlp"],
                        norm: try w.norm("post_attention_layernorm", size: size, epsilon: epsilon))
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
                layer.feedForward.add(to: x, context)
                context.backend.release(mark)
            }
            return x
        }
    }
}
