"""What a run reports: one log line, one line of metrics.jsonl, TensorBoard, a picture of the curves, sample replies."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from chitchat.files import atomic_write
from chitchat.training.resume import keep_metrics_until

log = logging.getLogger(__name__)

_VALIDATION_LABELS = {
    "validation_loss": "验证损失",
    "perplexity_per_token": "困惑度/token",
    "perplexity_per_char": "困惑度/字",
    "grade_of_first": "排第一的回复平均得分",
}


class Metrics:
    """Writes a run's figures into its folder; does nothing when not `enabled` (all processes but the first)."""

    def __init__(self, folder: Path, *, resume_step: int | None, enabled: bool = True) -> None:
        self.folder, self.enabled = folder, enabled
        self.path = folder / "metrics.jsonl"
        if not enabled:
            return
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        if resume_step is None:
            self.path.unlink(missing_ok=True)
            (folder / "samples.txt").unlink(missing_ok=True)
        else:
            keep_metrics_until(self.path, resume_step)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step)

    def training(
        self, step: int, *, loss: float, learning_rate: float, tokens: int, tokens_per_second: float, seconds_left: float
    ) -> None:
        log.info(
            "步 %6d  损失 %.4f  学习率 %.2e  %5.0f token/秒  剩余 %s",
            step,
            loss,
            learning_rate,
            tokens_per_second,
            timedelta(seconds=round(seconds_left)),
        )
        self._write(
            {
                "step": step,
                "loss": loss,
                "learning_rate": learning_rate,
                "tokens": tokens,
                "tokens_per_second": round(tokens_per_second, 1),
            }
        )

    def validation(self, step: int, result: dict[str, float]) -> None:
        shown = [f"{label} {result[key]:.4g}" for key, label in _VALIDATION_LABELS.items() if key in result]
        log.info("步 %6d  %s", step, "  ".join(shown))
        self._write({"step": step, **result})
        if self.enabled:
            draw_curves(self.path, self.folder / "loss.png")

    def samples(self, step: int, replies: Sequence[tuple[str, str]]) -> None:
        if not self.enabled or not replies:
            return
        lines = [f"  {prompt} → {reply}" for prompt, reply in replies]
        log.info("示例：\n%s", "\n".join(lines))
        with open(self.folder / "samples.txt", "a", encoding="utf-8") as stream:
            stream.write(f"step {step}\n" + "\n".join(lines) + "\n\n")

    def close(self) -> None:
        if self.enabled:
            self._board.close()

    def _write(self, values: dict[str, Any]) -> None:
        if not self.enabled:
            return
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(values) + "\n")
        for name, value in values.items():
            if name != "step":
                self._board.add_scalar(name, value, values["step"])
        self._board.flush()


def draw_curves(metrics: Path, picture: Path) -> None:
    """Training and validation loss over steps, as a PNG."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    axes = (figure := Figure(figsize=(7, 4.2), layout="constrained")).subplots()
    for key, label, style in (("loss", "training", {"alpha": 0.5}), ("validation_loss", "validation", {"marker": "o"})):
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    axes.set(xlabel="step", ylabel="loss (nats per token)")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_write(picture, "wb") as stream:
        figure.savefig(stream, format="png", dpi=120)
