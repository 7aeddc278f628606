"""`chitchat sessions`, `forget` and `feedback`, as typed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from chitchat.cli import main
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Run:
    def typed(*argv: str, at: str = str(store.path)) -> tuple[int, str, str]:
        try:
            code = main([*argv, "--store", at])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return typed


def test_from_the_list_to_the_last_word(run: Run, talk: Callable[..., Session], tmp_path: Path) -> None:
    talk("昨天的事")
    session = talk("你好\x1b[31m", "我的电话是13812345678", owner="访客甲")
    session.rate(-1, "不该念")
    session.correct("好的")
    code, out, _ = run("sessions")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == [session.id[:8], out.splitlines()[1].split()[0]]
    assert "（访客）" in out.splitlines()[0] and "\x1b" not in out and "昨天的事" in out.splitlines()[1]
    assert run("sessions", "search", "电话", "我的")[1].endswith("你：我的电话是13812345678\n")
    assert run("sessions", "rename", "last", "新", "名字")[1].endswith("新 名字（访客）\n")
    _, out, _ = run("sessions", "show", session.id[:8])
    assert session.id in out and out.endswith("小叙：好的\n") and "\x1b" not in out
    _, out, _ = run("sessions", "export", "last", "--format", "training")
    assert [m["role"] for m in json.loads(out)["messages"]] == ["user", "assistant"] * 2 and "138" not in out
    code, out, _ = run("feedback", "export", "--output", str(tmp_path / "dpo.jsonl"))
    assert code == 0 and "1 条，来自 1 段对话" in out
    _, out, _ = run("forget", session.id[:8])
    assert "6 条消息" not in out and "5 条消息" in out and "dpo.jsonl（dpo" in out and "还在" in out
    assert run("forget")[0] == 0
    assert run("sessions", "delete", "last")[0] == 0
    assert run("sessions")[1] == ""


def test_files_are_named_also_when_another_program_keeps_the_old_pages(
    run: Run, talk: Callable[..., Session], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chitchat.sessions.database._BUSY_SECONDS", 0.1)
    session = talk("你好")
    run("sessions", "export", "last", "--output", str(tmp_path / "kept.md"))
    reader = sqlite3.connect(str(store.path), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM messages").fetchall()
    code, out, err = run("forget", session.id)
    reader.close()
    assert code == 2 and "chitchat forget" in err
    assert "一个字也不剩" not in out and "2 条消息" in out and "kept.md（md" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["sessions", "show", "zz"], "zz"),
        (["sessions", "show"], "缺少参数 ID"),
        (["sessions", "list", "--limit", "0"], "--limit"),
        (["sessions", "export", "last", "--format", "pdf"], "pdf"),
        (["sessions", "search", "　"], "空"),
        (["forget", "last"], "还没有"),
        (["feedback", "export", "--output", "f.jsonl"], "还没有"),
    ],
)
def test_mistakes_are_told_in_a_line(run: Run, argv: list[str], message: str) -> None:
    code, _, err = run(*argv)
    assert code == 2 and message in err and "Traceback" not in err


def test_looking_makes_no_store(run: Run, tmp_path: Path) -> None:
    code, _, err = run("sessions", at=str(tmp_path / "none.db"))
    assert code == 2 and "none.db" in err and not (tmp_path / "none.db").exists()
