"""What the user has told before: a question of theirs about themselves, and the words of an earlier message that answer it.

Knows how people ask (你还记得我是干嘛的不), how they leave out who they speak of (做会计的，天天对账), and finds an answer by
the words of the question: 我明天要干嘛 is answered by 我明天要去面试. Knows no meaning and infers nothing. What is often told
and asked in other words (a name, an age, a job) is the persona sheet's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from chitchat.lazy_pattern import lazily

_WIDE_MARKS = str.maketrans(",!?;:()~", "，！？；：（）～")
_CLAUSE_END = lazily(
    r"[，。！？；…～、]+|(?<![a-zA-Z])\s+|\s+(?![a-zA-Z])|(?:但是?|可是?|不过|而且?|因为|结果)(?=我)|(?<=[\u4e00-\u9fff])："
)
_SELF = lazily(
    "(?:俺|咱)(?!们|俩)|额(?!们|头|外|度)|本人|[鄙敝]人|[鄙敝](?=姓)|在下"
    "|(?:本|老)(?:铲屎官|娘|子|太婆|头子)我?|人家(?=[才今年就也是都]*[一二三四五六七八九十\\d])"
)

# How it is asked.
_KNOW = "(?:记得住?|记住|记着|知道|晓得|忘|猜得?[到出]?|了解)"
_ASIDE = lazily(
    "^(?:小叙|叙叙|对了|话说|诶|哎|喂|嘿|那|考考?你(?:一下|个?问题)?|问你个?(?:问题|事)?"
    f"|(?:你|侬)?(?:还|都|肯定|应该)?(?:不会)?(?:没|不)?{_KNOW}[了得]?[吗不没么伐吧否]?(?:了吧)?"
    "|我?(?:之?前|刚才?|刚刚|前面)?(?:跟|和|给|对)?你?(?:说|讲|提|聊|告诉)过?(?:你|了)?的?(?:呀|啊|吧|来着)?"
    "|你?(?:说说?|讲讲|猜猜?|报)(?:几条|一下|看|听听|听|来听听)?"
    "|[^什啥谁哪几多怎]{0,4}(?:记|忘|印象|知道|晓得|说过)[^什啥谁哪几多怎]{0,3}[没不吗吧么伐了的])$"
)
"""A clause that only asks for the answer to the other: 你还记得吗, 考考你, 我跟你说过的."""
_OPENING = lazily(
    "^(?:那么?|对了|话说|哎呀?|诶|喂|嘿|小叙|考考?你(?:一下)?|猜一?猜?看?|说一?说?看?|报一下|讲讲|请问|(?:你|侬)(?=.*我)"
    "|还|都|能不能|能|可以?|应该|肯定|记不记得|知不知道|忘没忘|是不是"
    f"|{_KNOW}[了得]?|给我|告诉我|总结一下|[ ])+(?=我|之前|上次)"
)
_REPORTED = lazily(
    "^我?(?:(?:刚才?|刚刚|之前|前面|上一?句|上次|早上|昨天)(?:是不是)?(?:跟你|和你|给你|对你)?都?(?:说|讲|提)(?:过|到)?"
    "|(?:跟|和|给|对)你(?:说|讲|提)(?:过|到)?|(?:说|讲|提|告诉)过你?|(?:说|讲|提)(?=的|我.*(?:来着|记得)))"
    "的?(?:是|关于)?(?=我|.{2})我?"
)
"""我刚才跟你说我, before what was said."""
_TAIL = lazily(
    f"(?:(?:你|侬)?(?:还|都|总|应该|肯定)*(?:没|不)?(?:{_KNOW}|有印象|说说?|讲)[了得]?(?:吗|不|没|么|伐|吧|否|呗)*"
    "|我?(?:跟|和|给)你?(?:说|讲|提)过[的没吧吗]*|来着|的?吧|[啊呀呢哦哈嘞噻哟伐]+|(?<!干)嘛|(?<=来着)吗|吗(?=$))++$"
)
"""Possessive, or a laugh of thirty letters takes minutes."""
_EXPLICIT = lazily(
    "(?<!我不)(?<!我都不)(?<!我也不)(?<!没)记(?:得|住)|没忘|忘了?(?:[吗没吧]|我(?:刚|之前)?[说讲提])|来着|刚才?[说讲]|刚刚[说讲]|上一?句|[说提讲告诉]过"
)
_ASKED_BACK = lazily("你?(?:还|都)?(?:记得|记住)|没忘|刚才?[说讲]|我(?:[说提讲告诉]过|又?忘)")
_ADVICE = lazily("(?<![跟和给对])(?:你|侬)(?:说说?|看|觉得|认为)(?=我)")
_FORGOTTEN = lazily("(?:忘了?|记得)我(?:刚才?|之前)?[说讲提]")
_SAID = lazily("^我(?:刚才?|之前)?[说讲提](?:过|了)?我?")
_REMEMBER = lazily(f"^(?:那|小叙|你|侬|还|都|应该|肯定|记不|忘没)*{_KNOW}[了得]?")
_ASKS_WHETHER = lazily("[吗么吧没不?？]$|记得|忘")
_EARLIER_TALK = lazily("昨[天晚]|前[天晚]|上[次回周个]|那[天次]|以前|前几天|第一次|我们|咱")
_OWED = lazily(
    "来着|(?:^|，)(?:那|小叙|对了)?(?:你|侬)?(?:还|都|应该|肯定|会不会)*(?:记得|记不记得|忘了?我)|记得[吗不没吧么]|没忘|忘了?[吗没吧]|我.*[说讲提]过[的没吗吧]*[?？]?$"
    "|我[^你]*刚(?:才|刚)?(?:[跟和]你)?[说讲]|我(?:[跟和给]你)?[说讲提]过.+[吗没吧?？]$"
)
"""What asks in so many words for what the user has said."""
_NOT_MEANT = lazily(
    "(?:^|[^问跟和给对])我(?:也|都|还|只|就|又|老是?|总|完全|怎么|自己|已经)*(?:不|没)?(?:记(?!忆|性)|忘|想不)"
    "|[谁人]还?记得|[几多少][次遍回]|(?:什么时候|啥时候|哪[里儿]?|何时|怎么)(?:[说讲提]|告诉)|[说讲]什么你?都|谁[说告]|(?:什么|啥|谁|哪.?)[他她它你人]?都"
)
"""What the user themselves forgot (我忘了放哪了), and what asks for nothing (我什么时候说过)."""
_ABOUT_OWN = lazily("^[^我你他她问自]+我(?!都|也|不|就|的)[^你他她]*(?:什么|啥|谁|几|多少|哪)")
_UNDECIDED = lazily(
    "(?:什么|啥|谁|哪.?)都|^我(?:就|也|是)*[说问讲]|凭什么|算什么|合适|[他她]说|该|能|可以|不知道|要不要|会不会|才|好$|办|到底|去$"
    "|^我要|^我(?:现在|今天|明天|晚上|等下|待会)*(?:吃|喝|看|玩|穿|做|干|说|去|选|买|睡)(?:什么|啥|哪)$"
)
"""What shows that the user asks what to do, not what they have said."""
_QUESTION_WORD = lazily(
    "(?P<how>为(?:什么|啥)|怎么|咋)|(?<!好)几(?P<counted>年级|[个点岁号天只条月年次口位级斤块楼层路遍碗瓶杯]?)"
    "|(?P<amount>多少|多[大高重久长远])|(?P<work>做(?:什么|啥)|干(?:什么|嘛|啥))"
    "|(?:什么|啥)(?P<when>时候)|(?P<where>(?:什么|啥)地方|哪[里儿])|什么|啥|谁|哪(?P<day>一?天|一?年)?"
)

# How it is told.
_ANNOUNCED = lazily(
    "^(?:唉|哎呀?|哎|哈+|嗯+|额+|对了?|那个|其实|话说|别提了|你好[呀啊]?|您好|哈喽|hello|hi|hey|嗨|早上好|晚上好|中午好|大家好|没错"
    "|我?跟你[说讲](?:啊|哈|个事)?|我说了?(?=我)|忘了?(?:自我介绍|说了?)|不瞒你说|说实话|告诉你(?:吧|哦)?|自我介绍一下)+(?=.{2})"
)
_NOT_ASKING = lazily("不(?:知道|晓得|清楚|记得|管)|啥的|什么的|几[年个天次]了|(?<=[住玩待歇回去等])几[天年个]")
_PERSON = (
    "[他她它你您]|别人|有人|人家|大家|男主|女主|主角|爸|妈|爹|娘|爷爷|奶奶|外公|外婆|姥姥|姥爷|爸妈|父母|哥|姐|弟|妹|叔|姨|舅|姑"
    "|老公|老婆|丈夫|妻子|媳妇|对象|男友|女友|男朋友|女朋友|前任|男票|女票|儿子|女儿|闺女|丫头|娃|孩子|孙子|孙女|宝宝|同学|同桌|室友"
    "|舍友|同事|朋友|闺蜜|哥们|兄弟|老师|老板|领导|主管|经理|班主任|导师|邻居|房东|隔壁|博主|客服|客户|师傅|阿姨|网友"
)
_ABOUT_USER = lazily("(?:叫|喊|管|称呼|说|问|夸|骂|嫌)我")
_WHEN = (
    "(?:今天|今儿|今年|昨天|昨晚|前天|明天|后天|刚才?|现在|最近|下周|上周|下个?月|去年|早上|中午|晚上|下午|听说|因为|连|而且)*"
)
_OF_OTHERS = lazily(
    f"^{_WHEN}(?:[^我，]{{1,4}}[上里]|里[面头])?(?:我们?|咱们?)?(?:家|的|那个?|有个|最好的|[大小老二三])*(?:{_PERSON})"
)
_OF_OTHERS_NOW = lazily(f"(?:{_PERSON}).{{0,4}}(?:说|叫(?!我)|是|在|姓|喜欢)")
"""After 刷到一个博主说她在云南 what follows is of the other."""
_NOT_OURS = f"(?:{_PERSON}|楼上|楼下)(?:们|那|上)?(?:家|的)"
_SAID_FOR = {
    "女儿": "闺女|丫头",
    "孩子": "娃娃|娃|宝宝|小孩",
    "妈": "老妈|妈妈|妈咪|母亲",
    "爸": "老爸|爸爸|父亲|老爹|爹",
    "老婆": "媳妇儿|媳妇|妻子|爱人",
    "老公": "丈夫",
    "男朋友": "男友|男票",
    "女朋友": "女友|女票",
    "弟": "弟弟",
    "妹": "妹妹",
    "哥": "哥哥",
    "姐": "姐姐",
    "老师": "班主任",
    "狗": "狗狗|狗子|二哈|哈士奇|金毛|柯基|泰迪|拉布拉多|边牧|柴犬|萨摩耶|博美|法斗|贵宾|阿拉斯加",
    "猫": "猫咪|喵星人|布偶|英短|美短|加菲|狸花|三花",
}
_KNOWN_AS = {"女儿": ("女儿", "孩子"), "儿子": ("儿子", "孩子"), "孩子": ("孩子", "女儿", "儿子")}
_WORD_OF = {word: name for name, words in _SAID_FOR.items() for word in words.split("|")}
_SYNONYM = lazily("(?<!全职)(?:" + "|".join(_WORD_OF) + ")")
_NUMBER = "[0-9一二两三四五六七八九十百千万半]"
_TIME = "国庆|元旦|五一|月底|年底|周末|[0-9点号日月周年]|明|后天|今|昨|早|晚|星期|礼拜|节|暑假|寒假"
_PLACE = "[在去到往从住回搬放考]|来自|[市省县区镇村街路院校馆店厂站楼港州京]|大学|中学"
_WORK = "[是做当干开卖教修种跑送学搞]|上班|工作|[师员工匠生]"
_DENIES = lazily("(?:不是|没有?|不(?=在))([^，]{1,4})")
_EITHER = lazily("^我(?P<about>.*?(?<=[是在叫姓属住]))(?P<a>[^还是在]{1,6})还是[是在叫姓属住]?(?P<b>.{1,6})$")
_FILLER = lazily("[的了是在就也还都要想能有个我们那这得很最]|所以|一共|现在|过(?!敏)|一[个只条下]|会(?=.)")
_DAY = lazily("[今昨前明后]天|昨晚|刚才?")
_MAX_QUOTED = 30
"""Letters; who is asked for one thing does not repeat a whole story."""
_SOME, _MOST = 0.35, 0.5
_MANY_LETTERS = 4
_ONLY_WHEN_ASKED = lazily("[他她它你]|一?开始")
"""What a question says that its answer need not."""
_PRONOUN = lazily("[他她它你]")


@dataclass(frozen=True)
class Question:
    """What a user asks about themselves."""

    text: str
    """From 我 on: 我叫什么."""
    is_explicit: bool
    """Whether they ask in so many words if it is remembered: 记得, 来着, 我说过的."""
    owes_answer: bool = False
    """Whether so, and an answer is owed even when nothing was told."""
    of_earlier_talk: bool = False
    """Whether it may be about another day's talk, which the bot has not seen."""
    asks_advice: bool = False
    """Whether they want an opinion, 你说我穿什么, if not what they have said before."""


