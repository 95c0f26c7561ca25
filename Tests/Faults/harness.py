"""What every case needs: a server, a watch over it, a raw client, a verdict. Standard library only.

A case is a function with a `@case` line. It gets a `Trial`: a fresh server, with a second process
that asks /readyz every 50 ms and reads the server's memory. What the case wants it says with
`expect`; what it measured it returns. Afterwards `Trial.settle` wants of every server that the same
process is alive, idle, as large as before and gives the same answer as before.
"""

import contextlib
import dataclasses
import itertools
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
BAR_MS = 200
SLACK_MIB = 64


class Failed(Exception):
    """The program did something else than the case wants."""


class Late(Failed):
    """It did the right thing too late, which a busy machine can cause too."""


def expect(holds, words):
    if not holds:
        raise Failed(words)


def expect_in_time(holds, words):
    if not holds:
        raise Late(words)


# MARK: Cases


@dataclasses.dataclass
class Case:
    number: str
    title: str
    run: object
    flags: tuple = ()
    #: Whether /readyz must answer within the bar. Cases that stop or overwrite the process differ.
    barred: bool = True
    #: Whether the trial starts a server for the case; otherwise the case starts what it needs.
    serves: bool = True
    options: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self):
        return self.run.__name__


cases = []


def case(number, title, flags=(), barred=True, serves=True, **options):
    """Enters a function into the list. `options` go to `Server`."""

    def enter(function):
        cases.append(Case(number, title, function, tuple(flags), barred, serves, options))
        return function

    return enter


# MARK: The raw client

_sources = itertools.count(1)


def source():
    """An address of the loopback network that no other client of this run has."""
    number = next(_sources)
    return f"127.{20 + number // 62500 % 200}.{number // 250 % 250}.{number % 250 + 1}"


def connect(port, address=None, timeout=60):
    return socket.create_connection(("127.0.0.1", port), timeout, (address or source(), 0))


