"""Group E: more work than can be done, clients that leave, memory for two."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time

from harness import (
    Refusals, at_once, case, chat, connect, expect, expect_in_time, percentile, post, source,
    statuses,
)

#: Not more than fits the bar of memory: blocks that cached prompts fill stay in use by intent.
SMALL = ("--kv-cache-memory", "48MiB")

# MARK: Open-loop load


class Load:
    """Sends requests at a rate, whatever becomes of the earlier ones, from one event loop."""

    def __init__(self, port, tokens=128):
        self.port = port
        self.tokens = tokens

    async def one(self, tenant, records, offered_at):
        headers = ["Connection: close", "x-queue-timeout-ms: 30000"]
        if tenant:
            headers.append(f"Authorization: Bearer {tenant}")
        body = chat(self.tokens, f"hi {random.random()}", stream=True)
        start = time.monotonic()
        status, first, retry, whole = 0, None, False, False
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.port, local_addr=(source(), 0), limit=1 << 20)
            try:
                writer.write(post("/v1/chat/completions", body, headers))
                top = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
                status = int(top.split(b" ", 2)[1])
                retry = b"retry-after:" in top.lower()
                answered = time.monotonic() - start
                if status == 200:
                    await reader.readuntil(b'"content":"')
                    first = time.monotonic() - start
                rest = await asyncio.wait_for(reader.read(), 90)
                tail = b""
                while rest:
                    tail, rest = (tail + rest)[-400:], await asyncio.wait_for(reader.read(), 90)
                whole = status != 200 or b"[DONE]" in tail
                refused_with_event = status == 200 and b'"error"' in tail
                if refused_with_event:
                    status = 1
            finally:
                writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, TimeoutError):
            answered = time.monotonic() - start
        records.append({
            "tenant": tenant, "status": status, "answered": answered, "first": first,
            "whole": whole, "retry": retry, "end": time.monotonic(), "at": offered_at})

    async def offer(self, tenant, rate, seconds, records, seed):
        """Poisson arrivals."""
        generator = random.Random(seed)
        tasks, moment = [], time.monotonic()
        end = moment + seconds
        while (moment := moment + generator.expovariate(rate)) < end:
            await asyncio.sleep(max(0, moment - time.monotonic()))
            tasks.append(asyncio.create_task(self.one(tenant, records, moment)))
        await asyncio.gather(*tasks)

    def run(self, rates, seconds):
        """rates: requests per second by tenant."""
        records = []

        async def all_of_them():
            await asyncio.gather(*(
                self.offer(tenant, rate, seconds, records, number)
                for number, (tenant, rate) in enumerate(rates.items())))

        asyncio.run(all_of_them())
        return records


def capacity(server, headers=(), seconds=6):
    """Requests per second that 32 clients get done who wait for each answer."""
    counts = []
    end = time.monotonic() + seconds

    def client(_):
        done = 0
        while time.monotonic() < end:
            answer = server.ask("/v1/chat/completions", chat(
                128, f"hi {random.random()}", stream=True), headers)
            done += answer.status == 200
        counts.append(done)

    at_once(32, client)
    return sum(counts) / seconds


def judge(records):
    """What holds of any overload."""
    kinds = {record["status"] for record in records}
    expect(kinds <= {200, 400, 429, 503}, f"statuses {counted(records)}")
    expect(all(record["whole"] for record in records if record["status"] == 200),
           "a stream was cut")
    refused = [record for record in records if record["status"] in (429, 503)]
    expect(all(record["retry"] for record in refused), "a refusal without Retry-After")


def refused_after(refusals):
    """The 99th percentile in milliseconds, as a client sees it that does nothing else: the one
    event loop that offers the load is late itself."""
    return percentile(refusals.end()["refused"], 0.99) * 1e3


def counted(records):
    counts = {}
    for record in records:
        counts[record["status"]] = counts.get(record["status"], 0) + 1
    return " ".join(f"{count}×{status}" for status, count in sorted(counts.items()))


def overload(trial, factor):
    seconds = 300 if trial.is_long else 20
    rate = capacity(trial.server)
    refusals = Refusals(trial.server)
    records = Load(trial.server.port).run({"": factor * rate}, seconds)
    late = refused_after(refusals)
    judge(records)
    begin = min(record["at"] for record in records)
    # Served in the time of the offer: what was queued at its end is no goodput of that time.
    done = sum(1 for record in records
               if record["status"] == 200 and record["end"] < begin + seconds)
    share = done / seconds / rate
    outcome = (f"C {rate:.0f}/s, {counted(records)}, goodput {share:.0%} of C, "
               f"refusals p99 {late:.0f} ms")
    expect_in_time(late <= 100, f"refusals p99 {late:.0f} ms; {outcome}")
    expect_in_time(share >= (0.75 if factor < 5 else 0.6), outcome)
    return outcome


@case("49", "open-loop load of 2 × capacity", flags=SMALL)
def overload_twice(trial):
    return overload(trial, 2)


@case("49", "open-loop load of 10 × capacity", flags=SMALL)
def overload_tenfold(trial):
    return overload(trial, 10)


TENANTS = ["loud-tenant", "quiet-a-tenant", "quiet-b-tenant", "quiet-c-tenant"]
KEYS = SMALL + tuple(word for tenant in TENANTS for word in ("--api-key", tenant))


def loud_tenant(trial, factor):
    server = trial.serve(KEYS)
    rate = capacity(server, (f"Authorization: Bearer {TENANTS[0]}",))
    seconds = 300 if trial.is_long else 20
    alone = Load(server.port).run({TENANTS[1]: 0.2 * rate}, min(10, seconds))
    rates = {TENANTS[0]: factor * rate, **{tenant: 0.2 * rate for tenant in TENANTS[1:]}}
    refusals = Refusals(server, TENANTS[0])
    records = Load(server.port).run(rates, seconds)
    late = refused_after(refusals)
    judge(records)
    victims = [record for record in records if record["tenant"] != TENANTS[0]]
    kept = sum(record["status"] == 200 for record in victims) / len(victims)
    solo = percentile([record["first"] for record in alone if record["first"]], 0.99)
    beside = percentile([record["first"] for record in victims if record["first"]], 0.99)
    loud = [record for record in records if record["tenant"] == TENANTS[0]]
    outcome = (f"C {rate:.0f}/s, victims keep {kept:.1%}, TTFT p99 {solo * 1e3:.0f} ms alone, "
               f"{beside * 1e3:.0f} ms beside, loud {counted(loud)}, refusals p99 {late:.0f} ms")
    expect(server.is_alive(), "the process ended")
    expect(kept >= 0.95, outcome)
    expect_in_time(late <= 100, outcome)
    return outcome


@case("50", "a loud tenant at 2 × capacity beside three quiet ones at 20 %", serves=False)
def loud_twice(trial):
    return loud_tenant(trial, 2)


@case("50", "a loud tenant at 10 × capacity beside three quiet ones at 20 %", serves=False)
def loud_tenfold(trial):
    return loud_tenant(trial, 10)


# MARK: The queue


@case("51", "a deadline of 2 s while the queue is some 10 s deep: 429 at once, nothing computed",
      flags=SMALL)
def short_deadline(trial):
    server = trial.server
    server.ask("/v1/chat/completions", chat(200))  # the engine's speed is known
    open_ = []
    for index in range(250):
        connection = connect(server.port)
        connection.sendall(post("/v1/chat/completions", chat(400, f"number {index}")))
        open_.append(connection)
    time.sleep(1)
    answers = [server.ask("/v1/chat/completions", chat(400), ("x-deadline-ms: 2000",), 20)
               for _ in range(20)]
    for connection in open_:
        connection.close()
    expect({answer.status for answer in answers} <= {200, 429, 503, 504}, statuses(answers))
    # Served in time is as good as refused; the estimate may be wrong now and then, not mostly.
    refused = [answer for answer in answers if answer.status in (429, 503)]
    good = [answer for answer in answers if answer.status == 200 and answer.seconds < 2.2]
    slowest = percentile([answer.seconds for answer in refused], 0.9)
    expect(len(refused) + len(good) >= 16, f"{statuses(answers)}")
    expect(all("retry-after" in answer.headers for answer in refused), "no Retry-After")
    expect_in_time(slowest < 0.15, f"refused after {slowest * 1e3:.0f} ms")
    return f"{statuses(answers)}, refused after {slowest * 1e3:.0f} ms (p90)"


@case("51", "200 requests whose time in the queue is over: an answer at their time", flags=SMALL)
def queue_timeouts(trial):
    server = trial.server
    answers = at_once(200, lambda index: server.ask(
        "/v1/chat/completions", chat(600, f"number {index}"), ("x-queue-timeout-ms: 1500",), 60))
    expect({answer.status for answer in answers} <= {200, 429, 503}, statuses(answers))
    refused = [answer.seconds for answer in answers if answer.status != 200]
    expect(not refused or max(refused) < 3.5, f"refused after {max(refused):.1f} s")
    return statuses(answers)


@case("56", "high priorities all the time: low ones get something or a prompt refusal",
      flags=SMALL)
def low_priorities(trial):
    server = trial.server
    over = threading.Event()

    def high(_):
        while not over.is_set():
            server.ask("/v1/chat/completions", chat(100, f"{random.random()}", priority=9))

    threads = [threading.Thread(target=high, args=(None,), daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    answers = at_once(16, lambda index: server.ask(
        "/v1/chat/completions", chat(20, f"low {index}", priority=0),
        ("x-queue-timeout-ms: 8000",), 60))
    over.set()
    for thread in threads:
        thread.join()
    expect({answer.status for answer in answers} <= {200, 429, 503}, statuses(answers))
    slowest = max(answer.seconds for answer in answers)
    expect(slowest < 14, f"{slowest:.1f} s for a queue time of 8 s")
    return f"{statuses(answers)}, slowest {slowest:.1f} s"


@case("E", "requests that can never be admitted: 400 that names the limit, or an answer",
      flags=("--queue-limit", "64"))
def never_admitted(trial):
    outcomes = []
    for prompts, choices in ((64, 8), (64, 1), (64, 2), (17, 8), (1, 8), (9, 8)):
        body = {"prompt": ["a"] * prompts, "n": choices, "max_tokens": 1}
        answer = trial.server.ask("/v1/completions", body)
        expect(answer.status in (200, 400), f"{prompts} × {choices}: {answer.status}")
        outcomes.append(f"{prompts} × {choices}: {answer.status}")
    return ", ".join(outcomes)


@case("E", "the same with a key, whose share of the queue is smaller", serves=False)
def never_admitted_keyed(trial):
    server = trial.serve(("--api-key", "key-of-one"))
    outcomes = []
    for prompts, choices in ((64, 8), (64, 3), (64, 2), (64, 1)):
        body = {"prompt": ["a"] * prompts, "n": choices, "max_tokens": 1}
        answer = server.ask("/v1/completions", body, ("Authorization: Bearer key-of-one",))
        expect(answer.status in (200, 400), f"{prompts} × {choices}: {answer.status}")
        outcomes.append(f"{prompts} × {choices}: {answer.status}")
    return ", ".join(outcomes)


# MARK: Clients that leave


def requests_to_leave():
    tools = [{"type": "function", "function": {"name": name}} for name in ("get_a", "get_b", "c")]
    long = "word " * 1_500
    return [
        post("/v1/chat/completions", chat(400, stream=True)),
        post("/v1/chat/completions", chat(400)),
        post("/v1/chat/completions", chat(400, long, stream=True)),
        post("/v1/chat/completions", chat(200, n=4, stream=True, temperature=1)),
        post("/v1/chat/completions", chat(50, long, tools=tools, tool_choice="required")),
        post("/v1/completions", {"prompt": ["a", "b", "c"], "max_tokens": 200, "stream": True}),
        post("/v1/completions", {"prompt": long, "echo": True, "logprobs": 5, "max_tokens": 50}),
        post("/v1/tokenize", {"text": long * 5}),
        post("/v1/chat/completions", chat(400, stream=True), ()) * 3,
    ]


@case("52", "10,000 disconnects at random phases: no KV block stays in use", flags=SMALL)
def disconnects(trial):
    server = trial.server
    kinds = requests_to_leave()
    count = 10_000
    clients = 48
    failures = [0]

    def client(number):
        generator = random.Random(number)
        for _ in range(count // clients + 1):
            data = generator.choice(kinds)
            try:
                connection = socket.create_connection(
                    ("127.0.0.1", server.port), 30, (source(), 0))
            except OSError:
                failures[0] += 1
                continue
            with contextlib.suppress(OSError), connection:
                if generator.random() < 0.5:
                    # A reset instead of a polite end.
                    connection.setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                phase = generator.random()
                if phase < 0.15:
                    connection.sendall(data[:generator.randrange(len(data))])
                    continue
                connection.sendall(data)
                if phase < 0.3:
                    continue
                connection.settimeout(generator.random() * 0.25)
                for _ in range(generator.randrange(6)):
                    if not connection.recv(generator.choice((1, 30, 300, 3_000))):
                        break

    at_once(clients, client)
    end = time.monotonic() + 1.5
    while (used := server.blocks_used()) and time.monotonic() < end:
        time.sleep(0.05)
    expect(used == 0, f"{used:.0f} KV blocks are in use 1.5 s later")
    expect(failures[0] < 50, f"{failures[0]} connects failed")
    return f"{clients * (count // clients + 1)} disconnects, 0 blocks in use"


# MARK: Memory for two


@case("53", "KV memory for two sequences, 50 long requests: all end, each as alone", serves=False)
def memory_for_two(trial):
    tokens = 700
    flags = ["--max-model-tokens", "1024"]
    probe = trial.serve([*flags, "--kv-cache-memory", "4MiB"])
    blocks = sum(value for name, value in probe.metrics().items() if "kv_blocks{" in name)
    probe.stop()
    size = 4 * 1024 / blocks  # KiB for a block
    server = trial.serve([*flags, "--kv-cache-memory", f"{int(size * 2 * 66) + 1}KiB"])
    total = sum(value for name, value in server.metrics().items() if "kv_blocks{" in name)

    def request(number):
        body = chat(tokens, f"Tell me about order {number}, please.", seed=number, temperature=0.8)
        return server.ask("/v1/chat/completions", body, ("x-queue-timeout-ms: 600000",), 300)

    alone = {number: request(number).json["choices"] for number in (0, 17, 33, 49)}
    answers = at_once(50, request)
    expect({answer.status for answer in answers} == {200}, statuses(answers))
    for number, choices in alone.items():
        expect(answers[number].json["choices"] == choices, f"request {number} differs from alone")
    counts = {answer.json["usage"]["completion_tokens"] for answer in answers}
    expect(counts == {tokens}, f"tokens {counts}")
    values = server.metrics()
    expect(values['autoglm_kv_blocks{state="used"}'] == 0, "KV blocks in use at the end")
    return f"{total:.0f} blocks, {values.get('autoglm_preemptions_total', 0):.0f} preemptions"
