"""What the dual encoder learns from: messages in a row and the reply that was given to them, many such pairs at a time.

Each reply of a batch is the wrong one for all other contexts of it, so a batch is drawn from one corpus: told apart by what is
said, not by how different corpora sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chitchat.tokenization.bags import Bags, bags
from chitchat.tokenization.batching import StreamPosition
from chitchat.tokenization.near_contexts import NearContexts
from chitchat.tokenization.token_store import TokenStore

CONTEXT_MESSAGES = 3
"""Messages before a reply that the encoder reads."""
OF_ONE_DIALOGUE = 5
"""Pairs that half of the batches draw from each dialogue at most: to tell replies on one topic apart is harder."""
OF_NEAR_CONTEXTS = 16
"""Pairs that have near contexts, in batches made of such: harder still."""
NEAR_SHARE = 0.4
"""Of the batches, when there are vectors to tell what is near."""
FORGOTTEN = (0.2, 0.4)
"""Share of the pairs without all messages before the last, and without the first of three: talks begin somewhere too."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class PairBatch:
    """Pairs of a context and its reply.

    Attributes:
        messages: bags of the context's messages, last first, then of the reply; each (pairs,).
        replies: (pairs,) a number for each reply, the same for equal ones.
    """

    messages: tuple[Bags, ...]
    replies: Ids

    @property
    def num_targets(self) -> int:
        return len(self.replies)

    @property
    def num_tokens(self) -> int:
        """Tokens read, pairs of neighbours not counted."""
        return sum(int(((m.sizes + 1) // 2).sum()) for m in self.messages)

    @property
    def arrays(self) -> tuple[Ids, ...]:
        return (*(array for m in self.messages for array in (m.ids, m.offsets)), self.replies)


class ReplyPairs:
    """Every reply of some dialogues of a store, with what was said before it.

    Attributes:
        near: which contexts are near which, when known.
    """

    near: NearContexts | None = None

    def __init__(self, store: TokenStore, dialogues: Sequence[int], *, vocab_size: int, buckets: int) -> None:
        self._vocab_size, self._buckets = vocab_size, buckets
        self._ids = np.asarray(store.ids)  # memory-mapped still: a corpus may be larger than memory
        ends = np.asarray(store.message_ends)
        self._starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        self._lengths = ends - self._starts - 1  # without [SEP]
        spans = [store.dialogue(int(d)) for d in dialogues]
        spans = [span for span in spans if len(span) > 1]
        self._replies = np.array([m for span in spans for m in span[1:]], dtype=np.int64)
        self._firsts = np.array([span.start for span in spans for _ in span[1:]], dtype=np.int64)
        self._dialogue_ends = np.cumsum([len(span) - 1 for span in spans], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def num_tokens(self) -> int:
        """Of all replies and the messages that each reads."""
        return int(self._lengths[self._replies].sum()) * (1 + CONTEXT_MESSAGES)

    def draw(self, number: int, random: np.random.Generator, *, of_one_dialogue: int | None = None) -> Ids:
        """Up to `number` distinct pairs, from any dialogue or so many at most from each of some dialogues."""
        if of_one_dialogue is None:
            return random.choice(len(self), min(number, len(self)), replace=False)
        ends = self._dialogue_ends
        drawn: list[Ids] = []
        missing = number
        for dialogue in random.choice(len(ends), min(number, len(ends)), replace=False):
            start, end = (ends[dialogue - 1] if dialogue else 0), ends[dialogue]
            drawn.append(start + random.permutation(end - start)[: min(of_one_dialogue, missing)])
            missing -= len(drawn[-1])
            if not missing:
                break
        return np.concatenate(drawn)

    def draw_near(self, near: NearContexts, number: int, random: np.random.Generator) -> Ids:
        """Up to `number` distinct pairs, `OF_NEAR_CONTEXTS` at a time with contexts near one another."""
        seeds = random.integers(0, len(self), max(1, number // OF_NEAR_CONTEXTS))
        nearest = near.nearest(seeds, OF_NEAR_CONTEXTS - 1, random)
        return np.unique(np.column_stack([seeds, nearest]))

    def batch(self, pairs: Ids, random: np.random.Generator | None = None) -> PairBatch:
        """The pairs of these numbers; with `random` some of them forget what was said earlier, as `FORGOTTEN` tells."""
        replies, firsts = self._replies[pairs], self._firsts[pairs]
        forgetful = np.ones(len(pairs)) if random is None else random.random(len(pairs))
        context = [replies - 1]
        for back, share in enumerate(FORGOTTEN, start=2):
            known = (replies - back >= firsts) & (forgetful >= share)
            context.append(np.where(known, replies - back, -1))
        numbers: dict[bytes, int] = {}
        texts = [self._ids[self._starts[m] : self._starts[m] + self._lengths[m]].tobytes() for m in replies.tolist()]
        same = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
        return PairBatch(tuple(self._bags(messages) for messages in (*context, replies)), same)

    def _bags(self, messages: Ids) -> Bags:
        lengths = np.where(messages < 0, 0, self._lengths[messages])
        return bags(self._ids, self._starts[messages], lengths, vocab_size=self._vocab_size, buckets=self._buckets)


class PairStream:
    """Endless batches of pairs from weighted corpora; a pure function of seed and position.

    Args:
        corpora: each with the share of its pairs that an epoch takes, as in training the other models.
        start: where to begin; its `row` counts batches.
    """

    def __init__(
        self,
        corpora: Sequence[tuple[ReplyPairs, float]],
        *,
        pairs_per_batch: int,
        seed: int,
        start: StreamPosition | None = None,
    ) -> None:
        self.corpora, self.pairs_per_batch, self.seed = corpora, pairs_per_batch, seed
        self.position = start or StreamPosition()
        sizes = np.array([len(pairs) * weight for pairs, weight in corpora])
        self._shares = sizes / sizes.sum()

    @property
    def epoch_tokens(self) -> int:
        return int(sum(pairs.num_tokens * weight for pairs, weight in self.corpora))

    def __iter__(self) -> PairStream:
        return self

    def __next__(self) -> PairBatch:
        number = self.position.row
        random = np.random.default_rng((self.seed, number))
        pairs = self.corpora[random.choice(len(self.corpora), p=self._shares)][0]
        if pairs.near is not None and random.random() < NEAR_SHARE:
            drawn = pairs.draw_near(pairs.near, self.pairs_per_batch, random)
        else:
            drawn = pairs.draw(self.pairs_per_batch, random, of_one_dialogue=OF_ONE_DIALOGUE if random.random() < 0.5 else None)
        self.position = StreamPosition(self.position.epoch, number + 1)
        return pairs.batch(drawn, random)