def head(method, path, length=None, headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if length is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return ("\r\n".join(lines + list(headers)) + "\r\n\r\n").encode()


def post(path, body, headers=("Connection: close",)):
    """The bytes of one request."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head("POST", path, len(body), headers) + body


def chat(tokens=16, text="hi", **more):
    return {
        "messages": [{"role": "user", "content": text}], "max_tokens": tokens,
        "ignore_eos": True, "loop_guard": False, "temperature": 0, **more,
    }


def read_all(connection, seconds=60, until=None):
    """What comes until the server closes, `until` has come or the time is over."""
    out = bytearray()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            part = connection.recv(1 << 16)
        except OSError:
            break
        if not part:
            break
        out += part
        if until and until in out:
            break
    return bytes(out)


@dataclasses.dataclass
class Answer:
    #: 0: nothing came.
    status: int
    headers: dict
    body: bytes
    seconds: float

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error's members; empty when this is no error in the form we promise."""
        try:
            error = self.json["error"]
            return error if {"message", "type", "param", "code"} <= error.keys() else {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return {}

    @property
    def events(self):
        """The data of server-sent events."""
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]


def parse(data, seconds=0.0):
    """The first answer in the bytes of a connection."""
    top, _, body = data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    words = lines[0].split()
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return Answer(0, {}, data, seconds)
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = unchunk(body)
    elif headers.get("content-length", "").isdigit():
        body = body[: int(headers["content-length"])]
    return Answer(int(words[1]), headers, body, seconds)


def unchunk(data):
    out = bytearray()
    while data:
        size, _, data = data.partition(b"\r\n")
        try:
            count = int(size.split(b";")[0], 16)
        except ValueError:
            raise Failed(f"no chunk size in the answer: {size[:60]!r}") from None
        if count == 0:
            break
        out += data[:count]
        data = data[count + 2:]
    return bytes(out)


def send(port, data, seconds=60, address=None, until=None):
    """Sends bytes on a connection of their own; a server that closes early is no error."""
    start = time.monotonic()
    try:
        with connect(port, address, seconds) as connection:
            # A refusal may come, and the connection be closed, while we are still sending.
            sender = threading.Thread(target=_send_quietly, args=(connection, data), daemon=True)
            if len(data) > 65_536:
                sender.start()
            else:
                _send_quietly(connection, data)
            out = read_all(connection, seconds, until)
    except OSError:
        out = b""
    return parse(out, time.monotonic() - start)


def _send_quietly(connection, data):
    with contextlib.suppress(OSError, ValueError):
        connection.sendall(data)


def ask(port, path, body=None, headers=(), seconds=60, address=None):
    """One request on a connection of its own."""
    headers = ("Connection: close", *headers)
    data = head("GET", path, headers=headers) if body is None else post(path, body, headers)
    return send(port, data, seconds, address)


def at_once(count, work):
    """Runs `work(index)` in threads of their own; returns what they returned, in order."""
    results = [None] * count

    def one(index):
        try:
            results[index] = work(index)
        except Exception as error:  # a thread's failure is the case's
            results[index] = error

    threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def statuses(answers):
    """How often each status came, as text."""
    counts = {}
    for answer in answers:
        counts[answer.status] = counts.get(answer.status, 0) + 1
    return " ".join(f"{count}×{status}" for status, count in sorted(counts.items()))


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


# MARK: The server


def free_port():
    while True:
        port = random.randrange(20_001, 32_000)  # below what the kernel gives to clients
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Cgroup:
    """A memory limit (cgroup v1); None where this machine does not let us make one."""

    root = "/sys/fs/cgroup/memory"

    def __init__(self, limit):
        self.path = f"{self.root}/faults-{os.getpid()}-{random.randrange(1 << 30)}"
        os.mkdir(self.path)
        self.write("memory.limit_in_bytes", limit)

    @classmethod
    def is_possible(cls):
        return os.path.exists(cls.root + "/memory.limit_in_bytes") and os.access(cls.root, os.W_OK)

    def write(self, name, value):
        with open(f"{self.path}/{name}", "w") as file:
            file.write(str(value))

    def read(self, name):
        with open(f"{self.path}/{name}") as file:
            return file.read()

    def enter(self):
        self.write("cgroup.procs", os.getpid())

    def kills(self):
        words = self.read("memory.oom_control").split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0

    def remove(self):
        for _ in range(50):
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
                return
            time.sleep(0.05)


def memory_mib(pid):
    """Resident memory; 0 when there is no such process."""
    with contextlib.suppress(OSError):
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """One process of the program under test.

    - wrap: a command that starts the program as its child (strace).
    - files: the limit of open files. cgroup: a `Cgroup`. stderr: where log lines go.
    """

    def __init__(
        self, program, directory, flags=(), wrap=(), files=None, cgroup=None, env=None,
        stderr=None, stdout=subprocess.DEVNULL, model=None, port=None,
    ):
        self.port = port or free_port()
        self.log = os.path.join(directory, f"log-{self.port}")
        self.cgroup = cgroup
        command = [*wrap, program, "serve", "--port", str(self.port), "--log-format", "json"]
        command += ["--model", model] if model else []

        def prepare():
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
            if cgroup:
                cgroup.enter()

        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, *flags], stdin=subprocess.DEVNULL, stdout=stdout,
                stderr=log if stderr is None else stderr, preexec_fn=prepare,
                env={**os.environ, **(env or {})}, start_new_session=True)
        self.pid = self.process.pid
        if not self.wait_ready():
            self.stop()
            raise Failed(f"the server did not become ready: {self.said()}")
        if wrap:
            children = open(f"/proc/{self.pid}/task/{self.pid}/children").read().split()
            # strace stays in front of the program, env becomes it.
            self.pid = int(children[0]) if children else self.pid

    def wait_ready(self, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if ask(self.port, "/readyz", seconds=2).status == 200:
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.02)
        return False

    def said(self):
        """The end of its log."""
        return open(self.log, errors="replace").read()[-400:]

    def ask(self, *arguments, **named):
        return ask(self.port, *arguments, **named)

    def send(self, *arguments, **named):
        return send(self.port, *arguments, **named)

    def connect(self, **named):
        return connect(self.port, **named)

    def metrics(self):
        """Metrics without labels, and the KV blocks by state."""
        values = {}
        for line in self.ask("/metrics", seconds=20).body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    def blocks_used(self):
        return self.metrics().get('autoglm_kv_blocks{state="used"}', -1)

    def reference(self):
        """What must stay the same whatever happens: the text and the counts of one answer."""
        answer = self.ask("/v1/chat/completions", chat(24, "What are your opening hours?"))
        if answer.status != 200:
            return f"status {answer.status}"
        value = answer.json
        return json.dumps([value["choices"], value["usage"]["completion_tokens"]])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def is_alive(self):
        return self.process.poll() is None and os.path.exists(f"/proc/{self.pid}")

    def stop(self):
        """Kills what we started, and only that."""
        for pid in {self.pid, self.process.pid}:
            with contextlib.suppress(ProcessLookupError):
                if pid == self.process.pid and self.process.poll() is not None:
                    continue
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        if self.cgroup:
            self.cgroup.remove()


