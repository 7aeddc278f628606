"""What stands before the API's routes: the host, the key, the size of a body, the count of requests. And `/metrics`, which shows
the count.

Knows nothing of chatting.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chitchat.errors import ConfigError
from chitchat.frontends.api.schema import error_json

MAX_BODY_BYTES = 1 << 20
MAX_DISCARDED_BYTES = 64 << 20
"""Read and thrown away of a body that is too large: hanging up earlier would often lose the answer that says so."""
BODY_TIMEOUT_SECONDS = 8.0
"""A server that ends waits for a body under way as for a reply, and docker kills after 10 seconds."""
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


def read_keys(path: Path) -> list[str]:
    """The keys of a file, one a line; blank lines and those that start with # are passed over.

    Raises ConfigError for a file that cannot be read or has no key: it must not open the door to everyone.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"读不了密钥文件 {path}：{error}；应为 UTF-8，一行一个密钥") from None
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise ConfigError(f"密钥文件 {path} 里没有密钥：请一行写一个")
    return keys


def check_keys(keys: Collection[str]) -> None:
    """Raises ConfigError for a key that is not plain ASCII: clients put it into an HTTP header, and most can put nothing else."""
    if not all(key.isascii() and key.isprintable() for key in keys):
        raise ConfigError("密钥只能用英文字母、数字与符号：别的字符多数客户端发不出来；请换一个")


def local_hosts(host: str) -> frozenset[str]:
    """The names that clients on this machine reach `host` by; empty, for any, when others can reach it too.

    A page of another site could reach a local server by a name of its own that it lets point here (DNS rebinding).
    """
    names = frozenset({"localhost", "127.0.0.1", "::1"})
    return names | {host} if host in names or host.startswith("127.") else frozenset()


class Gate:
    """ASGI middleware: 403 by a name that is not ours, 401 without a key, before anything is read; 413 for a body that is too
    large, 408 for one too slow. Leaves whose key it was in the scope, as `owner`.

    Args:
        app: what stands behind it.
        metrics: where requests are counted.
        paths: that are counted by name; all else is "other", so that a scanner cannot fill the memory.
        api_keys: any of them opens; none lets everyone in.
        hosts: the names, without port, that a request may be sent to; none allows any.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        paths: Collection[str],
        api_keys: Collection[str] = (),
        hosts: Collection[str] = (),
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.paths = paths
        self._hosts = hosts
        self._keys = [_digest(key.encode()) for key in api_keys]

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
        if self._hosts and host_name(headers.get(b"host", b"").decode("latin-1")) not in self._hosts:
            body = error_json(
                "不接受用这个主机名来的请求：请用 http://localhost 访问", kind="invalid_request_error", code="wrong_host"
            )
            await JSONResponse(body, 403)(scope, receive, counted)
            return
        owner = self._owner(headers.get(b"authorization", b""))
        if owner is None and path not in OPEN_PATHS:
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
        scope["owner"] = owner
        messages = iter([received])

        async def replayed() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, replayed, counted)

    def _owner(self, authorization: bytes) -> str | None:
        """Whose key a request brings: "" where none is asked for, None for a wrong one."""
        if not self._keys:
            return ""
        scheme, _, key = authorization.partition(b" ")
        digest = _digest(key.strip())
        # each compared to the end, or the time would tell how much of a guess is right
        is_known = any([hmac.compare_digest(digest, known) for known in self._keys])
        return f"key:{digest}" if is_known and scheme.lower() == b"bearer" else None


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


def host_name(header: str) -> str:
    """The name in a Host header, without the port and the brackets of IPv6."""
    name = header.lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


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
