"""What a tool returns, and how the assistant says it: result(conv, args) -> (json value, zh/en answer,
facts that must appear, follow-ups). A follow-up is (phrases, answer, facts), answered from context."""

from lexicon import amount, date, digits, product, tracking, fresh, city_name

STATUS = {
    "pending_payment": ("待付款", "waiting for payment"), "paid": ("已付款，等待发货", "paid and waiting to be shipped"),
    "shipped": ("已发货", "shipped"), "delivered": ("已签收", "delivered"), "cancelled": ("已取消", "cancelled"), "refunded": ("已退款", "refunded"),
}
TRACK = {
    "picked_up": ("已揽收", "picked up"), "in_transit": ("运输中", "in transit"), "out_for_delivery": ("派送中", "out for delivery"), "delivered": ("已签收", "delivered"),
}
CARRIERS = {"sf": ("顺丰", "SF Express"), "yto": ("圆通", "YTO"), "zto": ("中通", "ZTO"), "ems": ("EMS", "EMS"), "jd": ("京东", "JD")}
LEVELS = {"silver": ("银卡", "silver"), "gold": ("金卡", "gold"), "black": ("黑卡", "black")}
METHODS = {"wechat": ("微信支付", "WeChat Pay"), "alipay": ("支付宝", "Alipay"), "card": ("银行卡", "bank card")}
ERRORS = {
    "not_found": ("没有查到 {x}，请核对后再试。", "I could not find {x}. Please check it and try again."),
    "timeout": ("系统暂时繁忙，请稍后再试。", "The system is busy right now. Please try again later."),
}

WHEN = (["那它什么时候到", "什么时候能到", "大概哪天到", "几号能到", "哪天送到", "那什么时候可以到", "预计何时到"], ["when will it arrive", "when does it get here", "what day will it arrive", "when is it delivered", "when can I expect it", "and when will it come", "when should it be here"])
PRICE = (["多少钱", "这个订单多少钱", "总共多少钱", "金额是多少", "花了多少钱", "一共是多少元", "订单金额多少"], ["how much is it", "how much did I pay", "what is the total", "what was the amount", "how much was that order", "and what does it cost", "what is the order amount"])
WHAT = (["买的是什么", "这个订单是什么商品", "里面是什么东西", "我买了什么", "是哪个商品", "订单里是什么", "是什么东西来着"], ["what did I buy", "what is in the order", "which product is it", "what is the item", "what was it that I ordered", "which item is that", "what product is in it"])
NUMBER = (["快递单号是多少", "运单号多少", "给我快递单号", "快递号发我一下", "物流单号呢", "单号是什么", "那运单号呢"], ["what is the tracking number", "give me the tracking number", "tracking number?", "and the tracking number", "can I have the tracking number", "what's its tracking number", "which tracking number is it"])
WHERE = (["现在在哪", "到哪里了", "它在什么地方", "在哪个城市", "目前在哪儿", "具体到哪了", "走到什么地方了"], ["where is it now", "which city is it in", "where exactly is it", "what is its location", "so where is it", "and where is it at the moment", "where has it got to"])


def say(conv, zh, en):
    return zh if conv.lang == "zh" else en


def word_of(conv, table, key):
    return table[key][0 if conv.lang == "zh" else 1]


def query_order(conv, args):
    rng, oid = conv.rng, args["order_id"]
    status = rng.choice(["shipped"] * 4 + ["delivered"] * 2 + list(STATUS))
    item, cost = fresh(rng, conv.split, lambda: product(rng, conv.lang, conv.split)), amount(rng)
    result = {"order_id": oid, "status": status, "product": item, "amount": cost}
    text, name = say(conv, f"订单 {oid}（{item}，{cost} 元）", f"Order {oid} ({item}, {cost} yuan) "), word_of(conv, STATUS, status)
    facts, follow = [oid, item, str(cost), name], []
    follow += [(PRICE, say(conv, f"这个订单的金额是 {cost} 元。", f"The amount of this order is {cost} yuan."), [str(cost)]),
               (WHAT, say(conv, f"这个订单的商品是 {item}。", f"The item in this order is {item}."), [item])]
    if status == "shipped":
        eta, number = date(rng), fresh(rng, conv.split, lambda: tracking(rng))
        result |= {"tracking_number": number, "eta": eta}
        text += say(conv, f"{name}，快递单号 {number}，预计 {eta} 送达。", f"has been {name}: tracking number {number}, expected on {eta}.")
        facts += [number, eta]
        conv.parcel = number
        follow += [(WHEN, say(conv, f"预计 {eta} 送达。", f"It is expected on {eta}."), [eta])] * 2
        follow += [(NUMBER, say(conv, f"快递单号是 {number}。", f"The tracking number is {number}."), [number])]
    elif status == "delivered":
        day = date(rng)
        result |= {"delivered_at": day}
        text += say(conv, f"{name}，签收日期 {day}。", f"was {name} on {day}.")
        facts += [day]
        follow += [(WHEN, say(conv, f"已于 {day} 签收。", f"It was delivered on {day}."), [day])]
    else:
        text += say(conv, f"{name}。", f"is {name}.")
        if status in ("paid", "pending_payment"):
            follow += [(WHEN, say(conv, "这个订单还没有发货，暂时没有预计送达时间。", "This order has not been shipped yet, so there is no expected date."), [])]
    conv.order = oid
    return result, text, facts, follow


