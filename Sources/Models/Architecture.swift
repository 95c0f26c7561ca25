import AutoGLMCompute

/// One family of models: its names, its layers, the spelling of its tensors.
protocol Architecture: SendableMetatype {
    /// What `architectures` in config.json may say.
    static var names: [String] { get }
    /// `general.architecture` of GGUF files.
    static var ggufName: String { get }
    /// How the files spell the tensor names used here, which are those of transformers.
    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames
    /// Completes what configurations of this family leave out.
    static func complete(_ config: inout ModelConfig) throws(CheckpointError)
    /// Tensors a checkpoint may hold that the model has no use for; canonical names.
    static func ignores(_ tensor: String, _ config: ModelConfig) -> Bool
    static func network<B: Backend>(_ config: ModelConfig, _ weights: Weights<B>)
        throws(CheckpointError) -> any Network<B>
}

extension Architecture {
    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames {
        isGGUF ? .gguf() : .identity
    }

    static func complete(_ config: inout ModelConfig) {}

    static func ignores(_ tensor: String, _ config: ModelConfig) -> Bool {
        isRotaryBuffer(tensor)
    }
}

/// Old checkpoints carry the rotary frequencies, which follow from the configuration.
func isRotaryBuffer(_ tensor: String) -> Bool {
    tensor.hasSuffix("rotary_emb.inv_freq") || tensor.hasSuffix("rotary_pos_emb.inv_freq")
}

/// All architectures: one line each.
let architectures: [any Architecture.Type] = [
    GLM.self,
    GLM4.self,
    GLM4MoE.self,
    Llama.self,
    Qwen2.self,
    Qwen3.self,
]

/// - Throws: ``CheckpointError/unknownArchitecture(name:file:known:)``
func architecture(of config: ModelConfig, isGGUF: Bool)
    throws(CheckpointError) -> any Architecture.Type
{
    for candidate in architectures {
        let names = isGGUF ? [candidate.ggufName] : candidate.names
        if names.contains(config.architecture) { return candidate }
    }
    throw .unknownArchitecture(
        name: config.architecture, file: config.file,
        known: isGGUF ? architectures.map { $0.ggufName } : architectures.flatMap { $0.names })
}

extension TensorNames {
    /// The names GGUF files have in common.
    /// - Parameter inside: what an architecture has besides, or spells otherwise.
    static func gguf(_ inside: [String: String] = [:]) -> TensorNames {
        TensorNames(
            layers: "blk.",
            outside: [
                "token_embd": "model.embed_tokens", "output_norm": "model.norm",
                "output": "lm_head",
            ],
            inside: [
                "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj",
                "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
                "attn_qkv": "self_attn.qkv_proj", "attn_output": "self_attn.o_proj",
                "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
                "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
                "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
            ].merging(inside) { $1 })
    }
}
