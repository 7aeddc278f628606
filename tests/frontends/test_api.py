"""The API as its clients meet it: the unchanged `openai` client, plain HTTP, and hostile input."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the API is not installed")

import httpx  # noqa: E402
import openai  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import FastAPI  # noqa: E402

from chitchat.dialogue import Candidate, Message, Reply  # noqa: E402
from chitchat.engine.chatbot import OUTRANKED, SHORTLIST, Chatbot  # noqa: E402
from chitchat.errors import ConfigError  # noqa: E402
from chitchat.frontends.api import gate  # noqa: E402
from chitchat.frontends.api.gate import MAX_BODY_BYTES, local_hosts, read_keys  # noqa: E402
from chitchat.frontends.api.server import build_api, serve  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "你好"}], "temperature": 0}


def served(app: FastAPI) -> Iterator[str]:
    """The address of an app served by a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(tiny_chatbot: Chatbot) -> Iterator[str]:
    yield from served(build_api(tiny_chatbot, model_name="tiny", count_tokens=len))


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


def post(app: FastAPI, body: Any = HELLO, path: str = CHAT, **options: Any) -> httpx.Response:
    """One request to an app that is not served, without a socket."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, json=body, **options)

    return asyncio.run(send())


def test_the_openai_client_talks(client: openai.OpenAI) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "你是小叙"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "你好呀，今天过得怎么样？"},
        {"role": "user", "content": [{"type": "text", "text": "还不错"}]},
    ]
    ours = {"chitchat": {"candidates": True}}
    done = client.chat.completions.create(model="tiny", messages=messages, temperature=0, extra_body=ours)
    assert done.choices[0].message.content == "那就好，有什么开心的事吗？"
    assert (done.choices[0].finish_reason, done.choices[0].message.role, done.object) == ("stop", "assistant", "chat.completion")
    assert done.usage is not None
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (21, 13, 34)
    candidates = done.choices[0].model_extra["chitchat"]["candidates"]  # type: ignore[index]
    assert candidates[0]["text"] == done.choices[0].message.content
    assert candidates[0]["forward_log_prob"] < 0 and candidates[0]["reverse_log_prob"] < 0 and candidates[0]["features"]
    assert [m.id for m in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


def test_the_openai_client_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(**HELLO, stream=True, n=2, stream_options={"include_usage": True})
    chunks = list(stream)
    texts = {
        i: "".join(c.choices[0].delta.content or "" for c in chunks if c.choices and c.choices[0].index == i) for i in (0, 1)
    }
    assert texts[0] == "你好呀，今天过得怎么样？" and texts[1]
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop", "stop"]
    assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0
    assert len({c.id for c in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_candidates_come_once_and_when_asked_for(http: httpx.Client, stream: bool) -> None:
    def answer(**ours: Any) -> list[dict[str, Any]]:
        text = http.post(CHAT, json=HELLO | {"n": 3, "stream": stream, "chitchat": ours}).text
        events = [event.removeprefix("data: ") for event in text.split("\n\n") if event not in ("", "data: [DONE]")]
        return [choice for event in events for choice in json.loads(event)["choices"]]

    for asked, of_reply in ((False, {"seconds", "is_fallback"}), (True, {"seconds", "is_fallback", "candidates"})):
        extensions = [(c["index"], c["chitchat"].keys()) for c in answer(candidates=asked) if "chitchat" in c]
        assert extensions == [(0, of_reply)]
    assert answer(candidates=True)[2 if stream else 0]["chitchat"]["candidates"][0]["features"]


def test_a_stream_ends_in_done(http: httpx.Client) -> None:
    answer = http.post(CHAT, json=HELLO | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: ") for event in events[:-1])


def test_several_choices_are_the_best_candidates(client: openai.OpenAI) -> None:
    ours = {"chitchat": {"candidates": True}}
    done = client.chat.completions.create(**HELLO | {"temperature": 2, "seed": 7}, n=6, extra_body=ours)
    said = [c.message.content for c in done.choices]
    candidates = done.choices[0].model_extra["chitchat"]["candidates"]
    fit = [c["text"] for c in candidates if c["rejected"] is None]
    outranked = [c["text"] for c in candidates if c["rejected"] == OUTRANKED]
    assert [c.index for c in done.choices] == [*range(6)]
    assert len(fit) == SHORTLIST and said == (fit + outranked)[:6], "those not scored in full make up the number"


def test_temperature_zero_and_a_seed_repeat_a_reply(client: openai.OpenAI) -> None:
    def said(**options: Any) -> list[str | None]:
        return [c.message.content for c in client.chat.completions.create(**HELLO | options).choices]

    assert said(temperature=0) == said(temperature=0) == ["你好呀，今天过得怎么样？"]
    assert said(temperature=2, seed=7, n=6) == said(temperature=2, seed=7, n=6)
    assert said(temperature=2, seed=-1, n=6) == said(temperature=2, seed=-1, n=6)
    assert said(temperature=2, seed=7, n=6) != said(temperature=2, seed=8, n=6)


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"max_tokens": 3}, "你好呀", "length"),
        ({"max_completion_tokens": 4, "max_tokens": 2}, "你好呀，", "length"),
        ({"max_tokens": 12}, "你好呀，今天过得怎么样？", "stop"),
        ({"stop": "，"}, "你好呀", "stop"),
        ({"stop": ["怎", "天", "没有"]}, "你好呀，今", "stop"),
        ({"stop": ["怎"], "max_tokens": 2}, "你好", "length"),
        ({"response_format": {"type": "text"}, "modalities": ["text"], "top_logprobs": 0}, "你好呀，今天过得怎么样？", "stop"),
        ({"stop": None, "top_p": 0, "frequency_penalty": 1, "user": "u", "tools": []}, "你好呀，今天过得怎么样？", "stop"),
    ],
)
def test_a_reply_is_cut(client: openai.OpenAI, options: Any, text: str, reason: str) -> None:
    (choice,) = client.chat.completions.create(**HELLO | options).choices
    assert (choice.message.content, choice.finish_reason) == (text, reason)


def test_score(http: httpx.Client, tiny_chatbot: Chatbot) -> None:
    pairs = [{"context": ["你好"], "reply": "你好呀，今天过得怎么样？"}, {"context": "晚安", "reply": "你好"}, {"reply": "你好"}]
    found = http.post("/v1/score", json={"pairs": pairs}).json()["data"]
    assert tiny_chatbot.forward_scorer is not None and tiny_chatbot.reverse_scorer is not None
    forward = tiny_chatbot.forward_scorer.score([(["你好"], "你好呀，今天过得怎么样？"), (["晚安"], "你好"), ([], "你好")])
    assert [f["forward_log_prob"] for f in found] == pytest.approx([v.value for v in forward], abs=1e-3)
    (reverse,) = tiny_chatbot.reverse_scorer.score([(["晚安"], "你好")])
    assert found[1]["reverse_log_prob"] == pytest.approx(reverse.value, abs=1e-3)
    assert found[2]["reverse_log_prob"] is None
    assert found[0]["score"] > found[1]["score"]


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"model": "gpt-4"}, 404, "gpt-4"),
        ({"model": None}, 400, "model"),
        ({"messages": []}, 400, "至少 1 项"),
        ({"messages": "你好"}, 400, "应为数组"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, 400, "messages.0.content：缺少"),
        ({"messages": user(None)}, 400, "应为文字"),
        ({"messages": user([{"type": "image_url", "image_url": {"url": "http://x"}}])}, 400, "应为文字"),
        ({"messages": user("")}, 400, "空"),
        ({"messages": user("\u200b \n")}, 400, "空"),
        ({"messages": user("好" * 2001)}, 400, "太长"),
        ({"messages": [*user("你好"), {"role": "assistant", "content": "好"}]}, 400, "最后一条"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "没有用户消息"),
        ({"n": 0}, 400, "n：应不小于 1"),
        ({"n": 1000}, 400, "n：应不大于"),
        ({"temperature": -1}, 400, "temperature"),
        ({"temperature": "hot"}, 400, "数字"),
        ({"top_p": 7}, 400, "top_p"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 1.5}, 400, "整数"),
        ({"seed": 1.5}, 400, "seed"),
        ({"stop": [""]}, 400, "stop.0"),
        ({"stop": list("abcde")}, 400, "最多 4 项"),
        ({"stream": "perhaps"}, 400, "stream"),
        ({"tools": [{"type": "function"}]}, 400, "tools"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"top_logprobs": 3}, 400, "top_logprobs：可用的只有 0"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format.type：可用的只有 'text'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}}, 400, "response_format.type"),
        ({"response_format": "json"}, 400, "response_format：应为 JSON 对象"),
        ({"modalities": ["text", "audio"]}, 400, "modalities.1"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, 400, "audio"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(http: httpx.Client, change: Any, status: int, message: str) -> None:
    answer = http.post(CHAT, json={k: v for k, v in (HELLO | change).items() if v is not None})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert message in error["message"] and error["type"] == "invalid_request_error" and error.keys() >= {"param", "code"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}',
        b'{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "seed": ' + b"9" * 5000 + b"}",
    ],
)
def test_garbage_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "Traceback" not in answer.text and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((CHAT, HELLO | {"messages": [{"role": role, "content": "\ud800好"}, *user("好")]}) for role in ("system", "assistant")),
        (CHAT, HELLO | {"messages": user([{"type": "text", "text": "\ud800"}])}),
        (CHAT, HELLO | {"stop": "\udc00"}),
        ("/v1/score", {"pairs": [{"context": ["\ud800"], "reply": "a"}]}),
        ("/v1/score", {"pairs": [{"context": "\ud800", "reply": "a"}]}),
        ("/v1/score", {"pairs": [{"reply": "\ud800"}]}),
    ],
)
def test_half_a_character_is_refused_wherever_it_stands(http: httpx.Client, path: str, body: Any) -> None:
    content = json.dumps(body).encode()
    answer = http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "不是 UTF-8 的字符" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("body", "place"), [(b"{bad", 2), ('{"model": "小" x}'.encode(), 15)])
def test_what_is_no_json_is_told_with_its_place(http: httpx.Client, body: bytes, place: int) -> None:
    error = http.post(CHAT, content=body, headers={"Content-Type": "application/json"}).json()["error"]
    assert (error["param"], error["message"]) == (None, f"请求体第 {place} 个字符处：不是合法的 JSON")


def test_hostile_text_is_only_text(http: httpx.Client) -> None:
    for text in (
        "<script>alert(1)</script>",
        "[SEP][CLS]你好",
        "\x1b[2J\x00",
        "../../etc/passwd",
        "\u202e好",
        "{0.__class__}",
        "a" * 2000,
    ):
        answer = http.post(CHAT, json=HELLO | {"messages": user(text)})
        assert answer.status_code in (200, 400), text
        assert answer.headers["content-type"] == "application/json"
    for pairs in ([{"context": [], "reply": "好" * 5000}], [{"context": ["", "[SEP]"], "reply": "\x00"}]):
        assert http.post("/v1/score", json={"pairs": pairs}).status_code == 200
    assert http.post("/v1/score", json={"pairs": [{"reply": "a"}] * 257}).status_code == 400


def test_other_addresses_and_methods(http: httpx.Client) -> None:
    for path, status in (
        ("/v1/nothing", 404),
        ("/%2e%2e/etc/passwd", 404),
        (CHAT, 405),
        ("/v1/models/other", 404),
        ("/docs", 404),
    ):
        answer = http.get(path)
        assert answer.status_code == status and answer.json()["error"]["message"]
    assert http.get("/healthz").json() == {"status": "ok"}


def test_a_large_body_is_refused(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:  # without a length to go by
        for _ in range(20):
            yield b" " * (MAX_BODY_BYTES // 2)

    for content in (json.dumps(HELLO | {"messages": user("好" * MAX_BODY_BYTES)}).encode(), chunks()):
        answer = http.post(CHAT, content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_body_that_stays_away_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate.BODY_TIMEOUT_SECONDS < 10, "the end of a server waits for it, and docker no longer than that"
    monkeypatch.setattr(gate, "BODY_TIMEOUT_SECONDS", 0.1)
    place = httpx.URL(address)
    with socket.create_connection((place.host, place.port or 80), timeout=20) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


def test_keys(tiny_chatbot: Chatbot) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, api_keys=["one-key", "another"])
    for wrong in (None, "Bearer one-ke", "Bearer ", "Basic one-key", "Bearer 钥匙"):
        answer = post(app, headers={} if wrong is None else {"Authorization": wrong.encode()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert "choices" not in answer.text
    for key in ("one-key", "another"):
        assert post(app, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert post(app, path="/healthz").status_code == 405  # open, but not for this


def test_a_key_file_has_a_key_a_line_and_at_least_one(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("\ufeff# 手机\none-key \r\n\nanother\n", encoding="utf-8")
    assert read_keys(path) == ["one-key", "another"]
    path.write_text("# 全停用了\n\n", encoding="utf-8")
    for bad in (path, tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="密钥"):
            read_keys(bad)


@pytest.mark.parametrize("key", ["钥匙", "clé", "a\tb"])
def test_a_key_that_no_client_could_send_is_refused_at_the_start(tiny_chatbot: Chatbot, key: str) -> None:
    with pytest.raises(ConfigError, match="密钥"):
        build_api(tiny_chatbot, model_name="tiny", count_tokens=len, api_keys=["one-key", key])


def test_the_readmes_example_talks(tiny_chatbot: Chatbot, capsys: pytest.CaptureFixture[str]) -> None:
    """The block as it stands there, the address apart."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```py\n(.*?)```", readme, re.DOTALL) if "OpenAI(" in block]
    with contextmanager(served)(build_api(tiny_chatbot, model_name="xiaoxu", count_tokens=len)) as address:
        assert "http://127.0.0.1:8000/v1" in code
        exec(compile(code.replace("http://127.0.0.1:8000", address), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
    assert all(key.isascii() for key in re.findall(r"--key (\S+)", readme))


def test_a_page_of_another_site_does_not_get_in_by_a_name_of_its_own(tiny_chatbot: Chatbot) -> None:
    app = build_api(tiny_chatbot, model_name="tiny", count_tokens=len, hosts=local_hosts("127.0.0.1"))
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert post(app, headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example", ""):
        answer = post(app, headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_host")
    assert local_hosts("0.0.0.0") == frozenset()


class SlowBot:
    """Answers with the message itself, once `gate` is open."""

    max_history_messages = 5

    def __init__(self, decoding: Any) -> None:
        self.decoding = decoding
        self.gate = threading.Event()
        self.asked = 0

    def reply(self, context: list[Message], *, decoding: Any) -> Reply:
        self.asked += 1
        assert self.gate.wait(20)
        if context[-1].content == "坏":
            raise RuntimeError("/secret/path")
        return Reply(context[-1].content, (Candidate(context[-1].content),), 0.0)


@pytest.fixture
def slow(tiny_chatbot: Chatbot) -> Iterator[tuple[SlowBot, str]]:
    bot = SlowBot(tiny_chatbot.decoding)
    app = build_api(bot, model_name="tiny", count_tokens=len, max_queue=3)  # type: ignore[arg-type]
    for address in served(app):
        yield bot, address
        bot.gate.set()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_full_queue_sends_away_with_a_time(slow: tuple[SlowBot, str]) -> None:
    bot, address = slow
    with ThreadPoolExecutor(3) as pool, httpx.Client(base_url=address, timeout=30) as http:
        inside = [pool.submit(http.post, CHAT, json=HELLO | {"messages": user(f"{i}")}) for i in range(3)]
        wait_for(lambda: bot.asked == 3)
        refused = http.post(CHAT, json=HELLO)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(refused.headers["retry-after"]) >= 1
        assert http.get("/healthz").status_code == 200
        assert "chitchat_in_progress 3" in http.get("/metrics").text
        bot.gate.set()
        assert [f.result().json()["choices"][0]["message"]["content"] for f in inside] == ["0", "1", "2"]
        assert http.post(CHAT, json=HELLO).status_code == 200
        metrics = http.get("/metrics").text
    assert f'chitchat_requests_total{{path="{CHAT}",status="429"}} 1' in metrics
    assert f'chitchat_requests_total{{path="{CHAT}",status="200"}} 4' in metrics
    assert "chitchat_in_progress 0" in metrics and 'chitchat_reply_seconds_bucket{le="+Inf"} 4' in metrics


def test_a_fault_of_ours_shows_nothing_of_the_inside(slow: tuple[SlowBot, str]) -> None:
    bot, address = slow
    bot.gate.set()
    for _ in range(4):  # more than the queue holds: a place is given back
        answer = httpx.post(address + CHAT, json=HELLO | {"messages": user("坏")})
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error" and "secret" not in answer.text


def test_a_client_that_leaves_in_mid_stream_is_not_written_to_in_vain(address: str, caplog: pytest.LogCaptureFixture) -> None:
    place = httpx.URL(address)
    body = json.dumps(HELLO | {"stream": True, "n": 12, "chitchat": {"candidates": True}}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((place.host, place.port or 80)) as connection:
        connection.sendall(head.encode() + body)
        assert connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert httpx.get(f"{address}/healthz").status_code == 200
    assert "socket.send() raised exception" not in caplog.text


def test_no_client_sees_another_reply(address: str, tiny_dialogues: tuple[tuple[str, ...], ...]) -> None:
    contexts = [d[:n] for d in tiny_dialogues for n in range(1, len(d), 2)]
    wanted = [d[n] for d in tiny_dialogues for n in range(1, len(d), 2)]

    def ask(context: tuple[str, ...]) -> str:
        messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(context)]
        answer = httpx.post(address + CHAT, json={"model": "tiny", "messages": messages, "temperature": 0.1, "n": 2}, timeout=60)
        assert answer.status_code == 200
        return str(answer.json()["choices"][0]["message"]["content"])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, contexts * 2)) == wanted * 2


SERVER = """
import sys, time
from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, Reply
from chitchat.frontends.api.server import build_api, serve

class Bot:
    decoding, max_history_messages = DecodingConfig(), 5
    def reply(self, context, decoding):
        print("asked", flush=True)
        time.sleep(1)
        return Reply("慢慢来", (Candidate("慢慢来"),), 1.0)

serve(build_api(Bot(), model_name="tiny", count_tokens=len), port=0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_replies_under_way_are_finished_at_the_end(number: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", SERVER], env=environment, **pipes) as process, ThreadPoolExecutor(1) as pool:
        assert process.stdout is not None and process.stderr is not None
        address = process.stderr.readline().split("：")[1].split("/v1")[0]
        answer = pool.submit(httpx.post, address + CHAT, json=HELLO, timeout=20)
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        assert answer.result().json()["choices"][0]["message"]["content"] == "慢慢来"
        assert (process.wait(20), process.stderr.read()) == (0, "")


def test_a_port_in_use_is_named() -> None:
    from chitchat.errors import ChitchatError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ChitchatError, match=rf"{port}.*--port"):
            serve(FastAPI(), port=port)


def test_the_openapi_document_is_json(http: httpx.Client) -> None:
    document = json.loads(http.get("/openapi.json").text)
    assert CHAT in document["paths"] and "/v1/score" in document["paths"]
