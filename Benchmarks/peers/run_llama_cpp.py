"""llama.cpp, through the C interface that llama-cpp-python exposes; settings are its defaults."""

from __future__ import annotations

import ctypes
import time

import llama_cpp as c
import worker


class Context:
    """One llama.cpp context, large enough for its sequences, with a batch to fill."""

    def __init__(self, model: object, batch: int, length: int, threads: int) -> None:
        parameters = c.llama_context_default_params()
        # Each sequence has cells of its own, in multiples of 256.
        parameters.n_ctx = batch * (-(-length // 256) * 256)
        parameters.n_seq_max = batch
        parameters.n_batch = max(batch, 512)
        parameters.n_ubatch = 512
        parameters.n_threads = parameters.n_threads_batch = threads
        self.pointer = c.llama_init_from_model(model, parameters)
        if not self.pointer:
            raise RuntimeError(f"llama.cpp made no context for {batch} × {length} tokens")
        self.memory = c.llama_get_memory(self.pointer)
        self.rows = c.llama_batch_init(parameters.n_batch, 0, 1)
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(model))

    def row(self, index: int, sequence: int, position: int, has_logits: bool) -> None:
        # Any token will do; neighbours differ.
        self.rows.token[index] = (position * 7919 + 17) % self.vocabulary
        self.rows.pos[index] = position
        self.rows.n_seq_id[index] = 1
        self.rows.seq_id[index][0] = sequence
        self.rows.logits[index] = has_logits

    def step(self, count: int) -> None:
        self.rows.n_tokens = count
        status = c.llama_decode(self.pointer, self.rows)
        if status != 0:
            raise RuntimeError(f"llama_decode of {count} tokens returned {status}")
        c.llama_synchronize(self.pointer)

    def prompt(self, sequence: int, tokens: int) -> None:
        for start in range(0, tokens, 512):
            end = min(start + 512, tokens)
            for position in range(start, end):
                self.row(position - start, sequence, position, position == tokens - 1)
            self.step(end - start)

    def forget(self, depth: int) -> None:
        """Leaves `depth` tokens of every sequence."""
        for sequence in range(c.llama_n_seq_max(self.pointer)):
            c.llama_memory_seq_rm(self.memory, sequence, depth, -1)


class LlamaCpp:
    def __init__(self, path: str, threads: int) -> None:
        c.llama_backend_init()
        self.model = c.llama_model_load_from_file(
            path.encode(), c.llama_model_default_params()
        )
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.threads = threads
        self.version = c.__version__
        self.details = ctypes.string_at(c.llama_print_system_info()).decode().strip()
        self.contexts: dict[tuple[int, int, int], Context] = {}

    def context(self, batch: int, depth: int, tokens: int) -> Context:
        """A context whose sequences hold `depth` tokens; made once, prompts included."""
        key = (batch, depth, tokens)
        if key not in self.contexts:
            context = Context(self.model, batch, depth + tokens, self.threads)
            if depth > 0:
                for sequence in range(batch):
                    context.prompt(sequence, depth)
            self.contexts[key] = context
        self.contexts[key].forget(depth)
        return self.contexts[key]

    def prefill(self, tokens: int) -> float:
        context = self.context(1, 0, tokens)
        start = time.perf_counter()
        context.prompt(0, tokens)
        return time.perf_counter() - start

    def decode(self, batch: int, depth: int, tokens: int) -> float:
        context = self.context(batch, depth, tokens)
        start = time.perf_counter()
        for position in range(depth, depth + tokens):
            for sequence in range(batch):
                context.row(sequence, sequence, position, True)
            context.step(batch)
        return time.perf_counter() - start


if __name__ == "__main__":
    chosen = worker.options(__doc__)
    worker.serve(lambda: LlamaCpp(chosen.model, chosen.threads))
