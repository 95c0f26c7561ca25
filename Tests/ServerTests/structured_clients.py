"""Drives a running server with clients that take objects out of answers, and prints one line per
check: OpenAI's own, LangChain, instructor and llm.

    python -m venv /tmp/clients
    /tmp/clients/bin/pip install openai langchain-openai instructor llm
    /tmp/clients/bin/python structured_clients.py http://127.0.0.1:8000/v1 [KEY] [ROUNDS]

Every answer must be an object of the form asked for, at temperature 2 as well. Exit status 0 means
that every check passed.
"""

import enum
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Literal, Optional, Union

import instructor
import openai
import pydantic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ConfigDict, Field

BASE = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
KEY = sys.argv[2] if len(sys.argv) > 2 else "none"
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 10
client = openai.OpenAI(base_url=BASE, api_key=KEY, max_retries=0, timeout=120)
MODEL = client.models.list().data[0].id
TEXT = "One red lamp and two chairs for Anna, please; deliver on Friday."
MESSAGES = [{"role": "user", "content": TEXT}]
failures = []


class Status(enum.Enum):
    open = "open"
    paid = "paid"
    sent = "已发货"


class Closed(BaseModel):
    # As OpenAI's own client makes every model: nothing but what is named.
    model_config = ConfigDict(extra="forbid")


class Item(Closed):
    name: str = Field(max_length=24)
    count: int = Field(ge=1, le=99)
    size: Literal["S", "M", "L", 1, 2]


class Card(Closed):
    kind: Literal["card"]
    number: str = Field(pattern=r"^[0-9]{4}( [0-9]{4}){3}$")


class Cash(Closed):
    kind: Literal["cash"]
    amount: float = Field(ge=0, le=1000)


class Order(Closed):
    """An order as a customer states it."""

    customer: str = Field(max_length=24)
    status: Status
    items: list[Item] = Field(min_length=1, max_length=3)
    payment: Union[Card, Cash]
    note: Optional[str] = Field(max_length=16)
    gift: bool


class Contact(Closed):
    """Whom to call."""

    name: str = Field(max_length=24)
    age: int = Field(ge=0, le=150)


def check(function):
    """Runs one check at once and notes how it went."""
    name = function.__name__.replace("_", " ")
    start = time.monotonic()
    try:
        note = function()
    except Exception as error:  # noqa: BLE001: every failure is a finding
        failures.append(name)
        print(f"FAIL {name}: {type(error).__name__}: {str(error)[:600]}")
        return function
    print(f"ok   {name} ({time.monotonic() - start:.2f} s)" + (f": {note}" if note else ""))
    return function


def rounds(ask):
    """Asks with as many seeds, hotter and hotter."""
    answer = None
    for seed in range(ROUNDS):
        answer = ask({"seed": seed, "temperature": 2.0 * seed / max(1, ROUNDS - 1),
                      "max_tokens": 700})
    return repr(answer)[:120]


# OpenAI


@check
def openai_parse():
    def ask(sampling):
        answer = client.chat.completions.parse(
            model=MODEL, messages=MESSAGES, response_format=Order, **sampling)
        assert isinstance(answer.choices[0].message.parsed, Order)
        return answer.choices[0].message.content

    return rounds(ask)


@check
def openai_parse_streamed():
    def ask(sampling):
        with client.chat.completions.stream(
            model=MODEL, messages=MESSAGES, response_format=Contact, **sampling
        ) as stream:
            for _ in stream:
                pass
            return stream.get_final_completion().choices[0].message.parsed

    return rounds(ask)


@check
def openai_parse_several():
    answer = client.chat.completions.parse(
        model=MODEL, messages=MESSAGES, response_format=Contact, n=4, temperature=1.5,
        max_tokens=300)
    assert all(isinstance(choice.message.parsed, Contact) for choice in answer.choices)


@check
def openai_json_object():
    def ask(sampling):
        answer = client.chat.completions.create(
            model=MODEL, messages=MESSAGES, response_format={"type": "json_object"}, **sampling)
        choice = answer.choices[0]
        # Any object may also be a long one.
        if choice.finish_reason == "stop":
            assert isinstance(json.loads(choice.message.content), dict)
        return choice.message.content

    return rounds(ask)


@check
def openai_strict_tools_required():
    tools = [openai.pydantic_function_tool(Order), openai.pydantic_function_tool(Contact)]

    def ask(sampling):
        answer = client.chat.completions.parse(
            model=MODEL, messages=MESSAGES, tools=tools, tool_choice="required",
            parallel_tool_calls=False, **sampling)
        calls = answer.choices[0].message.tool_calls
        assert len(calls) == 1
        assert isinstance(calls[0].function.parsed_arguments, (Order, Contact))
        return calls[0].function

    return rounds(ask)


@check
def openai_strict_tools_named():
    def ask(sampling):
        answer = client.chat.completions.parse(
            model=MODEL, messages=MESSAGES, tools=[openai.pydantic_function_tool(Order)],
            tool_choice={"type": "function", "function": {"name": "Order"}}, **sampling)
        call = answer.choices[0].message.tool_calls[0].function
        assert isinstance(call.parsed_arguments, Order)
        return call.arguments

    return rounds(ask)


