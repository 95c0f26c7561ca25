"""Exactness on fresh conversations of a split without decoding: python validate.py TOKENIZER_DIR STATE [--split valid] [--count 300]

Greedy decoding gives the reference text exactly when the reference token is the largest logit at every
position, so one pass over a whole conversation judges all its turns. Seconds instead of minutes."""

import argparse
import collections

import torch
from tokenizers import Tokenizer

from evaluate import conversations
from model import MiniConfig, MiniGLM
from render import sections
from shards import encode_sections


def spans(tokenizer, conversation):
    """Ids of the conversation, and of every assistant turn the positions that predict it."""
    ids, kinds = encode_sections(tokenizer, sections(conversation["messages"], conversation["tools"]), True)
    assistant, out = tokenizer.token_to_id("<|assistant|>"), []
    for i, token in enumerate(ids):
        if token == assistant and kinds[i] != 2:
            end = i + 1
            while end < len(ids) and kinds[end] == 2:
                end += 1
            out.append((i, end - 1))
    return ids, out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tokenizer")
    parser.add_argument("state")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--show", type=int, default=0, help="print this many wrong turns")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(f"{args.tokenizer}/tokenizer.json")
    saved = torch.load(args.state, weights_only=False)
    model = MiniGLM(MiniConfig(**saved["config"])).eval()
    model.load_state_dict(saved["model"])
    table, shown = {lang: collections.defaultdict(list) for lang in ("zh", "en")}, 0
    for c in conversations(args.split, args.count):
        ids, turns = spans(tokenizer, c)
        assert len(turns) == len(c["turns"])
        with torch.no_grad():
            best = model(torch.tensor([ids]))[0].argmax(-1).tolist()
        for turn, (start, end) in zip(c["turns"], turns):
            wrong = next((i for i in range(start, end) if best[i] != ids[i + 1]), None)
            kind = "call" if turn["decision"] == "call" else turn["kind"].split(":")[0] if turn["decision"] != "ask" else "ask"
            table[c["lang"]][kind].append(wrong is None)
            if wrong is not None and shown < args.show:
                shown += 1
                user = c["messages"][turn["index"] - 1]["content"]
                print(c["lang"], turn["kind"], "|", user[:160], "|", tokenizer.decode(ids[start + 1 : wrong + 1])[-60:], "| want", repr(tokenizer.decode([ids[wrong + 1]])), "got", repr(tokenizer.decode([best[wrong]])))
    print("step", saved["state"]["step"], "tokens", saved["state"]["tokens"])
    for lang, rows in table.items():
        print(lang, " ".join(f"{k} {100 * sum(r) / len(r):.1f}% ({len(r)})" for k, r in sorted(rows.items())))


if __name__ == "__main__":
    main()
