"""The /commands about conversations as a whole: listed, taken up, searched, named, written to a file, removed."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from chitchat.dialogue import SPEAKERS
from chitchat.errors import ChitchatError, UnknownSessionError
from chitchat.frontends.presentation import one_line
from chitchat.frontends.terminal.conversation import Command, Conversation
from chitchat.sessions.store import SessionSummary, Store

_LISTED = 30
_EXCERPT_CHARS = 40
_SHORT_ID = 8
"""Characters of an id that tell it from any other of one user."""
_THIS = ("this", "这段")


def _new(talk: Conversation, argument: str) -> None:
    talk.start()
    talk.screen.note("开始新的对话")


def _sessions(talk: Conversation, argument: str) -> None:
    found = talk.session.store.sessions(owner=None, limit=_LISTED)
    if not found:
        talk.screen.note("还没有对话")
        return
    rows = [(s.id, _described(s) + ("（正在聊）" if s.id == talk.session.id else "")) for s in found]
    talk.screen.listing(rows)
    if len(found) == _LISTED:
        talk.screen.note(f"只列出最近 {_LISTED} 段；/search 找更早的")


def _resume(talk: Conversation, argument: str) -> None:
    store = talk.session.store
    if not argument:
        others = [s for s in store.sessions(owner="", limit=2) if s.id != talk.session.id]
        if not others:
            raise ChitchatError("没有别的对话可接：/sessions 列出全部")
        talk.resume(others[0].id)
        return
    talk.resume(_found(store, argument))


def _found(store: Store, text: str) -> str:
    """The id that `last`, an id or its beginning means; the last conversation is the user's own, not a visitor's."""
    return store.find(text, owner="" if text == "last" else None, listed_by="/sessions")


def _others(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    if words:
        return {}
    found = talk.session.store.sessions(owner=None, limit=_LISTED)
    return {s.id[:_SHORT_ID]: f"{one_line(s.title)} {_day(s.updated)}" for s in found if s.id != talk.session.id}


def _search(talk: Conversation, argument: str) -> None:
    if not argument:
        raise ChitchatError("/search 后面写要找的词，几个词用空格隔开")
    hits = talk.session.store.search(argument, owner=None)
    word = argument.split()[0]
    rows = [(h.session.id, f"{_day(h.created)}  {SPEAKERS[h.role]}：{_excerpt(h.content, word)}") for h in hits]
    if not rows:
        talk.screen.note(f"没有说过“{one_line(argument)}”")
        return
    talk.screen.listing(rows)
    talk.screen.note("/resume 加左边的编号接着聊")


def _name(talk: Conversation, argument: str) -> None:
    if not argument:
        raise ChitchatError("/name 后面写这段对话的名字")
    talk.session.rename(argument)
    talk.screen.note(f"这段对话叫“{one_line(talk.session.name)}”")


def _export(talk: Conversation, argument: str) -> None:
    from chitchat.sessions.export import export_file  # with all that masks personal data: not to wait for at every start

    if not argument:
        raise ChitchatError(f"/export 后面写文件名，如 /export 聊天.md（{_KINDS}）")
    if not talk.session.history:
        raise ChitchatError("还没有对话可存：请先说一句")
    try:
        path = Path(argument).expanduser()
        if path.is_dir():
            raise ChitchatError(f"{argument} 是文件夹：请写文件名")
        format = _FORMATS.get(path.suffix.lower())
        if format is None:
            raise ChitchatError(f"文件名应以 {' / '.join(_FORMATS)} 结尾，得到 {argument!r}")
        if not path.parent.is_dir():
            raise ChitchatError(f"没有文件夹 {path.parent}：请先建好，或换个位置")
        existed = path.exists()
        export_file(talk.session.store, talk.session.id, format, path, owner=None)
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the name; RuntimeError: ~nobody
        raise ChitchatError(f"存不了 {argument!r}：{_reason(error)}；请换个位置或文件名") from None
    talk.screen.note(f"{'已覆盖' if existed else '已保存到'} {path}")


def _forget(talk: Conversation, argument: str) -> None:
    if not argument:
        raise ChitchatError("/forget 后面写编号，这段对话写 this；彻底删除，不能恢复")
    store = talk.session.store
    id = talk.session.id if argument in _THIS else _found(store, argument)
    try:
        forgotten = store.forget(id, owner=None)
    except UnknownSessionError:  # nothing was said, or all of it taken back
        store.database.scrub()
        talk.screen.note("这段对话里没有话；撤回过的，痕迹也清掉了")
        return
    how = "已删除" if forgotten.lingers else "已彻底删除"
    talk.screen.note(f"{how}：{forgotten.num_messages} 条消息，连同改过和撤回的")
    for export in forgotten.exports:
        talk.screen.note(f"由它写成的文件不会跟着删：{export.path}（{export.state}）")
    if id == talk.session.id:
        _new(talk, "")
    if forgotten.lingers:
        raise forgotten.lingers


def _forgettable(talk: Conversation, words: list[str]) -> Mapping[str, str]:
    return {} if words else {_THIS[0]: "这段对话", **_others(talk, words)}


def _described(summary: SessionSummary) -> str:
    title = one_line(summary.title) + ("（访客）" if summary.owner else "")
    return f"{_day(summary.updated)}  {summary.num_messages} 条  {title}"


def _day(moment: datetime) -> str:
    return f"{moment:%m-%d %H:%M}" if moment.year == datetime.now().year else f"{moment:%Y-%m-%d}"


def _excerpt(text: str, word: str) -> str:
    """The words around the first place of `word`."""
    text = one_line(text)
    start = max(text.lower().find(word.lower()) - _EXCERPT_CHARS // 2, 0)
    shown = text[start : start + _EXCERPT_CHARS]
    return ("…" if start else "") + shown + ("…" if start + _EXCERPT_CHARS < len(text) else "")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        known = {errno.EACCES: "没有写入权限", errno.EPERM: "没有写入权限", errno.EROFS: "只读的磁盘", errno.ENOSPC: "磁盘已满"}
        known |= {errno.ENAMETOOLONG: "文件名太长", errno.ENOENT: "这里不能新建文件"}
        return known.get(error.errno or 0) or error.strerror or str(error)
    return "没有这个用户" if isinstance(error, RuntimeError) else "文件名里有不能用的字符"


_FORMATS = {".md": "md", ".txt": "md", ".jsonl": "jsonl"}
_KINDS = ".jsonl 为训练格式，.txt 与 .md 为对话记录"

COMMANDS: Mapping[str, Command] = {
    "new": Command(_new, "开始新的对话，这一段留着"),
    "sessions": Command(_sessions, "列出保存的对话"),
    "resume": Command(_resume, "接着聊另一段；不写编号为最近的一段", "[ID]", _others),
    "search": Command(_search, "在所有对话里找说过的话", "TEXT"),
    "name": Command(_name, "给这段对话起名", "NAME"),
    "export": Command(_export, f"把对话写成文件；{_KINDS}", "FILE"),
    "save": Command(_export, "同 /export", "FILE"),
    "forget": Command(_forget, "彻底删除一段对话；this 为这一段", "ID|this", _forgettable, removes=True),
}
