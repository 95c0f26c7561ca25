"""Group G: the engine in a process of its own (`serve --isolate`), and what becomes of the other half."""

import contextlib
import os
import signal
import threading
import time

from harness import at_once, case, chat, expect, expect_in_time, post, statuses
from process import Streams

ISOLATED = ("--isolate",)


def engine(server):
    """The engine's process; 0 while there is none."""
    for thread in os.listdir(f"/proc/{server.pid}/task"):
        with contextlib.suppress(OSError):
            children = open(f"/proc/{server.pid}/task/{thread}/children").read().split()
            for child in map(int, children):
                if state(child) not in ("", "Z"):
                    return child
    return 0


def state(pid):
    """R, S, T, Z…; empty when there is no such process."""
    with contextlib.suppress(OSError):
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    return ""


def is_gone(pid, seconds=3):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if state(pid) in ("", "Z"):
            return True
        time.sleep(0.02)
    return False


def ready_again(server, seconds=15):
    start = time.monotonic()
    expect(server.wait_ready(seconds), f"not ready after {seconds} s: {server.said()}")
    return time.monotonic() - start


def kill_under_load(trial, number):
    server = trial.serve(ISOLATED)
    wanted = server.reference()
    streams = Streams(server, 10, 3_000)
    live = []
    stop = threading.Event()

    def watch_live():
        while not stop.wait(0.02):
            live.append(server.ask("/livez", seconds=5))

    watcher = threading.Thread(target=watch_live, daemon=True)
    watcher.start()
    os.kill(engine(server), number)
    time.sleep(0.03)
    refused = None
    end = time.monotonic() + 5
    while time.monotonic() < end and refused is None:
        answer = server.ask("/v1/chat/completions", chat(1), seconds=5)
        if answer.status == 503:
            refused = answer
            unready = server.ask("/readyz", seconds=5)
    ended, told, silent = streams.explicit()
    seconds = ready_again(server)
    stop.set()
    watcher.join()
    expect(refused is not None, "new work was never refused")
    expect("retry-after" in refused.headers, "503 without Retry-After")
    expect(refused.error.get("code") in ("engine_restarting", "engine_restarted"),
           f"refused with {refused.body[:80]}")
    expect(unready.status in (200, 503), f"/readyz {unready.status}")
    expect(silent == 0, f"{silent} of 10 streams were cut without a word")
    expect(told > 0, "no stream was told")
    bad = [answer for answer in live if answer.status != 200]
    expect(not bad, f"/livez: {statuses(live)}")
    expect(server.reference() == wanted, "another answer than before")
    expect(server.metrics()["autoglm_engine_process_restarts_total"] == 1, "not counted")
    expect_in_time(max(answer.seconds for answer in live) < 0.2, "/livez was slow")
    return f"{told} told, {ended} ended; ready after {seconds:.1f} s"


@case("58", "--isolate: kill -9 of the engine under load: 503, error events, the same answers",
      serves=False)
def isolated_engine_killed(trial):
    return kill_under_load(trial, signal.SIGKILL)


@case("58", "--isolate: the engine aborts under load", serves=False)
def isolated_engine_aborts(trial):
    return kill_under_load(trial, signal.SIGABRT)


@case("15", "--isolate: SIGBUS in the engine, as of a model file cut under it", serves=False)
def isolated_engine_bus_error(trial):
    return kill_under_load(trial, signal.SIGBUS)


@case("58", "--isolate: five deaths of the engine within a minute: exit 70", serves=False)
def isolated_engine_dies_again(trial):
    server = trial.serve(ISOLATED)
    start = time.monotonic()
    last = 0
    for _ in range(5):
        end = time.monotonic() + 10
        while (current := engine(server)) in (0, last) and time.monotonic() < end:
            time.sleep(0.01)
        expect(current not in (0, last), "no new engine")
        last = current
        os.kill(current, signal.SIGKILL)
    code = server.process.wait(15)
    expect(code == 70, f"exit {code}")
    return f"exit 70 after {time.monotonic() - start:.1f} s"


