"""The chat template of Mini-GLM and its tokenisation. GLM-4's form; beside a `tools` key on a message it
understands the top-level `tools` argument and OpenAI `tool_calls` in the history."""

import json

IDENTITY = "你是一个名为 GLM-4 的人工智能助手。你是基于智谱AI训练的语言模型 GLM-4 模型开发的，你的任务是针对用户的问题和要求提供适当的答复和支持。"
CALL_NOTE = "在调用上述函数时，请使用 Json 格式表示调用的参数。"
SPECIALS = ["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>", "<|assistant|>",
            "<|observation|>", "<|begin_of_image|>", "<|end_of_image|>", "<|begin_of_video|>", "<|end_of_video|>"]

CHAT_TEMPLATE = (
    "{%- macro tool_text(tools) -%}\n"
    "<|system|>\n" + IDENTITY + "\n\n# 可用工具"
    "{%- for tool in tools %}{% set f = tool['function'] if tool['function'] is defined else tool %}"
    "{{ '\n\n## ' + f['name'] + '\n\n' }}{{ f | tojson(indent=4) }}{{ '\n" + CALL_NOTE + "' }}{%- endfor %}"
    "{%- endmacro -%}\n"
    "[gMASK]<sop>{% if tools is defined and tools %}{{ tool_text(tools) }}{% endif %}"
    "{%- for item in messages %}"
    "{% if item['tools'] is defined and item['tools'] %}{{ tool_text(item['tools']) }}{% endif %}"
    "{% if item['role'] == 'tool' or item['role'] == 'function' %}{{ '<|observation|>\n' }}{{ item['content'] }}"
    "{% elif item['role'] == 'assistant' and item['tool_calls'] is defined and item['tool_calls'] %}"
    "{% if item['content'] %}{{ '<|assistant|>\n' }}{{ item['content'] }}{% endif %}"
    "{% for call in item['tool_calls'] %}{% set c = call['function'] if call['function'] is defined else call %}"
    "{{ '<|assistant|>' + c['name'] + '\n' }}"
    "{% if c['arguments'] is string %}{{ c['arguments'] }}{% else %}{{ c['arguments'] | tojson }}{% endif %}{% endfor %}"
    "{% elif item['content'] %}{{ '<|' + item['role'] + '|>' }}{{ item['metadata'] }}{{ '\n' }}{{ item['content'] }}{% endif %}"
    "{%- endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def sections(messages, tools):
    """(special token, text after it) in order; the whole prompt is their concatenation."""
    out = [("[gMASK]", ""), ("<sop>", "")]
    if tools:
        text = "\n" + IDENTITY + "\n\n# 可用工具"
        for tool in tools:
            f = tool["function"]
            text += f"\n\n## {f['name']}\n\n{json.dumps(f, ensure_ascii=False, indent=4)}\n{CALL_NOTE}"
        out.append(("<|system|>", text))
    for m in messages:
        if m["role"] == "tool":
            out.append(("<|observation|>", "\n" + m["content"]))
        elif m.get("tool_calls"):
            f = m["tool_calls"][0]["function"]
            out.append(("<|assistant|>", f"{f['name']}\n{json.dumps(f['arguments'], ensure_ascii=False)}"))
        else:
            out.append((f"<|{m['role']}|>", "\n" + m["content"]))
    return out


def text_of(messages, tools, generation=False):
    return "".join(a + b for a, b in sections(messages, tools)) + ("<|assistant|>" if generation else "")
