"""Drives a conversation of four turns through every family over HTTP, with the official client, and
through `autoglm run`.

    python3 family_conversations.py PATH-OF-AUTOGLM [PATH-OF-shared/data [NAME...]]   needs openai, numpy, safetensors

Each model is a llama whose logits are a table from each token to the next, so that it says one
turn's text whatever the arithmetic. PORT is the first of two ports used.
"""
import json, os, pathlib, subprocess, sys, tempfile, time
import numpy as np, openai, requests
from safetensors.numpy import save_file

PROGRAM = sys.argv[1]
HERE = pathlib.Path(__file__).parent
DATA = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else HERE / "../../../shared/data")
PORT = int(os.environ.get("PORT", "18230"))
FIXTURE = json.loads((HERE / "../ChatTests/family-conversations.json").read_text())


def byte_letters():
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = {b: chr(b) for b in shown}
    for b in range(256):
        if b not in letters: letters[b] = chr(256 + len(letters) - len(shown))
    return letters


LETTERS = byte_letters()


def spelled(raw): return "".join(LETTERS[b] for b in raw)


def pieces(text, special, before):
    """The text as tokens, each at most once: special ones the first time they come, else 5 to 9
    bytes, which may part a character."""
    out, rest = [before], text.encode()
    marks = sorted((m.encode() for m in special), key=len, reverse=True)
    plain = b""

    def flush():
        nonlocal plain
        while plain:
            size = 5 + len(out) % 5
            while size < len(plain) and (plain[:size] in out or size < 2): size += 1
            piece, plain = plain[:size], plain[size:]
            if len(plain) == 1: piece, plain = piece + plain, b""
            out.append(piece)
    while rest:
        mark = next((m for m in marks if rest.startswith(m)), None)
        if mark and mark.decode() not in out and len(plain) != 1:
            flush(); out.append(mark.decode()); rest = rest[len(mark):]
        else:
            plain += rest[:1]; rest = rest[1:]
    flush()
    assert len(set(out)) == len(out), out
    return out[1:]


def write_model(folder, entry, template, chains):
    """`chains`: lists of tokens; each says what follows each. Bytes are special texts or raw."""
    special = entry["special"]
    vocabulary = {bytes([b]): b for b in range(256)}
    for chain in chains:
        for token in chain:
            if isinstance(token, bytes): vocabulary.setdefault(token, len(vocabulary))
    ids = {s: len(vocabulary) + i for i, s in enumerate(special)}
    n = (len(vocabulary) + len(ids) + 63) // 64 * 64
    head = np.zeros((n, n), np.float32)
    for chain in chains:
        tokens = [ids[t] if isinstance(t, str) else vocabulary[t] for t in chain]
        for a, b in zip(tokens, tokens[1:]):
            assert head[:, a].max() == 0 or head[b, a] > 0, ("two successors", chain)
            head[b, a] = 4
    layer = "model.layers.0."
    tensors = {"model.embed_tokens.weight": np.eye(n, dtype=np.float32), "lm_head.weight": head, "model.norm.weight": np.ones(n, np.float32),
               layer + "input_layernorm.weight": np.ones(n, np.float32), layer + "post_attention_layernorm.weight": np.ones(n, np.float32),
               layer + "self_attn.o_proj.weight": np.zeros((n, 64), np.float32), layer + "mlp.down_proj.weight": np.zeros((n, 64), np.float32)}
    for name in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj"]:
        tensors[layer + name + ".weight"] = np.zeros((64, n), np.float32)
    save_file(tensors, folder + "/model.safetensors")
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False)
    settings = dict(tokenizer_class="PreTrainedTokenizerFast", eos_token=special[0], chat_template=template)
    if entry["bos"]: settings["bos_token"] = entry["bos"]
    files = {
        "config.json": dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=n, vocab_size=n, num_attention_heads=1,
            num_key_value_heads=1, head_dim=64, num_hidden_layers=1, intermediate_size=64, max_position_embeddings=16384, rms_norm_eps=1e-6,
            rope_theta=10000.0, tie_word_embeddings=False, torch_dtype="float32", hidden_act="silu", eos_token_id=ids[special[0]]),
        "tokenizer.json": dict(version="1.0", truncation=None, padding=None, normalizer=None, post_processor=None,
            # Published tokenizers say so: tags of thinking and calls are added, but not special.
            added_tokens=[dict(id=i, content=s, special=not (s.startswith("<think") or s.startswith("</think")), **flags) for s, i in ids.items()],
            pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
            decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
            model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                       byte_fallback=False, ignore_merges=False, vocab={spelled(p): i for p, i in vocabulary.items()}, merges=[])),
        "tokenizer_config.json": settings,
    }
    for name, value in files.items(): pathlib.Path(folder, name).write_text(json.dumps(value, ensure_ascii=False))
    return ids


