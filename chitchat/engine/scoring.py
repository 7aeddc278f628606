"""What the models think of candidates: every log-probability and reward that the ranking looks at."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeAlias

from chitchat.backends.base import Encoder, LogProb, RewardModel, Scorer
from chitchat.backends.reward import SOURCES
from chitchat.dialogue import Candidate


def scored(
    candidates: Sequence[Candidate],
    contexts: Sequence[Sequence[str]],
    forward: Scorer | None,
    reverse: Scorer | None,
    reward: RewardModel | None = None,
    encoder: Encoder | None = None,
    *,
    side_by_side: bool = False,
) -> list[Candidate]:
    """The candidates with all that the models say of them after their contexts, one call a model.

    Args:
        candidates: replies, possibly to different contexts.
        contexts: for each candidate the messages before it, oldest first; without any, only `forward` is asked.
        forward: gives log P(reply | context) and log P(reply); None leaves both unknown.
        reverse: gives log P(context | reply); None leaves it unknown.
        reward: tells how a reader would like what people wrote; None leaves it unknown.
        encoder: tells how near the reply is to the context; None leaves it unknown.
        side_by_side: the two scorers work at the same time, in a thread each.
    """
    found = list(candidates) if encoder is None else matched(candidates, contexts, encoder)
    found = found if reward is None else liked(found, contexts, reward)
    answering = [i for i, context in enumerate(contexts) if context]
    pairs = [(context, c.text) for context, c in zip(contexts, candidates, strict=True)]
    # a reply proposed for many contexts needs its prior but once
    texts = list(dict.fromkeys(c.text for c in candidates))
    values, reverse_values = _both(
        (forward, [*pairs, *(((), text) for text in texts)]), (reverse, [pairs[i] for i in answering]), side_by_side
    )
    if forward is not None:
        priors = dict(zip(texts, values[len(pairs) :], strict=True))
        for i, value in enumerate(values[: len(pairs)]):
            found[i] = replace(
                found[i],
                forward_log_prob=value.value,
                num_tokens=value.num_tokens,
                prior_log_prob=priors[found[i].text].value,
                is_truncated=value.truncated,
            )
    if reverse is not None:
        for i, value in zip(answering, reverse_values, strict=True):
            found[i] = replace(
                found[i],
                reverse_log_prob=value.value,
                num_context_tokens=value.num_tokens,
                reverse_last_log_prob=value.first,
                is_truncated=found[i].is_truncated or value.truncated,
            )
    return found


_Pairs: TypeAlias = Sequence[tuple[Sequence[str], str]]
_Asked: TypeAlias = tuple[Scorer | None, _Pairs]


def _both(first: _Asked, second: _Asked, side_by_side: bool) -> tuple[list[LogProb], list[LogProb]]:
    """What two scorers say of their pairs; nothing for one that is None."""
    if not side_by_side or first[0] is None or second[0] is None:
        return _one(first), _one(second)
    with ThreadPoolExecutor(1) as beside:
        going_on = beside.submit(_one, second)
        return _one(first), going_on.result()


def _one(asked: _Asked) -> list[LogProb]:
    scorer, pairs = asked
    return [] if scorer is None else scorer.score(pairs)


def matched(candidates: Sequence[Candidate], contexts: Sequence[Sequence[str]], encoder: Encoder) -> list[Candidate]:
    """The candidates with what the dual encoder says of them after their contexts; those without a context as they are."""
    answering = [i for i, context in enumerate(contexts) if context]
    distinct = list(dict.fromkeys(tuple(contexts[i]) for i in answering))
    origins = list(dict.fromkeys(candidates[i].origin for i in answering if candidates[i].origin))
    vectors = dict(zip([*distinct, *origins], encoder.contexts([*distinct, *origins]), strict=True))
    found = list(candidates)
    for i, reply in zip(answering, encoder.replies([candidates[i].text for i in answering]), strict=True):
        here, origin = vectors[tuple(contexts[i])], candidates[i].origin
        near = float(here @ vectors[origin]) if origin else None
        there = float(vectors[origin] @ reply) if origin else None
        found[i] = replace(found[i], reply_match=float(here @ reply), context_match=near, origin_match=there)
    return found


def liked(candidates: Sequence[Candidate], contexts: Sequence[Sequence[str]], reward: RewardModel) -> list[Candidate]:
    """The candidates with what a reader would think of those that the reward model was fitted to tell apart."""
    written = [i for i, c in enumerate(candidates) if c.source in SOURCES and contexts[i]]
    found = list(candidates)
    values = reward.rewards([candidates[i] for i in written], [contexts[i] for i in written])
    for i, value in zip(written, values, strict=True):
        found[i] = replace(found[i], reward=value)
    return found
