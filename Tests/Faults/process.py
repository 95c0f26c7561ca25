"""Group F: what happens to the process and its host: signals, logs, disks, memory, clocks."""

import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import (
    MIB, Cgroup, Failed, Server, at_once, case, chat, connect, cpu_seconds, expect, memory_mib, parse,
    post, read_all, statuses,
)
from wire import half_body

# MARK: Signals


class Streams:
    """Streams that run in threads; what they got is there when they are over."""

    def __init__(self, server, count, tokens=3_000, headers=("Connection: close",)):
        self.answers = [b""] * count
        self.begun = threading.Semaphore(0)
        self.threads = []
        for index in range(count):
            thread = threading.Thread(
                target=self.run, args=(server, index, tokens, headers), daemon=True)
            self.threads.append(thread)
            thread.start()
        for _ in range(count):
            self.begun.acquire(timeout=10)

    def run(self, server, index, tokens, headers):
        try:
            with connect(server.port) as connection:
                connection.sendall(
                    post("/v1/chat/completions", chat(tokens, stream=True), headers))
                out = connection.recv(1 << 16)
                self.begun.release()
                self.answers[index] = out + read_all(connection, 120)
        except OSError:
            self.begun.release()

    def join(self):
        for thread in self.threads:
            thread.join(150)
        return self.answers

    def explicit(self):
        """How many ended with the last event or an error event, how many without a word."""
        ended = [answer for answer in self.join() if b"[DONE]" in answer]
        told = [answer for answer in self.answers if b'"error"' in answer]
        silent = [answer for answer in self.answers
                  if b"[DONE]" not in answer and b'"error"' not in answer]
        return len(ended), len(told), len(silent)


@case("57", "SIGTERM with 50 open streams: 503, answers or error events, exit 0", serves=False)
def terminate(trial):
    drain = 30 if trial.is_long else 4
    server = trial.serve(["--drain-timeout", str(drain)])
    kept = connect(server.port)
    streams = Streams(server, 50, 4_000)
    start = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    time.sleep(0.1)
    ready = server.ask("/readyz", seconds=5)
    work = server.ask("/v1/chat/completions", chat(1), seconds=5)
    kept.sendall(post("/v1/completions", {"prompt": "a", "max_tokens": 1}))
    old = parse(read_all(kept, 5))
    expect(ready.status == 503, f"/readyz says {ready.status} after 100 ms")
    expect(ready.seconds < 0.2, f"/readyz took {ready.seconds:.2f} s")
    for answer in (work, old):
        expect(answer.status == 503 and "retry-after" in answer.headers,
               f"new work gets {answer.status}")
    ended, told, silent = streams.explicit()
    code = server.process.wait(drain + 10)
    seconds = time.monotonic() - start
    expect(silent == 0, f"{silent} of 50 streams were cut without a word")
    expect(code == 0, f"exit {code}")
    expect(seconds < drain + 5, f"ended after {seconds:.0f} s")
    return f"{ended} ended, {told} with an error event, exit 0 after {seconds:.1f} s"


@case("57", "a second SIGTERM ends it within 2 s", serves=False)
def terminate_twice(trial):
    server = trial.serve()
    streams = Streams(server, 20, 4_000)
    os.kill(server.pid, signal.SIGTERM)
    time.sleep(0.5)
    expect(server.is_alive(), "it did not wait for its streams")
    start = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    try:
        code = server.process.wait(5)
    except subprocess.TimeoutExpired:
        raise Failed("still there after 5 s") from None
    seconds = time.monotonic() - start
    expect(seconds < 2, f"{seconds:.1f} s")
    expect(code >= 0, f"signal {-code}")
    silent = streams.explicit()[2]
    return f"exit {code} after {seconds * 1e3:.0f} ms, {silent} of 20 cut without a word"


