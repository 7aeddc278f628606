"""Every conversation in one place, whichever front door it came through: listed, named, searched, removed.

Each method that takes an `owner` sees only that owner's conversations, and treats all others as missing; None is for whoever
may see all of them, such as the command line of the machine.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from chitchat.config import StoreConfig
from chitchat.dialogue import Role
from chitchat.errors import StoreError, UnknownSessionError
from chitchat.files import sha256_of
from chitchat.sessions.database import Database
from chitchat.sessions.transcript import Transcript

_MAX_NAME_CHARS = 100
_TITLE_CHARS = 20


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A conversation in a list."""

    id: str
    owner: str
    name: str
    """What the user called it; empty until then."""
    created: datetime
    updated: datetime
    num_messages: int
    first_line: str

    @property
    def title(self) -> str:
        """Its name, or the start of what was said first."""
        line = " ".join(self.first_line.split())
        return self.name or (line if len(line) <= _TITLE_CHARS else line[:_TITLE_CHARS] + "…")


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that a search found."""

    session: SessionSummary
    message_id: int
    role: Role
    content: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Export:
    """A file that was written from a conversation."""

    path: Path
    format: str
    sha256: str
    created: datetime

    @property
    def state(self) -> str:
        """Whether it is still there, as far as this machine can tell."""
        if not self.path.is_file():
            return "已不在原处"
        return "还在" if sha256_of(self.path) == self.sha256 else "还在，但内容已变"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `Store.forget` removed, and what it could not: the files that had been made from it."""

    num_messages: int
    """With those that had been replaced or taken back."""
    exports: tuple[Export, ...]
    lingers: StoreError | None = None
    """Why bytes of it may still lie in the store's files; None when there are none."""


