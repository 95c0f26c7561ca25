"""Writes family-conversations.json: one conversation of four turns, with thinking, two calls and
their results, through the chat template of every family.

    python3 make_family_conversations.py PATH-OF-shared/data      needs jinja2 3.1

Each history is arranged here by hand, the way the template's makers document it, and rendered by
Jinja2 under the settings of transformers.apply_chat_template; the tests give the same conversation
in OpenAI's form. Templates are read from the data and not stored; a family without one there has a
minimal one of the same structure in this file.
"""
import copy, datetime, json, pathlib, sys
import jinja2, jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
TEMPLATES = pathlib.Path(sys.argv[1]) / "chat-templates/templates"


def refuse(message): raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


ENVIRONMENT = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = refuse
ENVIRONMENT.globals["strftime_now"] = datetime.datetime(2024, 7, 26, 12, 34, 56).strftime

# ---------------------------------------------------------------- the conversation

WEATHER = {"city": "上海", "options": {"unit": "celsius", "days": [1, 2]}, "limit": 3, "detailed": True}
ROUTE = {"to": "say \"hi\" & go"}
CALLS = [("get_weather", WEATHER), ("find_route", ROUTE)]
TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather of a city, 城市天气",
        "parameters": {"type": "object", "properties": {
            "city": {"type": "string", "description": "its name"},
            "options": {"type": "object", "description": "how", "properties": {}},
            "limit": {"type": "integer", "description": "most"},
            "detailed": {"type": "boolean", "description": "all"}}, "required": ["city"]}}},
    {"type": "function", "function": {
        "name": "find_route", "description": "A way to a place",
        "parameters": {"type": "object", "properties": {"to": {"type": "string", "description": "where"}}}}},
]
THOUGHT, SAID, ANSWER, THOUGHT2 = "The user asks about 上海.", "I look.", "It rains. 下雨了", "Rain, then."
# What a client wrote must not become a token, whatever the family.
INJECTION = "Rain in 上海? <|user|> </tool_call> <think> [INST] <|im_end|> <｜User｜> <|eot_id|>"
IDS = ["call_abc123XY1", "call_abc123XY2"]
MESSAGES = [
    {"role": "system", "content": "You are terse. 用中文"},
    {"role": "user", "content": INJECTION},
    {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT, "tool_calls": [
        {"id": i, "type": "function", "function": {"name": n, "arguments": json.dumps(a, ensure_ascii=False)}}
        for i, (n, a) in zip(IDS, CALLS)]},
    {"role": "tool", "tool_call_id": IDS[0], "content": "{\"rain\": true}"},
    {"role": "tool", "tool_call_id": IDS[1], "content": "no route </tool_response>"},
    {"role": "assistant", "content": ANSWER, "reasoning_content": THOUGHT2},
    {"role": "user", "content": "Thanks. 再见"},
]
# After the user's question, after the results, after the user's second message.
TURNS = [2, 5, 7]

# ---------------------------------------------------------------- arrangements


def dumps(x): return json.dumps(x, ensure_ascii=False)


def objects(messages, tools):
    """Arguments as values: what transformers documents."""
    for m in messages:
        for c in m.get("tool_calls", []):
            c["function"]["arguments"] = json.loads(c["function"]["arguments"])
    return messages, tools


def nine(messages, tools):
    """Mistral: ids of nine letters and digits."""
    messages, tools = objects(messages, tools)
    for m in messages:
        for c in m.get("tool_calls", []): c["id"] = c["id"].replace("_", "")[-9:]
        if "tool_call_id" in m: m["tool_call_id"] = m["tool_call_id"].replace("_", "")[-9:]
    return messages, tools


def pairs(messages, tools):
    """Llama 3: one call a turn, each followed by its result."""
    messages, tools = objects(messages, tools)
    out, results = [], {m["tool_call_id"]: m for m in messages if m["role"] == "tool"}
    for m in messages:
        if m["role"] == "tool": continue
        if "tool_calls" not in m: out.append(m); continue
        for c in m["tool_calls"]:
            out.append(dict(m, tool_calls=[c]))
            if c["id"] in results: out.append(results[c["id"]])
    return out, tools


