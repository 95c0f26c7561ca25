import AutoGLMCompute

/// GLM-4-0414 and Z1, 9B and 32B: a norm before and after each branch, interleaved rotary pairs
/// in the first half of each head. The names mislead: `post_attention_layernorm` stands before
/// the feed-forward block, the two others after their branch.
enum GLM4: Architecture {
    static let names = ["Glm4ForCausalLM"]
    static let ggufName = "glm4"

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
            let rotary = try weights.rotary(config, pairing: .interleaved)
            (embedding, head) = try weights.embeddingAndHead(
                config, table: "model.embed_tokens", head: "lm_head")
            layers = try weights["model"].layers(config.layers) { _, w throws(CheckpointError) in
                (
                    attention: try Attention(
                        config, w["self_attn"], rotary,
                        norm: try w.norm("input_layernorm", size: size, epsilon: epsilon),
                        postNorm: try w.norm(
                            "post_self_attn_layernorm", size: size, epsilon: epsilon),
                        .init(bias: .init(config.attentionBias))),
                    feedForward: try FeedForward(
                        config, w["mlp"],
                        norm: try w.norm("post_attention_layernorm", size: size, epsilon: epsilon),
                        postNorm: try w.norm("post_mlp_layernorm", size: size, epsilon: epsilon))
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
