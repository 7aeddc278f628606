"""Talking in a terminal, or through a pipe: one line in, one reply out.

In a terminal there is a prompt with completion, colours and a spinner, and nothing is written to disk, not even the
input history. In a pipe only what was asked for goes to stdout, plain, and everything else to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TextIO

from chitchat.errors import ChitchatError
from chitchat.frontends.presentation import BOT_NAME, CANDIDATE_HEADINGS, CandidateRow, one_line, printable
from chitchat.frontends.terminal_commands import Conversation
from chitchat.sessions.session import Session

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_NARROW_COLUMNS = 72
"""Below this the table of candidates becomes a list."""


def run_terminal(
    session: Session, *, stdin: TextIO | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None
) -> int:
    """Talks until the input ends, and returns the exit code: 2 when a line of a pipe could not be answered, else 0.

    With a terminal on both ends it prompts, otherwise it reads lines. The streams are the process's own when None.
    Lets KeyboardInterrupt (in a pipe) and BrokenPipeError rise.
    """
    stdin, stdout, stderr = stdin or sys.stdin, stdout or sys.stdout, stderr or sys.stderr
    if stdin is None:  # started with its standard input closed
        return 0
    if stdin.isatty() and stdout.isatty():
        return _talk(session, stdin, stdout)
    return _answer_lines(session, stdin, stdout, stderr)


# Through a pipe


class PlainScreen:
    """Results on stdout, a line each; notes and errors on stderr."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.stdout = stdout
        self.stderr = stderr

    def reply(self, text: str) -> None:
        self.result(one_line(text))

    def result(self, text: str) -> None:
        print(printable(text), file=self.stdout, flush=True)

    def note(self, text: str) -> None:
        print(one_line(text), file=self.stderr, flush=True)

    def error(self, text: str) -> None:
        self.note(f"错误：{text}")

    def candidates(self, rows: Sequence[CandidateRow]) -> None:
        for cells in (CANDIDATE_HEADINGS, *(row.cells for row in rows)):
            print("\t".join(cells), file=self.stdout, flush=True)

    def thinking(self) -> AbstractContextManager[object]:
        return nullcontext()


def _answer_lines(session: Session, stdin: TextIO, stdout: TextIO, stderr: TextIO) -> int:
    _write_utf8(stdout, stderr)
    screen = PlainScreen(stdout, stderr)
    conversation = Conversation(session, screen)
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


class RichScreen:
    """Everything on the terminal, in colour unless NO_COLOR is set."""

    def __init__(self, stdout: TextIO) -> None:
        from rich.console import Console

        self.console = Console(file=stdout, highlight=False, markup=False, emoji=False)

    def reply(self, text: str) -> None:
        from rich.text import Text

        # The terminal wraps: rich would break between the name and a line of Chinese, which to it is one long word.
        self.console.print(Text.assemble((f"{BOT_NAME} › ", "bold magenta"), printable(text)), soft_wrap=True)

    def result(self, text: str) -> None:
        self.console.print(printable(text), soft_wrap=True)

    def note(self, text: str) -> None:
        self.console.print(one_line(text), style="dim", soft_wrap=True)

    def error(self, text: str) -> None:
        self.console.print(one_line(text), style="yellow", soft_wrap=True)

    def candidates(self, rows: Sequence[CandidateRow]) -> None:
        if self.console.width < _NARROW_COLUMNS:
            for row in rows:
                self.console.print(f"{row.rank:>2} {row.text}", style=_row_style(row))
                numbers = f"正向 {row.forward}  反向 {row.reverse}  得分 {row.score}  "
                self.console.print(f"   {row.remark if row.is_rejected else numbers + row.remark}", style="dim")
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, header_style="bold", caption="正向、反向（MMI）：每个 token 的平均对数概率，越大越好")
        for heading in CANDIDATE_HEADINGS:
            is_text = heading in (CANDIDATE_HEADINGS[1], CANDIDATE_HEADINGS[5])
            table.add_column(heading, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text)
        for row in rows:
            table.add_row(*row.cells, style=_row_style(row))
        self.console.print(table)

    def thinking(self) -> AbstractContextManager[object]:
        return self.console.status(f"{BOT_NAME}在想…", spinner="dots")


def _row_style(row: CandidateRow) -> str:
    return "dim" if row.is_rejected else "bold" if row.is_chosen else ""


def _talk(session: Session, stdin: TextIO, stdout: TextIO) -> int:
    screen = RichScreen(stdout)
    conversation = Conversation(session, screen)
    prompt = _prompt_session(stdin, stdout)
    screen.note(f"我是{BOT_NAME}，直接说话就好。/help 看命令，Ctrl-D 离开；对话只留在内存里。")
    is_leaving = False
    while not conversation.is_over:
        try:
            line = prompt.prompt([("class:you", "你 › ")])
        except EOFError:
            break
        except KeyboardInterrupt:
            was_typing = bool(prompt.default_buffer.text)
            if is_leaving and not was_typing:
                break
            is_leaving = not was_typing
            screen.note("已清掉这一行" if was_typing else "再按一次 Ctrl-C、按 Ctrl-D 或输入 /exit 离开")
            continue
        is_leaving = False
        try:
            conversation.handle(line)
        except ChitchatError as error:
            screen.error(str(error))
        except KeyboardInterrupt:
            screen.note("已取消这次回复")
    screen.note("再见")
    return 0


def _prompt_session(stdin: TextIO, stdout: TextIO) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory
    from prompt_toolkit.input.defaults import create_input
    from prompt_toolkit.output.color_depth import ColorDepth
    from prompt_toolkit.output.defaults import create_output
    from prompt_toolkit.styles import Style

    from chitchat.frontends.terminal_completion import CommandCompleter

    return PromptSession(
        history=InMemoryHistory(),
        completer=CommandCompleter(),
        style=Style.from_dict({"you": "bold ansicyan"}),
        color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
        input=create_input(stdin),
        output=create_output(stdout),
    )
