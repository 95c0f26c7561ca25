"""Checks of data and template: python selfcheck.py MODEL_DIR"""

import random
import sys

from transformers import AutoTokenizer

from dialogue import Conversation
from evaluate import parse
from lexicon import HELD, MORE, expansions, split_of
from render import text_of

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rng, seen = random.Random(5), {"train": set(), "valid": set(), "test": set()}
for i in range(1500):
    split = ("train", "valid", "test")[i % 3]
    c = Conversation(rng, split, ("zh", "en")[i // 3 % 2]).build().record()
    prompt = tokenizer.apply_chat_template(c["messages"], tools=c["tools"] or None, tokenize=False)
    assert prompt == text_of(c["messages"], c["tools"]), (prompt, text_of(c["messages"], c["tools"]))
    if i % 10 == 0:
        ids = tokenizer.apply_chat_template(c["messages"], tools=c["tools"] or None, tokenize=True, return_dict=False)
        assert tokenizer.decode(ids) == prompt and ids.count(tokenizer.convert_tokens_to_ids("<sop>")) == 1
    for t in c["turns"]:
        body = c["messages"][t["index"]]["content"]
        if t["decision"] != "call":
            assert parse("\n" + body)[0] == t["decision"], (t, body)
            assert all(f in body for f in t["facts"])
        else:
            arguments = t["call"]["arguments"]
            seen[split] |= {str(arguments[k]) for k in ("order_id", "tracking_number", "title", "phone") if k in arguments}
assert not seen["train"] & (seen["test"] | seen["valid"])
assert HELD and not HELD & {text.lower() for patterns in MORE.values() for p in patterns for text in expansions(p)}
for text in ("\x00\x7f é 漢字🧪\u200b\r\n\t  x", "Ω≈ç√∫˜µ≤≥÷", "ทดสอบ العربية हिन्दी", "  \n\n  a"):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text, (text, tokenizer.decode(ids))
print("bare text:", tokenizer.convert_ids_to_tokens(tokenizer("hi").input_ids))
print("all checks passed")