def last_token(prompt, special):
    return next((s for s in sorted(special, key=len, reverse=True) if prompt.endswith(s)), None) or prompt.encode()[-1:]


def chain(before, output, special): return [before] + pieces(output["text"], special, before) + [output["end"]]


class Server:
    def __init__(self, folder):
        self.log = tempfile.TemporaryFile("w+")
        self.url = f"http://127.0.0.1:{PORT}"
        self.process = subprocess.Popen([PROGRAM, "serve", "--port", str(PORT), "--model", folder, "--served-model-name", "m", "--threads", "1"], stdout=self.log, stderr=self.log)
        for _ in range(400):
            if self.process.poll() is not None: break
            try: requests.get(self.url + "/readyz", timeout=1); break
            except requests.RequestException: time.sleep(0.025)

    def __enter__(self): return self
    def __exit__(self, *_): self.process.terminate(); self.process.wait(20)


def message(client, stream, **request):
    request = dict(model="m", temperature=0, max_tokens=900, **request)
    if not stream:
        choice = client.chat.completions.create(**request).choices[0]
        m = choice.message
        return dict(content=m.content or None, reasoning=getattr(m, "reasoning_content", None) or None, finish=choice.finish_reason,
                    calls=[dict(name=c.function.name, arguments=json.loads(c.function.arguments)) for c in m.tool_calls or []])
    content, reasoning, finish, calls = "", "", None, {}
    for chunk in client.chat.completions.create(stream=True, **request):
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            for c in choice.delta.tool_calls or []:
                call = calls.setdefault(c.index, ["", ""])
                call[0] += c.function.name or ""; call[1] += c.function.arguments or ""
            finish = choice.finish_reason or finish
    return dict(content=content or None, reasoning=reasoning or None, finish=finish,
                calls=[dict(name=n, arguments=json.loads(a)) for n, a in calls.values()])


def check(found, wanted, what, problems):
    if found != wanted: problems.append(f"{what}:\n    found  {found!r}\n    wanted {wanted!r}")


def expected(output):
    return dict(content=output["content"], reasoning=output["reasoning"], finish="tool_calls" if output["calls"] else "stop", calls=output["calls"])


def ask(client, entry, count, **more):
    has_tools = bool(entry.get("forced"))
    return dict(messages=FIXTURE["messages"][:count], **({"tools": FIXTURE["tools"]} if has_tools else {}), **more)


def prompts(server, entry, ids, problems):
    for count, prompt in zip(FIXTURE["turns"], entry["prompts"]):
        body = dict(ask(None, entry, count) if entry["outputs"] else dict(messages=FIXTURE["messages"][:count], tools=FIXTURE["tools"]))
        r = requests.post(server.url + "/v1/tokenize", json=body)
        if r.status_code != 200: problems.append(f"prompt of {count} messages: {r.text}"); continue
        tokens = r.json()["tokens"]
        text = requests.post(server.url + "/v1/detokenize", json=dict(tokens=tokens)).json()["prompt"]
        if text != prompt:
            at = next((i for i, (a, b) in enumerate(zip(text, prompt)) if a != b), min(len(text), len(prompt)))
            problems.append(f"prompt of {count} messages at {at}:\n    found  {text[max(0, at-60):at+200]!r}\n    wanted {prompt[max(0, at-60):at+200]!r}")
        # What the client wrote is no token: neither in its own message nor anywhere else.
        injected = FIXTURE["messages"][1]["content"]
        at = prompt.find(injected)
        if at >= 0:
            before = len(requests.post(server.url + "/v1/tokenize", json=dict(prompt=injected, add_special_tokens=False)).json()["tokens"])
            raw = injected.encode()
            run = tuple(raw)
            check(any(tuple(tokens[i:i + len(raw)]) == run for i in range(len(tokens))), True, f"client's text as bytes ({before} tokens alone)", problems)


