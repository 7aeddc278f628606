"""One process, several, or Ray: the same bytes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chitchat.config import PrepareConfig
from chitchat.errors import CacheError, ConfigError
from chitchat.prepare import prepare
from chitchat.prepare.runs import Encoder, RawRun, Run
from chitchat.tokenization.tokenizer import DialogueTokenizer

VOCAB = Path(__file__).parents[2] / "data" / "vocab.txt"


@pytest.fixture(scope="module")
def tokenizer() -> DialogueTokenizer:
    return DialogueTokenizer.load(VOCAB)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some runs' worth, with something for every rule to do: copies, near copies, personal data, lines that cannot be read."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    dialogues = [
        [f"我昨天去{chr(0x4E00 + 7 * n % 5000)}山了", f"那里的{chr(0x4E00 + 11 * n % 5000)}花开了吗，我也想去看看"]
        for n in range(4500)
    ]
    dialogues[100] = ["我的手机号是13812345678", "好的，我记下了"]
    dialogues[3000:3010] = dialogues[:10]
    lines = [json.dumps({"turns": turns}, ensure_ascii=False) for turns in dialogues]
    lines[2500] = '{"turns": 1}'
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def in_cache(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("prepared/*/*")}


@pytest.fixture(scope="module")
def expected(corpus: Path, tokenizer: DialogueTokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    cache = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHITCHAT_CACHE", str(cache))
        prepare(corpus, PrepareConfig(skip_bad=True), tokenizer, workers=1)
    return in_cache(cache)


def test_worker_processes_give_the_same_bytes(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(expected) > 8
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path))
    monkeypatch.setattr("chitchat.prepare.pipeline._SMALL_FILE_BYTES", 0)
    store = prepare(corpus, PrepareConfig(skip_bad=True), tokenizer, workers=2)
    assert store.meta["dropped"]["unreadable"] == 1 and store.meta["dropped"]["duplicate"] == 10
    assert in_cache(tmp_path) == expected


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the optional extra is not installed")
def test_ray_gives_the_same_bytes(tmp_path: Path, corpus: Path, expected: dict[str, bytes]) -> None:
    command = [sys.executable, "-m", "chitchat", "prepare", str(corpus), "--skip-bad", "--engine", "ray", "--workers", "2"]
    env = os.environ | {"CHITCHAT_CACHE": str(tmp_path)}
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert in_cache(tmp_path) == expected


class Dying(Encoder):
    def __call__(self, raw: RawRun) -> Run:
        os._exit(1)


def test_a_worker_that_the_system_kills_is_an_error(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that waits for a dead worker would hang for ever."""
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path))
    monkeypatch.setattr("chitchat.prepare.pipeline._SMALL_FILE_BYTES", 0)
    monkeypatch.setattr("chitchat.prepare.pipeline.Encoder", Dying)
    with pytest.raises(CacheError, match="--workers"):
        prepare(corpus, PrepareConfig(skip_bad=True), tokenizer, workers=2)


def test_workers_do_not_outlive_a_parent_that_is_killed(tmp_path: Path, corpus: Path) -> None:
    code = f"""
from pathlib import Path
from chitchat.config import PrepareConfig
from chitchat.prepare import pipeline, runs
from chitchat.tokenization.tokenizer import DialogueTokenizer
pipeline._SMALL_FILE_BYTES, runs._MAX_DIALOGUES = 0, 1
if __name__ == "__main__":
    tokenizer = DialogueTokenizer.load("{VOCAB}")
    pipeline.prepare(Path("{corpus}"), PrepareConfig(skip_bad=True), tokenizer, workers=2)
"""
    (tmp_path / "script.py").write_text(code)
    env = os.environ | {"CHITCHAT_CACHE": str(tmp_path), "PYTHONPATH": str(VOCAB.parents[1])}
    with subprocess.Popen([sys.executable, str(tmp_path / "script.py")], env=env) as process:
        while not list(tmp_path.glob("prepared/*.partial/progress.json")):  # the workers are at work
            assert process.poll() is None
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    assert len(children) >= 2
    deadline = time.monotonic() + 10
    while any(is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(child) for child in children)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_unknown_engine_is_refused(
    tmp_path: Path, corpus: Path, tokenizer: DialogueTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="local / ray"):
        prepare(corpus, PrepareConfig(), tokenizer, engine="spark")
