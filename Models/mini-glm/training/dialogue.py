"""Composes conversations: a random walk over segments (small talk, FAQ, tasks, follow-ups)."""

import re
import sys

import lexicon as L
import social as S
import variety
from extra import MORE
from faq import FAQ, FRAMES_EN, FRAMES_ZH
from phrases import ACTIONS, PHRASES, SLOT_NAMES, SUPPLY
from results import CARRIERS, ERRORS, HANDLERS, ORDINALS, say
from tools import CATEGORY_EN, CATEGORY_ZH, REASON_EN, REASON_ZH, TOOLS, schema

ADDRESS = ("recipient", "phone", "city", "street")
REQUIRED = {n: [p[0] for p in t[2] if p[4] and p[0] != "address"] for n, t in TOOLS.items()}
REQUIRED["change_address"] = ["order_id", "recipient", "phone", "place"]
COPYING = ["change_address", "issue_invoice", "check_stock", "search_products", "store_hours"]
ORDER_TASKS = [n for n in TOOLS if "order_id" in REQUIRED[n]]
SORTS = {"zh": {"price_asc": ["从便宜到贵", "价格从低到高", "按价格从低到高排", "便宜的在前"], "price_desc": ["从贵到便宜", "价格从高到低", "按价格从高到低排", "贵的在前"], "sales": ["按销量排", "卖得最好的", "销量高的在前", "按销量排序"]},
         "en": {"price_asc": ["cheapest first", "from cheap to expensive", "lowest price first", "sorted by price, cheapest first"], "price_desc": ["most expensive first", "from expensive to cheap", "highest price first", "sorted by price, most expensive first"], "sales": ["best sellers first", "sorted by sales", "most sold first", "best selling first"]}}
TYPES = {"zh": {"personal": ["个人发票", "个人的发票", "个人抬头发票"], "company": ["公司发票", "企业发票", "单位发票"]}, "en": {"personal": ["a personal invoice", "an invoice for a person", "a private invoice"], "company": ["a company invoice", "a business invoice", "an invoice for a company"]}}
DEPARTMENT = {"zh": {"general": ["人工", "人工客服", "真人", "真人客服", "人工服务"], "after_sales": ["售后", "售后客服", "售后专员", "售后人员", "售后的人"], "logistics": ["物流客服", "物流专员", "管物流的人", "物流部门", "物流的人"], "finance": ["财务", "财务人员", "财务部门", "财务客服", "财务的人"]},
              "en": {"general": ["a human", "a person", "a real person", "an agent", "a human agent"], "after_sales": ["after-sales", "the after-sales team", "someone from after-sales", "an after-sales agent", "after-sales service"], "logistics": ["logistics", "the logistics team", "someone from logistics", "a logistics agent", "the logistics department"], "finance": ["finance", "the finance team", "someone from finance", "a finance agent", "the finance department"]}}
TWO_ORDERS = (["查一下订单{a}和{b}", "我有两个订单{a}和{b}，都查一下", "订单{a}、{b}什么状态", "帮我看看{a}和{b}这两个订单", "{a}还有{b}，查下这两单", "订单号{a}和{b}，分别到哪了"],
              ["check orders {a} and {b}", "I have two orders, {a} and {b}, please check", "what is the status of {a} and {b}", "look up {a} and also {b}", "orders {a} and {b}, where are they", "could you check both {a} and {b}"])
SECOND = (["那第二个呢", "第二个呢", "另一个呢", "还有另外一个订单呢", "那第二单呢", "第二个订单呢"],
          ["and the second one", "what about the second one", "and the other one", "the other order too", "now the second order", "and what about the other"])
CORRECTION = (["不对，订单号是{x}", "说错了，是{x}", "打错了，应该是{x}", "等等，是{x}才对", "我弄错了，单号{x}", "抱歉，是{x}"],
              ["sorry, I meant {x}", "no, it is {x}", "wrong number, it should be {x}", "wait, it's {x}", "my mistake, order {x}", "oops, the number is {x}"])
NAMES_ZH, NAMES_EN = ["小杉", "小云", "小美", "阿福", "乐乐", "豆豆", "小智", "安安", "小助", "圆圆"], ["Sprucy", "Ada", "Max", "Ivy", "Robin", "Toby", "Nova", "Milo", "Penny", "Rex"]


def join(conv, parts):
    if conv.lang == "zh":
        return "、".join(parts[:-1]) + ("和" if len(parts) > 1 else "") + parts[-1]
    return ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]


for table in PHRASES.values():
    for kinds in table.values():
        for items in kinds.values():
            L.hold(items)
