"""Which dialogues of a whole corpus are copies of which, exact and near, in memory that hardly grows with the corpus.

Four bytes a dialogue are held for the answer; hashes and bands are sorted a part at a time, signatures read where two bands meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chitchat.corpus.minhash import BANDS, ESTIMATE_MARGIN, MIN_SHINGLES, similarity
from chitchat.corpus.splitting import Split
from chitchat.errors import CorpusError
from chitchat.prepare.spool import Spool

MAX_DIALOGUES = 1 << 30
_PART_DIALOGUES, _MAX_PARTS = 2_000_000, 16
_BLOCK = 1_000_000
_PAIRS = 16_384
_MAX_LEADERS = 4
"""Members of one bucket that all others are compared with. Real copies meet in several bands; more would let a corpus made of
variations on a few templates take time by the square of its size."""

_CHAIN_MEMBERS = 100_000
_MAX_RESTORED = 500
"""Of so many copies of copies at a time so many are restored at most, for the same reason."""

_INDEX_BITS, _RANK_BITS = np.uint64(30), np.uint64(2)
_RANKS = np.zeros(len(Split), dtype=np.uint64)
_RANKS[[Split.TEST, Split.VALIDATION, Split.TRAIN]] = (0, 1, 2)
"""Of copies the one kept is test's before validation's before train's: what is held out stays unseen in training."""


def find_duplicates(spool: Spool, threshold: float) -> NDArray[np.uint32]:
    """(dialogues,) the dialogue each is a copy of, and its own number where it is none.

    Of exact copies the first is kept, of near ones the first of the best-guarded split. A near copy resembles the dialogue it is
    put down to by `threshold` (Jaccard similarity, estimated) or more; 0 finds exact copies only.

    Raises CorpusError for more than `MAX_DIALOGUES` dialogues.
    """
    if spool.num_dialogues > MAX_DIALOGUES:
        raise CorpusError(spool.folder, None, f"超过 {MAX_DIALOGUES} 段对话；请把语料切成几个文件，分别预处理")
    original = np.arange(spool.num_dialogues, dtype=np.uint32)
    if len(original):
        _find_exact(spool, original)
        if threshold:
            _NearCopies(spool, original, threshold).find()
    return original


def _find_exact(spool: Spool, original: NDArray[np.uint32]) -> None:
    parts = _parts(len(original))
    for part in range(parts):
        hashes: list[NDArray[np.uint64]] = []
        indices: list[NDArray[np.uint32]] = []
        for start, values in _blocks(spool, "hashes"):
            chosen = np.flatnonzero(values % np.uint64(parts) == part)
            hashes.append(values[chosen])
            indices.append((chosen + start).astype(np.uint32))
        values, places = np.concatenate(hashes), np.concatenate(indices)
        order = np.argsort(values, kind="stable")
        values, places = values[order], places[order]
        first = _firsts(values)
        original[places] = places[first]


