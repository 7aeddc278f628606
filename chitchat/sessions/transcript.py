"""The rows of one conversation: what stands, what it replaced, what was thought of each reply.

A message is never changed in place: another reply, another candidate or another wording is a new row, and the old one's
`replaced_by` points to it. What stands has none. Knows no chatbot.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Reply, Role
from chitchat.errors import StoreError, UnknownSessionError
from chitchat.sessions.database import Database

Origin = Literal["bot", "pick", "correction"]
"""Who a reply comes from: the bot's own choice, a candidate the user preferred, or the user's own words."""

_STANDING = """
    SELECT m.id, role, content, created, coalesce(rating, 0), coalesce(reason, '')
    FROM messages m LEFT JOIN replies ON message_id = m.id
    WHERE session_id = ? AND replaced_by IS NULL
    ORDER BY coalesce(answers, m.id), m.id
"""
"""A reply follows its question even when another tab has asked something meanwhile."""
_REMOVE_EMPTY = """
    DELETE FROM sessions WHERE id = ?1 AND name = ''
    AND NOT EXISTS (SELECT 1 FROM messages WHERE session_id = ?1)
    AND NOT EXISTS (SELECT 1 FROM exported WHERE session_id = ?1)
"""


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it stands in a conversation."""

    id: int
    role: Role
    content: str
    created: datetime
    rating: int
    """1 for a thumb up, -1 for a thumb down, 0 for none; a user's message has none."""
    reason: str


