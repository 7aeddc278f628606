"""What is wrong with a training run before it is started: vocabulary, corpora, settings, disk, and how long it will take.

Nothing is written but the prepared corpora, which training would make just the same.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from chitchat.checkpoint import Direction, start_folder
from chitchat.config import ModelConfig, PrepareConfig, TrainConfig
from chitchat.doctor.corpus_checks import check_cut, check_overlap, check_splits, check_unknown
from chitchat.doctor.finding import Finding, Level, duration_text, size_text
from chitchat.doctor.model_checks import (
    StartingModel,
    check_start,
    check_vocabulary,
    new_start,
    read_start,
)
from chitchat.errors import ChitchatError
from chitchat.prepare import WeightedCorpus, prepare
from chitchat.tokenization.token_store import TokenStore
from chitchat.tokenization.tokenizer import DialogueTokenizer

log = logging.getLogger(__name__)

PACKAGES = ("torch", "transformers", "accelerate", "tensorboard", "matplotlib")
_LONG_RUN_HOURS = 24 * 7
_HIGH_LEARNING_RATE = 0.01
_LOG_BYTES = 50_000_000
"""Room for metrics, TensorBoard files, curves and sample replies."""


def diagnose(
    direction: Direction,
    config: TrainConfig,
    model_config: ModelConfig,
    prepare_config: PrepareConfig,
    *,
    default_vocab: Path,
    timing: bool = True,
    show_progress: bool = False,
) -> Iterator[Finding]:
    """Findings about the run these settings describe, one by one as they are made.

    `default_vocab` is used when neither `vocab` nor `init_from` is set. `timing` takes real training steps in a process of its
    own. A fault that would stop the run is a fatal finding, never an exception.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        yield Finding("依赖", "fatal", f"没有安装 {'、'.join(missing)}", "运行 pip install -e '.[train]'")
    folder = start_folder(Path(config.init_from), direction) if config.init_from else None
    start = None
    if folder is not None:
        try:
            start = read_start(folder, direction)
        except ChitchatError as error:
            yield Finding("起点", "fatal", str(error), "把 --init-from 指向一个完整的、方向相同的模型文件夹，或去掉它从零训练")
            return
    try:
        tokenizer = DialogueTokenizer.load(Path(config.vocab) if config.vocab else folder or default_vocab)
    except ChitchatError as error:
        yield Finding("词表", "fatal", str(error), "用 --vocab 指定 BERT 格式的 vocab.txt，或用 chitchat vocab 由语料生成")
        return
    yield check_vocabulary(tokenizer)
    if folder is not None and start is not None:
        yield check_start(folder, start, tokenizer, direction)
    else:
        start = new_start(model_config, tokenizer.vocab_size)
    yield from _settings(config, start, direction)
    yield _disk(config, start)

    corpora: list[tuple[TokenStore, float]] = []
    for text in config.data:
        corpus = WeightedCorpus.parse(text)
        try:
            store = prepare(corpus.path, prepare_config, tokenizer, show_progress=show_progress)
        except ChitchatError as error:
            yield Finding("语料", "fatal", str(error), "改好这个文件，或从 --data 中去掉它")
            continue
        corpora.append((store, corpus.weight))
        yield check_unknown(store, tokenizer)
        yield check_cut(store, _max_tokens(config, start), direction)
    if len(corpora) < len(config.data):
        return
    stores = [store for store, _ in corpora]
    splits = check_splits(stores)
    yield splits
    yield check_overlap(stores)
    if timing and not missing and splits.level != "fatal":
        yield from _timing(direction, config, model_config, corpora, tokenizer)


def _max_tokens(config: TrainConfig, start: StartingModel) -> int:
    return min(config.max_sample_tokens or start.positions, start.positions)


def _settings(config: TrainConfig, start: StartingModel, direction: Direction) -> list[Finding]:
    """Settings that are allowed one by one and make no sense together."""
    found: list[Finding] = []

    def add(level: Level, message: str, remedy: str) -> None:
        found.append(Finding("设置", level, message, remedy))

    folder = Path(config.model) / direction
    if config.model and (folder / "config.json").exists():
        add("warning", f"{folder} 中已有模型，训练会拒绝开始", "加 --resume 继续，加 --overwrite 覆盖，或换一个 --model")
    if not config.learning_rate:
        add("fatal", "learning_rate 是 0，什么也学不到", "去掉它，用默认的 6e-4")
    if config.learning_rate > _HIGH_LEARNING_RATE:
        add("warning", f"learning_rate {config.learning_rate:g} 大得少见，损失多半会发散", "AdamW 一般用 1e-4 到 3e-3")
    if config.max_sample_tokens > start.positions:
        message = f"max_sample_tokens {config.max_sample_tokens} 超过模型的 {start.positions} 个位置，只按后者来"
        add("warning", message, "调小它；从零训练时也可调大 --positions")
    if config.tokens_per_step < start.positions:
        message = f"tokens_per_step {config.tokens_per_step} 不够一行，每步实际是 {start.positions} token"
        add("warning", message, f"设为 {start.positions} 的倍数")
    longest = _max_tokens(config, start)
    return found or [Finding("设置", "ok", f"每步 {config.tokens_per_step} token，样本最长 {longest} token")]


