"""Runs autoglm and other engines in turns on the same models, and says how far each is from the
machine's limits. Standard library only; the other engines live in an environment of their own.

    python3 Benchmarks/compare.py llama-1b:q4_0 llama-1b:q8_0 --rounds 3
    python3 Benchmarks/compare.py --quick tiny:q8_0

A model is SHAPE:FORMAT, made by models.py where it is not there, or the path of a GGUF file. Every
round measures all cases, and within a case all programs one after the other, in an order that turns
around from round to round, so that a slow minute of the machine hits all of them. Writes a JSON
file, a Markdown table and a plot.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import models
import report
from programs import PEERS, Case, Failed, Load, Ours, Peer, Sessions, export, missing

BENCHMARKS = models.ROOT / ".build" / "benchmarks"
# Rows of the report that the load case gives, with their units.
LOAD_ROWS = (("ready after", "s"), ("resident", "bytes"), ("resident at most", "bytes"))
CASES = {
    "prefill": Case("prefill 512", "prefill", 512),
    "decode": Case("decode 1", "decode", 32),
    "decode-1-thread": Case("decode 1, 1 thread", "decode", 32, is_single_threaded=True),
    "decode-2048": Case("decode 1 after 2048", "decode", 32, depth=2048),
    **{
        f"batch-{count}": Case(f"decode {count}", "decode", 16, batch=count)
        for count in (4, 8, 16, 32)
    },
    "load": Case("load", "load", 0),
}
QUICK = ["prefill", "decode", "batch-8"]
# What takes minutes per figure with 9 billion parameters is left out unless asked for.
CASES_OF = {"glm4-9b": ["prefill", "decode", "batch-8", "load"]}
# Steps of a tiny model are too short to time a few of them.
STEPS_OF = {"tiny": 4, "glm4-9b": 0.5}
PEERS_OF = {
    "q4_0": ["llama.cpp", "openvino-int4"],
    "q8_0": ["llama.cpp", "openvino-int8", "torch-int8"],
    "q4_k_m": ["llama.cpp"],
    "bf16": ["llama.cpp", "torch-bf16"],
}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Model:
    """A model under test: what ours reads, and what each peer takes for it."""

    name: str
    path: Path
    shape: str | None
    cases: dict[str, Case]
    sources: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def cases_of(shape: str | None, options: argparse.Namespace) -> dict[str, Case]:
    chosen = options.cases or (QUICK if options.quick else CASES_OF.get(shape or "", list(CASES)))
    factor = STEPS_OF.get(shape or "", 1)

    def scaled(case: Case) -> Case:
        tokens = int(case.tokens * factor) if case.kind == "decode" else case.tokens
        return replace(case, tokens=tokens, repetitions=options.repetitions)

    return {name: scaled(CASES[name]) for name in CASES if name in chosen}


def peer_source(peer: Peer, model: Model, options: argparse.Namespace) -> str:
    """What to give a peer as its model; raises Failed where there is nothing."""
    lacking = missing(options.python, peer.modules)
    if lacking:
        raise Failed(f"not installed: {', '.join(lacking)}; pip install {peer.packages}")
    if peer.weights is None:
        return str(model.path)
    if model.shape is None:
        raise Failed("it does not read GGUF files")
    if models.SHAPES[model.shape].architecture != "llama":
        raise Failed(f"its models are made for Llama shapes alone, not for {model.shape}")
    if peer.weights == "openvino":
        say(f"{peer.name}: exporting {model.shape} unless that is done")
        return str(export(options.python, model.shape, peer.bits, options.models))
    return model.shape


def prepare(name: str, options: argparse.Namespace) -> Model:
    """Makes the model if need be, and finds out who can run it."""
    if name.endswith(".gguf"):
        if not os.path.exists(name):
            raise Failed(f"{name} is not there")
        model = Model(Path(name).stem, Path(name), None, cases_of(None, options))
        peers = options.peers or ["llama.cpp"]
    else:
        shape, file_format = models.split(name)
        path = models.path_of(name, options.models, options.seed)
        if not path.exists():
            say(f"making {path}")
        models.make(name, options.models, options.seed)
        model = Model(name, path, shape, cases_of(shape, options))
        peers = options.peers or PEERS_OF[file_format]
    for peer in peers:
        try:
            model.sources[peer] = peer_source(PEERS[peer], model, options)
        except Failed as reason:
            model.left_out.append(f"{peer}: {reason}")
            say(f"left out: {peer}: {reason}")
    return model


def available_memory() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


class Comparison:
    """The rounds of one model."""

    def __init__(self, ours: Ours, model: Model, options: argparse.Namespace) -> None:
        self.ours = ours
        self.model = model
        self.threads = options.threads
        self.programs: dict[str, dict[str, str]] = {
            ours.name: {"version": ours.version, "details": ""}
        }
        self.names = [ours.name, *model.sources]
        self.results: dict[str, dict[str, list[float]]] = {}
        self.limits: dict[str, list[dict[str, Any]]] = {}
        self.probes: list[dict[str, float]] = []
        # A peer may hold its file twice, mapped and repacked; ours comes on top.
        needed = 2.5 * model.path.stat().st_size * (len(self.names) + 1)
        is_kept = needed < available_memory()
        self.sessions = Sessions(options.python, model.sources, is_kept)

    def probe(self) -> None:
        machine = self.ours.machine(self.threads)
        self.probes.append(
            {
                "bandwidth": machine["memory_bandwidth"][-1]["bytes_per_second"],
                "int8": machine["int8_operations_per_second"],
                "bf16": machine["bf16_operations_per_second"],
                "f32": machine["f32_operations_per_second"],
            }
        )

    def round(self, index: int) -> None:
        self.probe()
        for case in self.model.cases.values():
            order = self.names if index % 2 == 0 else self.names[::-1]
            for name in order:
                if name in self.names:  # it may have failed meanwhile
                    self.measure(name, case)
        self.probe()

    def measure(self, name: str, case: Case) -> None:
        start = time.monotonic()
        try:
            if case.kind == "load":
                result = self.load(name)
            else:
                result = self.rate(name, case)
        except Failed as reason:
            if name == self.ours.name:
                raise
            self.names.remove(name)
            self.model.left_out.append(f"{name}, from {case.name} on: {reason}")
            result = str(reason)
        say(f"  {case.name:20} {name:14} {result}  ({time.monotonic() - start:.0f} s)")

    def note(self, row: str, name: str, value: float) -> None:
        self.results.setdefault(row, {}).setdefault(name, []).append(value)

    def rate(self, name: str, case: Case) -> str:
        threads = 1 if case.is_single_threaded else self.threads
        if name == self.ours.name:
            row = self.ours.measure(self.model.path, case, threads)
            self.limits.setdefault(case.name, []).append(row)
            rate = row["tokens_per_second"]
        elif case.is_single_threaded and PEERS[name].weights is not None:
            return "not measured"
        else:
            with self.sessions.session(name, threads) as session:
                self.programs[name] = {k: session.ready[k] for k in ("version", "details")}
                rate = report.median(session.measure(case)) or 0.0
        self.note(case.name, name, rate)
        return f"{rate:10.1f} t/s"

    def load(self, name: str) -> str:
        # Reading the file first makes sure that it is in the page cache.
        with open(self.model.path, "rb") as file:
            while file.read(1 << 24):
                pass
        if name == self.ours.name:
            load: Load = self.ours.load(self.model.path, self.threads)
        elif name.startswith("torch"):
            return "not measured: its weights come from no file"
        else:
            with self.sessions.session(name, self.threads, is_fresh=True) as session:
                load = session.load
        for (row, _), value in zip(LOAD_ROWS, (load.seconds, load.resident, load.peak)):
            self.note(row, name, value)
        return f"{load.seconds:10.2f} s, {load.resident / 1e6:.0f} MB resident"

    def row(self, name: str, unit: str) -> dict[str, Any]:
        limits = self.limits.get(name, [])
        limit = report.median(limit["limit"] for limit in limits)
        if name.startswith("resident"):
            limit = float(self.model.path.stat().st_size)
        bound = limits[-1]["bound_by"] if limits else "file" if limit else ""
        return {
            "name": name, "unit": unit, "limit": limit, "bound_by": bound,
            "results": self.results[name],
        }  # fmt: skip

    def summary(self) -> dict[str, Any]:
        units = {case.name: "t/s" for case in self.model.cases.values()} | dict(LOAD_ROWS)
        return {
            "model": self.model.name,
            "threads": self.threads,
            "file_bytes": self.model.path.stat().st_size,
            "probes": self.probes,
            "programs": self.programs,
            "left_out": self.model.left_out,
            "cases": [self.row(name, unit) for name, unit in units.items() if name in self.results],
        }


def compare(options: argparse.Namespace) -> Path:
    ours = Ours(options.program)
    if shutil.which(options.python) is None:
        raise Failed(f"--python {options.python}: no interpreter is there")
    prepared = [prepare(name, options) for name in options.models_named]
    machine = ours.machine(options.threads)
    result: dict[str, Any] = {
        "date": datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        "machine": {
            "processor": machine["processor"], "cores": machine["cores"],
            "memory_bytes": machine["memory_bytes"], "kernel": platform.release(),
            "kernels": machine["kernels"], "features": machine["features"],
        },
        "models": [],
    }  # fmt: skip
    start = time.monotonic()
    for index, model in enumerate(prepared):
        end = start + 60 * options.minutes * (index + 1) / len(prepared)
        comparison = Comparison(ours, model, options)
        result["models"].append({})
        try:
            for number in range(options.rounds):
                begun = time.monotonic()
                say(f"{model.name}, round {number + 1} of {options.rounds}")
                comparison.round(number)
                # After each round, so that an interrupted run leaves what it has.
                result["models"][-1] = comparison.summary()
                report.write(result, options.output)
                if 2 * time.monotonic() - begun > end:
                    break  # another round would end too late
        finally:
            comparison.sessions.close()
    return options.output


def names(text: str, known: dict[str, Any]) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
    return chosen


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def parse() -> argparse.Namespace:
    environment = BENCHMARKS / "peers" / "bin" / "python"
    parser = argparse.ArgumentParser(
        description="Compare autoglm with other engines.",
        epilog=f"Shapes: {', '.join(models.SHAPES)}. Formats: {', '.join(models.FORMATS)}. "
        f"Cases: {', '.join(CASES)}. Peers: {', '.join(PEERS)}.",
    )
    add = parser.add_argument
    add("models_named", nargs="*", metavar="MODEL", default=["llama-1b:q4_0", "llama-1b:q8_0"],
        help="SHAPE:FORMAT or a GGUF file; default: llama-1b:q4_0 llama-1b:q8_0")
    add("--quick", action="store_true", help="one round of three cases")
    add("--rounds", type=positive, help="default: 3")
    add("--minutes", type=float, default=float("inf"),
        help="begin no round that would end after so many minutes; one is always done")
    add("--repetitions", type=positive, default=1, help="measurements per round and case, after "
        "one that warms up (default: 1)")
    add("--cases", type=lambda text: names(text, CASES), help="separated by commas; default: all "
        "that the model's size allows")
    add("--peers", type=lambda text: names(text, PEERS), help="separated by commas; default: those "
        "with weights of equal width")
    add("--threads", type=positive, default=len(os.sched_getaffinity(0)), help="default: all")
    add("--program", type=Path, default=models.ROOT / ".build" / "release" / "autoglm")
    add("--python", default=str(environment) if environment.exists() else sys.executable,
        help="interpreter of the environment with the peers' packages; default: that of 'make "
        "bench-peers', else this one")
    add("--models", type=Path, default=models.DEFAULT_DIRECTORY, help="folder that keeps models")
    add("--seed", type=int, default=1)
    add("--output", type=Path, default=BENCHMARKS / "results" / "comparison.json",
        help="JSON file; table and plot go beside it")  # fmt: skip
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.program = options.program.absolute()
    return options


def main() -> int:
    try:
        path = compare(parse())
    except (Failed, models.Unsupported, OSError) as error:
        say(f"compare.py: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; rounds that were finished are in the results")
        return 130
    print(path.with_suffix(".md").read_text())
    say(f"written: {path}, and .md and .svg beside it")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
