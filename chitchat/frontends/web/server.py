"""The web page as a server: the page in both languages, the login, the downloads of conversations, start and stop."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import uvicorn
from fastapi import FastAPI, Form, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response

from chitchat.errors import ChitchatError
from chitchat.frontends.api.gate import local_hosts
from chitchat.frontends.serving import run_server
from chitchat.frontends.web.login import LOGIN_COOKIE, LOGIN_PATH, Logins, login_page
from chitchat.frontends.web.page import build_page
from chitchat.frontends.web.report import PICTURES
from chitchat.frontends.web.site import EXPORTS, Site
from chitchat.frontends.web.style import page_style
from chitchat.frontends.web.visitors import (
    ENGLISH_PATH,
    MAX_UPLOAD_BYTES,
    Gate,
    Pace,
    TooFast,
    owner_of,
    prefers_english,
    username_of,
)

# page.py sets the switches that Gradio reads when it is imported
import gradio as gr  # isort: skip

_LOGIN_TRIES_PER_MINUTE = 10
_SHUTDOWN_SECONDS = 10
LANGUAGES: Mapping[str, str] = {"en": ENGLISH_PATH, "zh": "/"}
"""Where the page lies in each language; the root last, for it takes what no other path does."""


def build_app(site: Site, *, logins: Logins | None = None, host: str = "127.0.0.1") -> FastAPI:
    """The page in every language with what belongs to it."""
    app = build_doorway(site, logins=logins, host=host)
    for language, path in LANGUAGES.items():
        gr.mount_gradio_app(
            app,
            build_page(site, language, has_login=logins is not None),
            path=path.rstrip("/") or "/",
            auth_dependency=username_of if logins else None,
            show_error=False,
            max_file_size=MAX_UPLOAD_BYTES,
            ssr_mode=False,
            run_history=False,
            footer_links=[],
            enable_monitoring=False,
            **page_style(language),
        )
    return app


def build_doorway(site: Site, *, logins: Logins | None, host: str) -> FastAPI:
    """What is not the page itself: the gate (see `visitors.Gate`), the login, downloads and pictures."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Gate, logins=logins, hosts=local_hosts(host))
    if logins:
        _add_login(app, logins)

    @app.get("/export/{session_id}.{kind}")
    def export(request: Request, session_id: str, kind: str) -> Response:
        if kind not in EXPORTS:
            return PlainTextResponse(f"没有这种格式：可用 {'、'.join(EXPORTS)}", 404)
        owner = owner_of(request.cookies, username_of(request), None)
        try:
            text = site.export(session_id, owner, kind)
        except ChitchatError as error:
            return PlainTextResponse(str(error), 404)
        headers = {"Content-Disposition": f'attachment; filename="xiaoxu-{session_id[:8]}.{kind}"', "Cache-Control": "no-store"}
        return Response(text, headers=headers, media_type=EXPORTS[kind])

    @app.get("/en")
    def english() -> Response:
        return RedirectResponse(ENGLISH_PATH, 308)

    @app.get("/report/{name}.png")
    def picture(name: str) -> Response:
        path = site.report / f"{name}.png"
        return FileResponse(path) if name in PICTURES and path.is_file() else PlainTextResponse("没有这张图", 404)

    return app


def _add_login(app: FastAPI, logins: Logins) -> None:
    pace = Pace(_LOGIN_TRIES_PER_MINUTE)

    @app.get(LOGIN_PATH)
    def form(request: Request, next: str = "/") -> HTMLResponse:
        return HTMLResponse(login_page(chinese=_is_chinese(request), after=_path(next)))

    # Gradio's Python client logs in by the same request; it wants 200 and takes the cookie.
    @app.post(LOGIN_PATH)
    def login(request: Request, username: str = Form(""), password: str = Form(""), next: str = Form("")) -> Response:
        chinese = _is_chinese(request)
        try:
            pace.count(request.client.host if request.client else "")
        except TooFast:
            fault = "试得太多了，请一分钟后再来" if chinese else "Too many tries; come back in a minute"
            return HTMLResponse(login_page(chinese=chinese, after=_path(next), fault=fault), 429)
        token = logins.login(username[:64], password[:1024])
        if token is None:
            fault = "用户名或密码不对" if chinese else "Wrong user name or password"
            return HTMLResponse(login_page(chinese=chinese, after=_path(next), fault=fault, username=username[:64]), 401)
        answer: Response = RedirectResponse(_path(next), 303) if next else PlainTextResponse("ok")
        answer.set_cookie(LOGIN_COOKIE, token, httponly=True, samesite="lax", secure=request.url.scheme == "https")
        return answer

    @app.post("/logout")
    def logout(request: Request) -> Response:
        logins.logout(request.cookies.get(LOGIN_COOKIE, ""))
        answer = RedirectResponse(LOGIN_PATH, 303)
        answer.delete_cookie(LOGIN_COOKIE)
        return answer


def _is_chinese(request: Request) -> bool:
    return not prefers_english(request.headers.get("accept-language", ""))


def _path(after: str) -> str:
    """Where a login may go on to: the page, and no other site."""
    return after if after in LANGUAGES.values() else "/"


def launch(app: FastAPI, *, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serves the page until SIGINT or SIGTERM; raises ChitchatError when the address cannot be had."""
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_SHUTDOWN_SECONDS
    )
    run_server(_Server(config), host=host, port=port, opened="网页已打开：{address}")


class _Server(uvicorn.Server):
    """Tells Gradio to end its streams first: an open page holds one, and would hold up the end of the server."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        for route in app.routes:
            if stop := getattr(getattr(route, "app", None), "stop_event", None):
                stop.set()
        await super().shutdown(sockets)
