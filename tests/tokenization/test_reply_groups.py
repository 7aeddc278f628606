"""Groups of replies: what is good stands first, what is worse is what it should be, and the stream starts where it stopped."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from chitchat.config import PrepareConfig
from chitchat.prepare import prepare
from chitchat.tokenization.batching import StreamPosition
from chitchat.tokenization.dialogue_format import DialogueFormat
from chitchat.tokenization.reply_groups import CorpusReplies, GroupStream, ReplyGroup, judged_group, packed_groups
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import SPECIAL_TOKENS, DialogueTokenizer

DIALOGUES = [
    [f"{'甲乙丙丁戊己庚辛'[n % 8]}问{c}" if i % 2 == 0 else f"{c}答{'一二三四五六七八'[i]}" for i, c in enumerate("天地玄黄宇宙")]
    for n in range(8)
]


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer([*SPECIAL_TOKENS, *sorted(set("".join("".join(d) for d in DIALOGUES) + "你好我是不的了吗"))])


@pytest.fixture(scope="module")
def store(tokenizer: DialogueTokenizer, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    path = tmp_path_factory.mktemp("corpus") / "a.txt"
    path.write_text("\n\n".join("\n".join(d) for d in DIALOGUES), encoding="utf-8")
    return prepare(path, PrepareConfig(near_duplicates=1.0), tokenizer)


def replies_of(store: TokenStore, tokenizer: DialogueTokenizer) -> CorpusReplies:
    return CorpusReplies(store, range(len(store)), max_tokens=64, cls_id=tokenizer.cls_id)


def graded(tokenizer: DialogueTokenizer, number: int) -> list[ReplyGroup]:
    form = DialogueFormat(tokenizer, 64)
    return [judged_group(form, [c], ["好", "不好", "是"], [2, 0, 1]) for c in "".join(sorted("".join(DIALOGUES[0])))[:number]]


def test_the_true_reply_comes_first_and_alone_is_good(store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    replies = replies_of(store, tokenizer)
    assert len(replies) == sum(len(store.dialogue(d)) - 1 for d in range(len(store)))
    for index in range(len(replies)):
        group = replies.group(index, np.random.default_rng(index))
        dialogue, at = divmod(index, 5)
        messages = [tokenizer.decode(store.message(m).tolist()) for m in store.dialogue(dialogue)]
        assert tokenizer.decode(group.replies[0].tolist()) == messages[at + 1]
        assert group.grades == (1, *[0] * (len(group.replies) - 1))
        assert len(group.replies) >= 4
        assert all(not np.array_equal(other, group.replies[0]) for other in group.replies[1:])
        seen = "".join(tokenizer.tokens[i] for i in group.context)
        assert seen == "[CLS]" + "".join(f"{m}[SEP]" for m in messages[max(0, at - 2) : at + 1]), "three messages, whole"


def test_one_of_the_others_was_said_in_the_same_dialogue_by_the_same_speaker(
    store: TokenStore, tokenizer: DialogueTokenizer
) -> None:
    replies = replies_of(store, tokenizer)
    for index in range(0, len(replies), 3):
        group = replies.group(index, np.random.default_rng(index))
        dialogue, at = divmod(index, 5)
        same_speaker = [store.message(m).tolist() for m in store.dialogue(dialogue)][(at + 1) % 2 :: 2]
        assert group.replies[-1].tolist() in same_speaker


def test_a_graded_group_reads_the_last_messages_only(tokenizer: DialogueTokenizer) -> None:
    group = judged_group(DialogueFormat(tokenizer, 64), ["天", "地", "玄", "黄"], ["好"], [2])
    assert "".join(tokenizer.tokens[i] for i in group.context) == "[CLS]地[SEP]玄[SEP]黄[SEP]"
    assert "".join(tokenizer.tokens[i] for i in group.replies[0]) == "好[SEP]"


def test_the_stream_is_a_function_of_seed_and_position(store: TokenStore, tokenizer: DialogueTokenizer) -> None:
    def stream(start: StreamPosition) -> GroupStream:
        return GroupStream(
            [(replies_of(store, tokenizer), 1.0)],
            graded(tokenizer, 3),
            judged_share=0.4,
            rows_per_batch=4,
            row_tokens=64,
            pad_id=tokenizer.pad_id,
            seed=5,
            start=start,
        )

    whole = stream(StreamPosition())
    batches = list(islice(whole, 7))
    assert {int((batch.grades == 2).sum()) > 0 for batch in batches} == {True}, "graded ones in every batch"
    halfway = stream(StreamPosition())
    for _ in range(4):
        next(halfway)
    rest = list(islice(stream(halfway.position), 3))
    for one, other in zip(batches[4:], rest, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.arrays, other.arrays, strict=True))


def test_every_graded_group_comes_before_any_comes_again(tokenizer: DialogueTokenizer) -> None:
    groups = graded(tokenizer, 9)
    stream = GroupStream([], groups, judged_share=0.4, rows_per_batch=1, row_tokens=64, pad_id=0, seed=1)
    turns = [stream._judged_turn(first, 6) for first in range(0, 36, 6)]
    flat = [i for turn in turns for i in turn]
    for at in range(0, 36, 9):
        assert sorted(flat[at : at + 9]) == list(range(9))


def test_packing_takes_every_group_once_and_of_one_too_large_what_fits(tokenizer: DialogueTokenizer) -> None:
    form = DialogueFormat(tokenizer, 64)
    large = judged_group(form, ["天地"], ["好" * 12 + c for c in "天地玄黄宇宙"], [0, 1, 2, 0, 1, 2])
    batches = packed_groups([*graded(tokenizer, 5), large], rows_per_batch=2, row_tokens=64, pad_id=tokenizer.pad_id)
    assert all(batch.input_ids.shape == (2, 64) for batch in batches)
    assert sum(batch.num_targets for batch in batches) == 6
    widths = sorted(int((row >= 0).sum()) for batch in batches for row in batch.grades)
    assert widths == [3, 3, 3, 3, 3, 4]
