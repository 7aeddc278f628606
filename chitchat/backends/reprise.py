"""What of the user's message can be said back: 我爸把那段发家族群了 → 你爸把那段发家族群了？

Who listens takes the other's words up; a fragment of what was said, said again as a question, asks to go on and shows what was
heard (reprise fragments: Purver, Ginzburg and Healey 2003, "On the means for clarification in dialogue", section 2.3).
"""

from __future__ import annotations

from chitchat.lazy_pattern import lazily

MIN_LETTERS, MAX_LETTERS = 5, 10
"""Less says nothing, and more is a parrot."""

_CLAUSE_END = lazily(r"[\s，。！？；、,!?;~～…：:（）()“”\"]+|(?<!\d)\.|\.(?!\d)")
_OPENING = lazily(
    "^(?:可是|但是|不过|然后|后来|结果|而且|所以|因为|主要是?|其实|关键是?|反正|对了|哎呀|唉|嗯|哈哈+|嘿嘿|害|切|喂|哦|噢|啊|是啊|对[啊呀]"
    "|没错|行|可|我?说(?:的?是)?|今天|现在|(?:是|昨天)(?=.{3}))+"
)
_PARTICLES = lazily("(?:[啊呀呢吧嘛呗哦噢哎唉啦哈]|嘿嘿)+$")
_NOT_TOLD = lazily(
    "[你您谁哪啥咋叫姓猜岁]|小叙|给我(?:看|听|讲|说)|是.{1,3}人$|什么|怎么|几[个点号时岁]|多少|(.)[不没]\\1|有没有|[行好]不|能不能|^不|^没有?$|^没[^过了]{0,2}$"
    "|^我(?:不|没)?(?:知道|觉得|想|说|服|真服)|真是|算了|拜拜|晚安|早安|再见|谢谢|对不起|没事|没关系|听懂|[A-Za-z0-9]{6,}"
    "|哭|病|疼|痛|伤|流血|分手|吵架|被打|打我|死|没了|明天|万一|为了|[0-9一二三四五六七八九十百]+(?:岁|多|几)?了$|(?:[是说问叫像]|[看查想问等]了?一?下|一会儿|那种|的话|的时候)$|^(?:像|那就|就想)"
)
"""What is asked, said to the bot, denied, broken off, only meant politely, or sad."""
_GRAVE = lazily(
    "难受|难过|害怕|好怕|崩溃|委屈|没意思|没劲|失败|后悔|睡不着|孤单|活着|想起|想[你他她它我]?(?:外|爸|妈|爷|奶|姥)|丢了工作|工作.{0,2}丢|最后|心梗|走的|陪了"
    "|住院|甩了|失恋|分手|分了|有别人|出轨|打一?针|站不起来|安乐|[去过]世|流产|癌|肿瘤|坟|脑梗|手术|裁员|被裁|离婚|遗[照体像]|奔丧|抢救|确诊|化疗|(?<![气笑累烦饿热冷吓困渴撑馋美急乐])死(?![机党板活角心])"
    "|(?:[爸妈爷奶姥公婆伴爹娘]|老人|孩子)[^把被拿带开跑]{0,4}(?:走了|没了)|[他她它][也就都]?(?:已经)?走了"
)
"""好家伙 would mock it."""
_EVENT = lazily("[了把被给让](?!$)|了$")
"""What has happened; of what is, there is nothing to exclaim."""
_NO_STORY = lazily("[?？]|[吗么]$|吗[，。！ ]|什么|怎么|为啥|为什么|你说|你觉得|咋|要不要|是不是|推荐|我叫|我姓|我今年")
"""Who asks wants an answer, and who introduces themselves tells no story."""
_TURNED = str.maketrans({"我": "你", "咱": "你", "俺": "你"})


def is_grave(message: str) -> bool:
    """Whether a message tells of death, illness, violence or parting."""
    return _GRAVE.search(message) is not None


def own_clauses(message: str, before: str = "") -> list[str]:
    """The clauses in which a message of several tells what happened, in the bot's mouth: without 可是 and 啊, 我 turned to 你.

    What takes up words of `before`, the bot's own last message, answers or corrects it and tells little.
    """
    if _NO_STORY.search(message):
        return []
    parts = _CLAUSE_END.split(message)
    found = []
    for part in parts if len(parts) > 1 else []:
        clause = _PARTICLES.sub("", _OPENING.sub("", part))
        if not MIN_LETTERS <= len(clause) <= MAX_LETTERS or _NOT_TOLD.search(clause) or not _EVENT.search(clause):
            continue
        if not any(clause[i : i + 2] in before for i in range(len(clause) - 1)):
            found.append(clause.replace("咱们", "你们").translate(_TURNED))
    return list(dict.fromkeys(found))
