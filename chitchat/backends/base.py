"""What a backend can be: a generator of candidate replies, a scorer of (context, reply) pairs, a reward model, an encoder.

All speak text, so that a remote server or an index of human replies can stand where a local model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate

Vectors: TypeAlias = NDArray[np.float32]

UNFINISHED = "没说完"
"""`Candidate.rejected` of a reply that met its length limit before its end; said only when nothing better is left."""


@dataclass(frozen=True, slots=True)
class LogProb:
    """A summed log-probability in nats, the tokens it sums over, and whether the context had to be shortened to fit."""

    value: float
    num_tokens: int
    truncated: bool = False
    first: float | None = None
    """The part of `value` that is the first scored message's: of a reverse scorer, log P(last message | reply)."""


class Generator(Protocol):
    """Writes candidate replies."""

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        """Up to `decoding.num_candidates` replies to the last message of `context` (oldest first); duplicates allowed.

        One cut off by `decoding.max_new_tokens` carries `rejected=UNFINISHED`.
        """
        ...


class Scorer(Protocol):
    """Scores replies in one direction.

    A forward scorer gives log P(reply | context), a reverse scorer log P(context | reply); see
    `tokenization.dialogue_format` for the tokens that count.
    """

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        """One value for each (context, reply) pair, in order; independent of what else is in the batch."""
        ...


class RewardModel(Protocol):
    """Tells how a reader would like replies, learnt from graded ones."""

    def rewards(self, candidates: Sequence[Candidate], contexts: Sequence[Sequence[str]]) -> list[float]:
        """A value for each candidate after its context, in order; higher is better, among replies to the same context."""
        ...


class Encoder(Protocol):
    """Puts contexts and replies where their dot product tells how well they go together (a dual encoder)."""

    fingerprint: str
    """Of its weights: vectors of different ones must not meet."""

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        """(contexts, size) unit vectors; two that want the same reply are near each other."""
        ...

    def replies(self, replies: Sequence[str]) -> Vectors:
        """(replies, size) unit vectors; near those of the contexts they answer."""
        ...
