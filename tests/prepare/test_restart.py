"""Killed, out of disk or refused: the next run goes on, and the bytes are the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chitchat.config import PrepareConfig
from chitchat.errors import CacheError
from chitchat.prepare import prepare
from chitchat.prepare import runs as runs_module
from chitchat.prepare import spool as spool_module
from chitchat.prepare.cache import cache_entries, clear_cache
from chitchat.tokenization.tokenizer import DialogueTokenizer

VOCAB = Path(__file__).parents[2] / "data" / "vocab.txt"
# small runs and a commit after every second one, so that a small file has many places to be killed at
SLOW = """
import sys, time
from pathlib import Path
from chitchat.config import PrepareConfig
from chitchat.prepare import prepare, runs, spool
from chitchat.tokenization.tokenizer import DialogueTokenizer
runs._MAX_DIALOGUES, spool._COMMIT_RUNS = 50, 2
append = spool.Spool.append
spool.Spool.append = lambda self, run: (time.sleep(0.01), append(self, run))
prepare(Path(sys.argv[1]), PrepareConfig(), DialogueTokenizer.load(sys.argv[2]), workers=1)
"""


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer.load(VOCAB)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    rng = random.Random(5)
    words = "今天明天天气公园吃饭电影音乐猫狗喜欢讨厌真的不是可以我们你们他们什么怎么为什么那里这里"
    path = tmp_path / "corpus.jsonl"
    with open(path, "w", encoding="utf-8") as stream:
        for _ in range(1500):
            turns = ["".join(rng.choices(words, k=rng.randint(5, 20))) for _ in range(rng.randint(1, 4))]
            stream.write(json.dumps({"turns": turns}, ensure_ascii=False) + "\n")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def cached_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHITCHAT_CACHE", str(folder))
    return folder / "prepared"


def test_killed_three_times_it_gives_the_same_bytes(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runs_module, "_MAX_DIALOGUES", 50)
    cached_in(tmp_path / "whole", monkeypatch)
    expected = contents(prepare(corpus, PrepareConfig(), tokenizer, workers=1).folder)
    prepared = cached_in(tmp_path / "killed", monkeypatch)
    seen: set[int] = set()
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(corpus), str(VOCAB)])
        while process.poll() is None and committed(prepared) in seen | {0}:
            time.sleep(0.01)
        process.kill()
        process.wait()
        seen.add(committed(prepared))
    assert len(seen) == 3, "each got further than the one before"
    with caplog.at_level("INFO", logger="chitchat"):
        store = prepare(corpus, PrepareConfig(), tokenizer, workers=1)
    assert f"已完成 {max(seen) * 50} 段" in caplog.text
    assert contents(store.folder) == expected
    assert [path.name for path in prepared.iterdir()] == [store.folder.name], "nothing is left of the work"


def committed(prepared: Path) -> int:
    """Runs whose results count as written."""
    try:
        return max(len(json.loads(file.read_text())["extents"]) for file in prepared.glob("*.partial/progress.json"))
    except ValueError:
        return 0


def test_work_cut_anywhere_is_done_again_from_the_last_commit(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that lost its end, one that holds half a run too much, and progress that is no JSON."""
    monkeypatch.setattr(runs_module, "_MAX_DIALOGUES", 100)
    monkeypatch.setattr(spool_module, "_COMMIT_RUNS", 3)
    cached_in(tmp_path / "whole", monkeypatch)
    expected = contents(prepare(corpus, PrepareConfig(), tokenizer, workers=1).folder)
    for name, damage in (
        ("short", lambda folder: os.truncate(folder / "ids.bin", 1000)),
        ("long", lambda folder: os.truncate(folder / "text.bin", (folder / "text.bin").stat().st_size + 1000)),
        ("broken", lambda folder: (folder / "progress.json").write_text("{")),
    ):
        prepared = cached_in(tmp_path / name, monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr("chitchat.prepare.pipeline.find_duplicates", interrupted)
            with pytest.raises(KeyboardInterrupt):
                prepare(corpus, PrepareConfig(), tokenizer, workers=1)
        (partial,) = prepared.glob("*.partial")
        damage(partial)
        assert contents(prepare(corpus, PrepareConfig(), tokenizer, workers=1).folder) == expected, name


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_full_disk_is_an_error_and_the_work_goes_on_later(tmp_path: Path, corpus: Path) -> None:
    """On a real file system of 400 kilobytes; the second run has room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"""
        mount -t tmpfs -o size=400k none {disk} || exit 99
        {sys.executable} -m chitchat prepare {corpus}
        code=$?
        ls -A {disk}/prepared >&2
        mount -o remount,size=50m {disk}
        {sys.executable} -m chitchat prepare {corpus} && exit $code
    """
    env = os.environ | {"CHITCHAT_CACHE": str(disk)}
    try:
        result = subprocess.run(["unshare", "-rm", "sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare")
    if result.returncode in (1, 99) and "chitchat" not in result.stderr and "错误" not in result.stderr:
        pytest.skip("may not mount")
    assert result.returncode == 2, result.stderr
    assert "磁盘已满" in result.stderr and "Traceback" not in result.stderr
    assert ".tmp" not in result.stderr, "nothing half-written"
    assert "段对话" in result.stdout


def test_a_cache_that_cannot_be_written_is_named(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheError, match="CHITCHAT_CACHE"):
        prepare(corpus, PrepareConfig(), tokenizer, workers=1)


def test_a_file_still_being_written_is_refused(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_in(tmp_path / "cache", monkeypatch)
    from chitchat.corpus.reading.readers import read_dialogues
    from chitchat.errors import CorpusError

    def growing(path: Path, **options: object):  # type: ignore[no-untyped-def]
        yield from read_dialogues(path)
        with open(path, "a", encoding="utf-8") as stream:
            stream.write('["你好", "在的"]\n')

    monkeypatch.setattr("chitchat.prepare.pipeline.read_dialogues", growing)
    with pytest.raises(CorpusError, match="变了"):
        prepare(corpus, PrepareConfig(), tokenizer, workers=1)
    assert cache_entries() == []


def test_the_cache_is_cleared_of_what_is_unfinished_or_of_all(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = cached_in(tmp_path / "cache", monkeypatch)
    store = prepare(corpus, PrepareConfig(), tokenizer, workers=1)
    shutil.copytree(store.folder, prepared / ".0123.abc.tmp")
    (prepared / "0123.partial").mkdir()
    assert [(entry.name, entry.is_finished) for entry in cache_entries()][-1] == ("corpus.jsonl", True)
    removed, busy = clear_cache(finished=False)
    assert len(removed) == 2 and not busy and [path for path in prepared.iterdir()] == [store.folder]
    clear_cache(finished=True)
    assert list(prepared.iterdir()) == []
