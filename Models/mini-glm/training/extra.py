"""Train-only variety: more phrasings, and a paraphraser that swaps the frame of a request."""

import re

MORE = {
    "GREET_ZH": ["哈罗", "你好你好", "您好呀", "早啊", "晚安好", "打个招呼", "客服你好", "亲，在吗", "在线吗", "嗨，你好", "哈喽哈喽", "你好，请问在吗", "有客服吗", "您好客服", "上午好呀"],
    "GREET_EN": ["hiya", "howdy", "hello hello", "hi, are you there", "good day", "hello friend", "hey, anyone there", "morning", "hi bot", "hello support", "is someone there", "hey hey", "good day to you", "hi, is anyone here", "hello, anybody there"],
    "WHO_ZH": ["你到底是谁", "怎么称呼你", "请问你是谁", "你叫啥", "你的名字是什么", "你是真的人吗", "你是不是机器人", "你是人还是机器", "你是智能客服吗", "你是哪个公司的AI", "你是什么AI", "你是程序吗", "说说你自己", "介绍下自己吧", "你可以做哪些事", "你能帮我什么", "你都会什么", "你有哪些本事", "你有什么用", "你能提供什么服务", "都有什么功能", "你能处理哪些问题", "请自我介绍", "你是做什么工作的"],
    "WHO_EN": ["who is this", "who am I talking to", "what should I call you", "do you have a name", "may I know your name", "your name please", "are you a machine", "are you artificial", "are you a program", "are you a real human", "is this an AI", "is this a bot", "am I talking to a robot", "are you an assistant", "which model are you", "what kind of bot are you", "please introduce yourself", "say something about yourself", "what are you able to do", "what things can you help with", "what can you help with", "what services do you offer", "what are your functions", "what can I ask you", "how do you work as an assistant", "what is your job"],
    "THANKS_ZH": ["谢谢啦", "谢谢谢谢", "感谢你", "感激不尽", "好的谢谢你", "麻烦你了，谢谢", "可以了，谢谢", "好的，明白", "行，知道了", "嗯好的", "没问题了", "没有其他问题了", "就这些，谢谢", "多谢帮忙", "谢谢您的帮助", "太感谢了", "解决了，谢谢"],
    "THANKS_EN": ["thank you so much", "ty", "thanks so much", "thanks a bunch", "much appreciated", "I appreciate it", "okay thanks", "alright, thank you", "good, thank you", "wonderful, thanks", "understood, thanks", "ok understood", "all clear, thanks", "that helps, thank you", "thanks for the help", "thank you for your help", "no more questions, thanks", "that was all, thank you"],
    "BYE_ZH": ["再会", "回见", "先走了", "拜", "好的，拜拜", "先不聊了", "我先下线了", "改天再聊", "没别的事了，再见", "就这样吧，再见"],
    "BYE_EN": ["see you later", "see ya", "bye for now", "talk to you later", "I have to go, bye", "good night, bye", "farewell", "thanks and bye", "have a good day, goodbye", "take care, bye"],
    "PRAISE_ZH": ["你真好", "你很棒", "太厉害了", "真聪明", "服务态度真好", "五星好评", "做得好", "你们很专业", "非常满意", "给个好评", "客服真棒", "不错不错"],
    "PRAISE_EN": ["you are amazing", "you are very helpful", "excellent service", "good bot", "nice work", "you did well", "I love your service", "very good service", "you are so helpful", "what a great shop", "five stars for you", "I am very satisfied"],
    "ANGRY_ZH": ["我要举报你们", "投诉你们", "我想投诉", "你们的服务真垃圾", "服务真差", "态度太差了", "真让人生气", "我非常生气", "太气人了", "差评", "给你们差评", "很失望", "对你们太失望了", "你们店太差了", "什么垃圾店", "坑人", "骗人的吧你们", "我很不满", "这体验太糟糕了", "糟糕透了", "你们太不负责了", "再也不来了"],
    "ANGRY_EN": ["I am furious", "this is terrible", "I am really upset", "what a terrible shop", "your service is terrible", "your service is bad", "awful shop", "I hate this shop", "I have a complaint", "I'd like to complain", "I wish to make a complaint", "this is unacceptable", "you are the worst", "you are liars", "this is a scam", "very disappointing", "I feel cheated", "bad experience", "such bad service", "this shop is a joke", "I am fed up", "I will never order again"],
    "OOD_ZH": ["今天{c}的天气", "{c}气温多少度", "明天{c}下雪吗", "{c}未来几天天气", "作诗一首，题目是{t}", "写首诗，主题{t}", "帮我写作文，题目是{t}", "写一个{t}的小故事", "讲一个关于{t}的故事", "你了解{t}吗", "你知道{t}吗", "{t}怎么来的", "{t}有哪些", "关于{t}你知道什么", "{t}的意义", "{t}的定义", "{t}重要吗", "如何理解{t}", "为什么要学{t}", "{t}有什么用处", "科普一下{t}", "{n}+{m}等于多少", "{n}减{m}是多少", "{n}乘{m}", "帮我算{n}除以{m}", "计算{n}的平方", "{n}是质数吗", "翻译一下：{t}", "{t}用英语怎么说", "{t}的英文", "写个Python程序", "写代码实现{t}", "帮我写代码", "这段代码怎么改", "怎么学编程", "怎么学英语", "怎么减肥", "怎么追女生", "怎么炒股", "怎么投资", "买什么股票好", "比特币会涨吗", "{c}在哪里", "{c}有多大", "{c}旅游攻略", "去{c}玩几天好", "{c}的美食", "{c}的历史", "{c}到{d}多远", "帮我订{c}的酒店", "帮我买去{c}的高铁票", "叫个外卖", "帮我打车", "肚子疼怎么办", "我发烧了", "牙疼吃什么", "这个病严重吗", "合同怎么写", "打官司要多少钱", "美国总统是谁", "谁当了首相", "你支持哪个党", "新闻里说什么", "今天有什么大事", "世界杯谁赢了", "{t}比赛结果", "播放{t}的歌", "唱首歌吧", "讲个冷笑话", "陪我聊天", "我很难过", "我好累", "我心情很差", "你有女朋友吗", "你会做梦吗", "人为什么活着", "世界上有鬼吗", "外星人存在吗", "现在几点", "今天几号", "明天星期几", "算一下我的星座", "给小孩取名", "做个{t}的表格", "写份简历", "写个辞职报告", "帮我改论文", "总结一下{t}", "{t}的电影推荐", "推荐几本{t}的书", "有什么好看的电影", "西瓜怎么种", "猫为什么怕水", "宫保鸡丁的做法", "怎么做蛋糕", "鸡汤怎么炖"],
    "OOD_EN": ["weather in {c}", "what is the temperature in {c}", "will it snow in {c}", "{c} forecast for the week", "compose a poem about {t}", "I need a poem about {t}", "write me a story about {t}", "tell a story about {t}", "do you know {t}", "what do you know about {t}", "where does {t} come from", "give me facts about {t}", "what is the meaning of {t}", "define {t}", "is {t} important", "why does {t} exist", "teach me {t}", "I am studying {t}", "describe {t}", "how many kinds of {t} are there", "who is behind {t}", "{n} plus {m}", "what's {n} times {m}", "compute {n} minus {m}", "divide {n} by {m}", "is {n} a prime number", "the square of {n}", "how do you say {t} in French", "what is {t} in Spanish", "translate this to German: {t}", "write a Python program", "write code for {t}", "debug my code", "fix this program", "teach me programming", "how do I learn to code", "how can I lose weight", "how do I get a girlfriend", "how do I invest money", "which stocks are good", "will bitcoin rise", "where is {c}", "how big is {c}", "travel guide for {c}", "how many days should I stay in {c}", "food in {c}", "history of {c}", "how far is {c} from {d}", "reserve a hotel in {c}", "buy train tickets to {c}", "call me a taxi", "order a pizza for me", "my stomach hurts", "I have a fever", "my tooth hurts, what should I take", "is this illness serious", "draft a contract", "how much does a lawyer cost", "who is the prime minister of Japan", "which party do you support", "any news today", "what happened in the world today", "who won the championship", "score of the {t} match", "play a song about {t}", "sing for me", "tell me something funny", "chat with me", "I am lonely", "I am so tired", "I feel terrible today", "do you have a girlfriend", "do you dream", "why do people live", "do ghosts exist", "are there aliens", "what's the time", "what's the date today", "tell my fortune", "name my child", "make a table of {t}", "write my CV", "proofread my essay", "give me a summary of {t}", "films about {t}", "books on {t}", "any good movies", "how do I grow tomatoes", "why do cats purr", "recipe for chicken soup", "how do I bake a cake", "what's the capital of France", "how tall is the Eiffel tower"],
}

