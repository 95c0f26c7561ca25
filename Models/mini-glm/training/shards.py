"""Writes training shards: python shards.py TOKENIZER_DIR OUT_DIR FIRST LAST

A row holds one prefix (tools and system message) and several independent conversations behind it
("branches"): the trainer's mask lets a branch see the prefix and itself only, and its positions go on
from the prefix. So a long tool list is computed once for several conversations, and nothing changes
for the model. Arrays: ids; kinds (2 assistant, 1 user or tool result, 0 system); branch (0 prefix)."""

import os
import random
import sys

import numpy as np
from tokenizers import Tokenizer

import lexicon
from dialogue import Conversation
from render import sections

SHORT, LONG, ROWS = 640, 1280, 480
PAD_BRANCH = 255


def encode_sections(tokenizer, parts, closed):
    """Ids and loss classes. The token that opens the next section ends an assistant's turn, so it
    carries that turn's class; specials never come from text."""
    bodies = tokenizer.encode_batch([t for _, t in parts], add_special_tokens=False)
    ids, kinds, previous = [], [], 0
    for (token, _), body in zip(parts, bodies):
        kind = 2 if token == "<|assistant|>" else 0 if token in ("<|system|>", "[gMASK]", "<sop>") else 1
        ids += [tokenizer.token_to_id(token)] + body.ids
        kinds += [2 if previous == 2 else 0 if kind == 2 else kind] + [kind] * len(body.ids)
        previous = kind
    if closed:
        ids.append(tokenizer.token_to_id("<|user|>"))
        kinds.append(2)
    return ids, kinds


def row(tokenizer, rng, lang):
    drill = rng.choices([None, "copy", "recall"], [56, 22, 22])[0]
    first = Conversation(rng, "train", lang, drill).build(segments=0)
    scene = first.record()
    ids, kinds = encode_sections(tokenizer, sections(scene["messages"], scene["tools"]), False)
    start, branch = len(ids), [0] * len(ids)
    length = SHORT if start < 420 and drill != "recall" else LONG
    number, misses = 1, 0
    while misses < 3 and length - len(ids) > 30:
        c = Conversation(rng, "train", lang).build(first, rng.choice([None, 1, 1, 2]) if drill != "recall" or misses else None).record()
        parts = sections(c["messages"], [])[2:]
        parts = parts[sum(m["role"] == "system" for m in c["messages"]) :]
        a, b = encode_sections(tokenizer, parts, True)
        if c["turns"][-1]["kind"].startswith(("faq:", "no_tool", "out_of", "who")) and rng.random() < 0.7:
            # Stock answers are soon known by heart; their first tokens show which one was chosen.
            at = len(a) - 1 - a[::-1].index(tokenizer.token_to_id("<|assistant|>"))
            a, b = a[: at + 12], b[: at + 12]
        if len(ids) + len(a) > length:
            misses += 1
            continue
        ids, kinds, branch = ids + a, kinds + b, branch + [number] * len(a)
        number += 1
    fill = length - len(ids)
    return ids + [0] * fill, kinds + [0] * fill, branch + [PAD_BRANCH] * fill


def main(tokenizer_dir, out, first, last):
    tokenizer = Tokenizer.from_file(f"{tokenizer_dir}/tokenizer.json")
    lexicon.PIECES[:] = sorted({p for p in (t.removeprefix("Ġ") for t in tokenizer.get_vocab()) if p.isascii() and p.isalpha()})
    for number in range(first, last):
        rng = random.Random(1_000_003 * number + 17)
        arrays = {}
        for i in range(ROWS):
            r = row(tokenizer, rng, ("zh", "en")[i % 2])
            arrays.setdefault(len(r[0]), []).append(r)
        payload = {f"{name}{size}": np.array([r[k] for r in rows], dtype)
                   for size, rows in arrays.items() for k, (name, dtype) in enumerate((("ids", np.uint16), ("kinds", np.uint8), ("branch", np.uint8)))}
        path = f"{out}/{number:05d}.npz"
        np.savez(path + ".tmp.npz", **payload)
        os.replace(path + ".tmp.npz", path)
        print(number, {k: v.shape for k, v in payload.items() if k.startswith("ids")}, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
