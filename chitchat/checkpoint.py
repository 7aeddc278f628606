"""The folder that training writes and backends read.

    models/NAME/forward/    a Hugging Face folder (config.json, model.safetensors, vocab.txt, …) plus chitchat.json
    models/NAME/reverse/    the same, for the reverse model
    models/NAME/reward/     the linear reward model (reward.json and arrays), when there are graded replies
    models/NAME/encoder/    the dual encoder: which reply answers which context, which contexts are alike
    models/NAME/ranker.json the weights of the ranking

`chitchat.json` says what the model was trained for (its direction), on what, and how well it does, so that a mix-up is an error
at load instead of nonsense in the conversation.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from chitchat.errors import CheckpointError
from chitchat.files import atomic_write, sha256_of

Direction = Literal["forward", "reverse"]
Task = Literal["forward", "reverse", "encoder"]
"""What a model is for: to write a reply, to tell what it answers, or how near it is to a context."""
MANIFEST = "chitchat.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """What a model folder says of itself."""

    direction: Task
    vocab_fingerprint: str
    config: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration of the training run."""
    corpora: list[dict[str, Any]] = field(default_factory=list)
    """Name, content hash and weight of each corpus file."""
    metrics: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def save(self, folder: Path) -> None:
        with atomic_write(folder / MANIFEST) as stream:
            json.dump(asdict(self), stream, ensure_ascii=False, indent=2)
            stream.write("\n")


def read_manifest(folder: Path, direction: Task) -> Manifest | None:
    """The folder's manifest, or None for a plain Hugging Face folder without one.

    Raises CheckpointError when it was trained for something else, is damaged, or from a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**data)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} 已损坏（{error}）；请重新训练或重新下载该模型") from None
    if manifest.format > FORMAT:
        raise CheckpointError(f"{path} 的格式是 {manifest.format}，本程序只认到 {FORMAT}；请升级 chitchat")
    if manifest.direction != direction:
        raise CheckpointError(f"{folder} 是 {manifest.direction} 模型，这里需要 {direction} 模型；请检查文件夹是否放反")
    return manifest


def model_folders(path: Path) -> tuple[Path, Path | None]:
    """The forward and reverse folders of a model: `path/forward` and `path/reverse`, or `path` itself as a lone forward model.

    Raises CheckpointError when there is no model at `path`.
    """
    if (path / "forward" / "config.json").is_file():
        reverse = path / "reverse"
        return path / "forward", reverse if (reverse / "config.json").is_file() else None
    if (path / "config.json").is_file():
        return path, None
    what = "没有这个文件夹" if not path.exists() else "其中没有 forward/config.json，也没有 config.json"
    raise CheckpointError(f"找不到模型 {path}：{what}；请用 --model 指定模型文件夹（自带的是 models/xiaoxu）")


def start_folder(path: Path, task: Task) -> Path:
    """The folder a training run for `task` starts from: `path/TASK`, or `path` itself."""
    inner = path / task
    return inner if (inner / "config.json").is_file() else path


def part_folder(path: Path, task: Task) -> Path | None:
    """What the model at `path` has for `task`, or None when it has nothing."""
    folder = path / task
    return folder if (folder / "config.json").is_file() else None


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder; raises CheckpointError when it is not readable JSON."""
    path = folder / "config.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("应为 JSON 对象")
        return data
    except (OSError, ValueError) as error:
        raise CheckpointError(f"读不了 {path}：{error}") from None


def weights_hash(folder: Path) -> str:
    """Sixteen hex digits of the weights' and configuration's content."""
    digest = hashlib.sha256()
    names = sorted(p for p in folder.iterdir() if p.suffix in (".safetensors", ".bin") or p.name in ("config.json", "vocab.txt"))
    if not any(p.suffix in (".safetensors", ".bin") for p in names):
        raise CheckpointError(f"{folder} 中没有权重文件（model.safetensors）")
    for path in names:
        digest.update(path.name.encode() + b"\0")
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def model_fingerprint(path: Path) -> str:
    """The weights' hashes of a model's folders, joined by `-`: what tells which model said something."""
    folders = (*model_folders(path), part_folder(path, "encoder"))
    hashes = [weights_hash(folder) for folder in folders if folder is not None]
    if (reward := path / "reward" / "weights.npy").is_file():
        hashes.append(sha256_of(reward)[:16])
    return "-".join(hashes)
