"""Conversations that are kept: found again, kept apart, and gone when they are to be gone."""

from __future__ import annotations

import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from chitchat.config import DecodingConfig, StoreConfig
from chitchat.dialogue import Reply
from chitchat.engine.chatbot import Chatbot
from chitchat.errors import ConfigError, StoreError, UnknownSessionError
from chitchat.sessions.database import MIGRATIONS
from chitchat.sessions.export import export_file
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store, open_store, store_path

Talk = Callable[..., Session]


def bytes_of(store: Store) -> bytes:
    """Everything in the store's files."""
    assert store.path is not None
    return b"".join(p.read_bytes() for p in store.path.parent.iterdir())


# Finding again


def test_conversations_are_listed_last_used_first(talk: Talk, store: Store) -> None:
    first, second = talk("今天好累啊"), talk("周末去哪儿玩好呢，我想了很久也没想出来一个地方")
    talk()  # nothing was said in it
    first.say("睡不着")
    listed = store.sessions(owner="")
    assert [s.id for s in listed] == [first.id, second.id]
    assert [s.num_messages for s in listed] == [4, 2]
    assert [s.title for s in listed] == ["今天好累啊", "周末去哪儿玩好呢，我想了很久也没想出来一…"]
    assert store.sessions(owner="", limit=1) == listed[:1]


def test_a_name_stands_for_the_first_words(talk: Talk, store: Store) -> None:
    session = talk("今天好累啊")
    store.rename(session.id, "  加班\n的一天 ", owner="")
    assert session.name == "加班 的一天"
    store.rename(session.id, "", owner="")
    assert session.name == "今天好累啊"
    with pytest.raises(StoreError, match="100"):
        store.rename(session.id, "长" * 101, owner="")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("火锅", ["我们去吃火锅吧", "说说我们去吃火锅吧吧"]),
        ("锅　我们", ["我们去吃火锅吧", "说说我们去吃火锅吧吧"]),
        ("GPT_2", ["聊聊gpt_2", "说说聊聊gpt_2吧"]),
        ("100%", ["有100%把握", "说说有100%把握吧"]),
        ("火锅 把握", []),
        ("\\", []),
    ],
)
def test_search_finds_every_word(talk: Talk, store: Store, query: str, found: list[str]) -> None:
    session = talk("我们去吃火锅吧", "聊聊gpt_2", "gptX2是什么", "有100%把握", "有1000把握")
    hits = store.search(query, owner="")
    assert sorted(h.content for h in hits) == sorted(found)
    assert {h.session.id for h in hits} <= {session.id}


def test_search_is_quick_in_a_large_store(store: Store) -> None:
    with store.database.write() as connection:
        connection.execute("INSERT INTO sessions VALUES ('a', '', '', 0, 0)")
        rows = (("a", "user", f"第{i}句，今天天气不错，我们出去走走好不好呀", i) for i in range(100_000))
        connection.executemany("INSERT INTO messages (session_id, role, content, created) VALUES (?, ?, ?, ?)", rows)
    started = time.process_time()
    assert store.search("没说过的 话", owner="") == []
    assert time.process_time() - started < 0.3  # some 40 ms on a quiet core


def test_an_id_may_be_cut_short_when_that_is_clear(talk: Talk, store: Store) -> None:
    first, second = talk("一"), talk("二")
    assert store.find("last", owner="") == second.id
    assert store.find(first.id, owner="") == store.find(first.id[:20], owner="") == first.id
    for text in ("", "zz", first.id[:20] + "z"):
        with pytest.raises(UnknownSessionError):
            store.find(text, owner="")
    ids = {s.id for s in (talk("多") for _ in range(16))} | {first.id, second.id}
    shared = next(d for d in "0123456789abcdef" if sum(i.startswith(d) for i in ids) > 1)
    with pytest.raises(UnknownSessionError, match="不止一段"):
        store.find(shared, owner="")


# Kept apart


