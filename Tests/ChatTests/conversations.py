"""Writes conversations.json: what published templates make of a conversation with two calls, their
results and thinking, when the history is arranged as the template's authors document it.

    python3 Tests/ChatTests/conversations.py ../shared/data/chat-templates/templates

Rendered by Jinja2 3.1.6 with the settings of transformers.apply_chat_template. The conversation
itself, as a client of OpenAI's API sends it, stands in the file too.
"""

import json
import sys
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.sandbox

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Look up the {what} of an order",
            "parameters": {
                "type": "object",
                "properties": {
                    "order_id": {"type": "string", "description": "order number"},
                    "count": {"type": "integer"},
                },
                "required": ["order_id"],
            },
        },
    }
    for name, what in [("query_order", "state"), ("查询包裹", "parcel")]
]
CALLS = [
    ("aB3dE6gH9", "query_order", {"order_id": "A1234567", "count": 2}),
    ("zY8xW5vU2", "查询包裹", {"order_id": "A\"</tool_call>\n7"}),
]
RESULTS = ["{\"status\": \"shipped\", \"carrier\": \"顺丰\"}", "{\"city\": \"Wuhan\"}"]
THOUGHTS = ["The order must be looked up.", "Now the parcel.", "Both are known."]
SYSTEM, QUESTION = "You help customers.", "Where is my order A1234567?"
ANSWER, THANKS = "It is in Wuhan.", "Thank you! And when does it come?"


def client():
    """As OpenAI's API has it: null contents, arguments as text."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    for (call, name, arguments), result, thought in zip(CALLS, RESULTS, THOUGHTS):
        text = json.dumps(arguments, ensure_ascii=False)
        function = {"name": name, "arguments": text}
        messages.append(
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": thought,
                "tool_calls": [{"id": call, "type": "function", "function": function}],
            }
        )
        messages.append({"role": "tool", "tool_call_id": call, "content": result})
    messages.append(
        {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHTS[2]}
    )
    return messages + [{"role": "user", "content": THANKS}]


def openai():
    """What most templates read: arguments as an object, an empty text for no content."""
    messages = client()
    names = {call: name for call, name, _ in CALLS}
    for message in messages:
        message["content"] = message["content"] or ""
        if message["role"] == "tool":
            message["name"] = names[message["tool_call_id"]]
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages, TOOLS


def glm4():
    """THUDM/GLM-4, composite_demo: tools on a system message, metadata names a call."""
    messages = [
        {"role": "system", "content": "", "tools": TOOLS},
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
    ]
    for (_, name, arguments), result in zip(CALLS, RESULTS):
        text = json.dumps(arguments, ensure_ascii=False)
        messages.append({"role": "assistant", "metadata": name, "content": text})
        messages.append({"role": "observation", "content": result})
    messages.append({"role": "assistant", "content": ANSWER})
    return messages + [{"role": "user", "content": THANKS}], None


def deepseek(is_fenced=False):
    """DeepSeek's model cards: tools are told in the system message, in these words."""
    messages, _ = openai()
    tools = "\n".join(
        f"### {tool['function']['name']}\nDescription: {tool['function']['description']}\n\n"
        f"Parameters: {json.dumps(tool['function']['parameters'], ensure_ascii=False)}\n"
        for tool in TOOLS
    )
    call = "tool_call_name<｜tool▁sep｜>tool_call_arguments"
    chain = "directly without separators or spaces"
    if is_fenced:
        call = "function<｜tool▁sep｜>tool_call_name\n```json\ntool_call_arguments\n```"
        chain = "with a newline as separator"
    messages[0]["content"] += (
        f"\n\n## Tools\nYou have access to the following tools:\n\n{tools}\n"
        "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n"
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{call}<｜tool▁call▁end｜>"
        "{additional_tool_calls}<｜tool▁calls▁end｜>\n\nWhere:\n"
        "- `tool_call_name` must be an exact match to one of the available tools\n"
        "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters "
        f"Schema\n- For multiple tool calls, chain them {chain}"
    )
    return messages, None


