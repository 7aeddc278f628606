"""The terminal front end: pipes in process, the prompt on a real pseudo-terminal."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from chitchat.config import DecodingConfig
from chitchat.engine.chatbot import Chatbot
from chitchat.frontends.terminal.prompt import run_terminal
from chitchat.sessions.session import Session

ROOT = Path(__file__).resolve().parents[2]


class Result:
    """What a pipe gave."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        self.lines = stdout.splitlines()


@pytest.fixture
def session(tiny_chatbot: Chatbot) -> Session:
    return Session(tiny_chatbot, DecodingConfig(num_candidates=3, max_new_tokens=24, temperature=0.05, seed=1))


def pipe(session: Session, text: str | bytes) -> Result:
    data = text.encode() if isinstance(text, str) else text
    stdin = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    stdout, stderr = io.StringIO(), io.StringIO()
    code = run_terminal(session, stdin=stdin, stdout=stdout, stderr=stderr)
    return Result(code, stdout.getvalue(), stderr.getvalue())


def test_a_piped_line_gives_just_the_reply(session: Session) -> None:
    result = pipe(session, "你好\n")
    assert (result.code, result.stdout, result.stderr) == (0, "你好呀，今天过得怎么样？\n", "")


def test_lines_are_turns_of_one_conversation_and_blank_ones_are_skipped(session: Session) -> None:
    result = pipe(session, "\ufeff今天好累啊\r\n\n   \n睡不着")
    assert result.lines == ["辛苦了，早点休息吧。", "听点轻音乐试试？"]
    assert [m.role for m in session.history] == ["user", "assistant"] * 2
    assert session.history[0].content == "今天好累啊"


def test_candidates_in_a_pipe_are_a_plain_table_on_stdout(session: Session) -> None:
    result = pipe(session, "你好\n/candidates\n")
    heading, first, *_ = result.lines[1:]
    assert heading.split("\t") == ["名次", "回复", "正向", "反向", "得分", "来源/淘汰原因"]
    rank, text, forward, reverse, score, source = first.split("\t")
    assert (rank, text, source) == ("1", "你好呀，今天过得怎么样？", "模型")
    assert -3 < float(forward) <= 0 and -3 < float(reverse) <= 0 and float(score) < 10
    assert session.last_reply is not None
    assert len(result.lines) == 2 + len(session.last_reply.candidates)


def test_retry_undo_and_reset(session: Session) -> None:
    result = pipe(session, "你好\n/retry\n/undo\n/reset\n/candidates\n")
    assert len(result.lines) == 2
    assert "已撤回：你好" in result.stderr and "第 5 行：还没有回复" in result.stderr
    assert (result.code, session.history) == (2, [])


def test_set_changes_the_decoding_of_the_next_reply(session: Session) -> None:
    result = pipe(session, "/set temperature 0.8\n/set top-k=7\n/set max_new_tokens 2\n/set seed 随机\n你好\n/set\n")
    assert (session.decoding.temperature, session.decoding.top_k, session.decoding.seed) == (0.8, 7, None)
    assert result.code == 0
    assert session.last_reply is not None
    assert all(len(c.text) <= 2 for c in session.last_reply.candidates)
    shown = dict(line.split("\t")[0].split(" = ") for line in result.lines[1:])
    assert shown["temperature"] == "0.8" and shown["seed"] == "随机" and len(shown) == 9


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/set foo bar", "未知的键 'foo'"),
        ("/set temprature 1", "是否想写 'temperature'"),
        ("/set temperature", "temperature 后面写值"),
        ("/set temperature 9", "在 0.05 到 5.0 之间，得到 9.0"),
        ("/set temperature nan", "得到 nan"),
        ("/set top_k 1.5", "应为整数，得到 '1.5'"),
        ("/set strategy dance", "sample / beam / greedy"),
        ("/set seed -1", "在 0 到"),
    ],
)
def test_a_wrong_set_names_the_fault_and_changes_nothing(session: Session, line: str, complaint: str) -> None:
    before = session.decoding
    result = pipe(session, line)
    assert complaint in result.stderr and result.stderr.count("\n") == 1
    assert (result.code, session.decoding) == (2, before)


