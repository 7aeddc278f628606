"""When the user wants another of what the bot has just given: 换一个, 还有别的吗, 看过了.

Answered by their words alone (retrieval's way) such a line gets a reply about changing; the request that stands before it is what
must be answered again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chitchat.dialogue import Message
from chitchat.engine.rejection import bigrams, is_question
from chitchat.lazy_pattern import lazily

_MEASURE = "(?:一?[个部首本种家道样条句段篇]|几个|点|些)"
_OTHER = "(?:别的|其他的?|其它的?|另外的?|新的?)"
_ANOTHER = lazily(
    "^(?:那|那就|能|能不能|可以|请|麻烦|你|帮我|给我|我要|我想)*"
    f"(?:再?(?:换|另){_MEASURE}?{_OTHER}?|再(?:来|说|讲|推荐|想|起|给|选|出|编|写|念)(?:我|我们)?{_MEASURE}{_OTHER}?(?:笑话|故事|谜语?|名字?|电影|书|歌|诗)?"
    f"|还有(?:没有)?{_OTHER}?(?:吗|没有?|么|推荐)*|{_OTHER}(?:呢|有吗|还有吗)|不要这个|这个不[行好要])"
    "(?:吗|吧|呗|呢|啊|呀|试试|听听|看看|行吗|可以吗|好不好)*$"
)
_HAD = lazily("^(?:这个?|那个?|都|早就|已经|我)*(?:看|听|吃|玩|去|读)(?:过|腻|烦|够)了?$")
_REQUEST = lazily("推荐|介绍|[讲说来起写出想编背念给](?:我|个|一|点|首|段|句|篇|本|部|几)|猜谜|建议|主意|办法|什么|啥|哪|怎么|谁")
_CLAUSE_END = lazily(r"[^\w]+")


@dataclass(frozen=True)
class Request:
    """What is to be answered again."""

    messages: tuple[Message, ...]
    """Up to the request."""
    unwanted: frozenset[str]
    """Pairs of letters of what the user has turned down: 火锅太上火了，换一个."""


def repeated_request(messages: Sequence[Message]) -> Request | None:
    """The request that the last message wants answered once more, or None when it is about something else."""
    refused = _refused(messages[-1].content)
    if refused is None:
        return None
    position = len(messages) - 3
    while position > 1 and _refused(messages[position].content) is not None:
        position -= 2
    if position < 0 or messages[position].role != "user":
        return None
    request = messages[position].content
    if not (is_question(request) or _REQUEST.search(request)):
        return None
    return Request(tuple(messages[: position + 1]), bigrams(refused) - bigrams(request))


def _refused(text: str) -> str | None:
    """What a message that asks for another says besides, empty for 换一个 alone; None when it asks for none."""
    clauses = [clause for clause in _CLAUSE_END.split(text) if clause]
    others = [clause for clause in clauses if not _ANOTHER.search(clause)]
    if clauses and len(others) < len(clauses) and (_ANOTHER.search(clauses[0]) or _ANOTHER.search(clauses[-1])):
        return "".join(others)
    return "" if clauses and _HAD.search(clauses[-1]) and len(clauses) == 1 else None
