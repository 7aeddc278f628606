"""One conversation as its user lives it: say, try again, step back, reword, prefer another reply.

All that was said lies in the store, and is read from there: two tabs, or the page and the terminal, may share one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Message, Reply, Role
from chitchat.engine.chatbot import AVOIDED, OUTRANKED, Chatbot
from chitchat.engine.decoding import derived_seed
from chitchat.errors import ChitchatError, StoreError
from chitchat.sessions.store import Store
from chitchat.sessions.transcript import Origin, StoredMessage


def may_pick(candidate: Candidate) -> bool:
    """Whether a user who wants it may have it: that another was better, or that it was said before, stands against no wish."""
    return candidate.rejected in (None, AVOIDED, OUTRANKED)


class Session:
    """A conversation with a chatbot, every message on disk before it is shown.

    With `decoding.seed` set, the same inputs give the same replies; every turn and every retry has a seed of its own.

    Args:
        chatbot: who answers.
        decoding: how; may be replaced between turns. The chatbot's own when None.
        store: where it is kept; a private one in memory when None.
        owner: whose it is: "" for the user of this machine, else a login name or a visitor's secret.
        model: the fingerprint of the chatbot's weights (`checkpoint.model_fingerprint`), kept with each reply.
    """

    def __init__(
        self,
        chatbot: Chatbot,
        decoding: DecodingConfig | None = None,
        store: Store | None = None,
        owner: str = "",
        *,
        model: str = "",
    ) -> None:
        self.chatbot = chatbot
        self.decoding = decoding or chatbot.decoding
        self.store = store or Store()
        self.model = model
        self._transcript = self.store.new_transcript(owner)

    @classmethod
    def resume(
        cls,
        chatbot: Chatbot,
        store: Store,
        id: str,
        *,
        owner: str | None,
        decoding: DecodingConfig | None = None,
        model: str = "",
    ) -> Session:
        """The conversation `id` of a store, to go on with; raises UnknownSessionError when `owner` has none of that id.

        `owner` None is whoever may see all, such as the command line.
        """
        session = cls(chatbot, decoding, store, model=model)
        session._transcript = store.transcript(id, owner=owner)
        return session

    @property
    def id(self) -> str:
        """What `resume` finds it by; unguessable. In the store from the first message on."""
        return self._transcript.session_id

    @property
    def owner(self) -> str:
        return self._transcript.owner

    @property
    def messages(self) -> list[StoredMessage]:
        """All messages that stand, oldest first, with ids, times and ratings."""
        return self._transcript.messages()

    @property
    def history(self) -> list[Message]:
        """All messages so far, oldest first. The last is the user's own when a crash or a kill left it unanswered."""
        return [Message(m.role, m.content) for m in self.messages]

    @property
    def last_reply(self) -> Reply | None:
        """The reply that stands last, with its candidates; None when the last message has none."""
        messages = self.messages
        return self._transcript.reply(messages[-1].id) if messages and messages[-1].role == "assistant" else None

    def reply_at(self, index: int) -> Reply:
        """The reply at `index` of `history`, with its candidates."""
        return self._transcript.reply(_message(self.messages, index, "assistant").id)

    def say(self, text: str) -> Reply:
        """The bot's reply to `text`; the history is as before when this raises."""
        before = self.messages
        return self._answer(before, self._transcript.ask(text), text)

    def retry(self) -> Reply:
        """Another reply to the last message in place of the old one, unlike all given to it when that can be.

        Raises ChitchatError when nothing has been said yet.
        """
        messages = self.messages
        question = _last_question(messages)
        if question is None:
            raise ChitchatError("还没有可以重试的回复：请先说一句")
        before = messages[: messages.index(question)]
        return self._ask(before, question.id, question.content)

    def undo(self) -> str | None:
        """Takes back the last exchange and returns the user's message, or None when there was none."""
        question = _last_question(self.messages)
        if question is None:
            return None
        self._transcript.take_back(question.id)
        return question.content

    def edit(self, index: int, text: str) -> Reply:
        """Says `text` instead of the user's message at `index` of `history`, taking back all that followed it.

        The history is as before when this raises.
        """
        messages = self.messages
        question = _message(messages, index, "user")
        before = messages[: messages.index(question)]
        return self._answer(before, self._transcript.ask(text, instead_of=question.id), text)

    def pick(self, candidate_index: int) -> Reply:
        """Makes another candidate of the last reply the reply, and remembers that the user preferred it.

        Raises ChitchatError when there is no such candidate, or it must not be said.
        """
        last = self._last_message()
        candidates = self._transcript.reply(last.id).candidates
        if not 0 <= candidate_index < len(candidates):
            raise ChitchatError(f"没有第 {candidate_index + 1} 个候选：共 {len(candidates)} 个")
        candidate = candidates[candidate_index]
        if not may_pick(candidate):
            raise ChitchatError(f"这个候选不能选：{candidate.rejected}")
        return self._prefer(last, candidate.text, "pick")

    def correct(self, text: str) -> Reply:
        """Makes the user's own words the last reply, and remembers that this should have been said."""
        if not text.strip():
            raise ChitchatError("回复是空的：请写出你想要的回复")
        return self._prefer(self._last_message(), text.strip(), "correction")

    def rate(self, rating: int, reason: str = "", index: int = -1) -> None:
        """Notes what the user thinks of the reply at `index` of `history`: 1 good, -1 bad, 0 takes it back."""
        if rating not in (-1, 0, 1):
            raise ChitchatError(f"评价应为 1（好）、-1（不好）或 0（取消），得到 {rating}")
        self._transcript.rate(_message(self.messages, index, "assistant").id, rating, reason.strip() if rating else "")

    def reset(self) -> None:
        """Forgets the conversation: its messages are removed from the store, its name stays."""
        self._transcript.clear()

    @property
    def name(self) -> str:
        """What the user called it, or the start of what was said first."""
        return self.store.summary(self.id, owner=None).title if self.messages else ""

    def rename(self, name: str) -> None:
        """Raises ChitchatError before the first message: there is nothing to name yet."""
        if not self.messages:
            raise ChitchatError("还没有可以起名的对话：请先说一句")
        self.store.rename(self.id, name, owner=None)

    def export(self) -> dict[str, Any]:
        """The conversation as a row of the corpus format: `{"messages": [{"role", "content"}, …]}`."""
        return {"messages": [{"role": m.role, "content": m.content} for m in self.history]}

    def export_jsonl(self) -> str:
        """`export()` as one line of JSON, line end included."""
        return json.dumps(self.export(), ensure_ascii=False) + "\n"

    def _answer(self, before: list[StoredMessage], question: int, text: str) -> Reply:
        """The reply to a message just kept, which is taken back when there is none to be had."""
        try:
            return self._ask(before, question, text)
        except BaseException:
            with suppress(StoreError):  # what went wrong first is what the user should hear of
                self._transcript.take_back(question)
            raise

    def _ask(self, before: list[StoredMessage], question: int, text: str) -> Reply:
        given = self._transcript.replies_to(question)
        decoding = self.decoding
        if decoding.seed is not None:
            turn = sum(m.role == "user" for m in before)
            decoding = replace(decoding, seed=derived_seed(decoding.seed, turn, len(given)))
        context = [*(Message(m.role, m.content) for m in before), Message("user", text)]
        reply = self.chatbot.reply(context, decoding=decoding, avoid=given)
        self._transcript.answer(question, reply, decoding=decoding, model=self.model)
        return reply

    def _last_message(self) -> StoredMessage:
        messages = self.messages
        if not messages or messages[-1].role != "assistant":
            raise ChitchatError("还没有回复：请先说一句")
        return messages[-1]

    def _prefer(self, last: StoredMessage, text: str, origin: Origin) -> Reply:
        preferred = last.id if text == last.content else self._transcript.prefer(last.id, text, origin)
        return self._transcript.reply(preferred)


def _message(messages: list[StoredMessage], index: int, role: Role) -> StoredMessage:
    """The message at an index that a user gave; raises ChitchatError when it is none, or not of that role."""
    if not -len(messages) <= index < len(messages):
        raise ChitchatError(f"没有第 {index} 条消息：共 {len(messages)} 条" if messages else "还没有消息：请先说一句")
    if messages[index].role != role:
        raise ChitchatError("这一条是对方说的，只能改自己说的话" if role == "user" else "这一条是自己说的，没有候选，也不能评价")
    return messages[index]


def _last_question(messages: list[StoredMessage]) -> StoredMessage | None:
    return next((m for m in reversed(messages) if m.role == "user"), None)