def as_texts(messages, content):
    for message in messages:
        for call in message.get("tool_calls", []):
            arguments = call["function"]["arguments"]
            call["function"]["arguments"] = json.dumps(arguments, ensure_ascii=False)
            message["content"] = content
    return messages


def texts():
    """Templates that join arguments to their own text."""
    return as_texts(openai()[0], ""), TOOLS


def deepseek_r1():
    """R1's template shows a call only where its turn has no content, and joins arguments."""
    return as_texts(deepseek(is_fenced=True)[0], None), None


TEMPLATES = {
    "glm-4-9b-chat": ("glm-4", glm4),
    "GLM-4.5": ("glm-4.5", openai),
    "GLM-4.6": ("glm-4.5", openai),
    "GLM-4.7-Flash": ("glm-4.5", openai),
    "GLM-5.2": ("glm-4.5", openai),
    "Qwen-Qwen2.5-7B-Instruct": ("hermes", openai),
    "Qwen-Qwen3-0.6B": ("hermes", openai),
    "Qwen3-Coder": ("qwen3-coder", openai),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": ("hermes", openai),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": ("hermes", openai),
    "meta-llama-Llama-3.1-8B-Instruct": ("llama-3", openai),
    "meta-llama-Llama-3.3-70B-Instruct": ("llama-3", openai),
    "mistralai-Mistral-Nemo-Instruct-2407": ("mistral", openai),
    "Mistral-Small-3.2-24B-Instruct-2506": ("mistral", openai),
    "unsloth-mistral-Devstral-Small-2507": ("mistral", openai),
    "ovms-devstral": ("mistral", openai),
    "deepseek-ai-DeepSeek-V3.1": ("deepseek", deepseek),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": ("deepseek", deepseek_r1),
    "rtp-deepseek_r1_qwen_14b": ("deepseek", deepseek_r1),
    "llama-cpp-deepseek-r1": ("deepseek", lambda: deepseek(is_fenced=True)),
    "deepseek-ai-DeepSeek-V3.2": ("deepseek-v3.2", openai),
    "Qwen3.5-4B": ("qwen3-coder", openai),
    "StepFun3.5-Flash": ("qwen3-coder", openai),
    "rtp-qwen3_coder": ("qwen3-coder", openai),
    "rtp-qwen3_30b": ("hermes", openai),
    "ovms-qwen3": ("hermes", openai),
    "ovms-qwen3_30b": ("hermes", openai),
    "Bielik-11B-v3.0-Instruct": ("hermes", openai),
    "unsloth-Apriel-1.5": ("hermes", openai),
    "Apriel-1.6-15b-Thinker-fixed": ("plain", openai),
    "Cohere2MoE": ("plain", openai),
    "GigaChat3-10B-A1.8B": ("plain", openai),
    "moonshotai-Kimi-K2": ("plain", openai),
    "ovms-lfm25": ("plain", openai),
    "ovms-phi4_mini": ("plain", texts),
    "google-gemma-4-31B-it": ("plain", openai),
    "google-gemma-4-31B-it-interleaved": ("plain", openai),
}


def environment():
    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    def refuse(message):
        raise jinja2.TemplateError(message)

    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = lambda value, ensure_ascii=False, indent=None, **_: json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent
    )
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: "26 Jul 2024"
    return made


def main():
    rendered = []
    for name, (family, history) in TEMPLATES.items():
        source = (Path(sys.argv[1]) / f"{name}.jinja").read_text()
        messages, tools = history()
        prompt = environment().from_string(source).render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=True,
            bos_token="", eos_token="",
        )
        rendered.append({"template": name, "family": family, "prompt": prompt})
    value = {"messages": client(), "tools": TOOLS, "rendered": rendered}
    target = Path(__file__).with_name("conversations.json")
    target.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


main()
