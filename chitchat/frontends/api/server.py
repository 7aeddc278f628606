"""The bot behind OpenAI's chat completions API, for clients that know that API already.

Replies are whole before they are sent, for an unfinished one could not be screened: a stream has one piece of text a choice, and
is sent in one go.
A request brings its conversation, and nothing of it is kept or logged, unless it asks for a session. Answers many at once; what
can be computed together is the backends' business.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException as AnyHTTPException

from chitchat.config import DecodingConfig
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.chatbot import OUTRANKED, Chatbot
from chitchat.engine.scoring import scored
from chitchat.errors import ChitchatError, StoreError, UnknownSessionError
from chitchat.frontends.api.gate import Gate, Metrics, check_keys
from chitchat.frontends.api.schema import ChatRequest, ErrorBody, ScoreRequest, error_json, fault
from chitchat.frontends.api.sessions import Turn, Turns
from chitchat.frontends.presentation import candidate_json, reply_json
from chitchat.frontends.serving import run_server
from chitchat.sessions.store import Store

T = TypeVar("T")
logger = logging.getLogger(__name__)

MAX_WORKERS = 16
"""Replies worked on at a time, each in a thread; with more the models' batches grow no faster, only everyone's wait."""
SHUTDOWN_SECONDS = 30
KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection: one closed just as it is used again looks like a failure to them."""
MIN_TEMPERATURE, MIN_TOP_P = 0.05, 0.01
"""OpenAI's may be 0."""


def build_api(
    chatbot: Chatbot,
    *,
    model_name: str,
    count_tokens: Callable[[str], int],
    store: Store | None = None,
    fingerprint: str = "",
    api_keys: Collection[str] = (),
    hosts: Collection[str] = (),
    max_queue: int = 128,
) -> FastAPI:
    """The ASGI application for one chatbot.

    Args:
        chatbot: who answers; its `decoding` is used for what a request leaves open.
        model_name: what clients call it.
        count_tokens: of a text, for `usage` and `max_tokens`.
        store: where conversations are kept that ask for it; None refuses them.
        fingerprint: of the chatbot's weights, kept with each reply there.
        api_keys: one of them is asked of every request but `/healthz`; none asks nothing.
        hosts: the names that requests may be sent to; none allows any.
        max_queue: requests under way or waiting; further ones get 429.

    Raises ConfigError for a key that clients cannot send.
    """
    check_keys(api_keys)
    metrics = Metrics()
    desk = _Desk(metrics, max_queue)
    turns = Turns(chatbot, store, fingerprint)
    errors: dict[int | str, dict[str, Any]] = {"4XX": {"model": ErrorBody, "description": "The request is at fault"}}
    # the pages of documentation load scripts from other hosts
    app = FastAPI(title="chitchat", docs_url=None, redoc_url=None, responses=errors)

    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request, body: ChatRequest) -> Response:
        _check_model(body.model, model_name)
        messages = [m.message() for m in body.messages]
        decoding = _decoding(body, chatbot.decoding)
        session = body.chitchat.session if body.chitchat else None
        owner = request.scope["owner"]
        with desk.place(), turns.claim(session):
            started = time.perf_counter()
            turn = await desk.run(request, lambda: turns.answer(messages, decoding, session=session, owner=owner))
        completion = _Completion(body, turn, count_tokens, model_name)
        seen = [m.content for m in turn.context if m.role != "system"][-chatbot.max_history_messages :]
        usage = completion.usage(1 + sum(count_tokens(text) + 1 for text in seen))
        metrics.chatted(time.perf_counter() - started, usage["prompt_tokens"], usage["completion_tokens"])
        if body.stream:
            return Response(completion.events(usage), media_type="text/event-stream")
        return JSONResponse(completion.whole(usage))

    @app.post("/v1/score")
    async def score(request: Request, body: ScoreRequest) -> Response:
        _check_model(body.model or model_name, model_name)
        pairs = [(pair.context, pair.reply) for pair in body.pairs]
        with desk.place():
            candidates = await desk.run(request, lambda: _scores(chatbot, pairs))
        return JSONResponse({"object": "list", "model": model_name, "data": [candidate_json(c) for c in candidates]})

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_json(model_name)]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        _check_model(name, model_name)
        return _model_json(name)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        return PlainTextResponse(metrics.prometheus(), media_type="text/plain; version=0.0.4")

    _answer_errors(app)
    paths = frozenset(app.openapi()["paths"])
    app.add_middleware(Gate, metrics=metrics, paths=paths, api_keys=api_keys, hosts=hosts)
    return app


