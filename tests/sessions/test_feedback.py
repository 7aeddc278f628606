"""Feedback as TRL reads it, and exports that are remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chitchat.corpus.reading.readers import read_dialogues
from chitchat.engine.chatbot import Chatbot
from chitchat.errors import ConfigError, StoreError
from chitchat.evaluation.judgements import read_judgements
from chitchat.sessions.export import export_file, export_text
from chitchat.sessions.feedback import export_feedback
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

Talk = Callable[..., Session]
PHONE = "13812345678"


def exported(store: Store, format: str, path: Path) -> list[dict[str, Any]]:
    export_feedback(store, format, path)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pairs(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(r["chosen"][0]["content"], r["rejected"][0]["content"], r["origin"]) for r in rows]


def pick(session: Session, text: str) -> None:
    reply = session.last_reply
    assert reply is not None
    session.pick([c.text for c in reply.candidates].index(text))


def test_dpo_pairs_what_was_preferred_with_what_was_not(talk: Talk, store: Store, tmp_path: Path) -> None:
    session = talk("你好", "在吗")
    pick(session, "在吗怎么了")
    other = talk("早")
    other.correct("早呀，睡得好吗")
    judged = talk("晚安")
    judged.rate(-1, "太生硬")
    judged.retry()
    judged.rate(1)
    talk("没有评价")
    rows = exported(store, "dpo", tmp_path / "dpo.jsonl")
    assert pairs(rows) == [
        ("在吗怎么了", "说说在吗吧", "pick"),
        ("早呀，睡得好吗", "说说早吧", "correction"),
        ("晚安怎么了", "说说晚安吧", "rating"),
    ]
    assert rows[0]["prompt"] == [
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "说说你好吧"},
        {"role": "user", "content": "在吗"},
    ]
    for row in rows:  # TRL's conversational preference form: https://huggingface.co/docs/trl/dataset_formats
        assert row["prompt"][-1]["role"] == "user"
        for key in ("chosen", "rejected"):
            assert [m.keys() for m in row[key]] == [{"role", "content"}] and row[key][0]["role"] == "assistant"
        assert row["model"] == "abc-def" and row["decoding"]["temperature"] and len(row["candidates"]) == 4
    assert rows[2]["reason"] == "太生硬"


def test_kto_labels_each_judged_reply(talk: Talk, store: Store, tmp_path: Path) -> None:
    session = talk("你好")
    session.rate(1, "热情")
    session.say("在吗")
    pick(session, "在吗怎么了")
    rows = exported(store, "kto", tmp_path / "kto.jsonl")
    assert [(r["completion"][0]["content"], r["label"]) for r in rows] == [
        ("说说你好吧", True),
        ("在吗怎么了", True),
        ("说说在吗吧", False),
    ]
    assert all(r["label"] in (True, False) and r["completion"][0]["role"] == "assistant" for r in rows)
    assert rows[0]["prompt"] == [{"role": "user", "content": "你好"}] and rows[0]["reason"] == "热情"


def test_judgements_are_what_the_reward_model_and_the_ranking_learn_from(talk: Talk, store: Store, tmp_path: Path) -> None:
    session = talk("你好")
    session.rate(1)
    session.say("在吗")
    pick(session, "在吗怎么了")
    session.say("走了")
    session.correct("明天见")
    exported(store, "judgements", tmp_path / "mine.jsonl")
    hello, there, leaving = read_judgements(tmp_path / "mine.jsonl")
    assert [(c.text, grade) for c, grade in zip(hello.candidates, hello.grades, strict=True)] == [("说说你好吧", 2)]
    assert there.context == ("你好", "说说你好吧", "在吗")
    assert dict(zip([c.text for c in there.candidates], there.grades, strict=True)) == {"在吗怎么了": 2, "说说在吗吧": 0}
    assert leaving.written == ("明天见",) and dict(zip([c.text for c in leaving.candidates], leaving.grades, strict=True)) == {
        "说说走了吧": 0
    }


def test_the_later_word_counts(talk: Talk, store: Store, tmp_path: Path) -> None:
    session = talk("在吗")
    pick(session, "在吗怎么了")
    pick(session, "说说在吗吧")  # after all
    assert pairs(exported(store, "dpo", tmp_path / "f.jsonl")) == [("说说在吗吧", "在吗怎么了", "pick")]
    session.rate(-1)
    session.rate(0)
    labels = {r["completion"][0]["content"]: r["label"] for r in exported(store, "kto", tmp_path / "f.jsonl")}
    assert labels == {"说说在吗吧": True, "在吗怎么了": False}


def test_what_was_taken_back_is_no_feedback(talk: Talk, store: Store, tmp_path: Path) -> None:
    session = talk("你好", "在吗")
    session.rate(1)
    session.undo()
    session.rate(-1)
    store.transcript(session.id, owner="").ask("您好", instead_of=session.messages[0].id)  # edited, and not answered yet
    with pytest.raises(StoreError, match="还没有"):
        export_feedback(store, "dpo", tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()
    with pytest.raises(ConfigError, match="dpo / kto / judgements"):
        export_feedback(store, "ppo", tmp_path / "none.jsonl")


def test_personal_data_is_masked_for_training(talk: Talk, store: Store, tmp_path: Path) -> None:
    session = talk(f"我的电话是{PHONE}")
    session.rate(-1, f"不该念出{PHONE}")
    session.correct(f"好，{PHONE}记下了")
    for format in ("dpo", "kto", "judgements"):
        export_feedback(store, format, tmp_path / "f.jsonl")
        assert PHONE not in (tmp_path / "f.jsonl").read_text(encoding="utf-8")
    assert PHONE not in export_text(store, session.id, "training", owner="")
    assert PHONE in export_text(store, session.id, "jsonl", owner="")


def test_the_same_feedback_gives_the_same_file(talk: Talk, store: Store, tmp_path: Path) -> None:
    for text in ("一", "二", "三"):
        talk(text).rate(1)
    for name in ("a", "b"):
        export_feedback(store, "kto", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_export_reads_as_what_was_said(talk: Talk, store: Store, tmp_path: Path, echo: Chatbot) -> None:
    session = talk("你好", "在吗")
    path = tmp_path / "talk.jsonl"
    export_file(store, session.id, "jsonl", path, owner="")
    (dialogue,) = read_dialogues(path)
    assert list(dialogue.messages) == [m.content for m in session.history]
    assert path.read_text(encoding="utf-8") == session.export_jsonl()
    text = export_text(store, session.id, "md", owner="")
    assert text.startswith("# 你好\n") and "**小叙**" in text and "：说说在吗吧\n" in text
    with pytest.raises(ConfigError, match="md / jsonl / training"):
        export_text(store, session.id, "pdf", owner="")
    with pytest.raises(StoreError):
        export_text(store, session.id, "md", owner="别人")


def test_forgetting_names_every_file_made_from_it(talk: Talk, store: Store, tmp_path: Path) -> None:
    session, other = talk("你好"), talk("别的")
    for name in ("kept.md", "changed.md", "gone.md"):
        export_file(store, session.id, "md", tmp_path / name, owner="")
    (tmp_path / "changed.md").write_text("改过", encoding="utf-8")
    (tmp_path / "gone.md").unlink()
    session.rate(1)
    other.rate(1)
    export_feedback(store, "kto", tmp_path / "kto.jsonl")
    forgotten = store.forget(session.id, owner="")
    assert [(e.path.name, e.format, e.state) for e in forgotten.exports] == [
        ("kept.md", "md", "还在"),
        ("changed.md", "md", "还在，但内容已变"),
        ("gone.md", "md", "已不在原处"),
        ("kto.jsonl", "kto", "还在"),
    ]
    assert [e.path.name for e in store.exports(other.id)] == ["kto.jsonl"]
