"""The models of `../models.py` as transformers builds them, for the peers that do not read GGUF."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import models  # noqa: E402


def config(name: str) -> transformers.LlamaConfig:
    """Raises models.Unsupported for shapes that are not Llama's."""
    shape = models.SHAPES[name]
    if shape.architecture != "llama":
        raise models.Unsupported(f"{name}: only shapes of the llama architecture are built here")
    return transformers.LlamaConfig(
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        intermediate_size=shape.feed_forward,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocabulary,
        max_position_embeddings=shape.context,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )


def llama(name: str, data_type: torch.dtype, seed: int = 1) -> transformers.LlamaForCausalLM:
    """A model of random weights, ready to run."""
    torch.manual_seed(seed)
    default = torch.get_default_dtype()
    torch.set_default_dtype(data_type)
    try:
        model = transformers.LlamaForCausalLM(config(name)).eval()
    finally:
        torch.set_default_dtype(default)
    model.generation_config.do_sample = False
    return model