@dataclass(frozen=True)
class Told:
    """A clause of an earlier message."""

    clause: str
    """Its words, 我 supplied where it was left out: 做会计的 is 我做会计的."""
    quoted: str
    """It and what stands around it in the message, to be said back."""
    of_user: bool
    """Of whom it speaks: the user, or somebody else."""


def full_width(text: str) -> str:
    """The text in one width, its marks the full-width ones."""
    return unicodedata.normalize("NFKC", text.replace("…", "，")).translate(_WIDE_MARKS)


def is_of_others(clause: str, who: str) -> bool:
    """Whether a clause speaks of somebody else's: of 猫, 室友的猫叫奥利奥 does."""
    return who != "" and re.search(f"{_NOT_OURS}[^我]{{0,4}}{re.escape(who)}", clause) is not None


def known_as(who: str) -> tuple[str, ...]:
    """The words by which somebody may have been told of, `who` first: of a 女儿 one speaks as 孩子, too."""
    return _KNOWN_AS.get(who, (who,))


def same_words(text: str) -> str:
    """The text with one word each for whom people have several: 闺女 is 女儿, 柯基 is 狗."""
    return _SYNONYM.sub(lambda found: _WORD_OF[found.group()], text)


def asked_of_user(message: str) -> Question | None:
    """The question about the user that a message puts and nothing more: 那你还记得我叫什么不 gives 我叫什么; else None.

    What they ask to be remembered of others counts: 你记得它几斤吗 gives 我它几斤.
    """
    text = _SELF.sub("我", full_width(message))
    clauses = [c for c in _CLAUSE_END.split(text) if c and not _ASIDE.search(c)]
    if len(clauses) == 2 and "我" not in clauses[1] and _QUESTION_WORD.search(clauses[1]):
        clauses = [_TAIL.sub("", clauses[0]) + clauses[1].lstrip("是")]  # 你还记得我的猫吗，叫什么
    if len(clauses) != 1:
        return None
    core = _TAIL.sub("", _OPENING.sub("", clauses[0]))
    if is_explicit := _EXPLICIT.search(text) is not None:
        core = re.sub("(?<=..)[不没]$", "", core)
    reported = _REPORTED.match(core) or _FORGOTTEN.search(text) and _SAID.match(core)
    if reported and (reported[0][1:].endswith("我") or not re.match("(?:的|了)?(?:什么|啥|哪|谁)", core[reported.end() :])):
        core = "我" + core[reported.end() :]
    elif _ABOUT_OWN.search(core):
        core = "我" + core.replace("我", "", 1)  # 漫展我要出谁
    elif _ASKED_BACK.search(text):
        of_what = _REMEMBER.sub("", core)
        if "你" not in of_what and (of_what != core or not _PRONOUN.search(core)):
            core = "我" + of_what.replace("我", "", 1)
    if len(core) < 2 or core[0] != "我":
        return None
    asks = _QUESTION_WORD.search(core) is not None or bool(reported) and _ASKS_WHETHER.search(text) is not None
    return Question(
        same_words(core),
        is_explicit,
        owes_answer=asks and _OWED.search(text) is not None and not _NOT_MEANT.search(text),
        of_earlier_talk=_EARLIER_TALK.search(text) is not None,
        asks_advice=_ADVICE.search(text) is not None,
    )


