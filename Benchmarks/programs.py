"""The programs that are compared: how each is started and asked for one figure."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TIMEOUT = 900.0


class Failed(Exception):
    """A program that could not be started or did not answer; the text says what to do."""


@dataclass(frozen=True)
class Case:
    """One thing to measure; the fields but the first are those of `peers/worker.py`."""

    name: str
    kind: str
    tokens: int
    batch: int = 1
    depth: int = 0
    repetitions: int = 1
    is_single_threaded: bool = False

    def request(self) -> dict[str, Any]:
        fields = asdict(self)
        return {key: fields[key] for key in ("kind", "tokens", "batch", "depth", "repetitions")}


@dataclass(frozen=True)
class Load:
    """What it took until a model answered: seconds, and memory then and at most."""

    seconds: float
    resident: int
    peak: int


def status_bytes(pid: int, name: str) -> int:
    """A line of /proc/PID/status, such as VmRSS, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


class Ours:
    """The program of this repository."""

    name = "autoglm"

    def __init__(self, program: Path) -> None:
        if not os.access(program, os.X_OK):
            raise Failed(f"{program} is not there; build it with 'make build', or name it with "
                         "--program")
        self.program = program
        self.version = self.run("--version").strip()

    def run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [self.program, *arguments], capture_output=True, text=True, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"autoglm {arguments[0]} took over {error.timeout:.0f} s") from error
        if done.returncode != 0:
            raise Failed(f"autoglm {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def machine(self, threads: int) -> dict[str, Any]:
        """The machine and its limits at this moment."""
        report = self.run("doctor", "--json", "--threads", str(threads))
        result: dict[str, Any] = json.loads(report)
        return result

    def measure(self, model: Path, case: Case, threads: int) -> dict[str, Any]:
        """One row of `autoglm bench`, limit included."""
        is_prefill = case.kind == "prefill"
        report = self.run(
            "bench", "--json", "--model", str(model), "--threads", str(threads),
            "--prompt", str(case.tokens if is_prefill else 0),
            "--batch", str(0 if is_prefill else case.batch),
            "--depth", str(case.depth), "--tokens", str(case.tokens),
            "--repetitions", str(case.repetitions),
        )  # fmt: skip
        row: dict[str, Any] = json.loads(report)["results"][0]
        return row

    def load(self, model: Path, threads: int) -> Load:
        """From the start of the server until it is ready; memory after one short answer."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with tempfile.TemporaryFile("w+") as log:
            start = time.perf_counter()
            server = subprocess.Popen(
                [self.program, "serve", "--model", model, "--port", str(port),
                 "--threads", str(threads), "--log-level", "error"],
                stdout=log, stderr=log,
            )  # fmt: skip
            try:
                while get(port, "/readyz") != 200:
                    if server.poll() is not None or time.perf_counter() - start > TIMEOUT:
                        log.seek(0)
                        raise Failed(f"autoglm serve did not get ready: {log.read()[-500:]}")
                    time.sleep(0.005)
                seconds = time.perf_counter() - start
                complete(port)
                return Load(
                    seconds, status_bytes(server.pid, "VmRSS"), status_bytes(server.pid, "VmHWM")
                )
            finally:
                server.terminate()
                server.wait(60)


def get(port: int, path: str) -> int:
    """The status of an answer, 0 where nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def complete(port: int) -> None:
    """Has the server compute one token."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/v1/models")
    model = json.loads(connection.getresponse().read())["data"][0]["id"]
    body = {"model": model, "prompt": "a", "max_tokens": 1, "ignore_eos": True}
    connection.request(
        "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != 200:
        raise Failed(f"autoglm serve answered {answer.status}: {text[-300:]}")


@dataclass(frozen=True)
class Peer:
    """Another engine, driven by a script of `peers/` in the environment that has its packages."""

    name: str
    script: str
    # What the script imports, and the packages of requirements.txt that bring it.
    modules: tuple[str, ...]
    packages: str
    arguments: tuple[str, ...] = ()
    # None: it reads the GGUF file itself. Else the weights it takes in its place.
    weights: str | None = None
    bits: int = 0


PEERS = {
    peer.name: peer
    for peer in (
        Peer("llama.cpp", "run_llama_cpp.py", ("llama_cpp",), "llama-cpp-python"),
        *(
            Peer(
                f"openvino-int{bits}", "run_openvino.py", ("openvino_genai",), "openvino-genai",
                weights="openvino", bits=bits,
            )
            for bits in (4, 8)
        ),
        *(
            Peer(
                f"torch-{kind}", "run_torch.py", ("torch", "transformers"), "torch transformers",
                ("--data-type", kind), weights="made in memory",
            )
            for kind in ("int8", "bf16")
        ),
    )
}  # fmt: skip
EXPORT_MODULES = ("optimum.intel", "nncf", "torch")
EXPORT_PACKAGES = "optimum-intel nncf torch transformers"


def missing(python: str, modules: Sequence[str]) -> list[str]:
    """Which of these modules an environment lacks."""
    code = (
        "import importlib.util, sys\n"
        "def lacks(name):\n"
        "    try: return importlib.util.find_spec(name) is None\n"
        "    except ModuleNotFoundError: return True\n"
        "print(*[name for name in sys.argv[1:] if lacks(name)])"
    )
    done = subprocess.run([python, "-c", code, *modules], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{python} does not run: {done.stderr.strip()[-300:]}")
    return done.stdout.split()


def peer_environment() -> dict[str, str]:
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **offline, "PYTHONDONTWRITEBYTECODE": "1"}


def export(python: str, shape: str, bits: int, directory: Path) -> Path:
    """The OpenVINO model of a shape, made unless it is there."""
    output = directory / f"{shape}-openvino-int{bits}"
    if output.exists():
        return output
    lacking = missing(python, EXPORT_MODULES)
    if lacking:
        raise Failed(f"{output} is not there, and to make it {', '.join(lacking)} must be "
                     f"installed: pip install {EXPORT_PACKAGES}")
    script = HERE / "peers" / "export_openvino.py"
    done = subprocess.run(
        [python, script, "--shape", shape, "--bits", str(bits), "--output", output],
        capture_output=True, text=True, env=peer_environment(),
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"export to OpenVINO: {done.stderr.strip()[-500:]}")
    return output


class Session:
    """A peer's process with a model loaded."""

    def __init__(self, python: str, peer: Peer, model: str, threads: int) -> None:
        self.peer = peer
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [python, HERE / "peers" / peer.script, "--model", model, "--threads", str(threads),
             *peer.arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
            env=peer_environment(),
        )  # fmt: skip
        try:
            self.ready = self.reply()
        except Failed:
            self.close()
            raise

    def reply(self) -> dict[str, Any]:
        assert self.process.stdout
        readable, _, _ = select.select([self.process.stdout], [], [], TIMEOUT)
        line = self.process.stdout.readline() if readable else ""
        if not line:
            self.process.kill()
            self.log.seek(0)
            reason = self.log.read().strip()[-500:] if readable else f"silent for {TIMEOUT:.0f} s"
            raise Failed(f"{self.peer.name}: {reason}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, case: Case) -> list[float]:
        assert self.process.stdin
        try:
            print(json.dumps(case.request()), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # its last words are in the log, which `reply` reads
        rates: list[float] = self.reply()["rates"]
        return rates

    @property
    def load(self) -> Load:
        return Load(
            self.ready["load_seconds"], self.ready["resident_bytes"], self.ready["peak_bytes"]
        )

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            assert self.process.stdin
            self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Sessions:
    """Sessions of one model. Kept open between cases where memory allows, else one at a time."""

    def __init__(self, python: str, sources: dict[str, str], is_kept: bool) -> None:
        self.python = python
        self.sources = sources
        self.is_kept = is_kept
        self.open: dict[tuple[str, int], Session] = {}

    @contextlib.contextmanager
    def session(self, name: str, threads: int, is_fresh: bool = False) -> Iterator[Session]:
        key = (name, threads)
        session = None if is_fresh else self.open.get(key)
        if session is None:
            session = Session(self.python, PEERS[name], self.sources[name], threads)
        is_kept = self.is_kept and not is_fresh
        try:
            yield session
        except Failed:
            is_kept = False
            raise
        finally:
            if is_kept:
                self.open[key] = session
            else:
                self.open.pop(key, None)
                session.close()

    def close(self) -> None:
        for session in self.open.values():
            session.close()
        self.open.clear()
