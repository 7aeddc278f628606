"""The models a visitor may choose from: the one the page was started with, and its neighbours, loaded when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chitchat.checkpoint import model_folders
from chitchat.engine.chatbot import Chatbot
from chitchat.errors import CheckpointError


@dataclass(frozen=True)
class LoadedModel:
    """A chatbot with the fingerprint of its weights, which is kept with every reply."""

    name: str
    chatbot: Chatbot
    fingerprint: str


class Models:
    """The models by name. The first stays loaded, and of the others the one used last. For any number of threads.

    Args:
        path: the model that the page starts with; other models are looked for beside it.
        load: a model folder to its chatbot and fingerprint.
    """

    def __init__(self, path: Path, load: Callable[[Path], tuple[Chatbot, str]]) -> None:
        path = path.expanduser().resolve()
        self._folders = {path.name: path} | {p.name: p for p in sorted(path.parent.iterdir()) if p != path and _is_model(p)}
        self._load = load
        self._lock = threading.Lock()
        self.first = self._loaded(path.name)
        self._other: LoadedModel | None = None

    @property
    def names(self) -> list[str]:
        """All there are, the one the page was started with first."""
        return list(self._folders)

    def get(self, name: str) -> LoadedModel:
        """The model of that name; loading one takes a second. Raises CheckpointError for one that cannot be loaded."""
        if name == self.first.name:
            return self.first
        if name not in self._folders:
            raise CheckpointError(f"没有叫 {name!r} 的模型；可用：{'、'.join(self._folders)}")
        with self._lock:
            if self._other is None or self._other.name != name:
                self._other = None  # freed before the next is loaded
                self._other = self._loaded(name)
            return self._other

    def _loaded(self, name: str) -> LoadedModel:
        return LoadedModel(name, *self._load(self._folders[name]))


def _is_model(path: Path) -> bool:
    try:
        model_folders(path)
    except CheckpointError:
        return False
    return (path / "forward").is_dir()  # a lone forward/ or reverse/ beside its twin is a part, not a model
