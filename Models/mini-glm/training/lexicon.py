"""Entities and the small grammar. Every drawn entity belongs to one split by its CRC (8:1:1),
every phrase list is cut at its end (1/6 test, 1/6 validation), so test wording and values are unseen."""

import re
import zlib

from extra import drop, paraphrase

SPLITS = ("train", "valid", "test")


def split_of(text):
    bucket = zlib.crc32(text.encode()) % 10
    return "train" if bucket < 8 else "valid" if bucket == 8 else "test"


def fresh(rng, split, make):
    """Draws until the value falls into this split's CRC bucket."""
    while True:
        value = make()
        if split_of(str(value)) == split:
            return value


# Wordings that only training sees, by the first two entries of the list they belong to (variety.py).
MORE = {}


def more(items, split):
    return MORE.get(tuple(items[:2]), []) if split == "train" else []


def cut(items, split):
    n = len(items)
    k = max(1, n // 6) if n >= 4 else 0
    if k == 0:
        return items + more(items, split)
    if split == "train":
        return items[: n - 2 * k] + more(items, split)
    return {"valid": items[n - 2 * k : n - k], "test": items[n - k :]}[split]


def pick(rng, items, split=None):
    return rng.choice(cut(items, split) if split else items)


def either(rng, items, split):
    """Of lists that no split divides."""
    return rng.choice(items + more(items, split))


ALTERNATION = re.compile(r"\(([^()]*)\)")


def expand(rng, pattern):
    """Replaces every innermost (a|b|) by one of its branches."""
    while True:
        match = ALTERNATION.search(pattern)
        if not match:
            return pattern
        branch = rng.choice(match.group(1).split("|"))
        pattern = pattern[: match.start()] + branch + pattern[match.end() :]


def expansions(pattern):
    match = ALTERNATION.search(pattern)
    if not match:
        return [pattern]
    return [e for branch in match.group(1).split("|") for e in expansions(pattern[: match.start()] + branch + pattern[match.end() :])]


# Every expansion of a validation or test phrasing, lower case; the paraphraser must not arrive at one.
HELD = set()


def hold(items):
    for split in ("valid", "test"):
        if len(items) >= 4:
            HELD.update(e.lower() for p in cut(items, split) for e in expansions(p))


SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰红梅建国志文斌婷宇浩轩子涵雨欣怡佳晨博思远嘉豪梓萱诗琪俊熙一诺天佑若曦心悦雅琴春生海波晓东小龙家辉云飞世昌永康清源鹏程凯旋立新宏图锦绣欢颜舒望书言景行安然知夏慕白星河初阳时雨沐辰语桐可馨亦凡泽洋乐天瑞雪振华启明卓然昊焱淑慧冬青柏松"
CITIES_ZH = "北京 上海 广州 深圳 杭州 南京 苏州 成都 重庆 武汉 西安 天津 长沙 青岛 宁波 无锡 厦门 合肥 郑州 济南 福州 昆明 大连 沈阳 哈尔滨 长春 石家庄 南昌 贵阳 南宁 太原 兰州 海口 银川 西宁 温州 佛山 东莞 常州 嘉兴 绍兴 徐州 烟台 洛阳 珠海 中山 惠州 泉州 金华 台州 扬州 镇江 潍坊 临沂 桂林 三亚 绵阳 宜昌 芜湖 威海 南通 唐山 保定 襄阳 赣州 湖州 柳州 邯郸 九江 丽江 大理 拉萨 秦皇岛 连云港".split()
CITIES_EN = "Beijing Shanghai Guangzhou Shenzhen Hangzhou Nanjing Suzhou Chengdu Chongqing Wuhan London Manchester Leeds Bristol Glasgow Dublin Paris Lyon Berlin Hamburg Munich Cologne Vienna Zurich Geneva Rome Milan Turin Madrid Valencia Lisbon Porto Oslo Bergen Stockholm Helsinki Copenhagen Warsaw Krakow Prague Budapest Athens Toronto Montreal Vancouver Boston Chicago Denver Seattle Portland Austin Dallas Houston Atlanta Miami Phoenix Sydney Perth Brisbane Auckland Singapore Bangkok Osaka Kyoto Tokyo Seoul Busan Delhi Mumbai Cairo Nairobi Lima Bogota Santiago Havana".split()
STREETS_ZH = "人民 中山 解放 建设 和平 文化 新华 长江 黄河 胜利 光明 学院 科技 创新 滨江 湖滨 花园 朝阳 东风 迎宾 环城 延安 北京 南京 青年 友谊 友爱 幸福 康乐 锦绣 翠竹 梧桐 银杏 桃源 松林 石桥 龙泉 凤凰 望海 清河".split()
STREETS_EN = "Oak Maple Cedar Pine Elm Lake Hill Park River Mill Church King Queen Station Garden Green Bridge Market Spring Forest Meadow Harbor Sunset Willow Chestnut Orchard Canal Abbey Castle Victoria".split()
FIRST_EN = "Alice Brian Clara David Emma Frank Grace Henry Irene Jack Karen Leo Mia Noah Olivia Peter Quinn Rachel Sam Tina Victor Wendy Adam Bella Carl Diana Ethan Fiona George Hannah Isaac Julia Kevin Laura Martin Nina Oscar Paula Robert Sofia Thomas Ursula Walter Zoe Liam Ella Lucas Ruby Owen Ivy".split()
BRANDS_ZH = "云 帆 星 海 山 林 风 川 原 野 清 禾 木 石 青 白 蓝 墨 松 竹 梅 安 乐 悦 佳 优 尚 雅 致 简 初 晨 暖 微 光 极 飞 鹿 鲸 鸟 象 熊 鱼 小 大 新 时 橙 柚 麦 米 谷 泉".split()
ADJ_ZH = "轻便 防水 便携 无线 智能 折叠 儿童 加厚 静音 迷你 大容量 复古 夏季 冬季 户外 商务 男士 女士 学生 不锈钢 纯棉 透气 可调节 电动 高清 降噪 防滑 家用 车载 办公".split()
NOUN_ZH = "蓝牙耳机 双肩包 保温杯 运动鞋 机械键盘 鼠标 台灯 电饭煲 电风扇 吹风机 剃须刀 牙刷 毛巾 床单 枕头 被子 雨伞 帐篷 睡袋 登山杖 跑步机 瑜伽垫 手表 手机壳 充电宝 数据线 音箱 路由器 显示器 平板电脑 行李箱 钱包 皮带 衬衫 外套 羽绒服 牛仔裤 连衣裙 短裤 袜子 帽子 围巾 手套 太阳镜 茶壶 咖啡机 水壶 炒锅 菜刀 砧板 饭盒 积木 拼图 玩偶 画笔 笔记本 钢笔 书架 椅子 书桌 地毯 窗帘 花瓶 相框 猫粮 狗窝 洗面奶 面霜 口红 香水 洗发水 沐浴露 坚果 茶叶 咖啡豆 蜂蜜 加湿器 空气炸锅 扫地机器人 投影仪 摄像头 滑板 自行车 篮球 羽毛球拍".split()
ADJ_EN = "wireless waterproof portable foldable compact silent classic summer winter outdoor leather cotton steel smart mini large lightweight thermal electric adjustable slim padded ceramic bamboo woolen travel office gaming vintage rechargeable".split()
NOUN_EN = "headphones;backpack;water bottle;running shoes;keyboard;mouse;desk lamp;rice cooker;fan;hair dryer;razor;toothbrush;towel;bed sheet;pillow;blanket;umbrella;tent;sleeping bag;hiking poles;yoga mat;watch;phone case;power bank;usb cable;speaker;router;monitor;tablet;suitcase;wallet;belt;shirt;jacket;jeans;dress;shorts;socks;hat;scarf;gloves;sunglasses;teapot;coffee machine;kettle;frying pan;kitchen knife;lunch box;puzzle;teddy bear;paint set;notebook;fountain pen;bookshelf;chair;desk;carpet;curtain;vase;photo frame;cat food;dog bed;face cream;lipstick;perfume;shampoo;mixed nuts;green tea;coffee beans;honey;humidifier;air fryer;robot vacuum;projector;webcam;skateboard;bicycle;basketball;tennis racket;candle".split(";")
# Nouns, adjectives and cities that training never sees; a word made of pieces must not be one.
ENTITIES = {e.lower() for items in (ADJ_EN, NOUN_EN, CITIES_EN) for split in ("valid", "test") for e in cut(items, split)}
ONSETS = "b c d f g h j k l m n p r s t v w z br cr dr fl gr kl pl st tr sh th".split()
VOWELS = "a e i o u ai ea io ou".split()
CODAS = ["", "", "", "n", "r", "l", "s", "m", "x", "nd", "rt"]
HAN = bytes(b for hi in range(0xB0, 0xD7) for lo in range(0xA1, 0xFF) for b in (hi, lo)).decode("gb2312", "ignore")


# Set by shards.py: pieces of the vocabulary. Words made of any pieces teach copying of any token;
# words from the syllables above alone teach the syllables.
PIECES = []
COMMON = HAN + bytes(b for cell in range(0xA1, 0xFA) for b in (0xD7, cell)).decode("gb2312")
RARE = bytes(b for row in range(0xD8, 0xF8) for cell in range(0xA1, 0xFF) for b in (row, cell)).decode("gb2312")


def usual(share):
    """Share of values made of familiar characters; training draws more of the unfamiliar ones."""
    return 0.15 if PIECES else share


def longer(rng, low, high):
    """A length; in training up to six more, so that every character is often a target."""
    if PIECES and rng.random() < 0.7:
        high += 6
    return rng.randint(low, high) if high > low else low


def han(rng):
    """Any common character; in training now and then one that the vocabulary spells in bytes."""
    if PIECES:
        return rng.choice(RARE if rng.random() < 0.06 else COMMON)
    return rng.choice(HAN)


def word(rng, low=2, high=3):
    if PIECES and rng.random() < 0.65:
        text = "".join(rng.choice(PIECES) for _ in range(rng.randint(1, high + 1)))
        if text.lower() not in ENTITIES:
            return text if rng.random() < 0.2 else text.lower()
    return "".join(
        rng.choice(ONSETS) + rng.choice(VOWELS) + (rng.choice(CODAS) if i else "")
        for i in range(rng.randint(low, high))
    )


def digits(rng, n):
    return "".join(rng.choice("0123456789") for _ in range(n))


def odd_id(rng):
    """Any mixture of capitals, digits and hyphens."""
    while True:
        text = rng.choice(["", "", "", digits(rng, rng.randint(1, 4))])
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
            letters = [rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4]))]
            if rng.random() < 0.3:  # a letter twice, or a copy runs in circles there
                letters.insert(rng.randrange(len(letters) + 1), rng.choice(letters))
            text += "".join(letters)
            text += rng.choice(["", "", "-"]) + digits(rng, rng.randint(1, 10)) + rng.choice(["", "", "-"])
        text = text.strip("-")
        if 5 <= len(text) <= 18 and sum(c.isdigit() for c in text) >= 3:
            return text