VERBS = ("check", "look up", "find", "track", "trace", "refund", "return", "cancel", "issue", "make", "change", "update", "send", "deliver", "search", "show", "transfer", "connect", "file", "tell", "explain", "locate", "repeat", "give", "recommend")
ASK_EN = ["could you ", "can you ", "would you ", "could you please ", "I'd like you to ", "please ", "can you please ", "I want you to ", "", "", "will you "]
WANT_TO = ["I want to ", "I'd like to ", "I need to ", "I would like to ", "I wish to ", "let me ", "I have to ", "may I ", "could I ", "I wanna "]
WANT = ["I want ", "I'd like ", "I need ", "could I get ", "can I have ", "give me ", "may I have ", "I would like ", "please get me ", "could I have "]
CAN = ["can you ", "could you ", "would you ", "are you able to ", "please ", "would you please "]
VERB_ZH = "查看开取消转搜找修投申退换改帮请给叫联接推"
ASK_ZH = ["请", "帮我", "麻烦", "想", "我想", "给我", "能不能", "可以", "请帮我", "我要", "能帮我", "劳烦", "需要", "希望", "", ""]
SWAP_ZH = [("怎么", ["如何", "怎样", "咋", "怎么"]), ("我要", ["我想", "想", "我需要", "我得", "要", "我希望"]), ("我想", ["我要", "想", "我希望", "想要", "我打算"]), ("多少", ["多少", "几"]), ("什么时候", ["啥时候", "何时", "几时", "什么时间"]),
           ("什么", ["啥", "什么", "哪种"]), ("帮我", ["给我", "替我", "麻烦", "请", "帮忙"]), ("一下", ["下", "一查", "", "一下子"]), ("可以", ["能", "能够", "可不可以"]), ("吗", ["么", "不", "嘛"]), ("这个订单", ["这单", "该订单", "这一单", "这笔订单", "它"]), ("现在", ["目前", "当前", "如今", "眼下"]), ("有没有", ["有", "是否有", "可有"]), ("还有", ["有", "还剩", "还"])]
