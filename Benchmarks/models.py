"""Makes models of real shapes with random weights, as GGUF files. Standard library only.

    python3 Benchmarks/models.py llama-1b:q4_0 glm4-9b:q4_0 tiny:q8_0

Prints one path a line. The same seed gives the same bytes, and a file that is already there is
left alone. Blocks are drawn directly in the format asked for, 16 MiB at a time, so that 5 GB take
seconds and little memory. Scales are set so that every matrix has entries of standard deviation
1/sqrt(columns) and mean 0: activations stay near 1 through any number of layers.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_DIRECTORY = ROOT / ".build" / "benchmarks" / "models"
CHUNK = 16 << 20
ALIGNMENT = 32


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; `architecture` is GGUF's name for how they are put together."""

    architecture: str
    hidden: int
    layers: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int


SHAPES = {
    "llama-1b": Shape("llama", 2048, 16, 8192, 32, 8, 64, 32000, 8192),
    "glm4-9b": Shape("glm4", 4096, 40, 13696, 32, 2, 128, 151552, 131072),
    "tiny": Shape("llama", 384, 8, 1024, 6, 6, 64, 4096, 8192),
}
ROTATED_DIMS = 64


@dataclass(frozen=True)
class Block:
    """How a type stores weights: `values` of them in `size` bytes.

    Each scale is the offset of a half-precision number and its value where the weights shall have
    standard deviation 1. Half of the scales are made negative if `signed`: in types whose integers
    reach one further down than up, that is what brings the mean to 0.
    """

    code: int
    values: int
    size: int
    scales: tuple[tuple[int, float], ...]
    signed: bool = False


BLOCKS = {
    "f32": Block(0, 1, 4, ()),
    "q4_0": Block(2, 32, 18, ((0, 1 / 4.64),), signed=True),
    "q5_0": Block(6, 32, 22, ((0, 1 / 9.25),), signed=True),
    "q8_0": Block(8, 32, 34, ((0, 1 / 73.5),)),
    # Weight = d·scale·q - dmin·min: scale and min 0…63, q 0…15, so dmin = 7.5·d centres it.
    "q4_k": Block(12, 256, 144, ((0, 1 / 258.3), (2, 7.5 / 258.3))),
    "q6_k": Block(14, 256, 210, ((208, 1 / 1366),)),
    "bf16": Block(30, 1, 2, ()),
}
# Formats of whole files, with GGUF's number for each.
FORMATS = {"q4_0": 2, "q8_0": 7, "q4_k_m": 15, "bf16": 32}


@dataclass(frozen=True)
class Tensor:
    """A matrix of random weights, or a vector filled with one value (`rows` is 0)."""

    name: str
    rows: int
    columns: int
    type: str
    value: float = 1.0

    @property
    def bytes(self) -> int:
        block = BLOCKS[self.type]
        return max(self.rows, 1) * self.columns // block.values * block.size


class Unsupported(Exception):
    """A model that cannot be made; the text says why."""


def tensor_type(shape: Shape, file_format: str, name: str, layer: int) -> str:
    """The type llama.cpp's quantiser would give this matrix."""
    rows_fit = shape.hidden % 256 == 0
    if file_format == "q4_0":
        return ("q6_k" if rows_fit else "q8_0") if name == "output" else "q4_0"
    if file_format != "q4_k_m":
        return file_format
    if not rows_fit:
        raise Unsupported(f"q4_k_m needs rows of a multiple of 256, this has {shape.hidden}")
    if name == "output":
        return "q6_k"
    if name not in ("attn_v", "ffn_down"):
        return "q4_k"
    eighth = shape.layers // 8
    finer = (
        layer < eighth or layer >= 7 * shape.layers // 8 or (layer - eighth) % 3 == 2
    )
    if name == "ffn_down" and shape.feed_forward % 256:
        return "q8_0" if finer else "q5_0"
    return "q6_k" if finer else "q4_k"


