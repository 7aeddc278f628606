"""The chat page in the browser: a Session for each visitor, its knobs, and every candidate of the last reply.

All it shows comes from this machine. Texts of users and models are shown as they are, never as Markdown or HTML.
"""

from __future__ import annotations

import errno
import html
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from chitchat.config import DecodingConfig
from chitchat.dialogue import Reply
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.decoding import PRESET_LABELS, PRESETS
from chitchat.errors import ChitchatError
from chitchat.frontends.presentation import (
    BOT_NAME,
    CANDIDATE_HEADINGS,
    NO_OTHER_REPLY,
    candidate_rows,
    checked_message,
    printable,
)
from chitchat.sessions.session import Session

# Gradio reads these when it is imported; only this very spelling of False turns its analytics off.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr  # noqa: E402

from chitchat.frontends.web_style import page_style  # noqa: E402

logger = logging.getLogger(__name__)

OPENERS = ("你好呀，在忙什么？", "今天好累啊", "推荐个周末的去处吧", "讲个笑话听听")

_INVITATION = "说点什么，按 Enter 发送"

_SLIDERS: dict[str, tuple[str, float, float, float]] = {
    "temperature": ("温度", 0.1, 2.0, 0.05),
    "top_p": ("top-p", 0.05, 1.0, 0.01),
    "top_k": ("top-k（0 为不限）", 0, 200, 1),
    "repetition_penalty": ("重复惩罚", 1.0, 2.0, 0.05),
    "num_candidates": ("候选数", 1, 64, 1),
    "max_new_tokens": ("最长回复（token）", 8, 128, 1),
}
"""Field of DecodingConfig to label, least, greatest and step; a setting from the command line widens the range."""


def build_page(chatbot: Chatbot, *, decoding: DecodingConfig | None = None, name: str = BOT_NAME) -> gr.Blocks:
    """The page for one chatbot; `decoding` is where the knobs start, and gives what has no knob. Show it with `launch`."""
    base = decoding or chatbot.decoding
    page: gr.Blocks
    with gr.Blocks(title=f"{name} · 闲聊", analytics_enabled=False, fill_width=True) as page:
        session = gr.State(None)
        gr.HTML(
            f"<h1>{html.escape(name)}</h1><p>中文闲聊机器人。对话只留在这台电脑的内存里，刷新页面即清空。</p>", elem_id="title"
        )
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                chat = gr.Chatbot(
                    elem_id="chat",
                    height="56vh",
                    show_label=False,
                    placeholder="说点什么，或从下面选一句开头",
                    render_markdown=False,
                    latex_delimiters=[],
                    allow_tags=False,
                    feedback_options=None,
                    buttons=[],
                )
                message = gr.Textbox(
                    placeholder=_INVITATION,
                    show_label=False,
                    label="消息",
                    submit_btn=True,
                    autofocus=True,
                    max_lines=5,
                    elem_id="message",
                )
                with gr.Row(elem_id="actions"):
                    retry = gr.Button("换一句", size="sm")
                    undo = gr.Button("撤回", size="sm")
                    clear = gr.Button("清空", size="sm")
                with gr.Row(elem_id="openers"):
                    openers = [gr.Button(text, size="sm", variant="secondary") for text in OPENERS]
            with gr.Column(scale=2, min_width=320):
                labels = [(PRESET_LABELS[key], key) for key in PRESETS]
                preset = gr.Radio(labels, value=_preset_of(base), label="说话的样子", elem_id="preset")
                with gr.Accordion("细调", open=False):
                    knobs = [_slider(field, base) for field in _SLIDERS]
                table = gr.HTML(_table(None), elem_id="candidates")

        talk = _Talk(chatbot, base)
        shown = [message, chat, table, session]
        # One at a time, whoever asks: a Session is not for two threads, and the models answer one after another anyway.
        queue: dict[str, Any] = {"concurrency_id": "talk", "concurrency_limit": 1, "api_visibility": "private"}
        queue |= {"show_progress": "hidden"}
        message.submit(talk.say, [message, session, *knobs], shown, **queue)
        for opener in openers:
            opener.click(talk.say, [opener, session, *knobs], shown, **queue)
        retry.click(talk.retry, [message, session, *knobs], shown, **queue)
        undo.click(talk.undo, [message, session], shown, **queue)
        gr.on([clear.click, chat.clear], talk.clear, [message, session], shown, **queue)
        preset.input(lambda key: [getattr(PRESETS[key], f) for f in _SLIDERS], preset, knobs, **queue)
        for knob in knobs:
            knob.input(None, None, preset, js="() => null", api_visibility="private")
    return page