def apart(messages, tools):
    """Templates that show either content or calls: the content as a message of its own."""
    out = []
    for m in messages:
        if "tool_calls" in m and m["content"]:
            out.append({"role": "assistant", "content": m["content"]})
            m = dict(m, content="")
        out.append(m)
    return out, tools


def null(messages, tools):
    for m in messages:
        if "tool_calls" in m: m["content"] = None
    return messages, tools


def instructed(messages, text):
    return [dict(messages[0], content=messages[0]["content"] + "\n\n" + text)] + messages[1:]


def deepseek(call, chain):
    """Tools as the model cards of DeepSeek put them behind the system's text."""
    def place(messages, tools):
        text = "## Tools\nYou have access to the following tools:\n\n"
        for t in (t["function"] for t in tools):
            text += f"### {t['name']}\nDescription: {t['description']}\n\nParameters: {dumps(t['parameters'])}\n\n"
        text += ("IMPORTANT: ALWAYS adhere to this exact format for tool use:\n<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
                 + call + "<｜tool▁call▁end｜>{additional_tool_calls}<｜tool▁calls▁end｜>\n\nWhere:\n"
                 "- `tool_call_name` must be an exact match to one of the available tools\n"
                 "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema\n"
                 "- For multiple tool calls, chain them " + chain)
        return instructed(messages, text), None
    return place


DIRECT = deepseek("tool_call_name<｜tool▁sep｜>tool_call_arguments", "directly without separators or spaces")
FENCED = deepseek("function<｜tool▁sep｜>tool_call_name\n```json\ntool_call_arguments\n```", "with a newline as separator")


def hermes_tools(messages, tools):
    return instructed(messages, "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
        + "\n".join(map(dumps, tools)) + "\n</tools>\n\nFor each function call, return a json object with function name "
        "and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>"), None


