"""The first steps of a run, timed: they are those training takes, and leave nothing behind."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
from chitchat.doctor.model_checks import new_start
from chitchat.prepare import prepare
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.timing import STEPS, time_steps


def test_first_steps_tell_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_dialogues: tuple[tuple[str, ...], ...]
) -> None:
    monkeypatch.setenv("CHITCHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "a.txt"
    corpus.write_text("\n\n".join("\n".join(d) for d in tiny_dialogues), encoding="utf-8")
    tokenizer = DialogueTokenizer.load(Path(__file__).parents[2] / "data" / "vocab.txt")
    store = prepare(corpus, PrepareConfig(), tokenizer)
    before = sorted(tmp_path.rglob("*"))
    config = TrainConfig(epochs=10, tokens_per_step=128, rows_per_batch=1, threads=1, model=str(tmp_path / "m"))
    shape = ModelConfig(layers=3, width=16, heads=2, positions=64)
    timing = time_steps("forward", config, shape, [(store.folder, 2.0)], tokenizer.tokens)
    assert sorted(tmp_path.rglob("*")) == before
    assert timing.timed_steps == STEPS
    assert timing.parameters == new_start(shape, tokenizer.vocab_size).parameters, "as the doctor counts them for the disk"
    train_tokens = sum(len(store.message(m)) for d in store.of_split(0) for m in store.dialogue(int(d))) + len(store.of_split(0))
    assert timing.epoch_tokens == 2 * train_tokens
    assert timing.planned_steps == math.ceil(10 * timing.epoch_tokens / 128)
    assert 0 < timing.loss < math.log(tokenizer.vocab_size) + 1
    # rows are not full, so a step sees fewer tokens than the 128 it has room for
    assert 0 < timing.tokens_per_second * timing.seconds_per_step <= 128
    assert timing.peak_bytes > 50e6