def recalled(question: Question, told: Iterable[Sequence[Told]], *, strictly: bool) -> str | None:
    """The words of `told` that answer `question`; None when nothing that was told does.

    What holds most of the question's letters answers it, if those are most of them, if it is about the same person, if it says
    more than the question does, and if it holds what is asked for: a number, a time, a name, a place, a job.

    Args:
        told: what the user has said before, as `statements` gives it.
        strictly: the question is one that people ask in few words, 我住哪: a letter or two shared with it say nothing.
    """
    if (either := _EITHER.match(question.text)) is not None and not _UNDECIDED.search(question.text):
        return _one_of(either, told)
    sought = _sought(question, strictly)
    if sought is None:
        return None
    of_user = not _OF_OTHERS.search(question.text)
    best, most = None, 0.0
    for message in told:
        only_own = all(part.of_user for part in message)
        for part in message:
            if part.of_user < of_user or not sought.may_be_in(part) or strictly and _is_of_another(part, question):
                continue
            found = sought.letters & _letters(part.quoted if question.is_explicit and only_own else part.clause)
            shared = len(found) / len(sought.wanted) if sought.wanted else 1.0
            if shared > most and (shared >= 1.0 or any(len(letters) == 2 for letters in found)):
                best, most = part.quoted, shared
    return best if most >= sought.least else None