def order_id(rng):
    if PIECES and rng.random() < 0.4:
        return odd_id(rng)
    kind = rng.random()
    if kind < 0.3:
        return rng.choice("123456789") + digits(rng, rng.randint(5, 13))
    if kind < 0.5:
        return f"2026{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}" + digits(rng, rng.randint(3, 6))
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 3)))
    if kind < 0.85:
        return letters + rng.choice(["", "", "-"]) + digits(rng, rng.randint(5, 11))
    return letters + digits(rng, 4) + "-" + digits(rng, rng.randint(3, 5))


def tracking(rng):
    letters = rng.choice(["SF", "YT", "ZT", "EMS", "JD", "", "".join(rng.choice("ABCDEFGHKLMNPRTUVWXYZ") for _ in range(2))])
    return letters + rng.choice("123456789") + digits(rng, rng.randint(9, 13))


def phone(rng, lang):
    if lang == "zh" or rng.random() < 0.4:
        return "1" + rng.choice("35789") + digits(rng, 9)
    return rng.choice(["+44 7", "555-", "+1 "]) + digits(rng, 3) + rng.choice(["-", " "]) + digits(rng, 4)


def person(rng, lang):
    if lang == "zh":
        return rng.choice(SURNAMES) + "".join(rng.choice(GIVEN) if rng.random() < usual(0.85) else han(rng) for _ in range(longer(rng, 1, 2)))
    first = rng.choice(FIRST_EN) if rng.random() < 0.7 else word(rng).capitalize()
    return first + " " + word(rng).capitalize()


