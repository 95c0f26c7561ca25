"""Makes small tokenizers and what the reference libraries do with them.

Run: pip install tokenizers==0.21.4 sentencepiece==0.2.3 && python3 make.py CORPUS.txt
The corpus is any English prose (the fixtures here: a public-domain novel); the odd characters
come from the texts below. Writes *.json and *.model beside this script.
"""

import json
import pathlib
import random
import sys

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

here = pathlib.Path(__file__).parent
corpus = pathlib.Path(sys.argv[1]).read_text()[:200_000]
rng = random.Random(7)

NASTY = [
    "", " ", "  ", "   x", "\n", "\n\n\n", "\t\n \n", " \n ", "a\r\n\r\nb", "hello   world  ",
    "I'll can't WE'VE 'S 'ſ '' don'T", "3 33 333 3333 33333 1234567.89", "x² ½ Ⅷ ١٢٣ १२३",
    "你好，世界！这是一个测试。", "日本語のテキスト　全角スペース", "한국어 문장입니다", "Привет, мир", "ΑΒΓ ΑΒΓ's αβγ",
    "e\u0301\u0323 \u1e69 A\u030a \u212b \ufb01 \u0133", "ẛ̣ q\u0307\u0323", "각 \u1100\u1161\u11a8",
    "HelloWorld helloWORLD HELLOworld aBcD", "Ünïcödé ÀÉÎ ǅungla", "नमस्ते दुनिया", "مرحبا بالعالم",
    "🚀🦙 😶‍🌫️ ✅ 𝔘𝔫𝔦", "<s>text</s> <unk> <pad>", "a<mask> b <mask>c", "x <rl> y<rl>z  <rl>  w",
    "word sword words word. (word) sword-word", "!!!??? ... ---- ====== //\n//\n", "a/b/c\n/d",
    "\u00a0nbsp\u2003em\u3000wide\u200bzero", "tab\tsep\x0bvt\x0cff\x85nel\u2028ls", "\x00\x01\x7f",
    "▁visible▁space ▁▁", "<0x41><0x0A>", "The quick brown fox", " leading", "trailing ",
    "http://example.com/path?q=1&r=2#frag", "def f(x):\n    return x + 1\n\n\n    # end\n",
    "A" * 70, "ab" * 60, "。" * 40, " " * 50 + "x", "\u0301\u0301 \u0301a", "a\u0301\u0301b",
]
ALPHABET = (
    "abcdeABC  \n\r\t'',.!?/-_0123456789éßſΣσ\u0301\u0323\u00a0\u3000中文字あア한𝔘🙂²½٣▁"
)


def texts():
    words = corpus.split(" ")
    out = list(NASTY)
    for _ in range(60):
        out.append("".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 40))))
    for _ in range(20):
        start = rng.randrange(len(words) - 40)
        out.append(" ".join(words[start:start + rng.randint(3, 40)]))
    return out


TEXTS = texts()
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def cased(suffix):
    first = r"[^\r\n\p{L}\p{N}]?"
    return f"{first}{UPPER}*{LOWER}+{suffix}|{first}{UPPER}+{LOWER}*{suffix}"


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def byte_level(use_regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
            "use_regex": use_regex}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def norms(*names):
    return {"type": "Sequence", "normalizers": [{"type": n} for n in names]}


