"""What a model learns from: forward windows and reverse prefixes of stored dialogues.

Samples are indices into a `TokenStore`; their ids are put together only when a batch needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chitchat.tokenization.token_store import TokenStore


@dataclass(frozen=True)
class Sample:
    """Ids of one training sequence; those before `target_start` are read but not learnt."""

    ids: NDArray[np.int64]
    target_start: int


class Samples:
    """Sequences cut from one store for one direction.

    Args:
        store: where the tokens are.
        dialogues: which dialogues (a split).
        reverse: False: `[CLS] u1 [SEP] u2 [SEP] …`, as many whole messages as fit; a longer dialogue becomes several windows,
            each starting with the last message of the one before, as context that is not learnt again.
            True: for every prefix u1 … un (n ≥ 2) one sequence `[CLS] un [SEP] un-1 [SEP] … `, oldest messages left out whole,
            of which everything after the first `[SEP]` is learnt. A model trained on whole dialogues only ranks replies in the
            middle of a dialogue wrongly.
        max_tokens: the longest sequence, `[CLS]` included.
        cls_id: id of `[CLS]`.

    Attributes:
        lengths: (samples,) tokens of each sequence.
        chars: (samples,) characters of the learnt messages.
        num_too_long: messages that fit no sequence and are left out; the dialogue is cut there.
    """

    def __init__(self, store: TokenStore, dialogues: Iterable[int], *, reverse: bool, max_tokens: int, cls_id: int) -> None:
        self.store, self.reverse, self.cls_id = store, reverse, cls_id
        ends = np.asarray(store.message_ends)
        self._starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        sizes = (ends - self._starts).tolist()
        self.num_too_long = 0
        spans: list[tuple[int, int, int, int]] = []
        cut = _prefixes if reverse else _windows
        # two messages must fit side by side, else a reverse sequence would have nothing to learn
        longest = (max_tokens - 1) // 2 if reverse else max_tokens - 1
        for dialogue in dialogues:
            run: list[int] = []
            for message in store.dialogue(int(dialogue)):
                if sizes[message] <= longest:
                    run.append(message)
                    continue
                self.num_too_long += 1
                spans.extend(cut(run, sizes, max_tokens - 1))
                run = []
            spans.extend(cut(run, sizes, max_tokens - 1))
        table = np.array(spans, dtype=np.int64).reshape(-1, 4)
        self._first, self._last, self._learnt_from, self.lengths = table[:, 0], table[:, 1], table[:, 2], table[:, 3] + 1
        cumulative = np.concatenate([[0], np.cumsum(np.asarray(store.message_chars), dtype=np.int64)])
        if reverse:
            self.chars = cumulative[self._last] - cumulative[self._first]
        else:
            self.chars = cumulative[self._last + 1] - cumulative[self._learnt_from]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Sample:
        first, last, learnt_from = int(self._first[index]), int(self._last[index]), int(self._learnt_from[index])
        store = self.store
        if self.reverse:
            parts = [store.message(m) for m in range(last, first - 1, -1)]
            return Sample(np.concatenate([[self.cls_id], *parts]).astype(np.int64), 1 + len(parts[0]))
        ids = np.concatenate([[self.cls_id], store.ids[self._starts[first] : store.message_ends[last]]]).astype(np.int64)
        return Sample(ids, 1 + int(self._starts[learnt_from] - self._starts[first]))


def _windows(run: list[int], sizes: list[int], room: int) -> list[tuple[int, int, int, int]]:
    """(first, last, first learnt, tokens) of forward windows over consecutive messages; each message is learnt once."""
    spans = []
    first = learnt_from = 0
    total = 0
    for position, message in enumerate(run):
        if total + sizes[message] > room:
            spans.append((run[first], run[position - 1], run[learnt_from], total))
            previous = sizes[run[position - 1]]
            learnt_from = position
            first, total = (position - 1, previous) if previous + sizes[message] <= room else (position, 0)
        total += sizes[message]
    if len(run) - learnt_from and len(run) - first > 1:
        spans.append((run[first], run[-1], run[learnt_from], total))
    return spans


def _prefixes(run: list[int], sizes: list[int], room: int) -> list[tuple[int, int, int, int]]:
    """(first, last, first learnt, tokens) of the reverse sequence that ends at each message but the first."""
    spans = []
    first = 0
    total = sizes[run[0]] if run else 0
    for position in range(1, len(run)):
        total += sizes[run[position]]
        while total > room:
            total -= sizes[run[first]]
            first += 1
        spans.append((run[first], run[position], run[first], total))
    return spans