def drive(entry, problems):
    template = entry.get("template") or (DATA / "chat-templates/templates" / entry["file"]).read_text()
    special = entry["special"]
    with tempfile.TemporaryDirectory() as folder:
        first = entry["outputs"][:1]
        chains = [chain(last_token(entry["prompts"][0], special), o, special) for o in first]
        ids = write_model(folder, entry, template, chains)
        with Server(folder) as server:
            if server.process.poll() is not None: server.log.seek(0); problems.append(server.log.read()[-500:]); return
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="none")
            prompts(server, entry, ids, problems)
            for output in first:
                for stream in (False, True):
                    check(message(client, stream, **ask(client, entry, 2)), expected(output), f"first turn, stream {stream}", problems)
        if entry.get("forced"): run(folder, entry, first[0], problems)
    if not entry["outputs"]: return
    with tempfile.TemporaryDirectory() as folder:
        output = entry["outputs"][1]
        end = last_token(entry["prompts"][1], special)
        write_model(folder, entry, template, [chain(end, output, special)])
        with Server(folder) as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="none")
            for count, prompt in list(zip(FIXTURE["turns"], entry["prompts"]))[1:]:
                # A template that opens thinking after a question, but not after results: as it does.
                if last_token(prompt, special) != end or (prompt.rstrip().endswith("<think>") != entry["prompts"][1].rstrip().endswith("<think>")): continue
                for stream in (False, True):
                    check(message(client, stream, **ask(client, entry, count)), expected(output), f"turn after {count} messages, stream {stream}", problems)
    forced = entry.get("forced")
    if not forced: return
    with tempfile.TemporaryDirectory() as folder:
        write_model(folder, entry, template, [chain(last_token(forced["prefix"], special), forced, special)])
        call = FIXTURE["messages"][2]["tool_calls"][1]["function"]
        wanted = dict(content=None, reasoning=None, finish="tool_calls", calls=[dict(name=call["name"], arguments=json.loads(call["arguments"]))])
        with Server(folder) as server:
            client = openai.OpenAI(base_url=server.url + "/v1", api_key="none")
            choice = {"type": "function", "function": {"name": "find_route"}}
            for stream in (False, True):
                found = message(client, stream, **ask(client, entry, 2, tool_choice=choice))
                if found["finish"] == "stop" and found["calls"]: found["finish"] = "tool_calls"  # OpenAI says stop for a named tool
                check(found, wanted, f"forced call, stream {stream}", problems)


def run(folder, entry, output, problems):
    tools = pathlib.Path(folder, "tools.json")
    tools.write_text(json.dumps(FIXTURE["tools"]))
    done = subprocess.run([PROGRAM, "run", "--model", folder, "--threads", "1", "--temperature", "0", "--max-tokens", "900", "--tools", str(tools),
                           FIXTURE["messages"][1]["content"]], capture_output=True, text=True, timeout=60)
    for call in output["calls"]:
        if call["name"] not in done.stdout or json.dumps(call["arguments"], ensure_ascii=False) not in done.stdout.replace("\\/", "/"):
            problems.append(f"autoglm run: {call['name']} is not in {done.stdout[-400:]!r} {done.stderr[-200:]!r}")


if __name__ == "__main__":
    begun, names, bad = time.time(), sys.argv[3:], 0
    for entry in FIXTURE["entries"]:
        if names and entry["name"] not in names: continue
        if "template" not in entry and not (DATA / "chat-templates/templates" / entry["file"]).exists(): print("skip", entry["name"]); continue
        problems = []
        try: drive(entry, problems)
        except Exception as error: problems.append(f"{type(error).__name__}: {error}")
        bad += bool(problems)
        print("FAIL" if problems else "pass", entry["name"], *("\n  " + p for p in problems), flush=True)
    print(f"{bad} of {len(FIXTURE['entries'])} fail, {time.time() - begun:.0f} s")
    sys.exit(bool(bad))