@case("57", "SIGTERM while 30 bodies are half sent and 30 connections say nothing", serves=False)
def terminate_halves(trial):
    server = trial.serve(["--drain-timeout", "3"])
    open_ = [connect(server.port) for _ in range(60)]
    for connection in open_[:30]:
        connection.sendall(half_body()[:100_000])
    start = time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    try:
        code = server.process.wait(12)
    except subprocess.TimeoutExpired:
        raise Failed("still there after 12 s") from None
    for connection in open_:
        connection.close()
    expect(code == 0, f"exit {code}")
    return f"exit 0 after {time.monotonic() - start:.1f} s"


@case("58", "kill -9 at random moments: ready again, nothing stale", serves=False)
def killed(trial):
    generator = random.Random(5)
    count = 100 if trial.is_long else 10
    slowest, wanted = 0.0, None
    port = None
    for _ in range(count):
        start = time.monotonic()
        server = Server(trial.program, trial.directory, port=port)
        port = server.port
        slowest = max(slowest, time.monotonic() - start)
        try:
            got = server.reference()
            wanted = wanted or got
            expect(got == wanted, f"another answer after a restart: {got[:100]}")
            streams = Streams(server, generator.randint(1, 20), 500)
            time.sleep(generator.random() * 0.5)
            os.kill(server.pid, signal.SIGKILL)
            streams.join()
        finally:
            server.stop()
    expect(slowest < 6, f"ready after {slowest:.1f} s")
    return f"{count} times, ready after {slowest:.1f} s at most"


@case("58", "kill -9 while the model loads", serves=False)
def killed_loading(trial):
    for delay in (0.005, 0.02, 0.05, 0.1, 0.2):
        process = subprocess.Popen(
            [trial.program, "serve", "--port", "0"], stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL)
        time.sleep(delay)
        process.kill()
        process.wait()
    server = trial.serve()
    expect(server.reference().startswith("["), "no answer")
    return "6 starts"


@case("59", "SIGSTOP for 5 s and SIGCONT: goes on, dead requests are not computed")
def stopped(trial):
    server = trial.server
    streams = Streams(server, 10, 600)
    waiting = [connect(server.port) for _ in range(100)]
    with trial.watch.paused():
        os.kill(server.pid, signal.SIGSTOP)
        for connection in waiting:
            connection.sendall(post("/v1/chat/completions", chat(2_000)))
        for connection in waiting:
            connection.close()
        time.sleep(5)
        os.kill(server.pid, signal.SIGCONT)
        answer = server.ask("/readyz", seconds=10)
    expect(answer.status == 200 and answer.seconds < 2, f"/readyz {answer.status}")
    ended, told, silent = streams.explicit()
    expect(silent == 0, f"{silent} of 10 streams were cut without a word")
    end = time.monotonic() + 3
    while (running := server.metrics()["autoglm_requests_running"]) and time.monotonic() < end:
        time.sleep(0.1)
    expect(running == 0, f"{running:.0f} requests of clients that left are computed")
    return f"{ended} streams ended, {told} told"


class Tracer:
    """Stops one thread of a process, as a stuck device or a deadlock would (ptrace)."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, thread):
        self.thread = thread
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def stop(self):
        if self.libc.ptrace(self.SEIZE, self.thread, None, None) != 0:
            return False
        self.libc.ptrace(self.INTERRUPT, self.thread, None, None)
        os.waitpid(self.thread, self.WALL)
        return True

    def go(self):
        self.libc.ptrace(self.DETACH, self.thread, None, None)


def thread_times(pid):
    times = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            fields = open(f"/proc/{pid}/task/{thread}/stat").read().rsplit(")", 1)[1].split()
            times[int(thread)] = int(fields[11]) + int(fields[12])
    return times


def engine_thread(server):
    """The thread that works most while tokens are made, the pool's own (kernel-1…) aside."""
    before = thread_times(server.pid)
    at_once(8, lambda _: server.ask("/v1/chat/completions", chat(500)))
    after = thread_times(server.pid)
    spent = {}
    for thread, value in after.items():
        name = open(f"/proc/{server.pid}/task/{thread}/comm").read()
        if not name.startswith(("kernel", "NIO")):
            spent[thread] = value - before.get(thread, 0)
    return max(spent, key=spent.get)


