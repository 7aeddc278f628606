"""The page in one language: its three tabs, and which event each control sends. What the events do is in talk.py."""

from __future__ import annotations

import os
from typing import Any

# Gradio reads these when it is imported; only this very spelling of False turns its analytics off.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import gradio as gr  # noqa: E402

from chitchat.config import DecodingConfig  # noqa: E402
from chitchat.dialogue import BOT_NAME  # noqa: E402
from chitchat.engine.decoding import PRESET_LABELS, PRESETS  # noqa: E402
from chitchat.frontends.web.html import button, text  # noqa: E402
from chitchat.frontends.web.report import add_report_tab  # noqa: E402
from chitchat.frontends.web.scoring import add_scoring_tab  # noqa: E402
from chitchat.frontends.web.site import Site  # noqa: E402
from chitchat.frontends.web.talk import KNOBS, Talk, Visit, preset_of  # noqa: E402
from chitchat.frontends.web.text import Translate, translator  # noqa: E402
from chitchat.frontends.web.visitors import ENGLISH_PATH  # noqa: E402

MAX_TURNS = 8
"""Replies under way at a time: what the models answer in one call, see backends/batching.py. More would only wait there."""
_FILES_KEPT_SECONDS = 3600
_SLIDERS: dict[str, tuple[str, float, float, float]] = {
    "temperature": ("温度", 0.1, 2.0, 0.05),
    "top_p": ("top-p", 0.05, 1.0, 0.01),
    "top_k": ("top-k（0 为不限）", 0, 200, 1),
    "repetition_penalty": ("重复惩罚", 1.0, 2.0, 0.05),
    "num_candidates": ("候选数", 1, 64, 1),
    "max_new_tokens": ("最长回复（token）", 8, 128, 1),
}
"""Field of DecodingConfig to label, least, greatest and step; a setting from the command line widens the range."""
_LISTEN = "page.listen(element, trigger);"


def build_page(site: Site, language: str, *, has_login: bool = False) -> gr.Blocks:
    """The page of a site in "zh" or "en"; shown with the style of `style.page_style`."""
    t = translator(language)
    page: gr.Blocks
    with gr.Blocks(
        title=f"{t(BOT_NAME)} · {t('闲聊')}",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(_FILES_KEPT_SECONDS, _FILES_KEPT_SECONDS),
    ) as page:
        gr.HTML(_header(site, t, language, has_login=has_login), js_on_load=_LISTEN, apply_default_css=False, elem_id="top")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab(t("聊天"), elem_id="tab-talk"):
                _add_talk_tab(page, site, t)
            with gr.Tab(t("打分"), elem_id="tab-scoring"):
                add_scoring_tab(site, t)
            with gr.Tab(t("评测"), elem_id="tab-report") as report:
                add_report_tab(report, site, t, chinese=language == "zh")
    page.queue(default_concurrency_limit=MAX_TURNS)
    return page


def _header(site: Site, t: Translate, language: str, *, has_login: bool) -> str:
    kept = t("对话保存在运行小叙的电脑上，只有你看得到，随时可删") if site.keeps else t("对话只留在内存里，网页停止后就没有了")
    other = f'<a href="{ENGLISH_PATH}" lang="en">English</a>' if language == "zh" else '<a href="/" lang="zh-CN">中文</a>'
    leave = f'<form method="post" action="/logout"><button>{text(t("退出"))}</button></form>' if has_login else ""
    side = button("side", t("对话列表"), picture="menu", css="narrow")
    drawer = button("drawer", t("候选与设置"), picture="list", css="medium")
    theme = button("theme", t("深色或浅色"), picture="light")
    return f"{side}<h1>{text(t(BOT_NAME))}</h1><p>{text(kept)}</p><nav>{drawer}{theme}{other}{leave}</nav>"


