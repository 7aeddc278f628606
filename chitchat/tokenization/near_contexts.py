"""Which contexts are near which, by the vectors of a dual encoder: replies from there are hard to tell from the true one.

Hard negatives mined by the model itself (Xiong et al. 2020, arXiv:2007.00808) are what retrieval will propose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

AS_GOOD_AS_THE_SAME = 0.85
"""A nearer context has replies that would do here too (graded by readers: three of four)."""
SEARCHED = 20_000
"""Contexts looked through for the nearest: a random sample, so that it is others every time and the cost does not grow."""

Ids = NDArray[np.int64]


class NearContexts:
    """Unit vectors of contexts, searched in a random sample at a time."""

    def __init__(self, vectors: NDArray[np.float16]) -> None:
        # in random order, so that any run of them is a random sample and needs no copy
        self._order = np.random.default_rng(0).permutation(len(vectors))
        self._vectors = vectors[self._order].astype(np.float32)
        self._turn = np.argsort(self._order)

    def nearest(self, contexts: Ids, number: int, random: np.random.Generator) -> Ids:
        """(contexts, number) the numbers of the nearest others of a sample, none of them as good as the same."""
        start = int(random.integers(0, max(1, len(self._order) - SEARCHED + 1)))
        sample = slice(start, start + SEARCHED)
        nearness = self._vectors[self._turn[contexts]] @ self._vectors[sample].T
        nearness[nearness > AS_GOOD_AS_THE_SAME] = -1.0
        number = min(number, nearness.shape[1])
        found: Ids = np.argpartition(nearness, -number, axis=1)[:, -number:]
        return self._order[sample][found]
