"""Group A: model files that lie. Each is refused within 5 s, by an exit status and not a signal, in
a line that names the file, without memory for what the file claims; a server beside it goes on."""

import contextlib
import copy
import json
import mmap
import os
import random
import re
import struct
import subprocess
import time

import checkpoints
from checkpoints import ARRAY, F32, GGUF, I32, STRING, U32, U64
from harness import MIB, Failed, case, expect, free_port

BIG = 1 << 63


class Loader:
    """Loads one file after the other with `serve`, as an operator would."""

    def __init__(self, trial):
        self.trial = trial
        self.count, self.slowest, self.largest = 0, 0.0, 0.0
        self.unlocated = []
        good = trial.path("good.gguf")
        with open(good, "wb") as file:
            file.write(GGUF().file())
        server = trial.serve(model=good)
        answer = server.ask("/v1/completions", {"prompt": "ab", "max_tokens": 4})
        expect(answer.status == 200, f"the valid file serves {answer.status} {answer.body[:200]}")
        server.stop()
        self.base = self.run(["--version"])[2]

    def run(self, arguments):
        """Exit status, standard error, MiB of memory at most, seconds."""
        log = self.trial.path("loader-log")
        # A child's peak begins with ours, which is set back to what we use now.
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as peak:
            peak.write("5")
        start = time.monotonic()
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [self.trial.program, *arguments], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=out)
        status = usage = None
        while time.monotonic() < start + 8:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.002)
        else:
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
            status = None
        process.returncode = 0
        said = open(log, errors="replace").read()
        code = None if status is None else os.waitstatus_to_exitcode(status)
        return code, said, usage.ru_maxrss / 1024, time.monotonic() - start

    def refuse(self, name, path, header=0):
        """Wants the file refused."""
        code, said, memory, seconds = self.run(
            ["serve", "--port", str(free_port()), "--model", path])
        said = said.strip()
        expect(code is not None, f"{name}: neither loaded nor refused within 8 s")
        expect(code > 0, f"{name}: exit {code}: {said[-200:]}" if code == 0
               else f"{name}: signal {-code}: {said[-200:]}")
        expect(seconds <= 5, f"{name}: {seconds:.1f} s")
        expect(len(said.splitlines()) <= 3, f"{name}: says {said[:300]}")
        expect(os.path.basename(path.rstrip("/")) in said, f"{name}: no file in {said[:200]}")
        # Memory that the program without a model does not need.
        extra = memory - self.base
        expect(extra <= 64 + 10 * header / MIB, f"{name}: {extra:.0f} MiB of memory")
        self.count += 1
        self.slowest, self.largest = max(self.slowest, seconds), max(self.largest, extra)

    def refuse_bytes(self, name, data, suffix=".gguf"):
        path = self.trial.path("bad" + suffix)
        with open(path, "wb") as file:
            file.write(data)
        self.refuse(name, path, header=min(len(data), 100 * MIB))

    def outcome(self):
        return f"{self.count} files, slowest {self.slowest:.2f} s, ≤ {self.largest:.0f} MiB more"


def changed(change):
    """A valid GGUF file, changed."""
    gguf = GGUF()
    change(gguf)
    return gguf.file()


def metadata(key, entry):
    return changed(lambda gguf: gguf.metadata.__setitem__(key, entry))


@case("1", "GGUF: counts of 2^63 and others in files that hold nothing", serves=False)
def gguf_counts(trial):
    loader = Loader(trial)
    for tensors, keys in ((BIG, 0), (0, BIG), (BIG, BIG), ((1 << 64) - 1, 1), (1, (1 << 64) - 1),
                          (1 << 32, 0), (0, 1 << 32), (1 << 40, 3), (0, 0), (0, 1)):
        loader.refuse_bytes(f"{tensors} tensors, {keys} keys",
                            b"GGUF" + struct.pack("<IQQ", 3, tensors, keys))
        gguf = GGUF()
        gguf.counts = (tensors, keys)
        if (tensors, keys) != (0, 0):
            loader.refuse_bytes(f"{tensors} tensors, {keys} keys, whole", gguf.file())
    for version in (0, 1, 4, 1 << 31, 0x03000000):
        gguf = GGUF()
        gguf.version = version
        loader.refuse_bytes(f"version {version}", gguf.file())
    loader.refuse_bytes("empty", b"")
    loader.refuse_bytes("magic alone", b"GGUF")
    return loader.outcome()


