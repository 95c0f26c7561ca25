"""Greetings, identity, thanks, complaints without facts, and everything outside the shop."""

SHOP_ZH, SHOP_EN = "云杉商城", "Spruce Shop"

GREET_ZH = ["你好", "您好", "(嗨|哈喽|嘿)", "在吗", "有人吗", "(早上|上午|下午|晚上)好", "你好(呀|啊|~|！)", "客服在吗", "hi", "hello", "喂", "在不在", "您好，在吗", "哈喽，你好"]
GREET_EN = ["hi", "hello", "hey", "good (morning|afternoon|evening)", "hi there", "anyone there", "hello there", "hey there", "is anybody here", "greetings", "yo", "hello, are you there", "hi, good day"]
GREET_ANSWER_ZH = "您好！我是{name}，{shop}的智能客服。请问有什么可以帮您？"
GREET_ANSWER_EN = "Hello! I am {name}, the assistant of {shop}. How can I help you today?"

WHO_ZH = ["你是谁", "你叫什么(名字|)", "你是(机器人|真人|人工)吗", "你是什么模型", "介绍一下你自己", "你是干什么的", "你能做什么", "你可以帮我做什么", "你会什么", "你有什么功能", "自我介绍一下", "你是AI吗", "你都能干些什么"]
WHO_EN = ["who are you", "what is your name", "are you a (robot|human|bot|real person)", "what model are you", "introduce yourself", "what can you do", "what do you do", "how can you help me", "what are you", "tell me about yourself", "are you an AI", "what's your name", "what can you help me with"]
WHO_ANSWER_ZH = "我是{name}，{shop}的智能客服，由小模型 Mini-GLM 驱动。我可以帮您查询订单和物流、处理退换货、开发票、改地址、找商品，也可以为您转接人工客服。"
WHO_ANSWER_EN = "I am {name}, the assistant of {shop}, run by the small model Mini-GLM. I can check orders and parcels, handle refunds and returns, issue invoices, change addresses, find products, and pass you to a person."

THANKS_ZH = ["谢谢", "谢谢(你|您)", "多谢", "感谢", "好的，谢谢", "(太好了|太棒了)，谢谢", "非常感谢", "辛苦了", "知道了，谢谢", "谢啦", "好的知道了", "明白了", "没有了，谢谢", "谢谢你的帮助"]
THANKS_EN = ["thanks", "thank you", "thanks a lot", "great, thanks", "ok, thank you", "thank you very much", "perfect, thanks", "thx", "cheers", "that's all, thanks", "got it, thanks", "ok got it", "many thanks", "thanks for your help"]
THANKS_ANSWER_ZH = "不客气！如果还有其他问题，随时告诉我。"
THANKS_ANSWER_EN = "You're welcome! Let me know if there is anything else."

BYE_ZH = ["再见", "拜拜", "(好的|)再见", "88", "下次再聊", "没事了，再见", "先这样，拜拜", "我走了，再见"]
BYE_EN = ["bye", "goodbye", "see you", "bye bye", "that's all, bye", "ok bye", "have a nice day, bye", "goodbye then"]
BYE_ANSWER_ZH = "再见，祝您生活愉快！"
BYE_ANSWER_EN = "Goodbye, and have a nice day!"

PRAISE_ZH = ["你真棒", "你真聪明", "服务(不错|很好)", "你很厉害", "给你点赞", "你们服务真好", "你太好了", "好评"]
PRAISE_EN = ["you are great", "good job", "nice service", "you are smart", "well done", "great service", "you are awesome", "I like your service"]
PRAISE_ANSWER_ZH = "谢谢您的夸奖！很高兴能帮到您。"
PRAISE_ANSWER_EN = "Thank you for your kind words! I am glad to help."

