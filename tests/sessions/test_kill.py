"""Killed at any moment, a store holds everything that was shown, and is sound.

`python tests/sessions/test_kill.py 200` kills 200 processes.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WRITER = """
import os, random, sys
from pathlib import Path
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store
import json

def show(role, text):  # in one write, as a screen is painted
    os.write(1, (json.dumps([session.id, role, text]) + "\\n").encode())

class Echo:
    def generate(self, context, decoding):
        show("user", context[-1])
        texts = ("".join(map(chr, random.sample(HAN, random.randrange(2, 300)))) for _ in range(8))
        return [Candidate(text) for text in texts]

HAN = range(0x4E00, 0x9FA5)

random.seed(int(sys.argv[2]))
chatbot = Chatbot([Echo()], None, None, Ranker(), DecodingConfig())
session = Session(chatbot, store=Store(Path(sys.argv[1])))
for turn in range(10**9):
    act = random.choice([lambda: session.say(f"第{turn}句"), session.retry, lambda: session.pick(random.randrange(8))])
    if turn == 0 or random.random() < 0.5:
        act = lambda: session.say(f"第{turn}句")
    show("assistant", act().text)
    if random.random() < 0.05:
        session = Session(chatbot, store=session.store)
        session.say("换个话题")
"""


def kill_writers(path: Path, kills: int, *, at_once: int = 5, seed: int = 0) -> int:
    """Kills `kills` processes that write one store, `at_once` of them at a time; returns how many messages they had shown."""
    dice = random.Random(seed)
    shown: set[tuple[str, str, str]] = set()
    for start in range(0, kills, at_once):
        command = [sys.executable, "-c", WRITER, str(path)]
        numbers = range(start, min(start + at_once, kills))
        writers = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE) for number in numbers]
        streams = [w.stdout for w in writers if w.stdout is not None]
        lines = [stream.readline() for stream in streams]  # all are writing now
        for writer in dice.sample(writers, len(writers)):
            time.sleep(dice.uniform(0, 0.05))
            writer.kill()
        for stream, first in zip(streams, lines, strict=True):
            complete = (first + stream.read()).decode().split("\n")[:-1]
            shown |= {tuple(json.loads(line)) for line in complete}
            stream.close()
        for writer in writers:
            assert writer.wait() == -9
        _check(path, shown)
    return len(shown)


def _check(path: Path, shown: set[tuple[str, str, str]]) -> None:
    connection = sqlite3.connect(path)
    stored = set(connection.execute("SELECT session_id, role, content FROM messages"))
    faults = connection.execute("PRAGMA integrity_check").fetchall(), connection.execute("PRAGMA foreign_key_check").fetchall()
    lone = connection.execute(
        "SELECT count(*) FROM messages WHERE role = 'assistant' AND id NOT IN (SELECT message_id FROM replies)"
    )
    assert lone.fetchone() == (0,)
    connection.close()
    assert shown <= stored
    assert faults == ([("ok",)], [])


def test_kill_9_loses_nothing_shown(tmp_path: Path) -> None:
    assert kill_writers(tmp_path / "talks.db", 10) >= 10  # each got so far as to show something


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "talks.db"
        number = kill_writers(file, int(sys.argv[1]))
        print(
            f"{sys.argv[1]} kills, {number} messages shown and all kept, {file.stat().st_size / 1e6:.1f} MB, integrity_check ok"
        )
