"""Every message learnt once by the forward model, every prefix by the reverse model, packing that loses nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.errors import CorpusError
from chitchat.tokenization.batching import IGNORED, BatchStream, StreamPosition, collate, pack
from chitchat.tokenization.samples import Samples
from chitchat.tokenization.token_store import EncodedDialogues, TokenStore, TokenStoreWriter

CLS, SEP = 2, 3


def one_dialogue(sizes: list[int]) -> EncodedDialogues:
    return EncodedDialogues(
        ids=np.array([id_ for m, size in enumerate(sizes) for id_ in (*[10 + m] * size, SEP)], dtype=np.uint16),
        message_tokens=np.array(sizes) + 1,
        message_chars=np.array(sizes, dtype=np.uint16),
        dialogue_messages=np.array([len(sizes)]),
        hashes=np.zeros(1, dtype=np.uint64),
        splits=np.zeros(1, dtype=np.uint8),
    )


def store_of(folder: Path, dialogues: list[list[int]]) -> TokenStore:
    """A store of dialogues given as message lengths; message m of dialogue d holds tokens 10+m."""
    with TokenStoreWriter(folder) as writer:
        for sizes in dialogues:
            writer.append(one_dialogue(sizes))
        writer.finish({"name": "test"})
    return TokenStore(folder)


def read(samples: Samples) -> list[tuple[list[int], list[int]]]:
    result = []
    for index in range(len(samples)):
        sample = samples[index]
        assert len(sample.ids) == samples.lengths[index]
        result.append((sample.ids[: sample.target_start].tolist(), sample.ids[sample.target_start :].tolist()))
    return result


def test_store_gives_back_its_dialogues(tmp_path: Path) -> None:
    store = store_of(tmp_path, [[2, 1], [3]])
    assert [[store.message(m).tolist() for m in store.dialogue(d)] for d in range(len(store))] == [
        [[10, 10, SEP], [11, SEP]],
        [[10, 10, 10, SEP]],
    ]


def test_unfinished_store_is_an_error(tmp_path: Path) -> None:
    with TokenStoreWriter(tmp_path) as writer:
        writer.append(one_dialogue([1]))
    with pytest.raises(CorpusError, match="prepare"):
        TokenStore(tmp_path)


def test_forward_sample_is_the_whole_dialogue(tmp_path: Path) -> None:
    samples = Samples(store_of(tmp_path, [[2, 1, 1]]), [0], reverse=False, max_tokens=32, cls_id=CLS)
    assert read(samples) == [([CLS], [10, 10, SEP, 11, SEP, 12, SEP])]
    assert samples.chars.tolist() == [4]


def test_long_dialogue_becomes_windows_that_learn_each_message_once(tmp_path: Path) -> None:
    samples = Samples(store_of(tmp_path, [[3, 3, 3, 3]]), [0], reverse=False, max_tokens=10, cls_id=CLS)
    learnt = [token for _, target in read(samples) for token in target if token != SEP]
    assert Counter(learnt) == {10: 3, 11: 3, 12: 3, 13: 3}
    first_given, first_target = read(samples)[0]
    assert (first_given, first_target[-1]) == ([CLS], SEP)
    second_given, _ = read(samples)[1]
    assert second_given == [CLS, 11, 11, 11, SEP], "the next window starts with the message before, as context"


def test_reverse_samples_are_every_prefix_last_message_first(tmp_path: Path) -> None:
    samples = Samples(store_of(tmp_path, [[1, 2, 1]]), [0], reverse=True, max_tokens=32, cls_id=CLS)
    assert read(samples) == [
        ([CLS, 11, 11, SEP], [10, SEP]),
        ([CLS, 12, SEP], [11, 11, SEP, 10, SEP]),
    ]
    assert samples.chars.tolist() == [1, 3]


def test_reverse_sample_drops_the_oldest_messages(tmp_path: Path) -> None:
    samples = Samples(store_of(tmp_path, [[3, 3, 3]]), [0], reverse=True, max_tokens=10, cls_id=CLS)
    assert read(samples)[-1] == ([CLS, 12, 12, 12, SEP], [11, 11, 11, SEP])


def test_message_that_fits_nowhere_cuts_the_dialogue_and_is_counted(tmp_path: Path) -> None:
    store = store_of(tmp_path, [[1, 1, 50, 1, 1]])
    samples = Samples(store, [0], reverse=False, max_tokens=16, cls_id=CLS)
    assert samples.num_too_long == 1
    assert [target for _, target in read(samples)] == [[10, SEP, 11, SEP], [13, SEP, 14, SEP]]


@pytest.mark.parametrize("max_tokens", [15, 16, 17])
def test_every_reverse_sample_has_something_to_learn(tmp_path: Path, max_tokens: int) -> None:
    """Two messages of half the room each do not fit beside [CLS]."""
    store = store_of(tmp_path, [[size, size] for size in range(4, 9)])
    samples = Samples(store, range(len(store)), reverse=True, max_tokens=max_tokens, cls_id=CLS)
    assert len(samples) and all(target for _, target in read(samples))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=300), st.integers(0, 5))
def test_packing_keeps_every_sample_once_within_the_row(lengths: list[int], max_open: int) -> None:
    rows = pack(np.array(lengths), np.random.default_rng(0).permutation(len(lengths)), 40, max_open_rows=max_open)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= 40 for row in rows)


def test_packing_wastes_little() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, size=5000)
    rows = pack(lengths, np.arange(5000), 256)
    assert lengths.sum() / (256 * len(rows)) > 0.97


def test_labels_are_the_next_token_of_the_same_sample(tmp_path: Path) -> None:
    samples = Samples(store_of(tmp_path, [[1, 1], [2, 1]]), [0, 1], reverse=False, max_tokens=16, cls_id=CLS)
    batch = collate([[samples[0], samples[1]]], 13, pad_id=0)
    assert batch.input_ids.tolist() == [[CLS, 10, SEP, 11, SEP, CLS, 10, 10, SEP, 11, SEP, 0, 0]]
    assert batch.labels.tolist() == [[10, SEP, 11, SEP, IGNORED, 10, 10, SEP, 11, SEP, IGNORED, IGNORED, IGNORED]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 0, 0]]
    assert batch.sample_ids.tolist() == [[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0]]


def stream_of(samples: Samples, weight: float, start: StreamPosition | None = None) -> BatchStream:
    return BatchStream([(samples, weight)], rows_per_batch=2, row_tokens=32, pad_id=0, seed=7, start=start or StreamPosition())


def test_stream_resumes_at_any_position_across_epochs(tmp_path: Path) -> None:
    samples = Samples(store_of(tmp_path, [[3, 2]] * 40), range(40), reverse=False, max_tokens=32, cls_id=CLS)
    whole = stream_of(samples, 1.0)
    seen = []
    for _ in range(20):
        position = whole.position
        seen.append((position, next(whole)))
    assert whole.position.epoch >= 2
    for position, batch in seen:
        again = next(stream_of(samples, 1.0, position))
        assert (again.input_ids == batch.input_ids).all() and (again.labels == batch.labels).all()


@pytest.mark.parametrize(("weight", "expected"), [(0.25, 10), (1.0, 40), (2.5, 100)])
def test_weight_is_how_often_a_sample_is_seen_in_an_epoch(tmp_path: Path, weight: float, expected: int) -> None:
    samples = Samples(store_of(tmp_path, [[3, 2]] * 40), range(40), reverse=False, max_tokens=32, cls_id=CLS)
    stream = stream_of(samples, weight)
    assert sum(len(row) for row in stream._rows) == expected
    if weight == 0.25:
        drawn = [sorted(i for row in stream._epoch_rows(epoch) for i in row) for epoch in range(2)]
        assert drawn[0] != drawn[1], "a part is drawn afresh each epoch"
