import AutoGLMCompute

/// GLM-4-9B-chat and ChatGLM3: pre-norm blocks, interleaved rotary pairs in the first half of
/// each head, gate and up projections fused. The original repositories and transformers name
/// their tensors differently; nothing else differs.
enum GLM: Architecture {
    static let names = [
        "GlmForCausalLM", "ChatGLMModel", "ChatGLMForConditionalGeneration", "chatglm",
    ]
    static let ggufName = "chatglm"
    static let defaults = ConfigDefaults(normEpsilon: 1.5625e-7, partialRotaryFactor: 0.5)
    static let pairing = RotarySpecification.Pairing.interleaved

    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames {
        if isGGUF { return .gguf(["ffn_up": "mlp.gate_up_proj"]) }
        if config.architecture == "GlmForCausalLM" { return .identity }
        return TensorNames(
            layers: "transformer.encoder.layers.",
            outside: [
                "transformer.embedding.word_embeddings": DecoderNames.embedding,
                "transformer.encoder.final_layernorm": DecoderNames.norm,
                "transformer.output_layer": DecoderNames.head,
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

    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B> {
        DecoderLayer(
            try Attention(
                config, weights["self_attn"], rotary,
                norm: try weights.norm("input_layernorm", config),
                .init(bias: .init(config.attentionBias))),
            .dense(
                try FeedForward(
                    config, weights["mlp"],
                    norm: try weights.norm("post_attention_layernorm", config))))
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