def track_parcel(conv, args):
    rng, number = conv.rng, args["tracking_number"]
    status, carrier, city = rng.choice(list(TRACK)), args.get("carrier") or rng.choice(list(CARRIERS)), city_name(rng, conv.lang, conv.split)
    result = {"tracking_number": number, "carrier": carrier, "status": status, "location": city}
    name, company = word_of(conv, TRACK, status), word_of(conv, CARRIERS, carrier)
    text = say(conv, f"包裹 {number}（{company}）{name}，当前位置：{city}", f"Parcel {number} ({company}) is {name}, currently in {city}")
    facts = [number, company, name, city]
    follow = [(WHERE, say(conv, f"包裹目前在{city}。", f"The parcel is in {city} now."), [city])]
    if status != "delivered":
        eta = date(rng)
        result["eta"] = eta
        text += say(conv, f"，预计 {eta} 送达。", f", expected on {eta}.")
        facts.append(eta)
        follow += [(WHEN, say(conv, f"预计 {eta} 送达。", f"It is expected on {eta}."), [eta])] * 2
    else:
        text += say(conv, "。", ".")
    conv.parcel = number
    return result, text, facts, follow


ARRIVE = (["退款什么时候到账", "钱什么时候到", "几天能到账", "多久能收到钱", "那钱几天到", "要等几天", "到账要几天"], ["when will I get the money", "how long does it take", "how many days will it take", "when does the money arrive", "and how many days is that", "how many days do I wait", "in how many days is it paid"])
NUMBER_OF = (["申请编号是多少", "编号多少", "再说一下编号", "编号给我一下", "单号是什么来着", "那个编号是多少", "编号再发一遍"], ["what is the reference number", "what's the reference again", "give me the reference", "repeat the reference number", "which reference is it", "and the reference number", "say the reference number again"])


def request_refund(conv, args):
    rng = conv.rng
    number, days = fresh(rng, conv.split, lambda: "RF" + digits(rng, rng.randint(5, 9))), rng.randint(1, 15)
    cost = args.get("amount") or amount(rng)
    conv.order = args["order_id"]
    return ({"refund_id": number, "amount": cost, "days": days},
            say(conv, f"退款申请已提交，编号 {number}，金额 {cost} 元，预计 {days} 个工作日内到账。", f"The refund is requested: reference {number}, {cost} yuan, paid within {days} working days."),
            [number, str(cost), str(days)],
            [(ARRIVE, say(conv, f"预计 {days} 个工作日内到账。", f"It takes up to {days} working days."), [str(days)]),
             (NUMBER_OF, say(conv, f"编号是 {number}。", f"The reference is {number}."), [number])])


def create_return(conv, args):
    rng = conv.rng
    number, day = fresh(rng, conv.split, lambda: "RT" + digits(rng, rng.randint(5, 9))), date(rng)
    conv.order = args["order_id"]
    return ({"return_id": number, "pickup_date": day},
            say(conv, f"退货申请已提交，编号 {number}，快递员将于 {day} 上门取件。", f"The return is set up: reference {number}, pickup on {day}."), [number, day],
            [((["什么时候来取", "哪天上门", "几号取件", "什么时候上门取件", "快递员哪天来", "取件是哪天", "那哪天来取"], ["when is the pickup", "what day do they come", "when will it be picked up", "which day is pickup", "when does the courier come", "and what day is the pickup", "on which day is it collected"]),
              say(conv, f"快递员将于 {day} 上门取件。", f"The pickup is on {day}."), [day]),
             (NUMBER_OF, say(conv, f"编号是 {number}。", f"The reference is {number}."), [number])])


