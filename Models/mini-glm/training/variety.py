"""Registers what only training sees: more wordings for every list of the generator, in both languages.

The lists are cut into splits at their end, so nothing may be appended to them; `lexicon.MORE` names the
additions by a list's first two entries instead. None equals a wording held out for validation or test."""

import results
import variety_en as EN
import variety_faq
import variety_zh as ZH
from lexicon import HELD, MORE, expansions, hold
from phrases import PHRASES, SUPPLY
from tools import CATEGORY_EN, CATEGORY_ZH, REASON_EN, REASON_ZH

# Follow-up wordings by the first Chinese one of their list, and stock questions by item and language.
FOLLOW, STOCK = {}, {}


def add(items, more):
    key = tuple(items[:2])
    MORE[key] = MORE.get(key, []) + list(more)


def tables(base, more):
    for key, items in base.items():
        add(items, more[key])


def register(dialogue):
    tasks(dialogue)
    references()
    answers_without_tools(dialogue)
    withhold()


def withhold():
    """A wording held out of one list must not come back by another."""
    for key, patterns in MORE.items():
        kept = []
        for pattern in patterns:
            texts = expansions(pattern)
            free = [t for t in texts if t.lower() not in HELD]
            kept += [pattern] if len(free) == len(texts) else free
        MORE[key] = kept


def tasks(dialogue):
    for task, languages in PHRASES.items():
        for lang, kinds in languages.items():
            tables(kinds, (ZH if lang == "zh" else EN).PHRASES[task])
    for slot, pair in SUPPLY.items():
        for items, more in zip(pair, (ZH.SUPPLY[slot], EN.SUPPLY[slot])):
            hold(items)
            add(items, more)
    for zh, en, name in ((REASON_ZH, REASON_EN, "REASON"), (CATEGORY_ZH, CATEGORY_EN, "CATEGORY")):
        for table, more in ((zh, ZH), (en, EN)):
            for items in table.values():
                hold(items)
            tables(table, getattr(more, name))
    for lang, more in (("zh", ZH), ("en", EN)):
        for name in ("DEPARTMENT", "SORTS", "TYPES"):
            tables(getattr(dialogue, name)[lang], getattr(more, name))
    for name in ("TWO_ORDERS", "SECOND", "CORRECTION"):
        zh, en = getattr(dialogue, name)
        add(zh, getattr(ZH, name))
        add(en, getattr(EN, name))


def references():
    """Follow-ups, and questions about the first, second and third item of a list."""
    for first, name in ZH.FOLLOW_FIRST.items():
        if name != "ITEM_PRICE":
            FOLLOW[first] = (ZH.FOLLOW[name], EN.FOLLOW.get(name) or EN.FOLLOW[name + "S"])
    for n in range(3):
        zh = results.ORDINALS[0][n] + ZH.ORDINALS[n]
        en = results.ORDINALS[1][n] + EN.ORDINALS[n]
        FOLLOW[zh[0] + "多少钱"] = (filled(ZH.FOLLOW["ITEM_PRICE"], "{z}", zh), filled(EN.FOLLOW["ITEM_PRICE"], "{e}", en))
        STOCK[n, "zh"] = filled(ZH.STOCK_OF_ITEM, "{z}", zh)
        STOCK[n, "en"] = filled(EN.STOCK_OF_ITEM, "{e}", en)


def filled(patterns, mark, names):
    return [p.replace(mark, name) for p in patterns for name in names]


def answers_without_tools(dialogue):
    for topic, (_, pzh, qzh, _, pen, qen, _) in dialogue.FAQ.items():
        for items, more in zip((pzh, qzh, pen, qen), variety_faq.FAQ[topic]):
            add(items, more)
    for name in ("FRAMES_ZH", "FRAMES_EN"):
        tables(getattr(dialogue, name), getattr(variety_faq, name))
    for name in ("OOD_ZH", "OOD_EN", "THINGS_ZH", "THINGS_EN"):
        add(getattr(dialogue.S, name), getattr(variety_faq, name))
    for lang in ("ZH", "EN"):
        for name, more in getattr(variety_faq, "SOCIAL_" + lang).items():
            add(getattr(dialogue.S, f"{name}_{lang}"), more)
