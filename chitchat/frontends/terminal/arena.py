"""Judging two replies in a terminal, or through a pipe with an answer a line.

Knows how questions, messages and a table are shown and read; what an answer means is the business of whoever asks. In a pipe
only the table goes to stdout.
"""

from __future__ import annotations

import io
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from chitchat.errors import ChitchatError
from chitchat.frontends.presentation import checked_message, one_line

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from rich.console import Console

_SPEAKERS = ("你", "对方")


class ArenaTerminal:
    """Asks for votes and messages; the streams are the process's own when None.

    In a terminal an answer that is none is asked for again. In a pipe it raises ChitchatError with its line, because going on
    would give every later answer to the wrong question.
    """

    def __init__(self, *, stdin: TextIO | None = None, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        # Python has no sys.stdin when started with its standard input closed.
        self._stdin, self._stdout = stdin or sys.stdin or io.StringIO(), stdout or sys.stdout
        self._is_terminal = self._stdin.isatty() and self._stdout.isatty()
        asides = self._stdout if self._is_terminal else stderr or sys.stderr
        self._screen = _console(asides)
        self._prompt_session = _prompt_session() if self._is_terminal else None
        self._line_number = 0
        for stream in (self._stdin, self._stdout, asides):
            if not stream.isatty() and isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding="utf-8")  # whatever the locale

    def ask(self, title: str, context: Sequence[str], replies: tuple[str, str], choices: Mapping[str, str]) -> str | None:
        """The key of `choices` that the user picks, by key or by meaning; None at the end of the input or on Ctrl-C."""
        self._show("")
        self._show(title, "dim")
        for i, message in enumerate(context):
            self._show(f"{_SPEAKERS[i % 2]} › {one_line(message)}", "" if i == len(context) - 1 else "dim")
        for number, reply in enumerate(replies, start=1):
            self._show(f"  {number}  {one_line(reply)}", "bold")
        menu = "  ".join(f"{key} {meaning}" for key, meaning in choices.items())
        known = {_folded(key): key for key in choices} | {meaning: key for key, meaning in choices.items()}
        self._show(menu, "dim")
        while (line := self._read("哪个好 › ")) is not None:
            if (key := known.get(_folded(line))) is not None:
                return key
            if not self._is_terminal:
                raise ChitchatError(f"标准输入第 {self._line_number} 行：答案应为 {' '.join(choices)} 之一，得到 {line!r}")
            self._show(f"请输入其中之一：{menu}", "yellow")
        return None

    def listen(self) -> str | None:
        """What the user says, blank lines passed over; None at the end of the input, on Ctrl-C or at /exit."""
        while (line := self._read("你 › ")) is not None:
            if line in ("/exit", "/quit"):
                return None
            if line:
                return checked_message(line)
        return None

    def note(self, text: str) -> None:
        """A line beside the questions."""
        self._show(one_line(text), "dim")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], remarks: Sequence[str] = ()) -> None:
        """Results with remarks under them; tab-separated in a pipe."""
        if not self._is_terminal:
            for row in (headings, *rows):
                print("\t".join(map(one_line, row)), file=self._stdout, flush=True)
        else:
            from rich import box
            from rich.table import Table

            grid = Table(box=box.SIMPLE_HEAD, header_style="bold")
            for i, heading in enumerate(headings):
                grid.add_column(heading, justify="right" if i else "left", overflow="fold")
            for row in rows:
                grid.add_row(*map(one_line, row))
            self._screen.print(grid)
        for remark in remarks:
            self.note(remark)

    def _show(self, text: str, style: str = "") -> None:
        self._screen.print(text, style=style, soft_wrap=True)

    def _read(self, prompt: str) -> str | None:
        """A line without the space around it, or None when there is no more."""
        self._line_number += 1
        try:
            line = self._prompt_session.prompt(prompt) if self._prompt_session else self._stdin.readline()
        except (EOFError, KeyboardInterrupt):
            return None
        except UnicodeDecodeError:
            raise ChitchatError(
                f"标准输入第 {self._line_number} 行起不是 UTF-8：请先转换编码，如 iconv -f GBK -t UTF-8"
            ) from None
        return line.strip() if line or self._prompt_session else None


def _folded(text: str) -> str:
    """As typed with a Latin keyboard: Chinese input methods give ＝ and ｘ."""
    return unicodedata.normalize("NFKC", text).casefold()


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def _prompt_session() -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import InMemoryHistory

    return PromptSession(history=InMemoryHistory())