def test_one_owner_never_meets_another_s(talk: Talk, store: Store, echo: Chatbot) -> None:
    mine, other = talk("我的秘密", owner="甲"), talk("别的事", owner="乙")
    attempts: list[Callable[[str, str], object]] = [
        lambda id, owner: Session.resume(echo, store, id, owner=owner),
        lambda id, owner: store.summary(id, owner=owner),
        lambda id, owner: store.transcript(id, owner=owner),
        lambda id, owner: store.find(id, owner=owner),
        lambda id, owner: store.rename(id, "名", owner=owner),
        lambda id, owner: store.delete(id, owner=owner),
        lambda id, owner: store.forget(id, owner=owner),
    ]
    for attempt in attempts:
        errors = []
        for id in (mine.id, "0" * 24):  # another's, and none at all: the same answer
            with pytest.raises(UnknownSessionError) as caught:
                attempt(id, "乙")
            errors.append(str(caught.value).replace(id, "ID"))
        assert errors[0] == errors[1]
    assert store.search("秘密", owner="乙") == []
    assert [s.id for s in store.sessions(owner="乙")] == [other.id]
    assert len(store.sessions(owner=None)) == 2
    assert store.sessions(owner="") == []


def test_ids_cannot_be_guessed(talk: Talk) -> None:
    ids = {talk("你好").id for _ in range(20)}
    assert len(ids) == 20 and all(len(i) == 24 for i in ids)
    assert len({i[:4] for i in ids}) > 15


# Several at once


