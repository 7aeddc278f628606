"""Conversations that the API keeps: for whom, and for whom not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the API is not installed")

import httpx  # noqa: E402
import openai  # noqa: E402
from fastapi import FastAPI  # noqa: E402

from chitchat.dialogue import Candidate, Message, Reply  # noqa: E402
from chitchat.engine.chatbot import Chatbot  # noqa: E402
from chitchat.frontends.api.server import build_api  # noqa: E402
from chitchat.sessions.session import Session  # noqa: E402
from chitchat.sessions.store import Store  # noqa: E402

CHAT = "/v1/chat/completions"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "talks.db")
    yield store
    store.close()


def ask(app: FastAPI, text: str, session: Any, key: str = "", **more: Any) -> httpx.Response:
    """One request with one new message, without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            messages = [{"role": "user", "content": text}]
            body = {"model": "tiny", "messages": messages, "temperature": 0, "chitchat": {"session": session}, **more}
            return await client.post(CHAT, json=body, headers={"Authorization": f"Bearer {key}"})

    return asyncio.run(send())


def said(answer: httpx.Response) -> tuple[str, str]:
    """The reply and the session's id."""
    (choice,) = answer.json()["choices"]
    return choice["message"]["content"], choice["chitchat"]["session"]


def test_a_session_goes_on_with_only_the_new_message(tiny_chatbot: Chatbot, store: Store) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store, fingerprint="abc")
    first, id = said(ask(app, "你好", "new"))
    answer = ask(app, "还不错", id)
    assert (first, said(answer)) == ("你好呀，今天过得怎么样？", ("那就好，有什么开心的事吗？", id))
    assert answer.json()["usage"]["prompt_tokens"] == 21  # of all that the models saw
    terminal = Session.resume(tiny_chatbot, store, id, owner="")  # without a key it is the user's own, here and in the terminal
    assert [m.content for m in terminal.history] == ["你好", first, "还不错", "那就好，有什么开心的事吗？"]


def test_nothing_is_kept_unless_asked_for(tiny_chatbot: Chatbot, store: Store) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store)
    for session in (None, {}):
        more = {} if session is None else {"chitchat": session}
        answer = ask(app, "你好", None, **more)
        assert answer.status_code == 200 and "session" not in answer.json()["choices"][0]["chitchat"]
    misspelt = ask(app, "你好", None, chitchat={"sesion": "new"})
    assert (misspelt.status_code, misspelt.json()["error"]["message"]) == (400, "chitchat.sesion：没有这一项")
    assert store.sessions(owner=None) == []


def test_the_openai_client_streams_in_a_session(tiny_chatbot: Chatbot, store: Store) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store)

    async def talk() -> list[Any]:
        http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/v1")
        async with openai.AsyncOpenAI(base_url="http://test/v1", api_key="x", http_client=http) as client:
            messages: list[Any] = [{"role": "user", "content": "你好"}]
            stream = await client.chat.completions.create(
                model="tiny", messages=messages, stream=True, extra_body={"chitchat": {"session": "new"}}
            )
            return [chunk async for chunk in stream]

    (kept,) = (asyncio.run(talk())[-1].choices[0].model_extra["chitchat"]["session"],)
    assert store.summary(kept, owner="").num_messages == 2


def test_a_key_opens_only_its_own_sessions(tiny_chatbot: Chatbot, store: Store) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store, api_keys=["one", "two"])
    _, id = said(ask(app, "你好", "new", "one"))
    local = Session(tiny_chatbot, store=store)
    local.say("晚安")
    forged = [(id, "two"), (local.id, "one"), (id[:-1], "one"), ("last", "one"), ("' OR 1=1 --", "one"), ("../x\x00", "one")]
    for other, key in forged:
        answer = ask(app, "还不错", other, key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")
        assert "晚安" not in answer.text
    assert ask(app, "还不错", id, "three").status_code == 401
    assert said(ask(app, "还不错", id, "one"))[0] == "那就好，有什么开心的事吗？"
    assert "one" not in store.summary(id, owner=None).owner  # the key itself is not written down
    for bad in ("", "长" * 65, 7, ["new"]):
        assert ask(app, "你好", bad, "one").status_code == 400


def test_a_refused_message_leaves_the_session_as_it_was(tiny_chatbot: Chatbot, store: Store) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store)
    _, id = said(ask(app, "你好", "new"))
    for text in ("", "好" * 2001, "\u200b"):
        assert ask(app, text, id).status_code == 400
    assert ask(app, "你好", id, messages=[{"role": "assistant", "content": "好"}]).status_code == 400
    assert store.summary(id, owner="").num_messages == 2
    assert ask(app, "\u200b", "new").status_code == 400
    assert store.database.read("SELECT id FROM sessions") == [(id,)]  # nor does it begin one


def test_a_new_session_does_not_begin_in_the_middle(tiny_chatbot: Chatbot, store: Store) -> None:
    """What was said before would be forgotten, and its user not know."""
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store)
    system, *talk = [
        {"role": role, "content": text}
        for role, text in (("system", "你是小叙"), ("user", "我叫李四"), ("assistant", "好"), ("user", "还不错"))
    ]
    answer = ask(app, "", "new", messages=[system, *talk])
    assert answer.status_code == 400 and "前面的 2 条" in answer.json()["error"]["message"]
    assert store.sessions(owner=None) == []
    _, id = said(ask(app, "", "new", messages=[system, talk[0]]))
    assert ask(app, "", id, messages=talk).status_code == 200  # a kept one remembers for itself
    assert store.summary(id, owner="").num_messages == 4


def test_without_a_store_sessions_are_refused(tiny_chatbot: Chatbot) -> None:
    answer = ask(build_api(tiny_chatbot, model_name="tiny", count_tokens=len), "你好", "new")
    assert answer.status_code == 400 and "不保存对话" in answer.json()["error"]["message"]


def test_a_store_that_fails_is_not_shown(tiny_chatbot: Chatbot, store: Store, tmp_path: Path) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, store=store)
    store.close()
    answer = ask(app, "你好", "new")
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert str(tmp_path) not in answer.text


def test_one_session_answers_one_request_at_a_time(tiny_chatbot: Chatbot, store: Store) -> None:
    asked, gate = threading.Event(), threading.Event()

    class Slow:
        decoding, max_history_messages = tiny_chatbot.decoding, 5

        def reply(self, context: list[Message], *, decoding: Any, avoid: Any = ()) -> Reply:
            asked.set()
            assert gate.wait(20)
            return Reply("好", (Candidate("好"),), 0.0)

    app = build_api(Slow(), model_name="tiny", count_tokens=len, store=store)  # type: ignore[arg-type]
    transcript = store.new_transcript("")
    transcript.ask("在吗")
    id = transcript.session_id
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, app, "你好", id)
        assert asked.wait(20)
        second = ask(app, "你好", id)
        assert (second.status_code, second.json()["error"]["code"]) == (409, "session_busy")
        gate.set()
        assert first.result().status_code == 200
    assert ask(app, "你好", id).status_code == 200  # given back
