"""The words everything else speaks: message, dialogue, candidate, reply.

No torch, no files, no tokens: these classes cross every border of the project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Role = Literal["system", "user", "assistant"]
Source = Literal["model", "retrieval", "act", "persona", "clock", "arithmetic", "riddle", "choice", "safety", "repair"]

BOT_NAME = "小叙"
SPEAKERS: Mapping[Role, str] = {"user": "你", "assistant": BOT_NAME}
"""What the two are called wherever a conversation is shown or written to be read."""


@dataclass(frozen=True, slots=True)
class Message:
    """One utterance of a conversation with the bot."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One dialogue of a corpus: at least one message, oldest first, speakers taking turns.

    `line` is the 1-based line of the file it starts on (for a JSON array: the 1-based item).
    """

    messages: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposed reply with what is known about it.

    Log-probabilities are sums of natural logs over tokens, final `[SEP]` included; None where nothing scored them.
    """

    text: str
    source: Source = "model"
    forward_log_prob: float | None = None
    """log P(reply | context)."""
    reverse_log_prob: float | None = None
    """log P(context | reply), the masked MMI score (Zhang et al. 2020, DialoGPT, section 3.2)."""
    reverse_last_log_prob: float | None = None
    """The part of it that is the last message's: log P(last message | reply)."""
    num_tokens: int = 0
    """Tokens that `forward_log_prob` sums over."""
    num_context_tokens: int = 0
    """Tokens that `reverse_log_prob` sums over."""
    is_truncated: bool = False
    """True when the context was too long for a model and lost its oldest messages."""
    prior_log_prob: float | None = None
    """log P(reply) with nothing before it, over the same tokens: what is likely anywhere says little here."""
    context_similarity: float = 0.0
    """How alike the context it was written for is to this one, or how likely the kind of message is, 0 to 1; 0 for a model's."""
    features: Mapping[str, float] = field(default_factory=dict)
    """What the ranking looks at, by name."""
    score: float = float("-inf")
    """The ranking's value; higher is better."""
    rejected: str | None = None
    """Why this candidate must not be said, or None when it may be."""
    reward: float | None = None
    """How a reader would like it, by the reward model: grades above or below those of other replies to the context."""
    origin: tuple[str, ...] = ()
    """Of a retrieved reply the messages it was written to answer, oldest first."""
    reply_match: float | None = None
    """How well it answers the context, by the dual encoder: a cosine."""
    context_match: float | None = None
    """Of a retrieved reply how near this context is to the one it was written for, by the dual encoder: a cosine."""
    origin_match: float | None = None
    """Of a retrieved reply how well it answers the context it was written for, by the dual encoder: a cosine."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the bot says, and every candidate it considered, best first and rejected ones last."""

    text: str
    candidates: tuple[Candidate, ...]
    seconds: float
    """Wall-clock time the turn took."""

    @property
    def is_fallback(self) -> bool:
        """True when no candidate was fit to say and the bot asked the user to rephrase."""
        return not any(c.text == self.text and c.rejected is None for c in self.candidates)


Context: TypeAlias = Sequence[Message]


def as_context(context: str | Sequence[str] | Sequence[Message]) -> tuple[Message, ...]:
    """Messages from what a caller has at hand; plain strings take turns and the last one is the user's.

    >>> [m.role for m in as_context(["你好", "你好呀", "今天好累"])]
    ['user', 'assistant', 'user']
    """
    if isinstance(context, str):
        return (Message("user", context),)
    items: Sequence[str | Message] = context
    messages = []
    for distance, item in enumerate(reversed(items)):
        if isinstance(item, str):
            item = Message("user" if distance % 2 == 0 else "assistant", item)
        messages.append(item)
    return tuple(reversed(messages))
