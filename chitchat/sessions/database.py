"""One SQLite file: opened or refused, brought up to date, written in short transactions, scrubbed.

Knows the tables only as numbered migrations. Safe from several threads (one connection behind a lock) and several
processes (WAL, `BEGIN IMMEDIATE`, a busy timeout).
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chitchat.errors import StoreError

_APPLICATION_ID = 0x43484154
"""`CHAT` in the file's header: what tells our file from any other SQLite file (https://www.sqlite.org/fileformat2.html)."""
_BUSY_SECONDS = 20.0
"""How long to wait for another process; a transaction of ours takes milliseconds, only `scrub` of a large file seconds."""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            name TEXT NOT NULL DEFAULT '',
            created REAL NOT NULL,
            updated REAL NOT NULL
        )""",
        # `answers`: the user's message that a reply is to. `replaced_by`: what stands in its place; NULL for what stands.
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            content TEXT NOT NULL,
            created REAL NOT NULL,
            answers INTEGER REFERENCES messages ON DELETE CASCADE,
            replaced_by INTEGER REFERENCES messages ON DELETE CASCADE
        )""",
        # Apart from the messages, because the candidates are many times their size and a search reads every message.
        """CREATE TABLE replies (
            message_id INTEGER PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
            origin TEXT NOT NULL CHECK (origin IN ('bot', 'pick', 'correction')),
            rating INTEGER NOT NULL DEFAULT 0 CHECK (rating IN (-1, 0, 1)),
            reason TEXT NOT NULL DEFAULT '',
            seconds REAL NOT NULL,
            model TEXT NOT NULL,
            decoding TEXT NOT NULL,
            candidates BLOB NOT NULL
        )""",
        """CREATE TABLE exports (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL,
            format TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            created REAL NOT NULL
        )""",
        """CREATE TABLE exported (
            export_id INTEGER NOT NULL REFERENCES exports ON DELETE CASCADE,
            session_id TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
            PRIMARY KEY (export_id, session_id)
        ) WITHOUT ROWID""",
        "CREATE INDEX sessions_by_update ON sessions (updated)",
        "CREATE INDEX sessions_by_owner ON sessions (owner, updated)",
        "CREATE INDEX messages_by_session ON messages (session_id, replaced_by)",
        "CREATE INDEX messages_by_question ON messages (answers)",
        # partial, or a search would go through it instead of the table: three times as slow
        "CREATE INDEX messages_by_successor ON messages (replaced_by) WHERE replaced_by IS NOT NULL",
        "CREATE INDEX exported_by_session ON exported (session_id)",
    ),
)
"""Statements that lead from version n to n + 1 of `PRAGMA user_version`. Never changed once released; new ones are appended."""


class Database:
    """The store's file, or a private one in memory when `path` is None.

    A new file is readable by its user only. Raises StoreError for a file that is no store of ours (which is left as it was),
    is damaged, is from a newer version, or cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.place = str(path) if path else "内存"
        if path is not None:
            _create(path)
        self._lock = threading.RLock()
        with self._explained():
            self._connection = sqlite3.connect(
                path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            weakref.finalize(self, self._connection.close)
            self._check_is_ours()
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA secure_delete = ON")
            # VACUUM copies everything; not into a file under /tmp
            self._connection.execute("PRAGMA temp_store = MEMORY")
            self._migrate()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query; nothing stays open that would keep another process from writing."""
        with self._lock, self._explained():
            return self._connection.execute(sql, parameters).fetchall()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk when this ends, none of it when it raises."""
        with self._lock, self._explained():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def scrub(self) -> None:
        """Leaves no byte of deleted rows in the file or its WAL; takes a second for each 100 MB or so.

        `secure_delete` overwrites what is deleted, but not the copies that a page keeps when its cells move: VACUUM does.
        """
        with self._lock, self._explained():
            self._truncate_wal()  # first, so that the overwritten pages reach the file before it shrinks
            self._connection.execute("VACUUM")
            self._truncate_wal()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _truncate_wal(self) -> None:
        is_busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise StoreError(f"{self.place}：内容已删除，但另一个程序正在读，旧页面还没有清掉；请关掉它，再运行 chitchat forget")

    def _check_is_ours(self) -> None:
        """Before anything is written: only an empty file is taken for a new store."""
        try:
            # in this order: another process may fill an empty file in between
            is_ours = self._pragma("page_count") == 0 or self._pragma("application_id") == _APPLICATION_ID
        except sqlite3.DatabaseError as error:
            if "not a database" not in str(error):
                raise
            is_ours = False
        if not is_ours:
            self._connection.close()
            raise StoreError(f"{self.place} 不是 chitchat 的对话库（原样未动）；请用 --store 换一个文件")

    def _migrate(self) -> None:
        if self._pragma("user_version") == len(MIGRATIONS):
            return
        with self.write() as connection:
            version = self._pragma("user_version")  # again: another process may have come first
            if version > len(MIGRATIONS):
                raise StoreError(
                    f"{self.place} 是更新版本的 chitchat 写的（第 {version} 版，本程序认到 {len(MIGRATIONS)}）：请升级 chitchat"
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            reason = next((text for part, text in _REASONS.items() if part in str(error)), str(error))
            raise StoreError(f"对话库 {self.place}：{reason}") from error


_REASONS = {
    "locked": "正被另一个程序占用，等了很久；请稍后再试",
    "disk is full": "磁盘已满；请腾出空间再试",
    "malformed": "文件已损坏；请先另存一份，再用 sqlite3 的 .recover 抢救，或用 --store 换一个文件",
    "not a database": "文件已损坏；请用 --store 换一个文件",
    "readonly": "没有写入权限；请用 --store 换一个位置，或用 --ephemeral 不保存对话",
    "unable to open": "打不开；请检查权限，用 --store 换一个位置，或用 --ephemeral 不保存对话",
    "disk I/O": "读写磁盘出错；请看磁盘是否已满或损坏",
    "closed": "已经关闭",
}


def _create(path: Path) -> None:
    """Makes an empty file for a new store, for its user only; SQLite's own anyone may read. The WAL takes its mode from it.

    An existing file is not opened here: closing it would drop the locks that this process holds on it through SQLite
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"建不了对话库 {path}：{reason}；请用 --store 换一个位置，或用 --ephemeral 不保存对话") from None