def tensors(shape: Shape, file_format: str) -> Iterator[Tensor]:
    """All tensors of a model in the order of the file."""
    is_glm = shape.architecture == "glm4"
    hidden, queries = shape.hidden, shape.heads * shape.head_dim
    keys = shape.kv_heads * shape.head_dim

    def matrix(name: str, rows: int, columns: int, layer: int | None = None) -> Tensor:
        path = name if layer is None else f"blk.{layer}.{name}"
        chosen = tensor_type(shape, file_format, name, layer or 0)
        return Tensor(f"{path}.weight", rows, columns, chosen)

    def vector(name: str, length: int, value: float = 1.0) -> Tensor:
        return Tensor(name, 0, length, "f32", value)

    yield matrix("token_embd", shape.vocabulary, hidden)
    yield vector("output_norm.weight", hidden)
    yield matrix("output", shape.vocabulary, hidden)
    for layer in range(shape.layers):
        prefix = f"blk.{layer}"
        yield vector(f"{prefix}.attn_norm.weight", hidden)
        yield vector(f"{prefix}.ffn_norm.weight", hidden)
        if is_glm:
            yield vector(f"{prefix}.post_attention_norm.weight", hidden, 0.3)
            yield vector(f"{prefix}.post_ffw_norm.weight", hidden, 0.3)
        for name, rows in (("attn_q", queries), ("attn_k", keys), ("attn_v", keys)):
            yield matrix(name, rows, hidden, layer)
            if is_glm:
                yield vector(f"{prefix}.{name}.bias", rows, 0.01)
        yield matrix("attn_output", hidden, queries, layer)
        if is_glm:  # gate and up are one matrix
            yield matrix("ffn_up", 2 * shape.feed_forward, hidden, layer)
        else:
            yield matrix("ffn_gate", shape.feed_forward, hidden, layer)
            yield matrix("ffn_up", shape.feed_forward, hidden, layer)
        yield matrix("ffn_down", hidden, shape.feed_forward, layer)


class RandomBlocks:
    """Draws blocks from one pool of random bytes, at places given by each tensor's name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.pool = random.Random(seed).randbytes(2 * CHUNK)

    def chunks(self, tensor: Tensor) -> Iterator[bytes]:
        if tensor.rows == 0:
            yield struct.pack("<f", tensor.value) * tensor.columns
            return
        digest = hashlib.sha256(f"{self.seed} {tensor.name}".encode()).digest()
        generator = random.Random(digest)
        block = BLOCKS[tensor.type]
        deviation = 1 / math.sqrt(tensor.columns)
        left = tensor.bytes
        while left > 0:
            size = min(left, CHUNK // block.size * block.size)
            start = generator.randrange(len(self.pool) - size + 1)
            chunk = bytearray(self.pool[start : start + size])
            shape_values(chunk, tensor.type, deviation)
            yield chunk
            left -= size


def shape_values(chunk: bytearray, type_name: str, deviation: float) -> None:
    """Turns random bytes into blocks whose weights have the given standard deviation."""
    block = BLOCKS[type_name]
    if type_name == "bf16":
        # A free sign, mantissa and lowest bit of the exponent: magnitudes from 2^k to 2^(k+2),
        # whose root mean square is 2.415 · 2^k.
        exponent = round((math.log2(deviation / 2.415) + 127) / 2)
        chunk[1::2] = chunk[1::2].translate(keep_sign(exponent))
    elif type_name == "q8_0":
        # Quantisers never write -128, and kernels may rely on it.
        chunk[:] = chunk.translate(bytes([*range(128), 127, *range(129, 256)]))
    for offset, unit in block.scales:
        low, high = struct.pack("<e", unit * deviation)
        count = len(chunk) // block.size
        chunk[offset :: block.size] = bytes([low]) * count
        signs = chunk[offset + 1 :: block.size]
        chunk[offset + 1 :: block.size] = (
            signs.translate(keep_sign(high)) if block.signed else bytes([high]) * count
        )


def keep_sign(byte: int) -> bytes:
    """A table that replaces a byte by this one, except for its highest bit."""
    return bytes(value & 0x80 | byte for value in range(256))


# The types of GGUF's metadata.
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, values: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + values


def vocabulary(size: int) -> tuple[list[bytes], list[int]]:
    """A SentencePiece-like vocabulary and its token types: three specials, all bytes, and then
    characters, each a token of its own."""
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % byte for byte in range(256)]
    types = [2, 3, 3] + [6] * 256
    characters = [*range(0x4E00, 0x9FA0), *range(0xAC00, 0xD7A0)]
    tokens += [chr(code).encode() for code in characters[: size - len(tokens)]]
    tokens += [b"\xe2\x96\x81w%d" % index for index in range(len(tokens), size)]
    return tokens, types + [1] * (size - len(types))


def metadata(name: str, shape: Shape, file_format: str) -> list[bytes]:
    """The entries that readers need, tokenizer and chat template included."""
    numbers = {
        "context_length": shape.context,
        "embedding_length": shape.hidden,
        "block_count": shape.layers,
        "feed_forward_length": shape.feed_forward,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "rope.dimension_count": ROTATED_DIMS,
        "vocab_size": shape.vocabulary,
    }
    decimals = {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0}
    tokens, types = vocabulary(shape.vocabulary)
    scores = struct.pack(f"<{len(tokens)}f", *(-float(index) for index in range(len(tokens))))
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
    prefix = shape.architecture
    return [
        entry("general.architecture", STRING, text(prefix)),
        entry("general.name", STRING, text(f"{name} of random weights")),
        entry("general.file_type", UINT32, struct.pack("<I", FORMATS[file_format])),
        *(entry(f"{prefix}.{k}", UINT32, struct.pack("<I", v)) for k, v in numbers.items()),
        *(entry(f"{prefix}.{k}", FLOAT32, struct.pack("<f", v)) for k, v in decimals.items()),
        entry("tokenizer.ggml.model", STRING, text("llama")),
        entry("tokenizer.ggml.pre", STRING, text("default")),
        entry(
            "tokenizer.ggml.tokens",
            ARRAY,
            array(STRING, len(tokens), b"".join(text(token) for token in tokens)),
        ),
        entry("tokenizer.ggml.scores", ARRAY, array(FLOAT32, len(tokens), scores)),
        entry(
            "tokenizer.ggml.token_type",
            ARRAY,
            array(INT32, len(types), struct.pack(f"<{len(types)}i", *types)),
        ),
        entry("tokenizer.ggml.bos_token_id", UINT32, struct.pack("<I", 1)),
        entry("tokenizer.ggml.eos_token_id", UINT32, struct.pack("<I", 2)),
        entry("tokenizer.ggml.unknown_token_id", UINT32, struct.pack("<I", 0)),
        entry("tokenizer.ggml.add_bos_token", BOOL, b"\x01"),
        entry("tokenizer.chat_template", STRING, text(template)),
    ]


def padding(size: int) -> int:
    return -size % ALIGNMENT


def header(entries: list[bytes], layout: list[Tensor]) -> bytes:
    """Everything before the weights, padded."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(layout), len(entries)), *entries]
    offset = 0
    for tensor in layout:
        sizes = [tensor.columns, tensor.rows] if tensor.rows else [tensor.columns]
        parts.append(text(tensor.name) + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes))
        parts.append(struct.pack("<IQ", BLOCKS[tensor.type].code, offset))
        offset += tensor.bytes + padding(tensor.bytes)
    data = b"".join(parts)
    return data + bytes(padding(len(data)))