def street(rng, lang):
    if lang == "zh":
        name = rng.choice(STREETS_ZH) if rng.random() < usual(0.6) else "".join(han(rng) for _ in range(longer(rng, 2, 2)))
        tail = rng.choice(["", f"{rng.randint(1, 30)}栋{rng.randint(1, 32)}0{rng.randint(1, 6)}室", f"{rng.randint(1, 9)}单元{rng.randint(101, 2999)}"])
        return f"{name}{rng.choice('路路街巷')}{rng.randint(1, 999)}号{tail}"
    name = rng.choice(STREETS_EN) if rng.random() < 0.6 else word(rng).capitalize()
    tail = rng.choice(["", "", f", Apt {rng.randint(1, 99)}", f", Floor {rng.randint(1, 30)}"])
    return f"{rng.randint(1, 999)} {name} {rng.choice(['Street', 'Road', 'Avenue', 'Lane'])}{tail}"


def company(rng, lang):
    if lang == "zh":
        core = "".join(rng.choice(BRANDS_ZH + list(GIVEN)) if rng.random() < usual(0.8) else han(rng) for _ in range(longer(rng, 2, 4)))
        return rng.choice(CITIES_ZH[:60] + [""] * 20) + core + rng.choice(["科技", "贸易", "文化", "食品", "教育", ""]) + rng.choice(["有限公司", "公司", "股份有限公司"])
    return word(rng).capitalize() + " " + rng.choice(["Trading", "Foods", "Media", "Tech", "Design", "Logistics"]) + " " + rng.choice(["Ltd", "Inc", "LLC", "GmbH"])


