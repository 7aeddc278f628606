"""The mean of several trainings: its weights are that, it talks, and what cannot be averaged is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from chitchat.average import WEIGHTS, average_models
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.checkpoint import read_manifest
from chitchat.cli import main
from chitchat.errors import CheckpointError, ConfigError


def moved(source: Path, output: Path, by: float) -> Path:
    """A copy whose weights are all greater by so much."""
    shutil.copytree(source, output)
    save_file({n: (t + np.float32(by)).astype(t.dtype) for n, t in load_file(source / WEIGHTS).items()}, output / WEIGHTS)
    return output


def test_every_weight_is_the_mean(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [
        moved(tiny_model / "forward", tmp_path / name / "forward", by) for name, by in (("a", -0.25), ("b", 0.0), ("c", 0.25))
    ]
    output = tmp_path / "mean" / "forward"
    assert main(["average", *map(str, folders), "--output", str(output)]) == 0
    assert str(output) in capsys.readouterr().out
    before, after = load_file(tiny_model / "forward" / WEIGHTS), load_file(output / WEIGHTS)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == tensor.dtype
        assert after[name].astype(np.float32) == pytest.approx(tensor.astype(np.float32), abs=2e-3)
    manifest = read_manifest(output, "forward")
    assert manifest is not None and manifest.metrics == {"mean_of": ["a", "b", "c"]}
    pairs = [(["今天好累啊"], "辛苦了，早点休息吧。")]
    plain = CTranslate2Model(tiny_model / "forward", direction="forward", compute_type="float32").score(pairs)[0].value
    mean = CTranslate2Model(output, direction="forward", compute_type="float32").score(pairs)[0].value
    assert mean == pytest.approx(plain, abs=0.2)


def test_what_cannot_be_averaged_is_told_and_nothing_written(tiny_model: Path, tmp_path: Path) -> None:
    forward, output = tiny_model / "forward", tmp_path / "mean"
    with pytest.raises(ConfigError, match="至少要给两个"):
        average_models([forward], "forward", output)
    with pytest.raises(CheckpointError, match="这里需要 forward 模型"):
        average_models([forward, tiny_model / "reverse"], "forward", output)
    other = Path(shutil.copytree(forward, tmp_path / "other"))
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "n_head": 1}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="结构或词表不同"):
        average_models([forward, other], "forward", output)
    broken = Path(shutil.copytree(forward, tmp_path / "broken"))
    (broken / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="读不了要平均的权重"):
        average_models([forward, broken], "forward", output)
    assert not output.exists()
    average_models([forward, forward], "forward", output)
    with pytest.raises(ConfigError, match="--overwrite"):
        average_models([forward, forward], "forward", output)
    average_models([forward, forward], "forward", output, overwrite=True)


def test_nothing_but_one_other_model_is_replaced(tiny_model: Path, tmp_path: Path) -> None:
    """`--output models/mine` for `models/mine/forward` is an easy slip."""
    folders = [moved(tiny_model / "forward", tmp_path / name / "forward", 0.0) for name in ("a", "b")]
    whole = Path(shutil.copytree(tiny_model, tmp_path / "whole"))
    notes = tmp_path / "thesis"
    notes.mkdir()
    (notes / "notes.txt").write_text("三年的心血", encoding="utf-8")
    for output, reason in ((whole, "不是单个模型"), (notes, "不是单个模型"), (tmp_path / "a", "上级"), (folders[0], "上级")):
        before = sorted(path for path in output.rglob("*"))
        with pytest.raises(ConfigError, match=reason):
            average_models(folders, "forward", output, overwrite=True)
        assert sorted(path for path in output.rglob("*")) == before
