"""The parts of the page that need no browser: scores of a file, an evaluation's report, both languages, candidates as HTML."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chitchat.dialogue import Candidate, Reply
from chitchat.errors import ConfigError

pytest.importorskip("gradio", reason="the web page is not installed")

import chitchat  # noqa: E402
from chitchat.config import DecodingConfig  # noqa: E402
from chitchat.engine.chatbot import AVOIDED, OUTRANKED  # noqa: E402
from chitchat.engine.decoding import PRESET_LABELS  # noqa: E402
from chitchat.frontends.explanation import FEATURE_LABELS  # noqa: E402
from chitchat.frontends.presentation import SOURCES  # noqa: E402
from chitchat.frontends.web import page, scoring  # noqa: E402
from chitchat.frontends.web.candidates import candidates_html  # noqa: E402
from chitchat.frontends.web.messages import BAD_REASONS  # noqa: E402
from chitchat.frontends.web.models import Models  # noqa: E402
from chitchat.frontends.web.report import PICTURES, report_html  # noqa: E402
from chitchat.frontends.web.scoring import histogram_svg  # noqa: E402
from chitchat.frontends.web.site import Site  # noqa: E402
from chitchat.frontends.web.talk import KNOBS, Talk, Visit  # noqa: E402
from chitchat.frontends.web.text import ENGLISH, translator  # noqa: E402
from chitchat.frontends.web.visitors import Pace, owner_of  # noqa: E402
from chitchat.sessions.store import Store  # noqa: E402

SAME = translator("zh")


@pytest.fixture(scope="module")
def site(tiny_model: Path, tiny_chatbot: Any) -> Site:
    return Site(Models(tiny_model, lambda path: (tiny_chatbot, "")), Store(), DecodingConfig(), Pace(0), Path("nowhere"))


def score(site: Site, tmp_path: Path, name: str, text: str) -> tuple[str, Path]:
    source = tmp_path / name
    source.write_text(text, encoding="utf-8")
    folder = tmp_path / "work"
    folder.mkdir()
    return scoring._score(site, SAME, source, folder, lambda stage, done, total: None)


def test_every_word_of_the_page_has_its_english() -> None:
    """All that is put through `t(…)` with a literal, and the tables whose words are."""
    spoken = {*FEATURE_LABELS.values(), *SOURCES.values(), *PRESET_LABELS.values(), *BAD_REASONS, *PICTURES.values()}
    spoken |= {label for label, *_ in page._SLIDERS.values()} | {"全部", "问题集", "上文", "回复", "得分", "正向", "反向"}
    for path in Path(chitchat.__path__[0], "frontends").glob("web/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("t", "self._t")
                and isinstance(node.args[0], ast.Constant)
            ):
                spoken.add(node.args[0].value)
    assert {words for words in spoken if not words.isascii()} - set(ENGLISH) == set()
    assert [words for words in ENGLISH.values() if any("\u4e00" <= c <= "\u9fff" for c in words)] == []


FAULTY = ("frontends/presentation", "frontends/web/*", "sessions/se*", "sessions/store", "sessions/transcript", "evaluation/rows")
OPERATORS = ("--", "标准输入", "管道", "用户名", "不认识的算法", "密码", "未知的格式", "还没有保存过")


def raised(path: Path) -> set[str]:
    """The sentences of all that a file raises, with a 7 for each value in them."""

    def sentences(node: ast.AST) -> list[str]:
        if isinstance(node, ast.IfExp):
            return [*sentences(node.body), *sentences(node.orelse)]
        if isinstance(node, ast.JoinedStr):
            return ["".join(p.value if isinstance(p, ast.Constant) else "7" for p in node.values)]  # type: ignore[misc]
        return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []

    raises = [n.exc for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Raise)]
    calls = [n for n in raises if isinstance(n, ast.Call) and ast.unparse(n.func) != "gr.Error"]
    return {
        s for call in calls for a in call.args for s in sentences(a) if not s.isascii() and not any(o in s for o in OPERATORS)
    }


def test_every_fault_that_a_visitor_may_meet_has_its_english() -> None:
    english = translator("en")
    faults = {s for files in FAULTY for path in Path(chitchat.__path__[0]).glob(f"{files}.py") for s in raised(path)}
    assert len(faults) > 30
    assert [s for s in faults if re.search("[\u4e00-\u9fff]", english(s))] == []
    assert english("消息是空的：请说点什么") == "The message is empty; say something"
    assert english("a: b.csv:2: 这一行有 3 列，应有 2 列；请检查分隔符与引号（没有一行能打分）").startswith(
        "a: b.csv:2: This row has 3 "
    )
    assert english('应为 {"context": ["…", "…"], "reply": "…"}，得到数字') == (
        'It should be {"context": ["…", "…"], "reply": "…"}, not a number'
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "reply,context\n你好呀，今天过得怎么样？,你好\n空气空气空气,你好\n少一列\n"),
        (
            "rows.jsonl",
            '{"context": ["你好"], "reply": "你好呀，今天过得怎么样？"}\n{"context": "你好", "reply": "空气空气空气"}\n{\n',
        ),
    ],
)
def test_a_file_is_scored_and_its_bad_rows_are_named(site: Site, tmp_path: Path, name: str, text: str) -> None:
    shown, output = score(site, tmp_path, name, text)
    assert "打好了 2 行" in shown and "略过 1 行坏行" in shown
    assert shown.index("你好呀，今天过得怎么样？") < shown.index("空气空气空气")  # the likelier reply stands first
    rows = scoring.read_scores(output, "," if name.endswith("csv") else "")
    assert [row.reply for row in rows] == ["你好呀，今天过得怎么样？", "空气空气空气"]
    assert rows[0].forward is not None and rows[1].forward is not None and rows[0].forward > rows[1].forward
    assert str(tmp_path) not in shown


def test_what_cannot_be_scored_is_told_without_the_servers_paths(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="表头应有 context 与 reply") as caught:
        score(site, tmp_path, "rows.csv", "a,b\n1,2\n")
    assert str(tmp_path) not in str(caught.value) and "--" not in str(caught.value)


def test_more_rows_than_the_page_takes(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "MAX_ROWS", 2)
    with pytest.raises(ConfigError, match="最多 2 行.*chitchat score"):
        score(site, tmp_path, "rows.csv", "context,reply\n" + "你好,好\n" * 3)


def test_a_histogram_counts_every_value_once() -> None:
    picture = histogram_svg("得分", [0.0, 0.0, 1.0])
    assert picture.count("<rect") == 2
    assert 'height="66.0"' in picture and 'height="33.0"' in picture
    assert histogram_svg("得分", [3.0, 3.0]).count("<rect") == 1
    assert histogram_svg("得分", []) == ""


def report(tmp_path: Path, **changes: Any) -> Path:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    model = {"path": "models/<b>", "figures": {"全部": {"hits_at_1/fitted": figure}}, "skipped": ["没有 x.jsonl"]}
    data = {"format": 1, "date": "2026-11-27T09:45:14+00:00", "seed": 3, "models": [model], "differences": None}
    data |= {"files": {"a.txt": {"answered_contexts": 9}}} | changes
    (tmp_path / "report.json").write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def test_a_report_is_shown_with_intervals_and_pictures(tmp_path: Path) -> None:
    (report(tmp_path) / "ranking.png").touch()
    shown = report_html(tmp_path, SAME, chinese=True)
    assert "Hits@1/20 拟合排序 ↑" in shown and "0.500<small>0.400 – 0.600</small>" in shown
    assert "models/&lt;b&gt;" in shown and "9 个上下文" in shown and "没有 x.jsonl" in shown
    assert shown.count("<img") == 1 and "/report/ranking.png" in shown
    assert "Hits@1/20 fitted ↑" in report_html(tmp_path, translator("en"), chinese=False)


def test_two_models_stand_beside_their_difference(tmp_path: Path) -> None:
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "count": 9}
    worse = {"value": -0.2, "low": -0.3, "high": -0.1, "count": 9, "excludes_zero": True}
    models = [{"path": p, "figures": {"全部": {"hits_at_1/fitted": figure}}, "skipped": []} for p in ("one", "two")]
    shown = report_html(report(tmp_path, models=models, differences={"全部": {"hits_at_1/fitted": worse}}), SAME, chinese=True)
    assert '<td class="worse">-0.200' in shown and "A one · B two" in shown


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9}', '{"format": 1}'])
def test_a_report_that_cannot_be_read_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    assert "请重新评测" in report_html(tmp_path, SAME, chinese=True)


def test_candidates_show_why_the_winner_won_and_which_may_be_picked() -> None:
    good = Candidate("去爬山吧<i>", forward_log_prob=-4.0, num_tokens=4, features={"forward": -1.0, "length": 2.0}, score=1.5)
    next_best = replace(good, text="不知道", features={"forward": -1.5, "length": 1.0}, score=0.5)
    bad = Candidate("哈哈哈哈", rejected="打转")
    weights = {"forward": 1.0, "length": 0.5}
    said_before = Candidate("睡觉吧", rejected=AVOIDED)
    outranked = Candidate("吃饭吧", rejected=OUTRANKED)
    reply = Reply("去爬山吧<i>", (good, next_best, bad, said_before, outranked), 0.1)
    shown = candidates_html(reply, weights, SAME, can_pick=True)
    assert "去爬山吧&lt;i&gt;" in shown and "<i>" not in shown.replace('<i style="', "")
    assert "比次选“不知道”高 1.00 分" in shown and "+0.50" in shown
    assert re.findall('data-action="pick" data-number="(.)"', shown) == ["2", "4", "5"]
    assert "其余候选 2 个" in shown and OUTRANKED in shown
    assert "淘汰的 1 个" in shown and "打转" in shown
    picked = candidates_html(replace(reply, text="吃饭吧"), weights, SAME, can_pick=True)
    assert re.findall('data-action="pick" data-number="(.)"', picked) == ["1", "2", "4"]
    assert picked.index('class="said"') < picked.index("其余候选 1 个")
    assert 'data-action="pick"' not in candidates_html(Reply("x", (good, next_best), 0.1), weights, SAME, can_pick=False)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [("少一列\n又少一列\n", r"rows\.csv:2: .*列"), ("你好,好,多\n", r"rows\.csv:2: 这一行有 3 列")],
)
def test_a_file_without_a_row_to_score_names_the_first_fault(site: Site, tmp_path: Path, rows: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"{fault}.*没有一行能打分"):
        score(site, tmp_path, "rows.csv", f"context,reply\n{rows}")


def visitor() -> Any:
    return SimpleNamespace(cookies={}, username=None, session_hash="tab", client=SimpleNamespace(host="here"))


def click(**data: Any) -> Any:
    return SimpleNamespace(_data=data)


def asked(site: Site, visit: Visit) -> list[Any]:
    """What an event that asks for a reply is given beside its words."""
    return [visit, "", site.models.first.name, *(getattr(site.decoding, field) for field in KNOBS)]


def test_what_is_typed_while_the_bot_thinks_stays_in_the_box(site: Site) -> None:
    talk = Talk(site, SAME)

    async def say() -> list[tuple[Any, ...]]:
        return [shown async for shown in talk.say(visitor(), "你好", *asked(site, Visit()))]

    (begun, *_), (answered, *_, visit) = asyncio.run(say())
    assert "value" not in begun and begun["stop_btn"] == "停止"  # the page has emptied it
    assert "value" not in answered and answered["submit_btn"] == "发送"
    # nor does another conversation empty it, but there is nothing to stop there
    for box, *_ in (
        talk.on_session(click(action="switch", id=visit.session), visitor(), Visit(), ""),
        talk.new(visitor(), ""),
    ):
        assert "value" not in box and (box["submit_btn"], box["stop_btn"]) == ("发送", False)


class Slow:
    """A chatbot whose replies come when they may."""

    def __init__(self, like: Any) -> None:
        self.decoding, self.ranker = like.decoding, like.ranker
        self.may_answer = threading.Event()

    def reply(self, context: Any, **options: Any) -> Reply:
        assert self.may_answer.wait(10)
        return Reply("来了", (), 0.0)


@pytest.fixture
def slow(tiny_chatbot: Any) -> Slow:
    return Slow(tiny_chatbot)


@pytest.fixture
def slow_site(tiny_model: Path, slow: Slow) -> Site:
    return Site(Models(tiny_model, lambda path: (slow, "")), Store(), DecodingConfig(), Pace(0), Path("nowhere"))  # type: ignore[arg-type, return-value]


def begin_and(site: Site, turn: Any, then: Any) -> Any:
    """Begins a turn, and while the bot thinks does what the visitor does `then`, with what the page has been given so far."""

    async def run() -> Any:
        busy = await anext(turn)
        assert busy[0]["stop_btn"] == "停止"
        answer = asyncio.ensure_future(anext(turn))
        while not any(site.is_busy(s.id) for s in site.store.sessions(owner=None)):  # until the words are kept
            await asyncio.sleep(0.01)
        done = await then(busy)
        answer.cancel()
        return done

    return asyncio.run(run())


def test_what_is_being_answered_can_be_stopped_and_comes_back_into_the_box(slow: Slow, slow_site: Site) -> None:
    talk = Talk(slow_site, SAME)

    async def stop(busy: Any) -> tuple[Any, ...]:
        stopped = talk.stop(visitor(), busy[4], "")
        slow.may_answer.set()
        return stopped

    turn = talk.say(visitor(), "今天好累啊", *asked(slow_site, Visit()))
    box, log, _, _, visit = begin_and(slow_site, turn, stop)
    assert box["value"] == "今天好累啊" and box["submit_btn"] == "发送"
    assert "openers" in log and "来了" not in log
    assert visit.session is None
    assert slow_site.store.sessions(owner=None) == []


@pytest.mark.parametrize("again", [{"action": "edit", "index": 0, "text": "改过"}, {"action": "retry"}])
def test_stopping_an_edit_or_another_try_puts_nothing_into_the_box(slow: Slow, slow_site: Site, again: dict[str, Any]) -> None:
    talk = Talk(slow_site, SAME)
    session = slow_site.session(None, talk_owner(), model=slow_site.models.first.name, decoding=slow_site.decoding)
    session._transcript.ask("你好")  # unanswered, as after a crash

    async def stop(busy: Any) -> tuple[Any, ...]:
        stopped = talk.stop(visitor(), busy[4], "")
        slow.may_answer.set()
        return stopped

    turn = talk.on_turn(click(**again), visitor(), *asked(slow_site, Visit(session.id)))
    box, log, *_ = begin_and(slow_site, turn, stop)
    assert "value" not in box
    assert session.messages[0].content == "你好"
    assert "再试一次" in log


def test_a_reply_under_way_is_waited_for_where_the_page_comes_upon_it(slow: Slow, slow_site: Site) -> None:
    talk = Talk(slow_site, SAME)

    async def reload(busy: Any) -> list[tuple[Any, ...]]:
        _, log, *_, visit, _ = talk.arrive(visitor(), "")[:6]
        assert "data-waits" in log and "这句还没有回复" not in log
        waiting = talk.on_turn(click(action="wait"), visitor(), *asked(slow_site, visit))
        shown = [await anext(waiting)]
        assert (shown[0][0]["stop_btn"], shown[0][4].asked) == ("停止", "你好")
        slow.may_answer.set()
        return [*shown, *[more async for more in waiting]]

    turn = talk.say(visitor(), "你好", *asked(slow_site, Visit()))
    _, (box, log, *_) = begin_and(slow_site, turn, reload)
    assert "来了" in log and "data-waits" not in log and box["submit_btn"] == "发送"


def test_what_would_be_taken_back_with_an_edit_is_told(site: Site) -> None:
    talk = Talk(site, SAME)
    session = site.session(None, talk_owner(), model=site.models.first.name, decoding=site.decoding)
    for words in ("你好", "今天好累啊", "睡不着"):
        session.say(words)
    log = talk.on_session(click(action="switch", id=session.id), visitor(), Visit(), "")[1]
    assert re.findall("后面的 (.) 条会一起撤回", log) == ["4", "2"]  # of the last only the reply, as everywhere


def test_conversations_are_found_by_words_of_their_name_in_either_case(site: Site) -> None:
    session = site.session(None, "namer", model=site.models.first.name, decoding=site.decoding)
    session.say("你好")
    session.rename("My Name")
    assert [len(site.sessions("namer", words)) for words in ("my", "name MY", "NAME", "my cat")] == [1, 1, 1, 0]


def talk_owner() -> str:
    return owner_of({}, None, visitor().session_hash)
