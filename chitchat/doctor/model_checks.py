"""The vocabulary, and the model a run begins with, as far as they are known without loading any weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chitchat.checkpoint import Direction, read_config, read_manifest
from chitchat.config import ModelConfig
from chitchat.doctor.finding import Finding
from chitchat.errors import CheckpointError
from chitchat.tokenization.tokenizer import DialogueTokenizer


@dataclass(frozen=True, slots=True)
class StartingModel:
    """The model a run begins with; `vocab_rows` are its embeddings, which may be more than the vocabulary has tokens."""

    positions: int
    parameters: int
    vocab_rows: int


def check_vocabulary(tokenizer: DialogueTokenizer) -> Finding:
    """Every token that is a Han character must come back from its own id: an unread vocabulary makes all of them `[UNK]`."""
    size = tokenizer.vocab_size
    if twice := size - len(set(tokenizer.tokens)):
        return Finding("词表", "fatal", f"{size} 个 token 里有 {twice} 个重复，编号对不上", "去掉 vocab.txt 里重复的行")
    if size > np.iinfo(np.uint16).max:
        return Finding("词表", "fatal", f"有 {size} 个 token，上限 65535", "用 chitchat vocab 由语料生成一个小些的词表")
    han = [(id_, token) for id_, token in enumerate(tokenizer.tokens) if len(token) == 1 and "\u4e00" <= token <= "\u9fff"]
    lost = [token for id_, token in han if tokenizer.encode(token) != [id_] or tokenizer.decode([id_]) != token]
    if lost:
        shown = "".join(lost[:10])
        message = f"{len(han)} 个汉字里有 {len(lost)} 个不能还原，如「{shown}」"
        return Finding("词表", "fatal", message, "换一个 BERT 格式的 vocab.txt")
    return Finding("词表", "ok", f"{size} 个 token，其中 {len(han)} 个汉字，逐个编码再还原都不变")


def read_start(folder: Path, direction: Direction) -> StartingModel:
    """Raises CheckpointError for a folder that is no model, or one of the other direction."""
    config = read_config(folder)
    read_manifest(folder, direction)
    positions = config.get("n_positions") or config.get("max_position_embeddings")
    rows = config.get("vocab_size")
    if not isinstance(positions, int) or not isinstance(rows, int):
        raise CheckpointError(f"{folder}/config.json 没有 n_positions 或 vocab_size，不是因果语言模型")
    return StartingModel(positions, _stored_parameters(folder), rows)


def _stored_parameters(folder: Path) -> int:
    """Counted from the safetensors' heads; half the bytes of other weight files, which are seldom smaller."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        others = [path.stat().st_size for path in folder.glob("*.bin")]
        if not others:
            raise CheckpointError(f"{folder} 中没有权重文件（model.safetensors）")
        return sum(others) // 2
    parameters = 0
    for path in files:
        try:
            with safe_open(path, "numpy") as tensors:
                parameters += sum(math.prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())
        except Exception as error:  # its own exception class is private
            raise CheckpointError(f"读不了权重 {path}：{error}") from None
    return parameters


def new_start(config: ModelConfig, vocab_size: int) -> StartingModel:
    """A new GPT-2; its embeddings are counted once, for they are the output's matrix too."""
    width = config.width
    parameters = (vocab_size + config.positions + 2) * width + config.layers * (12 * width * width + 13 * width)
    return StartingModel(config.positions, parameters, vocab_size)


def check_start(folder: Path, start: StartingModel, tokenizer: DialogueTokenizer, direction: Direction) -> Finding:
    """Whether the model of `init_from` and the vocabulary belong together, and its special tokens are the vocabulary's."""
    size = tokenizer.vocab_size
    if start.vocab_rows < size:
        message = f"{folder} 的模型只认 {start.vocab_rows} 个 token，词表有 {size} 个"
        return Finding("起点", "fatal", message, "用这个模型自己的词表（去掉 --vocab），或从零训练")
    manifest = read_manifest(folder, direction)
    if manifest is not None and manifest.vocab_fingerprint != tokenizer.fingerprint:
        message = f"{folder} 是用另一个词表训练的，同一个编号是不同的字"
        return Finding("起点", "fatal", message, "去掉 --vocab，用它自己的词表")
    config = read_config(folder)
    wrong = [
        f"{name} 是 {config.get(name)}（词表里是 {wanted}）"
        for name, wanted in (("bos_token_id", tokenizer.cls_id), ("eos_token_id", tokenizer.sep_id))
        if config.get(name) != wanted
    ]
    if wrong:
        message = f"{folder}/config.json 的 {'，'.join(wrong)}；本程序不看它，但别的工具用这个模型会停不下来"
        return Finding("起点", "warning", message, "改正 config.json，或先用 chitchat convert 转换，它会写对")
    message = f"从 {folder} 继续：{start.parameters / 1e6:.1f}M 参数，最长 {start.positions} token，词表一致"
    return Finding("起点", "ok", message)
