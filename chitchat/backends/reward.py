"""How a reader would like a reply, learnt from graded ones: a linear model over what it says and what it was written to answer.

The words of the reply tell whether it would do anywhere or names what was not spoken of. For a retrieved one, the words that its
own occasion has in common with this one and those that only one of them has tell whether it may be moved; learnt weights know
that a missing 不 or 她 matters and a missing 了 does not. Ridge regression (Hoerl and Kennard 1970) on the grades; see
`evaluation/fit_reward.py`. A GPT-2 of 6.3M parameters trained on the same grades ranked no better than chance.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chitchat.dialogue import Candidate
from chitchat.errors import CheckpointError
from chitchat.files import atomic_folder

REWARD = "reward"
"""Its folder in a model's."""
MANIFEST = "reward.json"
FORMAT = 1
SOURCES = ("retrieval", "act")
"""What it tells apart: replies that people wrote and that compete with each other."""
SAID, TAKEN_UP, NOT_TAKEN_UP, MET, MISSING, UNMET, MET_BEFORE, MISSING_BEFORE = range(8)
"""What an n-gram is: of the reply; of it and the last message; of that alone; of the last message and the one that the reply was
written to answer; of that one alone; of the last alone; and of the messages before those, in both or in the other alone."""

_LONGEST = {SAID: 3}
_LONGEST_COMPARED = 2
_GRAM_BITS = 45
_KIND_BITS = 3
_START, _END, _SEPARATOR = "\x02", "\x03", "\n"
_MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

Keys = NDArray[np.uint64]
Owners = NDArray[np.intp]
Grams = tuple[Owners, Keys]
"""(owner, n-gram) of several texts, each pair once, ascending."""


