"""The state of an unfinished training run, saved so that a killed run goes on as if nothing had happened."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from chitchat.errors import CheckpointError
from chitchat.files import atomic_write
from chitchat.tokenization.batching import StreamPosition

STATE = "state.pt"
_START_AGAIN = "去掉 --resume 重新开始（已有模型时要加 --overwrite）"


@dataclass
class RunState:
    """Where a run stands between two optimisation steps."""

    step: int = 0
    tokens: int = 0
    """Tokens seen, padding left out."""
    seconds: float = 0.0
    """Training time so far, validation and earlier sittings included."""
    position: StreamPosition = field(default_factory=StreamPosition)
    best_loss: float = float("inf")
    best_step: int = 0
    validations_without_progress: int = 0


def save_state(
    folder: Path, state: RunState, *, weights: dict[str, Any], optimizer: list[dict[str, Any]], identity: dict[str, Any]
) -> None:
    """Writes everything a run needs to go on; `identity` is what must be the same when it does.

    Raises CheckpointError when it cannot be written; the state before stays.
    """
    saved = {
        "run": asdict(state),
        "weights": weights,
        "optimizer": optimizer,
        "random": torch.get_rng_state(),
        "identity": identity,
    }
    try:
        with atomic_write(folder / STATE, "wb") as stream:
            torch.save(saved, stream)
    except (OSError, RuntimeError) as error:  # torch's own writer makes a RuntimeError of a full disk
        reason = error.strerror if isinstance(error, OSError) else "磁盘多半满了"
        advice = "请腾出空间或检查权限，再用同样的命令加 --resume 从上个断点继续"
        raise CheckpointError(f"写不下断点 {folder / STATE}（{reason}）；{advice}") from None


def load_state(folder: Path, *, identity: dict[str, Any]) -> tuple[RunState, dict[str, Any], list[dict[str, Any]]]:
    """(state, weights, optimizer state) of a run, random state restored.

    Raises CheckpointError when there is none, it is damaged, or data or options are not those it was started with.
    """
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError(f"没有可继续的训练（缺少 {path}）；{_START_AGAIN}")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        run = dict(saved["run"])
        run["position"] = StreamPosition(**run["position"])
        state = RunState(**run)
    except Exception as error:  # torch.load raises whatever the damage happens to trigger
        raise CheckpointError(f"{path} 已损坏（{type(error).__name__}）；{_START_AGAIN}") from None
    # an older version may have noted less
    changed = sorted(key for key in identity if saved["identity"].get(key, identity[key]) != identity[key])
    if changed:
        before = {key: saved["identity"].get(key) for key in changed}
        raise CheckpointError(
            f"{path} 是用另外的设置开始的：{', '.join(changed)} 已改变（原为 {before}）；改回原值，或{_START_AGAIN}"
        )
    torch.set_rng_state(saved["random"])
    return state, saved["weights"], saved["optimizer"]


def keep_metrics_until(path: Path, step: int) -> None:
    """Drops the lines of `metrics.jsonl` that a killed run wrote after its last saved state."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # the half line of a kill
    with atomic_write(path) as stream:
        stream.writelines(kept)
