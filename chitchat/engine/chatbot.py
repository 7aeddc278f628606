"""One turn of talk: answer what must be answered in fixed words, else propose N replies, screen each, score, rank, say the best.

Keeps no state: every caller brings the context, and many may at once when the generators and scorers allow it, as those of
`build.load_chatbot` do. Knows models only as Generator and Scorer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

from chitchat.backends.base import UNFINISHED, Encoder, Generator, RewardModel, Scorer
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Message, Reply, as_context
from chitchat.engine.another import repeated_request
from chitchat.engine.arithmetic import arithmetic_answer, guesses_sum
from chitchat.engine.choice import Choice, choice
from chitchat.engine.clock import clock_reply, disowns_clock
from chitchat.engine.decoding import bolder
from chitchat.engine.persona import Persona
from chitchat.engine.rejection import bare, bigrams, rejection, without_loops
from chitchat.engine.repair import Repair, apology, owned, repair, without_owning
from chitchat.engine.reranking import Ranker
from chitchat.engine.riddle import Riddle, poses_one, riddle_answer
from chitchat.engine.safety import Safety
from chitchat.engine.scoring import liked, matched, scored
from chitchat.errors import ChitchatError

MAX_ROUNDS = 3
SAME_CHOICE = 0.6
"""Of a context in whose words the same two are offered, whose reply then picks as well."""
SHORTLIST = 4
"""Candidates scored in full; see `Chatbot._shortlist`. Mean grade of the first on 3,000 graded contexts, the reward model being
fitted on other talks: 1.154 with 1, 1.178 with 4, 1.178 with 6, 1.180 with all; one in 200 contexts differs between 4 and 6."""
SHORTLISTED_ACTS = 2
"""Of those: replies to a kind of message know nothing of this one, and the best liked of many such is the luckiest."""
EQUALLY_GOOD, OWN_EQUALLY_GOOD = 1.0, 3.0
"""Points below the best at which what people wrote does as well, and so much for answers of the persona sheet, all of which were
written for the question. On 1,500 graded contexts the first has a mean grade of 1.048 and one drawn among those within 0.5, 1, 2
or 3 points 1.046, 1.043, 1.027 or 0.999; within 1 point there is a choice in a third of them."""
REMEMBERED_MESSAGES = 60
"""What is not to be repeated or contradicted is looked for in so many of the last messages, so that long talks stay quick."""
AVOIDED = "说过或换掉的"
OUTRANKED = "初选落后"

DEFAULT_FALLBACKS = (
    "这句我没接住，换个说法？",
    "我一时不知道怎么接，你再多说一点？",
    "唔，我没太听懂，能换句话说吗？",
    "这个我答不好，聊点别的吧？",
)


class Chatbot:
    """Answers the last message of a conversation.

    Args:
        generators: each proposes candidates of its own; the first is taken for the one that takes longest.
        forward_scorer: log P(reply | context); None when no model at hand can tell.
        reverse_scorer: log P(context | reply); None ranks by the rest.
        ranker: the order of the candidates.
        decoding: used when `reply` is given none.
        normalise: writes a message as the corpus does; empty for one without content.
        fallbacks: said when no candidate is fit to say.
        max_history_messages: how many of the last messages the models see.
        safety: what is not talked about, both ways; None screens nothing.
        encoder: how near each candidate is to the context; chooses those worth scoring in full, too.
        reward_model: how a reader would like each candidate; None ranks by the rest.
        persona: answers questions about the bot, and what it must not claim; None lets the models answer.
        clock: the present time, for questions about it.
        riddles: posed to who asks for one.
        side_by_side: the first generator writes while the others and the screen work, and the scorers score at the same time;
            worth it when they compute outside Python, on cores that have nothing else to do.
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
        max_history_messages: int = 5,
        safety: Safety | None = None,
        reward_model: RewardModel | None = None,
        encoder: Encoder | None = None,
        persona: Persona | None = None,
        clock: Callable[[], datetime] = datetime.now,
        riddles: Sequence[Riddle] = (),
        side_by_side: bool = False,
    ) -> None:
        self.generators = tuple(generators)
        self.forward_scorer = forward_scorer
        self.reverse_scorer = reverse_scorer
        self.reward_model = reward_model
        self.encoder = encoder
        self.ranker = ranker
        self.decoding = decoding
        self.fallbacks = tuple(fallbacks)
        self.max_history_messages = max_history_messages
        self.safety = safety
        self.persona = persona
        self._side_by_side = side_by_side
        self._clock = clock
        self._riddles = tuple(riddles)
        self._normalise = normalise

    def reply(
        self,
        context: str | Sequence[str] | Sequence[Message],
        *,
        decoding: DecodingConfig | None = None,
        avoid: Collection[str] = (),
    ) -> Reply:
        """The reply to the last message of `context`; system messages are passed over, the models being too small for them.

        Replies in `avoid`, and what the bot has said before, are said only when there is nothing else to say. Raises
        ChitchatError when there is no user message to answer.
        """
        started = time.perf_counter()
        context = as_context(context)
        messages = self._clean(context)
        if (fixed := self._fixed(messages, avoid, (decoding or self.decoding).seed)) is not None:
            return Reply(fixed.text, (fixed,), time.perf_counter() - started)
        unwanted = frozenset(bare(without_owning(text)) for text in avoid)
        said = frozenset(bare(without_owning(m.content)) for m in messages if m.role == "assistant")
        earlier = messages[:-1]
        wrong = repair(messages)
        if wrong is not None and not wrong.can_be_answered:
            own = self._apology(wrong, messages, avoid)
            return Reply(own.text, (own,), time.perf_counter() - started)
        if wrong is not None:  # as if that had been said in the first place
            messages = [*messages[:-3], Message("user", wrong.meant)]
            if (fixed := self._fixed(messages, avoid, (decoding or self.decoding).seed)) is not None:
                fixed = fixed if fixed.source == "safety" else replace(fixed, text=owned(fixed.text, messages))
                return Reply(fixed.text, (fixed,), time.perf_counter() - started)
        again = repeated_request(messages)
        if again is not None:
            messages, unwanted = list(again.messages), unwanted | said
        told = [m.content for m in reversed(context) if m.role == "user"][1:]
        # who has told all it knows of itself repeats itself: a model would make something up
        answers = self._own_answers(messages, told, unwanted)
        candidates = answers or self._propose(messages, decoding or self.decoding, unwanted | said)
        if not answers and (between := choice([*earlier, messages[-1]])) is not None:
            candidates = self._picking(between, candidates, messages, unwanted | said)
        if again is not None:
            turned_down = [replace(c, rejected=AVOIDED) if again.unwanted & bigrams(c.text) else c for c in candidates]
            candidates = _unless_alone(turned_down, AVOIDED)
        candidates = self._score(candidates, messages)
        ranked = _drawn(self.ranker.rank(candidates, messages), (decoding or self.decoding).seed)
        good = ranked and ranked[0].rejected is None
        if good and wrong is not None:
            ranked = (self._in_repair(ranked[0], wrong, [*earlier, messages[-1]], avoid), *ranked[1:])
        text = ranked[0].text if good else self._fallback(messages, avoid)
        return Reply(text, ranked, time.perf_counter() - started)

    def _fixed(self, messages: Sequence[Message], avoid: Collection[str], seed: int | None) -> Candidate | None:
        """The answer to what is never left to the models: what safety stops, the date and the time, small sums, riddles."""
        verdict = self.safety.screen(messages) if self.safety else None
        if verdict is not None:
            said = [m.content for m in messages if m.role == "assistant"]
            return Candidate(_fresh(verdict.replies, said, avoid), source="safety")
        if (answer := clock_reply(messages, self._clock())) is not None:
            return Candidate(answer, source="clock")
        if (answer := arithmetic_answer(messages[-1].content, len(messages) // 2)) is not None:
            return Candidate(answer, source="arithmetic")
        if (answer := riddle_answer(messages, self._riddles, seed)) is not None:
            return Candidate(answer, source="riddle")
        return None

    def _in_repair(self, best: Candidate, wrong: Repair, messages: Sequence[Message], avoid: Collection[str]) -> Candidate:
        """The reply to what was meant, the slip owned before it; one that fits any such message shows nothing understood."""
        if best.source != "act":
            return replace(best, text=owned(best.text, messages))
        return best if wrong.asks else self._apology(wrong, messages, avoid)

    def _apology(self, wrong: Repair, messages: Sequence[Message], avoid: Collection[str]) -> Candidate:
        """What owns a slip; the user's word is taken up only when it may be said."""
        said = {*avoid, *(m.content for m in messages)}
        text = apology(wrong, messages, said)
        if self.safety is not None and self.safety.unsafe(text) is not None:
            text = apology(Repair(), messages, said)
        return Candidate(text, source="repair")

    def _own_answers(self, messages: Sequence[Message], told: Sequence[str], avoid: Collection[str]) -> list[Candidate]:
        """What the persona sheet answers, when the message asks about the bot, or about what the user has told before, and an
        answer may still be said.
        """
        answers = self.persona.answers(messages, told) if self.persona else []
        screened = [self._screened(c, messages, avoid) for c in answers]
        return screened if any(c.rejected is None for c in screened) else []

    def _picking(
        self, between: Choice, candidates: Sequence[Candidate], messages: Sequence[Message], avoid: Collection[str]
    ) -> list[Candidate]:
        """The candidates that answer which of two, written for the same two; without any, plain words that pick one."""
        answers = [
            c
            for c in candidates
            if c.source == "retrieval"  # an act's similarity tells of the kind of message, not of the two
            and c.context_similarity >= SAME_CHOICE
            and between.is_named(c.text)
            and c.rejected is None
        ]
        plain = (Candidate(text, source="choice") for text in between.replies())
        return answers or _unless_alone([self._screened(c, messages, avoid) for c in plain], AVOIDED)

    def _clean(self, context: Sequence[Message]) -> list[Message]:
        recent = [m for m in context if m.role != "system"][-2 * REMEMBERED_MESSAGES :]  # some may turn out empty
        spoken = [replace(m, content=without_loops(self._normalise(m.content))) for m in recent]
        if not spoken:
            raise ChitchatError("还没有用户消息：请至少给出一条 user 消息")
        if spoken[-1].role != "user":
            raise ChitchatError("最后一条消息应来自用户（user），才能回复")
        if not spoken[-1].content:
            raise ChitchatError("消息是空的：请说点什么")
        return [m for m in spoken if m.content][-REMEMBERED_MESSAGES:]

    def _window(self, messages: Sequence[Message]) -> list[str]:
        return [m.content for m in messages[-self.max_history_messages :]]

    def _propose(self, messages: Sequence[Message], decoding: DecodingConfig, avoid: Collection[str]) -> list[Candidate]:
        """Distinct candidates, bad ones marked; rounds grow bolder until one is fit to say or patience ends."""
        found: dict[str, Candidate] = {}
        for round_number in range(MAX_ROUNDS):
            settings = bolder(decoding, round_number)
            for candidate in self._generated(self._window(messages), settings):
                known = found.get(candidate.text)
                # what a person wrote has more told of it than the same words of a model
                if known is None or known.source == "model" != candidate.source:
                    found[candidate.text] = self._screened(candidate, messages, avoid)
            candidates = _unless_alone(list(found.values()), UNFINISHED)
            if any(c.rejected is None for c in candidates):
                return candidates
        return _unless_alone(candidates, AVOIDED)

    def _generated(self, window: Sequence[str], decoding: DecodingConfig) -> Iterator[Candidate]:
        """What all generators propose, the first one's last."""
        slowest, *others = self.generators
        if not self._side_by_side:
            for generator in (*others, slowest):
                yield from generator.generate(window, decoding)
            return
        with ThreadPoolExecutor(1) as beside:
            writing = beside.submit(slowest.generate, window, decoding)
            for generator in others:
                yield from generator.generate(window, decoding)
            yield from writing.result()

    def _score(self, candidates: Sequence[Candidate], messages: Sequence[Message]) -> list[Candidate]:
        """Log-probabilities for every candidate that may be said and is worth the time."""
        good = [c for c in candidates if c.rejected is None]
        bad = [c for c in candidates if c.rejected is not None]
        window = self._window(messages)
        if self.encoder is not None:
            good = matched(good, [window] * len(good), self.encoder)
        if self.reward_model is not None:
            good = liked(good, [window] * len(good), self.reward_model)
        if len(good) > SHORTLIST and (self.encoder is not None or self.reverse_scorer is not None):
            good, outranked = self._shortlist(good, messages)
            bad = outranked + bad
        scorers = self.forward_scorer, self.reverse_scorer
        return scored(good, [window] * len(good), *scorers, side_by_side=self._side_by_side) + bad

    def _shortlist(self, candidates: Sequence[Candidate], messages: Sequence[Message]) -> tuple[list[Candidate], list[Candidate]]:
        """The candidates worth scoring in full, and the others with what is known of them.

        The encoder has told enough of them. Without one log P(last message | reply) does, which needs no context read for each
        candidate: an eighth of the time of all scores.
        """
        if self.encoder is None:
            last = [self._window(messages)[-1:]] * len(candidates)
            candidates = scored(candidates, last, None, self.reverse_scorer)
        ranked = self.ranker.rank(candidates, messages)
        spare = {id(c) for c in [c for c in ranked if c.source == "act"][SHORTLISTED_ACTS:]}
        ranked = tuple(sorted(ranked, key=lambda c: id(c) in spare))  # stable: those spare acts come last
        return list(ranked[:SHORTLIST]), [replace(c, rejected=OUTRANKED) for c in ranked[SHORTLIST:]]

    def _screened(self, candidate: Candidate, messages: Sequence[Message], avoid: Collection[str]) -> Candidate:
        reason = rejection(candidate.text, messages)
        if reason is None and self.safety is not None:
            reason = self.safety.unsafe(candidate.text)
        if reason is None and self.persona is not None and candidate.source != "persona":
            reason = self.persona.contradiction(candidate.text, messages)
        if reason is None and disowns_clock(candidate.text, messages[-1].content):
            reason = "有钟却说没有"
        if reason is None and guesses_sum(candidate.text, messages[-1].content):
            reason = "得数没算过"
        if reason is None and self._riddles and candidate.source in ("retrieval", "model") and poses_one(candidate.text):
            reason = "出的谜没有谜底"
        reason = reason or candidate.rejected
        if reason is None and bare(candidate.text) in avoid:
            reason = AVOIDED
        return candidate if reason == candidate.rejected else replace(candidate, rejected=reason)

    def _fallback(self, messages: Sequence[Message], avoid: Collection[str]) -> str:
        last = next((m.content for m in reversed(messages) if m.role == "assistant"), "")
        unsaid = [f for f in self.fallbacks if bare(f) != bare(last)] or list(self.fallbacks)
        fresh = [f for f in unsaid if f not in avoid] or unsaid
        return fresh[len(messages) // 2 % len(fresh)]


def _drawn(ranked: tuple[Candidate, ...], seed: int | None) -> tuple[Candidate, ...]:
    """One of those that are as good as the best put first, so that the same words do not always get the same reply."""
    if not ranked or ranked[0].source == "model":  # its own words differ by themselves
        return ranked
    margin = OWN_EQUALLY_GOOD if ranked[0].source == "persona" else EQUALLY_GOOD
    good = [c for c in ranked if c.rejected is None and c.source != "model" and c.score >= ranked[0].score - margin]
    drawn = random.Random(seed).choice(good or ranked)
    return (drawn, *(c for c in ranked if c is not drawn))


def _fresh(replies: Sequence[str], said: Sequence[str], avoid: Collection[str]) -> str:
    """The first of `replies` not said yet, or else the one said longest ago."""
    last = {text: turn for turn, text in enumerate(said)}
    return min([r for r in replies if r not in avoid] or replies, key=lambda reply: last.get(reply, -1))


def _unless_alone(candidates: list[Candidate], reason: str) -> list[Candidate]:
    """Lifts a soft `reason` from its candidates when no other may be said."""
    if any(c.rejected is None for c in candidates):
        return candidates
    return [replace(c, rejected=None) if c.rejected == reason else c for c in candidates]
