"""When the user asks which of two: 番茄锅还是麻辣锅. A friend picks one.

Few such pairs are in any index, and what is near them in words answers something else (先炒蛋盛出来). What weighs heavily
(离婚还是忍着) and what nobody but the user can know (他是忙还是不想回) is not picked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from chitchat.dialogue import Message
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
    r"(?:^|[，。！？,!?\s])(?P<a>[^，。！？,!?\s]{1,12}?)(?P<gap>[\s，,]*)还是(?:说)?[\s，,]*(?P<b>[^，。！？,!?\s]{1,8}?)"
    r"(?P<tail>(?:呢|啊|呀|好点|好些|比较好|更好|好|合适|划算|哪个|选哪个|你选一个|[\s，,])*)[？?。！!]*$"
)
_ASKED = lazily(
    "^(?:那[么就]?|所以|到底|究竟|纠结|犹豫|不知道(?:该|是)?|你(?:说|觉得|帮我|看|感觉|建议|要是我|替我)?选?(?:更?喜欢)?|我(?=今天|明天|现在|晚上|周末)|我?(?:是|该|应该|要不要|要|想)|今天|明天|现在|今晚|晚上|中午|周末|帮我选|选)+(?=.)"
)
_TELLING = lazily(
    "^(?:[我他她它你这那咱]|要|得|会|没|是|有|很|怕|想|觉得|忘|说|老|一样|天天|应该|有点|不|太|那么|这么|改|放|好人|自己)|[的多]$"
)
_TELLING_FIRST = lazily(
    "^(?:可我?|但|那|也|都|下次|明天|结果|最后|里面|哈+|嗯+|唉|所以|世上|现在)$|(?:了|过|完|后|却|也|都|但|可|里面?|我|脸|着|说|上|边|现在|的)$"
)
_INTERJECTIONS = frozenset(("哈哈", "嗯", "嗯嗯", "唉", "所以", "对", "可", "但", "那", "是"))
_UNKNOWABLE = lazily("[他她它你]|谁|什么|怎么|为(?:什么|啥)")
_HEAVY = lazily(
    "离婚|分手|辞职|手术|打掉|流产|死|活|复合|报警|吃药|停药|住院|结婚|生孩子|要孩子|休学|退学|借钱|贷款|出轨|原谅|读书|考研|考公|上学|志愿|专业|打工|工作"
)
_FACT = lazily(
    "谁|这[是个]|那是|(?<!我)(?:今天|现在|昨天|明天|今年)是|星期|礼拜|周[一二三四五六日天]|男|女|真的|假的|认真|玩笑|[一两]个人|地球|首都|[美中英法德韩俄]国|日本|台湾|大陆"
)
"""What has a true answer, which tossing up may miss, and what a program had better not take sides on."""


@dataclass(frozen=True)
class Choice:
    """Two things of which the user asks for one; `taken` is the one that the bot spoke up for before, if it did."""

    first: str
    second: str
    taken: str = ""

    def is_named(self, text: str) -> bool:
        """Whether a reply speaks of either, by a letter that only one of them has."""
        return not set(text).isdisjoint(set(self.first) ^ set(self.second))

    def replies(self) -> list[str]:
        """Replies that pick, all of them the same one."""
        picked = self.taken or (self.first, self.second)[crc32(f"{self.first} {self.second}".encode()) % 2]
        return [reply.format(it=picked) for reply in REPLIES]


def choice(messages: Sequence[Message]) -> Choice | None:
    """What the last message asks the bot to choose between; None when it asks something else."""
    found = _EITHER_OR.search(messages[-1].content)
    if found is None or _HEAVY.search(messages[-1].content) or _FACT.search(messages[-1].content):
        return None
    opening = _ASKED.match(found["a"])
    first, second = found["a"][opening.end() if opening else 0 :], found["b"]
    if "好" in found["tail"]:
        first = first.removesuffix("好")
    if not first or _UNKNOWABLE.search(first + second) or "我" in first + second or first in _INTERJECTIONS:
        return None
    is_alike = first[-1] == second[-1] or not (set(first) & set(second)).issubset("的了不")
    is_asked = opening is not None and "你" in opening[0] or "好" in found["tail"] or "选" in found["tail"]
    if "了" in first + second and not is_asked:
        return None
    if not (is_alike or is_asked):
        is_short = 2 <= len(first) <= 5 and len(second) >= 2 and abs(len(first) - len(second)) <= 2
        if found["gap"] or not is_short or _TELLING.search(second) or _TELLING_FIRST.search(first):
            return None
    return Choice(first, second, _taken(first, second, [m.content for m in messages if m.role == "assistant"]))


def _taken(first: str, second: str, said: Sequence[str]) -> str:
    """The one of two that the last reply which speaks of only one of them spoke of; empty without any such reply."""
    signs = [(set(a) - set(b) if len(set(a) - set(b)) == 1 else {a}) for a, b in ((first, second), (second, first))]
    for reply in reversed(said):
        named = [any(sign in reply for sign in of) for of in signs]
        if named[0] != named[1]:
            return first if named[0] else second
    return ""
