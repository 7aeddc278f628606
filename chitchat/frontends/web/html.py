"""Pieces of HTML that the parts of the page are made of. Every text is escaped here; nothing is ever shown as markup."""

from __future__ import annotations

import html

from chitchat.frontends.presentation import printable

_ICONS = {
    "again": '<path d="M20 12a8 8 0 1 1-2.3-5.6M20 3v4h-4"/>',
    "bad": '<path d="M17 3v11M17 3H6.8a2.5 2.5 0 0 0-2.5 2.3l-1.3 7A1.5 1.5 0 0 0 4.500 14H11l-.7 4.6a2 2 0 0 0 2 2.4L17 14z"/>',
    "close": '<path d="M6 6l12 12M18 6L6 18"/>',
    "copy": '<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M5 15H4V5a1 1 0 0 1 1-1h10v1"/>',
    "delete": '<path d="M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5"/>',
    "dots": '<path d="M5 12h.01M12 12h.01M19 12h.01" stroke-width="3"/>',
    "edit": '<path d="M4 20l1-4L16.5 4.5a2 2 0 0 1 3 3L8 19z"/>',
    "export": '<path d="M12 4v11M7 11l5 5 5-5M4 20h16"/>',
    "good": '<path d="M7 21V10M7 21h10.2a2.5 2.5 0 0 0 2.5-2.3l1.3-7a1.5 1.5 0 0 0-1.5-1.7H13l.7-4.6a2 2 0 0 0-2-2.4L7 10z"/>',
    "light": '<path d="M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z"/>',
    "list": '<path d="M4 6h16M4 12h16M4 18h10"/>',
    "menu": '<path d="M4 6h16M4 12h16M4 18h16"/>',
    "new": '<path d="M12 5v14M5 12h14"/>',
    "undo": '<path d="M9 6L4 11l5 5M4 11h10a6 6 0 0 1 0 12h-2" transform="translate(0 -2)"/>',
}


def text(words: str) -> str:
    """Words to stand between tags or in an attribute, with nothing that could reverse a line or hide."""
    return html.escape(printable(words))


def hint(words: str) -> str:
    """A line of small print."""
    return f'<p class="hint">{text(words)}</p>'


def scroll_table(name: str, head: str, body: str) -> str:
    """A table that scrolls by itself where the page is narrow; `head` and `body` are rows of HTML."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(name)}"><table><thead>{head}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def icon(name: str) -> str:
    return f'<svg viewBox="0 0 24 24" aria-hidden="true">{_ICONS[name]}</svg>'


def button(action: str, label: str, *, picture: str = "", css: str = "", pressed: bool | None = None, **data: object) -> str:
    """A button of the page's script, see page.js: `action` and `data` are what it sends or does.

    With a picture the label is for screen readers and the tooltip.
    """
    attributes = "".join(f' data-{name}="{text(str(value))}"' for name, value in data.items())
    if pressed is not None:
        attributes += f' aria-pressed="{str(pressed).lower()}"'
    if action == "menu":
        attributes += ' aria-haspopup="true" aria-expanded="false"'
    if picture:
        attributes += f' aria-label="{text(label)}" title="{text(label)}"'
    shown = icon(picture) if picture else text(label)
    return f'<button type="button" class="{"icon " if picture else ""}{css}" data-action="{action}"{attributes}>{shown}</button>'
