"""The conversation as HTML: bubbles, and under each what can be done with it.

Gradio's Chatbot is not used because it takes a message for HTML even with `render_markdown=False` (6.31): text has to be escaped
for it, and then its edit box and its copy button give the escaped text.
"""

from __future__ import annotations

from collections.abc import Sequence

from chitchat.frontends.web.html import button, hint, text
from chitchat.frontends.web.text import Translate
from chitchat.sessions.transcript import StoredMessage

OPENERS = ("你好呀，在忙什么？", "今天好累啊", "推荐个周末的去处吧", "讲个笑话听听")
BAD_REASONS = ("答非所问", "套话", "不通顺", "不友善")


def messages_html(
    messages: Sequence[StoredMessage],
    t: Translate,
    *,
    pending: str | None = None,
    keep: int | None = None,
    asked_reason: int | None = None,
    waits: bool = False,
) -> str:
    """The conversation, or an invitation with openers where there is none.

    Args:
        pending: what the user has just said and the bot is thinking about.
        keep: how many messages stand while it thinks; all when None.
        asked_reason: the index of the reply that was just rated, where a reason may be given.
        waits: whether the last message's reply is on its way, and the page is to ask for it.
    """
    if not messages and pending is None:
        return _invitation(t)
    waits = waits and bool(messages) and messages[-1].role == "user"
    if waits:
        pending, keep = messages[-1].content, len(messages) - 1
    shown = messages[:keep]
    last = len(shown) - 1
    items = [
        _reply(m, n, t, is_last=n == last and pending is None, asks=n == asked_reason)
        if m.role == "assistant"
        else _question(m, n, t, is_unanswered=n == last and pending is None, num_later=len(messages) - n - 2)
        for n, m in enumerate(shown)
    ]
    if pending is not None:
        items.append(f'<li class="user"><div class="bubble" data-testid="user">{text(pending)}</div></li>')
        dots = "<i></i><i></i><i></i>"
        items.append(
            f'<li class="bot"{" data-waits" if waits else ""}><div class="bubble thinking" role="status"'
            f' aria-label="{text(t("在想怎么回"))}">{dots}</div></li>'
        )
    return f'<ol class="log" role="log" aria-label="{text(t("对话"))}">{"".join(items)}</ol>'


def _invitation(t: Translate) -> str:
    openers = "".join(button("say", words, text=words) for words in OPENERS)
    return f'<div class="invitation"><p>{text(t("说点什么，或从下面选一句开头"))}</p><div class="openers">{openers}</div></div>'


def _question(message: StoredMessage, index: int, t: Translate, *, is_unanswered: bool, num_later: int) -> str:
    tools = button("open", t("编辑"), picture="edit", target=f"edit-{message.id}")
    tools += button("copy", t("复制"), picture="copy", done=t("已复制"))
    note = ""
    if is_unanswered:
        note = f'<p class="note">{text(t("这句还没有回复"))} {button("retry", t("再试一次"))}</p>'
    warning = t("后面的 {count} 条会一起撤回，找不回来").format(count=num_later) if num_later > 0 else ""
    return (
        f'<li class="user"><div class="bubble" data-testid="user">{text(message.content)}</div>'
        f"{_form('edit', index, message, t, send=t('改好了，重新回答'), label=t('改这句话'), warning=warning)}"
        f'<div class="tools">{tools}</div>{note}</li>'
    )


def _reply(message: StoredMessage, index: int, t: Translate, *, is_last: bool, asks: bool) -> str:
    tools = button(
        "rate", t("赞"), picture="good", pressed=message.rating > 0, index=index, rating=0 if message.rating > 0 else 1
    )
    tools += button(
        "rate", t("踩"), picture="bad", pressed=message.rating < 0, index=index, rating=0 if message.rating < 0 else -1
    )
    tools += button("copy", t("复制"), picture="copy", done=t("已复制"))
    tools += button("show", t("看候选"), picture="list", index=index)
    form = ""
    if is_last:
        tools += button("retry", t("换一句"), picture="again")
        tools += button("open", t("改成你想听的"), picture="edit", target=f"edit-{message.id}")
        tools += button("undo", t("撤回"), picture="undo")
        form = _form("correct", index, message, t, send=t("就该这么说"), label=t("改成你想听的"))
    rated = _reason(message, index, t) if asks and message.rating else ""
    return (
        f'<li class="bot{" last" if is_last else ""}"><div class="bubble" data-testid="bot">{text(message.content)}</div>{form}'
        f'<div class="tools">{tools}</div>{rated}</li>'
    )


def _form(action: str, index: int, message: StoredMessage, t: Translate, *, send: str, label: str, warning: str = "") -> str:
    buttons = f'<button class="primary">{text(send)}</button>{button("close", t("取消"))}'
    return (
        f'<form class="edit" id="edit-{message.id}" data-action="{action}" data-index="{index}" hidden>'
        f'<textarea name="text" rows="2" maxlength="2000" aria-label="{text(label)}">{text(message.content)}</textarea>'
        f"<div>{hint(warning) if warning else ''}{buttons}</div></form>"
    )


def _reason(message: StoredMessage, index: int, t: Translate) -> str:
    chips = "".join(
        button("rate", t(reason), index=index, rating=message.rating, reason=reason, pressed=message.reason == reason)
        for reason in BAD_REASONS
        if message.rating < 0
    )
    return (
        f'<form class="reason" data-action="rate" data-index="{index}" data-rating="{message.rating}">{chips}'
        f'<input name="reason" maxlength="200" value="{text(message.reason)}" placeholder="{text(t("说说原因（可不填）"))}"'
        f' aria-label="{text(t("评价的原因"))}"><button>{text(t("记下"))}</button></form>'
    )
