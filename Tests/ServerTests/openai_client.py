"""Drives a running server with OpenAI's own Python client and prints one line per check.

    python -m venv /tmp/openai && /tmp/openai/bin/pip install openai
    /tmp/openai/bin/python openai_client.py http://127.0.0.1:8000/v1 [KEY]

Exit status 0 means that every check passed. Checks that the model cannot take (no chat template)
are reported as skipped.
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.request

import openai

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
KEY = sys.argv[2] if len(sys.argv) > 2 else None
ROOT = BASE.removesuffix("/v1")
client = openai.OpenAI(base_url=BASE, api_key=KEY or "none", max_retries=0, timeout=120)
failures, skipped, passed = [], [], []
has_chat = True

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_order_status",
            "description": "Look up the status of an order by its number.",
            "parameters": {
                "type": "object",
                "properties": {"order_id": {"type": "string", "description": "Order number"}},
                "required": ["order_id"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "search_products",
            "description": "Search for products.",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
        },
    },
]


def check(function):
    """Runs one check at once and notes how it went."""
    name = function.__name__.replace("_", " ")
    start = time.monotonic()
    try:
        result = function()
    except Exception as error:  # noqa: BLE001: every failure is a finding
        failures.append(name)
        print(f"FAIL {name}: {type(error).__name__}: {error}")
        return function
    if result == "skip":
        skipped.append(name)
        print(f"skip {name}")
    else:
        passed.append(name)
        note = f": {result}" if result else ""
        print(f"ok   {name} ({time.monotonic() - start:.2f} s){note}")
    return function


def raises(kind, status, code=None):
    """Runs a call that must fail with this class of error."""

    class Expect:
        def __enter__(self):
            return self

        def __exit__(self, error_type, error, trace):
            assert error is not None, f"no {kind.__name__} was raised"
            assert isinstance(error, kind), f"{error_type.__name__} instead of {kind.__name__}"
            assert error.status_code == status, f"status {error.status_code} instead of {status}"
            if code:
                assert error.code == code, f"code {error.code} instead of {code}"
            return True

    return Expect()


MODEL = client.models.list().data[0].id


def chat(**arguments):
    arguments.setdefault("messages", [{"role": "user", "content": "Hello! Who are you?"}])
    arguments.setdefault("max_tokens", 48)
    return client.chat.completions.create(model=MODEL, **arguments)


@check
def models():
    assert client.models.retrieve(MODEL).id == MODEL
    with raises(openai.NotFoundError, 404, "model_not_found"):
        client.models.retrieve("no-such-model")
    return MODEL


@check
def chat_plain():
    global has_chat
    try:
        answer = chat(temperature=0)
    except openai.BadRequestError as error:
        if error.code == "chat_template_missing":
            has_chat = False
            return "skip"
        raise
    choice = answer.choices[0]
    assert answer.id.startswith("chatcmpl-") and answer.object == "chat.completion"
    assert choice.message.role == "assistant" and choice.message.content is not None
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.cached_tokens is not None
    assert answer.system_fingerprint
    return repr(choice.message.content[:60])


@check
def chat_stream_equals_plain():
    if not has_chat:
        return "skip"
    plain = chat(temperature=0)
    text, roles, reasons, usage = "", [], [], None
    for chunk in chat(temperature=0, stream=True, stream_options={"include_usage": True}):
        if not chunk.choices:
            usage = chunk.usage
            continue
        delta = chunk.choices[0].delta
        roles.append(delta.role)
        text += delta.content or ""
        if chunk.choices[0].finish_reason:
            reasons.append(chunk.choices[0].finish_reason)
    assert roles[0] == "assistant"
    assert text == plain.choices[0].message.content, "streamed text differs"
    assert reasons == [plain.choices[0].finish_reason]
    assert usage.completion_tokens == plain.usage.completion_tokens


@check
def chat_choices_and_logprobs():
    if not has_chat:
        return "skip"
    answer = chat(n=3, seed=1, logprobs=True, top_logprobs=3, max_tokens=8)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        for entry in choice.logprobs.content:
            assert entry.logprob <= 0 and len(entry.top_logprobs) == 3
            values = [top.logprob for top in entry.top_logprobs]
            assert values == sorted(values, reverse=True)
    again = chat(n=3, seed=1, max_tokens=8)
    assert [c.message.content for c in again.choices] == [
        c.message.content for c in answer.choices
    ], "the same seed gave other words"


@check
def chat_stop_and_length():
    if not has_chat:
        return "skip"
    short = chat(max_tokens=1)
    assert short.choices[0].finish_reason == "length"
    assert short.usage.completion_tokens == 1
    whole = chat(temperature=0).choices[0].message.content
    if len(whole) > 8:
        stop = whole[4:7]
        cut = chat(temperature=0, stop=[stop]).choices[0]
        assert stop not in cut.message.content and whole.startswith(cut.message.content)


@check
def chat_parts_and_system():
    if not has_chat:
        return "skip"
    chat(
        messages=[
            {"role": "system", "content": "You are brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": "Hello."},
            {"role": "user", "content": "你好"},
        ]
    )


@check
def tools_named():
    if not has_chat:
        return "skip"
    choice = {"type": "function", "function": {"name": "get_order_status"}}
    question = [{"role": "user", "content": "Where is my order A1234567?"}]
    try:
        answer = chat(messages=question, tools=TOOLS, tool_choice=choice, max_tokens=64)
    except openai.BadRequestError as error:
        if error.param == "tool_choice":
            return "skip"
        raise
    call = answer.choices[0].message.tool_calls[0]
    assert call.id.startswith("call_") and call.function.name == "get_order_status"
    return call.function.arguments


@check
def tools_auto_and_result():
    if not has_chat:
        return "skip"
    messages = [{"role": "user", "content": "Where is my order A1234567?"}]
    answer = chat(messages=messages, tools=TOOLS, temperature=0, max_tokens=96)
    message = answer.choices[0].message
    if not message.tool_calls:
        return f"no call; finish {answer.choices[0].finish_reason}"
    assert answer.choices[0].finish_reason == "tool_calls"
    arguments = [json.loads(call.function.arguments) for call in message.tool_calls]
    name, text, ids = None, "", set()
    for chunk in chat(messages=messages, tools=TOOLS, temperature=0, max_tokens=96, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name = call.function.name or name
            text += call.function.arguments or "" if call.index == 0 else ""
            if call.id:
                ids.add(call.id)
    assert name == message.tool_calls[0].function.name
    assert json.loads(text) == arguments[0] and len(ids) == len(arguments)
    messages.append(message.model_dump(exclude_none=True))
    for call in message.tool_calls:
        result = json.dumps({"status": "shipped", "order_id": "A1234567"})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    final = chat(messages=messages, tools=TOOLS, temperature=0, max_tokens=96)
    return f"{arguments} -> {final.choices[0].message.content!r}"


@check
def tools_none():
    if not has_chat:
        return "skip"
    answer = chat(tools=TOOLS, tool_choice="none")
    assert not answer.choices[0].message.tool_calls


@check
def completions():
    prompt = "Once upon a time"
    plain = client.completions.create(model=MODEL, prompt=prompt, max_tokens=16, temperature=0)
    text = plain.choices[0].text
    assert plain.id.startswith("cmpl-") and plain.usage.completion_tokens <= 16
    streamed = "".join(
        chunk.choices[0].text
        for chunk in client.completions.create(
            model=MODEL, prompt=prompt, max_tokens=16, temperature=0, stream=True
        )
        if chunk.choices
    )
    assert streamed == text, "streamed text differs"
    many = client.completions.create(
        model=MODEL, prompt=[prompt, "One day"], n=2, max_tokens=4, echo=True, logprobs=2
    )
    assert [choice.index for choice in many.choices] == [0, 1, 2, 3]
    assert many.choices[0].text.startswith(prompt)
    assert many.choices[0].logprobs.token_logprobs[0] is None
    return repr(text[:60])


@check
def errors_invalid():
    with raises(openai.BadRequestError, 400):
        client.completions.create(model=MODEL, prompt="x", temperature=3)
    with raises(openai.BadRequestError, 400):
        client.completions.create(model=MODEL, prompt="x", n=9)
    with raises(openai.BadRequestError, 400, "context_length_exceeded"):
        client.completions.create(model=MODEL, prompt="x", max_tokens=2_000_000_000)
    with raises(openai.NotFoundError, 404, "model_not_found"):
        client.completions.create(model="no-such-model", prompt="x")
    with raises(openai.BadRequestError, 400):
        client.chat.completions.create(model=MODEL, messages=[])
    with raises(openai.BadRequestError, 400):
        client.chat.completions.create(
            model=MODEL,
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
                }
            ],
        )


@check
def errors_key():
    if not KEY:
        return "skip"
    wrong = openai.OpenAI(base_url=BASE, api_key="wrong-key-000", max_retries=0)
    with raises(openai.AuthenticationError, 401, "invalid_api_key"):
        wrong.models.list()


@check
def health_is_open():
    for path in ("/livez", "/readyz", "/health", "/ping", "/version"):
        with urllib.request.urlopen(ROOT + path, timeout=5) as answer:
            assert answer.status == 200


@check
def request_id_is_echoed():
    raw = client.models.with_raw_response.list(extra_headers={"x-request-id": "abc-123"})
    assert raw.headers["x-request-id"] == "abc-123"
    assert raw.headers["openai-processing-ms"].isdigit()


@check
def parallel_streams():
    words = [0] * 8

    def run(index):
        stream = client.completions.create(
            model=MODEL, prompt="Once upon a time", max_tokens=32, stream=True, seed=index
        )
        words[index] = sum(1 for _ in stream)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(words))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(words), words


@check
def blocks_are_free_again():
    request = urllib.request.Request(ROOT + "/metrics")
    if KEY:
        request.add_header("Authorization", f"Bearer {KEY}")
    # A client that leaves in the middle must not keep its blocks either.
    stream = client.completions.create(
        model=MODEL, prompt="Once", max_tokens=400, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    for _ in range(50):
        time.sleep(0.1)
        text = urllib.request.urlopen(request, timeout=5).read().decode()
        used = [line for line in text.splitlines() if 'kv_blocks{state="used"}' in line]
        if used[0].endswith(" 0"):
            return used[0]
    raise AssertionError(used[0])


print(f"{len(passed)} passed, {len(skipped)} skipped, {len(failures)} failed")
sys.exit(1 if failures else 0)
