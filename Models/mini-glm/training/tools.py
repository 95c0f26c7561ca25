"""The shop's tools: name, description and parameters in both languages, and a schema builder."""

REASONS = ["quality_issue", "wrong_item", "not_as_described", "no_longer_needed", "late_delivery"]
REASON_ZH = {
    "quality_issue": ["质量有问题", "东西坏了", "收到就是坏的", "有质量问题", "用两天就坏了", "质量太差"],
    "wrong_item": ["发错货了", "你们发错了", "寄错东西了", "收到的不是我买的", "发错颜色了", "寄来的东西发错了"],
    "not_as_described": ["和描述不符", "跟图片不一样", "和页面描述不一样", "与描述不符合", "实物和图片不一样", "跟描述的不一样"],
    "no_longer_needed": ["不想要了", "买多了不需要了", "不需要了", "不喜欢，不想要了", "用不上，不需要了", "现在不想要了"],
    "late_delivery": ["送得太慢了", "等太久还没到", "配送太慢", "一直没送到太慢了", "物流太慢", "到得太慢了"],
}
REASON_EN = {
    "quality_issue": ["it is broken", "it arrived broken", "the quality is bad", "it has a quality problem", "it stopped working, bad quality", "it came broken"],
    "wrong_item": ["you sent the wrong item", "I got the wrong item", "it is the wrong color", "wrong item was sent", "this is the wrong product", "I received the wrong item"],
    "not_as_described": ["it is not as described", "it does not match the description", "it looks different from the picture", "it is different from the description", "not as described", "it doesn't match the picture"],
    "no_longer_needed": ["I don't need it anymore", "I no longer need it", "I changed my mind", "I don't want it anymore", "no longer needed", "I do not need it anymore"],
    "late_delivery": ["it is taking too long", "delivery is too slow", "it is too late", "it arrived too late", "the delivery was too late", "it is far too slow"],
}
CATEGORIES = ["courier", "product", "service"]
CATEGORY_ZH = {
    "courier": ["快递员态度差", "快递乱扔包裹", "快递员不送上门", "快递把包裹弄丢了", "快递员态度恶劣", "快递态度很差"],
    "product": ["商品是假货", "商品质量太差", "东西是坏的", "商品有破损", "商品质量差", "商品是坏的"],
    "service": ["客服态度差", "客服不回消息", "客服一直不处理", "客服骗人", "客服态度恶劣", "客服不处理问题"],
}
CATEGORY_EN = {
    "courier": ["the courier was rude", "the courier threw my parcel", "the courier lost the parcel", "the courier did not come to the door", "the courier was very rude", "your courier was rude"],
    "product": ["the product is fake", "the product is broken", "the product quality is terrible", "the product was damaged", "the product is terrible", "the product is damaged"],
    "service": ["customer service was rude", "customer service ignored me", "nobody in customer service answers", "customer service lied to me", "customer service was terrible", "customer service ignores me"],
}
DEPARTMENTS = ["general", "after_sales", "logistics", "finance"]
DEPARTMENT_ZH = {"general": "人工客服", "after_sales": "售后专员", "logistics": "物流专员", "finance": "财务专员"}
DEPARTMENT_EN = {"general": "a general agent", "after_sales": "an after-sales agent", "logistics": "a logistics agent", "finance": "a finance agent"}

ORDER = ("order_id", {"type": "string"}, "订单号", "order number", True)
REASON = ("reason", {"type": "string", "enum": REASONS}, "原因", "reason", True)
# name: (zh description, en description, [(parameter, schema, zh, en, required)])
TOOLS = {
    "query_order": ("查询订单状态", "Look up an order", [ORDER]),
    "track_parcel": ("查询快递物流", "Track a parcel", [
        ("tracking_number", {"type": "string"}, "运单号", "tracking number", True),
        ("carrier", {"type": "string", "enum": ["sf", "yto", "zto", "ems", "jd"]}, "快递公司", "carrier", False)]),
    "request_refund": ("申请退款", "Request a refund", [ORDER, REASON, ("amount", {"type": "integer"}, "退款金额", "amount to refund", False)]),
    "create_return": ("申请退货", "Return goods", [ORDER, REASON, ("quantity", {"type": "integer"}, "退货件数", "number of items", False)]),
    "issue_invoice": ("开具发票", "Issue an invoice", [
        ORDER, ("type", {"type": "string", "enum": ["personal", "company"]}, "发票类型", "invoice type", True),
        ("title", {"type": "string"}, "发票抬头", "name on the invoice", True),
        ("email", {"type": "string"}, "接收邮箱", "email", False)]),
    "change_address": ("修改收货地址", "Change the delivery address", [
        ORDER, ("address", {"type": "object", "properties": {
            "recipient": {"type": "string"}, "phone": {"type": "string"}, "city": {"type": "string"}, "street": {"type": "string"}},
            "required": ["recipient", "phone", "city", "street"]}, "新地址", "new address", True)]),
    "search_products": ("搜索商品", "Search products", [
        ("keyword", {"type": "string"}, "关键词", "keyword", True),
        ("min_price", {"type": "integer"}, "最低价", "lowest price", False),
        ("max_price", {"type": "integer"}, "最高价", "highest price", False),
        ("sort", {"type": "string", "enum": ["price_asc", "price_desc", "sales"]}, "排序", "order of results", False)]),
    "store_hours": ("查询门店营业时间", "Opening hours of a store", [("city", {"type": "string"}, "城市", "city", True)]),
    "query_points": ("查询会员积分", "Membership points", [("phone", {"type": "string"}, "手机号", "phone number", True)]),
    "transfer_to_human": ("转接人工客服", "Hand over to a person", [("department", {"type": "string", "enum": DEPARTMENTS}, "部门", "department", True)]),
    "file_complaint": ("提交投诉", "File a complaint", [ORDER, ("category", {"type": "string", "enum": CATEGORIES}, "投诉类别", "category", True)]),
    "cancel_order": ("取消订单", "Cancel an order", [ORDER]),
    "check_stock": ("查询商品库存", "Check stock", [
        ("product", {"type": "string"}, "商品名", "product name", True),
        ("quantity", {"type": "integer"}, "数量", "quantity", False)]),
    "payment_status": ("查询支付状态", "Payment status of an order", [ORDER]),
}


def schema(name, lang, describe=True):
    """The OpenAI form of one tool; `describe` False leaves parameter descriptions out."""
    zh, en, parameters = TOOLS[name]
    properties = {}
    for key, base, pzh, pen, _ in parameters:
        properties[key] = dict(base) | ({"description": pzh if lang == "zh" else pen} if describe else {})
    return {"type": "function", "function": {
        "name": name,
        "description": zh if lang == "zh" else en,
        "parameters": {"type": "object", "properties": properties, "required": [p[0] for p in parameters if p[4]]}}}