class Store:
    """Conversations in a file, or in memory and gone with the process.

    May be used by many threads; many processes may use one file. Raises StoreError for a file that is no store.

    Args:
        path: the file, made when there is none; None for memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.database = Database(path)

    def close(self) -> None:
        self.database.close()

    def new_transcript(self, owner: str) -> Transcript:
        """A conversation that is in the store from its first message on; its id cannot be guessed."""
        return Transcript(self.database, secrets.token_hex(12), owner, exists=False)

    def transcript(self, id: str, *, owner: str | None) -> Transcript:
        """A conversation's messages; raises UnknownSessionError."""
        rows = self.database.read("SELECT owner FROM sessions WHERE id = ?", (id,))
        if not rows or owner not in (None, rows[0][0]):
            raise UnknownSessionError(f"没有对话 {id[:40]!r}")
        return Transcript(self.database, id, rows[0][0], exists=True)

    def sessions(self, *, owner: str | None, limit: int = 100) -> list[SessionSummary]:
        """The conversations that have messages, the last used first."""
        return self._summaries(owner, limit=limit)

    def summary(self, id: str, *, owner: str | None) -> SessionSummary:
        """One conversation's line in the list; raises UnknownSessionError, also when it has no message."""
        found = self._summaries(owner, id=id)
        if not found:
            raise UnknownSessionError(f"没有对话 {id[:40]!r}")
        return found[0]

    def find(self, text: str, *, owner: str | None, listed_by: str = "chitchat sessions") -> str:
        """The id that `last`, an id or its beginning means; raises UnknownSessionError when that is none, or several.

        `listed_by` is the command that lists them where the user is.

        For a user at the keyboard: never with `owner` None for a visitor, who could find an id letter by letter.
        """
        if text == "last":
            if not (latest := self.sessions(owner=owner, limit=1)):
                raise UnknownSessionError("还没有保存过对话")
            return latest[0].id
        condition, owners = _owned_by(owner)
        query = f"SELECT id FROM sessions WHERE substr(id, 1, ?) = ? AND {condition} LIMIT 2"
        found = self.database.read(query, (len(text), text, *owners)) if text else []
        if len(found) != 1:
            what = f"不止一段对话以 {text!r} 开头：请多写几位" if found else f"没有对话 {text[:40]!r}：{listed_by} 列出全部"
            raise UnknownSessionError(what)
        return str(found[0][0])

    def search(self, text: str, *, owner: str | None, limit: int = 50) -> list[Hit]:
        """Messages that hold every word of `text`, Latin letters in either case, the newest first.

        A plain scan: 15 to 40 ms of a core for 100,000 messages, and no index that could keep what is forgotten.
        """
        words = text.split()
        if not words:
            raise StoreError("搜索的词是空的")
        # without a subquery for everyone's, or SQLite would go through an index: twice as slow
        whose = "" if owner is None else " AND session_id IN (SELECT id FROM sessions WHERE owner = ?)"
        owners = () if owner is None else (owner,)
        like = " AND ".join(["content LIKE ? ESCAPE '\\'"] * len(words))
        patterns = ["%" + re.sub(r"[\\%_]", r"\\\g<0>", word) + "%" for word in words]
        rows = self.database.read(
            "SELECT session_id, id, role, content, created FROM messages"
            f" WHERE {like} AND replaced_by IS NULL{whose}"
            " ORDER BY id DESC LIMIT ?",
            (*patterns, *owners, limit),
        )
        summaries = {id: self.summary(id, owner=owner) for id in {row[0] for row in rows}}
        return [Hit(summaries[s], i, role, content, datetime.fromtimestamp(at)) for s, i, role, content, at in rows]

    def said(self, *, owner: str | None, limit: int) -> list[str]:
        """What the user said last in any conversation, the newest last; what was said again only there."""
        query = (
            "SELECT content FROM messages m JOIN sessions s ON s.id = session_id"
            " WHERE role = 'user' AND replaced_by IS NULL AND (?1 IS NULL OR owner = ?1)"
            " GROUP BY content ORDER BY max(m.id) DESC LIMIT ?2"
        )
        return [row[0] for row in reversed(self.database.read(query, (owner, limit)))]

    def rename(self, id: str, name: str, *, owner: str | None) -> None:
        """Names a conversation; an empty name shows the first words again."""
        name = " ".join(name.split())
        if len(name) > _MAX_NAME_CHARS:
            raise StoreError(f"名字太长（{len(name)} 字），最多 {_MAX_NAME_CHARS} 字")
        self.transcript(id, owner=owner)
        with self.database.write() as connection:
            connection.execute("UPDATE sessions SET name = ? WHERE id = ?", (name, id))

    def delete(self, id: str, *, owner: str | None) -> None:
        """Removes a conversation; its bytes may linger in the file until they are overwritten, which `forget` does at once."""
        self.transcript(id, owner=owner)
        with self.database.write() as connection:
            connection.execute("DELETE FROM sessions WHERE id = ?", (id,))
            connection.execute("DELETE FROM exports WHERE id NOT IN (SELECT export_id FROM exported)")

    def forget(self, id: str, *, owner: str | None) -> Forgotten:
        """Removes a conversation so that no byte of it is left in the store's files, and tells what was made from it.

        Where the bytes cannot be cleared away, as while another program reads, the result's `lingers` says why.
        """
        self.transcript(id, owner=owner)
        exports = self.exports(id)
        (number,) = self.database.read("SELECT count(*) FROM messages WHERE session_id = ?", (id,))[0]
        self.delete(id, owner=owner)
        try:
            self.database.scrub()
        except StoreError as error:
            return Forgotten(number, tuple(exports), error)
        return Forgotten(number, tuple(exports))

    def expire(self, age: timedelta) -> int:
        """Removes conversations untouched for longer than `age`, as `forget` does, and returns how many."""
        with self.database.write() as connection:
            oldest = time.time() - age.total_seconds()
            number = connection.execute("DELETE FROM sessions WHERE updated < ?", (oldest,)).rowcount
            connection.execute("DELETE FROM exports WHERE id NOT IN (SELECT export_id FROM exported)")
        if number:
            self.database.scrub()
        return number

    def exports(self, id: str) -> list[Export]:
        """The files known to have been made from a conversation, each as it was written last."""
        query = (
            "SELECT path, format, sha256, created FROM exports WHERE id IN"
            " (SELECT max(id) FROM exports JOIN exported ON export_id = id WHERE session_id = ? GROUP BY path) ORDER BY id"
        )
        return [Export(Path(p), f, h, datetime.fromtimestamp(at)) for p, f, h, at in self.database.read(query, (id,))]

    def record_export(self, path: Path, format: str, ids: list[str]) -> None:
        """Remembers that a file was made from these conversations, so that `forget` can tell."""
        with self.database.write() as connection:
            row = (str(path.resolve()), format, sha256_of(path), time.time())
            added = connection.execute("INSERT INTO exports (path, format, sha256, created) VALUES (?, ?, ?, ?)", row).lastrowid
            connection.executemany("INSERT INTO exported SELECT ?, id FROM sessions WHERE id = ?", [(added, id) for id in ids])

    def _summaries(self, owner: str | None, *, id: str | None = None, limit: int = 1) -> list[SessionSummary]:
        condition, parameters = _owned_by(owner)
        if id is not None:
            condition, parameters = f"{condition} AND id = ?", (*parameters, id)
        standing = "FROM messages WHERE session_id = s.id AND replaced_by IS NULL"
        rows = self.database.read(
            "SELECT id, owner, name, created, updated,"
            f" (SELECT count(*) {standing}), (SELECT content {standing} ORDER BY id LIMIT 1)"
            f" FROM sessions s WHERE {condition} AND EXISTS (SELECT 1 {standing}) ORDER BY updated DESC LIMIT ?",
            (*parameters, limit),
        )
        return [
            SessionSummary(i, owner, name, datetime.fromtimestamp(made), datetime.fromtimestamp(used), number, first)
            for i, owner, name, made, used, number, first in rows
        ]


def _owned_by(owner: str | None) -> tuple[str, tuple[str, ...]]:
    """An SQL condition on `sessions`, with its parameters."""
    return ("TRUE", ()) if owner is None else ("owner = ?", (owner,))


def store_path(config: StoreConfig) -> Path | None:
    """Where conversations are kept: None for nowhere, the user's data folder unless told otherwise."""
    if config.ephemeral:
        return None
    if config.store:
        return Path(config.store).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_dir("chitchat")) / "conversations.db"


def open_store(config: StoreConfig) -> Store:
    """The store that a configuration asks for, rid of what is too old."""
    store = Store(store_path(config))
    if config.max_age is not None:
        store.expire(config.max_age)
    return store
