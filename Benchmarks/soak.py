"""Keeps a server busy with concurrent streams and watches its memory. Standard library only.

    python3 Benchmarks/soak.py --url http://127.0.0.1:8000 --streams 32 --minutes 5 [--pid PID]

Each stream asks for a completion of random length; some leave in the middle, as people do. Memory
is read from /metrics (or from /proc with --pid) every ten seconds. Exit status 0 means: no failed
request, no KV block in use at the end, and memory flat after the first minute (within 64 MiB).
KV blocks take memory when they are first used, so give the server a small --kv-cache-memory (64 MiB)
or run long enough to have filled the prefix cache; otherwise its filling looks like growth.
"""

import argparse
import asyncio
import json
import random
import time
import urllib.parse

parser = argparse.ArgumentParser()
parser.add_argument("--url", default="http://127.0.0.1:8000")
parser.add_argument("--key")
parser.add_argument("--streams", type=int, default=32)
parser.add_argument("--minutes", type=float, default=5)
parser.add_argument("--tokens", type=int, default=128, help="output tokens at most")
parser.add_argument("--leave", type=float, default=0.1, help="share of clients that leave early")
parser.add_argument("--chat", action="store_true", help="use chat instead of completions")
parser.add_argument("--pid", type=int)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
address = urllib.parse.urlparse(options.url)
counts = {"done": 0, "left": 0, "refused": 0, "failed": 0, "tokens": 0}
first_tokens = []
PROMPTS = ["Once upon a time", "One day, a little girl", "The dog", "请问我的订单到哪里了", "Hello"]


async def request(method, path, body=None):
    """Sends one request; returns its status, reader and writer."""
    reader, writer = await asyncio.open_connection(address.hostname, address.port or 80)
    data = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: {address.hostname}\r\nConnection: close\r\n"
    if options.key:
        head += f"Authorization: Bearer {options.key}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
    writer.write(head.encode() + b"\r\n" + data)
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    while await reader.readline() not in (b"\r\n", b""):
        pass
    return status, reader, writer


async def metrics():
    """The server's gauges and counters without labels, and the blocks in use."""
    _, reader, writer = await request("GET", "/metrics")
    text = (await reader.read()).decode()
    writer.close()
    values = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


async def stream(generator):
    prompt = generator.choice(PROMPTS) + " " + str(generator.randrange(1000))
    body = {"max_tokens": generator.randint(1, options.tokens), "stream": True}
    path = "/v1/completions"
    if options.chat:
        path = "/v1/chat/completions"
        body["messages"] = [{"role": "user", "content": prompt}]
    else:
        body["prompt"] = prompt
    leaves_after = generator.randint(1, 20) if generator.random() < options.leave else None
    start, seen = time.monotonic(), 0
    status, reader, writer = await request("POST", path, body)
    try:
        if status != 200:
            counts["refused" if status in (429, 503) else "failed"] += 1
            await asyncio.sleep(0.5)
            return
        while line := await reader.readline():
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                counts["done"] += 1
                return
            if b'"error"' in line:
                break
            if seen == 0:
                first_tokens.append(time.monotonic() - start)
            seen += 1
            counts["tokens"] += 1
            if leaves_after is not None and seen >= leaves_after:
                counts["left"] += 1
                return
        counts["failed"] += 1
    finally:
        writer.close()


async def client(index, end):
    generator = random.Random(options.seed * 1000 + index)
    while time.monotonic() < end:
        try:
            await stream(generator)
        except (OSError, ValueError, IndexError):
            counts["failed"] += 1
            await asyncio.sleep(0.2)


async def resident():
    if options.pid:
        with open(f"/proc/{options.pid}/statm") as file:
            return int(file.read().split()[1]) * 4096
    return int((await metrics())["process_resident_memory_bytes"])


async def main():
    start = time.monotonic()
    end = start + options.minutes * 60
    clients = [asyncio.create_task(client(i, end)) for i in range(options.streams)]
    samples = []
    print("seconds  rss_mib   done   left  refused  failed  tokens")
    while time.monotonic() < end:
        await asyncio.sleep(min(10, max(0.1, end - time.monotonic())))
        elapsed = time.monotonic() - start
        samples.append((elapsed, await resident()))
        print(
            f"{elapsed:7.0f}  {samples[-1][1] / 2**20:7.1f}  {counts['done']:5}  "
            f"{counts['left']:5}  {counts['refused']:7}  {counts['failed']:6}  "
            f"{counts['tokens']:6}",
            flush=True,
        )
    await asyncio.gather(*clients)
    await asyncio.sleep(1)
    values = await metrics()
    used = values['autoglm_kv_blocks{state="used"}']
    steady = [size for elapsed, size in samples if elapsed >= min(60, options.minutes * 30)]
    growth = (max(steady) - steady[0]) / 2**20 if steady else 0.0
    first_tokens.sort()
    p = lambda share: first_tokens[int(share * (len(first_tokens) - 1))] if first_tokens else 0
    print(f"first event: p50 {p(0.5) * 1000:.0f} ms, p99 {p(0.99) * 1000:.0f} ms")
    print(f"events/s: {counts['tokens'] / (time.monotonic() - start):.0f}")
    print(f"KV blocks in use: {used:.0f}; memory growth after warm-up: {growth:.1f} MiB")
    return 0 if counts["failed"] == 0 and used == 0 and growth <= 64 else 1


raise SystemExit(asyncio.run(main()))
