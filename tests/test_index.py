"""Corpus files become an index: every reply of the bot's, each text once, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.backends.retrieval import (
    CELL_OFFSETS,
    CELLS,
    MANIFEST,
    VECTOR_ARRAYS,
    VECTOR_STEPS,
    VECTORS,
    RetrievalIndex,
)
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.errors import CorpusError
from chitchat.index import build_index


def write(path: Path, *dialogues: tuple[str, ...]) -> Path:
    path.write_text("\n\n".join("\n".join(d) for d in dialogues), encoding="utf-8")
    return path


def replies(folder: Path, *context: str) -> tuple[str, ...]:
    """To exactly this context; none when it is not in the index."""
    found = RetrievalIndex.load(folder, min_similarity=0.99).nearest(context)
    return next((m.replies for m in found if m.last == context[-1]), ())


def test_the_bots_turns_are_replies_and_the_users_are_not(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", ("在吗", "在的。", "陪我聊会儿", "好，聊什么？"))
    report = build_index([file], tmp_path / "index")
    assert (report.num_contexts, report.num_replies) == (2, 2)
    assert replies(tmp_path / "index", "在吗") == ("在的。",)
    assert replies(tmp_path / "index", "在吗", "在的。", "陪我聊会儿") == ("好，聊什么？",)
    assert replies(tmp_path / "index", "在的。") == ()


def test_equal_contexts_share_their_replies_across_files(tmp_path: Path) -> None:
    one = write(tmp_path / "a.txt", ("在吗", "在的。"), ("在吗", "在的。"))
    other = tmp_path / "b.jsonl"
    other.write_text(json.dumps({"turns": ["在吗", "一直在。"]}, ensure_ascii=False), encoding="utf-8")
    assert build_index([one, other], tmp_path / "index").num_contexts == 1
    assert replies(tmp_path / "index", "在吗") == ("在的。", "一直在。")


def test_an_intents_grid_is_not_expanded(tmp_path: Path) -> None:
    wordings, answers = [f"说法{n}号" for n in range(40)], [f"第{n}个回复" for n in range(50)]
    file = tmp_path / "intents.jsonl"
    file.write_text(json.dumps({"intent": "甲", "user": wordings, "reply": answers}, ensure_ascii=False), encoding="utf-8")
    report = build_index([file], tmp_path / "index")
    assert (report.num_contexts, report.num_replies) == (40, 50)
    assert replies(tmp_path / "index", wordings[7]) == tuple(answers)
    lengths = json.loads((tmp_path / "index" / MANIFEST).read_text(encoding="utf-8"))["lengths"]
    assert (lengths["replies"], lengths["text_offsets"]) == (50, 91)


def test_messages_are_cleaned_as_for_training(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", ("真的吗?", "真的...", "----", "这句前面断开了", "接着说。"))
    build_index([file], tmp_path / "index")
    assert replies(tmp_path / "index", "真的吗？") == ("真的……",)
    assert replies(tmp_path / "index", "这句前面断开了") == ("接着说。",)


def test_held_out_dialogues_can_be_left_out(tmp_path: Path) -> None:
    dialogues = [(f"问题第{n}号", f"回答第{n}号") for n in range(600)]
    held_out = [d for d in dialogues if split_of(content_hash(d), 0.01, 0.01) != Split.TRAIN]
    assert held_out
    file = write(tmp_path / "a.txt", *dialogues)
    assert build_index([file], tmp_path / "all").num_contexts == 600
    assert build_index([file], tmp_path / "train", exclude_held_out=True).num_contexts == 600 - len(held_out)
    assert replies(tmp_path / "all", held_out[0][0]) == (held_out[0][1],)
    assert replies(tmp_path / "train", held_out[0][0]) == ()


def test_every_text_can_be_found_by_itself(tmp_path: Path) -> None:
    """Also one that shares no pair of characters with any other, and one of marks alone."""
    lasts = ["饕餮", "😀", "……", "？？？", "啊", "OK", "嗯嗯嗯"]
    file = write(tmp_path / "a.txt", *((last, f"回{n}") for n, last in enumerate(lasts)))
    build_index([file], tmp_path / "index")
    for n, last in enumerate(lasts):
        assert replies(tmp_path / "index", last) == (f"回{n}",)


def test_a_bad_file_leaves_the_old_index(tmp_path: Path) -> None:
    build_index([write(tmp_path / "a.txt", ("在吗", "在的。"))], tmp_path / "index")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"turns": ["一", "二"]}\n{"turns": 3}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match="bad.jsonl:2"):
        build_index([tmp_path / "a.txt", bad], tmp_path / "index")
    assert replies(tmp_path / "index", "在吗") == ("在的。",)
    assert not list(tmp_path.glob(".*"))


def test_files_without_a_reply_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="没有可以收进检索库的回复"):
        build_index([write(tmp_path / "a.txt", ("只有一句",))], tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_the_same_files_give_the_same_index(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", ("在吗", "在的。", "好", "嗯。"), ("你好", "你好呀。"))
    for name in ("one", "two"):
        build_index([file], tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_with_an_encoder_every_context_has_its_vector_among_near_ones(tmp_path: Path, tiny_encoder: Path) -> None:
    encoder = NumpyEncoder(tiny_encoder)
    file = write(tmp_path / "a.txt", ("甲猫", "说说东", "然后呢", "东没了"), ("乙狗", "说说西"), ("丙猫", "说说东"))
    build_index([file], tmp_path / "words")
    build_index([file], tmp_path / "index", encoder=encoder)
    vectors, cells, ends = (np.load(tmp_path / "index" / f"{name}.npy") for name in (VECTORS, CELLS, CELL_OFFSETS))
    found = RetrievalIndex.load(tmp_path / "index", encoder=encoder)._compared(["甲猫"], np.arange(4))
    contexts = [[m.previous, m.last] if m.previous else [m.last] for m in found]
    assert sorted(contexts) == [["丙猫"], ["乙狗"], ["甲猫"], ["说说东", "然后呢"]]
    assert vectors.dtype == np.int8 and vectors / VECTOR_STEPS == pytest.approx(
        encoder.contexts(contexts), abs=0.51 / VECTOR_STEPS
    )
    assert (ends[0], ends[-1], len(ends)) == (0, 4, len(cells) + 1)
    for vector, of_cell in zip(vectors, np.repeat(np.arange(len(cells)), np.diff(ends)), strict=True):
        assert int((cells @ vector).argmax()) == of_cell
    manifest = json.loads((tmp_path / "index" / MANIFEST).read_text(encoding="utf-8"))
    assert (manifest["encoder"], manifest["lengths"][VECTORS]) == (encoder.fingerprint, 4)
    for context in (["甲猫"], ["乙狗"], ["甲猫", "说说东", "然后呢"], ["丙"]):
        of_words, of_both = (RetrievalIndex.load(tmp_path / name).nearest(context) for name in ("words", "index"))
        assert {m.last: m for m in of_words} == {m.last: m for m in of_both}
    build_index([file], tmp_path / "index")
    assert not any((tmp_path / "index" / f"{name}.npy").exists() for name in VECTOR_ARRAYS), "nothing is left of an old one"
