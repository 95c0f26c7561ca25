"""Writes the Hugging Face layout (bf16) and checks it: python export.py RUN/state.pt MODEL_DIR [--average RUN/older.pt]

The check loads the files with transformers in f32 and compares logits with the training model
holding the same bf16-rounded weights."""

import argparse
import json
import os

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from model import MiniConfig, MiniGLM


def write(state, config, out):
    state = dict(state)
    state["lm_head.weight"] = torch.addmm(state["lm_head.weight"], state["model.embed_tokens.weight"], state.pop("copy_map"))
    tensors = {k: v.to(torch.bfloat16).contiguous() for k, v in state.items()}
    save_file(tensors, f"{out}/model.safetensors", metadata={"format": "pt"})
    os.chmod(f"{out}/model.safetensors", 0o644)
    c = MiniConfig(**config)
    tokenizer = Tokenizer.from_file(f"{out}/tokenizer.json")
    stops = [tokenizer.token_to_id(t) for t in ("<|endoftext|>", "<|user|>", "<|observation|>")]
    settings = {
        "architectures": ["GlmForCausalLM"], "model_type": "glm", "attention_bias": True, "attention_dropout": 0.0,
        "dtype": "bfloat16", "eos_token_id": stops, "pad_token_id": stops[0], "head_dim": c.head_dim, "hidden_act": "silu",
        "hidden_size": c.hidden_size, "initializer_range": 0.02, "intermediate_size": c.intermediate_size,
        "max_position_embeddings": c.max_position_embeddings, "num_attention_heads": c.num_attention_heads,
        "num_hidden_layers": c.num_hidden_layers, "num_key_value_heads": c.num_key_value_heads,
        "partial_rotary_factor": 0.5, "rms_norm_eps": c.rms_norm_eps, "rope_theta": c.rope_theta,
        "tie_word_embeddings": False, "use_cache": True, "vocab_size": c.vocab_size}
    generation = {"do_sample": False, "eos_token_id": stops, "pad_token_id": stops[0], "max_length": c.max_position_embeddings}
    for name, value in (("config", settings), ("generation_config", generation)):
        with open(f"{out}/{name}.json", "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")


def verify(out, config):
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM
    theirs = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    ours = MiniGLM(MiniConfig(**config))
    ours.load_state_dict({k: v.float() for k, v in load_file(f"{out}/model.safetensors").items()}, strict=False)  # copy_map stays zero
    ids = torch.randint(0, config["vocab_size"], (2, 300), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        a, b = theirs(ids).logits, ours(ids)
    print("largest logit difference", (a - b).abs().max().item(), "of", a.abs().max().item(), "argmax equal", (a.argmax(-1) == b.argmax(-1)).float().mean().item())
    assert torch.allclose(a, b, atol=2e-3, rtol=1e-3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("state")
    parser.add_argument("out")
    args = parser.parse_args()
    torch.set_num_threads(1)
    saved = torch.load(args.state, weights_only=False)
    write(saved["model"], saved["config"], args.out)
    verify(args.out, saved["config"])
    print("step", saved["state"]["step"], "tokens", saved["state"]["tokens"])