def _disk(config: TrainConfig, start: StartingModel) -> Finding:
    """Room for the state of a run and the model, both written anew before the old ones go."""
    if not config.model:
        return Finding("磁盘", "warning", "没有给输出文件夹，没有检查磁盘", "加 --model DIR，训练时也要它")
    # float32 weights and AdamW's two moments (Muon has one: then this is a little too much); half-precision weights
    needed = 2 * (12 + 2) * start.parameters + _LOG_BYTES
    folder = Path(config.model).absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Finding("磁盘", "fatal", f"--model {config.model}：{folder} 里不能新建文件夹", "换一个 --model，或改好它的权限")
    free = shutil.disk_usage(folder).free
    message = f"断点与模型最多占 {size_text(needed)}，{folder} 还有 {size_text(free)}"
    if needed > free:
        return Finding("磁盘", "fatal", message, "腾出空间，或把 --model 放到别的盘")
    if 2 * needed > free:
        return Finding("磁盘", "warning", message, "剩得不多，最好先腾出一些")
    return Finding("磁盘", "ok", message)


def _timing(
    direction: Direction,
    config: TrainConfig,
    model_config: ModelConfig,
    corpora: Sequence[tuple[TokenStore, float]],
    tokenizer: DialogueTokenizer,
) -> Iterator[Finding]:
    """Real steps in a process of their own: its memory is the run's alone, and running out of it ends only that process."""
    from chitchat.training.timing import time_steps

    log.info("试训几步，估计时间与内存……")
    folders = [(store.folder, weight) for store, weight in corpora]
    context = multiprocessing.get_context("spawn")
    smaller = "调小 --rows-per-batch（梯度会累积，结果不变），或用小些的模型"
    try:
        with ProcessPoolExecutor(1, mp_context=context, initializer=_say_nothing) as pool:
            timing = pool.submit(time_steps, direction, config, model_config, folders, tokenizer.tokens).result()
    except BrokenProcessPool:
        yield Finding("试训", "fatal", "试训的进程被系统终止，多半是内存不够", smaller)
        return
    except (ChitchatError, RuntimeError, MemoryError) as error:
        yield Finding("试训", "fatal", f"试训时出错：{error}", smaller)
        return
    if not math.isfinite(timing.loss):
        yield Finding("试训", "fatal", f"{timing.timed_steps} 步后损失不是有限数", "调低 --learning-rate，或用 --precision fp32")
        return
    hours = timing.planned_steps * timing.seconds_per_step / 3600
    limited = 0 < config.max_minutes / 60 < hours
    if limited:
        hours = config.max_minutes / 60
    epochs = hours * 3600 * timing.tokens_per_second / timing.epoch_tokens
    message = (
        f"试训 {timing.timed_steps} 步：每步 {timing.seconds_per_step:.2f} 秒，每秒 {timing.tokens_per_second:.0f} token；"
        f"全程 {duration_text(hours)}，语料约看 {epochs:.2g} 遍"
        + ("（到 max_minutes 为止）" if limited else f"（{timing.planned_steps} 步）")
    )
    if hours > _LONG_RUN_HOURS:
        yield Finding("时间", "warning", message, "减少 --epochs 或语料，用小些的模型，或用 --max-minutes 限时")
    else:
        yield Finding("时间", "ok", message)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    message = f"试训最多用 {size_text(timing.peak_bytes)}，机器共有 {size_text(memory)}"
    if timing.device_peak_bytes is not None:
        message += f"；显存最多用 {size_text(timing.device_peak_bytes)}"
    yield Finding("内存", *(("warning", message, smaller) if timing.peak_bytes > 0.8 * memory else ("ok", message)))


def _say_nothing() -> None:
    """Loading bars and warnings of the timed process would run through the findings, which say the same."""
    from transformers.utils import logging as transformers_logging

    logging.disable(logging.WARNING)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