SWAP_EN = [("how do I", ["how can I", "how should I", "how do you", "what's the way to", "how to"]), ("what is", ["what's", "tell me", "may I know", "do you know"]), ("when will", ["when does", "at what time will", "on which day will"]), ("how much", ["how much", "what amount"]), ("where is", ["where's", "find", "tell me where is"]),
           ("this order", ["it", "that order", "this one", "the order"]), ("my order", ["the order", "an order", "my purchase", "my order"]), ("I need", ["I want", "I require", "I'd like", "I could use"]), ("do you have", ["have you got", "are there", "is there", "got any"]), ("and ", ["", "so ", "and ", "then "])]


def paraphrase(rng, lang, text):
    """Another frame for the same request; slots in braces stay whole."""
    if lang == "en":
        low = text.lower()
        for start, choices in (("i want to ", WANT_TO), ("i need to ", WANT_TO), ("i want ", WANT), ("i need ", WANT), ("can you ", CAN), ("please ", ASK_EN)):
            if low.startswith(start):
                return rng.choice(choices) + text[len(start):]
        if low.startswith(VERBS):
            return rng.choice(ASK_EN) + text
        for key, choices in SWAP_EN:
            if key in text:
                return text.replace(key, rng.choice(choices), 1)
        return text
    if text[0] in VERB_ZH and rng.random() < 0.6:
        return rng.choice(ASK_ZH) + text
    found = [(k, c) for k, c in SWAP_ZH if k in text]
    if found:
        key, choices = rng.choice(found)
        return text.replace(key, rng.choice(choices), 1)
    return text


def drop(rng, lang, text):
    """Leaves out one word (or two characters) outside the slots: hurried writing."""
    parts = re.split(r"(\{\w+\})", text)
    i = rng.randrange(0, len(parts), 2)
    if lang == "en":
        words = parts[i].split(" ")
        if len(words) > 3:
            del words[rng.randrange(len(words))]
            parts[i] = " ".join(words)
    elif len(parts[i]) > 5:
        at = rng.randrange(len(parts[i]) - 1)
        parts[i] = parts[i][:at] + parts[i][at + rng.choice([1, 2]):]
    return "".join(parts)