def email(rng):
    return word(rng) + rng.choice(["", ".", "_"]) + rng.choice([word(rng, 1, 2), digits(rng, 2)]) + "@" + rng.choice(["mail", "post", word(rng)]) + rng.choice([".com", ".cn", ".org"])


def keyword(rng, lang, split):
    """What a customer searches for; many are invented words so that copying is learned."""
    if rng.random() < (0.6 if split == "train" else 0.17):
        if lang == "zh":
            return "".join(han(rng) for _ in range(longer(rng, 2, 4)))
        return fresh(rng, split, lambda: " ".join(word(rng) for _ in range(rng.choice([1, 1, 2, 3]) if PIECES else 1)))
    noun = pick(rng, NOUN_ZH if lang == "zh" else NOUN_EN, split)
    if rng.random() < 0.45:
        adjective = pick(rng, ADJ_ZH if lang == "zh" else ADJ_EN, split)
        return adjective + noun if lang == "zh" else f"{adjective} {noun}"
    return noun


def product(rng, lang, split, kw=None):
    kw = kw or keyword(rng, lang, split)
    if lang == "zh":
        brand = "".join(rng.choice(BRANDS_ZH) if rng.random() < usual(0.8) else han(rng) for _ in range(longer(rng, 2, 2)))
        return brand + kw + rng.choice(["", "", f" {rng.choice('ABGKMPTX')}{rng.randint(1, 999)}", "Pro"])
    return word(rng, 1, 2).capitalize() + " " + " ".join(w.capitalize() for w in kw.split()) + rng.choice(["", "", f" {rng.choice('ABGKMPTX')}{rng.randint(1, 999)}", " Pro"])


def date(rng):
    return f"{rng.choice([2026, 2026, 2027])}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def amount(rng):
    return rng.choice([rng.randint(5, 999), rng.randint(1000, 9999), rng.randint(5, 999) + 0.5, round(rng.randint(500, 99999) / 100, 2)])


OPEN_ZH = ["", "", "", "", "你好，", "您好，", "请问", "请问一下，", "麻烦", "麻烦您", "那个，", "在吗，", "客服，", "我想问下，", "亲，", "不好意思，", "打扰了，", "哈喽，", "有人吗？", "小杉，", "嗨，", "问一下，", "咨询一下，", "劳驾，"]
TAIL_ZH = ["", "", "", "", "？", "。", "谢谢", "，谢谢", "，谢谢！", "呀", "～", "，急", "，麻烦了", "，多谢", "？？", "！"]
OPEN_EN = ["", "", "", "", "hi, ", "Hello, ", "hey, ", "excuse me, ", "please, ", "Hi there, ", "good morning, ", "Sorry to bother you, ", "quick question: ", "um, ", "so, ", "Hello! ", "hey there, ", "Good day, "]
TAIL_EN = ["", "", "", "?", ".", " please", ", please", " thanks", ", thanks!", "??", "!", ", thank you", " pls", ", cheers"]