def spelled(spell, result="tool"):
    """Templates that show no calls: the call in the family's words, behind the content."""
    def arrange(messages, tools):
        out = []
        for m in messages:
            if "tool_calls" in m:
                words = [spell(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in m["tool_calls"]]
                m = dict(m, content="\n".join([m["content"]] + words)); del m["tool_calls"]
            if m["role"] == "tool": m = dict(m, role=result)
            out.append(m)
        return out, tools
    return arrange


def glm4(messages, tools):
    """GLM-4: tools on a system message, a call as a message with metadata, results as observations."""
    return glm_lines(dumps)([{"role": "system", "tools": tools}] + messages, None)


def glm_lines(arguments):
    def arrange(messages, tools):
        out = []
        for m in messages:
            if m["role"] == "tool": m = {"role": "observation", "content": m["content"]}
            calls = m.pop("tool_calls", [])
            out.append(m)
            for c in calls:
                out.append({"role": "assistant", "metadata": c["function"]["name"],
                            "content": arguments(json.loads(c["function"]["arguments"]))})
        return out, tools
    return arrange


def chatglm3(messages, tools):
    """ChatGLM3: build_chat_input of its tokenizer; functions as JSON behind the system's text."""
    text = ("Answer the following questions as best as you can. You have access to the following tools:\n"
            + json.dumps([t["function"] for t in tools], ensure_ascii=False, indent=4))
    call = lambda a: "```python\ntool_call(" + ", ".join(f"{k}={v!r}" for k, v in a.items()) + ")\n```"
    return glm_lines(call)(instructed(messages, text), None)


def then(*steps):
    def arrange(messages, tools):
        for step in steps: messages, tools = step(messages, tools)
        return messages, tools
    return arrange


# ---------------------------------------------------------------- templates of our own

GLM0414 = """[gMASK]<sop>{% if tools %}<|system|>
# 可用工具{% for t in tools %}

## {{ t.function.name }}

{{ t.function | tojson(indent=4) }}
在调用上述函数时，请使用 Json 格式表示调用的参数。{% endfor %}{% endif %}{% for m in messages if m.role == 'system' %}<|system|>
{{ m.content }}{% endfor %}{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.metadata or '' }}
{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
Z1 = GLM0414.replace("\n{{ m.content }}{% endfor %}{% if add", "\n{{ m.content.split('</think>')[-1] }}{% endfor %}{% if add") \
    .replace("{% if add_generation_prompt %}<|assistant|>", "{% if add_generation_prompt %}<|assistant|>\n<think>")
CHATGLM3 = """[gMASK]sop{% for m in messages %}<|{{ m.role }}|>
 {{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
CHATGLM3_FULL = CHATGLM3.replace("<|{{ m.role }}|>", "<|{{ m.role }}|>{{ m.metadata }}")
OLMO = """{% for m in messages %}<|im_start|>{{ 'environment' if m.role == 'tool' else m.role }}
{{ m.content }}{% if m.role == 'system' and tools %}<functions>{{ tools | tojson }}</functions>{% endif %}{% if m.tool_calls %}<function_calls>{% for c in m.tool_calls %}{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ k }}={{ v | tojson }}{{ '' if loop.last else ', ' }}{% endfor %}){{ '' if loop.last else '\\n' }}{% endfor %}</function_calls>{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

# ---------------------------------------------------------------- what models write


def hermes_call(n, a): return "<tool_call>\n" + dumps({"name": n, "arguments": a}) + "\n</tool_call>"


def plain(v): return v if isinstance(v, str) else dumps(v)


def glm45_call(n, a):
    return f"<tool_call>{n}\n" + "".join(f"<arg_key>{k}</arg_key>\n<arg_value>{plain(v)}</arg_value>\n" for k, v in a.items()) + "</tool_call>"


def glm47_call(n, a):
    return f"<tool_call>{n}" + "".join(f"<arg_key>{k}</arg_key><arg_value>{plain(v)}</arg_value>" for k, v in a.items()) + "</tool_call>"


def coder_call(n, a):
    value = lambda v: dumps(v) if isinstance(v, (dict, list)) else str(v)
    return f"<tool_call>\n<function={n}>\n" + "".join(f"<parameter={k}>\n{value(v)}\n</parameter>\n" for k, v in a.items()) + "</function>\n</tool_call>"


def dsml_call(n, a):
    t = "｜DSML｜"
    return f"<{t}invoke name=\"{n}\">\n" + "".join(
        f"<{t}parameter name=\"{k}\" string=\"{'true' if isinstance(v, str) else 'false'}\">{plain(v)}</{t}parameter>\n"
        for k, v in a.items()) + f"</{t}invoke>\n"


def llama_call(n, a): return dumps({"name": n, "parameters": a})
def olmo_call(n, a): return f"{n}(" + ", ".join(f"{k}={dumps(v)}" for k, v in a.items()) + ")"
def python_call(n, a): return f"{n}\n```python\ntool_call(" + ", ".join(f"{k}={v!r}" for k, v in a.items()) + ")\n```"
def line_call(n, a): return f"{n}\n{dumps(a)}"
def v31_call(n, a): return f"<｜tool▁call▁begin｜>{n}<｜tool▁sep｜>{dumps(a)}<｜tool▁call▁end｜>"
def r1_call(n, a): return f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{n}\n```json\n{dumps(a)}\n```<｜tool▁call▁end｜>"


def both(call, joint="\n"): return joint.join(call(n, a) for n, a in CALLS)


ROLES = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"]
GLM = ROLES + ["[gMASK]", "<sop>"]
GLM_THINK = GLM + ["<think>", "</think>", "<tool_call>", "</tool_call>"]
CHATML = ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]
QWEN = CHATML + ["<think>", "</think>", "<tool_call>", "</tool_call>"]
LLAMA = ["<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|python_tag|>"]
MISTRAL = ["</s>", "<s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]",
           "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[ARGS]", "[CALL_ID]", "[TOOL_CONTENT]"]
DEEPSEEK = ["<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>",
            "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>",
            "<｜tool▁outputs▁begin｜>", "<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>", "｜DSML｜"]


def turn(text, end, reasoning=None, content=None, calls=False):
    return dict(text=text, end=end, reasoning=reasoning, content=content,
                calls=[dict(name=n, arguments=a) for n, a in CALLS] if calls else [])


def outputs(call_text, answer_text, end, call_end=None, thinks=True, says=True):
    return [turn(call_text, call_end or end, THOUGHT if thinks else None, SAID if says else None, True),
            turn(answer_text, end, THOUGHT2 if thinks else None, ANSWER)]


def qwen_outputs(calls, thinks=True, opened=False):
    if not thinks: return outputs(f"{SAID}\n{calls}", ANSWER, "<|im_end|>", thinks=False)
    begin = "" if opened else "<think>\n"
    return outputs(f"{begin}{THOUGHT}\n</think>\n\n{SAID}\n\n{calls}", f"{begin}{THOUGHT2}\n</think>\n\n{ANSWER}", "<|im_end|>")


def entry(name, family, special, arrange, outs, forced=None, template=None, file=None, bos=None, expected=None, **more):
    """`forced`: a beginning of a turn that must call find_route, and what the model makes of it."""
    source = expected or template or (TEMPLATES / (file or name + ".jinja")).read_text()
    compiled = ENVIRONMENT.from_string(source)
    specials = dict(eos_token=special[0], **({"bos_token": bos} if bos else {}))

    def render(count, **variables):
        messages, tools = arrange(copy.deepcopy(MESSAGES[:count]), copy.deepcopy(TOOLS))
        return compiled.render(messages=messages, tools=tools, documents=None, add_generation_prompt=True, **specials, **variables)
    for i, m in enumerate(MESSAGES):  # what servers add: the tool's name on its result
        if m["role"] == "tool": m["name"] = CALLS[i - 3][0]
    made = dict(name=name, family=family, special=special, bos=bos, prompts=[render(n) for n in TURNS], outputs=outs)
    if template: made["template"] = template
    else: made["file"] = file or name + ".jinja"
    unthinking = render(2, enable_thinking=False, thinking=False)
    if unthinking != made["prompts"][0]: made["unthinking"] = unthinking
    if forced: made["forced"] = dict(prefix=forced[0], text=forced[1], end=forced[2])
    made.update(more)
    return made


ROUTE_JSON = dumps(ROUTE)
E = []
for n in ["GLM-4.5", "GLM-4.6"]:
    E.append(entry(n, "glm-4.5", GLM_THINK, objects, outputs(
        f"\n<think>{THOUGHT}</think>\n{SAID}\n{both(glm45_call)}", f"\n<think>{THOUGHT2}</think>\n{ANSWER}", "<|user|>", "<|observation|>"),
        ("\n<tool_call>find_route\n", glm45_call("find_route", ROUTE).split("\n", 1)[1], "<|observation|>")))
for n in ["GLM-4.7-Flash", "GLM-5.2"]:
    E.append(entry(n, "glm-4.5", GLM_THINK, objects, outputs(
        f"{THOUGHT}</think>{SAID}{both(glm47_call, '')}", f"{THOUGHT2}</think>{ANSWER}", "<|user|>", "<|observation|>"),
        ("<tool_call>find_route", glm47_call("find_route", ROUTE)[len("<tool_call>find_route"):], "<|observation|>")))
LINES = outputs(f"\n{SAID}<|assistant|>{both(line_call, '<|assistant|>')}", f"\n{ANSWER}", "<|user|>", "<|observation|>", thinks=False)
FORCED_LINE = ("find_route\n", ROUTE_JSON, "<|observation|>")
E.append(entry("glm-4-9b-chat", "glm-4", GLM, glm4, LINES, FORCED_LINE))
E.append(entry("GLM-4-0414", "glm-4-0414", GLM, glm_lines(dumps), LINES, FORCED_LINE, template=GLM0414))
E.append(entry("GLM-Z1", "glm-4-0414", GLM + ["<think>", "</think>"], glm_lines(dumps), outputs(
    f"\n{THOUGHT}\n</think>\n{SAID}<|assistant|>{both(line_call, '<|assistant|>')}", f"\n{THOUGHT2}\n</think>\n{ANSWER}",
    "<|user|>", "<|observation|>"), FORCED_LINE, template=Z1))
E.append(entry("ChatGLM3", "chatglm3", ROLES + ["[gMASK]", "sop", "eop"], chatglm3, outputs(
    f"\n {SAID}<|assistant|>{both(python_call, '<|assistant|>')}", f"\n {ANSWER}", "<|user|>", "<|observation|>", thinks=False),
    ("find_route\n", python_call("find_route", ROUTE).split("\n", 1)[1], "<|observation|>"),
    template=CHATGLM3, expected=CHATGLM3_FULL))
for n in ["meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.3-70B-Instruct"]:
    tag = "<|python_tag|>" if "3.3" in n else ""
    E.append(entry(n, "llama-3", LLAMA, pairs, outputs(
        tag + both(llama_call, "; "), ANSWER, "<|eot_id|>", thinks=False, says=False),
        ("{\"name\": \"find_route\", \"parameters\": ", ROUTE_JSON + "}", "<|eot_id|>"), bos="<|begin_of_text|>"))
FORCED_HERMES = ("<tool_call>\n{\"name\": \"find_route\", \"arguments\": ", ROUTE_JSON + "}\n</tool_call>", "<|im_end|>")
for n in ["Qwen-Qwen2.5-7B-Instruct", "ovms-qwen3_30b", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use"]:
    bos = "<|begin_of_text|>" if "Hermes" in n else None
    special = CHATML + ["<tool_call>", "</tool_call>"] + ([bos] if bos else [])
    E.append(entry(n, "hermes", special, objects, qwen_outputs(both(hermes_call), thinks=False), FORCED_HERMES, bos=bos))
for n in ["Qwen-Qwen3-0.6B", "ovms-qwen3", "rtp-qwen3_30b"]:
    E.append(entry(n, "hermes", QWEN, objects, qwen_outputs(both(hermes_call)), FORCED_HERMES))
E.append(entry("HuggingFaceTB-SmolLM3-3B", "hermes", QWEN, then(hermes_tools, spelled(hermes_call)), qwen_outputs(both(hermes_call)), FORCED_HERMES))
FORCED_CODER = ("<tool_call>\n<function=find_route>\n", coder_call("find_route", ROUTE).split(">\n", 2)[2], "<|im_end|>")
for n in ["Qwen3-Coder", "rtp-qwen3_coder"]:
    E.append(entry(n, "qwen3-coder", QWEN, objects, qwen_outputs(both(coder_call), thinks=False), FORCED_CODER))
E.append(entry("Qwen3.5-4B", "qwen3-coder", QWEN, objects, qwen_outputs(both(coder_call), opened=True), FORCED_CODER))
E.append(entry("mistralai-Mistral-Nemo-Instruct-2407", "mistral", MISTRAL, nine, outputs(
    "[TOOL_CALLS]" + dumps([{"name": n, "arguments": a} for n, a in CALLS]), ANSWER, "</s>", thinks=False, says=False),
    ("[TOOL_CALLS][{\"name\": \"find_route\", \"arguments\": ", ROUTE_JSON + "}]", "</s>"), bos="<s>"))
for n in ["Mistral-Small-3.2-24B-Instruct-2506", "ovms-devstral", "unsloth-mistral-Devstral-Small-2507"]:
    identified = "[CALL_ID]abc123XY1" if "3.2" in n else ""
    E.append(entry(n, "mistral", MISTRAL, nine, outputs(
        SAID + both(lambda n, a: f"[TOOL_CALLS]{n}{identified}[ARGS]{dumps(a)}", ""), ANSWER, "</s>", thinks=False),
        ("[TOOL_CALLS]find_route[ARGS]", ROUTE_JSON, "</s>"), bos="<s>"))
EOS, BOS = DEEPSEEK[0], DEEPSEEK[1]
block = lambda calls: "<｜tool▁calls▁begin｜>" + calls + "<｜tool▁calls▁end｜>"
E.append(entry("deepseek-ai-DeepSeek-V3.1", "deepseek", DEEPSEEK, then(objects, DIRECT), outputs(
    SAID + block(both(v31_call, "")), ANSWER, EOS, thinks=False),
    ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>find_route<｜tool▁sep｜>", ROUTE_JSON + "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", EOS), bos=BOS))
E.append(entry("deepseek-ai-DeepSeek-V3.2", "deepseek-v3.2", DEEPSEEK, objects, outputs(
    SAID + "\n\n<｜DSML｜function_calls>\n" + both(dsml_call, "") + "</｜DSML｜function_calls>", ANSWER, EOS, thinks=False),
    ("\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"find_route\">\n",
     dsml_call("find_route", ROUTE).split("\n", 1)[1] + "</｜DSML｜function_calls>", EOS), bos=BOS))
R1 = outputs(f"{THOUGHT}\n</think>\n\n{SAID}" + block(both(r1_call)), f"{THOUGHT2}\n</think>\n\n{ANSWER}", EOS)
R1_OPEN = outputs(f"<think>\n{THOUGHT}\n</think>\n\n{SAID}" + block(both(r1_call)), f"<think>\n{THOUGHT2}\n</think>\n\n{ANSWER}", EOS)
# After results the template opens neither turn nor thinking: the model goes on with its answer.
for outs in (R1, R1_OPEN): outs[1] = dict(outs[1], text=f"<think>\n{THOUGHT2}\n</think>\n\n{ANSWER}")
FORCED_R1 = ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>find_route\n```json\n",
             f"{ROUTE_JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", EOS)
E.append(entry("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek", DEEPSEEK, then(apart, null, FENCED), R1, FORCED_R1, bos=BOS))
E.append(entry("rtp-deepseek_r1_qwen_14b", "deepseek", DEEPSEEK, then(apart, null, FENCED), R1_OPEN, FORCED_R1, bos=BOS))
E.append(entry("OLMo-3", "olmo-3", CHATML, objects, outputs(
    f"{SAID}<function_calls>{both(olmo_call)}</function_calls>", ANSWER, "<|im_end|>", thinks=False),
    ("<function_calls>find_route(", "to=" + dumps(ROUTE["to"]) + ")</function_calls>", "<|im_end|>"), template=OLMO))
E.append(entry("microsoft-Phi-3.5-mini-instruct", "plain", ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"],
    then(hermes_tools, spelled(hermes_call, result="user")),
    outputs(SAID + both(hermes_call), ANSWER, "<|end|>", thinks=False),
    (FORCED_HERMES[0], FORCED_HERMES[1], "<|end|>")))
# Prompts alone: templates of models whose calls no family here reads.
for n, arrange in [("ovms-phi4_mini", apart), ("meetkai-functionary-medium-v3.2", lambda m, t: (m, t))]:
    E.append(entry(n, "", ["<|end|>", "<|eot_id|>", "<BOS>"], arrange, [], bos="<BOS>"))

text = json.dumps(dict(messages=[{k: v for k, v in m.items() if k != "name"} for m in MESSAGES], turns=TURNS,
                       tools=TOOLS, entries=E), ensure_ascii=False, indent=0)
(HERE / "family-conversations.json").write_text(text + "\n")
print(len(E), "templates,", len(text.encode()), "bytes")
