"""A conversation as a user lives it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from chitchat import Chatbot, Message
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.engine.chatbot import DEFAULT_FALLBACKS
from chitchat.engine.reranking import Ranker
from chitchat.errors import ChitchatError
from chitchat.sessions.session import Session

COLD = DecodingConfig(temperature=0.3)
HOT = DecodingConfig(temperature=2.0, top_k=0, top_p=1.0, seed=11)


def test_history_carries_the_context(tiny_chatbot: Chatbot) -> None:
    session = Session(tiny_chatbot, COLD)
    assert session.last_reply is None
    assert session.say("今天好累啊").text == "辛苦了，早点休息吧。"
    reply = session.say("睡不着")
    assert reply.text == "听点轻音乐试试？"
    assert session.last_reply == reply
    assert [(m.role, m.content) for m in session.history] == [
        ("user", "今天好累啊"),
        ("assistant", "辛苦了，早点休息吧。"),
        ("user", "睡不着"),
        ("assistant", "听点轻音乐试试？"),
    ]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_failed_turn_leaves_no_trace(tiny_chatbot: Chatbot, text: str) -> None:
    session = Session(tiny_chatbot, COLD)
    session.say("在干嘛")
    before = session.history
    with pytest.raises(ChitchatError):
        session.say(text)
    assert session.history == before


def test_undo_and_reset(tiny_chatbot: Chatbot) -> None:
    session = Session(tiny_chatbot, COLD)
    assert session.undo() is None
    first = session.say("今天好累啊")
    session.say("睡不着")
    assert session.undo() == "睡不着"
    assert len(session.history) == 2
    assert session.last_reply == first
    assert session.say("睡不着").text == "听点轻音乐试试？"
    session.reset()
    assert session.history == []
    assert session.last_reply is None


def test_retry_replaces_and_does_not_repeat(tiny_chatbot: Chatbot) -> None:
    with pytest.raises(ChitchatError, match="先说一句"):
        Session(tiny_chatbot).retry()
    for decoding in (
        HOT,
        DecodingConfig(temperature=2.0, top_k=0, top_p=1.0),
        DecodingConfig(strategy="greedy", temperature=2.0),
    ):
        session = Session(tiny_chatbot, decoding)
        session.say("在干嘛")
        texts = [session.say("你喜欢什么").text, session.retry().text, session.retry().text]
        assert len(set(texts)) == 3
        assert len(session.history) == 4
        assert session.history[-1] == Message("assistant", texts[-1])
        assert session.last_reply is not None and session.last_reply.text == texts[-1]


def test_seed_repeats_a_conversation(tiny_chatbot: Chatbot) -> None:
    def talk(decoding: DecodingConfig) -> list[str]:
        session = Session(tiny_chatbot, decoding)
        return [session.say("你好").text, session.say("你喜欢什么").text, session.retry().text, session.say("我也是").text]

    first = talk(HOT)
    assert talk(HOT) == first
    assert talk(DecodingConfig(temperature=2.0, top_k=0, top_p=1.0, seed=12)) != first


def test_turns_do_not_share_a_seed(tiny_chatbot: Chatbot) -> None:
    session = Session(tiny_chatbot, HOT)
    proposed = []
    for _ in range(3):
        reply = session.say("你喜欢什么")
        proposed.append({c.text for c in reply.candidates})
    assert proposed[0] != proposed[1] != proposed[2]


class Noting:
    """Proposes something new each time and notes the seed it was given."""

    def __init__(self) -> None:
        self.seeds: list[int | None] = []

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        self.seeds.append(decoding.seed)
        return [Candidate(f"第{len(self.seeds)}种说法")]


def test_every_turn_and_every_retry_has_a_seed_of_its_own() -> None:
    def seeds(seed: int | None) -> list[int | None]:
        generator = Noting()
        session = Session(Chatbot([generator], None, None, Ranker(), DecodingConfig()), DecodingConfig(seed=seed))
        session.say("你好")
        session.retry()
        session.retry()
        session.say("你好")
        return generator.seeds

    assert len(set(seeds(11))) == 4
    assert seeds(11) == seeds(11) != seeds(12)
    assert seeds(None) == [None] * 4


def test_export(tiny_chatbot: Chatbot) -> None:
    session = Session(tiny_chatbot, COLD)
    session.say("外面下雨了")
    messages = [{"role": "user", "content": "外面下雨了"}, {"role": "assistant", "content": "记得带伞哦。"}]
    assert session.export() == {"messages": messages}
    assert json.loads(session.export_jsonl()) == session.export()
    assert session.export_jsonl().endswith("\n") and "\\u" not in session.export_jsonl()


def test_settings_may_change_between_turns(tiny_chatbot: Chatbot) -> None:
    session = Session(tiny_chatbot)
    assert session.decoding is tiny_chatbot.decoding
    session.decoding = DecodingConfig(strategy="greedy")
    assert len(session.say("在干嘛").candidates) == 1


def test_the_bot_does_not_repeat_itself(tiny_chatbot: Chatbot) -> None:
    session = Session(tiny_chatbot, COLD)
    said = [session.say("在干嘛").text for _ in range(3)]
    assert len(set(said)) == 3
    assert said[0] not in DEFAULT_FALLBACKS
