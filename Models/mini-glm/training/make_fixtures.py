"""Golden fixtures and the test conversations.
python make_fixtures.py golden MODEL_DIR OUT_DIR     24 conversations through transformers in f32, greedy
python make_fixtures.py conversations OUT_FILE       300 conversations of the test split
python make_fixtures.py calibration OUT_FILE         60 of the validation split, for activation scales"""

import json
import sys

from evaluate import conversations


def write_conversations(path, split="test", count=300):
    with open(path, "w") as f:
        for c in conversations(split, count):
            f.write(json.dumps(c, ensure_ascii=False) + "\n")


def chosen():
    """12 per language: 6 with tools and 6 without, cut before one assistant turn each."""
    out = {}
    wanted = ["call", "answer", "ask", "answer", "call", "decline"]
    for c in conversations("test", 600, seed=7):
        key = (c["lang"], bool(c["tools"]))
        have = out.setdefault(key, [])
        if len(have) == 6:
            continue
        kinds = wanted if c["tools"] else ["answer", "decline", "answer", "answer", "decline", "answer"]
        turns = [t for t in c["turns"] if t["decision"] == kinds[len(have)]]
        if len(have) == 3 and c["tools"]:
            turns = [t for t in turns if t["kind"].startswith("result:")]
        if turns:
            have.append((c, turns[-1]))
    return [x for key in sorted(out) for x in out[key]]


def golden(model_dir, out):
    import torch
    import transformers
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_dir)
    model = transformers.AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    stops, fixtures = model.generation_config.eos_token_id, []
    for c, turn in chosen():
        messages, tools = c["messages"][: turn["index"]], c["tools"]
        prompt = tokenizer.apply_chat_template(messages, tools=tools or None, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            first = model(ids).logits[0, -1]
            row = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=160, do_sample=False, max_length=None)[0, ids.shape[1] :].tolist()
            # A margin near zero marks a step where another summation order may rightly pick another token.
            steps = model(torch.cat((ids, torch.tensor([row])), 1)).logits[0, ids.shape[1] - 1 : -1]
        top = first.topk(10)
        pairs = steps.topk(2).values
        fixtures.append({
            "id": c["id"], "language": c["lang"], "messages": messages, "tools": tools, "prompt": prompt,
            "promptIDs": ids[0].tolist(), "continuationIDs": row, "continuationText": tokenizer.decode(row),
            "stopped": row[-1] in stops, "smallestMargin": round((pairs[:, 0] - pairs[:, 1]).min().item(), 5),
            "topIDs": top.indices.tolist(), "topLogits": [round(v, 5) for v in top.values.tolist()]})
    with open(f"{out}/conversations.json", "w") as f:
        json.dump({"source": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, greedy", "stopIDs": stops, "conversations": fixtures}, f, ensure_ascii=False, indent=1)
        f.write("\n")
    print(len(fixtures), "fixtures; smallest margin", min(f["smallestMargin"] for f in fixtures), "stopped", sum(f["stopped"] for f in fixtures))


if __name__ == "__main__":
    if sys.argv[1] == "golden":
        golden(*sys.argv[2:4])
    elif sys.argv[1] == "calibration":
        write_conversations(sys.argv[2], "valid", 60)
    else:
        write_conversations(sys.argv[2])
