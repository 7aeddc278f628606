"""A conversation as a file: to read, to keep, or to train on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chitchat.corpus.rules.personal_data import redact
from chitchat.dialogue import SPEAKERS
from chitchat.errors import ConfigError
from chitchat.files import atomic_write
from chitchat.sessions.store import SessionSummary, Store
from chitchat.sessions.transcript import StoredMessage


def export_text(store: Store, id: str, format: str, *, owner: str | None) -> str:
    """A conversation in one of `FORMATS`; raises UnknownSessionError, or ConfigError for another format."""
    if format not in FORMATS:
        raise ConfigError(f"导出格式应为 {' / '.join(FORMATS)} 之一，得到 {format!r}")
    return FORMATS[format](store.summary(id, owner=owner), store.transcript(id, owner=owner).messages())


def export_file(store: Store, id: str, format: str, path: Path, *, owner: str | None) -> None:
    """Writes it whole or not at all, and remembers the file, so that `Store.forget` can tell of it."""
    text = export_text(store, id, format, owner=owner)
    with atomic_write(path) as stream:
        stream.write(text)
    store.record_export(path, format, [id])


def _markdown(summary: SessionSummary, messages: Sequence[StoredMessage]) -> str:
    lines = [f"**{SPEAKERS[m.role]}**（{m.created:%H:%M}）：{m.content}" for m in messages]
    return "\n\n".join([f"# {summary.title}", f"{summary.created:%Y-%m-%d %H:%M}", *lines]) + "\n"


def _jsonl(summary: SessionSummary, messages: Sequence[StoredMessage]) -> str:
    row = {"messages": [{"role": m.role, "content": m.content} for m in messages]}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _training(summary: SessionSummary, messages: Sequence[StoredMessage]) -> str:
    row = {"messages": [{"role": m.role, "content": redact(m.content)} for m in messages]}
    return json.dumps(row, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[[SessionSummary, Sequence[StoredMessage]], str]] = {
    "md": _markdown,
    "jsonl": _jsonl,
    "training": _training,
}
"""md to read; jsonl is a row of the corpus format; training the same with personal data masked."""
