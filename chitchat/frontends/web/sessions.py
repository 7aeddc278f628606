"""The list of conversations as HTML: each can be opened, renamed, exported and deleted."""

from __future__ import annotations

from collections.abc import Sequence

from chitchat.frontends.web.html import button, icon, text
from chitchat.frontends.web.text import Translate
from chitchat.sessions.store import SessionSummary


def sessions_html(sessions: Sequence[SessionSummary], t: Translate, *, current: str | None, is_search: bool) -> str:
    """The conversations, newest first, the open one marked."""
    if not sessions:
        empty = t("没有找到") if is_search else t("还没有对话")
        return f'<p class="hint" role="status">{text(empty)}</p>'
    items = "".join(_item(s, t, is_current=s.id == current) for s in sessions)
    return f'<ul class="sessions" aria-label="{text(t("对话列表"))}">{items}</ul>'


def _item(session: SessionSummary, t: Translate, *, is_current: bool) -> str:
    title = " ".join(session.title.split()) or t("（没有名字）")
    when = session.updated.strftime("%m-%d %H:%M")
    current = ' aria-current="true"' if is_current else ""
    downloads = "".join(
        f'<a href="/export/{session.id}.{kind}" download>{icon("export")}{text(label)}</a>'
        for kind, label in (("md", "Markdown"), ("jsonl", "JSONL"))
    )
    return (
        f'<li{current}><button type="button" class="session" data-action="switch" data-id="{session.id}"{current}>'
        f"<span>{text(title)}</span><small>{when}</small></button>"
        f"{button('menu', t('更多'), picture='dots', css='more', target=f'menu-{session.id}')}"
        f'<div class="menu" id="menu-{session.id}" hidden>'
        f"{button('open', t('改名'), target=f'name-{session.id}')}{downloads}"
        f"{button('delete', t('删除'), css='danger', id=session.id, sure=t('再点一次就删除'))}</div>"
        f'<form class="rename" id="name-{session.id}" data-action="rename" data-id="{session.id}" hidden>'
        f'<input name="name" maxlength="80" value="{text(title)}" aria-label="{text(t("新名字"))}">'
        f'<button class="primary">{text(t("好"))}</button>{button("close", t("取消"))}</form></li>'
    )
