"""What the chat tab's controls do. Every event reads the conversation from the store and gives the page what it shows then.

An event's outputs are, in this order: the message box, the conversation, the candidates, the list of conversations, the visit.
"""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import gradio as gr

from chitchat.engine.decoding import PRESETS
from chitchat.errors import ChitchatError, UnknownSessionError
from chitchat.frontends.presentation import NO_OTHER_REPLY, checked_message
from chitchat.frontends.web.candidates import candidates_html
from chitchat.frontends.web.messages import messages_html
from chitchat.frontends.web.sessions import sessions_html
from chitchat.frontends.web.site import Site
from chitchat.frontends.web.text import Translate
from chitchat.frontends.web.told import told
from chitchat.frontends.web.visitors import owner_of
from chitchat.sessions.session import Session

KNOBS = ("temperature", "top_p", "top_k", "repetition_penalty", "num_candidates", "max_new_tokens")
"""The fields of DecodingConfig that have a slider, in the order in which events hand their values over."""
_MAX_REASON_CHARS = 200
_NO_NUMBER = 10**9
_LOOK_AGAIN_SECONDS = 0.1
T = TypeVar("T")

Shown: TypeAlias = tuple[Any, Any, Any, Any, Any]
"""Values for the five outputs."""


@dataclass(frozen=True)
class Visit:
    """What one load of the page is looking at."""

    session: str | None = None
    """The conversation's id; None before the first message."""
    reply: int | None = None
    """The index of the reply whose candidates are shown; None for the last."""
    rated: int | None = None
    """The index of the reply that was just rated, where a reason may be given."""
    asked: str | None = None
    """The words that are being answered, to be taken back into the message box when the visitor stops that; empty where they
    are still in an edit form, None where there is nothing to take back."""


@dataclass(frozen=True)
class _Asked:
    """What comes with the wish for a reply."""

    request: gr.Request
    visit: Visit
    search: str
    model: str
    knobs: tuple[float, ...]
    text: str | None
    """The user's words; None for another reply to the last ones."""