@dataclass(frozen=True)
class _Sought:
    """What a message must hold to answer a question."""

    wanted: frozenset[str]
    """The letters of the question, most of which the answer has."""
    letters: frozenset[str]
    """Those, and the kind asked for: 什么车 need not be answered with 车."""
    needs: re.Pattern[str] | None
    """What every answer has; None when all that is asked is whether it was said."""
    wants_number: bool
    least: float
    """The share of `wanted` from which it is an answer."""

    def may_be_in(self, part: Told) -> bool:
        if self.needs is not None and not self.needs.search(part.quoted):
            return False
        if any(self.wanted & set(found[1]) for found in _DENIES.finditer(part.clause)):
            return False  # 我没去过云南 does not tell where they have been
        if self.needs is not None and not _letters(same_words(part.quoted)) - self.letters - frozenset("我"):
            return False  # 我有个哥哥 tells nothing of him
        if len(self.wanted) == 1 and not self.wants_number:  # 我教什么: of all that holds 教, only what begins with it
            return _FILLER.sub("", _DAY.sub("", part.clause)).startswith(next(iter(self.wanted)))
        return True


def _sought(question: Question, strictly: bool) -> _Sought | None:
    """None for what is no question about what was told."""
    text = question.text
    word = _QUESTION_WORD.search(text)
    if word is None:
        wanted = _letters(text[1:])
        return _Sought(wanted, wanted, None, False, _MOST) if question.owes_answer and wanted else None
    if _QUESTION_WORD.search(text, word.end()):
        return None
    if not question.is_explicit and (word["how"] or question.asks_advice or _UNDECIDED.search(text)):
        return None
    after = text[word.end() :]
    kind = after[:2] if word.group() in ("什么", "啥", "哪") else ""  # 什么车: who tells names the car
    before = _ONLY_WHEN_ASKED.sub("", text[1 : word.start()])
    wanted = _letters(before.removeprefix("家") + " " + after[len(kind) :])
    wants_number = word["counted"] is not None or word["amount"] is not None
    if not (wanted or question.is_explicit and wants_number) or strictly and len(wanted) < _MANY_LETTERS:
        return None
    needs = re.compile(_needed(before, word, after))
    return _Sought(wanted, wanted | _letters(kind), needs, wants_number, _SOME if question.is_explicit else _MOST)


