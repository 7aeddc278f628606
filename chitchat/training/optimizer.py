"""AdamW, or Muon for the matrices inside the blocks with AdamW for the rest; and the learning-rate schedule of both."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from chitchat.config import TrainConfig


class Optimizer:
    """One step for all parameters of a model, whatever number of torch optimizers that takes."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        matrices, embeddings, vectors = [], [], []
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                vectors.append(parameter)
            elif any(part in name for part in ("wte", "wpe", "embed", "lm_head", "score")):
                embeddings.append(parameter)
            else:
                matrices.append(parameter)
        decayed = [*embeddings] if config.optimizer == "muon" else [*matrices, *embeddings]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95))]
        self._peaks = [config.learning_rate]
        if config.optimizer == "muon" and matrices:
            # Jordan 2024, https://kellerjordan.github.io/posts/muon/
            self.parts.append(torch.optim.Muon(matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay))
            self._peaks.append(config.muon_learning_rate)

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak learning rates."""
        for optimizer, peak in zip(self.parts, self._peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.parts:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for optimizer, state in zip(self.parts, states, strict=True):
            optimizer.load_state_dict(state)


def learning_rate_factor(config: TrainConfig, step: int, progress: float) -> float:
    """Share of the peak learning rate at a step: linear warm-up, then linear decay to `final_learning_rate`.

    `progress` is the part of the run that is over, 0 to 1.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return warmup * (1.0 - (1.0 - config.final_learning_rate) * min(1.0, progress))