def issue_invoice(conv, args):
    rng = conv.rng
    number = fresh(rng, conv.split, lambda: digits(rng, rng.randint(8, 10)))
    conv.order = args["order_id"]
    result, facts = {"invoice_number": number, "title": args["title"]}, [number, args["title"]]
    text = say(conv, f"发票已开具，发票号 {number}，抬头 {args['title']}", f"The invoice is issued: number {number}, made out to {args['title']}")
    if "email" in args:
        result["email"] = args["email"]
        facts.append(args["email"])
        text += say(conv, f"，已发送到 {args['email']}", f", sent to {args['email']}")
    return (result, text + say(conv, "。", "."), facts,
            [((["发票号是多少", "发票号码呢", "发票号发我", "号码是多少", "再说下发票号", "那发票号多少", "发票编号是什么"], ["what is the invoice number", "the invoice number?", "give me the invoice number", "repeat the invoice number", "which invoice number is it", "and the invoice number", "say the invoice number again"]),
              say(conv, f"发票号是 {number}。", f"The invoice number is {number}."), [number])])


def change_address(conv, args):
    a, oid = args["address"], args["order_id"]
    conv.order = oid
    place = a["city"] + a["street"] if conv.lang == "zh" else f"{a['street']}, {a['city']}"
    return ({"order_id": oid, "updated": True},
            say(conv, f"订单 {oid} 的地址已修改为：{place}，收件人 {a['recipient']}，电话 {a['phone']}。", f"The address of order {oid} is now {place}, recipient {a['recipient']}, phone {a['phone']}."),
            [oid, place, a["recipient"], a["phone"]], [])


ORDINALS = ((["第一个", "第一款", "1号"], ["第二个", "第二款", "2号"], ["第三个", "第三款", "3号"]), (["the first one", "number one", "the first"], ["the second one", "number two", "the second"], ["the third one", "number three", "the third"]))


def search_products(conv, args):
    rng, kw = conv.rng, args["keyword"]
    low, high = args.get("min_price", 9), args.get("max_price", args.get("min_price", 100) + rng.randint(50, 900))
    items = []
    for _ in range(rng.choice([1, 2, 2, 3, 3] if conv.split != "train" else [1, 2, 3, 3, 3])):
        items.append({"name": fresh(rng, conv.split, lambda: product(rng, conv.lang, conv.split, kw)), "price": rng.randint(min(low, high), max(low, high))})
    if rng.random() < 0.08:
        items = []
    order = args.get("sort")
    if order in ("price_asc", "price_desc"):
        items.sort(key=lambda i: i["price"], reverse=order == "price_desc")
    if not items:
        return {"items": []}, say(conv, f"没有找到符合条件的{kw}，您可以放宽价格或换个关键词。", f"I found no matching {kw}. You could widen the price range or try another keyword."), [kw], []
    listed = say(conv, "；", "; ").join(say(conv, f"{n + 1}. {i['name']}，{i['price']} 元", f"{n + 1}. {i['name']}, {i['price']} yuan") for n, i in enumerate(items))
    follow = []
    for n, i in enumerate(items):
        zh, en = ORDINALS[0][n], ORDINALS[1][n]
        phrases = ([f"{z}多少钱" for z in zh] + [f"{zh[0]}呢，多少钱", f"{zh[0]}的价格(是多少|)", f"那{zh[1]}价格多少", f"{zh[0]}什么价"], [f"how much is {e}" for e in en] + [f"and {en[0]}, how much", f"what is the price of {en[0]}", f"the price of {en[2]}", f"what does {en[0]} cost"])
        follow.append((phrases, say(conv, f"{i['name']} 的价格是 {i['price']} 元。", f"{i['name']} costs {i['price']} yuan."), [i["name"], str(i["price"])]))
    conv.items = [i["name"] for i in items]
    return {"items": items}, say(conv, f"为您找到 {len(items)} 款商品：{listed}。", f"I found {len(items)} product{'s' if len(items) > 1 else ''}: {listed}."), [x for i in items for x in (i["name"], str(i["price"]))], follow


def store_hours(conv, args):
    rng = conv.rng
    opens, closes = f"{rng.randint(7, 11)}:{rng.choice(['00', '30'])}", f"{rng.randint(17, 23)}:{rng.choice(['00', '30', '15', '45'])}"
    city = args["city"]
    return ({"city": city, "open": opens, "close": closes}, say(conv, f"{city}门店的营业时间是 {opens} 到 {closes}。", f"The {city} store is open from {opens} to {closes}."), [city, opens, closes],
            [((["几点关门", "那几点关门", "开到几点", "最晚到几点", "晚上几点关", "几点打烊", "那开到多晚"], ["when does it close", "until when is it open", "what time does it close", "and when does it close", "closing time?", "how late is it open", "so when do they close"]), say(conv, f"{city}门店 {closes} 关门。", f"The {city} store closes at {closes}."), [closes])])