def stop_engine(trial, while_running):
    server = trial.server
    tracer = Tracer(engine_thread(server))
    streams = Streams(server, 5, 4_000) if while_running else None
    if not tracer.stop():
        return "not run: this machine does not let us trace"
    try:
        start = time.monotonic()
        noticed = None
        while time.monotonic() < start + 6:
            if server.ask("/readyz", seconds=5).status == 503:
                noticed = time.monotonic() - start
                break
            time.sleep(0.05)
        expect(noticed is not None, "/readyz says 200 for 6 s without progress")
        expect(server.ask("/livez", seconds=2).status == 200, "/livez does not answer")
        back = None
        while time.monotonic() < start + 15:
            if server.ask("/readyz", seconds=5).status == 200:
                back = time.monotonic() - start
                break
            time.sleep(0.1)
        again = server.ask("/v1/chat/completions", chat(2), seconds=20) if back else None
        told = streams.explicit() if back and streams else None
    finally:
        tracer.go()
    expect(back is not None, f"503 after {noticed:.1f} s; not ready again within 15 s")
    expect(again.status == 200, f"a chat with a new engine gets {again.status}")
    expect(not told or told[2] == 0, f"streams (ended, told, silent): {told}")
    return f"503 after {noticed:.1f} s, ready again after {back:.1f} s"


@case("60", "the engine's thread stops in the middle of its work: noticed, replaced")
def engine_stopped_running(trial):
    return stop_engine(trial, True)


@case("60", "the engine's thread stops while there is nothing to do: noticed, replaced")
def engine_stopped_idle(trial):
    return stop_engine(trial, False)


@case("60", "the engine's thread stops: deadlines are kept all the same")
def engine_stopped_deadlines(trial):
    server = trial.server
    tracer = Tracer(engine_thread(server))
    if not tracer.stop():
        return "not run: this machine does not let us trace"
    try:
        start = time.monotonic()
        answers = at_once(8, lambda index: server.ask(
            "/v1/chat/completions", chat(100, stream=index % 2 == 0),
            ("x-deadline-ms: 1500",), 8))
        seconds = max(answer.seconds for answer in answers)
        for answer in answers:
            expect(answer.status in (429, 503, 504) or b'"error"' in answer.body,
                   f"{answer.status} {answer.body[-80:]} after {answer.seconds:.1f} s")
        expect(seconds < 3, f"{seconds:.1f} s for a deadline of 1.5 s")
    finally:
        tracer.go()
    return f"{statuses(answers)} after {time.monotonic() - start:.1f} s at most"


# MARK: Logs and disks


