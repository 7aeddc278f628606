"""Stored dialogues that are nearly a held-out one, found exactly: the few are indexed, the many streamed past them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chitchat.tokenization.token_store import TokenStore

SHINGLE_TOKENS = 3
MIN_SHINGLES = 12
"""Shorter dialogues are too often alike by chance; their exact copies are found by hash."""
_BLOCK_DIALOGUES = 20_000
_TABLE_BITS = 24
_MIXER = np.uint64(0x9E3779B97F4A7C15)
"""Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4)."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """A held-out dialogue and the stored one most like it; each is (store, dialogue) by place."""

    held_out: tuple[int, int]
    copy: tuple[int, int]
    similarity: float
    """Jaccard similarity of their token trigrams, 0 to 1."""


def near_copies(
    stores: Sequence[TokenStore], held_out: Sequence[tuple[int, int]], *, split: int, threshold: float = 0.8
) -> list[NearCopy]:
    """For each held-out dialogue (store, dialogue) its likeliest copy among the dialogues of `split`, if one reaches `threshold`.

    Memory grows with the held-out dialogues and not with the stores, so draw a few thousand of them.
    """
    index: dict[int, list[int]] = {}
    sizes: list[int] = []
    for number, (place, dialogue) in enumerate(held_out):
        shingles = set(_shingles(_tokens(stores[place], dialogue)).tolist())
        sizes.append(len(shingles))
        if len(shingles) >= MIN_SHINGLES:
            for shingle in shingles:
                index.setdefault(shingle, []).append(number)
    table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
    table[_slots(np.fromiter(index, dtype=np.uint64, count=len(index)))] = True
    best: dict[int, NearCopy] = {}
    for place, store in enumerate(stores):
        for dialogue in _worth_a_look(store, split, table, threshold):
            shingles = set(_shingles(_tokens(store, dialogue)).tolist())
            shared = Counter(number for shingle in shingles for number in index.get(shingle, ()))
            for number, count in shared.items():
                similarity = count / (sizes[number] + len(shingles) - count)
                if similarity >= threshold and (number not in best or similarity > best[number].similarity):
                    best[number] = NearCopy(held_out[number], (place, dialogue), similarity)
    return [best[number] for number in sorted(best)]


def _worth_a_look(store: TokenStore, split: int, table: NDArray[np.bool_], threshold: float) -> Iterator[int]:
    """Dialogues most of whose shingles are in the table: of two that are alike, each holds most of the other's."""
    end = 0
    for first in range(0, len(store), _BLOCK_DIALOGUES):
        ends = np.append(end, store.message_ends[store.dialogue_ends[first : first + _BLOCK_DIALOGUES] - 1])
        end = ends[-1]
        known = table[_slots(_shingles(store.ids[ends[0] : ends[-1]]))]
        hits = np.concatenate([[0], np.cumsum(known)])
        # the shingles across two dialogues lie between a dialogue's last one and the next one's first
        starts, stops = ends[:-1] - ends[0], ends[1:] - ends[0] - SHINGLE_TOKENS + 1
        long_enough = np.flatnonzero(stops - starts >= MIN_SHINGLES)
        starts, stops = starts[long_enough], stops[long_enough]
        # repeated shingles count each time here and once in a set, hence the margin
        likely = hits[stops] - hits[starts] >= 0.75 * threshold * (stops - starts)
        chosen = first + long_enough[likely]
        yield from chosen[store.splits[chosen] == split].tolist()
        store.release()  # a store is often larger than the memory


def _tokens(store: TokenStore, dialogue: int) -> NDArray[np.uint16]:
    messages = store.dialogue(dialogue)
    start = store.message_ends[messages[0] - 1] if messages[0] else 0
    return store.ids[start : store.message_ends[messages[-1]]]


def _shingles(ids: NDArray[np.uint16]) -> NDArray[np.uint64]:
    """(tokens - 2,) each three neighbouring ids as one number; two such numbers are equal only when the ids are."""
    wide = np.asarray(ids).astype(np.uint64)
    shift = np.uint64(16)
    return ((wide[:-2] << shift | wide[1:-1]) << shift | wide[2:]) if len(wide) >= SHINGLE_TOKENS else wide[:0]


def _slots(shingles: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (shingles * _MIXER) >> np.uint64(64 - _TABLE_BITS)