def test_threads_share_a_store(echo: Chatbot, store: Store) -> None:
    def chat(number: int) -> None:
        session = Session(echo, store=store, owner=str(number))
        for turn in range(5):
            session.say(f"{number}号第{turn}句")

    threads = [threading.Thread(target=chat, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        (summary,) = store.sessions(owner=str(number))
        contents = [m.content for m in store.transcript(summary.id, owner=None).messages()]
        assert contents[::2] == [f"{number}号第{turn}句" for turn in range(5)]
        assert contents[1::2] == [f"说说{text}吧" for text in contents[::2]]


def test_processes_may_make_the_same_store_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from chitchat.sessions.store import Store\n"
        "Store(Path(sys.argv[1])).new_transcript('').ask('你好')"
    )
    path = tmp_path / "new.db"
    running = [subprocess.Popen([sys.executable, "-c", script, path]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len(Store(path).sessions(owner="")) == 4


def test_another_process_sees_what_was_said_at_once(talk: Talk, store: Store) -> None:
    session = talk("你好")
    other = Store(store.path)
    session.say("在吗")
    assert [m.content for m in other.transcript(session.id, owner="").messages()][2] == "在吗"
    other.delete(session.id, owner="")
    with pytest.raises(UnknownSessionError, match="已被删除"):
        session.say("还在吗")
    assert store.sessions(owner=None) == []


# The file


def test_only_the_user_may_read_the_files(talk: Talk, store: Store) -> None:
    talk("你好")
    assert store.path is not None
    files = list(store.path.parent.iterdir())
    assert len(files) == 3  # the WAL and its index too
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o600}
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


@pytest.mark.parametrize(
    "make",
    [
        other_database,
        lambda path: path.write_text("你好", encoding="utf-8"),
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000),
    ],
)
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "mine.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="mine.db"):
        Store(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_file_is_refused_and_left_alone(talk: Talk, store: Store) -> None:
    talk("你好")
    store.close()
    assert store.path is not None
    connection = sqlite3.connect(store.path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match="请升级"):
        Store(store.path)
    assert store.path.read_bytes() == before


def test_every_commit_reaches_the_disk(store: Store) -> None:
    """Only a power cut would tell."""
    assert store.database.read("PRAGMA synchronous")[0][0] == 2, "FULL"


def test_damage_is_told_in_words(talk: Talk, store: Store) -> None:
    session = talk(*(f"第{i}句" for i in range(30)))
    store.close()
    assert store.path is not None
    content = bytearray(store.path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    store.path.write_bytes(content)
    with pytest.raises(StoreError, match="已损坏"):
        Store(store.path).transcript(session.id, owner="").messages()


def test_a_place_that_cannot_be_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "talks.db", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(StoreError, match="--store"):
            Store(path)


# Gone


def test_forgetting_leaves_no_byte(talk: Talk, store: Store) -> None:
    kept, session = talk("平常的话", "还有"), talk("SECRET")
    session.retry()
    session.pick(1)
    session.rate(-1, "SECRET不好")
    session.say("SECRET二")
    session.edit(2, "SECRET改")
    session.correct("SECRET应该这样回")
    session.say("SECRET还有")
    session.undo()
    session.rename("SECRET名")
    assert b"SECRET" in bytes_of(store)
    assert store.forget(session.id, owner="").num_messages == 7
    assert b"SECRET" not in bytes_of(store)
    assert session.id.encode() not in bytes_of(store)
    assert len(kept.messages) == 4
    assert store.database.read("PRAGMA integrity_check")[0][0] == "ok"


@pytest.mark.parametrize("seed", [2, 5, 16, 21, 22])
def test_forgetting_finds_the_copies_that_sqlite_leaves(store: Store, seed: int) -> None:
    """Rows that grow move others to other pages; `secure_delete` does not see to what stays behind, VACUUM does.

    Not every order of growth leaves something behind; without VACUUM those of the seeds 2, 16, 21 and 22 do (SQLite 3.40).
    """
    store.database.read("PRAGMA synchronous = OFF")
    plain, secret = store.new_transcript(""), store.new_transcript("")
    for number in range(60):
        transcript, text = (plain, "平常") if number % 5 else (secret, "SECRET")
        transcript.answer(transcript.ask(text), Reply(text, (), 0.0), decoding=DecodingConfig(), model="")
    replies = [(t, m.id, m.content) for t in (plain, secret) for m in t.messages() if m.role == "assistant"]
    dice = random.Random(seed)
    for _ in range(300):
        transcript, message_id, text = dice.choice(replies)
        transcript.rate(message_id, 1, text * dice.choice([1, 20, 60, 150]))
    store.forget(secret.session_id, owner="")
    assert b"SECRET" not in bytes_of(store)


def test_forgetting_tells_when_another_program_is_in_the_way(talk: Talk, store: Store) -> None:
    session = talk("SECRET")
    store.database.read("PRAGMA busy_timeout = 100")
    assert store.path is not None
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    forgotten = store.forget(session.id, owner="")
    assert forgotten.num_messages == 2 and "chitchat forget" in str(forgotten.lingers)
    reader.close()
    store.database.scrub()
    assert b"SECRET" not in bytes_of(store)


def test_what_is_taken_back_whole_leaves_no_empty_conversation(talk: Talk, store: Store) -> None:
    def ids() -> set[str]:
        return {row[0] for row in store.database.read("SELECT id FROM sessions")}

    session, named, exported = talk("你好"), talk("你好"), talk("你好")
    named.rename("留着")
    export_file(store, exported.id, "md", store.path.with_name("a.md") if store.path else Path("a.md"), owner="")
    for each in (session, named, exported):
        each.undo()
    assert ids() == {named.id, exported.id}  # a name is the user's, and `forget` has to tell of the file
    with pytest.raises(RuntimeError):
        talk().say("崩溃")
    assert ids() == {named.id, exported.id}
    assert session.say("在吗").text and ids() == {session.id, named.id, exported.id}  # goes on where it was


def test_what_is_too_old_goes(talk: Talk, store: Store) -> None:
    old, new = talk("SECRET"), talk("新的")
    with store.database.write() as connection:
        week_ago = time.time() - 7 * 24 * 3600
        connection.execute("UPDATE sessions SET updated = ? WHERE id = ?", (week_ago, old.id))
    assert store.expire(timedelta(days=8)) == 0
    open_store(StoreConfig(store=str(store.path), expire="6d"))
    assert [s.id for s in store.sessions(owner="")] == [new.id]
    assert b"SECRET" not in bytes_of(store)


@pytest.mark.parametrize("text", ["30", "d", "0d", "-1d", "1.5h", "30 d", "三天"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="30d"):
        StoreConfig(expire=text)


def test_where_conversations_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert store_path(StoreConfig()) == tmp_path / "chitchat" / "conversations.db"
    assert store_path(StoreConfig(store="talks.db")) == Path("talks.db")
    assert store_path(StoreConfig(store="talks.db", ephemeral=True)) is None
    Session(Chatbot([], None, None, None, None), store=open_store(StoreConfig(ephemeral=True)))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
