"""Group D: values of request fields."""

import base64
import json

from harness import at_once, case, chat, expect, expect_in_time

HUGE = (1 << 63) - 1


def want_400(server, path, bodies, param=True, seconds=0.1):
    slowest = 0.0
    for name, body in bodies.items():
        answer = server.ask(path, body, seconds=15)
        error = answer.error
        expect(answer.status == 400 and error, f"{name}: {answer.status} {answer.body[:120]}")
        if param:
            expect(error["param"], f"{name}: the error names no field")
        # Large bodies are read first. On a busy machine one of three counts.
        size = len(body) if isinstance(body, bytes) else len(json.dumps(body))
        took = answer.seconds
        for _ in range(2):
            if took >= seconds + size / 10e6:
                took = min(took, server.ask(path, body, seconds=15).seconds)
        expect_in_time(took < seconds + size / 10e6, f"{name}: {took * 1e3:.0f} ms")
        slowest = max(slowest, took)
    return f"{len(bodies)} × 400, slowest {slowest * 1e3:.0f} ms"


@case("42", "counts one above their limits, at 2^63 - 1 and beyond: 400 with the field's name")
def counts(trial):
    bodies = {}
    for field, limit in (
        ("n", 8), ("top_logprobs", 20), ("max_tokens", (1 << 31) - 1), ("priority", 9),
        ("max_completion_tokens", (1 << 31) - 1), ("min_tokens", (1 << 31) - 1),
        ("top_k", (1 << 31) - 1),
    ):
        for value in (limit + 1, HUGE, HUGE + 1, 10 ** 40, -2, -HUGE - 1, 1.5, "1", [], {}):
            bodies[f"{field} {value}"] = chat(**{"logprobs": True, **chat(), field: value})
    bodies["n 0"] = chat(n=0)
    bodies["stop × 10,000"] = chat(stop=["a"] * 10_000)
    bodies["stop × 17"] = chat(stop=[str(number) for number in range(17)])
    bodies["stop of 1 MB"] = chat(stop="a" * 1_000_000)
    bodies["stop empty"] = chat(stop=[""])
    bodies["logit_bias × 100,000"] = chat(
        logit_bias={str(number): 1 for number in range(100_000)})
    bodies["logit_bias × 1,025"] = chat(logit_bias={str(number): 1 for number in range(1_025)})
    bodies["messages × 2,049"] = chat(messages=[{"role": "user", "content": "a"}] * 2_049)
    bodies["parts × 100,000"] = chat(messages=[
        {"role": "user", "content": [{"type": "text", "text": "a"}] * 100_000}])
    outcome = want_400(trial.server, "/v1/chat/completions", bodies)
    more = {
        "prompts × 65": {"prompt": ["a"] * 65}, "prompts × 100,000": {"prompt": ["a"] * 100_000},
        "best_of 9": {"prompt": "a", "best_of": 9}, "best_of": {"prompt": "a", "best_of": HUGE},
        "logprobs 21": {"prompt": "a", "logprobs": 21},
        "logprobs": {"prompt": "a", "logprobs": HUGE}, "n": {"prompt": "a", "n": HUGE},
    }
    return outcome + "; " + want_400(trial.server, "/v1/completions", more)


@case("43", "reals that are none or too large: 400 or an answer, never NaN in it")
def reals(trial):
    refused = 0
    for field in ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty",
                  "presence_penalty"):
        for value in ("-1", "1e308", "1e-308", "5e-324", "-1e308", "1e38", "-0.0", "0", "1e400",
                      "NaN", "Infinity", "-Infinity", '"NaN"', "true", "null", "[]",
                      "0." + "0" * 5_000 + "1"):
            body = json.dumps(chat(3, logprobs=True, top_logprobs=20))
            body = body.replace('"temperature": 0, ', "")[:-1] + f', "{field}": {value}}}'
            answer = trial.server.ask("/v1/chat/completions", body.encode())
            expect(answer.status in (200, 400), f"{field} {value[:20]}: {answer.status}")
            expect(answer.status == 200 or answer.error, f"{field} {value[:20]}: no error object")
            json.loads(answer.body, parse_constant=lambda word: expect(False, f"{word} in JSON"))
            refused += answer.status == 400
    for seed in (-(1 << 63), (1 << 63) - 1, 0, -1):
        answer = trial.server.ask("/v1/chat/completions", chat(3, seed=seed, temperature=1))
        expect(answer.status == 200, f"seed {seed}: {answer.status}")
    for seed in (1 << 64, -(1 << 63) - 1, 1.5, "1"):
        answer = trial.server.ask("/v1/chat/completions", chat(3, seed=seed))
        expect(answer.status == 400, f"seed {seed}: {answer.status}")
    return f"{refused} × 400"