def test_save_writes_training_rows_and_transcripts_and_says_when_it_overwrites(session: Session, tmp_path: Path) -> None:
    result = pipe(
        session, f"你好\n/save {tmp_path}/a b.jsonl\n/save {tmp_path}/t.txt\n/save {tmp_path}/t.md\n/save {tmp_path}/t.md\n"
    )
    assert result.code == 0
    row = json.loads((tmp_path / "a b.jsonl").read_text(encoding="utf-8"))
    assert row == {"messages": [{"role": m.role, "content": m.content} for m in session.history]}
    for name in ("t.txt", "t.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert text.startswith("# 你好\n") and "**你**" in text and text.endswith("：你好呀，今天过得怎么样？\n")
    assert result.stderr.count("已保存到") == 3 and result.stderr.count("已覆盖") == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "后面写文件名"),
        ("{tmp}", "是文件夹"),
        ("{tmp}/chat", "结尾"),
        ("{tmp}/chat.exe", "结尾"),
        ("{tmp}/none/chat.md", "没有文件夹"),
        ("{tmp}/a\0b.md", "不能用的字符"),
        ("{tmp}/" + "长" * 200 + ".md", "文件名太长"),
        ("~nobody-of-that-name/x.md", "没有这个用户"),
        ("/proc/chat.md", "这里不能新建文件"),
    ],
)
def test_a_save_that_cannot_be_says_why(session: Session, tmp_path: Path, name: str, complaint: str) -> None:
    result = pipe(session, f"你好\n/save {name.format(tmp=tmp_path)}\n你好\n")
    assert complaint in result.stderr and result.stderr.count("\n") == 1
    assert (result.code, len(result.lines), list(tmp_path.iterdir())) == (2, 2, [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_save_without_permission(session: Session, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "没有写入权限" in pipe(session, f"你好\n/save {tmp_path}/x.md\n").stderr


def test_an_unknown_command_suggests_the_nearest(session: Session) -> None:
    assert "是否想写 /candidates" in pipe(session, "/canidate").stderr
    assert "是否想写 /retry" in pipe(session, "/re").stderr
    assert "/help 看全部" in pipe(session, "/天气").stderr


def test_two_slashes_send_one_and_the_full_width_slash_is_a_slash(session: Session) -> None:
    pipe(session, "//help\n／／exit\n／exit\n你好\n")
    assert [m.content for m in session.history if m.role == "user"] == ["/help", "/exit"]


def test_help_names_every_command(session: Session) -> None:
    result = pipe(session, "/help")
    for name in ("/candidates", "/retry", "/undo", "/reset", "/set NAME VALUE", "/export FILE", "/resume [ID]", "/why", "/exit"):
        assert name in result.stdout


def test_a_line_that_is_not_utf8_is_named_and_ends_the_pipe(session: Session) -> None:
    result = pipe(session, "你好\n".encode() + "早上好\n".encode("gbk") + "晚安\n".encode())
    assert len(result.lines) == 1
    assert "第 2 行第 1 个字节起不是 UTF-8" in result.stderr and "iconv" in result.stderr
    assert result.code == 2


HOSTILE = {
    "empty": "",
    "blank lines": "\n\n\n",
    "spaces": " \t \u3000 ",
    "nul": "\0",
    "nul inside": "你\0好",
    "every control": "".join(map(chr, range(1, 32))).replace("\n", ""),
    "delete": "\x7f\x80\x9f",
    "escape sequence": "\x1b[2J\x1b[31m红色\x1b]0;title\x07",
    "carriage returns": "你好\r你好\r\r",
    "bell": "\a" * 50,
    "bom": "\ufeff",
    "zero width": "\u200b\u200c\u200d\u2060",
    "right to left": "\u202e好你\u202c",
    "line separators": "你\u2028好\u2029吗\x0b吧\x0c啊\x85",
    "emoji": "😀👨‍👩‍👧‍👦🏳️‍🌈",
    "many emoji": "😂" * 1999,
    "combining": "e" + "\u0301" * 500,
    "private use": "\ue000\U000f0000",
    "noncharacter": "\ufffe\uffff",
    "unknown script": "ᚠᛇᚻ สวัสดี हिन्दी",
    "rare han": "𠮷𰻞㐀",
    "one megabyte": "字" * 350_000,
    "one megabyte of spaces": " " * 1_000_000,
    "one megabyte command": "/" + "x" * 1_000_000,
    "just too long": "啊" * 2001,
    "just not too long": "啊" * 2000,
    "many slashes": "/" * 100,
    "lone slash": "/",
    "two slashes": "//",
    "slash and space": "/ help",
    "full-width slash": "／",
    "set alone": "/set",
    "set unknown": "/set foo bar",
    "set equals": "/set =",
    "set name equals": "/set temperature=",
    "set two values": "/set temperature 0.8 0.9",
    "set huge int": "/set top_k " + "9" * 1900,
    "set infinity": "/set temperature inf",
    "set minus infinity": "/set top_p -inf",
    "set hex": "/set top_k 0x10",
    "set underscore": "/set top_k 1_0",
    "set dunder": "/set __class__ 1",
    "set control": "/set \x1b[31m 1",
    "set seed none": "/set seed none",
    "set choice": "/set strategy \0",
    "save alone": "/save",
    "save dot": "/save .",
    "save root": "/save /",
    "save dev": "/save /dev/null/x.md",
    "save suffix only": "/save .md/",
    "save tilde": "/save ~~~/x.md",
    "save nul": "/save \0.txt",
    "save surrogate": "/save \U0001f4a9\x1b/x.txt",
    "argument to undo": "/undo 3",
    "argument to exit": "/exit now",
    "upper case": "/UNDO",
    "unknown control": "/\x1b[31mred",
    "unknown format": "/{0} %s {name!r}",
    "unknown rich markup": "/[bold]x[/bold]",
    "markup": "[red]你好[/red] [/]",
    "special tokens": "[CLS][SEP][PAD][UNK][MASK]",
    "template": "${7*7} {{7*7}} %n%s",
    "shell": "$(reboot) `id` ; rm -rf /",
    "script": "<script>alert(1)</script>",
    "sql": "'; DROP TABLE messages; --",
    "quotes": "\"'“”‘’《》",
    "only marks": "。。。！！！",
    "number": "1" * 500,
    "json": '{"messages": [{"role": "system"}]}',
    "repeat": "哈" * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines_are_answered_or_refused_in_one_line_and_the_talk_goes_on(session: Session, name: str) -> None:
    result = pipe(session, HOSTILE[name] + "\n你好\n")
    assert result.code in (0, 2)
    assert (result.code == 2) == bool("错误：" in result.stderr)
    assert result.stderr.count("错误：") <= 1 and result.stderr.count("\n") <= 1 and len(result.stderr) < 2500
    assert result.lines and result.lines[-1].strip()
    shown = result.stdout + result.stderr
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert session.history[-2].content == "你好"


@pytest.mark.parametrize(
    "data", [b"\xff\xfe`O}Y\n", b"\xc4\xe3\xba\xc3", b"\x80", b"\xed\xa0\x80\n", b"\xf8\x88\x80\x80\x80", b"ok\xc3"]
)
def test_hostile_bytes_are_refused_by_line(session: Session, data: bytes) -> None:
    result = pipe(session, data)
    assert result.code == 2 and "第 1 行" in result.stderr and "UTF-8" in result.stderr


# As a process


def run_script(tiny_model: Path, shell: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} interact.py --model {tiny_model} --num-candidates 2 --temperature 0.05"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COMMAND": command}
    return subprocess.run(["bash", "-c", shell], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def test_the_script_answers_a_pipe(tiny_model: Path) -> None:
    done = run_script(tiny_model, "echo 你好 | LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $COMMAND")
    assert (done.returncode, done.stdout, done.stderr) == (0, "你好呀，今天过得怎么样？\n", "")


def test_a_closed_stdout_ends_quietly(tiny_model: Path) -> None:
    done = run_script(tiny_model, "yes 你好 | head -200 | $COMMAND | head -1; echo ${PIPESTATUS[2]}")
    assert done.stdout.splitlines()[1:] == ["0"] and done.stderr == ""


# On a terminal

TALK = """
import sys, time
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.frontends.terminal.prompt import run_terminal
from chitchat.sessions.session import Session

class Echo:
    def generate(self, context, decoding):
        if "慢" in context[-1]:
            print("THINKING", flush=True)
            time.sleep(60)
        return [Candidate(f"第{len(context)}条，说说{context[-1]}吧")]

sys.exit(run_terminal(Session(Chatbot([Echo()], None, None, Ranker(), DecodingConfig()))))
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[pexpect.spawn[str]]:
    script = tmp_path / "talk.py"
    script.write_text(TALK, encoding="utf-8")
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "NO_COLOR": "1",
        "TERM": "xterm",
        "HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }
    child = pexpect.spawn(
        sys.executable, [str(script)], cwd=tmp_path, env=environment, encoding="utf-8", timeout=20, dimensions=(40, 60)
    )
    child.expect("小叙.*/help")
    child.expect("你 ›")
    yield child
    child.close(force=True)


def exit_code(child: pexpect.spawn[str]) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status


def test_talk_at_the_prompt_and_leave_with_ctrl_d(terminal: pexpect.spawn[str], tmp_path: Path) -> None:
    terminal.send("下雨\r")
    terminal.expect("第1条，说说下雨吧")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", terminal.before or "")  # NO_COLOR is set
    terminal.send("/candidates\r")
    terminal.expect("第1条，说说下雨吧")
    terminal.expect("正向 — 反向 —")
    terminal.expect("你 ›")
    terminal.sendeof()
    assert exit_code(terminal) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["talk.py"]  # no history file


def test_ctrl_c_clears_the_line_then_tells_how_to_leave_then_leaves(terminal: pexpect.spawn[str]) -> None:
    terminal.send("半句")
    terminal.expect("半句")
    terminal.sendintr()
    terminal.expect("已清掉这一行")
    terminal.expect("你 ›")
    terminal.sendintr()
    terminal.expect("Ctrl-D")
    terminal.expect("你 ›")
    terminal.sendintr()
    assert exit_code(terminal) == 0


def test_ctrl_c_during_a_reply_cancels_it_and_keeps_the_history(terminal: pexpect.spawn[str]) -> None:
    terminal.send("慢慢想\r")
    terminal.expect("THINKING")
    for _ in range(4):  # who is impatient does not want to leave
        terminal.sendintr()
        time.sleep(0.05)
    terminal.expect("已取消这次回复")
    terminal.expect("你 ›")
    terminal.send("下雨\r")
    terminal.expect("第1条，说说下雨吧")  # the first message still
    assert "再按一次" not in (terminal.before or "") and "Traceback" not in (terminal.before or "")
    terminal.send("/exit\r")
    assert exit_code(terminal) == 0


def test_tab_completes_commands_and_options(terminal: pexpect.spawn[str]) -> None:
    # The menu first: a Tab that comes while it is being made is lost.
    terminal.send("/cand")
    terminal.expect("上一句回复的候选")
    terminal.send("\t")
    terminal.expect("candidates")
    terminal.send("\r")
    terminal.expect("还没有回复")
    terminal.expect("你 ›")
    terminal.send("/set max_n")
    terminal.expect("回复最长多少")
    terminal.send("\t")
    terminal.expect("max_new_tokens")
    terminal.send(" 5\r")
    terminal.expect("max_new_tokens = 5")
