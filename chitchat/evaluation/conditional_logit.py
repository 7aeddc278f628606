"""Conditional logit (McFadden 1974): the weights under which what was chosen is likeliest among what could have been."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
"""(choices, candidates, features), the chosen one first among the candidates."""
RIDGE = 1e-3


def conditional_logit(tables: Sequence[Table], *, without: int | None = None) -> NDArray[np.float64]:
    """Weights w that maximise the mean log softmax(features @ w)[true], by Newton's method on standardised features.

    `tables` may differ in their number of candidates. The small ridge keeps a feature that tells nothing at zero.
    """
    of_width: defaultdict[int, list[Table]] = defaultdict(list)
    for table in tables:
        of_width[table.shape[1]].append(table)
    joined = [np.concatenate(some) for some in of_width.values()]
    scale = np.concatenate([t.reshape(-1, t.shape[-1]) for t in joined]).std(axis=0)
    kept = np.array([i != without and s > 0 for i, s in enumerate(scale)])
    scaled = [t[..., kept] / scale[kept] for t in joined]

    def loss(w: NDArray[np.float64]) -> float:
        losses = np.concatenate([np.logaddexp.reduce((x - x[:, :1]) @ w, axis=1) for x in scaled])
        return float(losses.mean() + RIDGE * w @ w / 2)

    w = np.zeros(int(kept.sum()))
    for _ in range(50):
        gradient, curvature = RIDGE * w, RIDGE * np.eye(len(w))
        contexts = sum(len(x) for x in scaled)
        for x in scaled:
            shares = np.exp(x @ w - (x @ w).max(axis=1, keepdims=True))
            shares /= shares.sum(axis=1, keepdims=True)
            mean = np.einsum("nc,ncf->nf", shares, x)
            gradient = gradient + (mean - x[:, 0]).sum(axis=0) / contexts
            curvature = curvature + (np.einsum("nc,ncf,ncg->fg", shares, x, x) - mean.T @ mean) / contexts
        step = np.linalg.solve(curvature, gradient)
        while loss(w - step) > loss(w) and np.abs(step).max() > 1e-8:
            step /= 2
        w = w - step
        if np.abs(step).max() < 1e-6:
            break
    weights = np.zeros(len(scale))
    weights[kept] = w / scale[kept]
    return weights
