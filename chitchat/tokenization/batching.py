"""Samples into batches: packed rows, an endless stream of them, and a position to resume from.

Several samples share a row; each attends only to itself and counts its positions from zero, so packing changes nothing
but the speed (padding wastes about half of a batch of short dialogues).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chitchat.tokenization.samples import Sample, Samples

IGNORED = -100
"""Label of a position that is not learnt, as in torch's cross-entropy."""


@dataclass(frozen=True)
class Batch:
    """Packed rows, each array of shape (rows, tokens)."""

    input_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    """The *next* token at each position, or `IGNORED`."""
    position_ids: NDArray[np.int64]
    sample_ids: NDArray[np.int64]
    """Which sample of its row a token belongs to, from 1; 0 is padding."""

    @property
    def num_targets(self) -> int:
        return int((self.labels != IGNORED).sum())

    @property
    def num_tokens(self) -> int:
        return int((self.sample_ids > 0).sum())

    @property
    def arrays(self) -> tuple[NDArray[np.int64], ...]:
        return self.input_ids, self.labels, self.position_ids, self.sample_ids


def pack(lengths: NDArray[np.int64], order: NDArray[np.int64], row_tokens: int, *, max_open_rows: int = 256) -> list[list[int]]:
    """Rows of sample indices, best fit: each sample goes to the open row it fills best.

    Open rows are kept by the room they have left; a bit mask finds the tightest fit in constant time.
    """
    by_room: list[list[list[int]]] = [[] for _ in range(row_tokens + 1)]
    mask = 0
    num_open = 0
    rows: list[list[int]] = []
    for index, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        fitting = mask >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = by_room[room].pop()
            if not by_room[room]:
                mask &= ~(1 << room)
            num_open -= 1
        else:
            room, row = row_tokens, []
        row.append(index)
        room -= length
        if room < 4:  # nothing is that short
            rows.append(row)
            continue
        by_room[room].append(row)
        mask |= 1 << room
        num_open += 1
        if num_open > max_open_rows:
            fullest = (mask & -mask).bit_length() - 1
            rows.append(by_room[fullest].pop(0))
            if not by_room[fullest]:
                mask &= ~(1 << fullest)
            num_open -= 1
    rows.extend(row for bucket in by_room for row in bucket)
    return rows


def collate(rows: Sequence[Sequence[Sample]], row_tokens: int, pad_id: int) -> Batch:
    """One batch from rows of samples."""
    shape = (len(rows), row_tokens)
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    labels = np.full(shape, IGNORED, dtype=np.int64)
    position_ids = np.zeros(shape, dtype=np.int64)
    sample_ids = np.zeros(shape, dtype=np.int64)
    for r, row in enumerate(rows):
        at = 0
        for number, sample in enumerate(row, start=1):
            size = len(sample.ids)
            input_ids[r, at : at + size] = sample.ids
            labels[r, at + sample.target_start - 1 : at + size - 1] = sample.ids[sample.target_start :]
            position_ids[r, at : at + size] = np.arange(size)
            sample_ids[r, at : at + size] = number
            at += size
    return Batch(input_ids, labels, position_ids, sample_ids)


@dataclass(frozen=True)
class StreamPosition:
    """Where a batch stream stands: the epoch and the next row in it."""

    epoch: int = 0
    row: int = 0


class BatchStream:
    """Endless batches from several weighted sources; a pure function of seed and position.

    Args:
        sources: samples with the times each is seen in an epoch: 3 sees every sample thrice, 0.2 a fifth, drawn afresh.
        rows_per_batch: rows of each batch.
        row_tokens: tokens of each row.
        seed: of shuffling and drawing; the same seed gives the same batches.
        start: where to begin.
    """

    def __init__(
        self,
        sources: Sequence[tuple[Samples, float]],
        *,
        rows_per_batch: int,
        row_tokens: int,
        pad_id: int,
        seed: int,
        start: StreamPosition | None = None,
    ) -> None:
        self.sources = sources
        self.rows_per_batch, self.row_tokens, self.pad_id, self.seed = rows_per_batch, row_tokens, pad_id, seed
        self.position = start or StreamPosition()
        self._ends = np.cumsum([len(samples) for samples, _ in sources])
        self._lengths = np.concatenate([samples.lengths for samples, _ in sources])
        self._rows = self._epoch_rows(self.position.epoch)

    @property
    def epoch_tokens(self) -> int:
        """Tokens an epoch sees, padding left out."""
        return int(sum(samples.lengths.sum() * weight for samples, weight in self.sources))

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        chosen: list[list[int]] = []
        while len(chosen) < self.rows_per_batch:
            epoch, row = self.position.epoch, self.position.row
            if row >= len(self._rows):
                self.position = StreamPosition(epoch + 1, 0)
                self._rows = self._epoch_rows(epoch + 1)
                continue
            taken = self._rows[row : row + self.rows_per_batch - len(chosen)]
            chosen.extend(taken)
            self.position = StreamPosition(epoch, row + len(taken))
        return collate([[self._sample(i) for i in row] for row in chosen], self.row_tokens, self.pad_id)

    def _sample(self, index: int) -> Sample:
        source = int(np.searchsorted(self._ends, index, side="right"))
        return self.sources[source][0][index - (int(self._ends[source - 1]) if source else 0)]

    def _epoch_rows(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng((self.seed, epoch))
        drawn = []
        for (samples, weight), end in zip(self.sources, self._ends.tolist(), strict=True):
            first = end - len(samples)
            whole, part = divmod(weight, 1.0)
            drawn.append(np.tile(np.arange(first, end), int(whole)))
            drawn.append(first + random.permutation(len(samples))[: round(part * len(samples))])
        order = np.concatenate(drawn)
        random.shuffle(order)
        rows = pack(self._lengths, order, self.row_tokens)
        random.shuffle(rows)
        return rows