class LinearReward:
    """Tells how readers would like replies.

    Args:
        keys: (ngrams,) ascending; see `reward_features`.
        weights: (ngrams,) what a reply gains by each, times its inverse document frequency.
        scales: (ngrams,) the inverse document frequencies, which make up the length that the sum is divided by.
    """

    def __init__(self, keys: Keys, weights: NDArray[np.float32], scales: NDArray[np.float32]) -> None:
        self._keys, self._weights, self._scales = keys, weights, scales

    @classmethod
    def load(cls, folder: Path) -> LinearReward:
        """Raises CheckpointError when the folder is damaged, of a newer version or no such model."""
        remedy = "请用 chitchat fit-ranking … --judgements FILE 重新生成，或删去这个文件夹"
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if int(manifest["format"]) > FORMAT:
                raise CheckpointError(
                    f"{folder}：格式是 {manifest['format']}，本程序只认到 {FORMAT}；请升级 chitchat，或{remedy}"
                )
            keys, weights, scales = (np.load(folder / f"{name}.npy") for name in ("keys", "weights", "scales"))
            if not (len(keys) == len(weights) == len(scales) == int(manifest["ngrams"])) or keys.dtype != np.uint64:
                raise ValueError("数组与清单不符")
            return cls(keys, weights.astype(np.float32), scales.astype(np.float32))
        except FileNotFoundError as error:
            raise CheckpointError(f"{folder}：评分模型缺少 {Path(error.filename).name}；{remedy}") from None
        except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
            raise CheckpointError(f"{folder}：评分模型已损坏（{error}）；{remedy}") from None

    def save(self, folder: Path, **told: object) -> None:
        """Writes the folder, whole or not at all, with what is told of the data in its manifest."""
        with atomic_folder(folder) as unfinished:
            np.save(unfinished / "keys.npy", self._keys)
            np.save(unfinished / "weights.npy", self._weights.astype(np.float16))
            np.save(unfinished / "scales.npy", self._scales.astype(np.float16))
            manifest = {"format": FORMAT, "ngrams": len(self._keys), **told}
            (unfinished / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    def rewards(self, candidates: Sequence[Candidate], contexts: Sequence[Sequence[str]]) -> list[float]:
        """Grades above or below those of other replies to the same context, about -1 to 1."""
        found = np.zeros(len(candidates))
        of_context: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for i, context in enumerate(contexts):
            of_context[tuple(context[-2:])].append(i)
        for context, numbers in of_context.items():
            owners, keys = reward_features(context, [candidates[i] for i in numbers])
            column = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
            known = self._keys[column] == keys if len(self._keys) else np.zeros(len(keys), bool)
            owners, column = owners[known], column[known]
            sums = np.bincount(owners, self._weights[column], len(numbers))
            lengths = np.sqrt(np.bincount(owners, self._scales[column] ** 2, len(numbers)))
            found[numbers] = sums / np.maximum(lengths, 1e-9)
        return [float(value) for value in found]


def reward_features(context: Sequence[str], candidates: Sequence[Candidate]) -> Grams:
    """(candidate, key) of everything a candidate is judged by after this context; a key tells an n-gram and what it is."""
    count = len(candidates)
    retrieved = np.array([bool(c.origin) for c in candidates])
    here, before = (_grams([text], _LONGEST_COMPARED)[1] for text in (context[-1], context[-2] if len(context) > 1 else ""))
    replies = _grams([c.text for c in candidates], _LONGEST_COMPARED)
    there = _grams([c.origin[-1] if c.origin else "" for c in candidates], _LONGEST_COMPARED)
    there_before = _grams([c.origin[-2] if len(c.origin) > 1 else "" for c in candidates], _LONGEST_COMPARED)
    shared, other = _split(there, here)
    shared_before, other_before = _split(there_before, before)
    kinds: dict[int, Grams] = {
        SAID: _grams([c.text for c in candidates], _LONGEST[SAID]),
        TAKEN_UP: _split(replies, here)[0],
        NOT_TAKEN_UP: _lacking(replies, here, count, retrieved),
        MET: shared,
        MISSING: other,
        UNMET: _lacking(there, here, count, retrieved),
        MET_BEFORE: shared_before,
        MISSING_BEFORE: other_before,
    }
    owners = np.concatenate([grams[0] for grams in kinds.values()])
    keys = np.concatenate([grams[1] << np.uint64(_KIND_BITS) | np.uint64(kind) for kind, grams in kinds.items()])
    return owners, keys


def _grams(texts: Sequence[str], longest: int) -> Grams:
    """N-grams of characters up to `longest`, the start and end of a text counting as one; none of an empty text."""
    framed = (f"{_START}{''.join(text.split())}{_END}" if text.strip() else "" for text in texts)
    codes = np.frombuffer(_SEPARATOR.join(framed).encode("utf-32-le"), np.uint32).astype(np.uint64)
    parts = codes == ord(_SEPARATOR)
    owners = np.cumsum(parts)
    single = ~parts & (codes != ord(_START)) & (codes != ord(_END))
    found = [(owners[single], codes[single])]
    hashes = codes
    for length in range(2, longest + 1):
        ends = codes[length - 1 :]
        hashes = hashes[: len(ends)] * _MULTIPLIERS[0] + ends
        within = owners[: len(ends)] == owners[length - 1 :]
        within &= ~parts[: len(ends)] & ~parts[length - 1 :]
        found.append((owners[: len(ends)][within], hashes[within]))
    whose = np.concatenate([o for o, _ in found]).astype(np.uint64)
    grams = (np.concatenate([g for _, g in found]) * _MULTIPLIERS[1]) >> np.uint64(64 - _GRAM_BITS)
    joint = np.unique(whose << np.uint64(_GRAM_BITS) | grams)
    return (joint >> np.uint64(_GRAM_BITS)).astype(np.intp), joint & np.uint64((1 << _GRAM_BITS) - 1)


def _split(grams: Grams, reference: Keys) -> tuple[Grams, Grams]:
    """Those that are in `reference`, and those that are not."""
    owners, keys = grams
    shared = np.isin(keys, reference)
    return (owners[shared], keys[shared]), (owners[~shared], keys[~shared])


def _lacking(grams: Grams, reference: Keys, count: int, asked: NDArray[np.bool_]) -> Grams:
    """What of `reference` each of `count` owners has not, for those that are `asked`."""
    owners, keys = grams
    has = np.zeros((count, len(reference)), bool)
    has[~asked] = True
    if len(reference):
        column = np.minimum(np.searchsorted(reference, keys), len(reference) - 1)
        known = reference[column] == keys
        has[owners[known], column[known]] = True
    lacking, column = np.nonzero(~has)
    return lacking, reference[column]
