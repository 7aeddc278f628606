"""A chatbot without a model, for tests of what is kept rather than of what is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.reranking import Ranker
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store


class Echo:
    """Proposes three replies that quote the message, the first with every figure a candidate can have."""

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        said = context[-1]
        if "崩溃" in said:
            raise RuntimeError("模型出错")
        scored = Candidate(
            f"说说{said}吧", "retrieval", -1.5, -20.25, -3.125, 4, 9, True, -7.5, 0.75, {"length": 4.0}, rejected=None
        )
        return [scored, Candidate(f"{said}怎么了"), Candidate(f"为什么是{said}"), Candidate("哈" * 40, rejected="循环")]


@pytest.fixture
def echo() -> Chatbot:
    return Chatbot([Echo()], None, None, Ranker(), DecodingConfig())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data" / "talks.db")


@pytest.fixture
def talk(echo: Chatbot, store: Store) -> Callable[..., Session]:
    """A new conversation in `store` in which the given things were said."""

    def make(*said: str, owner: str = "") -> Session:
        session = Session(echo, store=store, owner=owner, model="abc-def")
        for text in said:
            session.say(text)
        return session

    return make