def _needed(before: str, word: re.Match[str], after: str) -> str:
    """What every answer to such a question has, as a regular expression; empty for any."""
    if word["counted"] is not None or word["amount"] is not None:
        return _NUMBER + f".*{word['counted'] or ''}"
    if word["when"] or word["day"]:
        return _TIME
    if re.search("(?:叫|姓|名字?)(?:是|做)?$", before) or after.startswith("名"):
        return "[叫姓名喊]|称呼|(?<!不)是"
    if before.endswith(("在", "去", "到")) and (word["where"] or word.group() == "哪"):
        return _PLACE
    if word["work"] and after.startswith(("的", "工作")):
        return _WORK
    return ""


def _one_of(either: re.Match[str], told: Iterable[Sequence[Told]]) -> str | None:
    """The words that hold one of the two that the user asks about: 我养的是猫还是狗."""
    about = _letters(either["about"])
    for message in told:
        for part in message:
            if part.of_user and about & _letters(part.clause) and (either["a"] in part.clause) != (either["b"] in part.clause):
                return part.quoted
    return None


def _is_of_another(part: Told, question: Question) -> bool:
    return _PRONOUN.search(part.clause) is not None and not _PRONOUN.search(question.text)


def statements(messages: Iterable[str]) -> list[list[Told]]:
    """What each message tells, clause by clause; questions tell nothing."""
    return [list(_statements(message)) for message in messages]


def _letters(text: str) -> frozenset[str]:
    """Each letter and each pair of neighbours that says something."""
    words = _FILLER.sub(" ", text)
    return frozenset(words.replace(" ", "")) | frozenset(a + b for a, b in pairwise(words) if " " not in a + b)


def _statements(message: str) -> Iterator[Told]:
    parts = [_ANNOUNCED.sub("", part) for part in _CLAUSE_END.split(_SELF.sub("我", full_width(message)))]
    parts = [part for part in parts if part]
    of_user = True
    for number, part in enumerate(parts):
        clause = part
        if _OF_OTHERS.search(clause):
            of_user = False
        elif clause.startswith("我"):
            of_user = True
        elif of_user and "我" not in clause:
            clause = "我" + clause
        if _OF_OTHERS_NOW.search(clause):
            of_user = False  # of whom the next clauses speak
        if _QUESTION_WORD.search(clause) and not _NOT_ASKING.search(clause) or clause.endswith(("吗", "么")):
            continue
        quoted = "，".join(parts)
        if len(quoted) > _MAX_QUOTED:
            quoted = part if number == 0 or len(parts[number - 1]) + len(part) >= _MAX_QUOTED else f"{parts[number - 1]}，{part}"
        yield Told(same_words(clause), quoted, of_user or _ABOUT_USER.search(clause) is not None)