def serve(app: FastAPI, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serves until SIGINT or SIGTERM, then finishes the replies under way.

    Raises ChitchatError when the address cannot be had.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    run_server(uvicorn.Server(config), host=host, port=port, opened="接口已打开：{address}/v1")


class UnknownModel(ChitchatError):
    """A request for a model that is not served here."""


class _Desk:
    """Takes requests as far as there is room, and works on some of them at a time."""

    def __init__(self, metrics: Metrics, max_queue: int) -> None:
        self._metrics = metrics
        self._max_queue = max_queue
        self._threads = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="reply")
        self._turn = asyncio.Semaphore(MAX_WORKERS)

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place in the queue; raises HTTPException 429, with the time the queue will take, when there is none."""
        metrics = self._metrics
        if metrics.in_progress >= self._max_queue:
            # all in the queue wait for each other, so the mean time is about that of the whole queue
            wait = math.ceil(metrics.chat_seconds / metrics.chats) if metrics.chats else 1
            raise HTTPException(429, "请求太多，队列已满：请稍后再试", headers={"Retry-After": str(min(max(wait, 1), 60))})
        metrics.in_progress += 1
        try:
            yield
        finally:
            metrics.in_progress -= 1

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """The result of `work` in a thread, when its turn comes and the client has not gone."""
        async with self._turn:
            if await request.is_disconnected():
                raise HTTPException(499, "客户端已断开")
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Completion:
    """A reply as the choices of a chat completion."""

    def __init__(self, request: ChatRequest, turn: Turn, count_tokens: Callable[[str], int], model_name: str) -> None:
        self._request = request
        self._count = count_tokens
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": model_name}
        reply = turn.reply
        self._extension = reply_json(reply) | ({"session": turn.session} if turn.session else {})
        if not (request.chitchat and request.chitchat.candidates):
            del self._extension["candidates"]
        # n best that may be said; with fewer than that the choices repeat, as they may in OpenAI's own
        texts = [reply.text] + [c.text for c in reply.candidates if c.rejected in (None, OUTRANKED) and c.text != reply.text]
        n = request.n or 1
        self.choices = [self._cut(text) for text in (texts * n)[:n]]

    def usage(self, prompt_tokens: int) -> dict[str, int]:
        completion = sum(self._count(text) for text, _ in self.choices)
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": prompt_tokens + completion,
        }

    def whole(self, usage: dict[str, int]) -> dict[str, Any]:
        choices = [
            {
                "index": i,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": reason,
                **self._ours(i),
            }
            for i, (text, reason) in enumerate(self.choices)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage}

    def events(self, usage: dict[str, int]) -> str:
        """Server-sent events: for each choice its role, its text and its end; the usage when asked for; `[DONE]`."""
        events = []
        for i, (text, reason) in enumerate(self.choices):
            events.append(self._event([_delta(i, {"role": "assistant", "content": ""})]))
            events.append(self._event([_delta(i, {"content": text})]))
            events.append(self._event([_delta(i, {}) | {"finish_reason": reason, **self._ours(i)}]))
        if self._request.stream_options and self._request.stream_options.include_usage:
            events.append(self._event([], usage=usage))
        return "".join([*events, "data: [DONE]\n\n"])

    def _ours(self, index: int) -> dict[str, Any]:
        """The extension, which is about the answer as a whole, with the first choice."""
        return {} if index else {"chitchat": self._extension}

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> str:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices, **more}
        return f"data: {json.dumps(chunk, allow_nan=False)}\n\n"

    def _cut(self, text: str) -> tuple[str, str]:
        """The text up to the first stop string or the token limit, and why it ends there."""
        places = [place for stop in self._request.stop if (place := text.find(stop)) >= 0]
        text = text[: min(places)] if places else text
        limit = self._request.token_limit
        if limit is None or self._count(text) <= limit:
            return text, "stop"
        while self._count(text) > limit:
            text = text[:-1]
        return text, "length"


def _delta(index: int, delta: dict[str, str]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _decoding(request: ChatRequest, base: DecodingConfig) -> DecodingConfig:
    """The settings of one request; temperature 0 gives the likeliest reply, the same every time."""
    seed = request.seed if request.seed is None else request.seed % 2**63
    decoding = replace(base, seed=base.seed if seed is None else seed)
    if request.temperature == 0:
        return replace(decoding, strategy="greedy", seed=seed or 0)
    if request.temperature is not None:
        decoding = replace(decoding, temperature=max(request.temperature, MIN_TEMPERATURE))
    if request.top_p is not None:
        decoding = replace(decoding, top_p=max(request.top_p, MIN_TOP_P))
    return decoding


def _scores(chatbot: Chatbot, pairs: Sequence[tuple[list[str], str]]) -> list[Candidate]:
    """The replies with all that the models and the ranking say of them, in order, as given: nothing normalised.

    Ranked as in `chitchat score`: as replies that nobody retrieved.
    """
    candidates = [Candidate(reply) for _, reply in pairs]
    contexts = [context for context, _ in pairs]
    found = scored(candidates, contexts, chatbot.forward_scorer, chatbot.reverse_scorer, encoder=chatbot.encoder)
    return [chatbot.ranker.rank([c], as_context(context))[0] for c, context in zip(found, contexts, strict=True)]


def _check_model(name: str, served: str) -> None:
    if name != served:
        raise UnknownModel(f"没有模型 {name[:80]!r}，这里只有 {served!r}")


def _model_json(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "chitchat"}


_CODES = {404: "not_found", 405: "method_not_allowed", 409: "session_busy", 429: "rate_limit_exceeded"}


def _answer_errors(app: FastAPI) -> None:
    """Every error with a body of OpenAI's form, and nothing of the program's inside in it."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        message, param = fault(error.errors())
        return JSONResponse(error_json(message, kind="invalid_request_error", param=param or None), 400)

    @app.exception_handler(ChitchatError)
    async def refused(_: Request, error: ChitchatError) -> Response:
        status, code = (404, "model_not_found") if isinstance(error, UnknownModel) else (400, None)
        return JSONResponse(error_json(str(error), kind="invalid_request_error", code=code), status)

    @app.exception_handler(UnknownSessionError)
    async def unknown(_: Request, error: UnknownSessionError) -> Response:
        return JSONResponse(error_json(str(error), kind="invalid_request_error", code="session_not_found"), 404)

    @app.exception_handler(StoreError)
    async def unstored(_: Request, error: StoreError) -> Response:
        logger.error("%s", error)  # it names files of ours
        return JSONResponse(error_json("对话现在存不了，请稍后再试；详情见服务器的运行窗口", kind="server_error"), 503)

    @app.exception_handler(AnyHTTPException)
    async def http_error(_: Request, error: AnyHTTPException) -> Response:
        kind = "rate_limit_error" if error.status_code == 429 else "invalid_request_error"
        body = error_json(_MESSAGES.get(error.detail, error.detail), kind=kind, code=_CODES.get(error.status_code))
        return JSONResponse(body, error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return JSONResponse(error_json("服务器出错了，详情见它的运行窗口", kind="server_error"), 500)


_MESSAGES = {
    "Not Found": "没有这个地址：见 /openapi.json",
    "Method Not Allowed": "这个地址不接受这种方法",
    "There was an error parsing the body": "请求体读不了：应为 UTF-8 的 JSON",
}