def works(server, count=300):
    """So many requests get their answers, quickly, and probes too."""
    def one(index):
        if index % 10 == 0:
            return server.ask("/nothing-of-this-name" + "x" * 200, seconds=5)
        return server.ask("/v1/completions", {"prompt": "a", "max_tokens": 1}, seconds=5)

    answers = [answer for _ in range(count // 10) for answer in at_once(10, one)]
    bad = [answer for answer in answers if answer.status not in (200, 404)]
    expect(not bad, f"{len(bad)} of {len(answers)} requests failed: {statuses(answers)}")
    live = server.ask("/livez", seconds=3)
    expect(live.status == 200, f"/livez {live.status}")
    slowest = max(answer.seconds for answer in answers)
    expect(slowest < 2, f"a request took {slowest:.1f} s")
    dropped = server.metrics().get("autoglm_log_lines_dropped_total")
    return f"{len(answers)} answered, slowest {slowest * 1e3:.0f} ms, {dropped:.0f} lines dropped"


def ends(server):
    os.kill(server.pid, signal.SIGTERM)
    try:
        expect(server.process.wait(8) == 0, f"exit {server.process.returncode}")
    except subprocess.TimeoutExpired:
        raise Failed("SIGTERM does nothing") from None


@case("61", "a log pipe that nobody reads: lines are lost, not requests", serves=False)
def log_pipe_stalled(trial):
    reader, writer = os.pipe()
    try:
        server = trial.serve(stderr=writer)
        outcome = works(server, 1_000)
        ends(server)
    finally:
        os.close(reader)
        os.close(writer)
    return outcome


@case("61", "a log pipe stalls, is read again, stalls again", serves=False)
def log_pipe_halting(trial):
    reader, writer = os.pipe()
    try:
        server = trial.serve(stderr=writer)
        works(server, 600)
        seen = os.read(reader, 1 << 20)
        outcome = works(server, 600)
        seen += os.read(reader, 1 << 20)
        for line in seen.split(b"\n")[:-1]:
            expect(line.startswith(b"{") and line.endswith(b"}"), f"a torn line: {line[:80]!r}")
        ends(server)
    finally:
        os.close(reader)
        os.close(writer)
    return outcome


@case("61", "both outputs are one stalled socket", serves=False)
def log_socket_stalled(trial):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = trial.serve(stderr=theirs.fileno(), stdout=theirs.fileno())
        outcome = works(server, 1_500)
        ends(server)
    return outcome


@case("61", "the reader of the log leaves", serves=False)
def log_reader_left(trial):
    reader, writer = os.pipe()
    server = trial.serve(stderr=writer)
    os.close(writer)
    os.close(reader)
    outcome = works(server)
    ends(server)
    return outcome


@case("61", "the log's disk is full (/dev/full)", serves=False)
def log_disk_full(trial):
    with open("/dev/full", "wb") as full:
        server = trial.serve(stderr=full)
        outcome = works(server)
        ends(server)
    return outcome


@case("61", "the log lies on a tmpfs of 64 KiB, is full, and is emptied", serves=False)
def log_tmpfs_full(trial):
    directory = trial.path("small")
    os.mkdir(directory)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory],
                      stderr=subprocess.DEVNULL).returncode:
        return "not run: nothing can be mounted here"
    try:
        with open(directory + "/log", "ab") as log:
            server = trial.serve(stderr=log)
            works(server, 600)
            os.truncate(directory + "/log", 0)
            outcome = works(server, 100)
            lines = open(directory + "/log", "rb").read().split(b"\n")
            expect(any(b'"request"' in line for line in lines), "no line after it was emptied")
            ends(server)
    finally:
        subprocess.run(["umount", "-l", directory])
    return outcome


def injected(trial, fault):
    """Runs the program under strace, which makes its writes to the log fail."""
    expect(shutil.which("strace"), "strace is not installed")
    path = trial.path("injected-log")
    with open(path, "ab") as log:
        server = trial.serve(stderr=log, wrap=[
            "strace", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-P", path,
            "-e", "trace=write,writev,pwrite64,fsync,poll",
            "-e", f"inject=write,writev,pwrite64,fsync:{fault}"])
        outcome = works(server)
        expect(server.reference().startswith("["), "no good answer afterwards")
    return outcome


@case("61", "ENOSPC injected into each write of a log line", serves=False)
def log_no_space(trial):
    return injected(trial, "error=ENOSPC")


@case("61", "EIO injected into every third write of a log line", serves=False)
def log_io_error(trial):
    return injected(trial, "error=EIO:when=2+3")


@case("61", "EINTR and EAGAIN injected into writes of log lines", serves=False)
def log_again(trial):
    injected(trial, "error=EINTR:when=2+2")
    return injected(trial, "error=EAGAIN")


@case("61", "a write of a log line takes 2 s (a disk that hangs)", serves=False)
def log_slow(trial):
    return injected(trial, "delay_enter=2000000:when=3+50")


# MARK: Descriptors


