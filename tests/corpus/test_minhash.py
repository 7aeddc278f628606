"""A signature says how alike two dialogues are, whatever they are signed together with."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chitchat.corpus.minhash import MIN_HELD_OUT_SHINGLES, SLOTS, band_keys, signatures, similarity

LONG = ["今天天气真好啊，我们一起去公园里走走怎么样", "好啊好啊，那我先去把作业写完，下午三点门口见"]


@given(st.lists(st.lists(st.text(max_size=40), min_size=1, max_size=4), max_size=8))
def test_neighbours_change_nothing(others: list[list[str]]) -> None:
    alone, shingles = signatures([LONG])
    together, counts = signatures([*others, LONG, *others])
    assert np.array_equal(together[len(others)], alone[0]) and counts[len(others)] == shingles[0]
    assert together.shape == (2 * len(others) + 1, SLOTS)


def test_estimates_are_near_the_truth() -> None:
    text = "".join(chr(0x4E00 + 37 * n % 6000) for n in range(402))
    pairs = [[text[:200]], [text[100:300]], [text[202:]]]
    found, _ = signatures(pairs)
    assert similarity(found[:1], found[:1]) == 1
    assert abs(similarity(found[:1], found[1:2])[0] - 98 / 298) < 0.1  # 100 characters shared
    assert similarity(found[:1], found[2:])[0] < 0.1


def test_short_dialogues_have_no_signature_and_share_no_band() -> None:
    short = "啊" * (MIN_HELD_OUT_SHINGLES + 1)
    found, counts = signatures([[short], [short], [short + "啊"], []])
    assert counts.tolist() == [11, 11, 12, 0]
    assert not found[[0, 1, 3]].any() and found[2].any()
    keys = band_keys(found)
    assert not keys[:, [0, 1, 3]].any() and keys[:, 2].all()


def test_signatures_are_the_same_for_ever() -> None:
    """Written down: other signatures need another `prepare.pipeline.VERSION`."""
    found, _ = signatures([LONG])
    assert found[0, :6].tolist() == KNOWN


KNOWN = [151, 161, 237, 127, 19, 10]
