"""What a line typed in the terminal does: talk to the bot, or one of the /commands.

Knows the session and what each command means; knows a screen only as the six things that can be shown on it.
"""

from __future__ import annotations

import difflib
import errno
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from chitchat.config import DecodingConfig, from_mapping
from chitchat.dialogue import Message, Reply
from chitchat.errors import ChitchatError, ConfigError
from chitchat.files import atomic_write
from chitchat.frontends.presentation import BOT_NAME, NO_OTHER_REPLY, CandidateRow, candidate_rows, checked_message, one_line
from chitchat.sessions.session import Session

_SPEAKERS: Mapping[str, str] = {"user": "你", "assistant": BOT_NAME}


class Screen(Protocol):
    """Where a conversation is shown."""

    def reply(self, text: str) -> None:
        """What the bot says."""

    def result(self, text: str) -> None:
        """What a command was asked for."""

    def note(self, text: str) -> None:
        """What happened, beside the conversation."""

    def error(self, text: str) -> None:
        """What went wrong, in one line."""

    def candidates(self, rows: Sequence[CandidateRow]) -> None:
        """The table of candidates."""

    def thinking(self) -> AbstractContextManager[object]:
        """Shown while the bot looks for a reply."""


class Conversation:
    """Carries out the lines a user types; `is_over` after /exit."""

    def __init__(self, session: Session, screen: Screen) -> None:
        self.session = session
        self.screen = screen
        self.is_over = False

    def handle(self, line: str) -> None:
        """Does what one line asks for; raises ChitchatError when it cannot, the conversation being as before."""
        line = checked_message(line.strip())
        # Chinese input methods type the full-width slash.
        line = re.sub("^／+", lambda slashes: "/" * len(slashes[0]), line)
        if line.startswith("//"):
            self._answer(lambda: self.session.say(line[1:]))
        elif line.startswith("/"):
            self._command(*(line[1:].split(maxsplit=1) or [""]))
        elif line:
            self._answer(lambda: self.session.say(line))

    def _command(self, name: str, argument: str = "") -> None:
        command = COMMANDS.get(name.lower())
        if command is None:
            raise ChitchatError(_unknown(one_line(name)))
        if argument and not command.argument:
            raise ChitchatError(f"/{name.lower()} 后面不带内容，得到 {argument!r}")
        command.run(self, argument.strip())

    def _answer(self, ask: Callable[[], Reply]) -> None:
        with self.screen.thinking():
            reply = ask()
        self.screen.reply(reply.text)

    def candidates(self, argument: str) -> None:
        reply = self.session.last_reply
        if reply is None:
            raise ChitchatError("还没有候选回复：请先说一句")
        self.screen.candidates(candidate_rows(reply))

    def retry(self, argument: str) -> None:
        before = self.session.last_reply
        self._answer(self.session.retry)
        after = self.session.last_reply
        if before and after and before.text == after.text:
            self.screen.note(NO_OTHER_REPLY)

    def undo(self, argument: str) -> None:
        message = self.session.undo()
        if message is None:
            raise ChitchatError("没有可以撤回的话")
        self.screen.note(f"已撤回：{one_line(message)}")

    def reset(self, argument: str) -> None:
        self.session.reset()
        self.screen.note("已清空，重新开始")

    def set(self, argument: str) -> None:
        if not argument:
            values = asdict(self.session.decoding)
            width = max(map(len, values))
            lines = []
            for f in fields(DecodingConfig):
                shown = "随机  " if values[f.name] is None else f"{values[f.name]!s:<6}"
                lines.append(f"{f.name:<{width}}  {shown}  {f.metadata['help']}")
            self.screen.result("\n".join(lines))
            return
        name, _, text = re.sub(r"\s*=\s*|\s+", " ", argument, count=1).partition(" ")
        name = name.replace("-", "_").lower()
        value = _parsed(name, text.strip())
        self.session.decoding = from_mapping(DecodingConfig, asdict(self.session.decoding) | {name: value}, where="/set")
        self.screen.note(f"{name} = {'随机' if value is None else value}")

    def save(self, argument: str) -> None:
        if not argument:
            raise ChitchatError("/save 后面写文件名，如 /save 聊天.md（.jsonl 为训练格式，.txt 与 .md 为对话记录）")
        if not self.session.history:
            raise ChitchatError("还没有对话可存：请先说一句")
        try:
            path = Path(argument).expanduser()
            if path.is_dir():
                raise ChitchatError(f"{argument} 是文件夹：请写文件名")
            writer = _WRITERS.get(path.suffix.lower())
            if writer is None:
                raise ChitchatError(f"文件名应以 {' / '.join(_WRITERS)} 结尾，得到 {argument!r}")
            if not path.parent.is_dir():
                raise ChitchatError(f"没有文件夹 {path.parent}：请先建好，或换个位置")
            existed = path.exists()
            with atomic_write(path) as stream:
                stream.write(writer(self.session))
        except (OSError, ValueError, RuntimeError) as error:  # ValueError: a NUL in the name; RuntimeError: ~nobody
            raise ChitchatError(f"存不了 {argument!r}：{_reason(error)}；请换个位置或文件名") from None
        self.screen.note(f"{'已覆盖' if existed else '已保存到'} {path}")

    def help(self, argument: str) -> None:
        width = max(len(c.usage(name)) for name, c in COMMANDS.items())
        lines = [f"{c.usage(name):<{width}}  {c.help}" for name, c in COMMANDS.items()]
        self.screen.result("\n".join([*lines, "其余的话都发给对方；要发以 / 开头的话，写成 //"]))

    def exit(self, argument: str) -> None:
        self.is_over = True


