"""Quantisation schemes on Mini-GLM: size, NLL, tool calls, speed. Standard library only.

    python3 Benchmarks/schemes.py [SCHEME ...] > schemes.md

Each scheme is written with `autoglm quantize`, loaded by `autoglm serve`, and asked for every call
of the 300 test conversations (greedy, with the reference history before it) over HTTP, as a client
would. A call counts as right when name and arguments equal the reference."""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "Models/mini-glm"
SCHEMES = ("int8", "int8-asym", "int8-channel", "int8-static", "int8-weights", "int4", "int4-asym",
           "int4-g64", "int4-g128", "int4-channel", "int4-static", "int4-weights")


def jobs(path: Path) -> list[tuple[str, dict[str, Any], dict[str, Any] | None]]:
    """(language, request, the call that is right or None) of every assistant turn."""
    out = []
    for line in path.read_text().splitlines():
        case = json.loads(line)
        for turn in case["turns"]:
            messages = [wire(m) for m in case["messages"][: turn["index"]]]
            body = {"messages": messages, "temperature": 0, "max_tokens": 160}
            if case["tools"]:
                body["tools"] = case["tools"]
            out.append((case["lang"], body, turn.get("call")))
    return out


def wire(message: dict[str, Any]) -> dict[str, Any]:
    """A message as OpenAI clients send it: arguments as JSON text, ids on calls and results."""
    if message["role"] == "tool":
        return message | {"tool_call_id": "call_0"}
    calls = message.get("tool_calls")
    if not calls:
        return message
    sent = [{"id": "call_0", "type": "function", "function": {
        "name": c["function"]["name"],
        "arguments": json.dumps(c["function"]["arguments"], ensure_ascii=False)}} for c in calls]
    return message | {"tool_calls": sent}


@contextlib.contextmanager
def serving(program: str, model: Path, flags: list[str]) -> Iterator[str]:
    """A server on a free port; yields its address."""
    server = subprocess.Popen([program, "serve", "--model", str(model), "--port", "0", *flags],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = server.stdout or iter(())
    seen = []
    try:
        for line in lines:
            seen.append(line)
            found = re.search(r"http://[0-9.]+:[0-9]+", line)
            if found:
                break
        else:
            sys.exit("autoglm serve did not start:\n" + "".join(seen))
        threading.Thread(target=lambda: list(lines), daemon=True).start()
        yield found.group()
    finally:
        server.terminate()
        server.wait()


def answer(url: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The first call of an answer, or None when it is text (or a call that does not parse)."""
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        message = json.load(response)["choices"][0]["message"]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        try:
            return {"name": function["name"], "arguments": json.loads(function["arguments"])}
        except ValueError:
            return {"name": function["name"], "arguments": None}
    return None


def accuracy(url: str, cases: list[tuple[str, dict[str, Any], dict[str, Any] | None]]) -> dict[str, float]:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda case: answer(url, case[1]), cases))
    calls = [(g, want) for g, (_, _, want) in zip(got, cases) if want]
    return {
        "calls": len(calls),
        "name": sum(bool(g) and g["name"] == w["name"] for g, w in calls) / len(calls),
        "exact": sum(g == w for g, w in calls) / len(calls),
        "text": sum(g is None for g, (_, _, w) in zip(got, cases) if not w) / (len(cases) - len(calls)),
    }


def speed(program: str, model: Path, flags: list[str]) -> dict[str, float]:
    out = subprocess.run([program, "bench", "--model", str(model), "--prompt", "512", "--batch", "1,8",
                          "--tokens", "256", "--json", *flags], capture_output=True, text=True, check=True)
    return {f"{m['kind']} {m['batch']}": m["tokens_per_second"] for m in json.loads(out.stdout)["results"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("schemes", nargs="*", default=SCHEMES)
    parser.add_argument("--program", default=str(ROOT / ".build/release/autoglm"))
    parser.add_argument("--calibration", type=Path, default=MODEL / "eval/calibration.jsonl", help="text of -static schemes")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if not Path(options.program).exists():
        sys.exit(f"{options.program} is not there: run `make build` first, or name it with --program")
    cases = jobs(MODEL / "eval/test-conversations.jsonl")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for scheme in ("bf16", "f32", *options.schemes):
            row: dict[str, Any] = {"scheme": scheme}
            flags, model = [], MODEL
            if scheme in ("bf16", "f32"):
                flags = ["--compute", scheme]
                row["bytes"] = (MODEL / "model.safetensors").stat().st_size
            else:
                model = Path(folder) / scheme
                command = [options.program, "quantize", str(MODEL), str(model), "--scheme", scheme, "--json",
                           "--evaluate", str(MODEL / "eval/test-conversations.jsonl")]
                if scheme.endswith("-static"):
                    command += ["--calibration", str(options.calibration)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                row["quantize"] = json.loads(done.stdout)
                row["bytes"] = sum(f.stat().st_size for f in model.glob("*.safetensors"))
            with serving(options.program, model, flags) as url:
                row |= accuracy(url, cases)
            row["speed"] = speed(options.program, model, flags)
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
            if model != MODEL:
                shutil.rmtree(model)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print("| Scheme | MB | NLL | tool name | call exact | no call where none is due | prefill | decode | decode 8 |")
    print("|---|---|---|---|---|---|---|---|---|")
    before = next((r["quantize"]["nll_before"] for r in rows if "quantize" in r), None)
    for r in rows:
        nll = r["quantize"]["nll_after"] if "quantize" in r else before if r["scheme"] == "bf16" else None
        nll = "" if nll is None else f"{nll:.4f}"
        s = list(r["speed"].values())
        print(f"| {r['scheme']} | {r['bytes'] / 1e6:.1f} | {nll} | {r['name']:.1%} | {r['exact']:.1%} | {r['text']:.1%} | "
              + " | ".join(f"{v:,.0f}" for v in s) + " |")


if __name__ == "__main__":
    main()