for name, items in vars(S).items():
    if isinstance(items, list) and not name.startswith("THINGS"):
        L.hold(items)
for kind, pzh, qzh, _, pen, qen, _ in FAQ.values():
    for questions, phrases, frames in ((qzh, pzh, FRAMES_ZH[kind]), (qen, pen, FRAMES_EN[kind])):
        L.hold(questions)
        for x in phrases:
            L.hold([f.replace("{x}", x) for f in frames])
MORE = {name: [p for p in items if p.lower() not in L.HELD] for name, items in MORE.items()}


variety.register(sys.modules[__name__])


class Conversation:
    def __init__(self, rng, split, lang, drill=None):
        """`drill`, for training: "copy", nothing but tasks with long values to copy; "recall", long
        conversations that come back to an order named many messages before."""
        self.rng, self.split, self.lang, self.drill = rng, split, lang, drill
        self.messages, self.turns, self.tools = [], [], []
        self.order = self.parcel = None
        self.items, self.follow = [], []
        self.name, self.shop = (NAMES_ZH[0], S.SHOP_ZH) if lang == "zh" else (NAMES_EN[0], S.SHOP_EN)

    # -- messages ---------------------------------------------------------------------------------
    def user(self, patterns, slots=None, more=(), social=None):
        """`more`, and the list of extra.MORE named `social`, are wordings that only training sees."""
        options = L.cut(patterns, self.split)
        if self.split == "train":
            options = options + list(more) + (MORE[social] if social else [])
        pattern = self.draw(lambda: self.rng.choice(options))
        self.messages.append({"role": "user", "content": L.utter(self.rng, self.lang, pattern, slots or {}, self.split)})

    def draw(self, make):
        """A pattern; in training expanded, and not a held-out wording (two lists may meet in one)."""
        for _ in range(40 if self.split == "train" else 0):
            pattern = L.expand(self.rng, make())
            if pattern.lower() not in L.HELD and not (self.lang == "zh" and pattern in ("hi", "hello", "hey")):
                return pattern
        return make()

    def answer(self, text, decision="answer", kind="", facts=()):
        self.turns.append({"index": len(self.messages), "decision": decision, "kind": kind, "facts": list(facts)})
        self.messages.append({"role": "assistant", "content": text})

    def call(self, name, args):
        self.turns.append({"index": len(self.messages), "decision": "call", "kind": name, "call": {"name": name, "arguments": args}, "facts": []})
        self.messages.append({"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": name, "arguments": args}}]})

    def pair(self, zh, en):
        return zh if self.lang == "zh" else en

    # -- segments ---------------------------------------------------------------------------------
    def small_talk(self):
        kind = self.rng.choice(["greet"] * 3 + ["who"] * 4 + ["thanks"] * 3 + ["bye", "praise", "angry", "angry"])
        if kind == "angry":
            return self.angry()
        name = f"{kind.upper()}_{self.lang.upper()}"
        self.user(getattr(S, name), social=name)
        text = getattr(S, f"{kind.upper()}_ANSWER_{self.lang.upper()}").format(name=self.name, shop=self.shop)
        self.answer(text, kind=kind, facts=[self.name, self.shop] if kind in ("greet", "who") else [])

    def angry(self):
        self.user(self.pair(S.ANGRY_ZH, S.ANGRY_EN), social="ANGRY_" + self.lang.upper())
        if "file_complaint" not in self.tools:
            return self.answer(self.pair(S.ANGRY_NOTOOL_ZH, S.ANGRY_NOTOOL_EN), kind="complaint_hotline")
        slots = self.slots("file_complaint")
        if self.order:
            self.ask("file_complaint", ["category"])
            return self.finish("file_complaint", slots, {"order_id": self.order}, ["category"])
        self.answer(self.pair(S.ANGRY_ASK_ZH, S.ANGRY_ASK_EN), "ask", "file_complaint", [])
        self.finish("file_complaint", slots, {}, ["order_id", "category"])

    def faq(self):
        topic = self.rng.choice(list(FAQ))
        kind, pzh, qzh, azh, pen, qen, aen = FAQ[topic]
        phrases, questions = self.pair(pzh, pen), self.pair(qzh, qen)
        if self.rng.random() < 0.55:
            frames = (FRAMES_ZH if self.lang == "zh" else FRAMES_EN)[kind]
            self.user([self.draw(lambda: L.pick(self.rng, frames, self.split).replace("{x}", self.rng.choice(phrases + L.more(phrases, self.split))))])
        else:
            self.user(questions)
        self.answer(self.pair(azh, aen), kind="faq:" + topic)

    def decline(self):
        rng, zh = self.rng, self.lang == "zh"
        things, cities = (S.THINGS_ZH, L.CITIES_ZH) if zh else (S.THINGS_EN, L.CITIES_EN)
        slots = {"t": L.pick(rng, things, self.split), "u": L.pick(rng, things, self.split), "c": L.pick(rng, cities, self.split), "d": L.pick(rng, cities, self.split), "n": rng.randint(2, 999), "m": rng.randint(2, 99)}
        if self.split == "train":  # An unknown name must not mean a product or a store's city.
            slots["c"], slots["d"] = (L.city_name(rng, self.lang, self.split) for _ in "cd")
            if rng.random() < 0.5:
                slots["t"] = L.keyword(rng, self.lang, self.split)
        self.user(S.OOD_ZH if zh else S.OOD_EN, slots, social="OOD_" + self.lang.upper())
        self.answer(self.pair(S.DECLINE_ZH, S.DECLINE_EN), "decline", "out_of_domain")

    def follow_up(self):
        phrases, text, facts = self.rng.choice(self.follow)
        index = 0 if self.lang == "zh" else 1
        self.user(phrases[index], more=variety.FOLLOW[phrases[0][0]][index])
        self.answer(text, kind="follow_up", facts=facts)

    # -- tasks ------------------------------------------------------------------------------------
    def slots(self, name):
        """Surface text and argument value of everything a customer may mention for this task."""
        rng, lang, split = self.rng, self.lang, self.split
        make = lambda f: L.fresh(rng, split, f)
        s = {"order_id": make(lambda: L.order_id(rng)), "tracking_number": make(lambda: L.tracking(rng)), "amount": rng.randint(5, 2000), "quantity": rng.randint(1, 20),
             "phone": make(lambda: L.phone(rng, lang)), "city": L.city_name(rng, lang, split, name == "change_address")}
        v = dict(s)
        if name in ("request_refund", "create_return"):
            v["reason"] = rng.choice(list(REASON_ZH))
            s["reason"] = L.expand(rng, L.pick(rng, (REASON_ZH if lang == "zh" else REASON_EN)[v["reason"]], split))
        elif name == "file_complaint":
            v["category"] = rng.choice(list(CATEGORY_ZH))
            s["category"] = L.expand(rng, L.pick(rng, (CATEGORY_ZH if lang == "zh" else CATEGORY_EN)[v["category"]], split))
        elif name == "track_parcel":
            v["carrier"] = rng.choice(list(CARRIERS))
            s["carrier"] = CARRIERS[v["carrier"]][0 if lang == "zh" else 1]
        elif name == "issue_invoice":
            v["type"] = rng.choice(["personal", "company"])
            s["type"] = L.expand(rng, L.either(rng, TYPES[lang][v["type"]], split))
            s["title"] = v["title"] = make(lambda: L.person(rng, lang) if v["type"] == "personal" else L.company(rng, lang))
            s["email"] = v["email"] = make(lambda: L.email(rng))
        elif name == "change_address":
            s["recipient"] = v["recipient"] = make(lambda: L.person(rng, lang))
            s["street"] = v["street"] = make(lambda: L.street(rng, lang))
        elif name == "search_products":
            s["keyword"] = v["keyword"] = L.keyword(rng, lang, split)
            low = rng.choice([rng.randint(1, 50) * 10, rng.randint(5, 999)])
            s["min_price"] = v["min_price"] = low
            s["max_price"] = v["max_price"] = low + rng.choice([rng.randint(1, 90) * 10, rng.randint(5, 999)])
            v["sort"] = rng.choice(["price_asc", "price_desc", "sales"])
            s["sort"] = L.expand(rng, L.either(rng, SORTS[lang][v["sort"]], split))
        elif name == "check_stock":
            s["product"] = v["product"] = make(lambda: L.product(rng, lang, split))
        elif name == "transfer_to_human":
            v["department"] = rng.choice(["general"] * 3 + ["after_sales", "logistics", "finance"])
            s["department"] = L.expand(rng, L.pick(rng, DEPARTMENT[lang][v["department"]], split))
        return s, v

    def ask(self, name, missing):
        names = [SLOT_NAMES[m][0 if self.lang == "zh" else 1] for m in missing]
        listed = join(self, ["your " + n if self.lang == "en" and " " in n and not n.startswith(("the ", "what ")) else n for n in names])
        action = ACTIONS[name][0 if self.lang == "zh" else 1]
        self.answer(self.pair(f"好的，请提供{listed}，我来为您{action}。", f"Sure, please provide {listed} so that I can {action}."), "ask", name, names)

    def finish(self, name, slots, known, missing):
        """The customer supplies what is missing (in one message), then the call and its answer."""
        s, v = slots
        index = 0 if self.lang == "zh" else 1
        parts = [L.pick(self.rng, SUPPLY[m][index], self.split) for m in missing]
        pattern = ("，" if self.lang == "zh" else ", ").join(parts)
        self.user([pattern], s)
        self.run(name, known | self.used(pattern, v))

    def used(self, pattern, values):
        return {k: values[k] for k in re.findall(r"\{(\w+)\}", pattern)}

    def task(self, name=None, want=None):
        rng = self.rng
        if name is None:
            pool = self.tools * 4 + list(TOOLS) if self.tools else list(TOOLS)
            if self.split == "train":  # more of what is hard: long values to copy
                pool = pool + [n for n in COPYING if n in self.tools] * 5
            name = rng.choice(pool)
        table = PHRASES[name][self.lang]
        carry = self.order and "carry" in table and name != "track_parcel" and rng.random() < (0.9 if self.drill == "recall" else 0.75)
        if name == "track_parcel":
            carry = self.parcel and rng.random() < 0.6
        if carry:
            source = table["carry"]
        else:
            often = 4 if self.split == "train" and "reason" in REQUIRED[name] else 2  # asking for it, not inventing it
            weights = [6, often if "partial" in table else 0, 2 if "vague" in table else 0]
            source = table[rng.choices(["open", "partial", "vague"], weights)[0]]
        slots = s, v = self.slots(name)
        pattern = L.expand(rng, self.draw(lambda: L.pick(rng, source, self.split)))
        self.user([pattern], s)
        if name not in self.tools:
            action = ACTIONS[name][0 if self.lang == "zh" else 1]
            return self.answer(self.pair(f"抱歉，我在这里无法{action}。请到“我的订单”页面操作，或拨打客服热线 400-820-6688。", f"Sorry, I cannot {action} here. Please use the My Orders page or call our hotline 400-820-6688."), kind="no_tool", facts=[action])
        known = self.used(pattern, v)
        if name == "track_parcel" and carry:
            known.setdefault("tracking_number", self.parcel)
        if "order_id" in REQUIRED[name] and self.order:
            known.setdefault("order_id", self.order)
        missing = [r for r in REQUIRED[name] if r not in known and not (r == "place" and "street" in known)]
        if missing:
            self.ask(name, missing)
            if rng.random() < 0.12:
                self.faq() if rng.random() < 0.5 else self.decline()
            return self.finish(name, slots, known, missing)
        self.run(name, known)

    def run(self, name, known):
        args = {}
        for key, *_ in TOOLS[name][2]:
            if key == "address":
                args[key] = {k: known[k] for k in ADDRESS}
            elif key in known:
                args[key] = known[key]
        self.call(name, args)
        self.follow = []
        roll, main = self.rng.random(), args.get("order_id") or args.get("tracking_number")
        if roll < 0.05 and (main or roll < 0.015):
            key = "not_found" if main and roll < 0.035 else "timeout"
            what = self.pair("订单 " if "order_id" in args else "快递单号 ", "order " if "order_id" in args else "tracking number ") + str(main)
            self.messages.append({"role": "tool", "content": {"error": key}})
            self.answer(ERRORS[key][0 if self.lang == "zh" else 1].format(x=what), kind="tool_error", facts=[main] if key == "not_found" else [])
            return
        result, text, facts, follow = HANDLERS[name](self, args)
        self.messages.append({"role": "tool", "content": result})
        self.answer(text, kind="result:" + name, facts=facts)
        self.follow = follow
        self.last = name

    def two_orders(self):
        """Two order numbers at once: the first is looked up, "and the second one?" asks for the other."""
        a, b = (L.fresh(self.rng, self.split, lambda: L.order_id(self.rng)) for _ in "ab")
        self.user(self.pair(*TWO_ORDERS), {"a": a, "b": b})
        self.run("query_order", {"order_id": a})
        if self.rng.random() < 0.8:
            self.user(self.pair(*SECOND))
            self.run("query_order", {"order_id": b})

    def correction(self):
        new = L.fresh(self.rng, self.split, lambda: L.order_id(self.rng))
        self.user(self.pair(*CORRECTION), {"x": new})
        self.run("query_order", {"order_id": new})

    def stock_of_item(self):
        n = self.rng.randrange(len(self.items))
        zh, en = ORDINALS[0][n], ORDINALS[1][n]
        self.user(self.pair([f"{z}有货吗" for z in zh] + [f"{zh[0]}还有库存吗", f"那{zh[1]}有现货吗", f"{zh[0]}有没有货"], [f"is {e} in stock" for e in en] + [f"do you have {en[0]} in stock", f"and is {en[0]} available", f"check the stock of {en[0]}"]), more=variety.STOCK[n, self.lang])
        self.run("check_stock", {"product": self.items[n]})

    # -- whole conversations ----------------------------------------------------------------------
    def build(self, like=None, segments=None):
        """`like`: a conversation whose tools, system message and identity this one shares."""
        rng = self.rng
        if like is not None:
            self.tools, self.name, self.shop, self.drill = like.tools, like.name, like.shop, like.drill
            self.messages = [m for m in like.messages if m["role"] == "system"]
        else:
            self.set_scene()
        if segments is None:
            segments = rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 6]) if self.drill != "recall" else rng.choice([5, 6, 7, 8])
        self.last = None
        for _ in range(segments):
            self.segment()
            if sum(m["role"] == "user" for m in self.messages) >= 8:
                break
        return self

    def set_scene(self):
        rng, train = self.rng, self.split == "train"
        if rng.random() >= (0.16 if train else 0.22):
            count = rng.choice([1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 6])
            self.tools = rng.sample(list(TOOLS), count)
        if self.drill == "recall":
            self.tools = rng.sample(ORDER_TASKS, rng.choice([2, 2, 3])) + rng.sample(["track_parcel", "search_products", "query_points", "store_hours", "check_stock"], rng.choice([0, 0, 1]))
            rng.shuffle(self.tools)
        if self.drill == "copy":
            self.tools = rng.sample(COPYING + ["query_order"], rng.choice([1, 2, 2, 3]))
        if rng.random() < (0.35 if train else 0.2):
            self.name = rng.choice(self.pair(NAMES_ZH, NAMES_EN)) if rng.random() < 0.5 else ("小" + rng.choice(L.GIVEN) if self.lang == "zh" else L.word(rng).capitalize())
            self.shop = self.pair("".join(rng.choice(L.BRANDS_ZH) for _ in range(2)) + rng.choice(["商城", "优选", "生活馆", "超市"]), L.word(rng).capitalize() + rng.choice([" Shop", " Store", " Market"]))
            system = rng.choice(self.pair(["你是{s}的智能客服{n}。", "你是{n}，{s}的客服助手，请礼貌、简洁地回答。", "你的名字是{n}，你在{s}做客服。"], ["You are {n}, the customer service assistant of {s}.", "Your name is {n} and you work for {s}. Be polite and brief.", "You are the assistant of {s}. Your name is {n}."])).format(s=self.shop, n=self.name)
            self.messages.append({"role": "system", "content": system})

    def segment(self):
        rng = self.rng
        if self.follow and rng.random() < 0.5:
            self.follow_up()
            if rng.random() < 0.7:
                return
        if self.last == "query_order" and rng.random() < (0.12 if self.split == "train" else 0.06):
            return self.correction()
        if self.items and "check_stock" in self.tools and rng.random() < 0.6:
            return self.stock_of_item()
        if self.drill == "recall":
            if self.order and rng.random() < 0.6:
                others = [n for n in TOOLS if n not in ORDER_TASKS]
                return rng.choice([self.faq, self.faq, self.decline, self.decline, self.small_talk, lambda: self.task(rng.choice(others))])()
            return self.task(rng.choice([n for n in self.tools if n in ORDER_TASKS]))
        if self.drill == "copy":
            return self.task(rng.choice(self.tools))
        roll = rng.random()
        if self.tools:
            if roll < 0.70:
                if "query_order" in self.tools and rng.random() < (0.15 if self.split == "train" else 0.08):
                    return self.two_orders()
                return self.task()
            weights = [8, 12, 10]
        else:
            weights = [22, 40, 22]
            if roll < 0.16:
                return self.task()
        rng.choices([self.small_talk, self.faq, self.decline], weights)[0]()

    def record(self):
        """JSON-ready form with rendered tool results."""
        import json
        messages = [dict(m, content=json.dumps(m["content"], ensure_ascii=False)) if isinstance(m["content"], dict) else m for m in self.messages]
        if not hasattr(self, "schemas"):
            describe = self.rng.random() < 0.85
            lang = self.lang if self.rng.random() < 0.8 else ("en" if self.lang == "zh" else "zh")
            self.schemas = [schema(t, lang, describe) for t in self.tools]
        return {"lang": self.lang, "messages": messages, "tools": self.schemas, "turns": self.turns}