@case("59", "--isolate: SIGSTOP of the engine: noticed, replaced", serves=False)
def isolated_engine_stopped(trial):
    server = trial.serve([*ISOLATED, "--restart-after", "3"])
    wanted = server.reference()
    streams = Streams(server, 3, 3_000)
    first = engine(server)
    os.kill(first, signal.SIGSTOP)
    start = time.monotonic()
    while server.ask("/readyz", seconds=5).status == 200 and time.monotonic() - start < 5:
        time.sleep(0.05)
    noticed = time.monotonic() - start
    ended, told, silent = streams.explicit()
    ready_again(server)
    expect(silent == 0 and told > 0, f"{ended} ended, {told} told, {silent} silent")
    expect(is_gone(first), "the stopped one is still there")
    expect(server.reference() == wanted, "another answer than before")
    expect_in_time(noticed < 3, f"noticed after {noticed:.1f} s")
    return f"noticed after {noticed:.1f} s, replaced after {time.monotonic() - start:.1f} s"


@case("58", "--isolate: kill -9 of the front under load: its engine ends with it", serves=False)
def isolated_front_killed(trial):
    server = trial.serve(ISOLATED)
    streams = Streams(server, 10, 3_000)
    orphan = engine(server)
    os.kill(server.pid, signal.SIGKILL)
    start = time.monotonic()
    expect(is_gone(orphan), "the engine lives on")
    streams.join()
    return f"gone after {(time.monotonic() - start) * 1e3:.0f} ms"


@case("57", "--isolate: SIGTERM to both with 20 open streams: drains, exit 0", serves=False)
def isolated_terminate(trial):
    server = trial.serve([*ISOLATED, "--drain-timeout", "4"])
    streams = Streams(server, 20, 3_000)
    child = engine(server)
    start = time.monotonic()
    # As a terminal and a service manager do it: to the whole group.
    os.killpg(server.pid, signal.SIGTERM)
    time.sleep(0.1)
    work = server.ask("/v1/chat/completions", chat(1), seconds=5)
    ended, told, silent = streams.explicit()
    code = server.process.wait(15)
    expect(work.status == 503, f"new work gets {work.status}")
    expect(silent == 0, f"{silent} of 20 streams were cut without a word")
    expect(code == 0, f"exit {code}")
    expect(is_gone(child), "the engine lives on")
    return f"{ended} ended, {told} told, exit 0 after {time.monotonic() - start:.1f} s"


@case("58", "--isolate: the engine dies while it loads, again and again", serves=False)
def isolated_killed_loading(trial):
    server = trial.serve(ISOLATED)
    wanted = server.reference()
    os.kill(engine(server), signal.SIGKILL)
    for _ in range(2):
        end = time.monotonic() + 5
        while not (current := engine(server)) and time.monotonic() < end:
            time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(current, signal.SIGKILL)
        is_gone(current)
    seconds = ready_again(server)
    expect(server.reference() == wanted, "another answer than before")
    return f"ready after {seconds:.1f} s"


@case("52", "--isolate: clients that leave, and a full queue",
      flags=("--isolate", "--queue-limit", "32", "--kv-cache-memory", "48MiB"))
def isolated_load(trial):
    server = trial.server

    def one(index):
        if index % 2:
            with contextlib.suppress(OSError), server.connect() as connection:
                connection.sendall(post("/v1/chat/completions", chat(200, stream=True)))
                connection.recv(100)
            return None
        return server.ask("/v1/chat/completions", chat(20), seconds=60)

    answers = [answer for _ in range(3) for answer in at_once(60, one) if answer]
    bad = [answer for answer in answers if answer.status not in (200, 429, 503)]
    expect(not bad, f"{statuses(answers)}")
    return statuses(answers)
