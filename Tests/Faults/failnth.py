#!/usr/bin/env python3
"""The Nth call fails, for N = 1, 2, … until none is left to fail: whatever the program was doing, it
ends with one line of its own or does its work all the same, and no torn file is left behind.

    failnth.py PROGRAM [--most N] [--only SCENARIO]

Calls fail through a library put in front of libc's (failnth.c, compiled here): open, read, write,
fsync, rename, close, connect, and mmap of memory. Short reads and writes and EINTR are tried as well.
Exit status 1 when something crashed, hung, answered wrongly or left half a file; the last line sums up.
"""
import argparse
import errno
import filecmp
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SHORT = -1
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("--most", type=int, default=300, help="largest N")
parser.add_argument("--only", help="one scenario")
options = parser.parse_args()
PROGRAM = os.path.abspath(options.program)

failures = []
runs = 0
scratch = tempfile.mkdtemp(prefix="autoglm-failnth-")
library = scratch + "/failnth.so"


def environment(**more):
    base = {"PATH": os.environ["PATH"], "HOME": scratch + "/home", "TERM": "xterm",
            "XDG_CACHE_HOME": scratch + "/cache", "TMPDIR": scratch + "/tmp",
            "XDG_STATE_HOME": scratch + "/state",
            "SWIFT_BACKTRACE": "enable=no"}
    return base | more


def faulty(call, number, error, path):
    return environment(
        LD_PRELOAD=library, FAILNTH_CALL=call, FAILNTH_N=str(number), FAILNTH_ERROR=str(error),
        FAILNTH_PATH=path, FAILNTH_REPORT=scratch + "/report")


def calls_seen():
    try:
        with open(scratch + "/report") as file:
            return int(file.read() or 0)
    except (OSError, ValueError):
        return 0


def run(arguments, env, timeout=60):
    global runs
    runs += 1
    try:
        done = subprocess.run([PROGRAM, *arguments], env=env, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=timeout)
        return done.returncode, done.stdout.decode(), done.stderr.decode()
    except subprocess.TimeoutExpired:
        return "hung", "", ""


def name_of(error):
    return "short" if error == SHORT else errno.errorcode[error]


def loop(scenario, call, error, path, once, must_work=False):
    """`once(env)` runs the program and returns (status, what is wrong)."""
    number = 0
    struck = refused = 0
    while number < options.most:
        number += 1
        if os.path.exists(scratch + "/report"):
            os.unlink(scratch + "/report")
        status, wrong = once(faulty(call, number, error, path))
        if calls_seen() < number and status == 0 and not wrong:
            break
        struck += 1
        refused += status != 0
        where = f"{scenario}: {call} {number} {name_of(error)}"
        if status not in (0, 1):
            failures.append(f"{where}: ended with {status}")
        if must_work and status != 0:
            failures.append(f"{where}: is no reason to give up ({wrong})")
        if wrong:
            failures.append(f"{where}: {wrong}")
    end = "" if number <= struck + 1 and struck < options.most else ", stopped at --most"
    print(f"{scenario:22} {call:8} {name_of(error):7} {struck:4} failed, "
          f"{refused} refused{end}", flush=True)


def said(status, output, error, expected):
    """What is wrong with how a command ended."""
    if status == 0:
        return "" if output == expected else f"another output: {output[:80]!r}"
    lines = [line for line in error.splitlines() if not line.startswith("warning: ")]
    if len(lines) != 1 or not lines[0].startswith("autoglm: "):
        return f"no single line: {error[:200]!r}"
    return ""


def loader(model):
    arguments = ["run", "--model", model, "--temperature", "0", "--max-tokens", "4", "--threads",
                 "1", "你好"]
    status, expected, error = run(arguments, environment())
    assert status == 0, error

    def once(env):
        status, output, error = run(arguments, env)
        return status, said(status, output, error, expected)
    loop("loader", "open", errno.EMFILE, model, once)
    loop("loader", "read", errno.EIO, model, once)
    loop("loader", "read", errno.EINTR, model, once, must_work=True)
    loop("loader", "read", SHORT, model, once, must_work=True)
    loop("loader", "close", errno.EIO, model, once, must_work=True)
    loop("loader", "memory", errno.ENOMEM, "", once)