def _add_talk_tab(page: gr.Blocks, site: Site, t: Translate) -> None:
    talk = Talk(site, t)
    visit = gr.State(Visit())
    with gr.Row(elem_id="desk"):
        with gr.Column(elem_id="side", min_width=0):
            new = gr.HTML(button("new", t("新对话")), js_on_load=_LISTEN, apply_default_css=False, elem_id="new")
            search = gr.Textbox(
                placeholder=t("搜索对话"), label=t("搜索对话"), show_label=False, elem_id="search", max_length=100
            )
            sessions = gr.HTML(js_on_load=_LISTEN, apply_default_css=False, elem_id="sessions")
            with gr.Accordion(t("打开终端里的对话"), open=False, elem_id="open"):
                opened = gr.Textbox(
                    placeholder=t("粘贴 /sessions 列出的编号"),
                    label=t("对话编号"),
                    show_label=False,
                    submit_btn=t("打开"),
                    max_length=64,
                )
        with gr.Column(elem_id="talk", min_width=0):
            log = gr.HTML(js_on_load=f"{_LISTEN} page.follow(element);", apply_default_css=False, elem_id="log")
            message = gr.Textbox(
                placeholder=t("说点什么，按 Enter 发送，Shift+Enter 换行"),
                show_label=False,
                label=t("消息"),
                submit_btn=t("发送"),
                autofocus=True,
                max_lines=5,
                elem_id="message",
            )
        with gr.Column(elem_id="drawer", min_width=0):
            labels = [(t(PRESET_LABELS[key]), key) for key in PRESETS]
            start = preset_of([getattr(site.decoding, field) for field in KNOBS])
            preset = gr.Radio(labels, value=start, label=t("说话的样子"), elem_id="preset")
            with gr.Accordion(t("细调与模型"), open=False, elem_id="fine"):
                knobs = [_slider(field, site.decoding, t) for field in KNOBS]
                model = gr.Dropdown(site.models.names, label=t("模型"), elem_id="model", filterable=False)
            candidates = gr.HTML(js_on_load=_LISTEN, apply_default_css=False, elem_id="candidates")

    shown = [message, log, candidates, sessions, visit]
    asked = [visit, search, model, *knobs]
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    turn = quiet | {"concurrency_id": "turn", "concurrency_limit": MAX_TURNS}
    click = quiet | {"trigger_mode": "multiple"}
    turns: list[Any] = [
        message.submit(talk.say, [message, *asked], shown, js="(...all) => (page.sent(all[0]), all)", **turn),
        log.submit(talk.on_turn, asked, shown, trigger_mode="multiple", **turn),
    ]
    log.click(talk.on_message, [visit, search], shown, **click)
    message.stop(talk.stop, [visit, search], shown, cancels=turns, **quiet)
    candidates.click(talk.on_candidate, [visit, search], shown, **click)
    sessions.click(talk.on_session, [visit, search], shown, **click)
    new.click(talk.new, search, shown, **quiet)
    # cancelled, or the reply would lead the visitor back when it comes
    sessions.submit(talk.on_session, [visit, search], shown, cancels=turns, **click)
    new.submit(talk.new, search, shown, cancels=turns, **quiet)
    search.change(talk.search, [visit, search], sessions, trigger_mode="always_last", **quiet)
    opened.submit(talk.open, [opened, visit, search], [opened, *shown], **quiet)
    preset.input(lambda key: [getattr(PRESETS[key], f) for f in KNOBS], preset, knobs, **quiet)
    for knob in knobs:
        knob.input(None, None, preset, js="() => null", api_visibility="private")
        knob.change(None, knobs, None, js="(...all) => page.keepKnobs(all)", api_visibility="private")
    model.change(talk.choose_model, model, model, **quiet)
    page.load(talk.arrive, [search, *knobs], [*shown, preset, *knobs], js="(...all) => page.arrive(...all)", **quiet)
    gr.api(  # type: ignore[attr-defined]
        talk.chat, api_name="chat", concurrency_id="turn", concurrency_limit=MAX_TURNS
    )


def _slider(field: str, base: DecodingConfig, t: Translate) -> gr.Slider:
    label, low, high, step = _SLIDERS[field]
    value = getattr(base, field)
    return gr.Slider(min(low, value), max(high, value), value, step=step, label=t(label), elem_id=field, buttons=[])