# MARK: The watch


class Watch:
    """A process of its own that asks /readyz and reads the memory: Python threads of a case that
    builds or sends megabytes would be late, and the server be blamed."""

    def __init__(self, server, what="watch", more=()):
        self.process = subprocess.Popen(
            [sys.executable, __file__, what, str(server.port), str(server.pid), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()  # it has begun

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    @contextlib.contextmanager
    def paused(self):
        """Nothing counts while the case itself keeps the process from answering."""
        self.say("pause")
        try:
            yield
        finally:
            self.say("go")

    def end(self):
        out, _ = self.process.communicate("end\n")
        return json.loads(out)


class Refusals(Watch):
    """A process that asks for chats all the time and notes how soon those are that are refused."""

    def __init__(self, server, key=""):
        super().__init__(server, "refusals", [key] if key else [])


def listen():
    """The last word that came from the process that watches us."""
    state = {"word": "go"}

    def read():
        for line in sys.stdin:
            state["word"] = line.strip()
        state["word"] = "end"

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(-10)
    print("watching", flush=True)
    return state


def watch(port, pid):
    """The watching process: one line at the start, one JSON object at the end."""
    state = listen()
    seen = {"asked": 0, "worst_ms": 0.0, "waited_ms": 0.0, "not_ok": 0, "silent": 0,
            "peak": memory_mib(pid)}
    while state["word"] != "end":
        waits = waits_for_cores(pid)
        seen["peak"] = max(seen["peak"], memory_mib(pid))
        if state["word"] == "go":
            answer = ask(port, "/readyz", seconds=30, address="127.0.0.9")
            if state["word"] != "pause":
                seen["asked"] += 1
                seen["not_ok"] += answer.status != 200
                seen["silent"] += answer.status == 0
                if answer.seconds * 1e3 > seen["worst_ms"]:
                    seen["worst_ms"] = answer.seconds * 1e3
                    after = waits_for_cores(pid)
                    seen["waited_ms"] = max(
                        (after[thread] - waits.get(thread, 0) for thread in after), default=0) / 1e6
        time.sleep(0.05)
    print(json.dumps(seen))


def waits_for_cores(pid):
    """Nanoseconds that each thread of the event loops and the pool was ready and had no core."""
    waits = {}
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            if not open(f"/proc/{pid}/task/{thread}/comm").read().startswith("kernel"):
                words = open(f"/proc/{pid}/task/{thread}/schedstat").read().split()
                waits[thread] = int(words[1])
    return waits


def watch_refusals(port, keys):
    state = listen()
    headers = ["Connection: close", *(f"Authorization: Bearer {key}" for key in keys)]
    data = post("/v1/chat/completions", chat(128, stream=True), headers)
    refused = []
    while state["word"] != "end":
        # An answer that is none ends with its first bytes.
        answer = send(port, data, 30, until=b"\r\n\r\n")
        if answer.status in (429, 503):
            refused.append(answer.seconds)
        time.sleep(0.05)
    print(json.dumps({"refused": refused}))


# MARK: One trial


@dataclasses.dataclass
class Result:
    outcome: str = ""
    worst_ms: float = 0.0
    #: How long in the worst of them a thread of the server was ready and had no core.
    waited_ms: float = 0.0
    start: float = 0.0
    peak: float = 0.0
    after: float = 0.0
    failure: str = ""
    #: The failure is one of time alone.
    is_late: bool = False


class Trial:
    """One run of one case."""

    def __init__(self, program, case, is_long):
        self.program = program
        self.case = case
        self.is_long = is_long
        self.directory = ""
        self.server = None
        self.watch = None
        self.started = []

    def serve(self, flags=(), **options):
        """A further server; it is stopped with the trial."""
        server = Server(self.program, self.directory, flags, **options)
        self.started.append(server)
        return server

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self):
        result = Result()
        with tempfile.TemporaryDirectory(prefix="faults-") as self.directory:
            try:
                if self.case.serves:
                    self.observe(result)
                else:
                    result.outcome = self.case.run(self) or ""
            except Failed as failure:
                result.failure = str(failure)
                result.is_late = isinstance(failure, Late)
            except Exception as error:  # also a fault of the case is shown in its row
                result.failure = f"{type(error).__name__}: {error}"
            finally:
                for server in self.started:
                    server.stop()
        return result

    def observe(self, result):
        self.server = self.serve(self.case.flags, **self.case.options)
        before = self.server.reference()
        expect(before.startswith("["), f"the first request got {before}")
        result.start = memory_mib(self.server.pid)
        descriptors = self.server.descriptors()
        self.watch = Watch(self.server)
        try:
            result.outcome = self.case.run(self) or ""
        finally:
            seen = self.watch.end()
            result.peak, result.worst_ms = seen["peak"], seen["worst_ms"]
            result.waited_ms = seen["waited_ms"]
            result.after = memory_mib(self.server.pid)
        if seen["not_ok"]:
            result.outcome += f"; {seen['not_ok']} of {seen['asked']} probes not 200"
        self.settle(result, before, descriptors)
        if self.case.barred:
            expect(seen["silent"] == 0 or seen["worst_ms"] >= BAR_MS, "/readyz gave no answer")
            if seen["worst_ms"] >= BAR_MS:
                raise Late(f"/readyz took {seen['worst_ms']:.0f} ms")

    def settle(self, result, before, descriptors):
        """What holds after every case."""
        server = self.server
        expect(server.is_alive(), f"the process ended: {server.process.poll()}")
        end = time.monotonic() + 30
        trouble = "not asked"
        while trouble and time.monotonic() < end:
            result.after = memory_mib(server.pid)
            trouble = self.trouble(result, descriptors)
            if trouble:
                time.sleep(0.25)
        after = server.reference()
        expect(after == before, f"another answer than at the start: {after[:200]}")
        expect(not trouble, f"30 s later: {trouble}")

    def trouble(self, result, descriptors):
        values = self.server.metrics()
        used = values.get('autoglm_kv_blocks{state="used"}')
        if used != 0:
            return f"KV blocks used: {used}"
        if values.get("autoglm_requests_running") != 0:
            return f"running: {values.get('autoglm_requests_running')}"
        if self.server.descriptors() > descriptors + 5:
            return f"{self.server.descriptors()} descriptors, {descriptors} at the start"
        if result.after > result.start + SLACK_MIB:
            return f"memory {result.start:.0f} → {result.after:.0f} MiB"
        return ""


if __name__ == "__main__":
    if sys.argv[1] == "watch":
        watch(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "refusals":
        watch_refusals(int(sys.argv[2]), sys.argv[4:])
