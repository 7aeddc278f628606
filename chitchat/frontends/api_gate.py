"""What stands before the API's routes: the key, the size of a body, the count of requests. And `/metrics`, which shows the count.

Knows nothing of chatting.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chitchat.frontends.api_schema import error_json

MAX_BODY_BYTES = 1 << 20
MAX_DISCARDED_BYTES = 64 << 20
"""Read and thrown away of a body that is too large: hanging up earlier would often lose the answer that says so."""
BODY_TIMEOUT_SECONDS = 30.0
OPEN_PATHS = frozenset({"/healthz"})
_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass
class Metrics:
    """Counts since the start. Touched by the event loop alone."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By path and status."""
    buckets: Counter[float] = field(default_factory=Counter)
    """Answered chat requests that took at most so many seconds, by each of `_BUCKETS`."""
    chats: int = 0
    chat_seconds: float = 0.0
    tokens: Counter[str] = field(default_factory=Counter)
    """prompt, completion."""
    in_progress: int = 0
    """Replies under way or waiting for their turn."""

    def chatted(self, seconds: float, prompt_tokens: int, completion_tokens: int) -> None:
        self.chats += 1
        self.chat_seconds += seconds
        self.buckets.update(b for b in _BUCKETS if seconds <= b)
        self.tokens.update(prompt=prompt_tokens, completion=completion_tokens)

    def prometheus(self) -> str:
        """The counts in Prometheus' text format, version 0.0.4."""
        lines = ["# HELP chitchat_requests_total 请求数", "# TYPE chitchat_requests_total counter"]
        lines += [f'chitchat_requests_total{{path="{p}",status="{s}"}} {n}' for (p, s), n in sorted(self.requests.items())]
        lines += ["# HELP chitchat_reply_seconds 一次回复用的秒数，含排队", "# TYPE chitchat_reply_seconds histogram"]
        lines += [f'chitchat_reply_seconds_bucket{{le="{b}"}} {self.buckets[b]}' for b in _BUCKETS]
        lines += [f'chitchat_reply_seconds_bucket{{le="+Inf"}} {self.chats}']
        lines += [f"chitchat_reply_seconds_sum {self.chat_seconds:.6f}", f"chitchat_reply_seconds_count {self.chats}"]
        lines += ["# HELP chitchat_tokens_total token 数", "# TYPE chitchat_tokens_total counter"]
        lines += [f'chitchat_tokens_total{{kind="{kind}"}} {self.tokens[kind]}' for kind in ("prompt", "completion")]
        lines += ["# HELP chitchat_in_progress 正在处理与排队的请求数", "# TYPE chitchat_in_progress gauge"]
        lines += [f"chitchat_in_progress {self.in_progress}"]
        return "\n".join(lines) + "\n"


class Gate:
    """ASGI middleware: 401 without the key, before anything is read; 413 for a body that is too large, 408 for one too slow.

    Args:
        app: what stands behind it.
        metrics: where requests are counted.
        paths: that are counted by name; all else is "other", so that a scanner cannot fill the memory.
        api_key: "" lets everyone in.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, paths: Collection[str], api_key: str = "") -> None:
        self.app = app
        self.metrics = metrics
        self.paths = paths
        self._key = api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests[path, message["status"]] += 1
            await send(message)

        headers = dict(scope["headers"])
        if path not in OPEN_PATHS and not self._admits(headers.get(b"authorization", b"")):
            body = error_json(
                "API 密钥不对：请在 Authorization 头里写 Bearer 密钥", kind="invalid_request_error", code="invalid_api_key"
            )
            await JSONResponse(body, 401, headers={"WWW-Authenticate": "Bearer"})(scope, receive, counted)
            return
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                received = await _body(headers.get(b"content-length", b""), receive)
        except TimeoutError:
            await JSONResponse(error_json("请求体迟迟没有发完", kind="invalid_request_error"), 408)(scope, receive, counted)
            return
        if received is None:
            body = error_json(f"请求体太大：最多 {MAX_BODY_BYTES} 字节", kind="invalid_request_error", code="request_too_large")
            await JSONResponse(body, 413, headers={"Connection": "close"})(scope, receive, counted)
            return
        messages = iter([received])

        async def replayed() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, replayed, counted)

    def _admits(self, authorization: bytes) -> bool:
        scheme, _, key = authorization.partition(b" ")
        # in constant time, or the time would tell how much of a guess is right
        return not self._key or (scheme.lower() == b"bearer" and hmac.compare_digest(key.strip(), self._key))


async def _body(content_length: bytes, receive: Receive) -> Message | None:
    """The whole body as one message, or None when it is too large."""
    if content_length.isdigit() and int(content_length[:20]) > MAX_DISCARDED_BYTES:
        return None
    body, size = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            body += chunk
        if size > MAX_DISCARDED_BYTES or not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False} if size <= MAX_BODY_BYTES else None