def write(file: BinaryIO, name: str, file_format: str, seed: int) -> None:
    shape = SHAPES[name]
    layout = list(tensors(shape, file_format))
    blocks = RandomBlocks(seed)
    file.write(header(metadata(name, shape, file_format), layout))
    for tensor in layout:
        for chunk in blocks.chunks(tensor):
            file.write(chunk)
        file.write(bytes(padding(tensor.bytes)))


def split(model: str) -> tuple[str, str]:
    """The shape and the format of a name such as `llama-1b:q4_0`."""
    name, _, file_format = model.partition(":")
    if name not in SHAPES or file_format not in FORMATS:
        raise Unsupported(
            f"{model}: a model is SHAPE:FORMAT, the shape one of {', '.join(SHAPES)}, "
            f"the format one of {', '.join(FORMATS)}"
        )
    return name, file_format


def path_of(model: str, directory: Path, seed: int) -> Path:
    name, file_format = split(model)
    return directory / f"{name}-{file_format}-seed{seed}.gguf"


def make(model: str, directory: Path = DEFAULT_DIRECTORY, seed: int = 1) -> Path:
    """Makes a model unless it is there.

    Raises Unsupported for names and formats that do not exist, OSError where writing fails.
    """
    path = path_of(model, directory, seed)
    if path.exists():
        return path
    directory.mkdir(parents=True, exist_ok=True)
    # A file has its name only once it is complete.
    unfinished = path.with_suffix(f".{os.getpid()}.part")
    try:
        with open(unfinished, "wb") as file:
            write(file, *split(model), seed)
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Make GGUF models of real shapes with random weights.",
        epilog=f"Shapes: {', '.join(SHAPES)}. Formats: {', '.join(FORMATS)}.",
    )
    parser.add_argument("models", nargs="+", metavar="SHAPE:FORMAT")
    parser.add_argument("--directory", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        for model in options.models:
            print(make(model, options.directory, options.seed), flush=True)
    except (Unsupported, OSError) as error:
        print(f"models.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
