"""Group C: what clients do on the wire: slowly, too much, half, or not as HTTP is written."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time

from harness import (
    MIB, Cgroup, at_once, case, chat, connect, cpu_seconds, expect, expect_in_time, head, memory_mib,
    parse, percentile, post, read_all, source, statuses, unchunk,
)

# MARK: Slow clients


class Healthy:
    """A client that asks something small again and again while the attack runs."""

    def __init__(self, server):
        self.seconds, self.bad, self.over = [], 0, False
        self.server = server

    def run(self):
        while not self.over:
            answer = self.server.ask("/v1/completions", {"prompt": "a", "max_tokens": 1})
            self.bad += answer.status != 200
            self.seconds.append(answer.seconds)
            time.sleep(0.05)

    def __enter__(self):
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()

    def check(self, limit=0.2):
        slow = percentile(self.seconds, 0.99)
        expect(self.bad == 0, f"{self.bad} of {len(self.seconds)} healthy requests failed")
        expect_in_time(slow < limit, f"healthy requests took {slow * 1e3:.0f} ms (p99)")
        return f"healthy p99 {slow * 1e3:.0f} ms"


def slowhttptest(trial, *flags):
    expect(shutil.which("slowhttptest"), "slowhttptest is not installed")
    command = [
        "slowhttptest", "-c", "1000", "-r", "500", "-p", "3", "-l", "20", *flags]
    with Healthy(trial.server) as healthy:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=trial.directory, timeout=120)
    expect(done.returncode == 0, f"slowhttptest: {done.stdout[-200:]}")
    return healthy.check()


ROOMY = ("--max-connections-per-address", "2000")


@case("27", "slowhttptest: 1,000 connections with slow headers", flags=ROOMY)
def slow_headers(trial):
    url = f"http://127.0.0.1:{trial.server.port}/readyz"
    return slowhttptest(trial, "-H", "-i", "2", "-u", url)


@case("27", "slowhttptest: 1,000 connections with slow bodies", flags=ROOMY)
def slow_bodies(trial):
    url = f"http://127.0.0.1:{trial.server.port}/v1/completions"
    return slowhttptest(
        trial, "-B", "-i", "2", "-s", "8192", "-t", "POST", "-f", "application/json", "-u", url)


@case("27", "slowhttptest: 1,000 connections that read slowly", flags=ROOMY)
def slow_readers(trial):
    url = f"http://127.0.0.1:{trial.server.port}/metrics"
    return slowhttptest(
        trial, "-X", "-w", "1", "-y", "10", "-n", "5", "-z", "1", "-k", "3", "-u", url)


@case("27", "1,000 connections from 100 addresses give a byte of header a second: cut at 10 s")
def trickled_headers(trial):
    text = head("GET", "/readyz")[:-2] + b"X-A: " + b"a" * 100
    open_ = [connect(trial.server.port, f"127.3.0.{index % 100 + 1}") for index in range(1_000)]
    start, cut = time.monotonic(), {}
    try:
        while len(cut) < len(open_) and time.monotonic() < start + 14:
            for index, connection in enumerate(open_):
                if index in cut:
                    continue
                connection.setblocking(False)
                try:
                    if connection.recv(4_096) is not None:
                        cut[index] = time.monotonic() - start
                except BlockingIOError:
                    with contextlib.suppress(OSError):
                        connection.send(text[int(time.monotonic() - start):][:1])
                except OSError:
                    cut[index] = time.monotonic() - start
            time.sleep(1)
    finally:
        for connection in open_:
            connection.close()
    expect(len(cut) == 1_000, f"{1_000 - len(cut)} of 1,000 are still open after 14 s")
    expect(min(cut.values()) > 8, f"cut after {min(cut.values()):.1f} s already")
    return f"cut after {min(cut.values()):.0f}–{max(cut.values()):.0f} s"


@case("27", "200 bodies that come a byte every 5 s: each is over within 90 s, memory bounded")
def trickled_bodies(trial):
    data = head("POST", "/v1/completions", 8_000_000) + b'{"prompt":"'
    open_ = [connect(trial.server.port) for _ in range(200)]
    for connection in open_:
        connection.sendall(data)
    time.sleep(1)
    grown = memory_mib(trial.server.pid)
    start, over = time.monotonic(), 0
    limit = 90
    while time.monotonic() < start + limit and over < len(open_):
        time.sleep(5)
        over = 0
        for connection in open_:
            connection.setblocking(False)
            try:
                over += connection.recv(4_096) is not None
            except BlockingIOError:
                with contextlib.suppress(OSError):
                    connection.send(b"a")
            except OSError:
                over += 1
    for connection in open_:
        connection.close()
    expect(over == len(open_), f"{len(open_) - over} of 200 may go on after {limit} s")
    return f"all over after {time.monotonic() - start:.0f} s, {grown:.0f} MiB meanwhile"


@case("27", "100 streams whose clients stop reading: cut at 30 s, the others go on")
def unread_streams(trial):
    open_ = []
    for _ in range(100):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.bind((source(), 0))
        connection.connect(("127.0.0.1", trial.server.port))
        connection.sendall(post("/v1/chat/completions", chat(
            2_000, stream=True, logprobs=True, top_logprobs=20)))
        open_.append(connection)
    time.sleep(1)
    answer = trial.server.ask("/v1/chat/completions", chat(4), seconds=60)
    expect(answer.status in (200, 429, 503), f"a neighbour got {answer.status}")
    end = time.monotonic() + 100
    while time.monotonic() < end and trial.server.metrics()["autoglm_requests_running"]:
        time.sleep(1)
    running = trial.server.metrics()["autoglm_requests_running"]
    for connection in open_:
        connection.close()
    expect(running == 0, f"{running:.0f} still running after 100 s")
    return f"a neighbour: {answer.status} after {answer.seconds:.1f} s"


# MARK: Too much


@case("29", "100,000 headers of one byte, one of 1 MB, an address of 1 MB: 431/414 and close")
def header_floods(trial):
    floods = {
        "100,000 headers": head("GET", "/readyz")[:-2] + b"a:b\r\n" * 100_000 + b"\r\n",
        "1 MB header": head("GET", "/readyz")[:-2] + b"X-A: " + b"a" * MIB + b"\r\n\r\n",
        "1 MB name": head("GET", "/readyz")[:-2] + b"a" * MIB + b": b\r\n\r\n",
        "1 MB address": b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "1 MB method": b"G" * MIB + b" / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "endless line": b"a" * MIB,
    }
    outcomes = []
    for name, data in floods.items():
        answers = at_once(20, lambda _: trial.server.send(data, 15, source()))
        expect({answer.status for answer in answers} <= {400, 414, 431},
               f"{name}: {statuses(answers)}")
        outcomes.append(f"{name} {answers[0].status}")
    return ", ".join(outcomes)


def chunked(body, size=None, extension=b""):
    size = size or len(body)
    out = bytearray()
    for start in range(0, len(body), size):
        part = body[start:start + size]
        out += b"%x%s\r\n%s\r\n" % (len(part), extension, part)
    return bytes(out) + b"0\r\n\r\n"


def chunked_post(data, path="/v1/tokenize", version="1.1", coding="chunked"):
    return (f"POST {path} HTTP/{version}\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nTransfer-Encoding: {coding}\r\n\r\n").encode() + data


@case("30", "4 MB in chunks of one byte, 8 clients at once")
def tiny_chunks(trial):
    body = b'{"tokens":[' + b"7," * 2_000_000 + b"7]}"
    data = chunked_post(chunked(body, 1), "/v1/detokenize")
    start = memory_mib(trial.server.pid)
    answers = at_once(8, lambda _: trial.server.send(data, 120, source()))
    expect({answer.status for answer in answers} <= {200, 400, 413, 429, 503}, statuses(answers))
    peak = memory_mib(trial.server.pid)
    return f"{statuses(answers)}, {start:.0f} → {peak:.0f} MiB"


@case("30", "chunk extensions of 1 MB, sizes beyond all bounds: an error at once")
def chunk_sizes(trial):
    body = b'{"text":"a"}'
    outcomes = []
    for name, data, wanted in (
        ("extension", chunked(body, extension=b";a=" + b"x" * MIB), {200, 400, 413, 431}),
        ("many extensions", chunked(b" " * 2_000 + body, 1, b";a=" + b"x" * 500),
         {200, 400, 413}),
        ("64-bit", b"ffffffffffffffff\r\n{", {400, 413}),
        ("63-bit", b"7fffffffffffffff\r\n{", {400, 413}),
        ("63-bit", b"8000000000000000\r\n{", {400, 413}),
        ("wraps at 32 bits", b"100000004\r\n{}ab\r\n0\r\n\r\n", {400, 413}),
        ("17 digits", b"10000000000000004\r\n{}ab\r\n0\r\n\r\n", {400, 413}),
        ("zeros", b"0" * 100_000 + b"c\r\n" + body + b"\r\n0\r\n\r\n", {200, 400, 413}),
        ("8 MiB + 1", b"800001\r\n{", {400, 413}),
        ("-1", b"-1\r\n{", {400}), ("+c", b"+c\r\n" + body + b"\r\n0\r\n\r\n", {400}),
        ("0x", b"0xc\r\n" + body + b"\r\n0\r\n\r\n", {400}),
        ("empty", b"\r\n" + body + b"\r\n0\r\n\r\n", {400}),
        ("bare LF", b"c\n" + body + b"\n0\n\n", {400}),
        ("data too long", b"c\r\n" + body + b"x\r\n0\r\n\r\n", {400}),
        ("trailers", b"c\r\n" + body + b"\r\n0\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
         {200, 400, 413, 431}),
    ):
        answer = trial.server.send(chunked_post(data), 8)
        expect(answer.status in wanted, f"{name}: {answer.status} after {answer.seconds:.1f} s")
        expect(answer.seconds < 5, f"{name}: {answer.seconds:.1f} s")
        outcomes.append(f"{name} {answer.status}")
    return ", ".join(outcomes)


@case("34", "compressed bodies: 415")
def compressed_bodies(trial):
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"):
        answer = trial.server.send(post(
            "/v1/tokenize", b"\x1f\x8b" + b"\0" * 10_000,
            (f"Content-Encoding: {coding}", "Connection: close")))
        expect(answer.status == 415, f"{coding}: {answer.status}")
    return "6 × 415"


@case("35", "JSON that is none: 400, quickly")
def broken_json(trial):
    def message(content):
        return b'{"messages":[{"role":"user","content":' + content + b'}],"max_tokens":1}'

    texts = {
        "depth": b"[" * 100_000, "closed depth": b"[" * 100_000 + b"]" * 100_000,
        "depth in a message": message(b'"a"')[:-1] + b',"metadata":' + b"[" * 5_000 + b"]" * 5_000
        + b"}",
        "number": b'{"max_tokens":' + b"1" * 1_000_000 + b"}", "1e400": b'{"temperature":1e400}',
        "-1e400": b'{"temperature":-1e400}', "NaN": b'{"temperature":NaN}',
        "twice": b'{"messages":[],"messages":[]}', "lone surrogate": message(b'"\\ud800"'),
        "low surrogate": message(b'"\\udc00\\ud800"'), "bad UTF-8": message(b'"\xff\xfe"'),
        "overlong": message(b'"\xc0\xaf"'), "cut": message(b'"a')[:50],
        "UTF-8 surrogate": message(b'"\xed\xa0\x80"'), "BOM": b"\xef\xbb\xbf" + message(b'"a"'),
        "UTF-16": message(b'"a"').decode().encode("utf-16"), "empty": b"", "space": b" ",
        "control": message(b'"\x01"'), "NUL": message(b'"a"') + b"\0", "two": b"{}{}",
        "comment": b"/* */{}", "list": b"[]", "text": b'"a"', "null": b"null", "1": b"1",
        "lone minus": b'{"n":-}', "01": b'{"n":01}', "escape": message(b'"\\x41"'),
        "u": message(b'"\\u12"'), "key": b"{1:2}", "comma": b'{"a":1,}',
    }
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/tokenize", "/v1/detokenize"):
        for name, text in texts.items():
            answer = trial.server.ask(path, text, seconds=10)
            # Surrogates may be replaced and a BOM be read over: neither is told to anyone else.
            wanted = (400, 200) if name in ("BOM", "twice") else (400,)
            expect(answer.status in wanted, f"{path} {name}: {answer.status} {answer.body[:80]}")
            expect(answer.status == 200 or answer.error, f"{path} {name}: no error object")
            allowed = 0.05 * max(1, len(text) / 1e6) + 0.05
            expect(answer.seconds < allowed, f"{path} {name}: {answer.seconds * 1e3:.0f} ms")
    return f"{4 * len(texts)} bodies"


@case("36", "bodies above the limit: 413 before they are read")
def large_bodies(trial):
    outcomes = []
    for length in (8 * MIB + 1, 10 << 30, (1 << 63) - 1, 1 << 63, 1 << 64, 10 ** 40):
        answer = trial.server.send(head("POST", "/v1/tokenize", length) + b"{", 5)
        expect(answer.status in (413, 400), f"{length}: {answer.status}")
        expect(answer.seconds < 2, f"{length}: {answer.seconds:.1f} s")
        outcomes.append(str(answer.status))
    for text in ("-1", "+5", "0x5", "5 5", "5,5", "", "5a"):
        answer = trial.server.send(head("POST", "/v1/tokenize", text) + b"{", 5)
        expect(answer.status == 400, f"Content-Length {text!r}: {answer.status}")
    answer = trial.server.send(chunked_post(chunked(b" " * (8 * MIB + 1), 65_536)), 20)
    expect(answer.status == 413, f"chunked: {answer.status}")
    return " ".join(outcomes)


def half_body(length=8 * MIB):
    data = head("POST", "/v1/chat/completions", length)
    return data + b'{"messages":[{"role":"user","content":"' + b"a" * 8_000_000


def send_halves(server, count):
    """Sends so many bodies of 8 MB without their ends; returns the open connections."""

    def one(_):
        connection = connect(server.port, timeout=10)
        with contextlib.suppress(OSError):
            connection.sendall(half_body())
        return connection

    return at_once(count, one)


@case("62", "100 half-sent bodies of 8 MB: memory is back 30 s later")
def half_sent_bodies(trial):
    open_ = send_halves(trial.server, 100)
    time.sleep(1)
    peak = memory_mib(trial.server.pid)
    neighbour = trial.server.ask("/v1/chat/completions", chat(2), seconds=10)
    for connection in open_:
        connection.close()
    expect(neighbour.status == 200, f"a neighbour got {neighbour.status}")
    return f"{peak:.0f} MiB with 100 open"


@case("62", "100 half-sent bodies, closed one by one at random, 3 times")
def half_sent_again(trial):
    peaks = []
    for _ in range(3):
        open_ = send_halves(trial.server, 100)
        peaks.append(f"{memory_mib(trial.server.pid):.0f}")
        for connection in open_:
            connection.close()
            time.sleep(0.005)
    return "peaks " + " ".join(peaks) + " MiB"


@case("62", "60 half-sent bodies in a cgroup of 200 MiB: sheds before it is killed", serves=False)
def half_sent_small(trial):
    if not Cgroup.is_possible():
        return "not run: no cgroup can be made here"
    cgroup = Cgroup(200 * MIB)
    server = trial.serve(cgroup=cgroup)
    open_ = send_halves(server, 60)
    time.sleep(1)
    used = int(cgroup.read("memory.usage_in_bytes")) / MIB
    ready = server.ask("/readyz", seconds=5)
    for connection in open_:
        connection.close()
    expect(server.is_alive() and cgroup.kills() == 0, f"killed ({cgroup.kills()} kills)")
    expect(ready.status in (200, 503) and ready.seconds < 1, f"/readyz {ready.status}")
    end = time.monotonic() + 10
    answer = server.ask("/v1/chat/completions", chat(2))
    while answer.status != 200 and time.monotonic() < end:
        time.sleep(0.5)
        answer = server.ask("/v1/chat/completions", chat(2))
    expect(answer.status == 200, f"afterwards a chat gets {answer.status}")
    return f"{used:.0f} of 200 MiB in use, /readyz {ready.status}"


@case("29", "1,000 idle connections and 1,000 that said half a line: memory and answers")
def idle_connections(trial):
    open_ = []
    for index in range(2_000):
        connection = connect(trial.server.port)
        if index % 2:
            connection.sendall(b"GET /rea")
        open_.append(connection)
    grown = memory_mib(trial.server.pid)
    used = cpu_seconds(trial.server.pid)
    time.sleep(2)
    used = (cpu_seconds(trial.server.pid) - used) / 2
    for connection in open_:
        connection.close()
    expect(used < 0.5, f"{used:.0%} of a core while nothing happens")
    return f"{grown:.0f} MiB, {used:.0%} CPU"


# MARK: Framing

GOOD = b'{"text":"abc"}'
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def request(lines, body=b"", first="POST /v1/tokenize HTTP/1.1"):
    lines = [first, "Host: 127.0.0.1", "Content-Type: application/json", *lines]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@case("31", "framing that two servers could read differently: 400 (or 501) and close")
def smuggling_forms(trial):
    chunks = b"e\r\n" + GOOD + b"\r\n0\r\n\r\n"
    length = f"Content-Length: {len(GOOD)}"
    coded = "Transfer-Encoding: chunked"
    forms = {
        "length and coding": request([length, coded], chunks + NEXT),
        "coding and length": request([coded, length], chunks + NEXT),
        "two lengths": request([length, "Content-Length: 5"], GOOD + NEXT),
        "list of lengths": request([f"Content-Length: {len(GOOD)}, 5"], GOOD + NEXT),
        "unknown coding": request(["Transfer-Encoding: x, chunked"], chunks),
        "gzip, chunked": request(["Transfer-Encoding: gzip, chunked"], chunks),
        "chunked, gzip": request(["Transfer-Encoding: chunked, gzip"], chunks),
        "chunked twice": request(["Transfer-Encoding: chunked, chunked"], chunks),
        "two codings": request([coded, "Transfer-Encoding: x"], chunks),
        "identity": request(["Transfer-Encoding: identity", length], GOOD),
        "tab before": request(["Transfer-Encoding: \x0bchunked"], chunks),
        "quoted": request(['Transfer-Encoding: "chunked"'], chunks),
        "space before colon": request(["Transfer-Encoding : chunked"], chunks),
        "space before length's colon": request(["Content-Length : 14"], GOOD),
        "folded": request(["X-A: a", " b", length], GOOD),
        "folded coding": request(["Transfer-Encoding:", " chunked"], chunks),
        "NUL": request(["X-A: a\0b", length], GOOD),
        "bare CR": request(["X-A: a\rTransfer-Encoding: chunked", length], GOOD),
        "bare LF": request([length], GOOD).replace(b"\r\n", b"\n", 2),
        "name with brackets": request(["X[A]: b", length], GOOD),
        "no name": request([": b", length], GOOD),
        "two hosts": request(["Host: evil.example", length], GOOD),
        "no host": b"GET /readyz HTTP/1.1\r\n\r\n",
        "1.0 with coding": request([coded], chunks, "POST /v1/tokenize HTTP/1.0"),
        "version 1.2.3": request([length], GOOD, "POST /v1/tokenize HTTP/1.2.3"),
        "version 2.0": request([length], GOOD, "POST /v1/tokenize HTTP/2.0"),
        "no version": b"GET /readyz\r\n\r\n",
        "space in address": request([length], GOOD, "POST /v1/to kenize HTTP/1.1"),
        "other host in the address": request(
            [length], GOOD, "POST http://evil.example/v1/tokenize HTTP/1.1"),
        "leading space": b" GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "other host": request([length], GOOD).replace(b"127.0.0.1", b"evil.example"),
    }
    wanted = {400, 501, 505}
    allowed = {
        "other host": {403, 421, 400}, "other host in the address": {400, 403, 421},
        "identity": {400, 501, 200}, "version 1.2.3": {400, 505},
    }
    bad = []
    for name, data in forms.items():
        with connect(trial.server.port, source(), 10) as connection:
            connection.sendall(data)
            out = read_all(connection, 4)
        answer = parse(out)
        second = out.count(b"HTTP/1.1 ") > 1
        if answer.status not in allowed.get(name, wanted):
            bad.append(f"{name}: {answer.status}")
        elif second:
            bad.append(f"{name}: a second answer")
        elif b"smuggled" in out:
            bad.append(f"{name}: the second request was read")
    expect(not bad, "; ".join(bad))
    return f"{len(forms)} forms"


@case("31", "the connection is closed after a request whose framing is refused")
def refused_framing_closes(trial):
    data = request(["Content-Length: 14", "Transfer-Encoding: chunked"], b"0\r\n\r\n")
    with connect(trial.server.port) as connection:
        connection.sendall(data)
        start = time.monotonic()
        read_all(connection, 5)
        seconds = time.monotonic() - start
    expect(seconds < 2, f"open for {seconds:.1f} s")
    return f"closed after {seconds * 1e3:.0f} ms"


@case("31", "HTTP/1.0: no chunks, closed at the end")
def old_clients(trial):
    data = request(
        [f"Content-Length: {len(json.dumps(chat(8, stream=True)))}"],
        json.dumps(chat(8, stream=True)).encode(), "POST /v1/chat/completions HTTP/1.0")
    with connect(trial.server.port) as connection:
        connection.sendall(data)
        start = time.monotonic()
        out = read_all(connection, 10)
        seconds = time.monotonic() - start
    answer = parse(out)
    expect(answer.status == 200, f"status {answer.status}")
    expect("transfer-encoding" not in answer.headers, "chunked")
    expect(seconds < 5 and out.rstrip().endswith(b"data: [DONE]"), "not closed at the end")
    return "a stream without chunks"


@case("31", "bytes after a request do not cost its answer")
def extra_bytes(trial):
    for extra in (b"garbage\r\n\r\n", b"\0\0\0\0", b"\r\n\r\nfoo bar baz\r\n\r\n", b"GET"):
        data = head("GET", "/livez") + extra
        with connect(trial.server.port) as connection:
            connection.sendall(data)
            out = read_all(connection, 12)
        expect(out.startswith(b"HTTP/1.1 200"), f"{extra!r}: {out[:60]!r}")
    data = post("/v1/chat/completions", chat(200), ()) + b"garbage\r\n\r\n"
    with connect(trial.server.port) as connection:
        connection.sendall(data)
        out = read_all(connection, 20)
    expect(out.startswith(b"HTTP/1.1 200") and b'"finish_reason":"length"' in out, out[:80])
    return "5 answers"


@case("31", "half-closed connections get their answers, plain and streamed")
def half_closed(trial):
    for stream in (False, True):
        with connect(trial.server.port) as connection:
            connection.sendall(post("/v1/chat/completions", chat(300, stream=stream)))
            connection.shutdown(socket.SHUT_WR)
            out = read_all(connection, 20)
        expect(out.startswith(b"HTTP/1.1 200"), f"stream {stream}: {out[:60]!r}")
        wanted = b"[DONE]" if stream else b'"finish_reason":"length"'
        expect(wanted in out, f"stream {stream}: cut")
    return "2 answers"


@case("27", "half a second request behind a stream of more than 30 s: the stream is whole",
      flags=("--body-timeout", "4", "--header-timeout", "3"))
def pipelined_half_request(trial):
    outcomes = []
    seconds = []
    halves = (
        head("POST", "/v1/tokenize", 100) + b'{"te', b"POST /v1/tok", b"GET /livez HTTP/1.1\r\n",
        chunked_post(b"5\r\nab"), head("POST", "/v1/tokenize", 8 * MIB + 1),
        head("GET", "/livez") * 50 + b"GET /l",
    )

    def one(half):
        """A stream that lasts longer than the limits since 40 others share the engine."""
        start = time.monotonic()
        with connect(trial.server.port) as connection:
            connection.sendall(post("/v1/chat/completions", chat(3_000, stream=True), ()))
            out = connection.recv(1 << 16)
            connection.sendall(half)
            out += read_all(connection, 120, b"[DONE]")
        seconds.append(time.monotonic() - start)
        return out

    busy = [half for half in halves for _ in range(7)]
    for half, out in zip(busy, at_once(len(busy), lambda index: one(busy[index]))):
        end = out.find(b"[DONE]")
        expect(out.startswith(b"HTTP/1.1 200"), f"{half[:40]!r}: {out[:60]!r}")
        expect(end > 0, f"{half[:40]!r}: the stream ends with {out[-80:]!r}")
        expect(b"HTTP/1.1 " not in out[9:end], f"{half[:40]!r}: an answer inside of the stream")
        body = unchunk(out.partition(b"\r\n\r\n")[2])
        for line in body.split(b"\n"):
            if line.startswith(b"data: {"):
                json.loads(line[6:])
    outcomes.append(f"{len(busy)} streams of {min(seconds):.0f}–{max(seconds):.0f} s")
    return ", ".join(outcomes)


@case("27", "100 requests in one packet: 100 answers in order")
def pipelined(trial):
    with connect(trial.server.port) as connection:
        connection.sendall(b"".join(
            head("GET", "/livez") if index % 2 else post("/v1/tokenize", {"text": "a" * index}, ())
            for index in range(99)) + head("GET", "/version", headers=("Connection: close",)))
        out = read_all(connection, 20)
    count = out.count(b"HTTP/1.1 200")
    expect(count == 100, f"{count} answers")
    expect(b'"version"' in out[out.rfind(b"HTTP/1.1"):], "the last is not the last")
    return f"{count} answers"


@case("27", "1,000 pipelined streams on one connection whose client is gone after the first byte")
def pipelined_streams(trial):
    with connect(trial.server.port) as connection:
        with contextlib.suppress(OSError):
            connection.settimeout(3)
            connection.sendall(post("/v1/chat/completions", chat(50, stream=True), ()) * 1_000)
        connection.settimeout(10)
        connection.recv(1)
    time.sleep(1)
    values = trial.server.metrics()
    waiting = sum(value for name, value in values.items() if "requests_waiting" in name)
    expect(values["autoglm_requests_running"] + waiting == 0,
           f"{values['autoglm_requests_running'] + waiting:.0f} go on 1 s later")
    return "nothing goes on"


# MARK: Keys

KEYED = ("--api-key", "key-of-one", "--api-key", "key-of-two")


@case("38", "each route × {no key, wrong key, scheme, prefix, longer}: 401 but for probes",
      serves=False)
def keys(trial):
    server = trial.serve(KEYED)
    routes = [
        ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"), ("GET", "/v1/models"),
        ("GET", "/v1/models/mini-glm"), ("POST", "/v1/tokenize"), ("POST", "/v1/detokenize"),
        ("GET", "/metrics"), ("GET", "/v1/nothing"), ("GET", "/invocations"), ("POST", "/pause"),
        ("GET", "/docs"), ("PUT", "/v1/models"), ("DELETE", "/v1/models/mini-glm"),
        ("OPTIONS", "/v1/chat/completions"), ("GET", "//v1/models"), ("GET", "/v1/models/"),
        ("GET", "/v1/../metrics"), ("GET", "/%6detrics"), ("GET", "/metrics?a=/readyz"),
        ("GET", "/readyz/../metrics"),
    ]
    keys = [
        (), ("Authorization: Bearer wrong",), ("Authorization: Basic a2V5LW9mLW9uZQ==",),
        ("Authorization: key-of-one",), ("Authorization: Bearer key-of-on",),
        ("Authorization: Bearer key-of-one1",), ("Authorization: Bearer ",),
        ("Authorization: Bearer key-of-onE",), ("X-Api-Key: wrong",),
        ("Authorization: Bearer wrong", "Authorization: Bearer key-of-one"),
    ]
    count = 0
    for method, path in routes:
        for given in keys:
            data = head(method, path, 2 if method in ("POST", "PUT") else None,
                        ("Connection: close", *given))
            answer = server.send(data + (b"{}" if method in ("POST", "PUT") else b""), 5)
            expect(answer.status in (401, 403, 400), f"{method} {path} {given}: {answer.status}")
            count += 1
    for path in ("/readyz", "/livez", "/health", "/ping", "/version"):
        expect(server.ask(path).status == 200, path)
    good = server.ask("/v1/models", headers=("Authorization: Bearer key-of-two",))
    expect(good.status == 200, f"the right key: {good.status}")
    answer = server.send(
        head("POST", "/v1/chat/completions", 1_000, ("Expect: 100-continue",)), 5)
    expect(answer.status == 401, f"100-continue without a key: {answer.status}")
    answer = server.send(head("POST", "/v1/chat/completions", 8_000_000) + b"{", 5)
    expect(answer.status == 401 and answer.seconds < 1, f"before its body: {answer.status}")
    return f"{count} × 401"
