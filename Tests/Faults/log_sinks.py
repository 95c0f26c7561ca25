#!/usr/bin/env python3
"""Log lines that cannot be written never stop the server.

    log_sinks.py PROGRAM

Starts `PROGRAM serve` with a standard error that fails in one way after the other, sends requests,
and looks at what an operator would see: answers, /readyz, the counter of lost lines, memory, and
the end after SIGTERM. Exit status 1 when one of them is wrong; the last line sums up.
"""
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ".build/release/autoglm"
REQUESTS = 1500
STRACE = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=write"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, stderr, prefix=(), before=None):
        self.port = free_port()
        self.process = subprocess.Popen(
            [*prefix, PROGRAM, "serve", "--port", str(self.port), "--log-format", "json",
             "--log-level", "debug"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, preexec_fn=before)
        end = time.monotonic() + 60
        while self.get("/readyz", 1)[0] != 200:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError("the server did not get ready")
            time.sleep(0.05)

    def get(self, path, timeout=5):
        start = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}",
                                        timeout=timeout) as answer:
                return answer.status, time.monotonic() - start, answer.read().decode()
        except OSError as error:
            return getattr(error, "code", 0), time.monotonic() - start, str(error)

    def work(self, count):
        """Requests on one connection, each of which logs a line of some 300 bytes."""
        body = json.dumps({"text": "a" * 8}).encode()
        head = (f"POST /v1/tokenize HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: {'r' * 60}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
        answered = 0
        with socket.create_connection(("127.0.0.1", self.port), 5) as s:
            reader = s.makefile("rb")
            for _ in range(count):
                s.sendall(head + body)
                if b" 200 " not in reader.readline():
                    break
                length = 0
                while (line := reader.readline().strip()):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                reader.read(length)
                answered += 1
        return answered

    def lost(self):
        text = self.get("/metrics")[2]
        return {reason: int(float(n)) for reason, n in re.findall(
            r'autoglm_log_lines_dropped_total\{reason="(\w+)"\} (\S+)', text) if float(n) > 0}

    def pid(self):
        """Of the server itself, behind strace."""
        name = os.path.basename(PROGRAM)
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    stat = file.read()
            except OSError:
                continue
            if f"({name})" in stat and int(stat.rsplit(")", 1)[1].split()[1]) == self.process.pid:
                return int(entry)
        return self.process.pid

    def resident(self):
        with open(f"/proc/{self.pid()}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) // 1024

    def end(self):
        """Seconds from SIGTERM to the end, and how it ended."""
        start = time.monotonic()
        os.kill(self.pid(), signal.SIGTERM)
        try:
            return time.monotonic() - start, self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.kill(self.pid(), signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            return time.monotonic() - start, "killed after 15 s"


failures = []


def check(name, what, holds):
    if not holds:
        failures.append(f"{name}: {what}")


def attack(name, reason, stderr, prefix=(), before=None, mend=None, closes=()):
    """`mend` makes the sink work again and returns a function that reads what came out."""
    server = Server(stderr, prefix, before)
    for descriptor in closes:
        os.close(descriptor)
    try:
        before_bytes = server.resident()
        answered = server.work(REQUESTS)
        code, seconds, _ = server.get("/readyz")
        lost = server.lost()
        grown = server.resident() - before_bytes
        check(name, f"{answered} of {REQUESTS} requests answered", answered == REQUESTS)
        check(name, f"/readyz {code} after {seconds:.3f} s", code == 200 and seconds < 0.2)
        check(name, f"lines lost: {lost}, expected {reason}", set(lost) == set(reason))
        check(name, f"memory grew by {grown} MiB", grown < 64)
        if mend:
            read = mend()
            server.work(5)
            time.sleep(0.7)
            text = read()
            told = re.findall(r'"log lines were lost","lines":(\d+)', text)
            check(name, f"one line tells of the loss: {told}, {lost}",
                  sum(map(int, told)) == sum(server.lost().values()) and len(told) >= 1)
            for line in text.splitlines()[1:]:
                if line:
                    try:
                        json.loads(line)
                    except ValueError:
                        check(name, f"a torn line: {line[:80]}", False)
    finally:
        seconds, status = server.end()
    check(name, f"ended with {status} {seconds:.1f} s after SIGTERM", status == 0 and seconds < 5)
    print(f"{name:34} answered {answered}, lost {lost}, +{grown} MiB, end {seconds:.1f} s",
          flush=True)


def main():
    reader, writer = os.pipe()

    def drain():
        def read():
            os.set_blocking(reader, False)
            parts = []
            while True:
                try:
                    part = os.read(reader, 1 << 16)
                except BlockingIOError:
                    time.sleep(0.1)
                    try:
                        part = os.read(reader, 1 << 16)
                    except BlockingIOError:
                        break
                if not part:
                    break
                parts.append(part)
            return b"".join(parts).decode()
        first = read()
        return lambda: first + read()

    attack("pipe that nobody reads", {"stalled"}, writer, mend=drain)
    os.close(reader)
    os.close(writer)

    reader, writer = os.pipe()
    attack("pipe without a reader", {"reader_gone"}, writer, closes=[reader])
    os.close(writer)

    with open("/dev/full", "w") as full:
        attack("/dev/full", {"disk_full"}, full)

    # Descriptor 2 must not become a connection or a file.
    attack("closed descriptor", {"closed"}, None, before=lambda: os.close(2))

    with open("/dev/null") as read_only:
        attack("descriptor not open for writing", {"closed"}, read_only)

    # A limit on the size of files is a disk that is full, without being root.
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/log"
        with open(path, "a") as log:
            def limit():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, resource.RLIM_INFINITY))

            def truncate():
                os.truncate(path, 0)
                return lambda: open(path).read()

            # The embedded model is in the cache by now, so that nothing else is to be written.
            attack("file that may not grow", {"disk_full"}, log, before=limit, mend=truncate)

    if subprocess.run(["which", "strace"], capture_output=True).returncode == 0:
        for error, reason in [("EIO", "device"), ("ENOSPC", "disk_full"), ("EDQUOT", "disk_full")]:
            with tempfile.NamedTemporaryFile() as log:
                attack(f"strace: {error} on a file", {reason}, log,
                       prefix=[*STRACE, "-P", log.name,
                               "-e", f"inject=write:error={error}:when=20+"])
    print(f"log_sinks: {'ok' if not failures else 'FAILED: ' + '; '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
