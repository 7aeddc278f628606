"""The terminal over the store: what is kept, found again, removed; and `chitchat chat` with its options."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pexpect
import pytest

from chitchat.backends.base import LogProb
from chitchat.cli import main
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.engine.chatbot import SHORTLIST, Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.frontends.terminal.prompt import run_terminal
from chitchat.frontends.terminal.screens import JsonScreen
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

ROOT = Path(__file__).resolve().parents[2]
HELLO, TIRED = "你好呀，今天过得怎么样？", "辛苦了，早点休息吧。"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "talks.db")


@pytest.fixture
def session(tiny_chatbot: Chatbot, store: Store) -> Session:
    return Session(tiny_chatbot, DecodingConfig(num_candidates=6, max_new_tokens=24, temperature=0.05, seed=1), store)


@pytest.fixture
def chatbot_of_many() -> Chatbot:
    """Proposes more replies than are scored in full, and one that must not be said."""

    class Many:
        def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
            return [*(Candidate(f"第{n}种说法") for n in "一二三四五六七八九"), Candidate("哈" * 40)]

        def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
            return [LogProb(-float(n), 4, first=-float(n)) for n, _ in enumerate(pairs)]

    return Chatbot([Many()], None, Many(), Ranker(), DecodingConfig())


def pipe(session: Session, text: str, *, as_json: bool = False) -> tuple[int, list[str], str]:
    """The exit code, the lines of stdout, and stderr."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code = run_terminal(session, as_json=as_json, stdin=io.StringIO(text), stdout=stdout, stderr=stderr)
    return code, stdout.getvalue().splitlines(), stderr.getvalue()


def test_conversations_are_listed_named_found_and_taken_up_again(session: Session, store: Store) -> None:
    code, lines, notes = pipe(session, "你好\n/name 打招呼\n/new\n今天好累啊\n/sessions\n/search 过得 你好\n/resume\n/undo\n")
    assert (code, len(lines)) == (0, 5)
    (tired,) = store.sessions(owner=None)  # the other one is empty now
    assert [line.split("\t")[0] for line in lines[2:4]] == [tired.id, session.id]
    assert "今天好累啊（正在聊）" in lines[2] and "2 条 打招呼" in lines[3]
    assert lines[4].startswith(session.id) and f"小叙：{HELLO}" in lines[4]
    assert "接着聊“打招呼”，已有 2 条消息" in notes and "已撤回：你好" in notes
    assert session.history == [] and store.summary(tired.id, owner="").num_messages == 2


def test_resume_takes_the_beginning_of_an_id_and_refuses_what_is_not_there(session: Session, tiny_chatbot: Chatbot) -> None:
    pipe(session, "你好\n")
    again = Session(tiny_chatbot, store=session.store)
    code, lines, notes = pipe(again, f"/resume {session.id[:6]}\n还不错\n/resume 不存在\n/resume\n")
    assert (code, len(lines)) == (2, 1)
    assert [m.content for m in session.history][:3] == ["你好", HELLO, "还不错"]
    assert "没有对话 '不存在'" in notes and "没有别的对话可接" in notes


def test_the_last_conversation_is_the_users_own_and_not_a_visitors(session: Session, tiny_chatbot: Chatbot) -> None:
    pipe(session, "你好\n")
    visitor = Session(tiny_chatbot, store=session.store, owner="visitor:x")
    visitor.say("晚安")
    again = Session(tiny_chatbot, store=session.store)
    _, lines, notes = pipe(again, "/sessions\n/resume last\n/new\n/forget last\n")
    assert "晚安（访客）" in lines[0] and "（访客）" not in lines[1]
    assert "接着聊“你好”" in notes
    assert [s.id for s in session.store.sessions(owner=None)] == [visitor.id]


def test_a_message_that_a_crash_left_unanswered_is_pointed_out(session: Session, tiny_chatbot: Chatbot) -> None:
    session.store.new_transcript("").ask("今天好累啊")
    code, lines, notes = pipe(Session(tiny_chatbot, store=session.store), "/resume last\n/retry\n")
    assert "最后一句还没有回复：/retry" in notes
    assert (code, lines) == (0, [TIRED])


