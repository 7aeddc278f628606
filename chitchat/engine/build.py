"""Configuration to Chatbot; the only file that names concrete backends."""

from __future__ import annotations

import difflib
import importlib.util
import logging
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from chitchat.backends.acts import ActReplies
from chitchat.backends.base import Generator
from chitchat.backends.batching import BatchedModel, LocalModel
from chitchat.backends.dual_encoder import NumpyEncoder
from chitchat.backends.retrieval import RetrievalIndex
from chitchat.backends.reward import REWARD, LinearReward
from chitchat.checkpoint import Task, model_folders, part_folder, read_manifest
from chitchat.config import ChatConfig, DecodingConfig, from_mapping
from chitchat.corpus.normalisation import normalise
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.persona import Persona
from chitchat.engine.reranking import Ranker
from chitchat.engine.riddle import load_riddles
from chitchat.engine.safety import Safety
from chitchat.errors import BackendError, ConfigError

logger = logging.getLogger(__name__)

_DATA = Path(__file__).resolve().parents[2] / "data"
_PACKAGES = {"ctranslate2": ["ctranslate2"], "transformers": ["torch", "transformers"]}


def load_chatbot(config: ChatConfig | None = None, decoding: DecodingConfig | None = None, **overrides: Any) -> Chatbot:
    """A chatbot from a model folder; `overrides` are fields of either configuration by name.

    >>> load_chatbot(model="models/xiaoxu", temperature=0.7)  # doctest: +SKIP

    Raises ConfigError for an unknown option, CheckpointError for a folder that is no model or of the wrong direction,
    BackendError for a backend that is not installed.
    """
    config, decoding = _resolve(config or ChatConfig(), decoding or DecodingConfig(), overrides)
    path = Path(config.model).expanduser()
    forward_folder, reverse_folder = model_folders(path)
    read_manifest(forward_folder, "forward")  # a mix-up is told before any weight is read
    if reverse_folder is not None:
        read_manifest(reverse_folder, "reverse")
    ranker = Ranker.load(path)
    encoder = None if (folder := part_folder(path, "encoder")) is None else NumpyEncoder(folder)
    safety, persona, written = _safety(config), _persona(config, path), _written_replies(config, path, encoder)
    forward = BatchedModel(load_model(forward_folder, "forward", config))
    reverse = None if reverse_folder is None else BatchedModel(load_model(reverse_folder, "reverse", config))
    reward = LinearReward.load(path / REWARD) if (path / REWARD).is_dir() else None
    if reverse is None:
        logger.warning("%s 没有 reverse 模型，只按 forward 分数排序", path)
    return Chatbot(
        [forward, *written],
        forward,
        reverse,
        ranker,
        decoding,
        normalise=normalise,
        max_history_messages=config.max_history_messages,
        safety=safety,
        reward_model=reward,
        encoder=encoder,
        persona=persona,
        riddles=load_riddles(_DATA / "riddles.jsonl"),
        side_by_side=forward.model.concurrency > 1,
    )


def _safety(config: ChatConfig) -> Safety | None:
    if config.safety == "off":
        return None
    return Safety.load(_DATA / "safety.yaml" if config.safety == "auto" else Path(config.safety).expanduser())


def _persona(config: ChatConfig, model: Path) -> Persona | None:
    if config.persona == "off":
        return None
    if config.persona == "auto":
        own = model / "persona.yaml"
        path = own if own.is_file() else _DATA / "persona.yaml"
    else:
        path = Path(config.persona).expanduser()
    return Persona.load(path)


def _written_replies(config: ChatConfig, model: Path, encoder: NumpyEncoder | None) -> list[Generator]:
    """What proposes replies that people wrote, as far as the model folder has it."""
    if not config.retrieval:
        return []
    index, acts = model / "retrieval", model / "acts"
    found: list[Generator] = [RetrievalIndex.load(index, encoder=encoder)] if index.is_dir() else []
    return [*found, ActReplies.load(acts)] if acts.is_dir() else found


def load_model(folder: Path, direction: Task, config: ChatConfig) -> LocalModel:
    """One model folder in the backend that `config` asks for."""
    if _backend(folder, config) == "ctranslate2":
        from chitchat.backends.ctranslate2_local import CTranslate2Model

        return CTranslate2Model(folder, direction=direction, compute_type=config.compute_type, threads=config.threads or 2)
    from chitchat.backends.transformers_local import TransformersModel

    return TransformersModel(folder, direction=direction, device=config.device, threads=config.threads or 1)


def _backend(folder: Path, config: ChatConfig) -> str:
    """The backend's name, checked to be installed; auto prefers ctranslate2 unless the device or the folder forbids it."""
    on_cpu = config.device in ("auto", "cpu")
    if config.backend == "ctranslate2" and not on_cpu:
        raise ConfigError(f"ctranslate2 后端只用 CPU，得到 --device {config.device}；请改用 --backend transformers")
    chosen = config.backend
    if chosen == "auto":
        chosen = "ctranslate2" if on_cpu and _is_installed("ctranslate2") and _is_convertible(folder) else "transformers"
    if missing := [package for package in _PACKAGES[chosen] if not _is_installed(package)]:
        other = "transformers" if chosen == "ctranslate2" else "ctranslate2"
        raise BackendError(f"没有安装 {'、'.join(missing)}：请 pip install {' '.join(missing)}，或改用 --backend {other}")
    return chosen


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _is_convertible(folder: Path) -> bool:
    from chitchat.backends.conversion import obstacle

    if fault := obstacle(folder):
        logger.warning("%s：%s，改用 transformers 后端", folder, fault)
    return fault is None


def _resolve(config: ChatConfig, decoding: DecodingConfig, overrides: dict[str, Any]) -> tuple[ChatConfig, DecodingConfig]:
    chat_names = [f.name for f in fields(ChatConfig)]
    decoding_names = [f.name for f in fields(DecodingConfig)]
    if unknown := [name for name in overrides if name not in chat_names + decoding_names]:
        near = difflib.get_close_matches(unknown[0], chat_names + decoding_names, n=1)
        hint = f"是否想写 {near[0]!r}？" if near else f"可用：{'、'.join(chat_names + decoding_names)}"
        raise ConfigError(f"load_chatbot：未知的选项 {unknown[0]!r}，{hint}")
    values = {k: str(v) if isinstance(v, Path) else v for k, v in overrides.items()}
    chat_values = {k: v for k, v in values.items() if k in chat_names}
    decoding_values = {k: v for k, v in values.items() if k in decoding_names}
    return (
        from_mapping(ChatConfig, asdict(config) | chat_values, where="load_chatbot"),
        from_mapping(DecodingConfig, asdict(decoding) | decoding_values, where="load_chatbot"),
    )