@case("2", "GGUF: strings of 2^63 - 1 bytes, arrays of 2^61 items, arrays in arrays", serves=False)
def gguf_values(trial):
    loader = Loader(trial)
    claim = struct.pack
    values = {
        "string": claim("<IQ", STRING, BIG - 1),
        "string 2^64 - 1": claim("<IQ", STRING, BIG * 2 - 1),
        "string 2^32": claim("<IQ", STRING, 1 << 32),
        "u64 × 2^61": claim("<IIQ", ARRAY, U64, 1 << 61),
        "u64 × 2^61 + 1": claim("<IIQ", ARRAY, U64, (1 << 61) + 1),
        "strings × 2^63": claim("<IIQ", ARRAY, STRING, BIG),
        "u8 × 2^40": claim("<IIQ", ARRAY, 0, 1 << 40),
        "arrays": claim("<I", ARRAY) + claim("<IQ", ARRAY, 1) * 1_000 + claim("<IQ", U32, 0),
        "arrays × 100,000": claim("<I", ARRAY) + claim("<IQ", ARRAY, 1) * 100_000,
        "type 13": claim("<IQ", 13, 0), "type 2^31": claim("<IQ", 1 << 31, 0),
        "array of type 99": claim("<IIQ", ARRAY, 99, 1),
    }
    for name, data in values.items():
        # Once under a key of nobody, at the end, and once where something is read.
        gguf = GGUF()
        gguf.metadata["a.b"] = data
        gguf.counts = (0, len(gguf.metadata))
        gguf.tensors = []
        loader.refuse_bytes(name, gguf.header())
        loader.refuse_bytes(name + " as tokens", metadata("tokenizer.ggml.tokens", data))
    key = GGUF().header()[:24] + struct.pack("<Q", BIG - 1) + b"a" * 100
    loader.refuse_bytes("a key of 2^63 - 1 bytes", key)
    return loader.outcome()