def configuration(model):
    path = scratch + "/settings.yaml"
    with open(path, "w") as file:
        file.write(f"model: {model}\ncontext: 64\n")
    arguments = ["show", "--json", "--config", path]
    expected = run(arguments, environment())[1]

    def stable(text):
        return "\n".join(line for line in text.splitlines() if "memory_available" not in line)

    def once(env):
        status, output, error = run(arguments, env)
        return status, said(status, stable(output), error, stable(expected))
    loop("config", "open", errno.EACCES, path, once)
    loop("config", "read", errno.EIO, path, once)
    loop("config", "read", SHORT, path, once, must_work=True)


def unpack(model):
    """The model inside the program goes to the cache; what lies there half is never used."""
    cache = scratch + "/unpacked"
    arguments = ["run", "--temperature", "0", "--max-tokens", "2", "--threads", "1", "a"]
    expected = run(arguments, environment())[1]

    def once(env):
        shutil.rmtree(cache, ignore_errors=True)
        shutil.rmtree(scratch + "/tmp")
        os.mkdir(scratch + "/tmp")
        status, output, error = run(arguments, env | {"XDG_CACHE_HOME": cache})
        wrong = said(status, output, error, expected)
        if wrong:
            return status, wrong
        again = run(arguments, environment(XDG_CACHE_HOME=cache))
        wrong = said(*again, expected) or ("refused" if again[0] else "")
        return status, wrong and f"the next start: {wrong}"
    for call, error in [("open", errno.EMFILE), ("write", errno.ENOSPC), ("write", SHORT),
                        ("fsync", errno.EIO), ("rename", errno.EIO), ("close", errno.EIO),
                        ("read", errno.EIO)]:
        loop("unpack", call, error, cache, once)


def same(a, b):
    names = sorted(os.listdir(a))
    if names != sorted(os.listdir(b)):
        return False
    return all(filecmp.cmp(f"{a}/{name}", f"{b}/{name}", shallow=False) for name in names)


def quantizer(model):
    folder = scratch + "/out"
    os.mkdir(folder)
    target = folder + "/model"
    arguments = ["quantize", model, target, "--scheme", "int8", "--no-evaluate", "--threads", "1"]
    status, _, error = run(arguments, environment())
    assert status == 0, error
    whole = scratch + "/quantized"
    shutil.move(target, whole)
    other = scratch + "/other"
    shutil.copytree(model, other)

    def once(env, replaces):
        shutil.rmtree(folder)
        os.mkdir(folder)
        if replaces:
            shutil.copytree(other, target)
        status, _, error = run(arguments + ["--force"] * replaces, env)
        wrong = "" if status == 0 else said(status, "", error, "")
        there = os.path.exists(target)
        if there and not same(target, whole) and not (replaces and same(target, other)):
            wrong = wrong or "half a model lies there"
        if status == 0 and not (there and same(target, whole)):
            wrong = wrong or "it says that it is done, but it is not"
        if replaces and not there:
            wrong = wrong or "the former model is gone"
        rest = [name for name in os.listdir(folder) if name != "model"]
        if rest and "was kept" not in error:
            wrong = wrong or f"left behind: {rest}"
        return status, wrong
    for replaces in (False, True):
        name = "quantize --force" if replaces else "quantize"
        for call, error in [("open", errno.EMFILE), ("write", errno.ENOSPC), ("write", errno.EIO),
                            ("fsync", errno.EIO), ("rename", errno.EIO), ("close", errno.EIO)]:
            if replaces and call == "write":
                continue
            loop(name, call, error, folder, lambda env: once(env, replaces))
    loop("quantize", "write", SHORT, folder, lambda env: once(env, False), must_work=True)
    loop("quantize", "write", errno.EINTR, folder, lambda env: once(env, False), must_work=True)
    loop("quantize", "read", errno.EIO, model, lambda env: once(env, False))


