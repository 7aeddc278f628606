"""From file to token store: cached by content, split by content, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chitchat.config import PrepareConfig
from chitchat.errors import ConfigError, CorpusError
from chitchat.files import cache_folder
from chitchat.prepare import WeightedCorpus, prepare
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer.load(Path(__file__).parents[1] / "data" / "vocab.txt")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))


def texts(store: TokenStore, tokenizer: DialogueTokenizer) -> list[list[str]]:
    return [[tokenizer.decode(store.message(m).tolist()) for m in store.dialogue(d)] for d in range(len(store))]


def test_text_becomes_normalised_dialogues(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    path = tmp_path / "train.txt"
    path.write_text("你好,在吗?\n在的...\n\n你好\n\n\n吃了吗\n吃了\n不错\n", encoding="utf-8")
    store = prepare(path, PrepareConfig(), tokenizer)
    assert texts(store, tokenizer) == [["你好，在吗？", "在的……"], ["吃了吗", "吃了", "不错"]]
    assert store.meta["dropped"] == {"too_few_messages": 1}
    assert list(store.message_chars) == [6, 4, 3, 2, 2]


def test_same_name_with_other_content_is_prepared_anew(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    """CDial-GPT's cache, keyed by file name, trained on stale data for days."""
    path = tmp_path / "train.txt"
    path.write_text("你好\n在的\n", encoding="utf-8")
    first = prepare(path, PrepareConfig(), tokenizer)
    path.write_text("再见\n好的\n", encoding="utf-8")
    assert texts(prepare(path, PrepareConfig(), tokenizer), tokenizer) == [["再见", "好的"]]
    assert prepare(path, PrepareConfig(min_message_chars=2), tokenizer).folder != prepare(path, PrepareConfig(), tokenizer).folder
    path.write_text("你好\n在的\n", encoding="utf-8")
    assert prepare(path, PrepareConfig(), tokenizer).folder == first.folder, "the same content is taken from the cache"


def test_malformed_file_leaves_nothing_in_the_cache(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    path = tmp_path / "bad.jsonl"
    good = json.dumps({"turns": ["你好", "在的"]}, ensure_ascii=False)
    path.write_text("\n".join([good] * 5000 + ['{"turns": "不是列表"}']), encoding="utf-8")
    with pytest.raises(CorpusError, match=r"bad\.jsonl:5001: .*--skip-bad"):
        prepare(path, PrepareConfig(), tokenizer)
    assert [p for p in cache_folder().rglob("*") if p.is_file()] == []


def test_a_file_without_a_dialogue_is_an_error(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    path = tmp_path / "a.txt"
    path.write_text("你好\n\n在吗\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="至少要两句"):
        prepare(path, PrepareConfig(), tokenizer)


def test_duplicates_within_a_file_count_once(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    path = tmp_path / "a.txt"
    path.write_text("你好\n在的\n\n吃了吗\n吃了\n\n你好\n在的\n", encoding="utf-8")
    store = prepare(path, PrepareConfig(), tokenizer)
    assert texts(store, tokenizer) == [["你好", "在的"], ["吃了吗", "吃了"]]
    assert store.meta["dropped"] == {"duplicate": 1}


def test_a_reply_that_everybody_gives_is_learnt_so_many_times_only(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    """A dialogue goes when all it answers was answered before; one that says anything else stays."""
    path = tmp_path / "a.txt"
    dialogues = [f"第{n}个问题怎么办\n哈哈" for n in range(50)] + ["最后问一句\n哈哈\n你笑什么\n笑你可爱"]
    path.write_text("\n\n".join(dialogues), encoding="utf-8")
    options = {"validation_fraction": 0.0, "test_fraction": 0.0}
    store = prepare(path, PrepareConfig(max_same_reply=10, **options), tokenizer)
    assert len(store) == 11 and store.meta["dropped"] == {"same_reply": 40}
    assert texts(store, tokenizer)[-1][-1] == "笑你可爱"
    assert len(prepare(path, PrepareConfig(**options), tokenizer)) == 51


def test_small_corpora_get_a_validation_dialogue_and_keep_a_training_one(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    for count in (1, 2, 5):
        path = tmp_path / f"{count}.txt"
        path.write_text("\n\n".join(f"第{n}句\n好的{n}" for n in range(count)), encoding="utf-8")
        splits = prepare(path, PrepareConfig(), tokenizer).splits.tolist()
        assert 0 in splits and (count == 1 or 1 in splits)


def test_a_dialogue_keeps_its_split_when_the_file_grows(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    dialogues = [f"第{n}句\n好的{n}" for n in range(400)]
    options = PrepareConfig(validation_fraction=0.1, test_fraction=0.1)
    splits = []
    for order in (dialogues[:200], [*reversed(dialogues)]):
        path = tmp_path / "a.txt"
        path.write_text("\n\n".join(order), encoding="utf-8")
        store = prepare(path, options, tokenizer)
        splits.append({tuple(t): s for t, s in zip(texts(store, tokenizer), store.splits.tolist(), strict=True)})
    assert len(splits[0]) == 200 and all(splits[1][d] == s for d, s in splits[0].items())
    assert {0, 1, 2} == set(splits[0].values())


def test_a_killed_half_store_is_not_taken_for_whole(tmp_path: Path, tokenizer: DialogueTokenizer) -> None:
    path = tmp_path / "a.txt"
    path.write_text("你好\n在的\n", encoding="utf-8")
    store = prepare(path, PrepareConfig(), tokenizer)
    (store.folder / "meta.json").unlink()
    assert texts(prepare(path, PrepareConfig(), tokenizer), tokenizer) == [["你好", "在的"]]


@pytest.mark.parametrize(
    ("text", "name", "weight"), [("a.txt", "a.txt", 1.0), ("a.txt@0.25", "a.txt", 0.25), ("a@b.txt", "a@b.txt", 1.0)]
)
def test_weight_follows_the_file_name(text: str, name: str, weight: float) -> None:
    assert WeightedCorpus.parse(text) == WeightedCorpus(Path(name), weight)


@pytest.mark.parametrize("text", ["a.txt@0", "a.txt@-1", "a.txt@nan", "a.txt@1e9"])
def test_senseless_weights_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="权重"):
        WeightedCorpus.parse(text)
