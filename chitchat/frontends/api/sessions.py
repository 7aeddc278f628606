"""One turn for the API: of a conversation that the request brings with it, or of one that is kept in the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import HTTPException

from chitchat.config import DecodingConfig
from chitchat.dialogue import Message, Reply
from chitchat.engine.chatbot import Chatbot
from chitchat.errors import ChitchatError
from chitchat.frontends.presentation import checked_message
from chitchat.sessions.session import Session
from chitchat.sessions.store import Store

NEW = "new"


@dataclass(frozen=True, slots=True)
class Turn:
    """A reply and what it answers."""

    reply: Reply
    context: Sequence[Message]
    """The messages before the reply."""
    session: str | None = None
    """The id of the conversation when it is kept."""


class Turns:
    """Answers requests. `answer` blocks while the bot thinks, and is for a thread; `claim` is for the event loop.

    Args:
        chatbot: who answers.
        store: where conversations are kept that ask for it; None refuses them.
        model: the fingerprint of the chatbot's weights, kept with each reply.
    """

    def __init__(self, chatbot: Chatbot, store: Store | None, model: str) -> None:
        self._chatbot = chatbot
        self._store = store
        self._model = model
        self._claimed: set[str] = set()

    @contextmanager
    def claim(self, id: str | None) -> Iterator[None]:
        """Holds a kept conversation for one request; raises HTTPException 409 when another request has it."""
        if id is None or id == NEW:
            yield
            return
        if id in self._claimed:
            raise HTTPException(409, "这段对话正在回复另一个请求：请等它答完")
        self._claimed.add(id)
        try:
            yield
        finally:
            self._claimed.discard(id)

    def answer(self, messages: Sequence[Message], decoding: DecodingConfig, *, session: str | None, owner: str) -> Turn:
        """The reply to the last message: after the others, or in the kept conversation `session`, which may be `new`.

        Raises ChitchatError for a user's message that is too long (system prompts are not read, and may be) and for a new
        conversation that would begin in the middle, UnknownSessionError when `owner` has no such conversation.
        """
        for message in messages:
            if message.role == "user":
                checked_message(message.content)
        if session is None:
            return Turn(self._chatbot.reply(messages, decoding=decoding), messages)
        if messages[-1].role != "user":
            raise ChitchatError("最后一条消息应来自用户（user），才能回复")
        earlier = sum(message.role != "system" for message in messages) - 1
        if session == NEW and earlier:
            raise ChitchatError(
                f"chitchat.session：new 从头开始一段对话，前面的 {earlier} 条消息不会记得；请只发一条用户消息，或不用 session"
            )
        kept = self._opened(session, owner, decoding)
        return Turn(kept.say(messages[-1].content), kept.history[:-1], kept.id)

    def _opened(self, id: str, owner: str, decoding: DecodingConfig) -> Session:
        if self._store is None:
            raise ChitchatError("chitchat.session：这里不保存对话（--ephemeral）；请每次带上全部消息")
        if id == NEW:
            return Session(self._chatbot, decoding, self._store, owner, model=self._model)
        return Session.resume(self._chatbot, self._store, id, owner=owner, decoding=decoding, model=self._model)
