import AutoGLMChat
import AutoGLMModels
import AutoGLMText
import TestKit

/// A file as `serve --model FILE.gguf` reads it: head, configuration, tokenizer, templates.
let ggufTarget: FuzzTarget = {
    let scratch = ScratchDirectory("gguf")
    return FuzzTarget("gguf", seeds: ggufSeeds(), words: ggufWords) { bytes in
        let source = try ModelSource(scratch.write("model.gguf", bytes))
        look(at: source)
        let text = try ModelText(source)
        _ = try text.encode("Hello <|user|> 你好 123", addSpecial: true)
    }
}()

/// Configuration, zero byte, safetensors; without a zero byte it is all one safetensors file
/// beside a configuration of ours.
let safetensorsTarget: FuzzTarget = {
    let scratch = ScratchDirectory("safetensors")
    return FuzzTarget("safetensors", seeds: safetensorsSeeds(), words: safetensorsWords) { bytes in
        // The length of a header below 16 MiB ends in zeros: the mark is the brace before one.
        var config = Array(smallConfig.utf8)
        var weights = bytes[...]
        if bytes.first == UInt8(ascii: "{"), let end = bytes.firstIndex(of: 0) {
            config = Array(bytes[..<end])
            weights = bytes[(end + 1)...]
        }
        scratch.write("config.json", config)
        scratch.write("model.safetensors", weights)
        look(at: try ModelSource(scratch.path))
    }
}()

private func look(at source: ModelSource) {
    let inspection = ModelInspection(source)
    _ = inspection.memory(concurrency: 4)
    promise(inspection.info.vocabulary > 0, "a model without a vocabulary")
    for warning in inspection.info.warnings { FuzzTarget.checkMessage(warning, of: "warning") }
}

private let smallConfig = """
    {"architectures":["LlamaForCausalLM"],"hidden_size":8,"intermediate_size":8,
    "num_attention_heads":2,"num_hidden_layers":1,"vocab_size":4,"rms_norm_eps":1e-5,
    "num_key_value_heads":1,"max_position_embeddings":16,"tie_word_embeddings":true}
    """

private let safetensorsWords = [
    #""dtype":"F32""#, #""dtype":"BF16""#, #""shape":["#, #""data_offsets":[0,"#, "__metadata__",
    #"{"dtype":"F16","shape":[0],"data_offsets":[0,0]}"#, "18446744073709551615", "-1", "1e400",
    #""quantization_config":{"quant_method":"autoglm"}"#, #""rope_scaling":{"type":"yarn"}"#,
    "model.embed_tokens.weight", "GlmForCausalLM", "Glm4MoeForCausalLM", "Qwen3ForCausalLM",
    "ChatGLMModel", "num_hidden_layers", "vocab_size", "eos_token_id", "[[", "{\"", "\\u0000",
    "n_routed_experts", "head_dim", "partial_rotary_factor", "rope_theta",
]

private func safetensors(_ header: String, data: Int) -> [UInt8] {
    let bytes = Array(header.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: bytes.count >> (8 * $0)) } + bytes
        + [UInt8](repeating: 1, count: data)
}

private func safetensorsSeeds() -> [[UInt8]] {
    let one = #"{"model.embed_tokens.weight":{"dtype":"F32","shape":[4,8],"data_offsets":[0,128]}}"#
    let norm = #"{"model.norm.weight":{"dtype":"BF16","shape":[8],"data_offsets":[0,16]},"#
        + #""__metadata__":{"format":"pt"}}"#
    let glm = """
        {"architectures":["GlmForCausalLM"],"hidden_size":8,"intermediate_size":8,"head_dim":4,
        "num_attention_heads":2,"num_hidden_layers":1,"vocab_size":4,"rms_norm_eps":1e-5,
        "num_key_value_heads":1,"max_position_embeddings":16,"eos_token_id":[1,2],
        "rope_scaling":{"rope_type":"linear","factor":2.0},"partial_rotary_factor":0.5}
        """
    let moe = """
        {"architectures":["Glm4MoeForCausalLM"],"hidden_size":8,"intermediate_size":8,
        "num_attention_heads":2,"num_hidden_layers":2,"vocab_size":4,"rms_norm_eps":1e-5,
        "num_key_value_heads":1,"max_position_embeddings":16,"n_routed_experts":2,
        "num_experts_per_tok":1,"moe_intermediate_size":4,"first_k_dense_replace":1}
        """
    return [
        safetensors(one, data: 128), safetensors(norm, data: 16), safetensors("{}", data: 0),
        Array(glm.utf8) + [0] + safetensors(one, data: 128),
        Array(moe.utf8) + [0] + safetensors(norm, data: 16),
    ]
}

private let ggufWords = [
    "general.architecture", "general.alignment", "llama", "glm4", "chatglm", "qwen2", "qwen3",
    "llama.block_count", "llama.embedding_length", "llama.attention.head_count",
    "tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type",
    "tokenizer.ggml.scores", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.chat_template",
    "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "gpt2", "chatglm-bpe",
    "token_embd.weight", "blk.0.attn_q.weight", "split.count", "split.no",
    "\u{9}\0\0\0\u{9}\0\0\0", "\u{8}\0\0\0", "GGUF\u{3}\0\0\0", "\u{1B}[31m", "\u{202E}",
]

private func ggufSeeds() -> [[UInt8]] {
    func model(_ architecture: String, _ tokenizer: [(String, GGUFWriter.Value)]) -> [UInt8] {
        var file = GGUFWriter()
        file.metadata = [
            ("general.architecture", .string(architecture)),
            ("\(architecture).block_count", .u32(1)),
            ("\(architecture).embedding_length", .u32(32)),
            ("\(architecture).feed_forward_length", .u32(32)),
            ("\(architecture).attention.head_count", .u32(2)),
            ("\(architecture).attention.head_count_kv", .u32(1)),
            ("\(architecture).attention.layer_norm_rms_epsilon", .f32(1e-5)),
            ("\(architecture).context_length", .u32(64)),
        ] + tokenizer.map { ("tokenizer.\($0.0)", $0.1) }
        file.tensors = [
            .init(
                name: "token_embd.weight", shape: [6, 32], type: 0,
                bytes: [UInt8](repeating: 0, count: 6 * 128))
        ]
        return file.file()
    }
    let bytes: [(String, GGUFWriter.Value)] = [
        ("ggml.model", .string("gpt2")), ("ggml.pre", .string("llama-bpe")),
        ("ggml.tokens", .strings(["a", "b", "ab", "Ġ", "<|end|>", "c"])),
        ("ggml.token_type", .i32s([1, 1, 1, 1, 3, 4])), ("ggml.merges", .strings(["a b"])),
        ("ggml.eos_token_id", .u32(4)), ("chat_template", .string("{{ messages[0].content }}")),
    ]
    let scored: [(String, GGUFWriter.Value)] = [
        ("ggml.model", .string("llama")), ("ggml.tokens", .strings(["<unk>", "a", "b", "ab", "▁", "<0x41>"])),
        ("ggml.token_type", .i32s([2, 1, 1, 1, 1, 6])),
        ("ggml.scores", .floats([0, -1, -2, -0.5, -3, 0])), ("ggml.add_bos_token", .bool(true)),
        ("ggml.bos_token_id", .u32(0)),
    ]
    var empty = GGUFWriter()
    empty.metadata = [("general.architecture", .string("llama"))]
    return [
        model("llama", bytes), model("llama", scored), model("qwen2", bytes),
        model("glm4", bytes), model("chatglm", bytes), empty.file(),
    ]
}
