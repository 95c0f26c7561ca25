"""Requests that two servers could read differently, sent directly and through nginx and haproxy.

    python3 Tests/Faults/smuggling.py PROGRAM [--only PART] [--keep]

Each of the raw requests goes to a server of its own lane: directly, behind nginx, behind haproxy,
and behind haproxy made lenient. A lane's server must see exactly the requests that its proxy
believes it has sent: one more is a hidden request. After each attack three plain requests go the
same way, over the connections the proxy has kept: they must get their own answers. Directly, what
is ambiguous must be refused and the connection closed.

Prints a table (status, in brackets requests sent by the proxy/seen by the server; `+` marks a
refusal by the proxy itself) and exits with 1 if a difference matters. Without nginx or haproxy
their lanes are left out.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

QUIET = 0.35
HIDDEN = b"GET /v1/models?hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b'{"text":"abc"}'
CHUNKS = b"e\r\n" + BODY + b"\r\n0\r\n\r\n"
JSON = b"Content-Type: application/json\r\n"


# MARK: The corpus: name, bytes, what the server must do with them when they come directly


def post(fields, body, line=b"POST /v1/tokenize HTTP/1.1", host=b"Host: localhost\r\n"):
    return line + b"\r\n" + host + JSON + fields + b"\r\n" + body


def corpus():
    def refuse(name, data):
        cases.append((name, data, "refuse"))

    def serve(name, data, count=1):
        cases.append((name, data, count))

    cases = []
    length = b"Content-Length: 14\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n"

    # What must work.
    serve("plain length", post(length, BODY))
    serve("plain chunks", post(chunked, CHUNKS))
    serve("chunks with an extension", post(chunked, b"e;a=\"b\"\r\n" + BODY + b"\r\n0\r\n\r\n"))
    serve("chunks with a trailer", post(chunked, CHUNKS[:-2] + b"X-T: 1\r\n\r\n"))
    serve("trailer named Content-Length", post(chunked, CHUNKS[:-2] + b"Content-Length: 9\r\n\r\n"))
    serve("upper-case Chunked", post(b"TRANSFER-ENCODING: Chunked\r\n", CHUNKS))
    serve("two pipelined", post(length, BODY) + HIDDEN, 2)
    serve("chunks, then another", post(chunked, CHUNKS) + HIDDEN, 2)
    serve("empty line between", post(length, BODY) + b"\r\n" + HIDDEN, 2)
    serve("GET with a body", b"GET /version HTTP/1.1\r\nHost: localhost\r\n" + length + b"\r\n" + BODY)
    serve("absolute form", b"GET http://localhost/version HTTP/1.1\r\nHost: localhost\r\n\r\n")
    serve("HTTP/1.0", post(length, BODY, b"POST /v1/tokenize HTTP/1.0"))

    # Length and coding.
    clte = post(b"Content-Length: %d\r\n" % (5 + len(HIDDEN)) + chunked, b"0\r\n\r\n" + HIDDEN)
    refuse("CL+TE", clte)
    refuse("TE+CL", post(chunked + b"Content-Length: 4\r\n", b"5c\r\n" + HIDDEN))
    for name, field in [
        ("space before colon", b"Transfer-Encoding : chunked\r\n"),
        ("tab before colon", b"Transfer-Encoding\t: chunked\r\n"),
        ("folded", b"Transfer-Encoding:\r\n chunked\r\n"),
        ("folded name", b"X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("vertical tab", b"Transfer-Encoding:\x0bchunked\r\n"),
        ("form feed after", b"Transfer-Encoding: chunked\x0c\r\n"),
        ("NUL after", b"Transfer-Encoding: chunked\x00\r\n"),
        ("NUL in name", b"Transfer-Encoding\x00: chunked\r\n"),
        ("high byte after", b"Transfer-Encoding: chunked\xa0\r\n"),
        ("quoted", b"Transfer-Encoding: \"chunked\"\r\n"),
        ("xchunked", b"Transfer-Encoding: xchunked\r\n"),
        ("chunkedx", b"Transfer-Encoding: chunkedx\r\n"),
        ("x, chunked", b"Transfer-Encoding: x, chunked\r\n"),
        ("gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n"),
        ("chunked, gzip", b"Transfer-Encoding: chunked, gzip\r\n"),
        ("chunked, identity", b"Transfer-Encoding: chunked, identity\r\n"),
        ("identity", b"Transfer-Encoding: identity\r\n"),
        ("chunked, chunked", b"Transfer-Encoding: chunked, chunked\r\n"),
        ("two fields", chunked + chunked),
        ("two fields, one x", chunked + b"Transfer-Encoding: x\r\n"),
        ("comma first", b"Transfer-Encoding: ,chunked\r\n"),
        ("parameter", b"Transfer-Encoding: chunked;q=1\r\n"),
        ("empty", b"Transfer-Encoding:\r\n"),
        ("bare CR before", b"X: y\rTransfer-Encoding: chunked\r\n"),
        ("bare LF before", b"X: y\nTransfer-Encoding: chunked\r\n"),
    ]:
        refuse(f"TE {name}", post(field, CHUNKS + HIDDEN))
        if name in ("xchunked", "space before colon", "vertical tab", "two fields, one x"):
            refuse(f"CL and TE {name}", post(length + field, b"0\r\n\r\n" + HIDDEN))
    refuse("TE on HTTP/1.0", post(chunked, CHUNKS + HIDDEN, b"POST /v1/tokenize HTTP/1.0"))
    for name, fields in [
        ("two, equal", length + length), ("two, unequal", length + b"Content-Length: 0\r\n"),
        ("list, equal", b"Content-Length: 14, 14\r\n"), ("list, unequal", b"Content-Length: 14, 0\r\n"),
        ("plus", b"Content-Length: +14\r\n"), ("minus", b"Content-Length: -14\r\n"),
        ("hexadecimal", b"Content-Length: 0xe\r\n"), ("two numbers", b"Content-Length: 1 4\r\n"),
        ("empty", b"Content-Length:\r\n"), ("space before colon", b"Content-Length : 14\r\n"),
        ("folded", b"Content-Length:\r\n 14\r\n"), ("fraction", b"Content-Length: 14.0\r\n"),
        ("2^64+14", b"Content-Length: 18446744073709551630\r\n"),
        ("quoted", b"Content-Length: \"14\"\r\n"), ("NUL", b"Content-Length: 14\x00\r\n"),
    ]:
        refuse(f"CL {name}", post(fields, BODY + HIDDEN))

    # Chunks.
    for name, body in [
        ("bare LF after size", b"e\n" + BODY + b"\r\n0\r\n\r\n"),
        ("bare LF after data", b"e\r\n" + BODY + b"\n0\r\n\r\n"),
        ("bare LF at the end", b"e\r\n" + BODY + b"\r\n0\n\n"),
        ("bare CR after size", b"e\r" + BODY + b"\r\n0\r\n\r\n"),
        ("0x", b"0xe\r\n" + BODY + b"\r\n0\r\n\r\n"), ("minus", b"-e\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("space before size", b" e\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("space after size", b"e \r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("underscore", b"e_\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("empty size", b"\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("size too small", b"d\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("2^64 + 14", b"1000000000000000e\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("2^32 + 14", b"10000000e\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("2^64 - 1", b"ffffffffffffffff\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("LF in extension", b"e;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("CR in extension", b"e;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("NUL in extension", b"e;\x00\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ("trailer with a space", CHUNKS[:-2] + b"X : y\r\n\r\n"),
        ("trailer folded", CHUNKS[:-2] + b"X: y\r\n z\r\n\r\n"),
        ("trailer, bare LF", CHUNKS[:-2] + b"X: y\n\r\n"),
    ]:
        refuse(f"chunk {name}", post(chunked, body + HIDDEN))

    # Heads.
    head = b"GET /version HTTP/1.1\r\nHost: localhost\r\n"
    for name, data in [
        ("bare LF throughout", b"GET /version HTTP/1.1\nHost: localhost\n\n"),
        ("bare LF at the end", head + b"X: y\r\n\n"), ("bare CR at the end", head + b"X: y\r\r\n"),
        ("obs-fold", head + b"X: y\r\n z\r\n\r\n"), ("NUL in value", head + b"X: a\x00b\r\n\r\n"),
        ("NUL in name", head + b"X\x00Y: b\r\n\r\n"), ("space in name", head + b"X Y: b\r\n\r\n"),
        ("no colon", head + b"XY\r\n\r\n"), ("empty name", head + b": b\r\n\r\n"),
        ("space before first field", b"GET /version HTTP/1.1\r\n Host: localhost\r\n\r\n"),
        ("two Hosts", head + b"Host: localhost\r\n\r\n"),
        ("two Hosts, unequal", head + b"Host: evil.example\r\n\r\n"),
        ("no Host", b"GET /version HTTP/1.1\r\n\r\n"),
        ("Host with a path", b"GET /version HTTP/1.1\r\nHost: localhost/x\r\n\r\n"),
        ("Host with a user", b"GET /version HTTP/1.1\r\nHost: a@localhost\r\n\r\n"),
        ("Host list", b"GET /version HTTP/1.1\r\nHost: localhost, evil.example\r\n\r\n"),
        ("absolute form, other Host",
         b"GET http://evil.example/version HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("absolute form, evil Host",
         b"GET http://localhost/version HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
        ("HTTP/1.2", b"GET /version HTTP/1.2\r\nHost: localhost\r\n\r\n"),
        ("HTTP/2.0", b"GET /version HTTP/2.0\r\nHost: localhost\r\n\r\n"),
        ("HTTP/1.10", b"GET /version HTTP/1.10\r\nHost: localhost\r\n\r\n"),
        ("http/1.1", b"GET /version http/1.1\r\nHost: localhost\r\n\r\n"),
        ("HTTP/0.9", b"GET /version\r\n"),
        ("two spaces", b"GET  /version HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("tab", b"GET\t/version HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("space in target", b"GET /ver sion HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("LF in target", b"GET /version\nX: y HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("method with a space", b"GE T /version HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("CONNECT", b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n"),
        ("Expect of another kind", head + b"Expect: 100-continue, x\r\nContent-Length: 0\r\n\r\n"),
    ]:
        refuse(f"head {name}", data + HIDDEN)
    return cases


# MARK: Lanes


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def parse(data):
    """The statuses and bodies of the answers in some bytes."""
    answers = []
    while data.startswith(b"HTTP/1.") and b"\r\n\r\n" in data:
        head, data = data.split(b"\r\n\r\n", 1)
        status = int(head[9:12])
        if status < 200:
            continue
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if length:
            body, data = data[: int(length[1])], data[int(length[1]):]
        elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
            body = b""
            while (match := re.match(rb"([0-9a-fA-F]+)\r\n", data)) and int(match[1], 16):
                size, data = int(match[1], 16), data[match.end():]
                body, data = body + data[:size], data[size + 2:]
            data = data[5:]
        else:
            body, data = data, b""
        answers.append((status, body))
    return answers


def talk(port, data, quiet=QUIET):
    """Sends bytes and reads until the other side closes or has been quiet for a while."""
    out, closed = b"", False
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        try:
            connection.sendall(data)
        except OSError:
            pass
        connection.settimeout(quiet)
        try:
            while part := connection.recv(1 << 16):
                out += part
            closed = True
        except TimeoutError:
            pass
        except OSError:
            closed = True
    return parse(out), closed


class Lane:
    def __init__(self, program, directory, name):
        self.name = name
        self.directory = os.path.join(directory, name)
        os.mkdir(self.directory)
        self.upstream = free_port()
        with open(os.path.join(self.directory, "server.log"), "wb") as log:
            self.server = subprocess.Popen(
                [program, "serve", "--port", str(self.upstream), "--header-timeout", "1",
                 "--body-timeout", "1", "--max-connections-per-address", "4000"],
                stdout=log, stderr=log)
        self.proxy = None
        self.wait(self.upstream)

    def start(self, command):
        with open(os.path.join(self.directory, "proxy.log"), "wb") as log:
            self.proxy = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait(self.port)

    def wait(self, port):
        for _ in range(200):
            try:
                if talk(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                        2)[0][0][0] == 200:
                    return
            except (OSError, IndexError):
                pass
            time.sleep(0.05)
        raise SystemExit(f"{self.name}: nothing answers on port {port}")

    @property
    def port(self):
        return self.upstream

    def sent(self):
        """Requests that the proxy believes it has sent."""
        return 0

    def seen(self):
        """Requests that the server has read, answered by a route or refused."""
        data = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        text = talk(self.upstream, data, 3)[0][0][1].decode()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
            if line.startswith("http_requests_total") and 'handler="/metrics"' not in line
            # What is refused in its body has reached a route, which has counted it.
            or line.startswith("http_connection_refusals_total") and 'stage="head"' in line)

    def stop(self):
        for process in (self.proxy, self.server):
            if process:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


class Nginx(Lane):
    port = None

    def __init__(self, program, directory):
        super().__init__(program, directory, "nginx")
        self.port = free_port()
        self.log = os.path.join(self.directory, "access.log")
        path = os.path.join(self.directory, "nginx.conf")
        temporary = "\n".join(
            f"{kind}_temp_path {self.directory}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        with open(path, "w") as file:
            file.write(f"""
