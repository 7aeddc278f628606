"""How long and how large a training run will be, from its first steps; nothing is written."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from chitchat.checkpoint import Direction
from chitchat.config import ModelConfig, TrainConfig
from chitchat.processors import usable_cpus
from chitchat.tokenization.batching import BatchStream
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.loop import planned, should_compile
from chitchat.training.model import PackedLoss, batch_tensors
from chitchat.training.objective import initial_model, packed_batch_shape, training_samples
from chitchat.training.optimizer import Optimizer, learning_rate_factor

STEPS = 20
_WARM_UP_STEPS = 2
_MIN_STEPS = 3
_MAX_SECONDS = 90.0
"""A slow machine is timed over fewer steps than `STEPS`, but over `_MIN_STEPS` at least."""


@dataclass(frozen=True)
class Timing:
    """What the first steps of a run told."""

    timed_steps: int
    seconds_per_step: float
    tokens_per_second: float
    """Padding left out."""
    planned_steps: int
    """Steps of the whole run, unless `max_minutes` or `patience` ends it earlier."""
    epoch_tokens: int
    parameters: int
    loss: float
    """Mean natural-log loss a token of the last step."""
    peak_bytes: int
    """Most memory the process held at once."""
    device_peak_bytes: int | None
    """Most memory held on the GPU; None without one."""


def time_steps(
    direction: Direction,
    config: TrainConfig,
    model_config: ModelConfig,
    corpora: Sequence[tuple[Path, float]],
    vocab: Sequence[str],
) -> Timing:
    """Takes the first steps `train` would take with these settings and times them after a warm-up.

    Args:
        corpora: folders of token stores with their weights.
        vocab: the tokenizer's tokens; all arguments can be sent to another process.
    """
    accelerator = Accelerator(mixed_precision="bf16" if config.precision == "bf16" else "no", cpu=not torch.cuda.is_available())
    torch.set_num_threads(config.threads or usable_cpus())
    torch.manual_seed(config.seed)
    tokenizer = DialogueTokenizer(vocab)
    model = initial_model(direction, config, model_config, tokenizer)
    positions = int(model.config.max_position_embeddings)
    sources, _ = training_samples(
        [(TokenStore(folder), weight) for folder, weight in corpora],
        reverse=direction == "reverse",
        max_tokens=min(config.max_sample_tokens or positions, positions),
        cls_id=tokenizer.cls_id,
    )
    rows, micro_batches = packed_batch_shape(config, positions, accelerator.num_processes)
    stream = BatchStream(sources, rows_per_batch=rows, row_tokens=positions, pad_id=tokenizer.pad_id, seed=config.seed)
    config = planned(config, epoch_tokens=stream.epoch_tokens, tokens_per_step=rows * positions * micro_batches)
    optimizer = Optimizer(model, config)
    loss_module = PackedLoss(model)
    wrapped = accelerator.prepare(loss_module)
    if should_compile(config):
        loss_module.compile_body()

    def take_step(step: int) -> tuple[float, int]:
        """(loss, tokens) of one optimisation step, as in the training loop."""
        batches = [next(stream) for _ in range(micro_batches)]
        num_targets = sum(batch.num_targets for batch in batches)
        step_loss = 0.0
        for batch in batches:
            loss = wrapped(*batch_tensors(batch, accelerator.device)) / num_targets
            accelerator.backward(loss)
            step_loss += float(loss.detach())
        if config.gradient_clip:
            accelerator.clip_grad_norm_(wrapped.parameters(), config.gradient_clip)
        optimizer.step(learning_rate_factor(config, step, 0.0))
        optimizer.zero_grad()
        return step_loss, sum(int((batch.sample_ids > 0).sum()) for batch in batches)

    for step in range(_WARM_UP_STEPS):
        take_step(step)
    started = time.monotonic()
    timed = tokens = 0
    loss, seconds = 0.0, 0.0
    while timed < STEPS and (timed < _MIN_STEPS or seconds < _MAX_SECONDS):
        loss, step_tokens = take_step(_WARM_UP_STEPS + timed)
        seconds = time.monotonic() - started
        timed += 1
        tokens += step_tokens
    return Timing(
        timed_steps=timed,
        seconds_per_step=seconds / timed,
        tokens_per_second=tokens / seconds,
        planned_steps=config.steps,
        epoch_tokens=stream.epoch_tokens,
        parameters=sum(p.numel() for p in model.parameters()),
        loss=loss,
        # kilobytes, except on macOS
        peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        device_peak_bytes=torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
    )
