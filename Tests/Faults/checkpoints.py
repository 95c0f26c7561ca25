"""Writes tiny checkpoints, right ones and, by way of the arguments, wrong ones."""

import json
import os
import random
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
HIDDEN, HEADS, KV_HEADS, FEED, LAYERS, CONTEXT = 32, 4, 2, 96, 2, 256


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, content):
    """A GGUF value, its type in front."""
    if kind == STRING:
        return struct.pack("<I", kind) + text(content)
    if kind == ARRAY:
        inner, items = content
        body = b"".join(value(inner, item)[4:] for item in items)
        return struct.pack("<IIQ", kind, inner, len(items)) + body
    letter = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B",
              U64: "Q", I64: "q", F64: "d"}[kind]
    return struct.pack("<I" + letter, kind, content)


def floats(shape, seed, scale=0.2, mean=0.0):
    generator = random.Random(seed)
    count = 1
    for size in shape:
        count *= size
    return struct.pack(f"<{count}f", *(mean + generator.gauss(0, scale) for _ in range(count)))


TOKENS = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", "a", "b"]
VOCABULARY = len(TOKENS)


def tensors(names):
    """Name and shape (outermost first) of a small Llama's tensors; `names`: GGUF or HF."""
    gguf = names == "gguf"
    yield ("token_embd.weight" if gguf else "model.embed_tokens.weight"), (VOCABULARY, HIDDEN)
    yield ("output.weight" if gguf else "lm_head.weight"), (VOCABULARY, HIDDEN)
    yield ("output_norm.weight" if gguf else "model.norm.weight"), (HIDDEN,)
    kv = HIDDEN // HEADS * KV_HEADS
    for layer in range(LAYERS):
        path = f"blk.{layer}." if gguf else f"model.layers.{layer}."
        for gguf_name, name, shape in (
            ("attn_norm", "input_layernorm", (HIDDEN,)),
            ("ffn_norm", "post_attention_layernorm", (HIDDEN,)),
            ("attn_q", "self_attn.q_proj", (HIDDEN, HIDDEN)),
            ("attn_k", "self_attn.k_proj", (kv, HIDDEN)),
            ("attn_v", "self_attn.v_proj", (kv, HIDDEN)),
            ("attn_output", "self_attn.o_proj", (HIDDEN, HIDDEN)),
            ("ffn_gate", "mlp.gate_proj", (FEED, HIDDEN)),
            ("ffn_up", "mlp.up_proj", (FEED, HIDDEN)),
            ("ffn_down", "mlp.down_proj", (HIDDEN, FEED)),
        ):
            yield path + (gguf_name if gguf else name) + ".weight", shape


class GGUF:
    """A valid file; change `metadata` and `tensors` to make it invalid."""

    def __init__(self):
        self.metadata = {
            "general.architecture": (STRING, "llama"),
            "general.alignment": (U32, 32),
            "llama.block_count": (U32, LAYERS), "llama.context_length": (U32, CONTEXT),
            "llama.embedding_length": (U32, HIDDEN), "llama.feed_forward_length": (U32, FEED),
            "llama.attention.head_count": (U32, HEADS),
            "llama.attention.head_count_kv": (U32, KV_HEADS),
            "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5),
            "llama.rope.freq_base": (F32, 10_000.0),
            "llama.rope.dimension_count": (U32, HIDDEN // HEADS),
            "tokenizer.ggml.model": (STRING, "llama"),
            "tokenizer.ggml.tokens": (ARRAY, (STRING, TOKENS)),
            "tokenizer.ggml.scores": (ARRAY, (F32, [-float(i) for i in range(VOCABULARY)])),
            "tokenizer.ggml.token_type": (
                ARRAY, (I32, [2, 3, 3] + [6] * 256 + [1] * 3)),
            "tokenizer.ggml.bos_token_id": (U32, 1), "tokenizer.ggml.eos_token_id": (U32, 2),
            "tokenizer.ggml.unknown_token_id": (U32, 0),
        }
        #: Name, dimensions (innermost first, as in the file), type, offset, bytes.
        self.tensors = []
        offset = 0
        for index, (name, shape) in enumerate(tensors("gguf")):
            data = floats(shape, index, mean=1.0 if len(shape) == 1 else 0.0)
            self.tensors.append([name, list(reversed(shape)), 0, offset, data])
            offset += len(data) + -len(data) % 32
        self.version, self.counts = 3, None

    def header(self):
        count = self.counts or (len(self.tensors), len(self.metadata))
        out = b"GGUF" + struct.pack("<IQQ", self.version, *count)
        for key, entry in self.metadata.items():
            out += text(key) + (entry if isinstance(entry, bytes) else value(*entry))
        for name, dimensions, kind, offset, _ in self.tensors:
            out += text(name) + struct.pack("<I", len(dimensions))
            out += b"".join(struct.pack("<Q", size % (1 << 64)) for size in dimensions)
            out += struct.pack("<IQ", kind, offset)
        return out

    def file(self):
        out = self.header()
        out += b"\0" * (-len(out) % 32)
        for *_, data in self.tensors:
            out += data + b"\0" * (-len(data) % 32)
        return out


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN, "intermediate_size": FEED, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
    "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "hidden_act": "silu", "tie_word_embeddings": False, "eos_token_id": 2, "bos_token_id": 1,
}
TOKENIZER = {
    "model": {"type": "BPE", "vocab": {token: index for index, token in enumerate(TOKENS)},
              "merges": []},
    "added_tokens": [], "pre_tokenizer": None, "decoder": None,
}


def safetensors_parts():
    """The members of a valid header, and the data."""
    header, data = {}, b""
    for index, (name, shape) in enumerate(tensors("hf")):
        part = floats(shape, index, mean=1.0 if len(shape) == 1 else 0.0)
        header[name] = {
            "dtype": "F32", "shape": list(shape),
            "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    return header, data


def safetensors(header, data, length=None):
    top = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(top) if length is None else length) + top + data


def write_directory(path, weights, config=None, tokenizer=None, name="model.safetensors"):
    """A model directory; `config` and `tokenizer` may be bytes that are no JSON."""
    os.makedirs(path, exist_ok=True)
    for file, content in (
        ("config.json", CONFIG if config is None else config),
        ("tokenizer.json", TOKENIZER if tokenizer is None else tokenizer), (name, weights),
    ):
        with open(os.path.join(path, file), "wb") as out:
            out.write(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
