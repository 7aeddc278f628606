"""One conversation in memory: what was said, with another try, a step back and a fresh start."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from chitchat.config import DecodingConfig
from chitchat.dialogue import Message, Reply
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.decoding import derived_seed
from chitchat.errors import ChitchatError


@dataclass
class _Exchange:
    """A user's message and every reply given to it; the last one stands."""

    message: str
    replies: list[Reply] = field(default_factory=list)


class Session:
    """A conversation with a chatbot. Not for two threads at once.

    With `decoding.seed` set, the same inputs give the same replies; every turn and every retry has a seed of its own.

    Args:
        chatbot: who answers.
        decoding: how; may be replaced between turns. The chatbot's own when None.
    """

    def __init__(self, chatbot: Chatbot, decoding: DecodingConfig | None = None) -> None:
        self.chatbot = chatbot
        self.decoding = decoding or chatbot.decoding
        self._exchanges: list[_Exchange] = []

    @property
    def history(self) -> list[Message]:
        """All messages so far, oldest first."""
        return _messages(self._exchanges)

    @property
    def last_reply(self) -> Reply | None:
        """The reply that stands last, with its candidates."""
        return self._exchanges[-1].replies[-1] if self._exchanges else None

    def say(self, text: str) -> Reply:
        """The bot's reply to `text`; the history is as before when this raises."""
        exchange = _Exchange(text)
        reply = self._ask(self._exchanges, exchange)
        exchange.replies.append(reply)
        self._exchanges.append(exchange)
        return reply

    def retry(self) -> Reply:
        """Another reply to the last message in place of the old one, unlike all given to it when that can be.

        Raises ChitchatError when nothing has been said yet.
        """
        if not self._exchanges:
            raise ChitchatError("还没有可以重试的回复：请先说一句")
        exchange = self._exchanges[-1]
        reply = self._ask(self._exchanges[:-1], exchange)
        exchange.replies.append(reply)
        return reply

    def undo(self) -> str | None:
        """Takes back the last exchange and returns the user's message, or None when there was none."""
        return self._exchanges.pop().message if self._exchanges else None

    def reset(self) -> None:
        """Forgets the conversation."""
        self._exchanges.clear()

    def export(self) -> dict[str, Any]:
        """The conversation as a row of the corpus format: `{"messages": [{"role", "content"}, …]}`."""
        return {"messages": [{"role": m.role, "content": m.content} for m in self.history]}

    def export_jsonl(self) -> str:
        """`export()` as one line of JSON, line end included."""
        return json.dumps(self.export(), ensure_ascii=False) + "\n"

    def _ask(self, before: list[_Exchange], exchange: _Exchange) -> Reply:
        decoding = self.decoding
        if decoding.seed is not None:
            decoding = replace(decoding, seed=derived_seed(decoding.seed, len(before), len(exchange.replies)))
        context = [*_messages(before), Message("user", exchange.message)]
        return self.chatbot.reply(context, decoding=decoding, avoid=[r.text for r in exchange.replies])


def _messages(exchanges: list[_Exchange]) -> list[Message]:
    return [m for e in exchanges for m in (Message("user", e.message), Message("assistant", e.replies[-1].text))]