def exhaust(trial, limit, count=1_000):
    server = trial.serve(files=limit)
    streams = Streams(server, 5, 2_000)
    kept = []
    probe = connect(server.port)
    probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    expect(parse(read_all(probe, 3, b"}")).status == 200, "no answer before")
    for _ in range(count):
        with contextlib.suppress(OSError):
            kept.append(connect(server.port, timeout=0.3))
    time.sleep(0.5)
    streams.join()
    before = cpu_seconds(server.pid)
    time.sleep(3)
    share = (cpu_seconds(server.pid) - before) / 3
    start = time.monotonic()
    probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    held = parse(read_all(probe, 3, b"}"))
    held_ms = (time.monotonic() - start) * 1e3
    silent = streams.explicit()[2]
    for connection in kept:
        connection.close()
    probe.close()
    expect(server.is_alive(), f"the process ended: {server.process.poll()}; {server.said()}")
    expect(share < 0.5, f"{share:.0%} of a core with nothing to do")
    expect(held.status == 200 and held_ms < 200, f"/readyz on an open connection: {held.status}")
    expect(silent == 0, f"{silent} of 5 streams were cut")
    start = time.monotonic()
    answer = server.ask("/readyz", seconds=8)
    seconds = time.monotonic() - start
    expect(answer.status == 200 and seconds < 5, f"recovered after {seconds:.1f} s")
    expect(server.reference().startswith("["), "no good answer afterwards")
    return f"{len(kept)} connected, {share:.0%} CPU, back after {seconds * 1e3:.0f} ms"


@case("63", "ulimit -n 256 and 1,000 connects: pauses, burns nothing, recovers", serves=False)
def descriptors_256(trial):
    return exhaust(trial, 256)


@case("63", "ulimit -n 64 and 300 connects", serves=False)
def descriptors_64(trial):
    return exhaust(trial, 64, 300)


@case("63", "more connections than --max-connections", serves=False)
def connections_full(trial):
    server = trial.serve(["--max-connections", "50"])
    kept = []
    for _ in range(200):
        with contextlib.suppress(OSError):
            kept.append(connect(server.port, timeout=0.5))
    before = cpu_seconds(server.pid)
    time.sleep(2)
    share = (cpu_seconds(server.pid) - before) / 2
    ready = server.ask("/readyz", seconds=5, address="127.0.0.9")
    for connection in kept:
        connection.close()
    expect(share < 0.5, f"{share:.0%} of a core")
    after = server.ask("/readyz", seconds=5)
    expect(after.status == 200, f"/readyz {after.status} afterwards")
    expect(ready.status == 200, "no connection is left for /readyz")
    return f"/readyz meanwhile {ready.status} ({ready.seconds * 1e3:.0f} ms), {share:.0%} CPU"


# MARK: Memory


def busy(server, count, tokens=60, bodies=0):
    """Streams, and beside them bodies that are never finished."""
    open_ = []
    for _ in range(bodies):
        with contextlib.suppress(OSError):
            connection = connect(server.port, timeout=10)
            open_.append(connection)
            threading.Thread(
                target=lambda to=connection: _send(to, half_body()), daemon=True).start()
    generator = random.Random(6)
    texts = [" ".join(str(generator.random()) for _ in range(80)) for _ in range(count)]
    answers = at_once(count, lambda index: server.ask(
        "/v1/chat/completions", chat(tokens, texts[index]), seconds=60))
    for connection in open_:
        connection.close()
    return answers


def _send(connection, data):
    with contextlib.suppress(OSError):
        connection.sendall(data)


