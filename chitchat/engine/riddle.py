"""Riddles: posed when the user asks for one, and their guesses, hints and answers after that.

A reply found in an index poses a riddle well and then knows nothing of its answer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chitchat.dialogue import Message
from chitchat.lazy_pattern import lazily

_POSED = ("猜猜看：{riddle}", "听好：{riddle}", "来一个：{riddle}")
_RIGHT = ("对，就是{answer}！再来一个？", "猜中了，{answer}。还要再来一个吗？", "是{answer}，被你猜着了。再来一个？")
_TOLD = "谜底是{answer}。再来一个？"
_HINT = "提示：{hint}"
_WRONG = ("不是{guess}。提示：{hint}", "也不是{guess}。再想想？不猜了就说“答案”。")
_FIRST_LETTER = "再提示就说破了：{count}个字，头一个是“{letter}”。"
_ONE_LETTER = "再提示就说破了，不猜的话就说“答案”。"

_ASKED = lazily("(?:出|来|猜|讲|说|给|玩|整|想听|换).{0,6}(?:谜|脑筋急转弯)")
_USERS_OWN = lazily("(?<![给帮])我(?:来|也)?(?:给你|先)?(?:出|说|讲|有)|考考?你|让你猜|你来?猜|不(?:想|要|玩|猜)|讨厌")
_AGREED = lazily("^(?:好|来|行|可以|要|嗯|出|你出|你说|再|还|继续|下一|换一?个|快|开始|请|那).{0,7}$")
_REFUSED = lazily("不|别|算了|拜|晚安")
_ANOTHER = lazily("换一?个|下一?[个道]|再[来出]")
_GIVEN_UP = lazily("不知道|猜不|想不出|不会|答案|谜底|揭晓|公布|放弃|认输|投降|告诉我|不猜|难住|是(?:什么|啥)|没头绪")
_HINT_ASKED = lazily("提示|线索|提个醒")
_GUESS_OPENING = lazily("^(?:哈+|嗯+|我[猜想]|应该|难道|会不会|不会|莫非|那|就|肯定|一定|可能|大概|是不是|还是|是)+")
_GUESS_CLOSING = lazily("(?:吗|吧|呢|啊|呀|嘛|么|对吗|对不对|对吧|是吗|是吧|[？?！!。，,~～])+$")
_NO_GUESS = lazily("[你我他她]|了$|哈哈|什么|怎么|为什么|真的|好的|谢谢|有意思|好玩|厉害|这个|那个")
_POSES = lazily("什么东西.*[？?]|打一个?[字物]|猜[一个](?:样|种|个|天上)|谜[语面]?[：:]")
_MAX_GUESS = 6
_RECENT = 5
"""Replies within which a riddle may have been posed that is still open."""


@dataclass(frozen=True)
class Riddle:
    """A riddle, what counts as its answer (the first is told), and a hint."""

    riddle: str
    answers: tuple[str, ...]
    hint: str


@lru_cache(maxsize=1)
def load_riddles(path: Path) -> tuple[Riddle, ...]:
    """The riddles of a JSONL file, `{"riddle": "…", "answers": ["…"], "hint": "…"}` a line."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return tuple(Riddle(r["riddle"], tuple(r["answers"]), r["hint"]) for r in records)


def riddle_answer(messages: Sequence[Message], riddles: Sequence[Riddle], seed: int | None) -> str | None:
    """What is said when the last message asks for a riddle or is about one that was posed; None when it is about neither.

    `seed` draws the riddle, among those not posed before.
    """
    asked = messages[-1].content
    replies = [m.content for m in messages[:-1] if m.role == "assistant"]
    if (riddle := _open_riddle(replies, riddles)) is not None and not _wants_another(asked, is_open=True):
        return _about(riddle, asked, replies)
    last = replies[-1] if replies else ""
    is_offered = "谜" in last or "再来一个" in last and any(r.riddle in reply for r in riddles for reply in replies[-_RECENT:])
    if not (riddle is not None or _asks(asked, is_offered=is_offered)):
        return None
    fresh = [r for r in riddles if not any(r.riddle in reply for reply in replies)]
    if not fresh:
        return None
    random_ = random.Random(seed)
    return random_.choice(_POSED).format(riddle=random_.choice(fresh).riddle)


def _asks(asked: str, *, is_offered: bool) -> bool:
    """Whether the message asks for a riddle, or agrees to one that the bot has just offered."""
    if _USERS_OWN.search(asked):
        return False
    return _ASKED.search(asked) is not None or is_offered and _wants_another(asked, is_open=False)


def _wants_another(asked: str, *, is_open: bool) -> bool:
    wanted = _ANOTHER.search(asked) if is_open else _AGREED.search(asked)
    return wanted is not None and not _REFUSED.search(asked)


def _open_riddle(replies: Sequence[str], riddles: Sequence[Riddle]) -> Riddle | None:
    """The riddle that was posed and neither guessed nor told since."""
    for reply in replies[: -_RECENT - 1 : -1]:
        if (posed := next((r for r in riddles if r.riddle in reply), None)) is not None:
            return posed
        if not ("提示" in reply or "不猜了" in reply):
            return None
    return None


def _about(riddle: Riddle, asked: str, replies: Sequence[str]) -> str | None:
    """The reply to what is said of an open riddle; None when the user speaks of something else."""
    answer, hint = riddle.answers[0], _HINT.format(hint=riddle.hint)
    has_hint = any(riddle.hint in reply for reply in replies[-_RECENT:])
    guess = _GUESS_CLOSING.sub("", _GUESS_OPENING.sub("", asked.strip("“”\"'（）() ")))
    if guess in riddle.answers or (len(asked) <= 2 * _MAX_GUESS and len(answer) > 1 and answer in asked):
        return _RIGHT[len(replies) % len(_RIGHT)].format(answer=guess if guess in riddle.answers else answer)
    if _HINT_ASKED.search(asked):
        first = _FIRST_LETTER.format(count=len(answer), letter=answer[0]) if len(answer) > 1 else _ONE_LETTER
        return first if has_hint else hint
    if _GIVEN_UP.search(asked):
        return _TOLD.format(answer=answer)
    if not 0 < len(guess) <= _MAX_GUESS or _NO_GUESS.search(guess) or _REFUSED.search(guess):
        return None
    return _WRONG[has_hint].format(guess=guess, hint=riddle.hint)


def poses_one(text: str) -> bool:
    """Whether a reply poses a riddle, to which who found it in an index knows no answer."""
    return _POSES.search(text) is not None
