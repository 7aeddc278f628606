"""What every front end shows alike: which messages are taken, how text is made safe to show, how a candidate reads.

Knows nothing of terminals or web pages.
"""

from __future__ import annotations

import math
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any

from chitchat.dialogue import Candidate, Reply
from chitchat.errors import ChitchatError
from chitchat.sessions.session import may_pick

MAX_MESSAGE_CHARS = 2000
"""Ten times what the models can see; more is a paste by mistake, and only costs time."""
NO_OTHER_REPLY = "没想出别的说法：温度调高些再试"
CANDIDATE_HEADINGS = ("名次", "回复", "正向", "反向", "得分", "来源/淘汰原因")

SOURCES = {
    "model": "模型",
    "retrieval": "检索",
    "act": "承接",
    "persona": "人设",
    "clock": "时钟",
    "arithmetic": "算术",
    "riddle": "谜语",
    "choice": "二选一",
    "safety": "安全",
    "repair": "认错",
}
"""Where a candidate comes from, in words."""
_DIRECTION_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_message(text: str) -> str:
    """The user's message as it is sent to the bot; raises ChitchatError for one that is too long or not text."""
    if len(text) > MAX_MESSAGE_CHARS:
        raise ChitchatError(f"消息太长（{len(text)} 字），最多 {MAX_MESSAGE_CHARS} 字：请分几次说")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ChitchatError("消息里有不是 UTF-8 的字符：请检查终端或输入法的编码")
    return text


def printable(text: str) -> str:
    """The text without what could move a cursor, recolour a screen or reverse a line; line ends stay."""
    return "".join(c for c in text if c == "\n" or (unicodedata.category(c) not in ("Cc", "Cs") and c not in _DIRECTION_MARKS))


def one_line(text: str) -> str:
    """`printable` text with every run of white space as one space."""
    return printable(" ".join(text.split()))


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """One line of the table of candidates, ready to show."""

    number: int
    """Its place among all candidates of the reply, from 1; what `/pick` takes."""
    rank: str
    """The number of one that may be picked."""
    text: str
    forward: str
    """Mean natural-log probability a token; the sum would only tell the lengths."""
    reverse: str
    score: str
    remark: str
    """Why it was not said, or where it comes from."""
    is_rejected: bool
    is_chosen: bool
    can_pick: bool

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of `CANDIDATE_HEADINGS`."""
        return (self.rank, self.text, self.forward, self.reverse, self.score, self.remark)


def candidate_rows(reply: Reply) -> list[CandidateRow]:
    """The candidates of a reply, best first."""
    rows = []
    for number, candidate in enumerate(reply.candidates, start=1):
        rejected, can_pick = candidate.rejected is not None, may_pick(candidate)
        rows.append(
            CandidateRow(
                number=number,
                rank=str(number) if can_pick else "—",
                text=one_line(candidate.text) or "（空）",
                forward=_mean(candidate.forward_log_prob, candidate.num_tokens),
                reverse=_mean(candidate.reverse_log_prob, candidate.num_context_tokens),
                score="—" if rejected or candidate.score == float("-inf") else f"{candidate.score:.2f}",
                remark=_remark(candidate),
                is_rejected=rejected,
                is_chosen=candidate.text == reply.text,
                can_pick=can_pick,
            )
        )
    return rows


def candidate_json(candidate: Candidate) -> dict[str, Any]:
    """Every field of a candidate; null for a score that it has not."""
    return asdict(candidate) | {"score": candidate.score if math.isfinite(candidate.score) else None}


def reply_json(reply: Reply) -> dict[str, Any]:
    """The candidates of a reply, best first and rejected ones last, and the seconds they took."""
    return {
        "seconds": round(reply.seconds, 4),
        "is_fallback": reply.is_fallback,
        "candidates": [candidate_json(c) for c in reply.candidates],
    }


def _remark(candidate: Candidate) -> str:
    return one_line(candidate.rejected or SOURCES.get(candidate.source, candidate.source))


def _mean(log_prob: float | None, num_tokens: int) -> str:
    return "—" if log_prob is None else f"{log_prob / max(num_tokens, 1):.2f}"
