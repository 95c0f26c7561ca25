"""PyTorch with transformers: linear layers in dynamic int8, or everything in bf16.

`--model` is the name of a shape; the weights are made here, by seed.
"""

from __future__ import annotations

import argparse
import os
import time

import torch
import transformers
import worker
from shapes import llama


class Torch:
    def __init__(self, shape: str, data_type: str, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.model = llama(shape, torch.bfloat16 if data_type == "bf16" else torch.float32)
        if data_type == "int8":
            self.model = torch.ao.quantization.quantize_dynamic(
                self.model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True
            )
        self.version = f"{torch.__version__}, transformers {transformers.__version__}"
        self.details = torch.backends.cpu.get_cpu_capability()
        self.prompts: dict[tuple[int, int], transformers.DynamicCache] = {}

    def step(self, tokens: torch.Tensor, cache: transformers.DynamicCache) -> torch.Tensor:
        output = self.model(
            input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        return output.logits[:, -1:].argmax(-1)

    def random_tokens(self, batch: int, count: int) -> torch.Tensor:
        return torch.randint(300, 4000, (batch, count))

    def prefill(self, tokens: int) -> float:
        prompt, cache = self.random_tokens(1, tokens), transformers.DynamicCache()
        start = time.perf_counter()
        self.step(prompt, cache)
        return time.perf_counter() - start

    def decode(self, batch: int, depth: int, tokens: int) -> float:
        cache = transformers.DynamicCache()
        if depth > 0:
            cache = self.prompts.setdefault((batch, depth), cache)
            if cache.get_seq_length() == 0:
                self.step(self.random_tokens(batch, depth), cache)
            cache.crop(depth)
        following = self.random_tokens(batch, 1)
        start = time.perf_counter()
        for _ in range(tokens):
            following = self.step(following, cache)
        return time.perf_counter() - start


def add_data_type(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-type", choices=["int8", "bf16"], required=True)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    chosen = worker.options(__doc__, add_data_type)
    worker.serve(lambda: Torch(chosen.model, chosen.data_type, chosen.threads))