@case("3", "GGUF: dimensions whose product wraps; offsets beyond everything", serves=False)
def gguf_dimensions(trial):
    loader = Loader(trial)
    size_max = (1 << 64) - 1
    for kind in (0, 1, 2, 8, 12, 30):
        for dimensions in ([size_max // 4], [1 << 32, 1 << 32], [1 << 62, 4], [1 << 62, 4, 1],
                           [size_max, 1], [BIG, 2], [32, 1 << 59], [1 << 40, 1 << 24], [BIG],
                           [32, size_max // 32 + 1], [1 << 21] * 4):
            loader.refuse_bytes(f"type {kind}, {dimensions}", changed(
                lambda gguf: gguf.tensors[0].__setitem__(slice(1, 3), [dimensions, kind])))
    for offset in (size_max, BIG, 1 << 62, 1, 31, size_max - 31, 1 << 40):
        loader.refuse_bytes(f"offset {offset}", changed(
            lambda gguf: gguf.tensors[-1].__setitem__(3, offset)))
    return loader.outcome()


@case("4", "GGUF: dimensions of 0, none or 2^32 - 1 of them, unknown types, alignments",
      serves=False)
def gguf_shapes(trial):
    loader = Loader(trial)
    for dimensions in ([0], [0, 0], [32, 0], [0, 32], [], [1] * 5, [1] * 100):
        loader.refuse_bytes(f"{dimensions}", changed(
            lambda gguf: gguf.tensors[0].__setitem__(1, dimensions)))
    header = GGUF().header()
    name = checkpoints.text("token_embd.weight")
    at = header.index(name) + len(name)
    for count in ((1 << 32) - 1, 1 << 31, 5):
        loader.refuse_bytes(f"{count} dimensions",
                            header[:at] + struct.pack("<I", count) + header[at + 4:]
                            + b"\0" * 4_096)
    for kind in (4, 5, 31, 39, 99, 255, (1 << 32) - 1):
        loader.refuse_bytes(f"type {kind}", changed(
            lambda gguf: gguf.tensors[3].__setitem__(2, kind)))
    for alignment in (0, 3, 1 << 31, 7):
        loader.refuse_bytes(f"alignment {alignment}", metadata(
            "general.alignment", (U32, alignment)))
    for kind, number in ((U64, BIG), (I32, -32), (STRING, "32")):
        loader.refuse_bytes(f"alignment of type {kind}", metadata(
            "general.alignment", (kind, number)))
    return loader.outcome()


@case("6", "GGUF and safetensors cut at random points; a tensor one byte beyond the end",
      serves=False)
def cut_files(trial):
    loader = Loader(trial)
    count = 1_000 if trial.is_long else 60
    generator = random.Random(7)
    gguf = GGUF().file()
    for _ in range(count):
        loader.refuse_bytes("GGUF cut", gguf[:generator.randrange(len(gguf) - 32)])
    header, data = checkpoints.safetensors_parts()
    whole = checkpoints.safetensors(header, data)
    for _ in range(count):
        path = checkpoints.write_directory(
            trial.path("cut"), whole[:generator.randrange(len(whole))])
        loader.refuse("safetensors cut", path)
    beyond = GGUF()
    last = beyond.tensors[-1]
    last[3] += 32
    loader.refuse_bytes("beyond the end", beyond.file())
    return loader.outcome()


LIES = {
    "llama.block_count": (0, 1, 3, 1_000_000, (1 << 32) - 1),
    "llama.attention.head_count": (0, 3, 1 << 20, (1 << 32) - 1),
    "llama.attention.head_count_kv": (0, 3, 8, 1 << 31),
    "llama.embedding_length": (0, 31, 33, 1 << 31), "llama.feed_forward_length": (0, 95, 1 << 31),
    "llama.rope.dimension_count": (7, 10, 1 << 31),
    "llama.attention.key_length": (0, 7, 1 << 31), "llama.vocab_size": (),
    "llama.expert_count": (8,), "tokenizer.ggml.bos_token_id": (1 << 31, 100_000),
    "tokenizer.ggml.eos_token_id": (1 << 31, 100_000),
}


@case("9", "GGUF: numbers of a configuration that cannot be", serves=False)
def gguf_configuration(trial):
    loader = Loader(trial)
    for key, numbers in LIES.items():
        for number in numbers:
            loader.refuse_bytes(f"{key} {number}", metadata(key, (U32, number)))
        loader.refuse_bytes(f"{key} a text", metadata(key, (STRING, "x")))
        loader.refuse_bytes(f"{key} 2^63", metadata(key, (U64, BIG)))
        # -1 stands for no such token, and the embedding knows the vocabulary.
        if "token_id" not in key and "vocab" not in key:
            loader.refuse_bytes(f"{key} -1", metadata(key, (checkpoints.I64, -1)))
    for number in (1 << 40, 0):
        loader.refuse_bytes(f"context {number}", metadata(
            "llama.context_length", (U64, number)))
    for key, numbers in {
        "llama.rope.freq_base": (float("nan"), float("inf"), -1.0, 0.0),
        "llama.attention.layer_norm_rms_epsilon": (float("nan"), float("inf"), -1.0),
    }.items():
        for number in numbers:
            loader.refuse_bytes(f"{key} {number}", metadata(key, (F32, number)))
    loader.refuse_bytes("architecture", metadata("general.architecture", (STRING, "x\x1b[2J\n")))
    return loader.outcome()


@case("9", "GGUF: tokenizers that do not fit", serves=False)
def gguf_tokenizer(trial):
    loader = Loader(trial)
    tokens = checkpoints.TOKENS
    twice = list(tokens)
    twice[-1] = twice[-2]
    cases = {
        "no tokens": ("tokens", (ARRAY, (STRING, []))),
        "fewer": ("tokens", (ARRAY, (STRING, tokens[:-1]))),
        "numbers": ("tokens", (ARRAY, (U32, list(range(len(tokens)))))),
        "scores": ("scores", (ARRAY, (F32, [0.0]))),
        "types": ("token_type", (ARRAY, (I32, [1]))),
        "type 99": ("token_type", (ARRAY, (I32, [99] * len(tokens)))),
        "model": ("model", (STRING, "nothing-known")),
        "twice": ("tokens", (ARRAY, (STRING, twice))),
    }
    for name, (key, entry) in cases.items():
        loader.refuse_bytes(name, metadata("tokenizer.ggml." + key, entry))
    # These may be served; if they are, they serve.
    for name, (key, entry) in {
        "not UTF-8": ("tokens", (ARRAY, (STRING, tokens[:-1] + [b"\xff\xfe"]))),
        "NaN scores": ("scores", (ARRAY, (F32, [float("nan")] * len(tokens)))),
        "controls": ("token_type", (ARRAY, (I32, [3] * len(tokens)))),
        "no bytes": ("token_type", (ARRAY, (I32, [1] * len(tokens)))),
    }.items():
        path = trial.path(name.replace(" ", "-") + ".gguf")
        with open(path, "wb") as file:
            file.write(metadata("tokenizer.ggml." + key, entry))
        try:
            server = trial.serve(model=path)
        except Failed as refusal:
            expect("Signal" not in str(refusal), f"{name}: {refusal}")
            continue
        for body in ({"prompt": "abc \u00e4", "max_tokens": 20}, {"prompt": "", "max_tokens": 2}):
            answer = server.ask("/v1/completions", body)
            expect(answer.status in (200, 400) and server.is_alive(), f"{name}: {answer.status}")
        server.stop()
    return loader.outcome()


@case("9", "config.json: numbers that cannot be, and files that are no JSON", serves=False)
def configurations(trial):
    loader = Loader(trial)
    header, data = checkpoints.safetensors_parts()
    weights = checkpoints.safetensors(header, data)

    def refuse(name, config=None, tokenizer=None):
        loader.refuse(name, checkpoints.write_directory(
            trial.path("directory"), weights, config, tokenizer))

    for key, numbers in {
        "num_hidden_layers": (0, 3, 1_000_000, BIG, -1, "x", None, 1.5),
        "num_attention_heads": (0, 3, 1 << 40, -1, []),
        "num_key_value_heads": (0, 3, -2, 1 << 62), "hidden_size": (0, 31, 1 << 40, -32),
        "intermediate_size": (0, 1 << 62, -1), "vocab_size": (0, 1 << 40, -1, 7),
        "max_position_embeddings": (0, 1 << 40, -1), "rope_theta": (0, -1, 1e400, "x"),
        "rms_norm_eps": (-1, 1e400), "architectures": ([], ["Nothing"], 7, "x"),
        "head_dim": (0, 7, 1 << 40),
    }.items():
        for number in numbers:
            refuse(f"{key} {number}", {**checkpoints.CONFIG, key: number})
    for name, text in {
        "empty": b"", "list": b"[]", "cut": b'{"a":', "deep": b"[" * 100_000,
        "binary": bytes(range(256)), "number": b'{"hidden_size":' + b"9" * 100_000 + b"}",
    }.items():
        refuse("config " + name, config=text)
        refuse("tokenizer " + name, tokenizer=text)
    model = copy.deepcopy(checkpoints.TOKENIZER)
    model["model"]["vocab"]["a"] = 99_999_999_999
    refuse("a token id of 10^11", tokenizer=model)
    model["model"]["vocab"]["a"] = -1
    refuse("a token id of -1", tokenizer=model)
    model = copy.deepcopy(checkpoints.TOKENIZER)
    model["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": "(a+)+$(?=x)\\1"}, "behavior": "Isolated"}
    refuse("a pattern with a back-reference", tokenizer=model)
    return loader.outcome()


@case("10", "safetensors: header lengths that lie", serves=False)
def safetensors_headers(trial):
    loader = Loader(trial)
    header, data = checkpoints.safetensors_parts()
    good = json.dumps(header).encode()
    for name, content in {
        "2^63": checkpoints.safetensors(good, data, BIG),
        "2^64 - 1": checkpoints.safetensors(good, data, BIG * 2 - 1),
        "2^63 - 1": checkpoints.safetensors(good, data, BIG - 1),
        "100 MB + 1": checkpoints.safetensors(good, data, 100_000_001),
        "more than the file": checkpoints.safetensors(good, data, len(good) + len(data) + 1),
        "0": checkpoints.safetensors(good, data, 0), "1": checkpoints.safetensors(good, data, 1),
        "no {": checkpoints.safetensors(b"[" + good[1:], data),
        "space first": checkpoints.safetensors(b" " + good, data),
        "cut JSON": checkpoints.safetensors(good[:-1], data),
        "not UTF-8": checkpoints.safetensors(good.replace(b"lm_head", b"lm\xffhead"), data),
        "deep": checkpoints.safetensors(b'{"a":' * 100_000, b""),
        "empty": b"", "7 bytes": b"\0" * 7, "8 bytes": b"\0" * 8,
        "zeros": b"\0" * 100_000, "spaces": checkpoints.safetensors(b" " * 50_000_000, b""),
    }.items():
        loader.refuse(name, checkpoints.write_directory(trial.path("directory"), content),
                      header=len(content))
    return loader.outcome()


@case("10", "safetensors: a header of 100,000 tensors is read within 2 s", serves=False)
def many_tensors(trial):
    loader = Loader(trial)
    header, data = checkpoints.safetensors_parts()
    start = len(data)
    for index in range(100_000):
        header[f"unknown.{index}"] = {
            "dtype": "U8", "shape": [1], "data_offsets": [start + index, start + index + 1]}
    path = checkpoints.write_directory(
        trial.path("many"), checkpoints.safetensors(header, data + b"\0" * 100_000))
    code, said, memory, seconds = loader.run(["show", "--model", path])
    expect(code is not None and code >= 0, f"show: {code} {said[:200]}")
    expect(seconds < 3, f"{seconds:.1f} s")
    return f"show: exit {code} after {seconds:.2f} s, {memory - loader.base:.0f} MiB more"


@case("12", "safetensors: overlaps, holes, duplicates, trailing bytes, wrong lengths", serves=False)
def safetensors_layout(trial):
    loader = Loader(trial)
    names = list(checkpoints.safetensors_parts()[0])

    def refuse(name, change, extra=b""):
        header, data = checkpoints.safetensors_parts()
        changed = change(header)
        loader.refuse(name, checkpoints.write_directory(
            trial.path("directory"),
            checkpoints.safetensors(header if changed is None else changed, data + extra)))

    def offsets(index, start, end):
        def change(header):
            entry = header[names[index]]["data_offsets"]
            entry[0] += start
            entry[1] += end
        return change

    def member(index, key, content):
        return lambda header: header[names[index]].__setitem__(key, content)

    refuse("overlap", offsets(1, -4, -4))
    refuse("hole", lambda header: header.pop(names[4]) and None)
    refuse("one byte more", lambda header: None, b"\0")
    refuse("4 KiB more", lambda header: None, b"\0" * 4_096)
    refuse("beyond the end", offsets(-1, 0, 4))
    refuse("end before begin", lambda header: header[names[0]]["data_offsets"].reverse())
    refuse("shape", member(2, "shape", [33]))
    refuse("shape of 2^63", member(2, "shape", [BIG]))
    refuse("shape that wraps", member(0, "shape", [1 << 32, 1 << 32]))
    refuse("shape of -1", member(2, "shape", [-32]))
    refuse("shape of 0", member(2, "shape", [0]))
    refuse("shape 1.5", member(2, "shape", [32.5]))
    refuse("shape null", member(2, "shape", None))
    refuse("1,000 dimensions", member(2, "shape", [32] + [1] * 1_000))
    refuse("dtype", member(2, "dtype", "F31"))
    refuse("dtype 7", member(2, "dtype", 7))
    refuse("dtype BF16", member(2, "dtype", "BF16"))
    refuse("offsets 2^64", member(0, "data_offsets", [0, 1 << 64]))
    refuse("offsets -1", member(0, "data_offsets", [-1, 100]))
    refuse("one offset", member(0, "data_offsets", [0]))
    refuse("no offsets", lambda header: header[names[0]].pop("data_offsets") and None)
    refuse("an entry of null", lambda header: header.__setitem__(names[0], None))
    refuse("zero-size at a shared offset", lambda header: header.__setitem__(
        "x", {"dtype": "F32", "shape": [0], "data_offsets": [4, 4]}))
    refuse("same key twice", lambda header: json.dumps(header).encode()[:-1] + b"," + json.dumps(
        {names[0]: header[names[0]]}).encode()[1:])
    refuse("a name of 1 MB", lambda header: header.__setitem__("x" * MIB, header.pop(names[0])))
    return loader.outcome()


@case("14", "pickles, under their names and as safetensors", serves=False)
def pickles(trial):
    loader = Loader(trial)
    harm = trial.path("harm")
    payload = b"cposix\nsystem\n(S'touch " + harm.encode() + b"'\ntR."
    zipped = b"PK\x03\x04" + b"\0" * 26 + payload
    for name in ("model.safetensors", "pytorch_model.bin", "model.pt", "consolidated.00.pth"):
        for content in (payload, b"\x80\x02" + payload, zipped):
            directory = trial.path("pickle-" + name)
            loader.refuse(name, checkpoints.write_directory(directory, content, name=name))
    for name in ("model.bin", "model.pt", "model.gguf"):
        path = trial.path(name)
        with open(path, "wb") as file:
            file.write(payload)
        loader.refuse(name, path)
    expect(not os.path.exists(harm), "the pickle was run")
    with open(trial.program, "rb") as file, \
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as binary:
        expect(not re.search(rb"[Uu]npickl", binary), "an unpickler in the program")
    return loader.outcome()


@case("14", "files that are something else: Git LFS pointers, pages, devices, directories",
      serves=False)
def other_files(trial):
    loader = Loader(trial)
    for name, content in {
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "page": b"<!DOCTYPE html><html></html>", "gzip": b"\x1f\x8b\x08" + b"\0" * 100,
    }.items():
        loader.refuse_bytes(name, content)
        loader.refuse(name, checkpoints.write_directory(trial.path("directory"), content))
    for path in ("/dev/null", "/dev/zero", "/nowhere/model.gguf", "/proc/self/mem", "/"):
        code, said, memory, seconds = loader.run(["serve", "--port", "0", "--model", path])
        expect(code is not None and code > 0, f"{path}: {code} {said[-200:]}")
        expect(memory - loader.base < 64, f"{path}: {memory:.0f} MiB")
    fifo = trial.path("fifo.gguf")
    os.mkfifo(fifo)
    code, said, _, seconds = loader.run(["serve", "--port", "0", "--model", fifo])
    expect(code is not None and code > 0, f"a FIFO: {'waits' if code is None else code}")
    return loader.outcome()


@case("6", "2,000 GGUF files with random bytes changed: no signal, no hang, no memory",
      serves=False)
def flipped_bytes(trial):
    loader = Loader(trial)
    generator = random.Random(8)
    good = GGUF().file()
    end = len(GGUF().header())
    count = 2_000 if trial.is_long else 150
    accepted = 0
    for _ in range(count):
        data = bytearray(good)
        for _ in range(generator.randint(1, 4)):
            data[generator.randrange(4, end)] = generator.choice((0, 1, 127, 128, 255,
                                                                  generator.randrange(256)))
        path = trial.path("flipped.gguf")
        with open(path, "wb") as file:
            file.write(data)
        code, said, memory, _ = loader.run(["show", "--model", path])
        expect(code is not None, "show hangs")
        expect(code >= 0, f"signal {-code}: {said[-200:]}")
        expect(memory - loader.base < 64, f"{memory:.0f} MiB")
        accepted += code == 0
        code, said, memory, _ = loader.run(["score", "--model", path, "a"])
        expect(code is not None and code >= 0, f"score: {code}: {said[-300:]}")
    return f"{count} files, {accepted} of them still good for `show`"


@case("6", "a server whose model file is cut while it serves goes on", serves=False)
def cut_while_serving(trial):
    path = trial.path("model.gguf")
    with open(path, "wb") as file:
        file.write(GGUF().file())
    server = trial.serve(model=path)

    def answer():
        got = server.ask("/v1/completions", {"prompt": "abab", "max_tokens": 8, "temperature": 0})
        expect(got.status == 200, f"status {got.status} {got.body[:100]}")
        return got.json["choices"]

    wanted = answer()
    os.truncate(path, 100)
    os.sync()
    expect(answer() == wanted, "another answer after the file was cut")
    os.remove(path)
    expect(answer() == wanted and server.is_alive(), "another answer after the file was removed")
    return "same answer"