def added(i, content, special=True, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": i, "content": content, **base, "special": special, **flags}


BYTE_VARIANTS = {
    "gpt2": {"pre_tokenizer": byte_level(True)},
    "gpt2-prefix": {"pre_tokenizer": byte_level(True, True)},
    "cl100k": {"pre_tokenizer": sequence(
        split(f"{CONTRACTIONS}|{WORDS}|\\p{{N}}{{1,3}}|{OTHERS}|{TAIL}"), byte_level())},
    "cl100k-removed": {"pre_tokenizer": sequence(
        split(f"{CONTRACTIONS}|{WORDS}|\\p{{N}}{{1,3}}|{OTHERS}|{TAIL}", "Removed", True),
        byte_level())},
    "qwen2": {"normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(
        split(f"{CONTRACTIONS}|{WORDS}|\\p{{N}}|{OTHERS}|{TAIL}"), byte_level())},
    "qwen35": {"normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(
        split(CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
              + TAIL), byte_level())},
    "o200k": {"pre_tokenizer": sequence(
        split(cased(CONTRACTIONS + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL),
        byte_level())},
    "tekken": {"pre_tokenizer": sequence(
        split(cased("") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + TAIL), byte_level())},
    "starcoder": {"pre_tokenizer": sequence(
        {"type": "Digits", "individual_digits": True}, byte_level(True))},
    "digits": {"pre_tokenizer": sequence(
        {"type": "Digits", "individual_digits": False}, byte_level(True))},
    "deepseek-coder": {"pre_tokenizer": sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
        split("[一-龥ࠀ-一가-\ud7ff]+"),
        {"type": "Digits", "individual_digits": True}, byte_level())},
    "punctuation": {"pre_tokenizer": sequence(
        {"type": "Punctuation", "behavior": "Isolated"}, byte_level(True))},
    "literal": {"pre_tokenizer": sequence(
        {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
         "invert": False}, byte_level())},
    "literal-next": {"pre_tokenizer": sequence(
        {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext",
         "invert": False}, byte_level())},
    "whitespace-split": {"pre_tokenizer": sequence({"type": "WhitespaceSplit"}, byte_level())},
    "ignore-merges": {"pre_tokenizer": byte_level(True), "model": {"ignore_merges": True}},
    "nfd": {"normalizer": {"type": "NFD"}, "pre_tokenizer": byte_level(True)},
    "nfkc": {"normalizer": norms("NFKC", "Lowercase"), "pre_tokenizer": byte_level(True)},
    "nfkd": {"normalizer": norms("NFKD", "StripAccents"), "pre_tokenizer": byte_level(True)},
    "collapse": {"normalizer": {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "_"},
                 "pre_tokenizer": byte_level(True)},
}


def replace(old, new):
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


LLAMA_DECODER = {"type": "Sequence", "decoders": [
    replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
META = {"type": "Metaspace", "replacement": "▁"}
CHARACTER_VARIANTS = {
    "llama": {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, replace(" ", "▁")]}, "decoder": LLAMA_DECODER},
    "yi": {"normalizer": {"type": "Sequence", "normalizers": [replace(" ", "▁")]},
           "decoder": LLAMA_DECODER},
    "mistral": {"pre_tokenizer": {**META, "prepend_scheme": "first", "split": False},
                "decoder": LLAMA_DECODER},
    "metaspace": {"pre_tokenizer": {**META, "prepend_scheme": "always", "split": True},
                  "decoder": LLAMA_DECODER},
    "unknown": {"normalizer": replace(" ", "▁"), "decoder": LLAMA_DECODER,
                "model": {"byte_fallback": False}},
    "unknown-apart": {"normalizer": replace(" ", "▁"), "decoder": LLAMA_DECODER,
                      "model": {"byte_fallback": False, "fuse_unk": False}},
    "gemma": {"normalizer": replace(" ", "▁"),
              "pre_tokenizer": {"type": "Split", "pattern": {"String": " "},
                                "behavior": "MergedWithPrevious", "invert": False},
              "decoder": {"type": "Sequence", "decoders": [
                  replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]}},
}
UNIGRAM_VARIANTS = {
    "metaspace": {"pre_tokenizer": {**META, "prepend_scheme": "always", "split": True},
                  "decoder": {**META, "prepend_scheme": "always", "split": True}},
    "words": {"pre_tokenizer": sequence(
        {"type": "WhitespaceSplit"}, {**META, "prepend_scheme": "always", "split": True}),
        "decoder": {**META, "prepend_scheme": "always", "split": True}},
}


def ids(tokenizer, text):
    """None where the reference library itself panics (overlapping stripped spaces)."""
    try:
        return tokenizer.encode(text, add_special_tokens=False).ids
    except BaseException as error:  # PanicException is no Exception
        print("reference fails on", repr(text), error, file=sys.stderr)
        return None