def launch(page: gr.Blocks, *, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serves the page until SIGINT or SIGTERM; raises ChitchatError when the address cannot be had."""
    host = host.strip("[]")
    _check_address(host, port)
    shown_host = f"[{host}]" if ":" in host else host  # an IPv6 address, which Gradio too wants in brackets
    # A proxy in the environment must not stand between Gradio and its own page, which it fetches once at the start.
    for variable in ("NO_PROXY", "no_proxy"):
        os.environ[variable] = ",".join(filter(None, (os.environ.get(variable), "localhost,127.0.0.1,::1", host)))
    stop = threading.Event()
    previous = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        page.launch(
            server_name=shown_host,
            server_port=port,
            share=False,
            ssr_mode=False,
            quiet=True,
            prevent_thread_lock=True,
            run_history=False,
            footer_links=[],
            enable_monitoring=False,
            **page_style(),
        )
        print(f"网页已打开：http://{shown_host}:{port}（按 Ctrl-C 停止）", file=sys.stderr, flush=True)
        stop.wait()
    except OSError as error:
        raise ChitchatError(f"开不了 {host}:{port}：{error}；请用 --port 换一个端口") from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        page.close(verbose=False)


class _Talk:
    """What the buttons do. Every event takes the visitor's session and gives message box, chat, table and session."""

    def __init__(self, chatbot: Chatbot, base: DecodingConfig) -> None:
        self.chatbot = chatbot
        self.base = base

    def say(self, text: str, session: Session | None, *knobs: float) -> Iterator[tuple[Any, ...]]:
        session = session or Session(self.chatbot)
        try:
            checked_message(text)
            waiting = gr.update(value="", placeholder="在想怎么回…")
            yield waiting, [*_bubbles(session), _bubble("user", text)], gr.skip(), session
            session.decoding = self._decoding(knobs)
            session.say(text)
            yield gr.update(placeholder=_INVITATION), *_view(session)
        except Exception as error:
            _warn(error)
            yield gr.update(value=text, placeholder=_INVITATION), *_view(session)

    def retry(self, text: str, session: Session | None, *knobs: float) -> tuple[Any, ...]:
        session = session or Session(self.chatbot)
        try:
            session.decoding = self._decoding(knobs)
            before = session.last_reply
            if session.retry().text == (before and before.text):
                gr.Info(NO_OTHER_REPLY)
        except Exception as error:
            _warn(error)
        return text, *_view(session)

    def undo(self, text: str, session: Session | None) -> tuple[Any, ...]:
        session = session or Session(self.chatbot)
        said = session.undo()
        if said is None:
            gr.Info("没有可以撤回的话")
        # The words go back into the box for another try, unless new ones are there.
        return text or said or "", *_view(session)

    def clear(self, text: str, session: Session | None) -> tuple[Any, ...]:
        return text, *_view(Session(self.chatbot))

    def _decoding(self, knobs: tuple[float, ...]) -> DecodingConfig:
        fields = {f: type(getattr(self.base, f))(value) for f, value in zip(_SLIDERS, knobs, strict=True)}
        return replace(self.base, **fields)


def _view(session: Session) -> tuple[Any, ...]:
    return _bubbles(session), _table(session.last_reply), session


def _bubbles(session: Session) -> list[dict[str, str]]:
    return [_bubble(m.role, m.content) for m in session.history]


def _bubble(role: str, text: str) -> dict[str, str]:
    # render_markdown=False still renders HTML (Gradio 6.31); it has to be escaped here.
    return {"role": role, "content": html.escape(printable(text), quote=False)}


def _warn(error: Exception) -> None:
    if isinstance(error, ChitchatError):
        gr.Warning(html.escape(str(error)))
        return
    logger.error("回复时出错", exc_info=error)
    gr.Warning("程序出错了，这句没能回复；请再试一次，详情见运行窗口")


def _table(reply: Reply | None) -> str:
    """The candidates as an HTML table, every text escaped."""
    hint = '<p class="hint">{}</p>'
    if reply is None:
        return hint.format("说一句之后，这里是每个候选回复和它的得分。")
    head = "".join(f'<th scope="col" class="{"text" if h == "回复" else ""}">{h}</th>' for h in CANDIDATE_HEADINGS[:-1])
    body = []
    for row in candidate_rows(reply):
        kind = "rejected" if row.is_rejected else "chosen" if row.is_chosen else ""
        text = f'<td class="text">{html.escape(row.text)}<span class="remark">{html.escape(row.remark)}</span></td>'
        numbers = "".join(f"<td>{number}</td>" for number in (row.forward, row.reverse, row.score))
        body.append(f'<tr class="{kind}"><td>{row.rank}</td>{text}{numbers}</tr>')
    return (
        hint.format(f"上一句回复的 {len(reply.candidates)} 个候选，用时 {reply.seconds:.2f} 秒")
        + f'<div class="candidates" tabindex="0" role="region" aria-label="候选回复"><table><thead><tr>{head}</tr></thead>'
        + f"<tbody>{''.join(body)}</tbody></table></div>"
        + hint.format("正向、反向（MMI）是每个 token 的平均对数概率，越大越好。")
    )


def _slider(field: str, base: DecodingConfig) -> gr.Slider:
    label, low, high, step = _SLIDERS[field]
    value = getattr(base, field)
    return gr.Slider(min(low, value), max(high, value), value, step=step, label=label, elem_id=field, buttons=[])


def _preset_of(decoding: DecodingConfig) -> str | None:
    """The preset that has the very values of the knobs."""
    pick: Callable[[DecodingConfig], list[Any]] = lambda d: [getattr(d, f) for f in _SLIDERS]  # noqa: E731
    return next((key for key, preset in PRESETS.items() if pick(preset) == pick(decoding)), None)


def _check_address(host: str, port: int) -> None:
    """Raises ChitchatError now, in words, for what Gradio would report later as 'empty port'."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        if number == errno.EADDRINUSE:
            raise ChitchatError(
                f"{host}:{port} 已被占用：请用 --port {port % 65535 + 1} 换一个端口，或先停掉占用它的程序"
            ) from None
        if number == errno.EACCES:
            raise ChitchatError(f"没有权限使用端口 {port}：请用 --port 换一个 1024 以上的端口") from None
        raise ChitchatError(f"不能在 {host}:{port} 上监听：请检查 --host 与 --port（本机是 --host 127.0.0.1）") from None