def utter(rng, lang, pattern, slots, split):
    """One user message: expanded pattern, opener and tail, noise outside the slots, slots filled in."""
    text = expand(rng, pattern)
    if split == "train":
        changed = paraphrase(rng, lang, text) if rng.random() < 0.5 else text
        if rng.random() < 0.1:
            changed = drop(rng, lang, changed)
        if changed.lower() not in HELD:
            text = changed
    question = text.endswith(("吗", "?", "？", "呢"))
    # Openers and tails are fillers, not phrasings: training sees all of them ("…, cheers" must not
    # mean thanks only because the split hid it); validation and test draw from their own part.
    filler = None if split == "train" else split
    if rng.random() < 0.55:
        text = pick(rng, OPEN_ZH if lang == "zh" else OPEN_EN, filler) + text
    if rng.random() < 0.55 and not text.endswith(("?", "？", "！", "!")):
        text += pick(rng, TAIL_ZH if lang == "zh" else TAIL_EN, filler)
    elif question and not text.endswith(("?", "？")) and rng.random() < 0.7:
        text += "？" if lang == "zh" else "?"
    parts = re.split(r"(\{\w+\})", text)
    for i in range(1, len(parts), 2):
        # The words around a number must not matter for copying it.
        if PIECES and rng.random() < 0.1 and parts[i][1:-1] in ("order_id", "tracking_number", "phone", "a", "b", "x"):
            before = rng.random() < 0.6
            extra = han(rng) + han(rng) if lang == "zh" else word(rng, 1, 1)
            at = i - 1 if before else i + 1
            space = " " if lang == "en" else ""
            parts[at] = parts[at].rstrip(" ") + space + extra + space if before else space + extra + (space if parts[at][:1].isalnum() else "") + parts[at]
    for i in range(0, len(parts), 2):
        if lang == "en" and i == 0 and rng.random() < 0.5:
            parts[i] = parts[i][:1].upper() + parts[i][1:]
        if rng.random() < (0.14 if PIECES else 0.10):
            parts[i] = noise(rng, lang, parts[i])
    for i in range(1, len(parts), 2):
        value = str(slots[parts[i][1:-1]])
        if lang == "zh" and re.match(r"[A-Za-z0-9]", value) and rng.random() < 0.3:
            value = " " + value + " "
        parts[i] = value
    return "".join(parts).strip()


MIXED = {"订单": "order", "退款": "refund", "快递": "express", "发票": "invoice", "地址": "address", "积分": "points",
         "order": "订单", "refund": "退款", "invoice": "发票", "address": "地址", "points": "积分"}


def noise(rng, lang, text):
    kind = rng.random()
    if kind < 0.25:
        return re.sub(r"[，。？！,.?!]", "" if lang == "zh" else "", text)
    if kind < 0.45 and lang == "en":
        return text.lower() if rng.random() < (0.4 if PIECES else 0.7) else text.upper()
    if kind < 0.6:
        for key, other in MIXED.items():
            if key in text and (key >= "一") == (lang == "zh"):
                return text.replace(key, other, 1)
    if len(text) < 5:
        return text
    i = rng.randrange(1, len(text) - 2)
    if not (text[i].isalpha() and text[i + 1].isalpha()):
        return text
    if kind < 0.8:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    return text[:i] + text[i] * 2 + text[i + 1 :] if kind < 0.9 else text[:i] + text[i + 1 :]


def city_name(rng, lang, split, before_street=False):
    """`before_street`: a name whose end can be told from a street's beginning, as that of real cities."""
    if split == "train" and rng.random() < (0.85 if before_street else 0.7):
        if lang == "en":
            return word(rng).capitalize()
        if before_street:
            return han(rng) + han(rng) + (rng.choice("港岛庄滨门关") if rng.random() < 0.15 else "")
        return "".join(han(rng) for _ in range(longer(rng, 2, 3)))
    return pick(rng, CITIES_ZH if lang == "zh" else CITIES_EN, split)
