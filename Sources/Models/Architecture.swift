import AutoGLMCompute

/// One family of models: its names, its layers, the spelling of its tensors, and what its
/// configurations leave out. What all have in common is ``Decoder``.
protocol Architecture: SendableMetatype {
    /// What `architectures` in config.json may say.
    static var names: [String] { get }
    /// `general.architecture` of GGUF files.
    static var ggufName: String { get }
    /// What transformers assumes where `config.json` is silent.
    static var defaults: ConfigDefaults { get }
    /// How rotated dimensions form pairs, unless the file layout changed their order.
    static var pairing: RotarySpecification.Pairing { get }
    /// How the files spell the tensor names used here, which are those of transformers.
    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames
    /// Completes what configurations of this family leave out.
    static func complete(_ config: inout ModelConfig) throws(CheckpointError)
    /// Tensors a checkpoint may hold that the model has no use for; canonical names.
    static func ignores(_ tensor: String, _ config: ModelConfig) -> Bool
    /// What a tensor is for; by its canonical name.
    static func role(of tensor: String) -> TensorRole
    /// - Parameter weights: of the layer alone (`model.layers.3`).
    static func layer<B: Backend>(
        _ config: ModelConfig, _ weights: Weights<B>, _ rotary: B.Rotary, _ index: Int
    ) throws(CheckpointError) -> DecoderLayer<B>
}

struct ConfigDefaults {
    var normEpsilon = 1e-6
    var partialRotaryFactor = 1.0
}

/// What those need to know of a tensor who load no layers: they count, quantise, describe.
enum TensorRole {
    case embedding
    case head
    /// Of one routed expert, or of all experts of a layer.
    case expert
    /// A norm, a bias, a matrix that every token is multiplied with.
    case other
}

extension Architecture {
    static func tensorNames(_ config: ModelConfig, isGGUF: Bool) -> TensorNames {
        isGGUF ? .gguf() : .identity
    }

    static var defaults: ConfigDefaults { ConfigDefaults() }

    static var pairing: RotarySpecification.Pairing { .halves }

    static func complete(_ config: inout ModelConfig) {}

    static func role(of tensor: String) -> TensorRole { DecoderNames.role(of: tensor) }

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

/// Found before anything else is read: another architecture has other keys.
/// - Parameter file: where `name` stands; for the message.
/// - Throws: ``CheckpointError/unknownArchitecture(name:file:known:)``
func architecture(named name: String, isGGUF: Bool, file: String)
    throws(CheckpointError) -> any Architecture.Type
{
    for candidate in architectures {
        let names = isGGUF ? [candidate.ggufName] : candidate.names
        if names.contains(name) { return candidate }
    }
    throw .unknownArchitecture(
        name: name, file: file,
        known: isGGUF ? architectures.map { $0.ggufName } : architectures.flatMap { $0.names })
}

extension TensorNames {
    /// The names GGUF files have in common.
    /// - Parameter inside: what an architecture has besides, or spells otherwise.
    static func gguf(_ inside: [String: String] = [:]) -> TensorNames {
        TensorNames(
            layers: "blk.",
            outside: [
                "token_embd": DecoderNames.embedding, "output_norm": DecoderNames.norm,
                "output": DecoderNames.head,
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