def history(model):
    """A conversation in a terminal whose history is long enough to be cut."""
    global runs
    folder = scratch + "/state/autoglm"
    os.makedirs(folder)
    path = folder + "/chat-history"
    lines = [json.dumps(f"entry {n}") for n in range(1_250)]

    def talk(env):
        global runs
        runs += 1
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        with open(path, "w") as file:
            file.write("\n".join(lines) + "\n")
        os.chmod(path, 0o600)
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [PROGRAM, "chat", "--model", model, "--max-tokens", "2", "--threads", "1"], env=env,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        seen = b""
        sent = 0
        end = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < end:
            if select.select([master], [], [], 0.05)[0]:
                try:
                    part = os.read(master, 65_536)
                except OSError:
                    break
                seen += part
            elif b"/help" in seen and sent < 3:
                os.write(master, [b"/help\r", b"/help\r", b"\x04"][sent])
                sent += 1
                time.sleep(0.05)
        try:
            process.wait(5)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "hung"
        os.close(master)
        with open(path) as file:
            text = file.read()
        kept = []
        for line in text.splitlines():
            try:
                kept.append(json.loads(line))
            except ValueError:
                pass
        wrong = ""
        if len(kept) < 1_000 or "entry 1249" not in kept:
            wrong = f"only {len(kept)} entries are left"
        if sum(entry == "/help" for entry in kept) + len(kept) < 1_000:
            wrong = "the history is torn"
        rest = [name for name in os.listdir(folder) if name != "chat-history"]
        if rest:
            wrong = wrong or f"left behind: {rest}"
        return status, wrong
    for call, error in [("open", errno.EACCES), ("read", errno.EIO), ("read", SHORT),
                        ("write", errno.ENOSPC), ("write", SHORT), ("fsync", errno.EIO),
                        ("rename", errno.EIO), ("close", errno.EIO)]:
        # Conversations go on without a history.
        loop("history", call, error, folder, talk, must_work=True)


def log(model):
    path = scratch + "/log"

    def serve(env):
        global runs
        runs += 1
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        wrong = ""
        with open(path, "w") as file:
            process = subprocess.Popen(
                [PROGRAM, "serve", "--model", model, "--port", str(port), "--threads", "1"],
                env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=file)
        end = time.monotonic() + 30
        answered = 0
        while answered < 12 and time.monotonic() < end and process.poll() is None:
            try:
                with urllib.request.urlopen(
                        urllib.request.Request(
                            f"http://127.0.0.1:{port}/v1/tokenize", b'{"prompt":"a"}',
                            {"Content-Type": "application/json"}), timeout=5) as answer:
                    answered += answer.status == 200
            except OSError:
                time.sleep(0.02)
        if answered < 12:
            wrong = f"{answered} of 12 requests answered"
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            status = "hung"
        return status, wrong
    for error in (errno.ENOSPC, errno.EIO, errno.EPIPE, errno.EAGAIN, SHORT):
        loop("log", "write", error, path, serve, must_work=True)
    # Nothing of ours calls anyone; this tells when that changes.
    loop("serve", "connect", errno.ECONNREFUSED, "", serve, must_work=True)


def main():
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, HERE + "/failnth.c", "-ldl"],
                   check=True)
    for folder in ("home", "cache", "tmp"):
        os.mkdir(f"{scratch}/{folder}")
    status, _, error = run(["show"], environment())
    assert status == 0, error
    model = scratch + "/model"
    shutil.copytree(scratch + "/cache/autoglm/mini-glm", model)
    for scenario in (loader, configuration, unpack, quantizer, history, log):
        if options.only in (None, scenario.__name__):
            scenario(model)
    for failure in failures:
        print("FAILED", failure)
    print(f"failnth: {'ok' if not failures else 'FAILED'}: {runs} runs, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    try:
        code = main()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(code)