@dataclass(frozen=True)
class Command:
    """A /command: what it does, its line in /help, the name of its argument if it takes one."""

    run: Callable[[Conversation, str], None]
    help: str
    argument: str = ""

    def usage(self, name: str) -> str:
        return f"/{name} {self.argument}".strip()


COMMANDS: Mapping[str, Command] = {
    "candidates": Command(Conversation.candidates, "上一句回复的全部候选与得分"),
    "retry": Command(Conversation.retry, "换一句回复"),
    "undo": Command(Conversation.undo, "撤回上一轮"),
    "reset": Command(Conversation.reset, "清空对话，重新开始"),
    "set": Command(Conversation.set, "改解码参数，如 /set temperature 0.8；单写 /set 看全部", "NAME VALUE"),
    "save": Command(Conversation.save, "保存对话；.jsonl 为训练格式，.txt 与 .md 为对话记录", "FILE"),
    "help": Command(Conversation.help, "这份说明"),
    "exit": Command(Conversation.exit, "离开，也可以按 Ctrl-D"),
    "quit": Command(Conversation.exit, "同 /exit"),
}


def _unknown(name: str) -> str:
    if not name:
        return "/ 后面写命令名，/help 看全部；要发以 / 开头的话，写成 //"
    name = name.lower()
    near = [c for c in COMMANDS if c.startswith(name)] or difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.6)
    shown = f"没有命令 /{name[:20]}" + ("…" if len(name) > 20 else "")
    return shown + (f"，是否想写 /{near[0]}？" if near else "；/help 看全部，要发以 / 开头的话，写成 //")


def _parsed(name: str, text: str) -> Any:
    """The value of a decoding option as its type wants it; its range is DecodingConfig's affair."""
    hints = typing.get_type_hints(DecodingConfig)
    if name not in hints:
        from_mapping(DecodingConfig, {name: text}, where="/set")  # raises, naming the nearest option
    kinds = typing.get_args(hints[name]) or (hints[name],)
    if not text:
        raise ConfigError(f"/set：{name} 后面写值，如 /set {name} {getattr(DecodingConfig(), name) or 1}")
    if type(None) in kinds and text.lower() in ("none", "null", "随机"):
        return None
    try:
        return kinds[0](text)
    except ValueError:
        raise ConfigError(f"/set：{name} 应为{'整数' if kinds[0] is int else '数字'}，得到 {text!r}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        known = {errno.EACCES: "没有写入权限", errno.EPERM: "没有写入权限", errno.EROFS: "只读的磁盘", errno.ENOSPC: "磁盘已满"}
        known |= {errno.ENAMETOOLONG: "文件名太长"}
        return known.get(error.errno or 0) or error.strerror or str(error)
    return "没有这个用户" if isinstance(error, RuntimeError) else "文件名里有不能用的字符"


def _transcript(separator: str, speaker: str) -> Callable[[Session], str]:
    def write(session: Session) -> str:
        return separator.join(_line(message, speaker) for message in session.history) + "\n"

    return write


def _line(message: Message, speaker: str) -> str:
    return speaker.format(_SPEAKERS[message.role]) + message.content


_WRITERS: Mapping[str, Callable[[Session], str]] = {
    ".jsonl": Session.export_jsonl,
    ".txt": _transcript("\n", "{}："),
    ".md": _transcript("\n\n", "**{}**："),
}