class _NearCopies:
    """Marks near copies in `original`, which holds the exact ones already."""

    def __init__(self, spool: Spool, original: NDArray[np.uint32], threshold: float) -> None:
        self._spool = spool
        self._original = original
        self._least = threshold - ESTIMATE_MARGIN
        self._splits = np.concatenate(list(spool.column("splits", _BLOCK)))
        self._shingles = np.concatenate(list(spool.column("shingles", _BLOCK)))

    def find(self) -> None:
        exact = [np.flatnonzero(values != indices) for indices, values in self._numbered()]
        is_exact = np.zeros(len(self._original), dtype=np.bool_)
        for found in exact:
            is_exact[found] = True
        for band in range(BANDS):
            for members in self._buckets(f"band{band}"):
                self._compare(members)
        self._restore(is_exact)

    def _buckets(self, band: str) -> Iterator[NDArray[np.uint64]]:
        """Dialogues that share a key of one band, in parts: key, rank and index in one number each, ascending."""
        parts = _parts(len(self._original))
        for part in range(parts):
            packed: list[NDArray[np.uint64]] = []
            for start, keys in _blocks(self._spool, band):
                indices = np.arange(start, start + len(keys), dtype=np.uint32)
                is_kept = self._original[start : start + len(keys)] == indices
                chosen = np.flatnonzero((keys != 0) & (keys % np.uint32(parts) == part) & is_kept)
                packed.append(self._packed(keys[chosen], indices[chosen]))
            members = np.concatenate(packed)
            members.sort()
            yield _without_singles(members)

    def _compare(self, members: NDArray[np.uint64]) -> None:
        """Puts down to the first of each bucket what resembles it, then to the first of what is left, and so on."""
        for _ in range(_MAX_LEADERS):
            first = _firsts(_keys(members))
            others = np.flatnonzero(first != np.arange(len(members)))
            leaders, members = _indices(members[first[others]]), members[others]
            alike = self._are_alike(leaders, _indices(members))
            self._original[_indices(members[alike])] = leaders[alike].astype(np.uint32)
            members = _without_singles(members[~alike])

    def _are_alike(self, a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """(pairs,) whether the second is a copy of the first."""
        pairs = np.flatnonzero(self._may_be_alike(a, b))
        alike = np.zeros(len(a), dtype=np.bool_)
        for start in range(0, len(pairs), _PAIRS):
            some = pairs[start : start + _PAIRS]
            estimates = similarity(self._spool.signatures(a[some]), self._spool.signatures(b[some]))
            alike[some] = estimates >= self._least
        return alike

    def _may_be_alike(self, a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        """(pairs,) False for two short dialogues, unless the first is held out."""
        is_long = np.minimum(self._shingles[a], self._shingles[b]) >= MIN_SHINGLES
        may: NDArray[np.bool_] = is_long | (self._splits[a] != Split.TRAIN)
        return may

    def _restore(self, is_exact: NDArray[np.bool_]) -> None:
        """Restores copies of copies that do not resemble what was kept in the end.

        A chain of small differences would otherwise leave one dialogue of a thousand made by a template.
        """
        chained: list[NDArray[np.uint64]] = []
        for indices, values in self._numbered():
            roots = values.copy()
            while ((further := self._original[roots]) != roots).any():
                roots = further
            found = np.flatnonzero((roots != values) & ~is_exact[indices])
            chained.append(self._packed(roots[found], indices[found]))
        members = np.concatenate(chained)
        members.sort()
        roots = _keys(members).astype(np.int64)
        alike = self._are_alike(roots, _indices(members))
        self._original[_indices(members[alike])] = roots[alike].astype(np.uint32)
        members = members[~alike]
        for chain in np.split(_indices(members), np.flatnonzero(np.diff(_keys(members))) + 1):
            for start in range(0, len(chain), _CHAIN_MEMBERS):
                self._restore_from(chain[start : start + _CHAIN_MEMBERS])

    def _restore_from(self, members: NDArray[np.int64]) -> None:
        signatures = self._spool.signatures(members)
        for _ in range(min(_MAX_RESTORED, len(members))):
            self._original[members[0]] = members[0]
            alike = self._may_be_alike(members[:1], members) & (similarity(signatures[:1], signatures) >= self._least)
            self._original[members[alike]] = members[0]
            members, signatures = members[~alike], signatures[~alike]
            if not len(members):
                return

    def _packed(self, keys: NDArray[np.unsignedinteger[Any]], indices: NDArray[np.uint32]) -> NDArray[np.uint64]:
        ranks = _RANKS[self._splits[indices]] << _INDEX_BITS
        packed: NDArray[np.uint64] = keys.astype(np.uint64) << (_INDEX_BITS + _RANK_BITS) | ranks | indices
        return packed

    def _numbered(self) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.uint32]]]:
        """Blocks of dialogues' numbers, and what each is a copy of."""
        for start in range(0, len(self._original), _BLOCK):
            values = self._original[start : start + _BLOCK]
            yield np.arange(start, start + len(values), dtype=np.uint32), values


def _parts(count: int) -> int:
    """How many parts to sort so many dialogues in; each part reads the whole column, so beyond some the parts grow instead."""
    return min(-(-count // _PART_DIALOGUES), _MAX_PARTS)


def _blocks(spool: Spool, name: str) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Each block of a column with the index it starts at."""
    start = 0
    for values in spool.column(name, _BLOCK):
        yield start, values
        start += len(values)


def _firsts(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """(values,) for each of the sorted values the place where its like begin."""
    places = np.arange(len(values))
    places[1:][values[1:] == values[:-1]] = 0
    firsts: NDArray[np.int64] = np.maximum.accumulate(places)
    return firsts


def _without_singles(members: NDArray[np.uint64]) -> NDArray[np.uint64]:
    keys = _keys(members)
    same = keys[1:] == keys[:-1]
    is_shared = np.zeros(len(members), dtype=np.bool_)
    is_shared[1:] = same
    is_shared[:-1] |= same
    return members[is_shared]


def _keys(members: NDArray[np.uint64]) -> NDArray[np.uint64]:
    keys: NDArray[np.uint64] = members >> (_INDEX_BITS + _RANK_BITS)
    return keys


def _indices(members: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (members & np.uint64(MAX_DIALOGUES - 1)).astype(np.int64)
