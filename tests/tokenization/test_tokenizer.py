"""One token a Chinese character, every round trip whole, and the same ids as transformers' own BERT tokenizer."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.errors import CheckpointError, ConfigError
from chitchat.tokenization.tokenizer import _ALONE, SPECIAL_TOKENS, DialogueTokenizer, build_vocabulary

VOCAB = Path(__file__).parents[2] / "data" / "vocab.txt"


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer.load(VOCAB)


@pytest.mark.parametrize(
    "text",
    [
        "你好，今天怎么样？",
        "……好吧——“真的”吗？",
        "哈哈😂😂👌",
        "我有3.5元",
        "iphone 15 pro不错",
        "i love you",
        "12:30见",
        "(笑)",
        "《红楼梦》、《西游记》",
        "it's ok",
        "100%",
    ],
)
def test_text_survives_the_round_trip(tokenizer: DialogueTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.unk_id not in ids
    assert tokenizer.decode(ids) == text


def test_one_token_a_chinese_character(tokenizer: DialogueTokenizer) -> None:
    assert len(tokenizer.encode("今天天气真好")) == 6


def test_adjacent_emoji_stay_apart_and_known(tokenizer: DialogueTokenizer) -> None:
    ids = tokenizer.encode("😂😭👍")
    assert len(ids) == 3 and tokenizer.unk_id not in ids


def test_typed_special_tokens_are_plain_text(tokenizer: DialogueTokenizer) -> None:
    ids = tokenizer.encode("[SEP][CLS][PAD]")
    assert not {tokenizer.sep_id, tokenizer.cls_id, tokenizer.pad_id} & set(ids)


EVERY_KIND = st.sampled_from(
    "你好的龘哈，。！？、：；“”‘’（）《》【」…—·～ aB1-:/é\u0301😂\u3000\n\x1c\uf901\U0002ceb1\U000f0003"
) | st.characters(codec="utf-8")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(EVERY_KIND), max_size=5))
def test_ids_are_those_of_the_library(tokenizer: DialogueTokenizer, messages: list[str]) -> None:
    expected = [tokenizer._tokenizer.encode(message, add_special_tokens=False).ids for message in messages]
    assert [tokenizer.encode(message) for message in messages] == expected
    ids, lengths = tokenizer.encode_all(messages)
    assert ids.tolist() == [id_ for message in expected for id_ in (*message, tokenizer.sep_id)]
    assert lengths.tolist() == [len(message) + 1 for message in expected]


def test_every_character_looked_up_alone_is_a_word_to_the_library(tokenizer: DialogueTokenizer) -> None:
    characters = [chr(code) for code in range(0x21, 0x10000) if re.match(f"[{_ALONE}]", chr(code))]
    assert len(characters) > 27_000
    known = {token: id_ for id_, token in enumerate(tokenizer.tokens)}
    ids = tokenizer._tokenizer.encode("a".join(("", *characters, "")), add_special_tokens=False).ids
    assert ids == [known["a"], *(id_ for c in characters for id_ in (known.get(c, tokenizer.unk_id), known["a"]))]


def test_a_vocabulary_larger_than_two_bytes_can_number() -> None:
    tokenizer = DialogueTokenizer([*SPECIAL_TOKENS, *(f"[unused{n}]" for n in range(70_000)), *"你好我是不的了吗", "hello"])
    assert tokenizer.encode("你好hello") == [70_005, 70_006, 70_013]


def test_saved_folder_loads_in_transformers_with_the_same_ids(tokenizer: DialogueTokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert len(theirs) == tokenizer.vocab_size
    assert (theirs.bos_token_id, theirs.eos_token_id) == (tokenizer.cls_id, tokenizer.sep_id)
    letters = random.Random(0)
    for _ in range(200):
        text = "".join(letters.choices("你好吗哈哈，。！…—“”😂👌aBc 123龘", k=20))
        assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text)
    assert DialogueTokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


def test_loads_from_tokenizer_json_alone(tokenizer: DialogueTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    assert DialogueTokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint


def test_standard_bert_vocabulary_with_line_separator_tokens(tmp_path: Path) -> None:
    """The 21128-token vocabulary holds U+2028 as a token: splitlines() would find two lines too many."""
    hanzi = [chr(c) for c in range(0x4E00, 0x4E00 + 21128 - 7)]
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL_TOKENS, "\u2028", "##\u2028", *hanzi]) + "\n", encoding="utf-8")
    assert DialogueTokenizer.load(path).vocab_size == 21128


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "缺少"),
        ("你\n好\n", "缺少"),
        ("\n".join(SPECIAL_TOKENS) + "\na\nb\n", "不能还原"),
        ("\n".join((*SPECIAL_TOKENS, "hello", *"你好我是不的了")) + "\n", "不能还原"),
    ],
)
def test_a_vocabulary_of_another_kind_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        DialogueTokenizer.load(path)


def test_folder_without_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"vocab\.txt"):
        DialogueTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": ["a"]}}')
    with pytest.raises(CheckpointError, match="WordPiece"):
        DialogueTokenizer.load(tmp_path)


def test_built_vocabulary_knows_every_day_signs_and_the_corpus() -> None:
    vocab = build_vocabulary(["我家有只羱羱羱羱 hello hello 2023 2023"] * 10, size=7000)
    tokenizer = DialogueTokenizer(vocab)
    for text in ("你好", "羱", "hello", "2023", "…", "—", "“”", "😂", "龙", "ab9"):
        assert tokenizer.unk_id not in tokenizer.encode(text), text
    assert len(tokenizer.encode("hello")) == len(tokenizer.encode("2023")) == 1


def test_too_small_a_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigError, match="--size"):
        build_vocabulary(["你好"], size=100)


def test_models_with_the_same_vocabulary_share_a_tokenizer(tmp_path: Path) -> None:
    tokens = [*SPECIAL_TOKENS, *sorted(set("你好我是不的了吗"))]
    for name, more in (("a", ""), ("b", ""), ("c", "呀")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vocab.txt").write_text("\n".join([*tokens, *more]) + "\n", encoding="utf-8")
    one, same, other = (DialogueTokenizer.load(tmp_path / name) for name in "abc")
    assert one is same and other is not one
    assert other.vocab_size == one.vocab_size + 1
