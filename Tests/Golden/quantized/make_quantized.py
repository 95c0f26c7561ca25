"""Makes layers.json: one linear layer [32, 96] quantised in each supported way, and the values it
stands for. compressed-tensors' own packing is used (PyPI, 0.20.0); GPTQ and AWQ are packed as
AutoGPTQ 0.7.1 and AutoAWQ 0.2.9 do. Run in this folder; needs torch."""
import base64
import json

import numpy as np
import torch

ROWS, COLUMNS, GROUP = 32, 96, 32
generator = np.random.default_rng(20261123)


def library_packing():
    import compressed_tensors.compressors.pack_quantized.helpers as helpers
    return helpers.pack_to_int32


def tensor(array, dtype):
    array = np.ascontiguousarray(array)
    return {"dtype": dtype, "shape": list(array.shape),
            "data": base64.b64encode(array.tobytes()).decode()}


def bf16(values):
    """Rounded to bf16: the stored halves, and the values."""
    t = torch.from_numpy(values.astype(np.float32)).to(torch.bfloat16)
    return t.view(torch.int16).numpy(), t.float().numpy()


def pack_columns(q, bits):
    """[columns, rows]: 32 / bits columns to a word, the first in the low bits."""
    n = 32 // bits
    words = np.zeros((q.shape[0] // n, q.shape[1]), np.uint32)
    for j in range(n):
        words |= q[j::n].astype(np.uint32) << np.uint32(bits * j)
    return words.view(np.int32)


def pack_rows(z, order, bits=4):
    n = 32 // bits
    words = np.zeros((z.shape[0], z.shape[1] // n), np.uint32)
    for i in range(n):
        words |= z[:, order[i]::n].astype(np.uint32) << np.uint32(bits * i)
    return words.view(np.int32)


cases = []


def case(name, config, tensors, expected, kind):
    cases.append({"name": name, "config": config, "tensors": tensors, "stored": kind,
                  "expected": base64.b64encode(expected.astype(np.float32).tobytes()).decode()})


def gptq(name, bits, symmetric, shuffled, v2=False):
    groups = COLUMNS // GROUP
    q = generator.integers(0, 1 << bits, (ROWS, COLUMNS))
    zero = np.full((ROWS, groups), 1 << (bits - 1)) if symmetric else \
        generator.integers(1, 1 << bits, (ROWS, groups))
    scale = generator.uniform(0.001, 0.02, (ROWS, groups)).astype(np.float16)
    index = np.arange(COLUMNS) // GROUP
    if shuffled:
        index = generator.permutation(index)
    w = scale.astype(np.float32)[:, index] * (q - zero[:, index]).astype(np.float32)
    stored = zero if v2 else zero - 1
    straight = list(range(32 // bits))
    case(name, {"quant_method": "gptq", "bits": bits, "group_size": GROUP, "desc_act": shuffled,
                "sym": symmetric, "checkpoint_format": "gptq_v2" if v2 else "gptq"},
         {"qweight": tensor(pack_columns(q.T, bits), "I32"),
          "qzeros": tensor(pack_rows(stored.T, straight, bits), "I32"),
          "scales": tensor(scale.T, "F16"), "g_idx": tensor(index.astype(np.int32), "I32")}, w,
         "f32" if shuffled or (bits == 8 and not symmetric) else
         "q4_0" if bits == 4 and symmetric else "q8_0")


def awq():
    groups = COLUMNS // GROUP
    q = generator.integers(0, 16, (ROWS, COLUMNS))
    zero = generator.integers(0, 16, (ROWS, groups))
    scale = generator.uniform(0.001, 0.02, (ROWS, groups)).astype(np.float16)
    index = np.arange(COLUMNS) // GROUP
    w = scale.astype(np.float32)[:, index] * (q - zero[:, index]).astype(np.float32)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    case("awq", {"quant_method": "awq", "bits": 4, "group_size": GROUP, "zero_point": True,
                 "version": "gemm"},
         {"qweight": tensor(pack_rows(q.T, order), "I32"),
          "qzeros": tensor(pack_rows(zero.T, order), "I32"), "scales": tensor(scale.T, "F16")},
         w, "q8_0")


def compressed(name, bits, symmetric, strategy, packed, exact=True):
    pack = library_packing()
    groups = {"group": COLUMNS // GROUP, "channel": 1}[strategy]
    half = 1 << (bits - 1)
    q = generator.integers(-half, half, (ROWS, COLUMNS)).astype(np.int8)
    zero = np.zeros((ROWS, groups), np.int8) if symmetric else \
        generator.integers(-half, half, (ROWS, groups)).astype(np.int8)
    raw = generator.uniform(0.001, 0.02, (ROWS, groups)).astype(np.float32)
    stored, scale = bf16(raw) if exact else (raw, raw)
    index = np.arange(COLUMNS) // (COLUMNS // groups)
    w = scale[:, index] * (q.astype(np.int32) - zero[:, index]).astype(np.float32)
    tensors = {"weight_scale": tensor(stored, "BF16" if exact else "F32")}
    if packed:
        tensors["weight_packed"] = tensor(pack(torch.from_numpy(q), bits).numpy(), "I32")
        tensors["weight_shape"] = tensor(np.array([ROWS, COLUMNS], np.int64), "I64")
        if not symmetric:
            tensors["weight_zero_point"] = tensor(
                pack(torch.from_numpy(zero), bits, packed_dim=0).numpy(), "I32")
    else:
        tensors["weight"] = tensor(q, "I8")
        if not symmetric:
            tensors["weight_zero_point"] = tensor(zero, "I8")
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": strategy,
               "group_size": GROUP if strategy == "group" else None}
    case(name, {"quant_method": "compressed-tensors",
                "format": "pack-quantized" if packed else "int-quantized",
                "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
                "ignore": ["lm_head"]}, tensors, w,
         "f32" if not exact or (bits == 8 and not symmetric) else
         "q4_0" if bits == 4 and symmetric else "q8_0")


gptq("gptq-4-symmetric", 4, True, False)
gptq("gptq-4-asymmetric", 4, False, False)
gptq("gptq-4-asymmetric-v2", 4, False, False, v2=True)
gptq("gptq-4-reordered", 4, False, True)
gptq("gptq-8-symmetric", 8, True, False)
awq()
compressed("compressed-4-group", 4, True, "group", True)
compressed("compressed-4-group-asymmetric", 4, False, "group", True)
compressed("compressed-4-group-f32-scales", 4, True, "group", True, exact=False)
compressed("compressed-8-packed-channel", 8, True, "channel", True)
compressed("compressed-8-channel", 8, True, "channel", False)
compressed("compressed-8-channel-asymmetric", 8, False, "channel", False)
json.dump(cases, open("layers.json", "w"))
