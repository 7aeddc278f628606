"""The training loop, the same for every model; what they learn is `objective.py`'s."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from chitchat.allocator import keep_all_memory
from chitchat.checkpoint import Manifest, Task
from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
from chitchat.errors import CheckpointError, ConfigError
from chitchat.processors import usable_cpus
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer
from chitchat.training.curves import Metrics
from chitchat.training.model import batch_tensors
from chitchat.training.objective import EncoderObjective, LanguageObjective, Objective
from chitchat.training.optimizer import Optimizer, learning_rate_factor
from chitchat.training.resume import RunState, load_state, save_state

log = logging.getLogger(__name__)

_LOG_EVERY_STEPS = 10
_WORTH_COMPILING_TOKENS = 2_000_000
_MAY_CHANGE_ON_RESUME = (
    "data",
    "model",
    "init_from",
    "vocab",
    "epochs",
    "steps",
    "max_minutes",
    "learning_rate",
    "muon_learning_rate",
    "compile",
    "threads",
    "validate_every",
    "patience",
    "save_every_seconds",
)


def train(
    task: Task,
    config: TrainConfig,
    model_config: ModelConfig,
    corpora: list[tuple[TokenStore, float]],
    tokenizer: DialogueTokenizer,
    *,
    prepare_config: PrepareConfig,
    resume: bool = False,
    overwrite: bool = False,
) -> Path:
    """Trains one model and returns its folder, `<config.model>/<task>`, holding the weights that validated best.

    State, metrics, curves and sample replies go to `<config.model>/training/<task>`. A killed run goes on with `resume`
    from the last saved state and takes the same steps an unbroken one would have taken, unless `config.max_minutes` lets its
    learning rate follow the clock.

    Raises CheckpointError when there is a model already and neither `resume` nor `overwrite` is given, CorpusError when there
    is nothing to train or validate on, ConfigError when the loss is no longer finite.
    """
    accelerator = Accelerator(mixed_precision="bf16" if config.precision == "bf16" else "no", cpu=not torch.cuda.is_available())
    keep_all_memory()
    torch.set_num_threads(config.threads or usable_cpus())
    torch.manual_seed(config.seed)
    folder = Path(config.model) / task
    run_folder = Path(config.model) / "training" / task
    if not resume and not overwrite and (folder / "config.json").exists():
        raise CheckpointError(f"{folder} 中已有模型；加 --resume 继续上次的训练，加 --overwrite 重新开始，或换一个 --model")

    objective = _objective(task, config, model_config, corpora, tokenizer)
    model, loss_module = objective.model, objective.loss
    rows, micro_batches = objective.batch_shape(accelerator.num_processes)

    state = RunState()
    identity = _identity(task, config, objective.shape, corpora)
    optimizer = Optimizer(model, config)

    def save() -> None:
        if accelerator.is_main_process:
            save_state(run_folder, state, weights=model.state_dict(), optimizer=optimizer.state_dict(), identity=identity)

    if resume:
        state, weights, optimizer_state = load_state(run_folder, identity=identity)
        model.load_state_dict(weights)
        optimizer.load_state_dict(optimizer_state)
        log.info("从第 %d 步继续", state.step)
    else:
        save()  # from here on `resume` means this run, not one that is being overwritten
    stream = objective.stream(rows_per_batch=rows, start=state.position)
    config = planned(config, epoch_tokens=stream.epoch_tokens, tokens_per_step=rows * objective.row_tokens * micro_batches)
    wrapped = accelerator.prepare(loss_module)
    if should_compile(config):
        loss_module.compile_body()
    metrics = Metrics(run_folder, resume_step=state.step if resume else None, enabled=accelerator.is_main_process)
    parameters = sum(p.numel() for p in model.parameters())
    log.info(
        "%s：%.1fM 参数，词表 %d；语料每遍 %.2fM token，至多 %d 步（每步 %d 行，每行 %d token）",
        task, parameters / 1e6, tokenizer.vocab_size, stream.epoch_tokens / 1e6, config.steps,
        micro_batches * rows, objective.row_tokens,
    )  # fmt: skip

    started = last_saved = time.monotonic()
    seconds_before = state.seconds
    tokens_before = state.tokens

    def validate_and_keep_best() -> None:
        result = objective.validate(rows_per_batch=rows, device=accelerator.device)
        is_best = result["validation_loss"] < state.best_loss
        state.validations_without_progress = 0 if is_best else state.validations_without_progress + 1
        if is_best:
            state.best_loss, state.best_step = result["validation_loss"], state.step
        if not accelerator.is_main_process:
            return
        metrics.validation(state.step, result)
        metrics.samples(state.step, objective.samples())
        if is_best:
            figures = {**result, "step": state.step, "tokens_seen": state.tokens, "hours": round(state.seconds / 3600, 2)}
            objective.save(_manifest(task, config, prepare_config, corpora, tokenizer, figures), folder)

    with _stop_signals() as stop:
        while state.step < config.steps and not stop:
            progress = max(state.step / config.steps, state.seconds / 60 / config.max_minutes if config.max_minutes else 0.0)
            if progress >= 1.0:
                break
            factor = learning_rate_factor(config, state.step, progress)

            batches = [next(stream) for _ in range(micro_batches)]
            mine = batches[accelerator.process_index :: accelerator.num_processes]
            num_targets = sum(batch.num_targets for batch in batches)
            step_loss = 0.0
            for number, batch in enumerate(mine):
                with accelerator.no_sync(wrapped) if number < len(mine) - 1 else nullcontext():
                    # the sum over the whole step is divided by its targets, so that every token weighs the same;
                    # times the processes because DDP averages their gradients
                    loss = wrapped(*batch_tensors(batch, accelerator.device)) * (accelerator.num_processes / num_targets)
                    accelerator.backward(loss)
                step_loss += float(loss.detach())
            if not math.isfinite(step_loss):
                raise ConfigError(
                    f"第 {state.step + 1} 步的损失不是有限数；请调低 --learning-rate 后用 --resume 从上个断点继续，"
                    "仍是这样就用 --overwrite 重新开始"
                )
            if accelerator.num_processes > 1:
                step_loss = float(accelerator.reduce(torch.tensor(step_loss, device=accelerator.device), "mean"))
            if config.gradient_clip:
                accelerator.clip_grad_norm_(wrapped.parameters(), config.gradient_clip)
            optimizer.step(factor)
            optimizer.zero_grad()

            state.step += 1
            state.tokens += sum(batch.num_tokens for batch in batches)
            state.position = stream.position
            state.seconds = seconds_before + time.monotonic() - started
            if state.step % _LOG_EVERY_STEPS == 0:
                speed = (state.tokens - tokens_before) / (state.seconds - seconds_before)
                left = _seconds_left(config, state, seconds_before)
                metrics.training(
                    state.step,
                    loss=step_loss,
                    learning_rate=factor * config.learning_rate,
                    tokens=state.tokens,
                    tokens_per_second=speed,
                    seconds_left=left,
                )
            if state.step % config.validate_every == 0:
                validate_and_keep_best()
                if config.patience and state.validations_without_progress >= config.patience:
                    log.info("连续 %d 次验证没有进步，提前停止", config.patience)
                    break
            if time.monotonic() - last_saved >= config.save_every_seconds:
                save()
                last_saved = time.monotonic()
        if stop:
            save()
            raise KeyboardInterrupt
    if state.step % config.validate_every or not (folder / "config.json").exists():
        validate_and_keep_best()
    save()
    metrics.close()
    log.info("完成：第 %d 步的验证损失最低（%.4f），模型在 %s", state.best_step, state.best_loss, folder)
    return folder


def _objective(
    task: Task,
    config: TrainConfig,
    model_config: ModelConfig,
    corpora: list[tuple[TokenStore, float]],
    tokenizer: DialogueTokenizer,
) -> Objective:
    if task == "encoder":
        return EncoderObjective(config, corpora, tokenizer)
    return LanguageObjective(task, config, model_config, corpora, tokenizer)


def _manifest(
    task: Task,
    config: TrainConfig,
    prepare_config: PrepareConfig,
    corpora: list[tuple[TokenStore, float]],
    tokenizer: DialogueTokenizer,
    metrics: dict[str, Any],
) -> Manifest:
    used = [
        {"name": s.meta["name"], "sha256": s.meta["sha256"], "weight": weight, "dialogues": len(s), "tokens": s.meta["tokens"]}
        for s, weight in corpora
    ]
    resolved = {"train": _portable(config), "prepare": dataclasses.asdict(prepare_config)}
    return Manifest(task, tokenizer.fingerprint, resolved, used, metrics)


def planned(config: TrainConfig, *, epoch_tokens: int, tokens_per_step: int) -> TrainConfig:
    """The configuration with its steps, warm-up and validation interval settled for a corpus of this size."""
    by_epochs = math.ceil(config.epochs * epoch_tokens / tokens_per_step)
    steps = max(1, min(config.steps or by_epochs, by_epochs))
    return dataclasses.replace(
        config,
        steps=steps,
        warmup_steps=min(config.warmup_steps, steps // 10),
        validate_every=config.validate_every or min(500, max(10, steps // 20)),
    )


def _identity(
    task: Task,
    config: TrainConfig,
    shape: dict[str, float],
    corpora: list[tuple[TokenStore, float]],
) -> dict[str, Any]:
    """What a resumed run must have in common with the one it goes on with."""
    options = {k: v for k, v in dataclasses.asdict(config).items() if k not in _MAY_CHANGE_ON_RESUME}
    data = [[store.folder.name, weight] for store, weight in corpora]
    return {"direction": task, "data": data, **shape, **options}


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The configuration without the folders of the machine it ran on."""
    names = {
        "data": [Path(d).name for d in config.data],
        "model": Path(config.model).name,
        "init_from": Path(config.init_from).name,
        "vocab": Path(config.vocab).name,
    }
    return {**dataclasses.asdict(config), **names}


def should_compile(config: TrainConfig) -> bool:
    """Whether torch.compile pays for itself in a run whose steps are settled (`planned`)."""
    if config.compile != "auto":
        return config.compile == "on"
    return (
        config.steps * config.tokens_per_step >= _WORTH_COMPILING_TOKENS
        and shutil.which(os.environ.get("CXX", "g++")) is not None
    )


def _seconds_left(config: TrainConfig, state: RunState, seconds_before: float) -> float:
    by_steps = state.seconds / state.step * (config.steps - state.step)
    return min(by_steps, config.max_minutes * 60 - state.seconds) if config.max_minutes else by_steps


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that is no longer empty once Ctrl-C or SIGTERM has come, so that a step is finished and saved first."""
    received: list[int] = []
    old = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            old[number] = signal.signal(number, lambda n, frame: received.append(n))
    except ValueError:  # not in the main thread: nothing to catch here
        pass
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
