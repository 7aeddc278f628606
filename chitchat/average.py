"""Models that trainings of one another left behind -> their mean (Wortsman et al. 2022, model soups, arXiv:2203.05482).

Later stages forget some of what earlier ones knew; the mean of their weights is often better than any of them, and costs nothing
to run. Only models that one training began from can be averaged: others lie in different places.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chitchat.checkpoint import Task, read_config, read_manifest
from chitchat.errors import CheckpointError, ConfigError
from chitchat.files import atomic_folder

WEIGHTS = "model.safetensors"
_MAY_DIFFER = ("dtype", "torch_dtype", "transformers_version", "_name_or_path")


def average_models(folders: Sequence[Path], direction: Task, output: Path, *, overwrite: bool = False) -> None:
    """Writes the mean of the models' weights to `output`, whole or not at all; all else there is the last model's.

    Raises:
        ConfigError: fewer than two models, or an `output` that exists and may not be replaced.
        CheckpointError: a folder that is no such model, or one of another shape or vocabulary.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    if len(folders) < 2:
        raise ConfigError("至少要给两个模型才能取平均")
    _check_output(folders, output, overwrite=overwrite)
    manifests = [read_manifest(folder, direction) for folder in folders]
    configs = [{k: v for k, v in read_config(folder).items() if k not in _MAY_DIFFER} for folder in folders]
    vocabularies = [manifest.vocab_fingerprint if manifest else "" for manifest in manifests]
    for folder, config, vocabulary in zip(folders, configs, vocabularies, strict=True):
        if config != configs[0] or vocabulary != vocabularies[0]:
            raise CheckpointError(f"{folder} 与 {folders[0]} 的结构或词表不同，不能取平均；要由同一次训练接着训出来的")
    try:
        tensors = [load_file(folder / WEIGHTS) for folder in folders]
        mean = {
            name: np.mean([one[name].astype(np.float32) for one in tensors], axis=0).astype(tensor.dtype)
            for name, tensor in tensors[-1].items()
        }
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"读不了要平均的权重（{error}）；请检查各文件夹里的 {WEIGHTS}") from None
    with atomic_folder(output) as unfinished:
        for path in folders[-1].iterdir():
            if path.is_file() and path.name != WEIGHTS:
                shutil.copy(path, unfinished / path.name)
        save_file(mean, unfinished / WEIGHTS, metadata={"format": "pt"})
        (unfinished / WEIGHTS).chmod(0o644)
        if (last := manifests[-1]) is not None:  # what was measured was measured of others
            replace(last, metrics={"mean_of": [folder.parent.name or folder.name for folder in folders]}).save(unfinished)


def _check_output(folders: Sequence[Path], output: Path, *, overwrite: bool) -> None:
    """Only what an average is itself may be replaced: one model, never the folder of all parts of a bot."""
    if any(folder.resolve().is_relative_to(output.resolve()) for folder in folders):
        raise ConfigError(f"{output} 是要平均的模型或它的上级文件夹；请换一个 --output")
    if not output.exists():
        return
    if not overwrite:
        raise ConfigError(f"{output} 已经存在；加 --overwrite 覆盖它，或换一个 --output")
    if not (output / "config.json").is_file():
        hint = f"，如 {output / 'forward'}" if (output / "forward" / "config.json").is_file() else ""
        raise ConfigError(f"{output} 已经存在，而且不是单个模型的文件夹（其中没有 config.json）；请换一个 --output{hint}")