@check
def openai_strict_tools_auto():
    called = 0

    def ask(sampling):
        nonlocal called
        answer = client.chat.completions.create(
            model=MODEL, messages=MESSAGES, tools=[openai.pydantic_function_tool(Contact)],
            **sampling)
        choice = answer.choices[0]
        for call in choice.message.tool_calls or []:
            called += 1
            if choice.finish_reason != "length":
                Contact.model_validate_json(call.function.arguments)
        return choice.message

    rounds(ask)
    return f"{called} calls"


# LangChain


def langchain(sampling):
    sampling = dict(sampling)
    return ChatOpenAI(
        base_url=BASE, api_key=KEY, model=MODEL, max_retries=0, timeout=120, **sampling)


@check
def langchain_function_calling():
    def ask(sampling):
        answer = langchain(sampling).with_structured_output(
            Order, method="function_calling").invoke(TEXT)
        assert isinstance(answer, Order)
        return answer

    return rounds(ask)


@check
def langchain_function_calling_strict():
    def ask(sampling):
        answer = langchain(sampling).with_structured_output(
            Order, method="function_calling", strict=True).invoke(TEXT)
        assert isinstance(answer, Order)
        return answer

    return rounds(ask)


@check
def langchain_json_schema():
    def ask(sampling):
        answer = langchain(sampling).with_structured_output(
            Order, method="json_schema").invoke(TEXT)
        assert isinstance(answer, Order)
        return answer

    return rounds(ask)


@check
def langchain_json_mode():
    # This method sends no schema: without one any object is right.
    def ask(sampling):
        model = langchain(sampling).with_structured_output(None, method="json_mode")
        try:
            answer = model.invoke(TEXT)
        except openai.LengthFinishReasonError as error:
            return error
        assert isinstance(answer, dict), answer
        return answer

    return rounds(ask)


@check
def langchain_json_mode_with_a_schema():
    def ask(sampling):
        model = langchain(sampling | {"extra_body": {"guided_json": Order.model_json_schema()}})
        answer = model.with_structured_output(Order, method="json_mode").invoke(TEXT)
        assert isinstance(answer, Order)
        return answer

    return rounds(ask)


@check
def langchain_bound_tool():
    @tool
    def find(name: Literal["lamp", "chair"], floor: Literal[1, 2, 3]) -> str:
        """Finds a product."""
        return name

    def ask(sampling):
        answer = langchain(sampling).bind_tools([find], tool_choice="find").invoke(TEXT)
        assert answer.tool_calls[0]["args"]["floor"] in (1, 2, 3)
        return answer.tool_calls[0]["args"]

    return rounds(ask)


# instructor


def instructed(mode, model, extra=None):
    def ask(sampling):
        patched = instructor.from_openai(client, mode=mode)
        answer = patched.chat.completions.create(
            model=MODEL, messages=MESSAGES, response_model=model, max_retries=0,
            **({"extra_body": extra} if extra else {}), **sampling)
        assert isinstance(answer, model)
        return answer

    return rounds(ask)


@check
def instructor_tools():
    return instructed(instructor.Mode.TOOLS, Order)


@check
def instructor_tools_strict():
    return instructed(instructor.Mode.TOOLS_STRICT, Order)


@check
def instructor_json_schema():
    return instructed(instructor.Mode.JSON_SCHEMA, Order)


@check
def instructor_json():
    # This mode and the next say the schema in words only, which a small model does not follow:
    # vLLM's field beside it does.
    return instructed(instructor.Mode.JSON, Order, {"guided_json": Order.model_json_schema()})


@check
def instructor_md_json():
    return instructed(instructor.Mode.MD_JSON, Order, {"guided_json": Order.model_json_schema()})


@check
def instructor_partial():
    patched = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
    last = None
    for last in patched.chat.completions.create_partial(
        model=MODEL, messages=MESSAGES, response_model=Contact, max_retries=0, max_tokens=300
    ):
        pass
    return Contact.model_validate(last.model_dump())


# llm


@check
def llm_schema():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "extra-openai-models.yaml"), "w") as file:
            json.dump([{"model_id": "here", "model_name": MODEL, "api_base": BASE,
                        "supports_schema": True, "supports_tools": True}], file)
        environment = os.environ | {"LLM_USER_PATH": folder, "OPENAI_API_KEY": KEY}

        def ask(schema, *options):
            done = subprocess.run(
                [sys.executable, "-m", "llm", "-m", "here", "--schema", schema, TEXT,
                 "-o", "max_tokens", "700", *options],
                env=environment, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            return done.stdout

        for options in ([], ["--no-stream"], ["-o", "temperature", "1.5"]):
            Order.model_validate_json(ask(json.dumps(Order.model_json_schema()), *options))
        value = json.loads(ask("count int, gift bool", "--no-stream"))
        assert set(value) == {"count", "gift"} and isinstance(value["gift"], bool)
        return value


print(f"{len(failures)} failed; pydantic {pydantic.VERSION}, openai {openai.__version__}, "
      f"instructor {instructor.__version__}")
sys.exit(1 if failures else 0)