daemon off; master_process off; worker_processes 1;
pid {self.directory}/pid; error_log {self.directory}/error.log;
events {{ worker_connections 256; }}
http {{
  {temporary}
  log_format seen '$status|$upstream_addr|$request';
  access_log {self.log} seen;
  client_header_timeout 1; client_body_timeout 1; keepalive_timeout 5;
  ignore_invalid_headers off; underscores_in_headers on;
  upstream model {{ server 127.0.0.1:{self.upstream}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{self.port};
    location / {{
      proxy_pass http://model; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_next_upstream off; proxy_read_timeout 5;
    }}
  }}
}}
""")
        self.start([shutil.which("nginx") or "/usr/sbin/nginx", "-c", path, "-p", self.directory])

    def sent(self):
        with open(self.log, errors="replace") as log:
            return sum(line.split("|")[1] not in ("-", "") for line in log if line.count("|") > 1)


class Haproxy(Lane):
    port = None

    def __init__(self, program, directory, is_lenient):
        super().__init__(program, directory, "haproxy-lenient" if is_lenient else "haproxy")
        self.port = free_port()
        self.logs = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.logs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.logs.bind(("127.0.0.1", 0))
        self.logs.setblocking(False)
        self.count = 0
        path = os.path.join(self.directory, "haproxy.cfg")
        lenient = "option accept-invalid-http-request" if is_lenient else ""
        with open(path, "w") as file:
            file.write(f"""
