"""Talking in a terminal, or through a pipe: one message in, one reply out.

In a terminal there is a prompt with completion, colours and a spinner. In a pipe only what was asked for goes to stdout, plain or
as JSON, and everything else to stderr.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from chitchat.dialogue import BOT_NAME
from chitchat.errors import ChitchatError
from chitchat.frontends.terminal.commands import COMMANDS
from chitchat.frontends.terminal.conversation import Conversation
from chitchat.frontends.terminal.screens import CONTINUATION, JsonScreen, PlainScreen, RichScreen
from chitchat.sessions.session import Session

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings

_REMEMBERED_LINES = 500
_IMPATIENT_SECONDS = 1.0
"""So long after a reply is cancelled Ctrl-C is still one of the presses that cancelled it, and no wish to leave."""


def run_terminal(
    session: Session,
    *,
    as_json: bool = False,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Talks until the input ends, and returns the exit code: 2 when a line of a pipe could not be answered, else 0.

    With a terminal on both ends it prompts, unless JSON is asked for; otherwise it reads lines. The streams are the process's own
    when None. Lets KeyboardInterrupt (in a pipe) and BrokenPipeError rise.
    """
    stdin, stdout, stderr = stdin or sys.stdin, stdout or sys.stdout, stderr or sys.stderr
    if stdin is None:  # started with its standard input closed
        return 0
    if is_interactive(stdin, stdout) and not as_json:
        return _talk(session, stdin, stdout)
    return _answer_lines(session, (JsonScreen if as_json else PlainScreen)(stdout, stderr), stdin)


def is_interactive(stdin: TextIO | None, stdout: TextIO) -> bool:
    """Whether a person sits at both ends."""
    return stdin is not None and stdin.isatty() and stdout.isatty()


# Through a pipe


def _answer_lines(session: Session, screen: PlainScreen, stdin: TextIO) -> int:
    _write_utf8(screen.stdout, screen.stderr)
    conversation = Conversation(session, screen, COMMANDS)
    exit_code, number = 0, 0
    lines = _lines(stdin)
    while not conversation.is_over:
        number += 1
        try:
            line = next(lines, None)
        except UnicodeDecodeError as error:
            # What follows is in the same encoding, so going on would only repeat this.
            screen.error(f"第 {number} 行第 {error.start + 1} 个字节起不是 UTF-8：请先转换编码，如 iconv -f GBK -t UTF-8")
            return 2
        if line is None:
            break
        try:
            conversation.handle(line)
        except ChitchatError as error:
            screen.error(f"第 {number} 行：{error}")
            exit_code = 2
    return exit_code


def _lines(stdin: TextIO) -> Iterator[str]:
    """Lines as \\n ends them. From the bytes, because a decoded stream cannot say which line was not UTF-8."""
    source: Iterable[bytes | str] = getattr(stdin, "buffer", stdin)
    for number, line in enumerate(source):
        text = line.decode("utf-8") if isinstance(line, bytes) else line
        yield text.removeprefix("\ufeff") if number == 0 else text


def _write_utf8(*streams: TextIO) -> None:
    """Makes the streams' encoding that of the input, whatever the locale; an emoji in the C locale would raise."""
    for stream in streams:
        if reconfigure := getattr(stream, "reconfigure", None):
            if not stream.isatty():
                reconfigure(encoding="utf-8")
            reconfigure(errors="replace")


# In a terminal


def _talk(session: Session, stdin: TextIO, stdout: TextIO) -> int:
    screen = RichScreen(stdout)
    conversation = Conversation(session, screen, COMMANDS)
    with _ctrl_c(signal.SIG_IGN):  # at the prompt it is a key, while a reply is thought about `_handle` listens
        _prompt_and_answer(conversation, screen, stdin, stdout)
    store, said = session.store, conversation.session.history
    screen.note("再见" + ("，下次加 --resume last 接着聊" if store.path and said else ""))
    return 0


def _prompt_and_answer(conversation: Conversation, screen: RichScreen, stdin: TextIO, stdout: TextIO) -> None:
    session = conversation.session
    prompt = _prompt_session(conversation, stdin, stdout)
    screen.note(f"我是{BOT_NAME}，直接说话就好。/help 看命令，Alt-Enter 换行，Ctrl-D 离开。")
    screen.note(_whereabouts(session.store.path))
    if session.history:
        conversation.show_past()
    is_leaving = False
    cancelled = -math.inf
    while not conversation.is_over:
        try:
            line = prompt.prompt([("class:you", "你 › ")])
        except EOFError:
            break
        except KeyboardInterrupt:
            was_typing = bool(prompt.default_buffer.text)
            if not was_typing and time.monotonic() < cancelled + _IMPATIENT_SECONDS:
                continue  # it was meant for the reply
            if is_leaving and not was_typing:
                break
            is_leaving = not was_typing
            screen.note("已清掉这一行" if was_typing else "再按一次 Ctrl-C、按 Ctrl-D 或输入 /exit 离开")
            continue
        is_leaving = False
        try:
            with _ctrl_c(_cancel):
                conversation.handle(line)
        except ChitchatError as error:
            screen.error(str(error))
        except KeyboardInterrupt:
            screen.note("已取消这次回复")
            cancelled = time.monotonic()
        if conversation.has_removed:
            conversation.has_removed = False
            prompt.default_buffer.history = _history(conversation)


@contextmanager
def _ctrl_c(does: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, does)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cancel(number: int, frame: FrameType | None) -> None:
    """Pressed again, it must not hit what the first one set off: taking back the message, waiting for the model's threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _whereabouts(store: Path | None) -> str:
    if store is None:
        return "这次的对话不保存，离开就没了。"
    home = Path.home()
    shown = Path("~") / store.relative_to(home) if store.is_relative_to(home) else store
    return f"对话保存在 {shown}（--ephemeral 则不保存）。"


def _prompt_session(conversation: Conversation, stdin: TextIO, stdout: TextIO) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.input.defaults import create_input
    from prompt_toolkit.output.color_depth import ColorDepth
    from prompt_toolkit.output.defaults import create_output
    from prompt_toolkit.styles import Style

    from chitchat.frontends.terminal.completion import CommandCompleter

    return PromptSession(
        history=_history(conversation),
        completer=CommandCompleter(conversation),
        key_bindings=_key_bindings(),
        prompt_continuation=CONTINUATION,
        style=Style.from_dict({"you": "bold ansicyan"}),
        color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
        input=create_input(stdin),
        output=create_output(stdout),
    )


def _history(conversation: Conversation) -> History:
    """What the arrow keys bring back; from the store rather than a file of its own, for what is gone there is gone here too."""
    from prompt_toolkit.history import InMemoryHistory

    return InMemoryHistory(conversation.session.store.said(owner="", limit=_REMEMBERED_LINES))


def _key_bindings() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return bindings