@case("44", "empty prompts and token ids that are none: 400; the neighbours' bytes stay the same")
def strange_tokens(trial):
    server = trial.server
    before = server.reference()
    vocabulary = 1 << 20
    bodies = {
        "-1": {"prompt": [-1]}, "vocabulary": {"prompt": [vocabulary]},
        "2^31": {"prompt": [1 << 31]},
        "2^63": {"prompt": [1 << 63]}, "mixed": {"prompt": [1, "a"]}, "1.5": {"prompt": [1.5]},
        "nested": {"prompt": [[[1]]]}, "empty list": {"prompt": []}, "null": {"prompt": None},
        "bias -1": {"prompt": "a", "logit_bias": {"-1": 1}},
        "bias vocabulary": {"prompt": "a", "logit_bias": {str(vocabulary): 1}},
        "bias text": {"prompt": "a", "logit_bias": {"x": 1}},
        "bias 1e9": {"prompt": "a", "logit_bias": {"1": 1e9}},
        "stop ids": {"prompt": "a", "stop_token_ids": [-1]},
        "stop ids 2^40": {"prompt": "a", "stop_token_ids": [1 << 40]},
    }

    def neighbour(_):
        return server.reference()

    def strange(_):
        return want_400(server, "/v1/completions", bodies, param=False, seconds=2)

    results = at_once(12, lambda index: strange(index) if index % 3 == 0 else neighbour(index))
    expect(all(result == before for index, result in enumerate(results) if index % 3),
           "a neighbour's answer changed")
    more = {
        "no messages": {"messages": []}, "messages null": {"messages": None}, "none": {},
        "message null": {"messages": [None]}, "role": {"messages": [{"role": "x", "content": "a"}]},
        "content 7": {"messages": [{"role": "user", "content": 7}]},
        "model": chat(model="m" * 100_000), "model 7": chat(model=7),
    }
    for name, body in more.items():
        answer = server.ask("/v1/chat/completions", body)
        expect(answer.status in (400, 404) and answer.error, f"{name}: {answer.status}")
    for name, body in {
        "-1": {"tokens": [-1]}, "vocabulary": {"tokens": [vocabulary]}, "text": {"tokens": "a"},
        "none": {}, "2^31": {"tokens": [1 << 31]}, "null": {"tokens": [None]},
    }.items():
        answer = server.ask("/v1/detokenize", body)
        expect(answer.status == 400 and answer.error, f"detokenize {name}: {answer.status}")
    for body in ({"prompt": ""}, {"prompt": [""]}, {"prompt": "\0"}):
        answer = server.ask("/v1/completions", {"max_tokens": 2, **body})
        expect(answer.status in (200, 400), f"{body}: {answer.status}")
    return results[0]


@case("45", "prompts longer than the context: 400 context_length_exceeded, never queued")
def long_prompts(trial):
    outcomes = []
    for count in (4_097, 20_000, 500_000):
        for path, body in (
            ("/v1/completions", {"prompt": [7] * count}),
            ("/v1/completions", {"prompt": "word " * count}),
            ("/v1/chat/completions", chat(1, "word " * count)),
        ):
            answer = trial.server.ask(path, body, seconds=30)
            expect(answer.status == 400, f"{path} {count}: {answer.status}")
            expect(answer.error.get("code") == "context_length_exceeded",
                   f"{path} {count}: {answer.error}")
            outcomes.append(answer.seconds)
    return f"slowest {max(outcomes) * 1e3:.0f} ms"


@case("45", "a prompt within the context but larger than the whole KV memory", serves=False)
def prompt_beyond_memory(trial):
    server = trial.serve(["--kv-cache-memory", "2MiB"])
    total = sum(value for name, value in server.metrics().items() if "kv_blocks{" in name)
    tokens = int(total * 16)
    answer = server.ask("/v1/completions", {"prompt": [7] * min(4_000, tokens + 16)}, seconds=10)
    expect(answer.status == 400 and answer.seconds < 1, f"{answer.status} {answer.body[:200]}")
    return f"{tokens} tokens of memory: {answer.error.get('code')}"


@case("46", "content that points elsewhere: 400, nothing is fetched")
def elsewhere(trial):
    bodies = {}
    for url in ("http://169.254.169.254/latest/meta-data", "file:///etc/passwd",
                "gopher://127.0.0.1:1/x", "//evil.example/x", "/etc/passwd",
                "data:image/png;base64," + base64.b64encode(b"a" * 3_000_000).decode()):
        name = url[:40]
        for part in ({"type": "image_url", "image_url": {"url": url}},
                     {"type": "image_url", "image_url": url},
                     {"type": "input_image", "image_url": url},
                     {"type": "video_url", "video_url": {"url": url}},
                     {"type": "file", "file": {"file_data": url}}):
            bodies[f"{part['type']} {name}"] = chat(
                messages=[{"role": "user", "content": [part]}])
    outcome = want_400(trial.server, "/v1/chat/completions", bodies, seconds=0.3)
    for path in ("/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models/../../etc/passwd",
                 "/v1/models/%00", "/v1/models/" + "a" * 4_000):
        answer = trial.server.ask(path)
        expect(answer.status in (400, 404), f"{path[:40]}: {answer.status}")
        expect(b"root:" not in answer.body, path)
    return outcome
