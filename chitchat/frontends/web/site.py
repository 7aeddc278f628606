"""What all visitors of the page share: the models, the store, the pace; and how a visitor comes to their conversations."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chitchat.config import DecodingConfig
from chitchat.errors import UnknownSessionError
from chitchat.frontends.web.models import Models
from chitchat.frontends.web.visitors import Pace
from chitchat.sessions.export import export_text
from chitchat.sessions.session import Session
from chitchat.sessions.store import SessionSummary, Store

EXPORTS: Mapping[str, str] = {"md": "text/markdown; charset=utf-8", "jsonl": "application/jsonl; charset=utf-8"}
"""Formats a visitor may download, each with its media type."""
_MAX_LISTED = 200
LOCAL_OWNER = ""
"""Who owns the conversations of the terminal."""


@dataclass
class Site:
    """The page's models, store and rules, for any number of threads.

    Args:
        decoding: where the knobs start, and what has no knob.
        report: the folder that `chitchat evaluate` wrote.
        lists_local: whether the terminal's conversations are listed too; for the user of this machine alone.
    """

    models: Models
    store: Store
    decoding: DecodingConfig
    pace: Pace
    report: Path
    lists_local: bool = False
    _locks: weakref.WeakValueDictionary[str, _Lock] = field(default_factory=weakref.WeakValueDictionary)

    @property
    def keeps(self) -> bool:
        """Whether conversations outlive the server."""
        return self.store.path is not None

    def session(self, id: str | None, owner: str, *, model: str, decoding: DecodingConfig) -> Session:
        """The conversation of that id, or a new one; raises UnknownSessionError for another visitor's."""
        loaded = self.models.get(model)
        if id is None:
            return Session(loaded.chatbot, decoding, self.store, owner, model=loaded.fingerprint)
        found = self.accessible(id, owner)
        return Session.resume(loaded.chatbot, self.store, id, owner=found, decoding=decoding, model=loaded.fingerprint)

    def accessible(self, id: str, owner: str) -> str:
        """The owner under whom a visitor may use a conversation: themselves, or the terminal, whose ids cannot be guessed."""
        for allowed in (owner, LOCAL_OWNER):
            try:
                return self.store.summary(id, owner=allowed).owner
            except UnknownSessionError:
                continue
        raise UnknownSessionError("没有这段对话：请检查编号，它也可能已被删除")

    def sessions(self, owner: str, search: str = "") -> list[SessionSummary]:
        """A visitor's conversations, the last used first; those whose name or one message has every word of `search`."""
        owners = [owner, LOCAL_OWNER] if self.lists_local else [owner]
        if search.strip():
            hits = [hit.session for o in owners for hit in self.store.search(search, owner=o)]
            words = search.casefold().split()
            listed = [s for o in owners for s in self.store.sessions(owner=o, limit=_MAX_LISTED)]
            named = [s for s in listed if all(word in s.name.casefold() for word in words)]
            found = list({session.id: session for session in [*named, *hits]}.values())
        else:
            found = [session for o in owners for session in self.store.sessions(owner=o, limit=_MAX_LISTED)]
        return sorted(found, key=lambda session: session.updated, reverse=True)

    def export(self, id: str, owner: str, kind: str) -> str:
        """A conversation as text; raises UnknownSessionError for another visitor's."""
        return export_text(self.store, id, kind, owner=self.accessible(id, owner))

    def is_busy(self, id: str) -> bool:
        """Whether a conversation is being changed right now."""
        lock = self._locks.get(id)
        return lock is not None and lock.lock.locked()

    @contextmanager
    def turn(self, id: str) -> Iterator[None]:
        """One change of a conversation at a time, from whatever tab."""
        lock = self._locks.setdefault(id, _Lock())
        with lock.lock:
            yield


class _Lock:
    """A lock that a weak dictionary can hold."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
