"""Scores every assistant turn of test conversations, decoded greedily by transformers in f32 with the
reference history before it. python evaluate.py MODEL_DIR [--split test] [--count 300] [--file JSONL] [--report OUT]"""

import argparse
import collections
import json
import random

import torch

from dialogue import Conversation
from tools import TOOLS

ASK = ("请提供", "please provide")
DECLINE = ("超出了我的服务范围", "outside what i can help with")


def conversations(split, count, seed=99):
    rng, out = random.Random(f"{split}{seed}"), []
    for i in range(count):
        c = Conversation(rng, split, ("zh", "en")[i % 2]).build()
        out.append(dict(c.record(), id=f"{split}-{i:04d}"))
    return out


def matches(schema, value):
    kind = schema.get("type")
    if kind == "object":
        return isinstance(value, dict) and set(schema.get("required", [])) <= set(value) and all(
            k in schema["properties"] and matches(schema["properties"][k], v) for k, v in value.items())
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str) and value in schema.get("enum", [value])


def parse(text):
    """(decision, name, arguments, body) of a continuation without its stop token."""
    if text.startswith("\n"):
        body, low = text[1:], text.lower()
        kind = "ask" if any(a in low for a in ASK) else "decline" if any(d in low for d in DECLINE) else "answer"
        return kind, None, None, body
    name, _, rest = text.partition("\n")
    try:
        return "call", name, json.loads(rest), rest
    except ValueError:
        return "call", name, None, rest


def judge(turn, gold, text, tools):
    """Verdicts of one turn; None where a measure does not apply."""
    decision, name, arguments, body = parse(text)
    v = {"decision": decision == turn["decision"], "got": decision}
    if decision == "call":
        offered = {t["function"]["name"]: t["function"]["parameters"] for t in tools}
        v["valid"] = arguments is not None and name in offered and matches(offered[name], arguments)
    if turn["decision"] == "call":
        v["name"] = decision == "call" and name == turn["call"]["name"]
        v["arguments"] = v["name"] and arguments == turn["call"]["arguments"]
    elif turn["kind"].startswith(("result:", "tool_error")):
        v["facts"] = all(f in body for f in turn["facts"])
    elif turn["kind"] == "follow_up":
        v["follow_up"] = all(f in body for f in turn["facts"]) and (bool(turn["facts"]) or body == gold)
    elif turn["kind"] == "out_of_domain":
        v["declined"] = decision == "decline"
    elif turn["kind"].startswith("faq:"):
        v["faq"] = body == gold
    elif turn["decision"] == "ask":
        v["asked"] = decision == "ask" and all(f in body for f in turn["facts"])
    elif turn["kind"] == "no_tool":
        v["no_tool"] = body == gold
    else:
        v["social"] = body == gold
    return v


def generate(model, tokenizer, prompts, batch=32, limit=160):
    """Greedy continuations, longest prompts together, left padding."""
    order, out = sorted(range(len(prompts)), key=lambda i: len(prompts[i])), {}
    stop = model.generation_config.eos_token_id
    for i in range(0, len(order), batch):
        index = order[i : i + batch]
        enc = tokenizer([prompts[j] for j in index], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.no_grad():
            ids = model.generate(input_ids=enc.input_ids, attention_mask=enc.attention_mask, max_new_tokens=limit, do_sample=False, max_length=None)
        for j, r in zip(index, ids[:, enc.input_ids.shape[1] :].tolist()):
            end = next((n for n, t in enumerate(r) if t in stop), len(r))
            out[j] = (tokenizer.decode(r[:end]), tokenizer.decode(r[end : end + 1]))
    return [out[i] for i in range(len(prompts))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--file")
    parser.add_argument("--report")
    parser.add_argument("--lang", help="only this language")
    parser.add_argument("--show", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    from transformers import AutoModelForCausalLM, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    cases = [json.loads(line) for line in open(args.file)] if args.file else conversations(args.split, args.count)
    cases = [c for c in cases if args.lang in (None, c["lang"])]
    jobs = [(c, t) for c in cases for t in c["turns"]]
    prompts = [tokenizer.apply_chat_template(c["messages"][: t["index"]], tools=c["tools"] or None, add_generation_prompt=True, tokenize=False) for c, t in jobs]
    texts = generate(model, tokenizer, prompts)
    table, failures = {lang: collections.defaultdict(list) for lang in ([args.lang] if args.lang else ["zh", "en"])}, collections.defaultdict(list)
    for (c, t), (text, stop) in zip(jobs, texts):
        gold = c["messages"][t["index"]]["content"]
        v = judge(t, gold, text, c["tools"])
        v["stop"] = stop == ("<|observation|>" if v["got"] == "call" else "<|user|>")
        for key, ok in v.items():
            if key != "got" and ok is not None:
                table[c["lang"]][key].append(bool(ok))
                if not ok:
                    failures[key].append({"id": c["id"], "kind": t["kind"], "user": c["messages"][t["index"] - 1]["content"], "want": t.get("call") or gold, "got": text})
    report = {lang: {k: [round(100 * sum(r) / len(r), 2), len(r)] for k, r in sorted(rows.items())} for lang, rows in table.items()}
    for lang, rows in report.items():
        print(lang, " ".join(f"{k} {a:.1f}% ({n})" for k, (a, n) in rows.items()))
    shown = 0
    for key, items in failures.items():
        kinds = collections.Counter(i["kind"].split(":")[0] if key != "arguments" else i["kind"] for i in items)
        print("--", key, len(items), dict(kinds.most_common(8)))
        for i in items[: max(2, args.show // max(1, len(failures)))]:
            print("   ", json.dumps(i, ensure_ascii=False)[:420])
    if args.report:
        with open(args.report, "w") as f:
            json.dump({"conversations": len(cases), "turns": len(jobs), "table": report, "failures": {k: v[:40] for k, v in failures.items()}}, f, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    main()
