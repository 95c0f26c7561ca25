"""Group B: texts, templates, schemas, patterns and tools that clients send to make us slow."""

import functools
import json
import random
import time

from harness import (
    ask, at_once, case, chat, expect, expect_in_time, percentile, post, source, statuses,
)

SIZE = 8_000_000  # bytes of JSON text, a little below the limit of a body


def fill(text, size=SIZE):
    """`text` again and again, `size` bytes as JSON writes it (non-ASCII characters as UTF-8)."""
    return text * (size // len(text.encode()))


def noise(size):
    """Random bytes, those that are no text replaced."""
    return random.Random(1).randbytes(size // 2).decode("utf-8", "replace").replace("\0", " ")


def words(size):
    generator = random.Random(2)
    return " ".join(
        "".join(generator.choices("abcdefghijklmnopqrstuvwxyz", k=generator.randint(1, 12)))
        for _ in range(size // 8))


TEXTS = {
    "spaces": lambda: fill(" "),
    "newlines": lambda: '"' + "\\n" * (SIZE // 2) + '"',
    "one long word": lambda: fill("a"),
    "a word of random letters": lambda: "".join(
        random.Random(3).choices("abcdefghijklmnopqrstuvwxyzäöüß", k=SIZE // 2)),
    "words": lambda: words(SIZE),
    "digits": lambda: fill("0123456789"),
    "emoji joined by ZWJ": lambda: fill("👩\u200d👩\u200d👧\u200d👦"),
    "combining marks": lambda: "a" + fill("\u0301"),
    "Chinese": lambda: fill("我想退货请问怎么办理"),
    "random bytes": lambda: noise(SIZE),
    "escaped NUL": lambda: '"' + "\\u0000" * (SIZE // 6) + '"',
    "turn marks": lambda: fill("<|user|>\\n<|assistant|>".replace("\\n", "\n")),
    "punctuation": lambda: fill("!?.,;:-_/()[]{}"),
}

#: Texts of JSON that are written already.
WRITTEN = {"newlines", "escaped NUL"}


@functools.cache
def as_json(name):
    text = TEXTS[name]()
    return text.encode() if name in WRITTEN else json.dumps(text, ensure_ascii=False).encode()


def bodies(name, path):
    text = as_json(name)
    return {
        "/v1/tokenize": b'{"text":' + text + b"}",
        "/v1/completions": b'{"max_tokens":1,"prompt":' + text + b"}",
        "/v1/chat/completions":
            b'{"max_tokens":1,"messages":[{"role":"user","content":' + text + b"}]}",
    }[path]


def attack(trial, requests, seconds=60):
    """All requests at once, from addresses of their own; statuses and the slowest."""
    answers = at_once(
        len(requests), lambda index: trial.server.send(requests[index], seconds, source()))
    expect(all(answer.status in (200, 400, 413, 429, 503) for answer in answers),
           f"statuses {statuses(answers)}")
    slowest = max(answer.seconds for answer in answers)
    return f"{statuses(answers)}, slowest {slowest:.1f} s"


def hostile(name):
    """Twelve clients at each endpoint that takes text."""

    def run(trial):
        outcomes = []
        for path in ("/v1/tokenize", "/v1/chat/completions", "/v1/completions"):
            outcomes.append(path[4:8] + " " + attack(trial, [post(path, bodies(name, path))] * 12))
        return "; ".join(outcomes)

    run.__name__ = "text_" + name.lower().replace(" ", "_")
    case("B", f"3 × 12 clients × 8 MB: {name}")(run)


for _name in TEXTS:
    hostile(_name)


@case("B", "12 clients × 8 MB of token ids to detokenize")
def detokenize_many(trial):
    ids = b"[" + b"7," * (SIZE // 2 - 20) + b"7]"
    return attack(trial, [post("/v1/detokenize", b'{"tokens":' + ids + b"}")] * 12)


@case("B", "12 clients × 2,048 messages and 128 tools, 8 MB together, rendered by /v1/tokenize")
def many_messages(trial):
    messages = [
        {"role": "assistant" if index % 2 else "user", "content": "word " * 700}
        for index in range(2_047)]
    tools = [
        {"type": "function", "function": {"name": f"f{index}", "description": "d" * 3_000}}
        for index in range(128)]
    body = {"messages": messages, "tools": tools, "max_tokens": 1}
    return attack(
        trial, [post("/v1/tokenize", body)] * 6 + [post("/v1/chat/completions", body)] * 6)


@case("B", "48 clients × 300 KB of text, for 10 s, without a break")
def many_middle_sized(trial):
    body = post("/v1/tokenize", {"text": " " * 300_000})
    end = time.monotonic() + 10

    def client(_):
        answers = []
        while time.monotonic() < end:
            answers.append(trial.server.send(body, 60, source()))
        return answers

    answers = [answer for some in at_once(48, client) for answer in some]
    expect(all(answer.status in (200, 400, 429, 503) for answer in answers), statuses(answers))
    return statuses(answers)


@case("35", "12 clients × 8 MB of JSON: brackets, keys, numbers, escapes, values beside the point")
def hostile_json(trial):
    texts = {
        "brackets": b"[" * SIZE,
        "objects": b'{"a":' * (SIZE // 5),
        "number": b'{"max_tokens":' + b"9" * SIZE + b"}",
        "keys": b"{" + b",".join(b'"k%d":0' % index for index in range(SIZE // 12)) + b"}",
        "same key": b"{" + b'"a":0,' * (SIZE // 6) + b'"a":0}',
        "array": b'{"metadata":[' + b"0," * (SIZE // 2 - 20) + b"0]}",
        "escapes": b'{"user":"' + b"\\u00e9" * (SIZE // 6) + b'"}',
        "spaces": b" " * SIZE,
    }
    outcomes = []
    for name, text in texts.items():
        answers = at_once(
            12, lambda _: trial.server.send(post("/v1/chat/completions", text), 60, source()))
        # 503: twelve bodies of 8 MB may be more than the server wants to hold.
        expect({answer.status for answer in answers} <= {400, 429, 503},
               f"{name}: {statuses(answers)}")
        outcomes.append(f"{name} {max(answer.seconds for answer in answers):.1f} s")
    return ", ".join(outcomes)


# MARK: Templates

NESTED = "{% for a in range(1000000) %}{% for b in range(1000000) %}" \
    "{% for c in range(1000000) %}{% endfor %}{% endfor %}{% endfor %}x"
DOUBLED = "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(40) %}" \
    "{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}"
DEEP = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"
REPLACED = "{% set ns = namespace(s='a' * 1000) %}{% for i in range(30) %}" \
    "{% set ns.s = ns.s | replace('a', 'aa') %}{% endfor %}{{ ns.s }}"
SORTED = "{% for i in range(1000000) %}{% set x = range(100000) | list | sort %}{% endfor %}"


@case("17", "templates that never end or grow without bound", serves=False)
def endless_templates(trial):
    outcomes = []
    for name, text in {
        "loops": NESTED, "doubled": DOUBLED, "recursion": DEEP, "replaced": REPLACED,
        "sorted": SORTED,
    }.items():
        path = trial.path(name + ".jinja")
        with open(path, "w") as file:
            file.write(text)
        server = trial.serve(["--chat-template", path])
        answer = server.ask("/v1/chat/completions", chat(), seconds=30)
        others = [
            server.ask("/v1/completions", {"prompt": "a", "max_tokens": 1}).seconds
            for _ in at_once(1, lambda _: None) for _ in range(5)]
        expect(400 <= answer.status < 600 and answer.error, f"{name}: status {answer.status}")
        expect(answer.error["code"] == "template_error", f"{name}: {answer.error}")
        expect(answer.seconds <= 0.5, f"{name}: {answer.seconds:.2f} s")
        expect(server.is_alive(), f"{name}: the process ended")
        outcomes.append(f"{name} {answer.seconds * 1e3:.0f} ms")
        ready = percentile(others, 0.99)
        expect(ready < 1, f"{name}: others waited {ready:.2f} s")
        server.stop()
    return ", ".join(outcomes)


@case("17", "12 clients whose chats meet an endless template", serves=False)
def endless_template_many(trial):
    path = trial.path("loops.jinja")
    with open(path, "w") as file:
        file.write(NESTED)
    server = trial.serve(["--chat-template", path])
    worst = [0.0]
    done = []

    def client(index):
        if index == 0:
            while len(done) < 12:
                worst[0] = max(worst[0], server.ask("/readyz", seconds=30).seconds)
                time.sleep(0.02)
        else:
            for _ in range(5):
                server.ask("/v1/chat/completions", chat(), seconds=30)
            done.append(index)

    at_once(13, client)
    expect_in_time(worst[0] < 0.2, f"/readyz took {worst[0] * 1e3:.0f} ms")
    return f"/readyz {worst[0] * 1e3:.0f} ms"


@case("19", "templates that reach for attributes, files, imports, the environment", serves=False)
def reaching_templates(trial):
    outcomes = []
    for text in (
        "{{ messages.__class__.__mro__ }}", "{{ ''.__class__ }}", "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os.environ }}", "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ x | nofilter }}",
        "{% extends 'a' %}", "{{ environ }}", "{{ lipsum.__globals__ }}",
    ):
        path = trial.path("t.jinja")
        with open(path, "w") as file:
            file.write(text)
        try:
            server = trial.serve(["--chat-template", path])
        except Exception:
            outcomes.append("refused")
            continue
        answer = server.ask("/v1/chat/completions", chat(1))
        tokens = server.ask("/v1/tokenize", {"messages": [{"role": "user", "content": "hi"}]})
        text_out = json.dumps(answer.body.decode()) + tokens.body.decode()
        expect(not any(word in text_out for word in ("root:", "PATH=", "uid=")),
               f"{text}: {text_out[:200]}")
        expect(answer.status != 500 and server.is_alive(), f"{text}: status {answer.status}")
        outcomes.append(str(answer.status))
        server.stop()
    return ", ".join(outcomes)


@case("20", "a template, or arguments that would rewrite it, from a client: 400 everywhere")
def client_templates(trial):
    asked = 0
    messages = [{"role": "user", "content": "hi"}]
    for path in ("/v1/chat/completions", "/v1/tokenize"):
        for more in (
            {"chat_template": "{{ 1 }}"},
            {"chat_template_kwargs": {"chat_template": "{{ 1 }}"}},
            {"chat_template_kwargs": {"tokenize": False}},
            {"chat_template_kwargs": {"messages": []}},
            {"chat_template_kwargs": {"tools": [], "documents": []}},
        ):
            answer = trial.server.ask(path, {"messages": messages, **more})
            expect(answer.status == 400 and answer.error, f"{path} {more}: {answer.status}")
            asked += 1
    return f"{asked} × 400"


# MARK: Patterns, schemas, tools


def refused(trial, bodies, seconds=0.25):
    """Each body gets an error of the client's, or an answer, quickly; never silence or 500."""
    codes = []
    for name, body in bodies.items():
        answer = trial.server.ask("/v1/chat/completions", body, seconds=20)
        expect(answer.status in (200, 400), f"{name}: status {answer.status} {answer.body[:100]}")
        if answer.status == 400:
            expect(answer.error, f"{name}: no error object")
            expect_in_time(answer.seconds <= seconds + len(str(body)) / 20e6,
                   f"{name}: {answer.seconds:.2f} s")
        codes.append(answer)
    return statuses(codes)


@case("21", "patterns that explode")
def exploding_patterns(trial):
    patterns = {
        "nested": "(a+)+b", "alternatives": "(a|a)*b", "counted": "(x{1000}){1000}",
        "thrice": "((x{100}){100}){100}", "long": "a" * 1_000_000, "ahead": "(?=a)b",
        "behind": "(?<=a)b", "reference": "(a)\\1", "open": "[", "deep": "(" * 5_000 + ")" * 5_000,
        "classes": "[\\w\\W]{0,4000}" * 20, "many": "(" + "|".join(["a*b*"] * 500) + ")*",
    }
    bodies = {}
    for name, pattern in patterns.items():
        bodies["regex " + name] = chat(1, regex=pattern)
        bodies["guided " + name] = chat(1, guided_regex=pattern)
        schema = {"type": "string", "pattern": pattern}
        bodies["schema " + name] = chat(1, response_format={
            "type": "json_schema", "json_schema": {"name": "s", "schema": schema}})
        bodies["tool " + name] = chat(1, tools=[{"type": "function", "function": {
            "name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}}])
    return refused(trial, bodies)


@case("22", "schemas that explode")
def exploding_schemas(trial):
    def nested(depth):
        text = '{"type":"object","properties":{"a":' * depth + "{}" + "}}" * depth
        return text

    cycle = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    schemas = {
        "cycle": json.dumps(cycle), "self": '{"$ref":"#"}',
        "remote": '{"$ref":"http://169.254.169.254/latest/meta-data"}',
        "file": '{"$ref":"file:///etc/passwd"}', "depth": nested(10_000), "depth 60": nested(30),
        "enum": json.dumps({"enum": [f"v{index}" for index in range(100_000)]}),
        "items": '{"type":"array","minItems":1000000000}',
        "counts": '{"type":"object","minProperties":1e18}',
        "length": '{"type":"string","minLength":2000000000}',
        "anyOf": json.dumps({"anyOf": [{"type": "object", "properties": {f"p{index}": {}}}
                                       for index in range(2_000)]}),
        "type 7": '{"type":7}', "null": "null", "number": "7", "text": '"x"',
    }
    bodies = {}
    for name, text in schemas.items():
        bodies["format " + name] = raw_chat(
            '"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":' + text
            + "}}")
        bodies["tool " + name] = raw_chat(
            '"tools":[{"type":"function","function":{"name":"f","parameters":' + text + "}}]")
    return refused(trial, bodies)


def raw_chat(members):
    """A chat with members that Python's own writer would not take."""
    return ('{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,' + members + "}").encode()


@case("23", "tools that are none")
def broken_tools(trial):
    def tool(**members):
        return {"type": "function", "function": {"name": "f", **members}}

    bodies = {
        "pattern": chat(1, tools=[tool(parameters={
            "type": "object", "properties": {"a": {"type": "string", "pattern": "["}}})]),
        "type 7": chat(1, tools=[tool(parameters={"type": 7})]),
        "null": chat(1, tools=[tool(parameters=None)]),
        "no name": chat(1, tools=[{"type": "function", "function": {"name": ""}}]),
        "name": chat(1, tools=[{"type": "function", "function": {"name": "a\nb"}}]),
        "1,000": chat(1, tools=[
            {"type": "function", "function": {"name": f"f{index}"}} for index in range(1_000)]),
        "twice": chat(1, tools=[tool(), tool()]),
        "text": chat(1, tools="f"), "null tool": chat(1, tools=[None]),
        "list": chat(1, tools=[[]]), "required none": chat(1, tools=[], tool_choice="required"),
        "unknown choice": chat(1, tools=[tool()], tool_choice={
            "type": "function", "function": {"name": "g"}}),
        "call": chat(1, messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {
                "name": "f", "arguments": "{" * 100_000}}]},
            {"role": "tool", "tool_call_id": "a", "content": "x"}]),
    }
    for name in ("1,000", "twice", "no name", "text", "null tool", "list", "unknown choice"):
        answer = trial.server.ask("/v1/chat/completions", bodies[name])
        expect(answer.status == 400 and answer.error.get("param"),
               f"{name}: {answer.status} {answer.body[:100]}")
    return refused(trial, bodies)


@case("25", "a model made to write brackets and half-open marks for ever: time grows with length")
def half_open_calls(trial):
    tools = [{"type": "function", "function": {"name": "get_order", "parameters": {}}}]
    outcomes = []
    for text in ('{"', "{", "<", "get_order", "\n", "\\"):
        tokens = trial.server.ask("/v1/tokenize", {"text": text}).json["tokens"]
        bias = {str(token): 100 for token in tokens}

        def run(count):
            body = chat(count, tools=tools, logit_bias=bias, stream=True)
            answer = trial.server.ask("/v1/chat/completions", body, seconds=60)
            expect(answer.status == 200, f"{text!r}: {answer.status} {answer.body[:100]}")
            expect(answer.events[-1:] == [b"[DONE]"], f"{text!r}: the stream has no end")
            return answer.seconds

        short, long = min(run(500) for _ in range(2)), min(run(1_000) for _ in range(2))
        expect(long <= 2.5 * short + 0.3, f"{text!r}: {short:.2f} s, then {long:.2f} s")
        outcomes.append(f"{long / short:.1f}")
    return "time(1,000) / time(500): " + " ".join(outcomes)


@case("B", "12 clients choose among tools by force with long names and a deadline of 1 ms")
def forced_tool_deadline(trial):
    names = ("aa_bb_cc_dd", "aa_bb_cc_de", "aa_bb_cd_dd", "ab_bb", "bb_cc", "zz.a", "zz.b", "q1")
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    body = chat(1, "word " * 1_400, tools=tools, tool_choice="required")
    answers = at_once(12, lambda _: ask(
        trial.server.port, "/v1/chat/completions", body, ("x-deadline-ms: 1",), 20))
    expect({answer.status for answer in answers} <= {429, 503, 504}, statuses(answers))
    return statuses(answers)


@case("B", "a forced choice is left before it is made: its prompts are not computed")
def forced_tool_left(trial):
    names = [f"{letter}{letter}_{number}" for letter in "abcdefgh" for number in range(12)]
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    generator = random.Random(4)
    before = trial.server.metrics().get("autoglm_prompt_tokens_total", 0)
    for _ in range(12):
        text = " ".join(str(generator.random()) for _ in range(60))
        data = post("/v1/chat/completions", chat(1, text, tools=tools, tool_choice="required"))
        with trial.server.connect() as connection:
            connection.sendall(data)
    time.sleep(2)
    after = trial.server.metrics()
    expect(after['autoglm_kv_blocks{state="used"}'] == 0, "KV blocks in use 2 s after they left")
    computed = after.get("autoglm_prompt_tokens_total", 0) - before
    return f"{computed:.0f} prompt tokens counted"
