import AutoGLMCompute

/// GLM-4-9B-chat and ChatGLM3: pre-norm blocks, interleaved rotary pairs in the first half of
/// each head, gate and up projections fused. The original repositories and transformers name
/// their tensors differently; nothing else differs.
enum GLM: Architecture {
    static let names = [
        "GlmForCausalLM", "ChatGLMModel", "ChatGLMForConditionalGeneration", "chatglm",
    ]
    static let ggufName = "chatglm"

    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames {
        if isGGUF { return .gguf(["ffn_up": "mlp.gate_up_proj"]) }
        if config.architecture == "GlmForCausalLM" { return .identity }
        return TensorNames(
            layers: "transformer.encoder.layers.",
            outside: [
                "transformer.embedding.word_embeddings": "model.embed_tokens",
                "transformer.encoder.final_layernorm": "model.norm",
                "transformer.output_layer": "lm_head",
            ],
            inside: [
                "input_layernorm": "input_layernorm",
                "self_attention.query_key_value": "self_attn.qkv_proj",
                "self_attention.dense": "self_attn.o_proj",
                "post_attention_layernorm": "post_attention_layernorm",
                "mlp.dense_h_to_4h": "mlp.gate_up_proj", "mlp.dense_4h_to_h": "mlp.down_proj",
            ])
    }

    static func complete(_ config: inout ModelConfig) {
        config.stopTokens += GLMTokens.turnEnds(vocabulary: config.vocabulary)
        if config.contextLength >= 131_072, config.rope.theta <= 10_000 {
            config.warnings.append(
                "rope base \(config.rope.theta) with a context of \(config.contextLength): "
                    + "glm-4-9b-chat has 5000000; it was probably converted wrongly")
        }
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
                        .init(bias: .init(config.attentionBias))),
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

/// Ids that are the same in every release of a GLM tokenizer.
enum GLMTokens {
    /// The tokens with which a turn ends beyond the end of text: `<|user|>` asks the user,
    /// `<|observation|>` asks for a tool's result. Several published configurations leave the
    /// second out, and then a tool call never ends.
    static func turnEnds(vocabulary: Int) -> [Int] {
        switch vocabulary {
        case 151_552: [151_336, 151_338]
        case 65_024: [64_795, 64_797]
        default: []
        }
    }
}
