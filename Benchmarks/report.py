"""Turns the JSON of compare.py into a Markdown table and a plot (SVG). Standard library only.

    python3 Benchmarks/report.py results.json         # results.md and results.svg beside it
    python3 Benchmarks/report.py a.json b.json        # all models in one: all.json, .md, .svg
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

OURS = "autoglm"
COLORS = {
    OURS: "#1f5fbf",
    "llama.cpp": "#d9822b",
    "openvino-int4": "#6b4fa0",
    "openvino-int8": "#8f78c0",
    "torch-int8": "#c23b3b",
    "torch-bf16": "#c23b3b",
}
Json = dict[str, Any]


def median(values: Iterable[float]) -> float | None:
    values = list(values)
    return statistics.median(values) if values else None


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def amount(value: float, unit: str) -> str:
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
    return f"{value:.2f} s" if unit == "s" else number(value)


def programs(model: Json) -> list[str]:
    """Who took part, ours first."""
    names = [name for case in model["cases"] for name in case["results"]]
    return sorted(dict.fromkeys(names), key=lambda name: (name != OURS, names.index(name)))


def ratio(case: Json, ours: float, peer: float) -> str:
    """How much better ours is: above 1 in any unit."""
    return f"{ours / peer:.2f} ×" if case["unit"] == "t/s" else f"{peer / ours:.2f} ×"


def cells(case: Json, names: list[str]) -> list[str]:
    medians = {name: median(case["results"].get(name, [])) for name in names}
    limit, unit, ours = case["limit"], case["unit"], medians[OURS]
    row = [case["name"]]
    for name in names:
        value = medians[name]
        if value is None:
            row += ["–"] if name == OURS else ["–", ""]
            continue
        share = f" ({100 * value / limit:.0f} %)" if limit else ""
        row.append(amount(value, unit) + share)
        if name != OURS:
            row.append(ratio(case, ours, value) if ours else "")
    bound = f", {case['bound_by']}" if case["bound_by"] else ""
    return [*row, amount(limit, unit) + bound if limit else ""]


def spread(model: Json, key: str) -> str:
    values = [probe[key] / 1e9 for probe in model["probes"]]
    if not values or max(values) == 0:
        return "not measured"
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def model_section(model: Json) -> list[str]:
    names = programs(model)
    head = ["", OURS]
    for name in names:
        if name != OURS:
            head += [name, "ours / it"]
    head.append("limit")
    lines = [
        f"## {model['model']}",
        "",
        f"Threads: {model['threads']}, rounds: {len(model['probes']) // 2}. Probed around each: "
        f"memory {spread(model, 'bandwidth')} GB/s, 8-bit {spread(model, 'int8')} Gop/s, "
        f"f32 {spread(model, 'f32')} Gop/s.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(cells(case, names)) + " |" for case in model["cases"]),
        "",
    ]
    for name, program in model["programs"].items():
        details = f": {program['details']}" if program["details"] else ""
        lines.append(f"- {name} {program['version']}{details}")
    lines += [f"- Left out: {reason}" for reason in model["left_out"]]
    return [*lines, ""]


def markdown(report: Json) -> str:
    lines = [
        "# Comparison",
        "",
        f"{report['machine']['processor']}, {report['machine']['cores']} cores, {report['date']}. "
        "Medians of rounds in which the programs took turns; tokens per second of all sequences "
        "together. In brackets: share of the limit, which is what memory bandwidth or arithmetic "
        "allow for our bytes and operations as probed in the same minutes. A model that fits into "
        "a cache may exceed the former.",
        "",
    ]
    for model in report["models"]:
        lines += model_section(model)
    return "\n".join(lines)


# The plot: one group of bars per case, as shares of the case's limit.
LEFT, RIGHT, WIDTH = 170, 120, 900
BAR, GAP, TITLE, BOTTOM = 15, 12, 44, 34


def plotted(model: Json) -> list[Json]:
    return [case for case in model["cases"] if case["limit"] and case["unit"] == "t/s"]


def widest_share(report: Json) -> float:
    shares = [
        value / case["limit"]
        for model in report["models"]
        for case in plotted(model)
        for values in case["results"].values()
        for value in values
    ]
    return max([1.1, *(share * 1.02 for share in shares)])


def text(x: float, y: float, content: str, **attributes: str) -> str:
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def bars(case: Json, names: list[str], top: float, scale: float) -> list[str]:
    """The bars of one case: median as length, a line from the lowest to the highest round."""
    parts = []
    present = [name for name in names if case["results"].get(name)]
    middle = top + BAR * len(present) / 2
    parts.append(text(LEFT - 10, middle + 4, case["name"], text_anchor="end"))
    for index, name in enumerate(present):
        values = [value / case["limit"] * scale for value in case["results"][name]]
        length, y = statistics.median(values), top + index * BAR
        color = COLORS.get(name, "#666")
        parts.append(
            f'<rect x="{LEFT}" y="{y:.1f}" width="{length:.1f}" height="{BAR - 2}" '
            f'fill="{color}"/>'
        )
        center = y + BAR / 2 - 1
        if len(values) > 1:
            style = 'stroke="#000" stroke-opacity="0.5"'
            parts.append(line(LEFT + min(values), center, LEFT + max(values), center, style))
        value = amount(statistics.median(case["results"][name]), "t/s")
        parts.append(text(LEFT + max(values) + 5, center + 4, value))
    return parts


def axis(top: float, bottom: float, scale: float, widest: float) -> list[str]:
    parts = []
    for percent in range(0, int(100 * widest) + 1, 25):
        x = LEFT + percent / 100 * scale
        style = 'stroke="#b00020" stroke-width="2"' if percent == 100 else 'stroke="#ddd"'
        parts.append(line(x, top, x, bottom, style))
        label = "limit" if percent == 100 else f"{percent} %"
        parts.append(text(x, bottom + 14, label, text_anchor="middle", fill="#555"))
    return parts


def legend(names: list[str], y: float) -> list[str]:
    parts, x = [], float(LEFT)
    for name in names:
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" '
            f'fill="{COLORS.get(name, "#666")}"/>'
        )
        parts.append(text(x + 14, y, name))
        x += 30 + 7 * len(name)
    return parts


def svg(report: Json) -> str:
    widest = widest_share(report)
    scale = (WIDTH - LEFT - RIGHT) / widest
    parts: list[str] = []
    y = 10.0
    for model in report["models"]:
        names, cases = programs(model), plotted(model)
        if not cases:
            continue
        title = f"{model['model']}, threads: {model['threads']}; tokens/s and share of the limit"
        parts.append(text(LEFT, y + 14, title, font_weight="bold"))
        parts += legend(names, y + 34)
        top = y + TITLE
        counts = [sum(1 for name in names if case["results"].get(name)) for case in cases]
        bottom = top + sum(count * BAR + GAP for count in counts)
        parts += axis(top, bottom, scale, widest)
        position = top + GAP / 2
        for case, count in zip(cases, counts):
            parts += bars(case, names, position, scale)
            position += count * BAR + GAP
        y = bottom + BOTTOM
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" '
            f'viewBox="0 0 {WIDTH} {y:.0f}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{y:.0f}" fill="#fff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def write(report: Json, path: Path) -> None:
    """Writes the report as JSON, Markdown and SVG; `path` is the JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    path.with_suffix(".md").write_text(markdown(report))
    path.with_suffix(".svg").write_text(svg(report))


def main() -> None:
    parser = argparse.ArgumentParser(description="Table and plot of a comparison.")
    parser.add_argument("results", type=Path, nargs="+", help="JSON files; models are joined")
    options = parser.parse_args()
    reports = [json.loads(path.read_text()) for path in options.results]
    joined = {**reports[0], "models": [model for report in reports for model in report["models"]]}
    first = options.results[0]
    write(joined, first if len(reports) == 1 else first.with_name("all.json"))


if __name__ == "__main__":
    main()
