"""Judging at a prompt and through a pipe, from the question to the table."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from chitchat.errors import ChitchatError
from chitchat.evaluation.arena import CHOICES, Arena, Contestant, VoteFile, read_votes
from chitchat.evaluation.standings import HEADINGS, remarks, table
from chitchat.frontends.terminal.arena import ArenaTerminal

ROOT = Path(__file__).resolve().parents[2]
PAIR = (Contestant("secret-a", lambda context: f"说说{context[-1]}吧"), Contestant("secret-b", lambda context: "哦"))
CONTEXTS = [("你好",), ("好累", "歇会儿", "歇不了")]


class Pipe:
    """A terminal front end over streams in memory."""

    def __init__(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        stdin = io.TextIOWrapper(io.BytesIO(data), encoding="ascii")
        self.terminal = ArenaTerminal(stdin=stdin, stdout=self.stdout, stderr=self.stderr)

    def ask(self) -> str | None:
        return self.terminal.ask("还有 1 题", ("你好", "嗨", "困"), ("去睡吧", "\x1b[31m哦\n\n哦"), CHOICES)


def test_a_question_shows_context_and_replies_safely_and_aside_from_results() -> None:
    pipe = Pipe("1\n")
    assert pipe.ask() == "1"
    shown = pipe.stderr.getvalue()
    lines = ["还有 1 题", "你 › 你好", "对方 › 嗨", "你 › 困", "  1  去睡吧", "  2  [31m哦 哦"]
    assert shown.strip().splitlines()[:6] == lines and "都不行" in shown
    assert pipe.stdout.getvalue() == ""


@pytest.mark.parametrize(
    ("typed", "key"),
    [("2", "2"), (" ２ \r", "2"), ("＝", "="), ("平", "="), ("X", "x"), ("ｘ", "x"), ("都不行", "x"), ("跳过", "s"), ("Q", "q")],
)
def test_answers_are_taken_as_chinese_keyboards_give_them(typed: str, key: str) -> None:
    assert Pipe(typed + "\n").ask() == key


def test_the_end_of_a_pipe_is_no_answer_and_a_wrong_line_is_named() -> None:
    assert Pipe("").ask() is None
    pipe = Pipe("1\n3\n")
    pipe.ask()
    with pytest.raises(ChitchatError, match=r"第 2 行：答案应为 1 2 = x s u q 之一，得到 '3'"):
        pipe.ask()
    with pytest.raises(ChitchatError, match="第 1 行起不是 UTF-8"):
        Pipe("都不行\n".encode("gbk")).ask()


def test_messages_are_read_until_exit() -> None:
    terminal = Pipe("\n 下雨了 \n/reset\n/exit\n没带伞\n").terminal
    assert [terminal.listen(), terminal.listen(), terminal.listen()] == ["下雨了", "/reset", None]


def test_votes_through_a_pipe_and_the_table_on_stdout(tmp_path: Path) -> None:
    pipe = Pipe("都不行\nu\n=\n平\n")
    votes = VoteFile(tmp_path / "v.jsonl")
    Arena(PAIR, pipe.terminal, votes).vote_on(CONTEXTS)
    assert "secret" not in pipe.stderr.getvalue()  # blind
    pipe.terminal.table(HEADINGS, table(votes.votes), remarks(votes.votes))
    lines = pipe.stdout.getvalue().splitlines()
    assert [line.split("\t")[:5] for line in lines] == [
        ["选手", "胜", "平", "负", "都不行"],
        ["secret-a", "0", "2", "0", "0"],
        ["secret-b", "0", "2", "0", "0"],
    ]
    assert "Wilson" in pipe.stderr.getvalue()


VOTE = """
import sys
from pathlib import Path
from chitchat.evaluation.arena import Arena, Contestant, VoteFile
from chitchat.evaluation.standings import HEADINGS, remarks, table
from chitchat.frontends.terminal.arena import ArenaTerminal

pair = Contestant("first", lambda c: "说说" + c[-1]), Contestant("second", lambda c: "哦")
terminal, votes = ArenaTerminal(), VoteFile(Path("votes.jsonl"))
arena = Arena(pair, terminal, votes)
arena.vote_live() if "live" in sys.argv else arena.vote_on([("你好",), ("好累",), ("下雨了",)])
terminal.table(HEADINGS, table(votes.votes), remarks(votes.votes))
"""


@pytest.fixture
def prompt(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[pexpect.spawn[str]]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "NO_COLOR": "1",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }
    child = pexpect.spawn(
        sys.executable,
        ["-c", VOTE, getattr(request, "param", "file")],
        cwd=tmp_path,
        env=environment,
        encoding="utf-8",
        timeout=20,
        dimensions=(40, 120),
    )
    yield child
    child.close(force=True)


def test_at_the_prompt_a_wrong_key_is_asked_again_and_ctrl_c_keeps_the_votes(prompt: pexpect.spawn[str], tmp_path: Path) -> None:
    prompt.expect("你 › 你好")
    prompt.expect("哪个好 ›")
    prompt.send("3\r")
    prompt.expect("请输入其中之一")
    prompt.expect("哪个好 ›")
    prompt.send("=\r")
    prompt.expect("你 › 好累")
    prompt.expect("哪个好 ›")
    prompt.sendintr()
    prompt.expect("first.*0（基准）")
    prompt.expect(pexpect.EOF)
    assert [v.context for v in read_votes(tmp_path / "votes.jsonl")] == [("你好",)]


@pytest.mark.parametrize("prompt", ["live"], indirect=True)
def test_at_the_prompt_the_user_leads(prompt: pexpect.spawn[str], tmp_path: Path) -> None:
    prompt.expect("你 ›")
    prompt.send("下雨了\r")
    prompt.expect("哪个好 ›")
    prompt.send("=\r")
    prompt.expect("接着聊：")
    prompt.expect("你 ›")
    prompt.sendeof()
    prompt.expect("first.*50.0%")
    prompt.expect(pexpect.EOF)
    assert [v.verdict for v in read_votes(tmp_path / "votes.jsonl")] == ["tie"]