class Talk:
    """The events of one language's page; keeps nothing of any visitor."""

    def __init__(self, site: Site, t: Translate) -> None:
        self._site = site
        self._t = t

    def arrive(self, request: gr.Request, search: str, *knobs: float) -> tuple[Any, ...]:
        """A visitor who comes back finds the conversation they had last, and preset and knobs as they left them."""
        sessions = self._site.sessions(_owner(request))
        visit = Visit(sessions[0].id if sessions else None)
        return gr.skip(), *self._view(request, visit, search), preset_of(knobs), *knobs

    async def say(
        self, request: gr.Request, text: str, visit: Visit, search: str, model: str, *knobs: float
    ) -> AsyncIterator[Shown]:
        """The words in the message box."""
        async for shown in self._turn(_Asked(request, visit, search, model, knobs, text), lambda s: s.say(text), unsent=text):
            yield shown

    async def on_turn(
        self, event: gr.EventData, request: gr.Request, visit: Visit, search: str, model: str, *knobs: float
    ) -> AsyncIterator[Shown]:
        """A click in the conversation that asks for a reply: an opener, another reply, a message in other words."""
        data = _Data(event)
        text, index = data.text("text"), data.number("index")
        asked = _Asked(request, visit, search, model, knobs, text)
        match data.action:
            case "say":
                turn = self._turn(asked, lambda s: s.say(text))
            case "edit":
                turn = self._turn(asked, lambda s: s.edit(index, text), keep=index)
            case "wait":
                turn = self._wait(asked)
            case _:
                turn = self._turn(replace(asked, text=None), self._again)
        async for shown in turn:
            yield shown

    def on_message(self, event: gr.EventData, request: gr.Request, visit: Visit, search: str) -> Shown:
        """Any other click in the conversation."""
        data = _Data(event)
        index, text = data.number("index"), ""
        seen = Visit(visit.session)
        with told(self._t):
            match data.action:
                case "undo":
                    text = self._change(request, visit, lambda s: s.undo()) or ""
                case "show":
                    seen = replace(seen, reply=index)
                case "rate":
                    reason = data.text("reason")[:_MAX_REASON_CHARS]
                    self._change(request, visit, lambda s: s.rate(data.number("rating"), reason, index))
                    if reason:
                        gr.Info(self._t("记下了，谢谢"))
                    else:
                        seen = replace(seen, rated=index)
                case "correct":
                    words = checked_message(data.text("text"))
                    self._change(request, visit, lambda s: s.correct(words))
        return self._box(text) if text else gr.skip(), *self._view(request, seen, search, lists=data.action == "undo")

    def on_candidate(self, event: gr.EventData, request: gr.Request, visit: Visit, search: str) -> Shown:
        """A click on another candidate of the last reply makes it the reply."""
        with told(self._t):
            number = _Data(event).number("number")
            self._change(request, visit, lambda s: s.pick(number - 1))
        return gr.skip(), *self._view(request, Visit(visit.session), search, lists=False)

    def on_session(self, event: gr.EventData, request: gr.Request, visit: Visit, search: str) -> Shown:
        """A click in the list of conversations. A reply under way is kept, but who goes to another does not wait for it."""
        data, owner, store = _Data(event), _owner(request), self._site.store
        box = gr.skip()
        with told(self._t):
            id = data.text("id")
            found = self._site.accessible(id, owner)
            match data.action:
                case "switch":
                    box, visit = self._box(), Visit(id)
                case "rename":
                    store.rename(id, data.text("name"), owner=found)
                case "delete":
                    if id == visit.session:
                        visit = Visit()
                    forgotten = store.forget(id, owner=found)
                    if forgotten.lingers:
                        raise forgotten.lingers
                    gr.Info(self._t("已删除，不留痕迹"))
        return box, *self._view(request, visit, search)

    def open(self, request: gr.Request, id: str, visit: Visit, search: str) -> tuple[Any, ...]:
        """Opens the conversation of an id that the terminal has shown, and empties the field on success."""
        with told(self._t):
            self._site.accessible(id.strip(), _owner(request))
            return "", gr.skip(), *self._view(request, Visit(id.strip()), search)
        return gr.skip(), gr.skip(), *self._view(request, visit, search)

    def new(self, request: gr.Request, search: str) -> Shown:
        """Makes room for a new conversation; as there, no reply is waited for."""
        return self._box(), *self._view(request, Visit(), search)

    def search(self, request: gr.Request, visit: Visit, search: str) -> str:
        return self._list(request, visit, search)

    def stop(self, request: gr.Request, visit: Visit, search: str) -> Shown:
        """Takes back the words that are being answered; what has been answered meanwhile stays."""
        text = visit.asked or ""
        with told(self._t), suppress(UnknownSessionError):  # unknown: stopped before the first message was kept
            session = self._session(request, visit)
            messages = session.messages
            if visit.asked is not None and messages and messages[-1].role == "user":
                session.undo()
            elif text in [m.content for m in messages if m.role == "user"][-1:]:
                text = ""  # answered meanwhile
        # without a value there is nothing to put back: the visitor may have typed something
        return self._box(text or None), *self._view(request, replace(visit, asked=None), search, waits=False)

    def choose_model(self, name: str) -> Any:
        """Loads the model for the messages to come; the first one is chosen again when it cannot be."""
        with told(self._t):
            self._site.models.get(name)
            gr.Info(self._t("接下来由 {name} 回复").format(name=html.escape(name)))
            return gr.skip()
        return self._site.models.first.name

    def chat(self, request: gr.Request, message: str, session: str = "") -> tuple[str, str]:
        """The endpoint for programs: a message and the session's id (empty for a new one) to the reply and the session's id."""
        try:
            self._pace(request)
            site = self._site
            id = str(session or "") or None
            talk = site.session(id, _owner(request), model=site.models.first.name, decoding=site.decoding)
            with site.turn(talk.id):
                return talk.say(checked_message(str(message or ""))).text, talk.id
        except ChitchatError as error:
            raise gr.Error(str(error), print_exception=False) from None

    async def _turn(
        self, asked: _Asked, act: Callable[[Session], object], *, keep: int | None = None, unsent: str = ""
    ) -> AsyncIterator[Shown]:
        """One reply: shows what is asked while the bot thinks, then what it said; after a fault `unsent` is in the box again.

        The work is done in threads, so that a visitor who stops it does not wait for its end.
        """
        with told(self._t):
            session, waiting = await asyncio.to_thread(self._begin, asked, keep)
            yield waiting
            yield await asyncio.to_thread(self._finish, asked, session, act)
            return
        view = await asyncio.to_thread(self._view, asked.request, Visit(asked.visit.session), asked.search)
        yield self._box(unsent), *view

    async def _wait(self, asked: _Asked) -> AsyncIterator[Shown]:
        """For the end of a turn that was begun elsewhere: before the page was loaded anew, or in another tab."""
        visit = asked.visit
        with told(self._t):
            messages = self._session(asked.request, visit).messages
            visit = replace(visit, asked=messages[-1].content if messages else None)
            yield self._box(is_busy=True), gr.skip(), gr.skip(), gr.skip(), visit
            while visit.session and self._site.is_busy(visit.session):
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        yield self._box(), *self._view(asked.request, replace(visit, asked=None), asked.search)

    def _begin(self, asked: _Asked, keep: int | None) -> tuple[Session, Shown]:
        """The conversation, and what is shown while the bot thinks: `keep` messages (None: all) and the words asked."""
        words = None if asked.text is None else checked_message(asked.text)
        self._pace(asked.request)
        base = self._site.decoding
        values = {f: type(getattr(base, f))(value) for f, value in zip(KNOBS, asked.knobs, strict=True)}
        owner = _owner(asked.request)
        session = self._site.session(asked.visit.session, owner, model=asked.model, decoding=replace(base, **values))
        messages = session.messages
        visit = Visit(session.id, asked=words if keep is None else "")
        if words is None:  # another reply to the last question
            keep = next((n for n in reversed(range(len(messages))) if messages[n].role == "user"), None)
            words = None if keep is None else messages[keep].content
        log = messages_html(messages, self._t, pending=words, keep=keep)
        return session, (self._box(is_busy=True), log, gr.skip(), gr.skip(), visit)

    def _finish(self, asked: _Asked, session: Session, act: Callable[[Session], object]) -> Shown:
        newest = self._site.sessions(_owner(asked.request))[:1]
        with self._site.turn(session.id):
            act(session)
        is_first_in_list = bool(newest) and newest[0].id == session.id
        # without a value: the visitor may have typed the next message meanwhile
        return self._box(), *self._view(asked.request, Visit(session.id), asked.search, lists=not is_first_in_list)

    def _again(self, session: Session) -> None:
        before = session.last_reply
        if session.retry().text == (before and before.text):
            gr.Info(self._t(NO_OTHER_REPLY))

    def _change(self, request: gr.Request, visit: Visit, act: Callable[[Session], T]) -> T:
        session = self._session(request, visit)
        with self._site.turn(session.id):
            return act(session)

    def _session(self, request: gr.Request, visit: Visit) -> Session:
        """The conversation of a visit, for what needs no reply from a certain model."""
        first = self._site.models.first.name
        return self._site.session(visit.session, _owner(request), model=first, decoding=self._site.decoding)

    def _view(self, request: gr.Request, visit: Visit, search: str, *, lists: bool = True, waits: bool = True) -> tuple[Any, ...]:
        """Conversation, candidates, list and visit as they are now; a conversation that is gone makes room for a new one.

        With `waits` a reply that is still to come is shown as such, and the page asks for it.
        """
        try:
            session = self._session(request, visit)
            messages = session.messages
        except UnknownSessionError:
            return self._view(request, Visit(), search)
        replies = [n for n, m in enumerate(messages) if m.role == "assistant"]
        index = visit.reply if visit.reply in replies else replies[-1] if replies else None
        reply = None if index is None else session.reply_at(index)
        weights = session.chatbot.ranker.weights
        candidates = candidates_html(reply, weights, self._t, can_pick=index is not None and index == len(messages) - 1)
        waits = waits and self._site.is_busy(session.id)
        log = messages_html(messages, self._t, asked_reason=visit.rated, waits=waits)
        return log, candidates, self._list(request, visit, search) if lists else gr.skip(), visit

    def _list(self, request: gr.Request, visit: Visit, search: str) -> str:
        sessions = self._site.sessions(_owner(request), search or "")
        return sessions_html(sessions, self._t, current=visit.session, is_search=bool((search or "").strip()))

    def _box(self, text: str | None = None, *, is_busy: bool = False) -> Any:
        """The message box with `text`, or what it holds when None, and with a button to send or to stop."""
        value: dict[str, Any] = {} if text is None else {"value": text}
        return gr.update(submit_btn=not is_busy and self._t("发送"), stop_btn=is_busy and self._t("停止"), **value)

    def _pace(self, request: gr.Request) -> None:
        self._site.pace.count(request.username or request.client.host)


class _Data:
    """What a click has sent; any of it may be forged."""

    def __init__(self, event: gr.EventData) -> None:
        self._data = event._data if isinstance(event._data, dict) else {}
        self.action = self.text("action")

    def text(self, name: str) -> str:
        return str(self._data.get(name, ""))

    def number(self, name: str) -> int:
        """A whole number; for what is none a number that nothing has."""
        digits = self.text(name)
        return int(digits) if re.fullmatch(r"-?[0-9]{1,6}", digits) else _NO_NUMBER


def preset_of(knobs: Sequence[float]) -> str | None:
    """The preset that has the very values of the knobs."""
    return next((key for key, preset in PRESETS.items() if [getattr(preset, f) for f in KNOBS] == list(knobs)), None)


def _owner(request: gr.Request) -> str:
    return owner_of(request.cookies, request.username, request.session_hash)
