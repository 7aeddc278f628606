"""Replies that are never said, whatever their score: empty, looping, parroting. Reasons are shown to users."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from chitchat.dialogue import Message

MAX_CHARACTER_RUN = 7
"""哈哈哈哈哈哈哈 still laughs; more is a loop."""
MIN_DISTINCT_BIGRAMS = 0.5
NEAR_DUPLICATE = 0.8
RECENT_REPLIES = 3

_LOOPS = re.compile(
    rf"(.)\1{{{MAX_CHARACTER_RUN},}}"  # 哈哈哈哈哈哈哈哈
    r"|(.{2,3}?)\2{3,}"  # 好的好的好的好的
    r"|(.{4,60}?)\3{2,}",  # 我不知道我不知道我不知道
    re.DOTALL,
)
_LAUGH = re.compile("[哈啊呵嘿嘻嘎呀哦嗯呜哎唉喔噢]{7,}")
_REPEATED = re.compile(r"([^\d\s.+*/×÷-]{2,8}?)\1{2,}")
_BROKEN = re.compile(r"\[(UNK|PAD|CLS|SEP|MASK|unused\d+)\]|\ufffd", re.IGNORECASE)
_MASKED = re.compile("某(号码|账号|邮箱|车牌|地址)")
"""What `corpus.personal_data` puts in place of personal data, and a model trained on it may say."""
_SAYS_SOMETHING = re.compile(r"[^\W_]|[\u2600-\u27bf\U0001f000-\U0001faff]")
_LOSS = re.compile(
    "(?:[爸妈爷奶姥公婆伴爹娘]|孩子|老人|狗|猫|它)[^把被拿带开跑，。！？\\s]{0,6}(?:走了|没了|不在了)|去世|过世|流产|癌|化疗|抢救|车祸|安乐死|火化"
    "|葬|骨灰|遗[照像体]|害死|绝症|晚期|[他她它](?:已经|就|也)?(?:死|走)了"
)
"""Told in the last messages: somebody has died or is very ill."""
_LIGHT = re.compile("哈哈|嘿嘿|噗|嚯|好家伙|恭喜|庆祝|好玩|过瘾|热闹|段子|绝了|有画面|咧嘴|笑死|走运|真香|解暑|放假|快乐|鼓掌|馋")
_PERSON, _ANIMAL = re.compile("[爸妈爷奶姥公婆伴爹娘他她]|孩子|老人"), re.compile("[它狗猫鸟兔鱼龟]|仓鼠|宠物")
_GRIEVED_MESSAGES = 3
_QUESTION = re.compile(r"([?？]|[吗么呢])[\W_]*$")
_MARKS = re.compile(r"[\W_]+")
_CLAUSE_END = re.compile(r"[，。！？；…、～,.!?;~\n]+")
_MIRRORED = frozenset("你好 您好 嗨 哈喽 hi hello 早 早安 早上好 中午好 下午好 晚上好 晚安 再见 拜拜 新年快乐".split())
"""What politeness answers with the same words."""


def rejection(text: str, context: Sequence[Message]) -> str | None:
    """Why `text` must not be said after `context`, in Chinese, or None when it may be."""
    if not text.strip():
        return "空回复"
    if _BROKEN.search(text):
        return "含有无法显示的字符"
    if _MASKED.search(text):
        return "是打了码的个人信息"
    if not _SAYS_SOMETHING.search(text):
        return "只有标点"
    if is_looping(text):
        return "循环重复"
    own = [m.content for m in context if m.role == "assistant"][-RECENT_REPLIES:]
    if any(similarity(text, earlier) >= NEAR_DUPLICATE for earlier in own):
        return "和前面的回复重复"
    said = next((m.content for m in reversed(context) if m.role == "user"), "")
    if bare(text) == bare(said) and bare(text) not in _MIRRORED:
        return "照抄对方的话"
    return _out_of_tune(text, context)


def _out_of_tune(text: str, context: Sequence[Message]) -> str | None:
    """Why `text` would hurt a user who has told of a death or a grave illness in the last messages."""
    if not (light := _LIGHT.search(text)) and "它" not in text:
        return None
    told = "\n".join([m.content for m in context if m.role == "user"][-_GRIEVED_MESSAGES:])
    if not _LOSS.search(told):
        return None
    if light:
        return "对方正难过，不说笑"
    return "把人说成了它" if _PERSON.search(told) and not _ANIMAL.search(told) else None


def is_looping(text: str) -> bool:
    """True for a unit said over and over, side by side or clause by clause; short laughter is none."""
    if _LOOPS.search(text) or _LOOPS.search(bare(text)):
        return True
    clauses = Counter(c.strip() for c in _CLAUSE_END.split(text) if c.strip())
    if any(times >= _times_allowed(clause) for clause, times in clauses.items()):
        return True
    pairs = [pair for pair in _pairs(text) if not pair.isascii()]  # English has too few to tell
    return len(pairs) >= 12 and len(set(pairs)) < MIN_DISTINCT_BIGRAMS * len(pairs)


def without_loops(text: str) -> str:
    """The text with what is said over and over said twice, and a laugh in six letters.

    Nothing is lost to a reader, and a pattern whose parts overlap (`(老|老是|是)*`) would try 2ⁿ ways to read n repetitions.
    """
    return _LAUGH.sub(lambda found: found.group()[:6], _REPEATED.sub(r"\1\1", text))


def is_question(text: str) -> bool:
    """True for what asks: a question mark, or a particle that asks, at the end."""
    return _QUESTION.search(text) is not None


def _times_allowed(clause: str) -> int:
    """How often a clause may stand in one reply, plus one: 对，对，对 is talk, a whole sentence twice is not."""
    return 5 if len(clause) <= 2 else 3 if len(clause) <= 5 else 2


def similarity(a: str, b: str) -> float:
    """Jaccard index of character bigrams without marks and spaces, 0 to 1; 1 for equal texts however short."""
    first, second = bigrams(a), bigrams(b)
    if not first or not second:
        return float(bare(a) == bare(b))
    return len(first & second) / len(first | second)


def bare(text: str) -> str:
    """The text without marks, spaces and case; the text itself when nothing would be left (an emoji)."""
    return _MARKS.sub("", text).casefold() or text.strip()


@lru_cache(maxsize=4096)  # every candidate is compared with the same messages
def bigrams(text: str) -> frozenset[str]:
    """The distinct character bigrams of a text without marks and spaces."""
    return frozenset(_pairs(bare(text)))


def _pairs(text: str) -> list[str]:
    return [text[i : i + 2] for i in range(len(text) - 1)]
