"""Pairs of a context and its reply: what each reads, which are drawn together, and that the stream starts where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from chitchat.tokenization.bags import Bags
from chitchat.tokenization.batching import StreamPosition
from chitchat.tokenization.near_contexts import NearContexts
from chitchat.tokenization.reply_pairs import (
    FORGOTTEN,
    NEAR_SHARE,
    OF_NEAR_CONTEXTS,
    OF_ONE_DIALOGUE,
    PairBatch,
    PairStream,
    ReplyPairs,
)
from chitchat.tokenization.token_store import EncodedDialogues, TokenStore, TokenStoreWriter

SEP = 3
Message = tuple[int, ...]


def store_of(folder: Path, dialogues: Sequence[Sequence[Message]]) -> TokenStore:
    with TokenStoreWriter(folder) as writer:
        for messages in dialogues:
            writer.append(
                EncodedDialogues(
                    ids=np.array([id_ for m in messages for id_ in (*m, SEP)], np.uint16),
                    message_tokens=np.array([len(m) + 1 for m in messages]),
                    message_chars=np.array([len(m) for m in messages], np.uint16),
                    dialogue_messages=np.array([len(messages)]),
                    hashes=np.zeros(1, np.uint64),
                    splits=np.zeros(1, np.uint8),
                )
            )
        writer.finish({"name": "test"})
    return TokenStore(folder)


def pairs_of(store: TokenStore, dialogues: Sequence[int] | None = None) -> ReplyPairs:
    return ReplyPairs(store, range(len(store)) if dialogues is None else dialogues, vocab_size=60_000, buckets=1000)


def said(dialogue: int, number: int) -> Message:
    """Messages that tell where they stand, of one to three tokens."""
    return (10 + dialogue, *[100 + number] * (1 + number % 3))


def talk(dialogue: int, messages: int) -> list[Message]:
    return [said(dialogue, number) for number in range(messages)]


def messages_of(bags: Bags) -> list[Message]:
    """The tokens of each bag, its pairs left out."""
    return [tuple(bags.ids[at : at + (size + 1) // 2].tolist()) for at, size in zip(bags.offsets, bags.sizes, strict=True)]


def read(batch: PairBatch) -> list[tuple[Message, ...]]:
    """Of every pair the context's messages, last first, and the reply."""
    return list(zip(*map(messages_of, batch.messages), strict=True))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Dialogues of 2, 5, 1, 3, 7, 2 messages, and 40 of 4."""
    return store_of(tmp_path_factory.mktemp("store"), [talk(d, number) for d, number in enumerate([2, 5, 1, 3, 7, 2, *[4] * 40])])


def test_every_reply_reads_up_to_three_messages_of_its_own_dialogue(store: TokenStore) -> None:
    pairs = pairs_of(store)
    expected = [
        (*(said(d, at - back) if at >= back else () for back in (1, 2, 3)), said(d, at))
        for d in range(len(store))
        for at in range(1, len(store.dialogue(d)))
    ]
    assert len(pairs) == len(expected) == 1 + 4 + 0 + 2 + 6 + 1 + 40 * 3
    assert read(pairs.batch(np.arange(len(pairs)))) == expected
    last_first = np.arange(len(pairs))[::-1]
    assert read(pairs.batch(last_first)) == expected[::-1], "whatever the company"


def test_only_the_dialogues_asked_for(store: TokenStore) -> None:
    pairs = pairs_of(store, [4, 2, 0])
    assert [reply for *_, reply in read(pairs.batch(np.arange(len(pairs))))] == [*talk(4, 7)[1:], said(0, 1)]
    assert len(pairs_of(store, [2])) == 0, "one message answers nothing"


def test_equal_replies_share_a_number(tmp_path: Path) -> None:
    a, b, ab, aa = (20,), (21,), (20, 21), (20, 20)
    store = store_of(tmp_path, [[(9,), a], [(8,), b], [(7,), a], [(9,), ab], [a, aa], [b, a]])
    numbers = pairs_of(store).batch(np.arange(6)).replies
    assert [numbers.tolist().index(n) for n in numbers] == [0, 1, 0, 3, 4, 0]


def test_counts(tmp_path: Path) -> None:
    store = store_of(tmp_path, [[(9,), (20, 21, 22)], [(9, 9), (20,), (21, 21)]])
    pairs = pairs_of(store)
    batch = pairs.batch(np.arange(3))
    assert (batch.num_targets, batch.num_tokens) == (3, (1 + 3) + (2 + 1) + (1 + 2 + 2))
    assert len(batch.arrays) == 9
    assert pairs.num_tokens == 4 * (3 + 1 + 2), "about: each reply and three messages as long as it"


def test_some_forget_what_was_said_earlier_and_none_the_last_message(store: TokenStore) -> None:
    pairs = pairs_of(store)
    whole = read(pairs.batch(np.arange(len(pairs))))
    full = np.array([i for i, (_, _, third, _) in enumerate(whole) if third] * 60)
    found = read(pairs.batch(full, np.random.default_rng(0)))
    assert all((one[0], one[3]) == (whole[i][0], whole[i][3]) for i, one in zip(full, found, strict=True))
    assert all(one[1] in ((), whole[i][1]) and one[2] in ((), whole[i][2]) for i, one in zip(full, found, strict=True))
    assert not any(third and not second for _, second, third, _ in found)
    without = [sum(not one[place] for one in found) / len(found) for place in (1, 2)]
    assert without == pytest.approx(FORGOTTEN, abs=0.03)


def dialogues_of(pairs: ReplyPairs, drawn: np.ndarray) -> Counter[int]:
    return Counter(reply[0] for *_, reply in read(pairs.batch(drawn)))


@pytest.mark.parametrize("number", [1, 3, 17, 134, 500])
def test_as_many_distinct_pairs_are_drawn_as_asked_for_and_there_are(store: TokenStore, number: int) -> None:
    pairs = pairs_of(store)
    for limit in (None, 2, OF_ONE_DIALOGUE):
        drawn = pairs.draw(number, np.random.default_rng(number), of_one_dialogue=limit)
        assert len(set(drawn.tolist())) == len(drawn)
        assert 0 <= drawn.min() and drawn.max() < len(pairs)
        there = sum(min(limit or 9, len(store.dialogue(d)) - 1) for d in range(len(store)))
        assert len(drawn) == min(number, there)
        assert limit is None or max(dialogues_of(pairs, drawn).values()) <= limit


def test_of_few_dialogues_several_pairs_each_or_few_of_many(store: TokenStore) -> None:
    pairs = pairs_of(store)
    together = dialogues_of(pairs, pairs.draw(24, np.random.default_rng(1), of_one_dialogue=OF_ONE_DIALOGUE))
    apart = dialogues_of(pairs, pairs.draw(24, np.random.default_rng(1)))
    assert len(together) <= 13 < len(apart)
    drawn = [pairs.draw(1, np.random.default_rng(seed), of_one_dialogue=1).item() for seed in range(300)]
    assert len(set(drawn)) > 90, "every pair has its turn, not the first of a dialogue alone"


def test_pairs_of_near_contexts_are_drawn_together(store: TokenStore) -> None:
    """Every second dialogue's contexts are near one another and far from the others'."""
    pairs = pairs_of(store, range(6, 46))
    kind = np.arange(len(pairs)) // 3 % 2
    vectors = np.column_stack([np.where(kind, 0.8, -0.8), np.random.default_rng(0).normal(size=(len(pairs), 60)) * 0.1])
    near = NearContexts((vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
    drawn = pairs.draw_near(near, OF_NEAR_CONTEXTS, np.random.default_rng(3))
    assert len(set(drawn.tolist())) == len(drawn) == OF_NEAR_CONTEXTS
    assert len(set(kind[drawn].tolist())) == 1
    many = pairs.draw_near(near, 64, np.random.default_rng(3))
    assert 16 < len(many) <= 64 and len(set(many.tolist())) == len(many)
    assert all(len(pairs.draw_near(near, 39, np.random.default_rng(seed))) <= 39 for seed in range(9))


def test_a_stream_that_knows_what_is_near_draws_some_batches_of_it(store: TokenStore) -> None:
    pairs = pairs_of(store, range(6, 46))
    pairs.near = NearContexts(np.eye(len(pairs), dtype=np.float16))
    asked: list[int] = []
    plain = pairs.near.nearest
    pairs.near.nearest = lambda contexts, number, random: (asked.append(number), plain(contexts, number, random))[1]  # type: ignore
    stream = PairStream([(pairs, 1.0)], pairs_per_batch=32, seed=1)
    for _ in range(200):
        next(stream)
    assert asked.count(OF_NEAR_CONTEXTS - 1) == len(asked) == pytest.approx(200 * NEAR_SHARE, abs=25)


def stream_of(store: TokenStore, *, seed: int = 5, start: StreamPosition | None = None) -> PairStream:
    corpora = [(pairs_of(store, range(6)), 1.0), (pairs_of(store, range(6, 46)), 0.35)]
    return PairStream(corpora, pairs_per_batch=8, seed=seed, start=start)


def take(stream: PairStream, number: int) -> list[PairBatch]:
    return [next(stream) for _ in range(number)]


def equal(one: PairBatch, other: PairBatch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.arrays, other.arrays, strict=True))


def test_the_stream_is_a_function_of_seed_and_position(store: TokenStore) -> None:
    whole = stream_of(store)
    batches = take(whole, 9)
    assert whole.position.row == 9
    halfway = stream_of(store)
    take(halfway, 4)
    rest = take(stream_of(store, start=halfway.position), 5)
    assert all(equal(one, other) for one, other in zip(batches[4:], rest, strict=True))
    assert not any(equal(one, other) for one, other in zip(batches, batches[1:], strict=False))
    assert not any(equal(one, other) for one, other in zip(batches, take(stream_of(store, seed=6), 9), strict=True))


def test_a_batch_is_of_one_corpus_as_often_as_its_share_of_pairs(store: TokenStore) -> None:
    stream = stream_of(store)
    batches = take(stream, 300)
    in_small = []
    for batch in batches:
        dialogues = {reply[0] - 10 for *_, reply in read(batch)}
        assert dialogues <= set(range(6)) or not dialogues & set(range(6))
        in_small.append(dialogues <= set(range(6)))
    assert np.mean(in_small) == pytest.approx(14 / (14 + 0.35 * 120), abs=0.08)
    assert stream.epoch_tokens == int(sum(pairs.num_tokens * weight for pairs, weight in stream.corpora))


def test_half_of_the_batches_are_of_few_dialogues(store: TokenStore) -> None:
    stream = PairStream([(pairs_of(store, range(6, 46)), 1.0)], pairs_per_batch=9, seed=2)
    of_three = [len({reply[0] for *_, reply in read(batch)}) == 3 for batch in take(stream, 200)]
    assert np.mean(of_three) == pytest.approx(0.5, abs=0.1)
