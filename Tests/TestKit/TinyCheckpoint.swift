import Foundation

/// Writes small safetensors checkpoints with random weights.
public struct TinyCheckpoint: Sendable {
    public struct Tensor: Sendable {
        public var dtype: String
        public var shape: [Int]
        public var bytes: [UInt8]
        public init(dtype: String, shape: [Int], bytes: [UInt8]) {
            self.dtype = dtype
            self.shape = shape
            self.bytes = bytes
        }
    }

    /// The members of `config.json`, values as JSON text.
    public var config: [String: String]
    public var tensors: [String: Tensor] = [:]

    public init(config: [String: String]) { self.config = config }

    /// Adds an f32 tensor of normal values times `scale`.
    public mutating func addRandom(
        _ name: String, _ shape: [Int], scale: Float, mean: Float = 0,
        _ generator: inout SplitMix64
    ) {
        var bytes: [UInt8] = []
        for _ in 0..<shape.reduce(1, *) {
            let bits = (mean + generator.nextNormal() * scale).bitPattern
            for shift in stride(from: 0, to: 32, by: 8) {
                bytes.append(UInt8(bits >> shift & 0xFF))
            }
        }
        tensors[name] = Tensor(dtype: "F32", shape: shape, bytes: bytes)
    }

    /// A Llama of two layers: vocabulary 64, hidden 32, 4 heads over 2 key-value heads.
    public static func llama(seed: UInt64 = 1) -> TinyCheckpoint {
        var generator = SplitMix64(seed: seed)
        var result = TinyCheckpoint(config: [
            "architectures": "[\"LlamaForCausalLM\"]", "vocab_size": "64", "hidden_size": "32",
            "intermediate_size": "96", "num_hidden_layers": "2", "num_attention_heads": "4",
            "num_key_value_heads": "2", "max_position_embeddings": "256", "rms_norm_eps": "1e-5",
            "rope_theta": "10000.0", "hidden_act": "\"silu\"", "tie_word_embeddings": "false",
            "eos_token_id": "2", "bos_token_id": "1",
        ])
        result.addRandom("model.embed_tokens.weight", [64, 32], scale: 1, &generator)
        result.addRandom("lm_head.weight", [64, 32], scale: 0.5, &generator)
        result.addRandom("model.norm.weight", [32], scale: 0.1, mean: 1, &generator)
        for layer in 0..<2 {
            let path = "model.layers.\(layer)."
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                result.addRandom(path + norm + ".weight", [32], scale: 0.1, mean: 1, &generator)
            }
            for (name, shape) in [
                ("self_attn.q_proj", [32, 32]), ("self_attn.k_proj", [16, 32]),
                ("self_attn.v_proj", [16, 32]), ("self_attn.o_proj", [32, 32]),
                ("mlp.gate_proj", [96, 32]), ("mlp.up_proj", [96, 32]),
                ("mlp.down_proj", [32, 96]),
            ] {
                result.addRandom(path + name + ".weight", shape, scale: 0.2, &generator)
            }
        }
        return result
    }

    /// The bytes of a safetensors file with all tensors.
    public func safetensors() -> [UInt8] {
        var header: [String] = []
        var data: [UInt8] = []
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            header.append(
                "\"\(name)\":{\"dtype\":\"\(tensor.dtype)\",\"shape\":\(tensor.shape),"
                    + "\"data_offsets\":[\(data.count),\(data.count + tensor.bytes.count)]}")
            data += tensor.bytes
        }
        let text = Array(("{" + header.joined(separator: ",") + "}").utf8)
        let length = (0..<8).map { UInt8(UInt64(text.count) >> (8 * UInt64($0)) & 0xFF) }
        return length + text + data
    }

    public func configText() -> String {
        "{" + config.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }
            .joined(separator: ", ") + "}"
    }

    /// Writes `config.json` and `model.safetensors` into `directory`, which is made.
    public func write(to directory: URL) throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try Data(configText().utf8).write(to: directory.appendingPathComponent("config.json"))
        try Data(safetensors()).write(to: directory.appendingPathComponent("model.safetensors"))
    }
}

/// A directory for one test; it is removed when the value goes away.
public final class TemporaryDirectory: Sendable {
    public let url: URL
    public var path: String { url.path }

    public init() throws {
        url = FileManager.default.temporaryDirectory
            .appendingPathComponent("autoglm-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: url) }
}