def query_points(conv, args):
    rng = conv.rng
    points, level, day = rng.randint(0, 99999), rng.choice(list(LEVELS)), date(rng)
    name = word_of(conv, LEVELS, level)
    return ({"points": points, "level": level, "expires": day}, say(conv, f"您目前有 {points} 积分，会员等级为{name}，积分有效期至 {day}。", f"You have {points} points, your level is {name}, and the points expire on {day}."), [str(points), name, day],
            [((["什么时候过期", "积分哪天到期", "有效期到哪天", "什么时候失效", "几号过期", "那哪天过期", "到期日是哪天"], ["when do they expire", "what is the expiry date", "until when are they valid", "on which day do they expire", "expiry?", "and when do they expire", "so until which date are they good"]), say(conv, f"积分有效期至 {day}。", f"The points expire on {day}."), [day]),
             ((["我是什么等级", "会员等级是什么", "我现在是什么卡", "等级呢", "那我什么级别", "我属于哪个等级", "会员是哪一级"], ["what is my level", "which level am I", "what level do I have", "my membership level?", "and my level", "so which level is that", "what membership level is it"]), say(conv, f"您的会员等级是{name}。", f"Your level is {name}."), [name])])


def transfer_to_human(conv, args):
    from tools import DEPARTMENT_ZH, DEPARTMENT_EN
    rng = conv.rng
    ahead, minutes = rng.randint(0, 30), rng.randint(1, 45)
    name = (DEPARTMENT_ZH if conv.lang == "zh" else DEPARTMENT_EN)[args["department"]]
    return ({"queue": ahead, "wait_minutes": minutes}, say(conv, f"正在为您转接{name}，前面还有 {ahead} 位，预计等待 {minutes} 分钟。", f"I am transferring you to {name}: {ahead} people are ahead of you, about {minutes} minutes."), [name, str(ahead), str(minutes)], [])


def file_complaint(conv, args):
    rng = conv.rng
    number, hours = fresh(rng, conv.split, lambda: "CP" + digits(rng, rng.randint(5, 9))), rng.choice([2, 4, 6, 8, 12, 24, 36, 48, 72])
    conv.order = args["order_id"]
    return ({"ticket": number, "reply_hours": hours}, say(conv, f"非常抱歉。投诉已登记，编号 {number}，我们会在 {hours} 小时内回复您。", f"I am very sorry. The complaint is filed: reference {number}, and we will reply within {hours} hours."), [number, str(hours)],
            [(NUMBER_OF, say(conv, f"编号是 {number}。", f"The reference is {number}."), [number])])


def cancel_order(conv, args):
    oid = conv.order = args["order_id"]
    if conv.rng.random() < 0.25:
        return {"order_id": oid, "cancelled": False, "reason": "already_shipped"}, say(conv, f"订单 {oid} 已经发货，无法取消。您可以在收货后申请退货。", f"Order {oid} has already been shipped and cannot be cancelled. You can return it after delivery."), [oid, say(conv, "无法取消", "cannot be cancelled")], []
    cost = amount(conv.rng)
    return {"order_id": oid, "cancelled": True, "refund": cost}, say(conv, f"订单 {oid} 已取消，{cost} 元将原路退回。", f"Order {oid} is cancelled and {cost} yuan will be returned to you."), [oid, say(conv, "已取消", "is cancelled"), str(cost)], []


def check_stock(conv, args):
    left, item = conv.rng.choice([0, conv.rng.randint(1, 50), conv.rng.randint(1, 999)]), args["product"]
    if left == 0:
        return {"product": item, "stock": 0}, say(conv, f"抱歉，{item} 目前缺货。", f"Sorry, {item} is out of stock."), [item, say(conv, "缺货", "out of stock")], []
    return {"product": item, "stock": left}, say(conv, f"{item} 有货，库存 {left} 件。", f"{item} is in stock: {left} left."), [item, str(left)], []


def payment_status(conv, args):
    rng, oid = conv.rng, args["order_id"]
    conv.order = oid
    method, cost = rng.choice(list(METHODS)), amount(rng)
    name = word_of(conv, METHODS, method)
    if rng.random() < 0.7:
        return {"order_id": oid, "paid": True, "method": method, "amount": cost}, say(conv, f"订单 {oid} 已支付成功，{name} {cost} 元。", f"Order {oid} is paid: {cost} yuan by {name}."), [oid, name, str(cost)], [(PRICE, say(conv, f"这个订单的金额是 {cost} 元。", f"The amount of this order is {cost} yuan."), [str(cost)])]
    return {"order_id": oid, "paid": False}, say(conv, f"订单 {oid} 尚未支付成功，请重新付款。", f"Order {oid} is not paid yet. Please pay again."), [oid, say(conv, "尚未支付", "not paid")], []


HANDLERS = {f.__name__: f for f in (query_order, track_parcel, request_refund, create_return, issue_invoice, change_address, search_products, store_hours, query_points, transfer_to_human, file_complaint, cancel_order, check_stock, payment_status)}