@case("62", "a cgroup of 1.1 × the working set, twice the load and half-sent bodies", serves=False)
def small_cgroup(trial):
    if not Cgroup.is_possible():
        return "not run: no cgroup can be made here"
    flags = ["--kv-cache-memory", "16MiB"]
    server = trial.serve(flags)
    peak = 0.0
    for _ in range(3):
        busy(server, 32)
        peak = max(peak, memory_mib(server.pid))
    server.stop()
    count = 10 if trial.is_long else 3
    outcomes = []
    for number in range(count):
        cgroup = Cgroup(int(1.1 * peak * MIB))
        server = trial.serve(flags, cgroup=cgroup)
        answers = busy(server, 64, bodies=20 * (number % 2 + 1))
        expect(server.is_alive() and cgroup.kills() == 0,
               f"run {number + 1}: killed in {1.1 * peak:.0f} MiB; {statuses(answers)}")
        expect({answer.status for answer in answers} <= {200, 429, 503}, statuses(answers))
        end = time.monotonic() + 15
        while (got := server.reference())[0] != "[" and time.monotonic() < end:
            time.sleep(0.5)
        expect(got[0] == "[", f"run {number + 1}: afterwards {got}")
        outcomes.append(statuses(answers))
        server.stop()
    return f"{count} × in {1.1 * peak:.0f} MiB: {outcomes[0]}"


@case("62", "default flags in a cgroup of 256 MiB: the limit is known from the start", serves=False)
def known_cgroup(trial):
    if not Cgroup.is_possible():
        return "not run: no cgroup can be made here"
    cgroup = Cgroup(256 * MIB)
    server = trial.serve(cgroup=cgroup)
    total = sum(value for name, value in server.metrics().items() if "kv_blocks{" in name)
    for _ in range(4):
        answers = busy(server, 128, 200)
    expect(server.is_alive() and cgroup.kills() == 0, "killed")
    return f"{total:.0f} blocks, {statuses(answers)}"


# MARK: Clocks

FAKE = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def with_clock(trial, steps):
    """Serves while the wall clock is what `steps` say, one after the other."""
    if not os.path.exists(FAKE):
        return "not run: libfaketime is not installed"
    path = trial.path("clock")
    with open(path, "w") as file:
        file.write(steps[0])
    # libfaketime adds to the environment when it comes in, which moves it, and then Swift does not
    # find its arguments. So it comes in with `env`, and finds its addition there the second time.
    server = trial.serve(wrap=["env"], env={
        "LD_PRELOAD": FAKE, "FAKETIME_TIMESTAMP_FILE": path, "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"})
    wanted = server.reference()
    for step in steps[1:]:
        streams = Streams(server, 8, 400)
        deadlines = [None]

        def timed():
            deadlines[0] = at_once(4, lambda _: server.ask(
                "/v1/chat/completions", chat(50), ("x-deadline-ms: 20000",), 30))

        thread = threading.Thread(target=timed)
        thread.start()
        with open(path + ".new", "w") as file:
            file.write(step)
        os.rename(path + ".new", path)
        thread.join()
        ended, told, silent = streams.explicit()
        expect(ended == 8, f"{step}: of 8 streams {ended} ended, {told} told, {silent} silent")
        expect(all(answer.status == 200 for answer in deadlines[0]), statuses(deadlines[0]))
        expect(server.reference() == wanted, f"{step}: another answer")
        expect(server.ask("/readyz").status == 200, f"{step}: not ready")
        for name, value in server.metrics().items():
            expect(value >= 0, f"{step}: {name} is {value}")
        for line in open(server.log):
            expect('"ms":-' not in line, f"{step}: {line[:200]}")
    for line in server.ask("/metrics").body.decode().splitlines():
        expect(" -" not in line or line.startswith("#"), line)
    return f"{len(steps) - 1} steps"


@case("64", "the wall clock jumps by ± 1 hour and ± 1 day under load", serves=False)
def clock_jumps(trial):
    return with_clock(trial, ["+0", "+1h", "-1h", "+1d", "-1d", "+0"])


@case("64", "the wall clock stands still", serves=False)
def clock_frozen(trial):
    return with_clock(trial, ["2026-01-01 00:00:00", "2026-01-01 00:00:00", "2031-01-01 00:00:00"])
