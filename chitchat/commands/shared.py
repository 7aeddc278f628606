"""What the subcommands share: how one is added, its configurations, its packages, its defaults."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chitchat.config import ChatConfig, DecodingConfig, ModelConfig, PrepareConfig, StoreConfig, TrainConfig, read_yaml, resolve
from chitchat.errors import ConfigError

if TYPE_CHECKING:
    from chitchat.backends.base import Encoder, Scorer

DEFAULT_VOCAB = Path(__file__).resolve().parents[2] / "data" / "vocab.txt"
_SECTIONS: dict[str, type] = {
    "prepare": PrepareConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "decoding": DecodingConfig,
    "chat": ChatConfig,
    "store": StoreConfig,
}


_EXTRAS = {"prepare": "[prepare]", "web": "[web]", "serve": "[serve]", "chat": "", "score": "", "arena": ""}
"""What a command needs; `[train]` where nothing is said."""


class AddCommand(Protocol):
    """Adds a subcommand to the parser and returns its own parser; `configs` give it `--config` and a flag per field."""

    def __call__(
        self, name: str, help: str, run: Callable[[argparse.Namespace], int | None], *configs: type, usage: str = ""
    ) -> argparse.ArgumentParser: ...


def resolve_all(args: argparse.Namespace, *classes: type) -> tuple[Any, ...]:
    """The configurations of a subcommand: defaults, then the YAML file, then flags."""
    sections = read_yaml(args.config, _SECTIONS) if args.config else {}
    names = {cls: name for name, cls in _SECTIONS.items()}
    return tuple(resolve(cls, yaml_values=sections.get(names[cls]), args=args) for cls in classes)


def require(*modules: str, command: str) -> None:
    """Raises ConfigError naming what is not installed, before any work is done."""
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    if missing:
        raise ConfigError(f"没有安装 {'、'.join(missing)}。请运行 {install_command(command)}")


def install_command(command: str) -> str:
    return f"pip install -e '.{_EXTRAS.get(command, '[train]')}'"


def load_encoder(config: ChatConfig) -> Encoder | None:
    """The dual encoder of a model, when it has one."""
    from chitchat.backends.dual_encoder import NumpyEncoder
    from chitchat.checkpoint import part_folder

    folder = part_folder(Path(config.model), "encoder")
    return NumpyEncoder(folder) if folder else None


def load_scorers(config: ChatConfig) -> tuple[Scorer, Scorer | None]:
    """The forward scorer of a model, and its reverse scorer when it has a reverse model."""
    from chitchat.checkpoint import model_folders
    from chitchat.engine.build import load_model

    forward, reverse = model_folders(Path(config.model))
    return load_model(forward, "forward", config), load_model(reverse, "reverse", config) if reverse else None


def warn_of_learnt_dialogues(model: str) -> None:
    """Tells on stderr when a model held out fewer dialogues in training than are taken for held out when it is measured."""
    from chitchat.checkpoint import Task, part_folder, read_manifest

    default = PrepareConfig()
    parts: tuple[Task, ...] = ("forward", "reverse", "encoder")
    for part in parts:
        folder = part_folder(Path(model), part)
        manifest = read_manifest(folder, part) if folder else None
        used = manifest.config.get("prepare", {}) if manifest else {}
        validation = used.get("validation_fraction", default.validation_fraction)
        test = used.get("test_fraction", default.test_fraction)
        if validation + test < default.validation_fraction + default.test_fraction:
            held_out = f"只留出 {validation:g}（验证）与 {test:g}（测试）的对话"
            here = f"这里按 {default.validation_fraction:g} 与 {default.test_fraction:g} 划分"
            print(f"注意：{folder} 训练时{held_out}，{here}：它训练用过的语料，其中一部分它学过，数字会偏高", file=sys.stderr)


def check_port(port: int) -> None:
    """Raises ConfigError for what is no port."""
    if not 0 < port < 65536:
        raise ConfigError(f"--port 应在 1 到 65535 之间，得到 {port}")
