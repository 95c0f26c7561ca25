"""Registers what only training sees: more wordings for every list of the generator, in both languages.

The lists are cut into splits at their end, so nothing may be appended to them; `lexicon.MORE` names the
additions by a list's first two entries instead. None equals a wording held out for validation or test."""

import results
import variety_en as EN
import variety_zh as ZH
from lexicon import MORE, hold
from tools import CATEGORY_EN, CATEGORY_ZH, REASON_EN, REASON_ZH

try:
    import variety_faq as VF
except ImportError:
    VF = None


def add(items, more):
    key = tuple(items[:2])
    MORE[key] = MORE.get(key, []) + list(more)


def tables(base, more):
    for key, items in base.items():
        add(items, more[key])


def register(dialogue):
    from phrases import PHRASES, SUPPLY
    for task, languages in PHRASES.items():
        for lang, kinds in languages.items():
            tables(kinds, (ZH if lang == "zh" else EN).PHRASES[task])
    for slot, pair in SUPPLY.items():
        for items, more in zip(pair, (ZH.SUPPLY[slot], EN.SUPPLY[slot])):
            hold(items)
            add(items, more)
    for zh, en in ((REASON_ZH, REASON_EN), (CATEGORY_ZH, CATEGORY_EN)):
        for items in [*zh.values(), *en.values()]:
            hold(items)
    tables(REASON_ZH, ZH.REASON), tables(REASON_EN, EN.REASON)
    tables(CATEGORY_ZH, ZH.CATEGORY), tables(CATEGORY_EN, EN.CATEGORY)
    for lang, more in (("zh", ZH), ("en", EN)):
        tables(dialogue.DEPARTMENT[lang], more.DEPARTMENT)
        tables(dialogue.SORTS[lang], more.SORTS)
        tables(dialogue.TYPES[lang], more.TYPES)
    for items, zh, en in ((dialogue.TWO_ORDERS, ZH.TWO_ORDERS, EN.TWO_ORDERS), (dialogue.SECOND, ZH.SECOND, EN.SECOND), (dialogue.CORRECTION, ZH.CORRECTION, EN.CORRECTION)):
        add(items[0], zh), add(items[1], en)
    for key, name in ZH.FOLLOW_FIRST.items():
        if name != "ITEM_PRICE":
            FOLLOW[key] = (ZH.FOLLOW[name], EN.FOLLOW.get(name) or EN.FOLLOW[name + "S"])
    for n in range(3):
        zh = results.ORDINALS[0][n] + ZH.ORDINALS[n]
        en = results.ORDINALS[1][n] + EN.ORDINALS[n]
        for asked, stock, marks in (((ZH.FOLLOW["ITEM_PRICE"], EN.FOLLOW["ITEM_PRICE"]), (ZH.STOCK_OF_ITEM, EN.STOCK_OF_ITEM), ("{z}", "{e}")),):
            FOLLOW[results.ORDINALS[0][n][0] + "多少钱"] = tuple([p.replace(m, o) for p in patterns for o in names] for patterns, m, names in zip(asked, marks, (zh, en)))
            for name, patterns, m, names in zip(("zh", "en"), stock, marks, (zh, en)):
                STOCK[n, name] = [p.replace(m, o) for p in patterns for o in names]
    if VF:
        for topic, (kind, pzh, qzh, _, pen, qen, _) in dialogue.FAQ.items():
            for items, more in zip((pzh, qzh, pen, qen), VF.FAQ[topic]):
                add(items, more)
        tables(dialogue.FRAMES_ZH, VF.FRAMES_ZH), tables(dialogue.FRAMES_EN, VF.FRAMES_EN)
        for name, more in (("OOD_ZH", VF.OOD_ZH), ("OOD_EN", VF.OOD_EN), ("THINGS_ZH", VF.THINGS_ZH), ("THINGS_EN", VF.THINGS_EN)):
            add(getattr(dialogue.S, name), more)
        for lang, social in (("ZH", VF.SOCIAL_ZH), ("EN", VF.SOCIAL_EN)):
            for name, more in social.items():
                add(getattr(dialogue.S, f"{name}_{lang}"), more)


# Follow-up wordings by the first Chinese one of their list, and stock questions by item and language.
FOLLOW, STOCK = {}, {}