def test_forget_leaves_no_byte_and_tells_of_the_files(session: Session, store: Store, tmp_path: Path) -> None:
    code, _, notes = pipe(
        session, f"你好\n/export {tmp_path}/t.md\n/export {tmp_path}/t.md\n/forget\n/forget this\n/sessions\n/forget this\n"
    )
    assert "没有话；撤回过的，痕迹也清掉了" in notes
    assert "后面写编号" in notes and "已彻底删除：2 条消息" in notes and notes.count(f"{tmp_path}/t.md（还在）") == 1
    assert code == 2 and store.sessions(owner=None) == []
    for file in tmp_path.glob("talks.db*"):
        assert "过得怎么样".encode() not in file.read_bytes()


def test_pick_rate_correct_and_edit_are_kept(session: Session) -> None:
    session.decoding = DecodingConfig(num_candidates=12, max_new_tokens=24, temperature=4.0, top_k=0, top_p=1.0, seed=3)
    code, lines, notes = pipe(session, "你好\n/pick 2\n/rate 好 有趣\n/why\n")
    reply = session.last_reply
    assert reply is not None and code == 0
    assert lines[1] == reply.text == reply.candidates[1].text != lines[0]
    assert (session.messages[-1].rating, session.messages[-1].reason) == (1, "有趣")
    assert lines[2].startswith(f"这句：{reply.text}")
    code, lines, notes = pipe(session, "/correct 你也好呀\n/why\n/edit 今天好累啊\n/rate 差\n/rate 取消\n")
    assert (code, lines[0]) == (0, "这句是你写的")
    assert [m.content for m in session.history] == ["今天好累啊", lines[1]]
    assert session.messages[-1].rating == 0


def test_a_candidate_that_was_only_outranked_is_picked_by_the_number_shown(chatbot_of_many: Chatbot) -> None:
    session = Session(chatbot_of_many)
    _, lines, notes = pipe(session, "你好\n/candidates\n/candidates all\n")
    assert len(lines) == 1 + (1 + SHORTLIST + 1) + (1 + 10) and f"另有 {9 - SHORTLIST} 个初选落后" in notes
    ranks = [line.split("\t")[0] for line in lines[-10:]]
    assert ranks == [*map(str, range(1, 10)), "—"]  # what loops is nobody's choice
    wanted = lines[-2].split("\t")
    assert wanted[-1] == "初选落后"
    code, lines, _ = pipe(session, f"/pick {wanted[0]}\n/candidates\n/why\n")
    assert (code, lines[0]) == (0, wanted[1])
    assert wanted[1] in [line.split("\t")[1] for line in lines[1:-1]]  # what was said is shown among the best
    assert lines[-1] == "这句是你挑的，原先落选：初选落后"
    _, lines, _ = pipe(session, "/candidates\n", as_json=True)
    assert [c["number"] for c in json.loads(lines[0])["candidates"]] == [*range(1, 1 + SHORTLIST), 9, 10]
    assert "循环" in pipe(session, "/pick 10\n")[2]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("/pick", "后面写候选的名次"),
        ("/pick 二", "后面写候选的名次"),
        ("/pick 0", "没有第 0 个候选"),
        ("/pick 99999999999999999999", "没有第"),
        ("/rate", "后面写“好”"),
        ("/rate 一般", "后面写“好”"),
        ("/edit", "后面写改好的话"),
        ("/correct", "回复是空的"),
        ("/preset 狂野", "天马行空"),
        ("/candidates 3", "只能写 all"),
        ("/search", "要找的词"),
        ("/search 没说过的", "没有说过"),
        ("/name", "名字"),
        ("/name " + "长" * 101, "名字太长"),
        ("/forget nope", "没有对话 'nope'：/sessions 列出全部"),
        ("/resume \x1b[2J", "没有对话"),
    ],
)
def test_a_command_that_cannot_be_says_why_and_changes_nothing(session: Session, line: str, complaint: str) -> None:
    pipe(session, "你好\n")
    before = session.messages
    _, lines, notes = pipe(session, line + "\n")
    assert complaint in notes and lines == [] and "\x1b" not in notes
    assert session.messages == before