global
  log 127.0.0.1:{self.logs.getsockname()[1]} format raw local0
  nbthread 1
defaults
  mode http
  log global
  log-format "%s|%ST|%r"
  timeout connect 2s
  timeout client 1s
  timeout server 5s
  timeout http-request 1s
  option http-keep-alive
  retries 0
frontend all
  bind 127.0.0.1:{self.port}
  {lenient}
  default_backend model
backend model
  http-reuse always
  server one 127.0.0.1:{self.upstream}
""")
        self.start([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", path])

    def sent(self):
        while True:
            try:
                line = self.logs.recv(1 << 16)
            except BlockingIOError:
                return self.count
            self.count += line.startswith(b"one|")


# MARK: One case in one lane


def attack(lane, data, wanted):
    """What came back, as words for the table, and what is wrong with it."""
    is_direct = type(lane) is Lane
    sent, seen = lane.sent(), lane.seen()
    answers, closed = talk(lane.port, data)
    victims = []
    for _ in range(0 if is_direct else 3):
        victim = talk(lane.port, b"GET /version HTTP/1.1\r\nHost: localhost\r\n"
                      b"Connection: close\r\n\r\n", 3)[0]
        victims.append(len(victim) == 1 and victim[0][0] == 200 and b'"version"' in victim[0][1])
    counted = counts(lane, sent, seen, is_direct, 3)
    wrong = []
    words = " ".join(str(status) for status, _ in answers) or "none"
    statuses = [status for status, _ in answers]
    if is_direct:
        words += " close" if closed else ""
        if wanted == "refuse":
            if len(statuses) != 1 or not 400 <= statuses[0] < 600:
                wrong.append("not refused")
            if not closed:
                wrong.append("left open")
            if counted[1] > 1:
                wrong.append(f"{counted[1]:.0f} requests seen in what is none")
        elif statuses != [200] * wanted:
            wrong.append(f"not served {wanted} times")
    else:
        words += f" ({counted[0]:.0f}/{counted[1]:.0f})" if counted[0] else "+"
        if counted[0] != counted[1]:
            wrong.append(f"proxy sent {counted[0]:.0f}, server saw {counted[1]:.0f}")
        if not all(victims):
            wrong.append("another client got a wrong answer")
        if isinstance(wanted, int) and statuses != [200] * wanted:
            wrong.append(f"not served {wanted} times")
    return words, wrong


def counts(lane, sent, seen, is_direct, victims):
    """Requests sent and seen since, once both sides have written them down."""
    end = time.monotonic() + 3
    while True:
        now = (lane.sent() - sent, lane.seen() - seen)
        settled = is_direct or (now[0] == now[1] and now[0] >= victims)
        if settled or time.monotonic() > end:
            return (now[0] - victims, now[1] - victims) if not is_direct else now
        time.sleep(0.1)


def run(lane, cases, results):
    for name, data, wanted in cases:
        if lane.server.poll() is not None:
            results[lane.name, name] = ("dead", ["the server has ended"])
            continue
        try:
            results[lane.name, name] = attack(lane, data, wanted)
        except (OSError, IndexError) as error:
            results[lane.name, name] = (type(error).__name__, [f"no answer: {error}"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--only", default="", help="a part of the names to run")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    options = parser.parse_args()
    cases = [case for case in corpus() if options.only in case[0]]
    directory = tempfile.mkdtemp(prefix="smuggling-")
    lanes, results = [], {}
    try:
        lanes.append(Lane(options.program, directory, "direct"))
        path = os.environ.get("PATH", "") + ":/usr/sbin"
        if shutil.which("nginx", path=path):
            lanes.append(Nginx(options.program, directory))
        if shutil.which("haproxy", path=path):
            lanes += [Haproxy(options.program, directory, lenient) for lenient in (False, True)]
        threads = [threading.Thread(target=run, args=(lane, cases, results)) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for lane in lanes:
            lane.stop()
        if options.keep:
            print(directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return report(cases, lanes, results)


def report(cases, lanes, results):
    width = max(len(name) for name, _, _ in cases)
    print(f"{'':{width}}  " + "  ".join(f"{lane.name:18}" for lane in lanes))
    wrong = 0
    for name, _, _ in cases:
        row = [results[lane.name, name] for lane in lanes]
        faults = [f"{lane.name}: {fault}" for lane, (_, list_) in zip(lanes, row) for fault in list_]
        wrong += bool(faults)
        print(f"{name:{width}}  " + "  ".join(f"{words:18}" for words, _ in row)
              + ("  <- " + "; ".join(faults) if faults else ""))
    print(f"smuggling: {len(cases)} requests in {len(lanes)} lanes, {wrong} differ"
          + ("" if len(lanes) == 4 else " (a proxy is not installed: its lanes are left out)"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
