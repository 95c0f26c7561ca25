"""Writes Sources/Text/Tokenizer/Unicode/UnicodeData.swift.

Character classes come from the `regex` package (newer Unicode than CPython's own tables, and
the classes the reference tokenizers' regex engines know); decompositions, combining classes
and compositions from `unicodedata`. Run: python3 Scripts/make-unicode-tables.py
"""

import pathlib
import textwrap
import unicodedata

import regex

# Past CJK extension H; extension J above it is newer than the regex engines of the references,
# private use and tags lie higher still.
LIMIT = 0x323B0
CLASSES = [
    ("w", r"\p{White_Space}"), ("u", r"[\p{Lu}\p{Lt}]"), ("l", r"\p{Ll}"),
    ("x", r"[\p{Lm}\p{Lo}]"), ("m", r"\p{M}"), ("n", r"\p{N}"), ("p", r"\p{P}"),
    ("s", r"\p{S}"),
]
scalars = [c for c in range(LIMIT) if not 0xD800 <= c < 0xE000]


def classes():
    kind = ["o"] * LIMIT
    for letter, pattern in CLASSES:
        matcher = regex.compile(pattern)
        for c in scalars:
            if kind[c] == "o" and matcher.match(chr(c)):
                kind[c] = letter
    out, start = [], 0
    for c in range(1, LIMIT + 1):
        if c == LIMIT or kind[c] != kind[start]:
            count = c - start
            out.append((str(count) if count > 1 else "") + kind[start])
            start = c
    return "".join(out)


def hexes(values):
    return ",".join(f"{v:x}" for v in values)


def decompositions(form):
    out, last = [], 0
    for c in scalars:
        if 0xAC00 <= c < 0xD7A4:
            continue
        full = unicodedata.normalize(form, chr(c))
        if full == chr(c):
            continue
        if form == "NFKD" and full == unicodedata.normalize("NFD", chr(c)):
            continue
        out.append(f"{c - last:x}:" + hexes(map(ord, full)))
        last = c
    return " ".join(out)


def combining():
    out, last, c = [], 0, 0
    while c < LIMIT:
        k = unicodedata.combining(chr(c))
        if k == 0:
            c += 1
            continue
        start = c
        while c < LIMIT and unicodedata.combining(chr(c)) == k:
            c += 1
        out.append(f"{start - last:x}:{c - start:x},{k:x}")
        last = start
    return " ".join(out)


def compositions():
    out, last = [], 0
    for c in scalars:
        if 0xAC00 <= c < 0xD7A4:
            continue
        d = unicodedata.decomposition(chr(c))
        if not d or d.startswith("<") or " " not in d:
            continue
        pair = [int(v, 16) for v in d.split()]
        if unicodedata.normalize("NFC", chr(c)) != chr(c):
            continue
        out.append(f"{c - last:x}:" + hexes(pair))
        last = c
    return " ".join(out)


def quick():
    """Code points at which a text may fail to be in NFC (quick check No or Maybe)."""
    seconds = {
        int(unicodedata.decomposition(chr(c)).split()[1], 16)
        for c in scalars
        if " " in unicodedata.decomposition(chr(c))
        and not unicodedata.decomposition(chr(c)).startswith("<")
    }
    seconds |= set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    bad = [
        c for c in scalars
        if c in seconds or unicodedata.combining(chr(c))
        or unicodedata.normalize("NFC", chr(c)) != chr(c)
    ]
    out, last, i = [], 0, 0
    while i < len(bad):
        j = i
        while j + 1 < len(bad) and bad[j + 1] == bad[j] + 1:
            j += 1
        out.append(f"{bad[i] - last:x}:{j - i + 1:x}")
        last = bad[i]
        i = j + 1
    return " ".join(out)


def literal(name, doc, text):
    lines = textwrap.wrap(text, 90, break_long_words=True, break_on_hyphens=False)
    # Wrapping eats the space at a line's end; put it back where the table uses spaces.
    joiner = " \\\n        " if " " in text else "\\\n        "
    return f'    /// {doc}\n    static let {name} = """\n        {joiner.join(lines)}\n        """\n'


tables = [
    literal("classes", "Run lengths and class letters from U+0000 on.", classes()),
    literal("canonical", "Gap from the entry before, then the full canonical decomposition.",
            decompositions("NFD")),
    literal("compatibility", "The same for decompositions that only NFKD makes.",
            decompositions("NFKD")),
    literal("combining", "Gap, then run length and canonical combining class.", combining()),
    literal("compositions", "Gap, then the pair of scalars that compose to the entry.",
            compositions()),
    literal("nfcDoubtful", "Gap, then run length of scalars that may break NFC.", quick()),
]
target = pathlib.Path(__file__).parent.parent / "Sources/Text/Tokenizer/Unicode/UnicodeData.swift"
target.write_text(
    "// Made by Scripts/make-unicode-tables.py; do not edit. "
    f"Classes: regex {regex.__version__};\n"
    f"// normalization: Unicode {unicodedata.unidata_version}.\n\n"
    "/// The tables as text: a string literal costs no compile time and little space.\n"
    f"enum UnicodeData {{\n    static let limit = 0x{LIMIT:X}\n\n" + "\n".join(tables) + "}\n"
)
