"""What the model reads: no doubled special tokens, oldest messages left out whole, the final [SEP] always there."""

from __future__ import annotations

from pathlib import Path

import pytest

from chitchat.tokenization.dialogue_format import DialogueFormat
from chitchat.tokenization.tokenizer import DialogueTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer.load(Path(__file__).parents[2] / "data" / "vocab.txt")


def text_of(tokenizer: DialogueTokenizer, ids: list[int]) -> str:
    return "".join(tokenizer.tokens[i] for i in ids)


def test_forward_sequence(tokenizer: DialogueTokenizer) -> None:
    sequence = DialogueFormat(tokenizer, 64).forward(["你好", "在吗"], "在")
    assert text_of(tokenizer, sequence.ids) == "[CLS]你好[SEP]在吗[SEP]在[SEP]"
    assert text_of(tokenizer, sequence.ids[sequence.start : sequence.first_end]) == "在[SEP]"
    assert text_of(tokenizer, sequence.ids[sequence.start :]) == "在[SEP]"
    assert not sequence.truncated


def test_reverse_sequence_reads_last_message_first(tokenizer: DialogueTokenizer) -> None:
    sequence = DialogueFormat(tokenizer, 64).reverse(["你好", "在吗"], "在")
    assert text_of(tokenizer, sequence.ids) == "[CLS]在[SEP]在吗[SEP]你好[SEP]"
    assert text_of(tokenizer, sequence.ids[sequence.start :]) == "在吗[SEP]你好[SEP]"
    assert text_of(tokenizer, sequence.ids[sequence.start : sequence.first_end]) == "在吗[SEP]"


def test_truncation_drops_the_oldest_messages_whole(tokenizer: DialogueTokenizer) -> None:
    form = DialogueFormat(tokenizer, 14)
    context = ["一二三四五", "六七八", "九"]
    assert text_of(tokenizer, form.prompt(context, reserve=6)) == "[CLS]六七八[SEP]九[SEP]"
    forward = form.forward(context, "十")
    assert text_of(tokenizer, forward.ids) == "[CLS]六七八[SEP]九[SEP]十[SEP]" and forward.truncated
    reverse = form.reverse(context, "十")
    assert text_of(tokenizer, reverse.ids) == "[CLS]十[SEP]九[SEP]六七八[SEP]" and reverse.truncated


def test_a_message_longer_than_the_model_keeps_its_end_and_its_sep(tokenizer: DialogueTokenizer) -> None:
    form = DialogueFormat(tokenizer, 16)
    prompt = form.prompt(["好" * 100 + "吗"], reserve=8)
    assert len(prompt) == 8
    assert text_of(tokenizer, prompt[-2:]) == "吗[SEP]"
    for sequence in (form.forward(["好" * 100], "在" * 100), form.reverse(["好" * 100], "在" * 100)):
        assert len(sequence.ids) <= 16
        assert sequence.ids[-1] == tokenizer.sep_id
        assert sequence.start < len(sequence.ids)


def test_an_empty_context_is_cls_alone(tokenizer: DialogueTokenizer) -> None:
    form = DialogueFormat(tokenizer, 16)
    assert text_of(tokenizer, form.forward([], "好").ids) == "[CLS]好[SEP]"
    reverse = form.reverse([], "好")
    assert reverse.start == reverse.first_end == len(reverse.ids)


def test_a_long_reply_is_whole_when_the_context_leaves_room(tokenizer: DialogueTokenizer) -> None:
    """It was cut at half of the model's length, without a word, though everything fitted."""
    form = DialogueFormat(tokenizer, 64)
    sequence = form.reverse(["你好"], "在" * 40)
    assert len(sequence.ids) == 1 + 41 + 3 and not sequence.truncated
    assert len(form.reverse(["你好"], "在" * 59).ids) == 64 and not form.reverse(["你好"], "在" * 59).truncated


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_whatever_is_cut_is_told(tokenizer: DialogueTokenizer, direction: str) -> None:
    sequence = getattr(DialogueFormat(tokenizer, 16), direction)([], "在" * 100)
    assert sequence.truncated and len(sequence.ids) <= 16