class Transcript:
    """One conversation of a store; its row is made with the first message."""

    def __init__(self, database: Database, session_id: str, owner: str, *, exists: bool) -> None:
        self._database = database
        self.session_id = session_id
        self.owner = owner
        self._exists = exists

    def messages(self) -> list[StoredMessage]:
        """What stands, oldest first."""
        rows = self._database.read(_STANDING, (self.session_id,))
        return [StoredMessage(i, role, text, datetime.fromtimestamp(at), *rest) for i, role, text, at, *rest in rows]

    def replies_to(self, question: int) -> list[str]:
        """Every reply given to a user's message, oldest first, the one that stands last."""
        return [row[0] for row in self._database.read("SELECT content FROM messages WHERE answers = ? ORDER BY id", (question,))]

    def reply(self, message_id: int) -> Reply:
        """A reply with the candidates it was chosen from."""
        query = (
            "SELECT content, seconds, candidates FROM messages JOIN replies ON message_id = id WHERE id = ? AND session_id = ?"
        )
        rows = self._database.read(query, (message_id, self.session_id))
        if not rows:
            raise StoreError("没有这条回复：它可能已被撤回")
        text, seconds, candidates = rows[0]
        return Reply(text, read_candidates(candidates), seconds)

    def ask(self, text: str, *, instead_of: int | None = None) -> int:
        """Keeps a user's message and returns its id; one `instead_of` another sets that aside, and all that came after it."""
        with self._database.write() as connection:
            self._touch(connection)
            added = self._insert(connection, "user", text)
            if instead_of is not None:
                connection.execute(
                    "UPDATE messages SET replaced_by = ? WHERE session_id = ? AND id < ? AND coalesce(answers, id) >= ?"
                    " AND replaced_by IS NULL",
                    (added, self.session_id, added, instead_of),
                )
        self._exists = True
        return added

    def answer(self, question: int, reply: Reply, *, decoding: DecodingConfig, model: str) -> None:
        """Keeps a reply to a user's message, in place of the one that stood; what the message itself replaced goes for good.

        Raises StoreError when the message was taken back meanwhile.
        """
        with self._database.write() as connection:
            self._touch(connection)
            is_there = "SELECT 1 FROM messages WHERE id = ? AND session_id = ? AND replaced_by IS NULL"
            if not connection.execute(is_there, (question, self.session_id)).fetchone():
                raise StoreError("要回复的话已在别处被撤回")
            connection.execute("DELETE FROM messages WHERE replaced_by = ?", (question,))
            added = self._insert_reply(connection, reply.text, question)
            connection.execute(
                "INSERT INTO replies (message_id, origin, seconds, model, decoding, candidates) VALUES (?, 'bot', ?, ?, ?, ?)",
                (added, reply.seconds, model, json.dumps(asdict(decoding)), write_candidates(reply.candidates)),
            )

    def prefer(self, message_id: int, text: str, origin: Origin) -> int:
        """Keeps what the user would rather have heard in place of a reply, and returns its id.

        Raises StoreError when that reply no longer stands.
        """
        with self._database.write() as connection:
            self._touch(connection)
            is_there = "SELECT answers FROM messages WHERE id = ? AND session_id = ? AND replaced_by IS NULL"
            found = connection.execute(is_there, (message_id, self.session_id)).fetchone()
            if not found:
                raise StoreError("这条回复已在别处被换掉")
            added = self._insert_reply(connection, text, found[0])
            connection.execute(
                "INSERT INTO replies (message_id, origin, seconds, model, decoding, candidates)"
                " SELECT ?, ?, seconds, model, decoding, candidates FROM replies WHERE message_id = ?",
                (added, origin, message_id),
            )
        return added

    def take_back(self, question: int) -> None:
        """Removes a user's message with its replies; what it had replaced stands again.

        A conversation of which nothing is left goes too, unless it has a name or a file was made from it.
        """
        with self._database.write() as connection:
            self._touch(connection)
            connection.execute("UPDATE messages SET replaced_by = NULL WHERE replaced_by = ?", (question,))
            connection.execute("DELETE FROM messages WHERE id = ? AND session_id = ?", (question, self.session_id))
            is_left = connection.execute(_REMOVE_EMPTY, (self.session_id,)).rowcount == 0
        self._exists = is_left

    def rate(self, message_id: int, rating: int, reason: str) -> None:
        """What the user thinks of a reply, in place of what was thought before."""
        with self._database.write() as connection:
            self._touch(connection)
            connection.execute("UPDATE replies SET rating = ?, reason = ? WHERE message_id = ?", (rating, reason, message_id))

    def clear(self) -> None:
        """Removes every message."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM messages WHERE session_id = ?", (self.session_id,))

    def _touch(self, connection: sqlite3.Connection) -> None:
        """Raises UnknownSessionError when the conversation was removed meanwhile: it must not come back without its start."""
        if not self._exists:
            connection.execute(
                "INSERT INTO sessions (id, owner, created, updated) VALUES (?, ?, ?, ?)",
                (self.session_id, self.owner, time.time(), time.time()),
            )
        elif not connection.execute("UPDATE sessions SET updated = ? WHERE id = ?", (time.time(), self.session_id)).rowcount:
            raise UnknownSessionError("这段对话已被删除；请开始新的对话")

    def _insert(self, connection: sqlite3.Connection, role: Role, text: str, answers: int | None = None) -> int:
        cursor = connection.execute(
            "INSERT INTO messages (session_id, role, content, created, answers) VALUES (?, ?, ?, ?, ?)",
            (self.session_id, role, text, time.time(), answers),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _insert_reply(self, connection: sqlite3.Connection, text: str, question: int) -> int:
        added = self._insert(connection, "assistant", text, question)
        stood = "UPDATE messages SET replaced_by = ? WHERE answers = ? AND id < ? AND replaced_by IS NULL"
        connection.execute(stood, (added, question, added))
        return added


_DEFAULTS = {f.name: {} if f.default is MISSING else f.default for f in fields(Candidate) if f.name != "text"}


def write_candidates(candidates: Sequence[Candidate]) -> bytes:
    """Compressed JSON, a quarter of the size; without what is a default, as most of a candidate that was never scored is."""
    rows = [{n: v for n in Candidate.__slots__ if (v := getattr(c, n)) != _DEFAULTS.get(n)} for c in candidates]
    return zlib.compress(json.dumps(rows, ensure_ascii=False, separators=(",", ":"), default=_plain).encode(), level=1)


def read_candidates(data: bytes) -> tuple[Candidate, ...]:
    """What `write_candidates` wrote, by this version or an older one."""
    rows = json.loads(zlib.decompress(data))
    return tuple(Candidate(**{**row, "origin": tuple(row.get("origin", ()))}) for row in rows)


def _plain(value: Any) -> Any:
    """A mapping of features, or a NumPy number, as JSON knows it."""
    return dict(value) if hasattr(value, "keys") else float(value)
