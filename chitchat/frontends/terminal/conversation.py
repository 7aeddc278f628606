"""What a line typed in the terminal does: talk to the bot, or one of the /commands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chitchat.dialogue import Reply
from chitchat.errors import ChitchatError, UnknownSessionError
from chitchat.frontends.presentation import checked_message, one_line
from chitchat.frontends.terminal.screens import Screen
from chitchat.sessions.session import Session

_SHOWN_MESSAGES = 6
"""Of a conversation taken up again."""


class Conversation:
    """Carries out the lines a user types; `is_over` after /exit, `has_removed` after what takes away words that were said.

    Args:
        session: what is talked in; another after /resume and /new.
        screen: where it is shown.
        commands: by name, without the slash.
    """

    def __init__(self, session: Session, screen: Screen, commands: Mapping[str, Command]) -> None:
        self.session = session
        self.screen = screen
        self.commands = commands
        self.is_over = False
        self.has_removed = False

    def handle(self, line: str) -> None:
        """Does what one line asks for; raises ChitchatError when it cannot, the conversation being as before."""
        line = checked_message(line.strip())
        # Chinese input methods type the full-width slash.
        line = re.sub("^／+", lambda slashes: "/" * len(slashes[0]), line)
        if line.startswith("//"):
            self.answer(lambda: self.session.say(line[1:]))
        elif line.startswith("/"):
            self._command(*(line[1:].split(maxsplit=1) or [""]))
        elif line:
            self.answer(lambda: self.session.say(line))

    def answer(self, ask: Callable[[], Reply]) -> None:
        """Shows what the bot replies."""
        with self.screen.thinking():
            try:
                reply = ask()
            except UnknownSessionError as error:  # removed elsewhere
                raise UnknownSessionError(f"{error}：/new") from None
        self.screen.reply(reply, self.session)

    def last_reply(self) -> Reply:
        """The reply that stands; raises ChitchatError when there is none."""
        reply = self.session.last_reply
        if reply is None:
            raise ChitchatError("还没有回复：请先说一句")
        return reply

    def start(self) -> None:
        """Another conversation, with the same settings."""
        old = self.session
        self.session = Session(old.chatbot, old.decoding, old.store, old.owner, model=old.model)

    def resume(self, id: str) -> None:
        """Takes up a conversation of the store; raises UnknownSessionError."""
        old = self.session
        self.session = Session.resume(old.chatbot, old.store, id, owner=None, decoding=old.decoding, model=old.model)
        self.show_past()

    def show_past(self) -> None:
        """The end of what was said so far."""
        history = self.session.history
        self.screen.past(history[-_SHOWN_MESSAGES:])
        self.screen.note(f"接着聊“{self.session.name}”，已有 {len(history)} 条消息")
        if history and history[-1].role == "user":
            self.screen.note("最后一句还没有回复：/retry 让对方回答")

    def _command(self, name: str, argument: str = "") -> None:
        command = self.commands.get(name.lower())
        if command is None:
            raise ChitchatError(self._unknown(one_line(name).lower()))
        if argument and not command.argument:
            raise ChitchatError(f"/{name.lower()} 后面不带内容，得到 {argument!r}")
        command.run(self, argument.strip())
        self.has_removed = self.has_removed or command.removes

    def _unknown(self, name: str) -> str:
        if not name:
            return "/ 后面写命令名，/help 看全部；要发以 / 开头的话，写成 //"
        near = [c for c in self.commands if c.startswith(name)]
        near = near or difflib.get_close_matches(name, self.commands, n=1, cutoff=0.6)
        shown = f"没有命令 /{name[:20]}" + ("…" if len(name) > 20 else "")
        return shown + (f"，是否想写 /{near[0]}？" if near else "；/help 看全部，要发以 / 开头的话，写成 //")


def _no_choices(conversation: Conversation, words: list[str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Command:
    """A /command: what it does, its line in /help, and its argument if it takes one."""

    run: Callable[[Conversation, str], None]
    help: str
    argument: str = ""
    choices: Callable[[Conversation, list[str]], Mapping[str, str]] = _no_choices
    """What the next word may be, each with its meaning, given the words of the argument that stand already."""

    removes: bool = False
    """Whether it takes away words that were said."""

    def usage(self, name: str) -> str:
        return f"/{name} {self.argument}".strip()