def run(name, base, variants):
    """Writes the base document without what varies, and per variant the ids of every text."""
    out = {"base": base, "texts": TEXTS, "variants": {}}
    for variant, change in variants.items():
        document = json.loads(json.dumps(base))
        for key, value in change.items():
            if key == "model":
                document["model"].update(value)
            else:
                document[key] = value
        tokenizer = Tokenizer.from_str(json.dumps(document))
        out["variants"][variant] = {
            "change": change,
            "ids": [ids(tokenizer, t) for t in TEXTS],
            "added": tokenizer.encode("hello", add_special_tokens=True).ids,
        }
        out["variants"][variant]["decoded"] = [
            None if i is None else tokenizer.decode(i, skip_special_tokens=False)
            for i in out["variants"][variant]["ids"]]
    path = here / f"{name}.json"
    path.write_text(json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n")


def template(first, last):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": first[0], "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": last[0], "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for n, i in (first, last)}}


def byte_level_base():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator([corpus] + NASTY * 3, trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    base = json.loads(tokenizer.to_str())
    base["decoder"] = byte_level()
    count = len(base["model"]["vocab"])
    base["added_tokens"] = [
        added(count, "<s>"), added(count + 1, "</s>"), added(count + 2, "<pad>"),
        added(count + 3, "<mask>", lstrip=True), added(count + 4, "<rl>", rstrip=True),
        added(count + 5, "word", False, single_word=True, normalized=True),
        added(count + 6, "  ", False, normalized=True),
        added(count + 7, "Αβγ", False, normalized=True),
    ]
    base["post_processor"] = template(("<s>", count), ("</s>", count + 1))
    return base


def character_base():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tokenizer.train_from_iterator([corpus] + NASTY[:20], trainers.BpeTrainer(
        vocab_size=900, special_tokens=special, limit_alphabet=90, show_progress=False))
    base = json.loads(tokenizer.to_str())
    base["pre_tokenizer"] = None
    count = len(base["model"]["vocab"])
    base["added_tokens"] = [
        added(0, "<unk>"), added(1, "<s>"), added(2, "</s>"),
        added(count, "<mask>", lstrip=True), added(count + 1, "<rl>", rstrip=True),
    ]
    base["post_processor"] = template(("<s>", 1), ("</s>", 2))
    return base


def unigram_base():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator([corpus], trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>",
        show_progress=False))
    base = json.loads(tokenizer.to_str())
    base["pre_tokenizer"] = None
    base["post_processor"] = template(("<s>", 1), ("</s>", 2))
    return base


def sentence_piece():
    lines = here / "corpus.tmp"
    lines.write_text(corpus + "\n" + "\n".join(t for t in NASTY[:20] if t.strip()))
    rules = here / "rules.tmp"
    rules.write_text("41\t61\n66 69\t46 49\nFB01\t66 69\n3000\t20\n200B\t\nA0\t20\n")
    shared = dict(input=str(lines), vocab_size=420, minloglevel=2, input_format="text",
                  normalization_rule_tsv="")
    identity = {**shared, "normalization_rule_name": "identity"}
    identity.pop("normalization_rule_tsv")
    kinds = {
        "sp-bpe": dict(identity, model_type="bpe", byte_fallback=True, vocab_size=700,
                       remove_extra_whitespaces=False, character_coverage=0.99,
                       user_defined_symbols=["HelloWorld", "▁▁▁"]),
        "sp-bpe-plain": dict(identity, model_type="bpe", byte_fallback=False,
                             add_dummy_prefix=False),
        "sp-unigram": dict(shared, model_type="unigram", normalization_rule_tsv=str(rules)),
        "sp-unigram-bytes": dict(identity, model_type="unigram", byte_fallback=True,
                                 vocab_size=650, character_coverage=0.98),
    }
    for name, options in kinds.items():
        sentencepiece.SentencePieceTrainer.train(model_prefix=str(here / name), **options)
        (here / f"{name}.vocab").unlink()
        processor = sentencepiece.SentencePieceProcessor(model_file=str(here / f"{name}.model"))
        ids = [processor.encode(t) for t in TEXTS]
        document = {"texts": TEXTS, "ids": ids, "decoded": [processor.decode(i) for i in ids]}
        path = here / f"{name}.json"
        path.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    lines.unlink()
    rules.unlink()


run("byte-level", byte_level_base(), BYTE_VARIANTS)
run("characters", character_base(), CHARACTER_VARIANTS)
run("unigram", unigram_base(), UNIGRAM_VARIANTS)
sentence_piece()
