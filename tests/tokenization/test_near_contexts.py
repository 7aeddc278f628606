"""Near contexts: the nearest of a sample, but none that is as good as the same."""

from __future__ import annotations

import numpy as np
import pytest

from chitchat.tokenization import near_contexts
from chitchat.tokenization.near_contexts import AS_GOOD_AS_THE_SAME, NearContexts


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)


def test_the_nearest_that_are_not_as_good_as_the_same() -> None:
    degrees = [0, 10, 40, 60, 80, 170, 181, 200]
    assert np.cos(np.radians(30)) > AS_GOOD_AS_THE_SAME > np.cos(np.radians(40))
    near = NearContexts(on_a_circle(*degrees))
    first, sixth = near.nearest(np.array([0, 5]), 2, np.random.default_rng(0))
    assert set(first.tolist()) == {2, 3}, "not itself, nor what stands 10 degrees away"
    assert set(sixth.tolist()) == {4, 3}


def test_of_a_large_corpus_a_sample_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_contexts, "SEARCHED", 50)
    near = NearContexts(on_a_circle(*np.linspace(0, 359, 1000)))
    found = [near.nearest(np.array([0]), 3, np.random.default_rng(seed))[0] for seed in range(40)]
    assert len({tuple(sorted(f.tolist())) for f in found}) > 20, "others every time"
    for numbers in found:
        assert len(set(numbers.tolist())) == 3
        assert all(abs((n + 500) % 1000 - 500) > 80 for n in numbers.tolist())
    again = near.nearest(np.array([0]), 3, np.random.default_rng(0))[0]
    assert again.tolist() == found[0].tolist(), "a function of the random numbers"


def test_of_few_contexts_all_others() -> None:
    assert NearContexts(on_a_circle(0, 90)).nearest(np.array([0, 1]), 5, np.random.default_rng(0)).shape == (2, 2)