ANGRY_ZH = ["你们(太差劲|太坑|太烂)了", "我要投诉", "(服务|质量)太差了", "气死我了", "我对你们很不满意", "你们怎么这样", "太失望了", "再也不买你们的东西了", "你们是骗子吗", "什么破店", "我很生气", "体验太差了", "垃圾服务", "我要投诉你们", "你们店太让人失望了"]
ANGRY_EN = ["you are terrible", "I want to complain", "this is awful service", "I am very angry", "I am not satisfied at all", "this is ridiculous", "I am so disappointed", "I will never buy here again", "are you scammers", "worst shop ever", "I'm upset", "terrible experience", "your service is awful", "I want to make a complaint", "your shop is really disappointing"]
ANGRY_NOTOOL_ZH = "非常抱歉给您带来不好的体验。请拨打客服热线 400-820-6688 反馈，我们会尽快处理。"
ANGRY_NOTOOL_EN = "I am very sorry for the bad experience. Please call our hotline 400-820-6688 and we will take care of it quickly."
ANGRY_ASK_ZH = "非常抱歉给您带来不好的体验。请提供订单号和投诉的原因（快递、商品或服务），我来为您登记投诉。"
ANGRY_ASK_EN = "I am very sorry for the bad experience. Please provide your order number and what it is about (courier, product or service), and I will file the complaint."

DECLINE_ZH = "抱歉，这个问题超出了我的服务范围。我可以帮您处理订单、物流、退换货、发票和商品等购物问题。"
DECLINE_EN = "Sorry, that is outside what I can help with. I can help with orders, parcels, returns, invoices, products and other shopping questions."

THINGS_ZH = "春天 秋天 月亮 大海 黑洞 恐龙 量子力学 相对论 光合作用 人工智能 区块链 比特币 唐朝 长城 故宫 拿破仑 秦始皇 李白 莎士比亚 贝多芬 爱因斯坦 牛顿 珠穆朗玛峰 太平洋 亚马逊雨林 火山 地震 台风 彩虹 银河系 太阳系 火星 宇宙 细胞 基因 病毒 细菌 维生素 糖尿病 高血压 感冒 失眠 头疼 抑郁 股票 基金 房价 利率 通货膨胀 选举 联合国 足球 世界杯 奥运会 象棋 围棋 钢琴 吉他 芭蕾 京剧 电影 小说 红楼梦 三国演义 西游记 爱情 人生 幸福 友谊 时间 梦想 孤独 哲学 宗教 经济学 心理学 微积分 线性代数 勾股定理 圆周率 质数 概率 化学元素 元素周期表 牛顿定律 电磁波 核聚变 火箭 卫星 飞机 高铁 潜水艇 蝴蝶 熊猫 鲸鱼 企鹅 老虎 蚂蚁 蜜蜂 樱花 玫瑰 梅花 竹子 沙漠 冰川 北极 南极 非洲 巴黎 埃及 罗马 丝绸之路 文艺复兴 工业革命 二战".split()
THINGS_EN = "spring;autumn;the moon;the sea;black holes;dinosaurs;quantum mechanics;relativity;photosynthesis;artificial intelligence;blockchain;bitcoin;the Tang dynasty;the Great Wall;Napoleon;Julius Caesar;Shakespeare;Beethoven;Einstein;Newton;Mount Everest;the Pacific;the rainforest;volcanoes;earthquakes;typhoons;rainbows;the Milky Way;the solar system;Mars;the universe;cells;genes;viruses;bacteria;vitamins;diabetes;blood pressure;a cold;insomnia;headaches;depression;stocks;mutual funds;house prices;interest rates;inflation;elections;the United Nations;football;the World Cup;the Olympics;chess;the piano;the guitar;ballet;opera;movies;novels;Hamlet;love;life;happiness;friendship;time;dreams;loneliness;philosophy;religion;economics;psychology;calculus;linear algebra;the Pythagorean theorem;pi;prime numbers;probability;chemical elements;the periodic table;gravity;electromagnetic waves;nuclear fusion;rockets;satellites;airplanes;trains;submarines;butterflies;pandas;whales;penguins;tigers;ants;bees;roses;deserts;glaciers;the North Pole;Africa;Egypt;Rome;the Silk Road;the Renaissance;the industrial revolution;world war two".split(";")

