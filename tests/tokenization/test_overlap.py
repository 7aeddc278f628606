"""Near copies of held-out dialogues are found among stored ones, and only those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chitchat.tokenization.overlap import near_copies
from chitchat.tokenization.token_store import EncodedDialogues, TokenStore, TokenStoreWriter

SEP = 3


def store(folder: Path, dialogues: list[list[int]], splits: list[int]) -> TokenStore:
    """Dialogues of one message each, which `[SEP]` closes."""
    closed = [[*ids, SEP] for ids in dialogues]
    with TokenStoreWriter(folder) as writer:
        writer.append(
            EncodedDialogues(
                np.array([id_ for ids in closed for id_ in ids], dtype=np.uint16),
                np.array([len(ids) for ids in closed]),
                np.array([len(ids) for ids in closed], dtype=np.uint16),
                np.ones(len(closed), dtype=np.int64),
                np.arange(len(closed), dtype=np.uint64),
                np.array(splits, dtype=np.uint8),
            )
        )
        writer.finish({"name": folder.name})
    return TokenStore(folder)


def test_copies_are_found_across_stores_and_strangers_are_not(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = random.integers(4, 60_000, size=(300, 60)).tolist()
    # (ids changed in a row, expected): of 59 trigrams k neighbouring changes spoil k + 2
    changed = {0: (0, True), 1: (3, True), 2: (4, True), 3: (12, False), 4: (30, False)}
    copies = [
        [*text[:20], *range(60_000, 60_000 + changed[n][0]), *text[20 + changed[n][0] :]] for n, text in enumerate(texts[:5])
    ]
    first = store(tmp_path / "first", texts, [1] * 20 + [0] * 280)
    second = store(tmp_path / "second", [*texts[250:], *copies], [0] * 55)
    held_out = [(0, number) for number in range(20)]
    found = near_copies([first, second], held_out, split=0)
    assert {copy.held_out[1]: copy.copy for copy in found} == {n: (1, 50 + n) for n, (_, near) in changed.items() if near}
    assert [round(copy.similarity, 3) for copy in found] == [1.0, round(54 / 64, 3), round(53 / 65, 3)]


@pytest.mark.parametrize("split", [0, 2])
def test_only_the_split_that_is_asked_about_counts(tmp_path: Path, split: int) -> None:
    ids = list(range(100, 140))
    both = store(tmp_path / "a", [ids, ids], [1, 2])
    assert [copy.copy for copy in near_copies([both], [(0, 0)], split=split)] == ([(0, 1)] if split == 2 else [])


def test_short_dialogues_are_left_to_their_hash(tmp_path: Path) -> None:
    short = store(tmp_path / "a", [[5, 6, 7, 8], [5, 6, 7, 8], []], [1, 0, 0])
    assert near_copies([short], [(0, 0), (0, 2)], split=0) == []


def test_neighbouring_dialogues_are_not_read_as_one(tmp_path: Path) -> None:
    ids = list(range(100, 140))
    halves = store(tmp_path / "a", [[*ids[:20]], [*ids[20:]], ids], [0, 0, 1])
    assert near_copies([halves], [(0, 2)], split=0) == []
