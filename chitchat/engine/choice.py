"""When the user asks which of two: 番茄锅还是麻辣锅. A friend picks one.

Few such pairs are in any index, and what is near them in words answers something else (先炒蛋盛出来). What has a true answer
(地球是圆的还是方的), what weighs heavily (离婚还是忍着) and what nobody but the user can know (他是忙还是不想回) is not picked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonprefix
from zlib import crc32

from chitchat.dialogue import Message
from chitchat.engine.rejection import bigrams
from chitchat.lazy_pattern import lazily

REPLIES = (
    "要我选，{it}。",
    "{it}吧，想太久两样都不香了。",
    "我投{it}一票，你心里偏哪头？",
    "{it}。听到这个，你是松口气还是有点失落？",
    "选{it}，没什么大道理，就是听着顺耳。",
    "那就{it}，拿不准的时候先定一个。",
)
_EITHER_OR = lazily(
    r"(?:^|[，。！？,!?\s])(?P<a>[^，。！？,!?\s]{1,12}?)(?P<gap>[\s，,]*)还是(?:说)?[\s，,]*(?P<b>[^，。！？,!?\s]{1,14}?)"
    r"(?P<tail>(?:呢|啊|呀|啦|好点|好些|比较好|更好|好[看玩喝吃用听]?|合适|划算|哪个|选哪个|你选一个|[\s，,])*)[？?。！!]*$"
)
_OR = lazily("、|还是")
_LONGEST = 8
_TIMES = "今天|明天|后天|现在|今晚|早上|上午|中午|下午|晚上|周末|放假|过年|暑假|寒假"
_DEEDS = (
    "(?:出去|[去吃买穿看坐做玩喝选带送养学住租走留等打回再换写听睡起洗点用放找退扔考报加发忍答直继在把给跟骑开煮炒炖烤剪烫染]"
    "(?![的着了生心户]))"
)
_OPINION = "(?:说|觉得|帮我|看|感觉|建议|要是我|替我)?(?:更?喜欢|支持|选|站)?"
_ASKING = (
    f"那[么就]?|所以|到底|究竟|纠结|犹豫|不知道(?:该|是)?|我?问你|你{_OPINION}|(?<=[说得看议])我(?={_DEEDS})"
    "|[^我你他她是]{1,6}(?=你(?:说|觉得|更?喜欢|支持|选|站))|我(?=今天|明天|现在|晚上|周末)|我?(?:是|应该|该|要不要|要|想)|帮我选|[选站]"
)
_ASKED, _ASKED_OF_TIMES = lazily(f"^(?:{_ASKING}|{_TIMES})+(?=.)"), lazily(f"^(?:{_ASKING})+(?=.)")
_TIME = lazily(_TIMES)
_LEADING = ("喜欢", "应该", "该", "要", "选", "站", "想")
"""What asks and may be said again of the second: 你喜欢猫还是喜欢狗."""
_PRAISE = lazily("好[看玩喝吃用听]?$")
_TELLING = lazily(
    "^(?:[我他她它你这那咱]|要|得|会|没|是|有|很|怕|想|觉得|忘|说|老|一样|天天|应该|有点|不|太|那么|这么|改|放|好人|好朋友|自己|能|别|第一)|[的多]$"
)
_TELLING_FIRST = lazily(
    "^(?:可我?|但|那|也|都|[上下][次回].*|明[天年].*|结果|最后|里面|哈+|嗯+|唉|所以|世上|现在|以前|从前|每天|平时|后来|醒来|这不|可是|但是)$"
    "|(?:了|过|完|后|却|也|都|但|可|里面?|我|脸|着|说|上|边|现在|的|要是|半天)$"
)
"""Before 还是 that means "still"."""
_INTERJECTIONS = frozenset(("哈哈", "嗯", "嗯嗯", "唉", "所以", "对", "可", "但", "那", "是", "可是", "这不"))
_QUOTED = lazily('问我|(?:^|[^我你])说[：:，,“" ]*$')
"""Before the two: somebody else has asked, and the user tells of it."""
_UNKNOWABLE = lazily("[我他她它你]|别人|谁|什么|怎么|为(?:什么|啥)")
_HEAVY = lazily(
    "离婚|分手|辞职|手术|打掉|流产|死|活|复合|报警|吃药|停药|住院|结婚|生孩子|要孩子|休学|退学|借钱|贷款|出轨|原谅|读书|考研|考公|上学|志愿|专业|打工|工作"
)
_FACT = lazily(
    "谁|(?<!在)这(?![么次周回])|那[是个]|星期|礼拜|周[一二三四五六日天]|男|女|公的|母的|真.*假|假.*真|认真|玩笑|[一两]个人|不知道是|刚才|刚刚|来着"
    f"|(?:{_TIMES})(?:会|要)?(?:下[雨雪]|晴|阴|[热冷]还|[\\d一二两三四五六七八九十]+[点号月])"
    "|地球|太阳|月亮|首都|题目|答案|属于|字念|读作|往|先[看听]到|算(?![了法账数])|[猫狗熊鱼鸟虫蛇马牛羊鸡兔虎狮象](?:会|能|吃|怕|有)"
)
_SIDES = lazily(
    "[美中英法德韩俄]国|日本|朝鲜|印度|以色列|巴勒斯坦|乌克兰|俄罗斯|台湾|香港|大陆|共产党|国民党|民进党|共和党|主义|总统|民主|特朗普|川普|拜登|普京"
)
"""Between which a program had better not take sides; a journey takes none."""
_JOURNEY = lazily("[去飞玩]|旅")
_DEED = lazily(f"^(?:{_TIMES}|先)?{_DEEDS}")
"""After 是 it asks what to do; anything else, what something is."""
_PLACED = lazily("^(?!.{0,3}[住留放坐躺待呆家店])[^在]{2,}在")
"""珠穆朗玛峰在: where something is."""
_MEASURES = frozenset("大小长短高矮重轻快慢远近早晚多深浅老贵")
_VERBS = "去吃喝买穿看坐养学选打送住留用做先再要租变点走"
_LEADING_VERBS = lazily(f"^[{_VERBS}]+(?=.)")
_NOT_FOR = lazily("不|别|没|[?？吗]")
_CLAUSE = lazily("[^，。！；,.!;～~]+")
_SHORT_ANSWER = 4
"""甜的，日子够咸了 speaks of both and answers in its first clause."""
_FAILING = lazily(r"(.) \1[不得]")
"""按还是按不响: it still fails."""


@dataclass(frozen=True)
class Choice:
    """Two things of which the user asks for one; `taken` is the one that the bot spoke up for before, if it did."""

    first: str
    second: str
    taken: str = ""

    def is_named(self, text: str) -> bool:
        """Whether a reply speaks of either, by a word that only one of them has, and of no other than `taken`."""
        named = [_names(text, word) for word in _words(self.first, self.second)]
        return named == [self.first == self.taken, self.second == self.taken] if self.taken else any(named)

    def replies(self) -> list[str]:
        """Replies that pick, all of them the same one."""
        picked = self.taken or (self.first, self.second)[crc32(f"{self.first} {self.second}".encode()) % 2]
        return [reply.format(it=picked) for reply in REPLIES]


def choice(messages: Sequence[Message]) -> Choice | None:
    """What the last message asks the bot to choose between; None when it asks something else."""
    text = messages[-1].content
    found = _EITHER_OR.search(text)
    if found is None or _HEAVY.search(text) or _FACT.search(found[0]) or _QUOTED.search(text[: found.start("a")]):
        return None
    if _SIDES.search(text) and not _JOURNEY.search(text) or (pair := _pair(found)) is None:
        return None
    return Choice(*pair, _taken(*pair, [m.content for m in messages if m.role == "assistant"]))


def _pair(found: re.Match[str]) -> tuple[str, str] | None:
    """The first and the last of what is offered, without the words that ask; None when nothing is, or a fact is asked for."""
    second = _OR.split(found["b"])[-1]
    asking = (_ASKED_OF_TIMES if _TIME.search(second) else _ASKED).match(found["a"])
    opening = asking[0] if asking else ""
    first = _OR.split(found["a"][len(opening) :])[-1]
    tells = _TELLING_FIRST.search(first) is not None or _TELLING.search(second) is not None
    is_praised = "好" in found["tail"] and (_PRAISE.search(first) is not None or not tells)
    if not is_praised and _is_fact(opening, first, second):
        return None
    first, second = _aligned(opening, _PRAISE.sub("", first) if is_praised else first, second)
    if not first or first in _INTERJECTIONS or len(second) > _LONGEST or _UNKNOWABLE.search(first + second):
        return None
    if is_praised or "你" in opening or "选" in opening + found["tail"]:
        return first, second
    is_like = first[-1] == second[-1] or not (set(first) & set(second)).issubset("的了不")
    is_short = 2 <= len(first) <= 5 and len(second) >= 2 and abs(len(first) - len(second)) <= 2
    is_offered = is_like and not _FAILING.search(f"{first} {second}") or is_short and not found["gap"] and not tells
    return (first, second) if is_offered and "了" not in first + second else None


def _is_fact(opening: str, first: str, second: str) -> bool:
    """Whether it asks what something is, where it is, or which is the larger."""
    _, being, what = (opening + first).rpartition("是")
    if being and not _DEED.search(what) and second != f"不{what}":
        return True
    is_measured = first[-1:] in _MEASURES and (second[-1] == first[-1] or len(first) > 2 and second[-1] not in _MEASURES)
    return is_measured or _PLACED.search(first) is not None


def _aligned(opening: str, first: str, second: str) -> tuple[str, str]:
    """The two from where they differ: 毕业旅行 is no part of 去西北 when the other is 去东南."""
    first = first.rpartition("是")[2]
    if led := next((word for word in _LEADING if opening.endswith(word)), None):
        second = second.removeprefix(led) or second
    start = first.rfind(second[0])
    if second[0] in _VERBS and start > 0 and len(first) - start > 1 and first[start - 1] not in "不没":
        first = first[start:]
    return first, second


def _words(first: str, second: str) -> tuple[str, str]:
    """The word of each that the other has not: 大理 and 丽江 of 去大理 and 去丽江; one is empty for 去 and 不去."""
    head = len(commonprefix((first, second)))
    tail = len(commonprefix((first[head:][::-1], second[head:][::-1])))
    first, second = (_LEADING_VERBS.sub("", text[head : len(text) - tail]) for text in (first, second))
    return first, second


def _names(text: str, word: str) -> bool:
    """Whether `text` has the word, or two neighbours of a longer one."""
    return word in text if 0 < len(word) <= 2 else not bigrams(word).isdisjoint(bigrams(text))


def _taken(first: str, second: str, said: Sequence[str]) -> str:
    """The one of two for which the last reply spoke up that did so for one of them; empty without any such reply."""
    words = _words(first, second)
    if not all(words):
        return ""
    for reply in reversed(said):
        clauses = [clause for clause in _CLAUSE.findall(reply) if not _NOT_FOR.search(clause)]
        for spoken in ("，".join(clauses), *(clause for clause in clauses[:1] if len(clause) <= _SHORT_ANSWER)):
            named = [_names(spoken, word) for word in words]
            if named[0] != named[1]:
                return first if named[0] else second
    return ""