def test_commands_about_a_reply_need_one(session: Session) -> None:
    code, lines, notes = pipe(session, "/why\n/pick 1\n/rate 好\n/correct 好\n/edit 好\n/name 好\n/export x.md\n")
    assert (code, lines, notes.count("错误")) == (2, [], 7)
    assert session.store.sessions(owner=None) == []


def test_a_preset_keeps_the_seed_and_the_number_of_candidates(session: Session) -> None:
    pipe(session, "/preset 天马行空\n")
    assert (session.decoding.temperature, session.decoding.seed, session.decoding.num_candidates) == (1.1, 1, 6)


def test_json_escapes_what_a_terminal_must_not_see_and_keeps_chinese_readable() -> None:
    stdout, text = io.StringIO(), "你好\x1b[2J\x9b\u202e\n"
    JsonScreen(stdout, stdout).result(text)
    assert stdout.getvalue() == '{"result": "你好\\u001b[2J\\u009b\\u202e\\n"}\n'
    assert json.loads(stdout.getvalue()) == {"result": text}


def test_json_tells_of_a_reply_also_when_the_page_has_removed_it(session: Session) -> None:
    stdout = io.StringIO()
    reply = session.say("你好")
    session.store.forget(session.id, owner=None)
    JsonScreen(stdout, io.StringIO()).reply(reply, session)
    assert json.loads(stdout.getvalue())["text"] == HELLO


def test_json_is_one_object_a_line(session: Session) -> None:
    code, lines, notes = pipe(session, "你好\n/why\n/sessions\n/wat\n\n", as_json=True)
    reply, why, sessions, error = map(json.loads, lines)
    assert (reply["text"], reply["session"]) == (HELLO, session.id)
    assert list(reply["messages"].values()) == [m.id for m in session.messages]
    best = reply["candidates"][0]
    assert best["text"] == HELLO and best["score"] > -100 and best["forward_log_prob"] < 0 and best["features"]
    assert why["result"] and sessions["result"][0][0] == session.id
    assert "没有命令" in error["error"] and (code, notes) == (2, "")


# As `chitchat chat`


