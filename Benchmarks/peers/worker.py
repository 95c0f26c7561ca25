"""What the peers have in common: each runs in a process of its own, in the environment that has
its packages, loads one model and then measures one case for each line it is given.

Lines are JSON, on the standard streams as they were at the start; whatever a library prints goes
to standard error. The first line out says what loading took, each further one what a case gave.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Case:
    """`prefill`: one prompt of `tokens`. `decode`: `batch` sequences that already hold `depth`
    tokens each go on for `tokens` steps. Measured `repetitions` times after one that warms up."""

    kind: str
    tokens: int
    batch: int
    depth: int
    repetitions: int


class Peer(Protocol):
    version: str
    details: str

    def prefill(self, tokens: int) -> float:
        """Seconds for one prompt that no cache knows, up to the logits of its last token."""
        ...

    def decode(self, batch: int, depth: int, tokens: int) -> float:
        """Seconds for `tokens` steps of `batch` sequences, prompts not counted."""
        ...


def options(description: str, add: Callable[[argparse.ArgumentParser], None] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    if add:
        add(parser)
    return parser.parse_args()


def resident_bytes(name: str = "VmRSS") -> int:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    return 0


def rates(peer: Peer, case: Case) -> list[float]:
    """Tokens per second of all sequences together, one figure per repetition."""

    def measure() -> float:
        if case.kind == "prefill":
            return peer.prefill(case.tokens)
        return peer.decode(case.batch, case.depth, case.tokens)

    rows = case.batch * case.tokens
    measure()
    return [rows / measure() for _ in range(case.repetitions)]


def serve(load: Callable[[], Peer]) -> None:
    """Loads a peer, whose packages are imported already, and answers until its input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    before = resident_bytes()  # the interpreter and its packages, which are not the model
    start = time.perf_counter()
    peer = load()
    # What is mapped lazily is in memory after one step.
    peer.decode(1, 0, 1)
    ready = {
        "load_seconds": time.perf_counter() - start,
        "resident_bytes": resident_bytes() - before,
        "peak_bytes": resident_bytes("VmHWM") - before,
        "version": peer.version,
        "details": peer.details,
    }
    print(json.dumps(ready), file=replies)
    for line in sys.stdin:
        print(json.dumps({"rates": rates(peer, Case(**json.loads(line)))}), file=replies)
