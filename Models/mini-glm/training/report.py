"""Joins the reports of several evaluations (one per language, say) and prints the card's table.
python report.py OUT IN..."""

import json
import sys

ROWS = [("decision", "right decision", 97), ("name", "tool name", 98), ("arguments", "arguments exactly equal", 95), ("facts", "facts of the result in the answer", 95),
        ("declined", "out-of-domain declined", 95), ("valid", "calls valid for their schema", 99.5), ("asked", "asks for exactly what is missing", None), ("follow_up", "follow-up from context", None),
        ("faq", "FAQ: the right answer, word for word", None), ("no_tool", "tool not offered: the right refusal, word for word", None), ("social", "small talk, word for word", None), ("stop", "right stop token", None)]
out, parts = sys.argv[1], [json.load(open(p)) for p in sys.argv[2:]]
merged = {"conversations": sum(p["conversations"] for p in parts), "turns": sum(p["turns"] for p in parts), "table": {}, "failures": {}}
for p in parts:
    merged["table"] |= p["table"]
    for key, items in p["failures"].items():
        merged["failures"].setdefault(key, []).extend(items)
with open(out, "w") as f:
    json.dump(merged, f, ensure_ascii=False, indent=1)
    f.write("\n")
print("| | goal | zh | en |\n|---|---|---|---|")
for key, label, goal in ROWS:
    cells = []
    for lang in ("zh", "en"):
        share, n = merged["table"][lang].get(key, (None, 0))
        cells.append("-" if share is None else f"{share:.1f} % ({round(share * n / 100)}/{n})")
    print(f"| {label} | {'≥ ' + str(goal) + ' %' if goal else ''} | {cells[0]} | {cells[1]} |")
