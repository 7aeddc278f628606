"""Who visits the page, and what stands before it: the host, the size of a body, the visitor's cookie or login, the pace.

A visitor is known by a random cookie, or by the login name where there is a login; `owner_of` makes of it the owner of their
conversations. Knows nothing of chatting.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chitchat.errors import ChitchatError
from chitchat.frontends.api.gate import host_name
from chitchat.frontends.web.login import LOGIN_COOKIE, LOGIN_PATH, Logins

VISITOR_COOKIE = "chitchat_visitor"
ENGLISH_PATH = "/en/"
"""Where a first visit to the root leads a browser that speaks English; from then on the page's own switch decides."""
MAX_BODY_BYTES = 1 << 20
MAX_UPLOAD_BYTES = 8 << 20
_COOKIE_SECONDS = 365 * 24 * 3600
_OPEN_PATHS = frozenset({LOGIN_PATH, "/favicon.ico", "/manifest.json"})
"""What a browser may ask for before the login; it asks for the latter two without a cookie."""
_WELL_FORMED = re.compile(r"[A-Za-z0-9_-]{32}")
_REMEMBERED_VISITORS = 10_000
_POLICY = (
    # Gradio's page needs inline scripts and compiles its templates; nothing may come from or go to another host.
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)


class TooFast(ChitchatError):
    """More messages a minute than a visitor may send."""


def owner_of(cookies: Mapping[str, str], username: str | None, tab: str | None) -> str:
    """The owner of a visitor's conversations; hashed, so that the store tells nobody how to become that visitor.

    Args:
        cookies: of the request; without a visitor's cookie the conversations belong to this load of the page.
        username: of the login, which comes first.
        tab: Gradio's random name of one load of the page.
    """
    if username:
        return f"user:{username}"
    secret = cookies.get(VISITOR_COOKIE, "")
    if not _WELL_FORMED.fullmatch(secret):
        secret = f"tab {tab or secrets.token_urlsafe()}"
    return "visitor:" + hashlib.sha256(secret.encode()).hexdigest()[:32]


class Pace:
    """So many messages a minute from one visitor; 0 is no limit. For any number of threads."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def count(self, visitor: str) -> None:
        """Counts one message; raises TooFast when it is one too many."""
        if not self._per_minute:
            return
        now = time.monotonic()
        with self._lock:
            times = self._times.pop(visitor, None) or deque()
            self._times[visitor] = times  # last again: the oldest visitors stand first
            while len(self._times) > _REMEMBERED_VISITORS:
                del self._times[next(iter(self._times))]
            while times and times[0] <= now - 60:
                times.popleft()
            if len(times) >= self._per_minute:
                wait = math.ceil(times[0] + 60 - now)
                raise TooFast(f"说得太快了（每分钟最多 {self._per_minute} 句）：请 {wait} 秒后再试")
            times.append(now)


class Gate:
    """ASGI middleware: 403 by a name that is not ours, 413 for a body that is too large, and who does not log in stays outside.

    Gives a new visitor a cookie, and every answer the policy that keeps the page to its own host.

    Args:
        app: what stands behind it.
        logins: who may come in; None lets everyone in.
        hosts: the names, without port, that a request may be sent to; none allows any.
    """

    def __init__(self, app: ASGIApp, *, logins: Logins | None, hosts: Collection[str]) -> None:
        self.app = app
        self._logins = logins
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        cookies = read_cookies(headers.get("cookie", ""))
        is_new = not self._logins and not _WELL_FORMED.fullmatch(cookies.get(VISITOR_COOKIE, ""))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Content-Security-Policy"] = _POLICY
                answer["X-Content-Type-Options"] = "nosniff"
                answer["Referrer-Policy"] = "no-referrer"
                if is_new:
                    kept = f"Max-Age={_COOKIE_SECONDS}; Path=/; HttpOnly; SameSite=Lax"
                    kept += "; Secure" if scope["scheme"] == "https" else ""
                    answer.append("Set-Cookie", f"{VISITOR_COOKIE}={secrets.token_urlsafe(24)}; {kept}")
            await send(message)

        instead = self._refusal(scope, headers, cookies)
        if instead is None and is_new and _path(scope, headers) != scope["path"]:
            instead = RedirectResponse(ENGLISH_PATH, 303)
        await (instead or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Response | None:
        if self._hosts and host_name(headers.get("host", "")) not in self._hosts:
            return _error(403, "不接受用这个主机名来的请求：请用 http://localhost 访问")
        limit = MAX_UPLOAD_BYTES if scope["path"].endswith("/upload") else MAX_BODY_BYTES
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdigit():
            return _error(411, "请求要带 Content-Length")
        if int(length[:20]) > limit:
            return _error(413, f"请求体太大：最多 {limit} 字节")
        if self._logins:
            scope["user"] = self._logins.user_of(cookies.get(LOGIN_COOKIE, ""))
            if scope["user"] is None and scope["path"] not in _OPEN_PATHS:
                if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
                    return RedirectResponse(f"{LOGIN_PATH}?next={quote(_path(scope, headers))}", 303)
                return _error(401, "请先登录")
        return None


def username_of(request: Any) -> str | None:
    """The login name that the gate found for a request, for Gradio's `auth_dependency`; None without a login."""
    name: str | None = request.scope.get("user")
    return name


def prefers_english(accept_language: str) -> bool:
    """Whether a browser asks for English first and for no Chinese at all."""
    languages = [part.strip().lower() for part in accept_language.split(",")]
    return languages[0].startswith("en") and not any(language.startswith("zh") for language in languages)


def read_cookies(header: str) -> dict[str, str]:
    """The cookies of a Cookie header; none for one that is no such header."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def _path(scope: Scope, headers: Mapping[str, str]) -> str:
    """The path asked for; the English page for the root when the browser would rather have that."""
    is_english = scope["path"] == "/" and prefers_english(headers.get("accept-language", ""))
    return ENGLISH_PATH if is_english else str(scope["path"])


def _error(status: int, fault: str) -> JSONResponse:
    return JSONResponse({"error": fault}, status, headers={"Connection": "close"})
