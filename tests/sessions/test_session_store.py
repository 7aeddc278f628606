"""A conversation over its store: taken up again, reworded, preferred, judged; shared by two tabs, cut off by a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from chitchat.checkpoint import model_fingerprint
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Message
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.errors import ChitchatError, StoreError
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

Talk = Callable[..., Session]


def texts(session: Session) -> list[str]:
    return [m.content for m in session.history]


def test_a_conversation_is_taken_up_where_it_was(talk: Talk, store: Store, echo: Chatbot) -> None:
    session = talk("你好", "在吗")
    session.rate(-1, "答非所问")
    reply = session.last_reply
    again = Session.resume(echo, Store(store.path), session.id, owner="")
    assert again.history == session.history
    assert again.last_reply == reply  # every candidate, to the last bit
    assert (again.messages[-1].rating, again.messages[-1].reason) == (-1, "答非所问")
    again.say("走了")
    assert texts(session)[-2:] == ["走了", "说说走了吧"]


def test_every_candidate_is_kept_with_how_it_came_about(talk: Talk, store: Store) -> None:
    session = talk("你好")
    (row,) = store.database.read("SELECT model, decoding, candidates FROM replies")
    assert row[0] == "abc-def"
    assert DecodingConfig(**json.loads(row[1])) == session.decoding
    first, *_, last = session.reply_at(1).candidates
    assert (first.text, first.source, first.forward_log_prob, first.num_tokens) == ("说说你好吧", "retrieval", -1.5, 4)
    assert (first.reverse_log_prob, first.reverse_last_log_prob, first.prior_log_prob) == (-20.25, -3.125, -7.5)
    assert first.is_truncated and first.features and first.score > float("-inf")
    assert last.rejected is not None


def test_the_message_is_kept_before_the_bot_thinks(store: Store) -> None:
    class Peek:
        def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
            (summary,) = Store(store.path).sessions(owner="")
            assert summary.first_line == context[-1]
            return [Candidate("看到了")]

    assert Session(Chatbot([Peek()], None, None, Ranker(), DecodingConfig()), store=store).say("你好").text == "看到了"


def test_what_a_crash_left_unanswered_is_answered_by_retry(talk: Talk, store: Store, echo: Chatbot) -> None:
    session = talk("你好")
    store.transcript(session.id, owner="").ask("在吗")  # and the power went
    again = Session.resume(echo, store, session.id, owner="")
    assert again.history[-1] == Message("user", "在吗")
    assert again.last_reply is None
    assert again.retry().text == "说说在吗吧"
    assert texts(again) == ["你好", "说说你好吧", "在吗", "说说在吗吧"]


@pytest.mark.parametrize(
    "fail", [lambda s: s.say("崩溃"), lambda s: s.edit(0, "崩溃"), lambda s: s.say(" "), lambda s: s.edit(2, "")]
)
def test_a_failure_leaves_the_conversation_as_it_was(talk: Talk, fail: Callable[[Session], object]) -> None:
    session = talk("你好", "在吗")
    before = session.messages
    with pytest.raises((RuntimeError, ChitchatError)):
        fail(session)
    assert session.messages == before


def test_editing_takes_back_what_followed(talk: Talk, store: Store) -> None:
    session = talk("你好", "在吗", "走了")
    assert session.edit(2, "吃了吗").text == "说说吃了吗吧"
    assert texts(session) == ["你好", "说说你好吧", "吃了吗", "说说吃了吗吧"]
    assert store.database.read("SELECT count(*) FROM messages")[0][0] == 4
    assert session.undo() == "吃了吗"
    assert texts(session) == ["你好", "说说你好吧"]
    for index in (1, 2, -3):
        with pytest.raises(ChitchatError):
            session.edit(index, "不行")


def test_another_candidate_or_wording_becomes_the_reply(talk: Talk) -> None:
    session = talk("你好", "在吗")
    wanted = next(i for i, c in enumerate(session.reply_at(3).candidates) if c.text == "在吗怎么了")
    reply = session.pick(wanted)
    assert reply.text == texts(session)[-1] == "在吗怎么了"
    assert reply.candidates == session.reply_at(3).candidates
    assert session.correct("  在的，怎么啦 ").text == texts(session)[-1] == "在的，怎么啦"
    assert session.retry().text == "为什么是在吗"  # the only one not given yet
    with pytest.raises(ChitchatError, match="循环"):
        session.pick(next(i for i, c in enumerate(reply.candidates) if c.rejected))
    for bad in (-1, 99):
        with pytest.raises(ChitchatError, match="没有"):
            session.pick(bad)
    with pytest.raises(ChitchatError, match="空"):
        session.correct(" ")


def test_before_anything_is_said_there_is_nothing_to_judge(talk: Talk) -> None:
    session = talk()
    for act in (lambda: session.pick(0), lambda: session.correct("好"), lambda: session.rate(1), session.retry):
        with pytest.raises(ChitchatError, match="先说一句"):
            act()
    assert session.undo() is None and session.history == []
    session.say("你好")
    for rating in (2, -2):
        with pytest.raises(ChitchatError):
            session.rate(rating)
    with pytest.raises(ChitchatError):
        session.rate(1, index=0)


def test_two_tabs_share_a_conversation(talk: Talk, store: Store, echo: Chatbot) -> None:
    one = talk("你好")
    two = Session.resume(echo, store, one.id, owner="")
    one.say("甲说")
    two.say("乙说")
    assert texts(one) == texts(two) == ["你好", "说说你好吧", "甲说", "说说甲说吧", "乙说", "说说乙说吧"]


def test_a_message_taken_back_in_another_tab_gets_no_reply(store: Store) -> None:
    class Undo:
        def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
            if context[-1] == "慢":
                session.undo()
            return [Candidate(f"说说{context[-1]}吧")]

    session = Session(Chatbot([Undo()], None, None, Ranker(), DecodingConfig()), store=store)
    session.say("你好")
    with pytest.raises(StoreError, match="撤回"):
        session.say("慢")
    assert texts(session) == ["你好", "说说你好吧"]


def test_a_seed_gives_the_same_reply_after_resuming(store: Store) -> None:
    class Sampled:
        def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
            return [Candidate(f"掷出了{decoding.seed}")]

    chatbot = Chatbot([Sampled()], None, None, Ranker(), DecodingConfig(seed=11))
    unbroken, broken = Session(chatbot), Session(chatbot, store=store)
    assert broken.say("你好").text == unbroken.say("你好").text
    again = Session.resume(chatbot, store, broken.id, owner="")
    replies = [[s.say("在吗").text, s.retry().text, s.edit(2, "人呢").text] for s in (again, unbroken)]
    assert replies[0] == replies[1]
    assert len(set(replies[0])) == 2  # an edited message is the same turn, tried for the first time


def test_a_fingerprint_tells_weights_apart(tmp_path: Path) -> None:
    for direction in ("forward", "reverse"):
        (tmp_path / direction).mkdir()
        (tmp_path / direction / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / direction / "model.safetensors").write_bytes(b"weights")
    before = model_fingerprint(tmp_path)
    assert before == model_fingerprint(tmp_path) and len(before) == 33
    (tmp_path / "reverse" / "model.safetensors").write_bytes(b"other weights")
    assert model_fingerprint(tmp_path) != before
    assert model_fingerprint(tmp_path / "forward") == before[:16]
