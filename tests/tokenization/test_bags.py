"""Bags by hand, and that neither company nor what follows in the array changes one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chitchat.tokenization.bags import MAX_TOKENS, bags

VOCAB, BUCKETS, SEP = 1000, 64, 3
Tokens = list[int]


def pair(first: int, second: int) -> int:
    return VOCAB + ((first * 7919 + second) * 2654435761 >> 13) % BUCKETS


def bags_of(*messages: Tokens) -> list[Tokens]:
    """The bag of each message; they stand one after another, closed with `[SEP]`, as in a store."""
    ids = np.array([id_ for m in messages for id_ in (*m, SEP)], np.uint16)
    lengths = np.array([len(m) for m in messages], np.int64)
    starts = np.cumsum(lengths + 1) - lengths - 1
    found = bags(ids, starts, lengths, vocab_size=VOCAB, buckets=BUCKETS)
    assert found.ids.dtype == found.offsets.dtype == np.int64, "as EmbeddingBag wants them"
    assert len(found.ids) == found.sizes.sum()
    return [found.ids[at : at + size].tolist() for at, size in zip(found.offsets, found.sizes, strict=True)]


def test_tokens_then_pairs_of_neighbours() -> None:
    assert bags_of([5, 6, 7]) == [[5, 6, 7, pair(5, 6), pair(6, 7)]]
    assert bags_of([5, 5]) == [[5, 5, pair(5, 5)]], "as often as it is said"
    assert bags_of([9]) == [[9]]


def test_the_hash_stays_what_trained_encoders_were_trained_with() -> None:
    assert bags_of([5, 6])[0][-1] == 1060
    assert bags_of([6, 5])[0][-1] == 1043, "in this order"


def test_a_message_that_is_not_there_has_none() -> None:
    assert bags_of([]) == [[]]
    assert bags_of([], [5, 6], [], [7], []) == [[], [5, 6, pair(5, 6)], [], [7], []]
    nothing = np.zeros(0, np.int64)
    assert bags(nothing, nothing, nothing, vocab_size=VOCAB, buckets=BUCKETS).ids.tolist() == []


def test_no_pair_reaches_over_a_messages_end() -> None:
    one, other = bags_of([5, 6], [7, 8])
    assert one == [5, 6, pair(5, 6)] and other == [7, 8, pair(7, 8)]
    assert not {pair(6, SEP), pair(6, 7), pair(SEP, 7), SEP} & {*one, *other}


@pytest.mark.parametrize("longer", [0, 1, 40])
def test_of_a_long_message_the_beginning(longer: int) -> None:
    kept = [10 + n for n in range(MAX_TOKENS)]
    bag, after = bags_of([*kept, *[9] * longer], [5, 6])
    assert bag[:MAX_TOKENS] == kept and len(bag) == 2 * MAX_TOKENS - 1
    assert bag[-1] == pair(kept[-2], kept[-1])
    assert after == [5, 6, pair(5, 6)]


@given(st.lists(st.lists(st.integers(0, 65535), max_size=MAX_TOKENS + 3), max_size=6))
def test_in_company_as_alone(messages: list[Tokens]) -> None:
    together = bags_of(*messages)
    assert together == [bags_of(m)[0] for m in messages]
    for bag, message in zip(together, messages, strict=True):
        number = min(len(message), MAX_TOKENS)
        assert bag[:number] == message[:number]
        assert len(bag) == max(0, 2 * number - 1)
        assert all(VOCAB <= id_ < VOCAB + BUCKETS for id_ in bag[number:]), "never a token's place, however large the tokens"
