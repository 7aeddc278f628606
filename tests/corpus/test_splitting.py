"""The split of a dialogue is a fact about its words."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chitchat.corpus.splitting import Split, content_hash, split_of


def test_hash_is_the_same_for_ever() -> None:
    """Written down: a changed hash would move test dialogues into training."""
    assert content_hash(["你好", "你好呀"]) == KNOWN
    code = "from chitchat.corpus.splitting import content_hash; print(content_hash(['你好', '你好呀']))"
    assert int(subprocess.check_output([sys.executable, "-X", "utf8", "-c", code])) == KNOWN


KNOWN = 1169070219896989227


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_different_dialogues_have_different_hashes(a: list[str], b: list[str]) -> None:
    assert 0 <= content_hash(a) < 2**64
    assert (content_hash(a) == content_hash(b)) == (a == b)
    assert content_hash(tuple(a)) == content_hash(a)


def test_fractions_are_kept() -> None:
    counts = Counter(split_of(content_hash([str(i), "嗯"]), 0.1, 0.05) for i in range(20000))
    assert counts[Split.VALIDATION] / 20000 == pytest.approx(0.1, abs=0.01)
    assert counts[Split.TEST] / 20000 == pytest.approx(0.05, abs=0.01)


def test_edges() -> None:
    assert {split_of(h, 0.0, 0.0) for h in (0, 2**64 - 1)} == {Split.TRAIN}
    assert split_of(0, 0.5, 0.5) is Split.TEST and split_of(2**64 - 1, 0.5, 0.5) is not Split.TRAIN


def test_validation_share_does_not_move_the_test_set() -> None:
    hashes = [content_hash([str(i)]) for i in range(2000)]
    assert [split_of(h, 0.1, 0.1) is Split.TEST for h in hashes] == [split_of(h, 0.4, 0.1) is Split.TEST for h in hashes]
