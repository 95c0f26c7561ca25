"""OpenVINO GenAI: its continuous batching pipeline, driven step by step."""

from __future__ import annotations

import time
from importlib.metadata import version

import numpy as np
import openvino
import openvino_genai as genai
import worker


class OpenVINO:
    def __init__(self, path: str, threads: int) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_batched_tokens = 512
        scheduler.max_num_seqs = 64
        scheduler.cache_size = 1  # GB
        scheduler.dynamic_split_fuse = True
        # So that a long prompt is computed once, not before every measurement.
        scheduler.enable_prefix_caching = True
        properties = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_HYPER_THREADING": False,
        }
        self.pipeline = genai.ContinuousBatchingPipeline(path, scheduler, "CPU", properties)
        self.version = version("openvino-genai")
        core = openvino.Core()
        self.details = str(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        self.random = np.random.default_rng(1)
        self.requests = 0

    def add(self, prompt: np.ndarray, tokens: int) -> genai.GenerationHandle:
        config = genai.GenerationConfig()
        config.max_new_tokens = tokens
        config.ignore_eos = True
        config.do_sample = False
        self.requests += 1
        tensor = openvino.Tensor(prompt.reshape(1, -1))
        return self.pipeline.add_request(self.requests, tensor, config)

    def step_until_read(self, handle: genai.GenerationHandle) -> None:
        """Computes until the sequence has its first token."""
        while not handle.can_read():
            self.pipeline.step()
        handle.read()

    def prefill(self, tokens: int) -> float:
        handle = self.add(self.random.integers(300, 4000, tokens, dtype=np.int64), 1)
        start = time.perf_counter()
        self.step_until_read(handle)
        seconds = time.perf_counter() - start
        self.finish()
        return seconds

    def decode(self, batch: int, depth: int, tokens: int) -> float:
        # Prompts differ in their first token, and are the same every time.
        prompts = [
            (np.arange(max(depth, 1), dtype=np.int64) * 7919 + 17 + sequence) % 3700 + 300
            for sequence in range(batch)
        ]
        handles = [self.add(prompt, tokens + 1) for prompt in prompts]
        for handle in handles:
            self.step_until_read(handle)
        start = time.perf_counter()
        steps = self.finish()
        seconds = time.perf_counter() - start
        if steps != tokens:
            raise RuntimeError(f"{steps} steps made {tokens} tokens of {batch} sequences")
        return seconds

    def finish(self) -> int:
        """Computes until no sequence is left; returns in how many steps."""
        steps = 0
        while self.pipeline.has_non_finished_requests():
            self.pipeline.step()
            steps += 1
        return steps


if __name__ == "__main__":
    chosen = worker.options(__doc__)
    worker.serve(lambda: OpenVINO(chosen.model, chosen.threads))