@pytest.fixture
def chat(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`chitchat chat` with a text piped in: exit code, stdout, stderr. The data folder is `tmp_path`/data."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def run(text: str, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        command = ["chat", "--model", str(tiny_model), "--num-candidates", "2", "--temperature", "0.05", "--persona", "off"]
        return main([*command, *options]), *capsys.readouterr()

    return run


def test_a_pipe_is_kept_only_when_asked_for(chat: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    assert chat("你好\n") == (0, f"{HELLO}\n", "")
    assert json.loads(chat("你好\n", "--json")[1])["session"] is None
    assert not (tmp_path / "data").exists()
    path = tmp_path / "own.db"
    assert chat("你好\n", "--store", str(path)) == (0, f"{HELLO}\n", "")
    assert chat("还不错\n", "--store", str(path), "--resume", "last")[1] == "那就好，有什么开心的事吗？\n"
    (kept,) = Store(path).sessions(owner="")
    assert kept.num_messages == 4
    assert json.loads(chat("你好\n", "--store", str(path), "--json", "--resume", kept.id[:8])[1])["session"] == kept.id
    chat("你好\n", "--store", str(path), "--ephemeral")
    assert [s.num_messages for s in Store(path).sessions(owner="")] == [6]


def test_what_cannot_be_resumed_or_opened_is_told_before_a_model_is_loaded(
    chat: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    missing = str(tmp_path / "no-model")
    assert "还没有保存过对话" in chat("", "--resume", "last", "--model", missing)[2]
    assert "没有对话 'x'" in chat("", "--resume", "x", "--model", missing)[2]
    (tmp_path / "text").write_text("不是对话库", encoding="utf-8")
    assert "不是 chitchat 的对话库" in chat("", "--store", str(tmp_path / "text"), "--model", missing)[2]
    assert "expire" in chat("", "--expire", "soon", "--model", missing)[2]


# On a terminal

TALK = """
import sys
from pathlib import Path
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.frontends.terminal.prompt import run_terminal
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

class Echo:
    def generate(self, context, decoding):
        return [Candidate(f"第{len(context)}条，说说{context[-1]}吧")]

bot = Chatbot([Echo()], None, None, Ranker(), DecodingConfig(), normalise=lambda text: text.replace("\\n", "和"))
sys.exit(run_terminal(Session(bot, store=Store(Path("talks.db")))))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], pexpect.spawn[str]]]:
    """Starts a talk on a terminal of 40 columns, in colour, over `tmp_path`/talks.db; again and again."""
    script = tmp_path / "talk.py"
    script.write_text(TALK, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"PYTHONPATH": str(ROOT), "PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    started = []

    def spawn() -> pexpect.spawn[str]:
        size = (40, 40)
        child = pexpect.spawn(
            sys.executable, [str(script)], cwd=tmp_path, env=environment, encoding="utf-8", timeout=20, dimensions=size
        )
        started.append(child)
        child.expect("对话保存在")
        child.expect("talks.db（--ephemeral 则不保存）")
        child.expect("你 ›")
        return child

    yield spawn
    for child in started:
        child.close(force=True)


def test_what_was_said_comes_back_with_the_arrow_key_and_with_resume(
    start: Callable[[], pexpect.spawn[str]], tmp_path: Path
) -> None:
    first = start()
    first.send("下雨\r")
    first.expect("第1条，说说下雨吧")
    first.expect("你 ›")
    first.send("/exit\r")
    first.expect("--resume last")
    assert stat.S_IMODE((tmp_path / "talks.db").stat().st_mode) == 0o600
    second = start()
    for _ in range(20):  # the lines are read while the prompt is up
        second.send("\x1b[A")
        if second.expect(["下雨", pexpect.TIMEOUT], timeout=0.3) == 0:
            break
    second.send("了\r")
    second.expect("\x1b\\[1;35m小叙 › \x1b\\[0m第1条，说说下雨了吧")  # in colour
    second.send("/resume\r")
    second.expect("接着聊“下雨”，已有 2 条消息")
    second.send("/why\r")
    second.expect("只有这一个")
    assert sorted(p.name for p in tmp_path.iterdir() if "talks" not in p.name) == ["talk.py"]  # no history file


def test_what_is_forgotten_does_not_come_back_with_the_arrow_key(start: Callable[[], pexpect.spawn[str]]) -> None:
    terminal = start()
    terminal.send("下雨\r")
    terminal.expect("第1条，说说下雨吧")
    terminal.send("/new\r")
    terminal.expect("开始新的对话")
    terminal.send("密码\r")
    terminal.expect("第1条，说说密码吧")
    terminal.send("/forget this\r")
    terminal.expect("已彻底删除")
    terminal.expect("你 ›")
    for _ in range(20):  # the lines are read while the prompt is up
        terminal.send("\x1b[A")
        found = terminal.expect(["密码", "/forget", "下雨", pexpect.TIMEOUT], timeout=0.3)
        assert found > 1
        if found == 2:
            break


def test_a_talk_removed_elsewhere_is_told_with_the_next_step(session: Session, store: Store) -> None:
    session.say("你好")
    store.forget(session.id, owner=None)
    assert "这段对话已被删除；请开始新的对话：/new" in pipe(session, "在吗\n")[2]


def test_several_lines_are_one_message_typed_or_pasted(start: Callable[[], pexpect.spawn[str]]) -> None:
    terminal = start()
    terminal.send("苹果\x1b\r香蕉\r")
    terminal.expect("第1条，说说苹果和香蕉吧")
    terminal.expect("你 ›")
    terminal.send("\x1b[200~一月\n二月\n三月\x1b[201~")
    terminal.expect("三月")
    terminal.send("\r")
    terminal.expect("第3条，说说一月和二月和三月吧")


def test_tab_completes_the_arguments_of_commands(start: Callable[[], pexpect.spawn[str]]) -> None:
    terminal = start()
    terminal.send("下雨\r")
    terminal.expect("说说下雨吧")
    terminal.send("/preset w")
    terminal.expect("天马行空")
    terminal.send("\t")
    terminal.expect("wild")
    terminal.send("\r")
    terminal.expect("温度 1.1")
    terminal.send("/new\r")
    terminal.expect("开始新的对话")
    terminal.send("/resume ")
    terminal.expect("下雨 ")
    terminal.send("\t\r")
    terminal.expect("接着聊“下雨”")
