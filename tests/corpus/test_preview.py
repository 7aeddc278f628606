"""`chitchat prepare FILE --dry-run`: what a file was taken for, what is in it, what would be dropped."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from chitchat.config import PrepareConfig
from chitchat.corpus.preview import NUM_SHOWN, described, preview
from chitchat.errors import CorpusError

FIXTURES = Path(__file__).parent / "fixtures"
CONFIG = PrepareConfig()


def test_shows_the_first_five_and_what_would_be_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("今天好冷\n多穿点\n\n" * 8 + "看这个\n" + "很长很长的话" * 50 + "\n\n", encoding="gbk")
    look = preview(path, CONFIG)
    assert (look.format, look.encoding, look.is_whole) == ("text", "GB18030", True)
    assert [dialogue.messages for dialogue in look.dialogues] == [("今天好冷", "多穿点")] * NUM_SHOWN
    assert (look.num_read, look.num_kept) == (9, 8)
    assert look.dropped["too_long"] == 1
    assert [(rejected.rule, rejected.line) for rejected in look.rejected if rejected.rule == "too_long"] == [("too_long", 25)]
    said = described(look)
    assert "GB18030" in said and "多穿点" in said and "第 25 行" in said


def test_drop_words_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("今天好冷\n多穿点\n\n买保险吗\n不买\n", encoding="utf-8")
    assert preview(path, CONFIG, frozenset({"保险"})).dropped == {"drop_word": 1}


def test_bad_records_are_told_of_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["早", "早啊"]\n["早", 1]\n', encoding="utf-8")
    look = preview(path, CONFIG)
    assert look.num_read == 1 and look.num_bad == 1
    assert f"{path}:2" in described(look)


def test_file_of_bad_records_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1}\n', encoding="utf-8")
    look = preview(path, CONFIG)
    assert look.num_read == 0 and look.num_bad == 1 and described(look)


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.iterdir()))
def test_every_format_has_a_name_to_show(name: str) -> None:
    assert described(preview(FIXTURES / name, CONFIG)).startswith(str(FIXTURES / name))


@pytest.mark.parametrize("kind", ["jsonl", "json", "one long line", "blank", "gz"])
def test_answers_at_once_whatever_the_size(tmp_path: Path, kind: str) -> None:
    """A sparse file of 100 GB: reading it all would take a minute at least, and gzip is not read ahead."""
    path = tmp_path / "a.txt"
    record = '["今天好冷", "多穿点"]'
    head = {
        "jsonl": f"{record}\n" * 100,
        "json": "[" + f"{record}, " * 100,
        "one long line": "你好\n你好呀\n\n" + "好" * 100_000,
        "blank": "你好\n你好呀\n\n" + "\n" * 100_000,
        "gz": f"{record}\n" * 2_000_000,
    }[kind].encode()
    path.write_bytes(gzip.compress(head, 1) if kind == "gz" else head)
    if kind != "gz":
        os.truncate(path, 100 << 30)
    started = time.process_time()
    look = preview(path, CONFIG)
    assert time.process_time() - started < 2
    assert look.dialogues and not look.is_whole


def test_last_record_is_not_blamed_for_the_end_of_the_look(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" + ",\n".join(['["' + "好" * 50_000 + '", "早"]'] * 60) + "]", encoding="utf-8")
    look = preview(path, CONFIG)
    assert 10 < look.num_read < 60 and look.num_bad == 0 and not look.is_whole


def test_missing_file() -> None:
    with pytest.raises(CorpusError, match="不存在"):
        preview(Path("none.txt"), CONFIG)