OOD_ZH = ["(写|作)一首关于{t}的诗", "{t}是什么", "给我讲讲{t}", "(今天|明天|后天|这周){c}(天气|气温)(怎么样|如何|)", "{c}(会不会|明天会)下雨吗", "帮我写一篇关于{t}的(作文|文章|论文)", "讲个(笑话|故事|段子)", "{n}(加|乘以|减|除以|乘){m}等于(几|多少)",
    "把“{t}”翻译成(英文|日文|法语)", "(用|拿)(Python|C|Java|Swift)写一个(排序|冒泡排序|爬虫|计算器|贪吃蛇)", "{c}有什么好玩的", "{c}的人口有多少", "从{c}到{d}(怎么走|坐什么车|要多久)", "帮我订一张去{c}的(机票|火车票)", "{c}(哪家|有什么)(餐厅|酒店)好", "(红烧肉|鱼香肉丝|蛋炒饭|番茄炒蛋|糖醋排骨)怎么做",
    "(感冒|发烧|头疼|胃痛|失眠)吃什么药", "{t}的历史", "谁(发明|发现|写)了{t}", "推荐一(部|本)关于{t}的(电影|小说|书)", "(股票|基金|比特币)现在能买吗", "你(喜欢|爱)(我|{t})吗", "你觉得{t}怎么样", "(现在|今天)(几点|星期几|几号)了", "(谁是|现在)(美国|法国|英国)总统(是谁|)",
    "帮我(做|解)一道(数学|物理|化学)题", "解方程 {n}x+{m}=0", "(昨天|今晚)(的|)(球赛|比赛)谁赢了", "放一首(歌|音乐)", "(唱|来)首歌", "帮我设个{n}点的闹钟", "{t}和{u}有什么区别", "为什么(天是蓝的|会有{t})", "我(失恋|失业|好无聊|心情不好|压力很大)了(怎么办|)", "(星座|生肖)运势(怎么样|)", "{c}的房价(多少|怎么样)", "离婚(怎么打官司|要什么手续)", "(如何|怎么)学好(英语|数学|编程|{t})", "给我(孩子|宝宝|小猫)起个名字", "(陪我聊聊天|跟我聊聊{t})", "帮我写一封(情书|辞职信|求职信|邮件)", "最近有什么(新闻|热点)", "写个关于{t}的(段子|剧本|歌词)",
    "{t}的原理是什么", "解释一下{t}", "{c}属于哪个省", "帮我总结一下{t}", "谈谈你对{t}的看法", "{n}的平方根是多少", "{c}今天冷吗", "查一下{c}的天气", "编一个{t}的故事", "我想知道{t}的知识"]
OOD_EN = ["write a (poem|song|haiku) about {t}", "what is {t}", "tell me about {t}", "what's the weather in {c} (today|tomorrow|this week)", "will it rain in {c} tomorrow", "write an (essay|article) about {t}", "tell me a (joke|story)", "what is {n} (plus|times|minus|divided by) {m}",
    "translate '{t}' into (French|Chinese|German)", "write a (sorting algorithm|web scraper|calculator|snake game) in (Python|C|Java|Swift)", "what can I see in {c}", "what is the population of {c}", "how do I get from {c} to {d}", "book me a (flight|train) to {c}", "which (restaurant|hotel) in {c} is good", "how do I cook (pasta|fried rice|a steak|pancakes|soup)",
    "what medicine helps against (a cold|fever|a headache|stomach pain)", "the history of {t}", "who (invented|discovered|wrote about) {t}", "recommend a (movie|book|novel) about {t}", "should I buy (stocks|bitcoin|gold) now", "do you (love|like) (me|{t})", "what do you think about {t}", "what (time|day) is it", "who is the president of (the US|France|Brazil)",
    "help me with my (math|physics|chemistry) homework", "solve {n}x + {m} = 0", "who won the (game|match) (yesterday|last night)", "play some music", "sing a song", "set an alarm for {n}", "what is the difference between {t} and {u}", "why is the sky blue", "I (am bored|feel sad|lost my job|am stressed)", "what's my horoscope", "how expensive are houses in {c}", "how do I get a divorce", "how can I learn (English|math|programming)", "suggest a name for my (baby|cat|dog)", "let's chat about {t}", "write a (love letter|resignation letter|cover letter)", "what's in the news", "write lyrics about {t}",
    "how does {t} work", "explain {t} to me", "which country is {c} in", "summarize {t}", "share your opinion on {t}", "what is the square root of {n}", "is it cold in {c} today", "check the weather in {c}", "make up a story about {t}", "I want to learn facts about {t}"]
