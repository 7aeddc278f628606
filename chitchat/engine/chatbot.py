"""One turn of talk: propose N replies, screen each, score and rank the rest, say the best.

Keeps no state: every caller brings the context. Knows models only as Generator and Scorer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from chitchat.backends.base import UNFINISHED, Generator, LogProb, Scorer
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Message, Reply, as_context
from chitchat.engine.decoding import bolder
from chitchat.engine.rejection import bare, rejection
from chitchat.engine.reranking import Ranker
from chitchat.errors import ChitchatError

MAX_ROUNDS = 3
AVOIDED = "已换掉的回复"

DEFAULT_FALLBACKS = (
    "这句我没接住，换个说法？",
    "我一时不知道怎么接，你再多说一点？",
    "唔，我没太听懂，能换句话说吗？",
    "这个我答不好，聊点别的吧？",
)


class Chatbot:
    """Answers the last message of a conversation.

    Args:
        generators: each proposes candidates of its own.
        forward_scorer: log P(reply | context); None when no model at hand can tell.
        reverse_scorer: log P(context | reply); None ranks by the rest.
        ranker: the order of the candidates.
        decoding: used when `reply` is given none.
        normalise: writes a message as the corpus does; empty for one without content.
        fallbacks: said when no candidate is fit to say.
        max_history_messages: how many of the last messages the models see.
    """

    def __init__(
        self,
        generators: Sequence[Generator],
        forward_scorer: Scorer | None,
        reverse_scorer: Scorer | None,
        ranker: Ranker,
        decoding: DecodingConfig,
        *,
        normalise: Callable[[str], str] = str.strip,
        fallbacks: Sequence[str] = DEFAULT_FALLBACKS,
        max_history_messages: int = 8,
    ) -> None:
        self.generators = tuple(generators)
        self.forward_scorer = forward_scorer
        self.reverse_scorer = reverse_scorer
        self.ranker = ranker
        self.decoding = decoding
        self.fallbacks = tuple(fallbacks)
        self.max_history_messages = max_history_messages
        self._normalise = normalise
        self._lock = threading.Lock()

    def reply(
        self,
        context: str | Sequence[str] | Sequence[Message],
        *,
        decoding: DecodingConfig | None = None,
        avoid: Collection[str] = (),
    ) -> Reply:
        """The reply to the last message of `context`; system messages are passed over, the models being too small for them.

        Replies in `avoid` are said only when there is nothing else to say. Raises ChitchatError when there is no user message
        to answer.
        """
        started = time.perf_counter()
        messages = self._clean(as_context(context))
        with self._lock:
            candidates = self._propose(messages, decoding or self.decoding, frozenset(map(bare, avoid)))
            candidates = self._score(candidates, self._window(messages))
        ranked = self.ranker.rank(candidates, messages)
        good = ranked and ranked[0].rejected is None
        text = ranked[0].text if good else self._fallback(messages, avoid)
        return Reply(text, ranked, time.perf_counter() - started)

    def _clean(self, context: Sequence[Message]) -> list[Message]:
        spoken = [replace(m, content=self._normalise(m.content)) for m in context if m.role != "system"]
        if not spoken:
            raise ChitchatError("还没有用户消息：请至少给出一条 user 消息")
        if spoken[-1].role != "user":
            raise ChitchatError("最后一条消息应来自用户（user），才能回复")
        if not spoken[-1].content:
            raise ChitchatError("消息是空的：请说点什么")
        return [m for m in spoken if m.content]

    def _window(self, messages: Sequence[Message]) -> list[str]:
        return [m.content for m in messages[-self.max_history_messages :]]

    def _propose(self, messages: Sequence[Message], decoding: DecodingConfig, avoid: Collection[str]) -> list[Candidate]:
        """Distinct candidates, bad ones marked; rounds grow bolder until one is fit to say or patience ends."""
        found: dict[str, Candidate] = {}
        for round_number in range(MAX_ROUNDS):
            settings = bolder(decoding, round_number)
            for generator in self.generators:
                for candidate in generator.generate(self._window(messages), settings):
                    if candidate.text not in found:
                        found[candidate.text] = _screened(candidate, messages, avoid)
            candidates = _unless_alone(list(found.values()), UNFINISHED)
            if any(c.rejected is None for c in candidates):
                return candidates
        return _unless_alone(candidates, AVOIDED)

    def _score(self, candidates: Sequence[Candidate], window: Sequence[str]) -> list[Candidate]:
        """Both log-probabilities of every candidate that may be said, one batch a direction."""
        good = [c for c in candidates if c.rejected is None]
        pairs = [(window, c.text) for c in good]
        if self.forward_scorer is not None:
            good = [_with_forward(c, p) for c, p in zip(good, self.forward_scorer.score(pairs), strict=True)]
        if self.reverse_scorer is not None:
            good = [_with_reverse(c, p) for c, p in zip(good, self.reverse_scorer.score(pairs), strict=True)]
        return good + [c for c in candidates if c.rejected is not None]

    def _fallback(self, messages: Sequence[Message], avoid: Collection[str]) -> str:
        last = next((m.content for m in reversed(messages) if m.role == "assistant"), "")
        unsaid = [f for f in self.fallbacks if bare(f) != bare(last)] or list(self.fallbacks)
        fresh = [f for f in unsaid if f not in avoid] or unsaid
        return fresh[len(messages) // 2 % len(fresh)]


def _screened(candidate: Candidate, messages: Sequence[Message], avoid: Collection[str]) -> Candidate:
    reason = rejection(candidate.text, messages) or candidate.rejected
    if reason is None and bare(candidate.text) in avoid:
        reason = AVOIDED
    return replace(candidate, rejected=reason)


def _unless_alone(candidates: list[Candidate], reason: str) -> list[Candidate]:
    """Lifts a soft `reason` from its candidates when no other may be said."""
    if any(c.rejected is None for c in candidates):
        return candidates
    return [replace(c, rejected=None) if c.rejected == reason else c for c in candidates]


def _with_forward(candidate: Candidate, log_prob: LogProb) -> Candidate:
    return replace(candidate, forward_log_prob=log_prob.value, num_tokens=log_prob.num_tokens)


def _with_reverse(candidate: Candidate, log_prob: LogProb) -> Candidate:
    return replace(candidate, reverse_log_prob=log_prob.value, num_context_tokens=log_prob.num_tokens)
