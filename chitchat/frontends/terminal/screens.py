"""Where a conversation is shown: lines for a pipe, JSON for a program, colours for a person.

Whatever comes from a message is made `printable` here, so that none can move the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TextIO

from chitchat.dialogue import BOT_NAME, SPEAKERS, Message, Reply
from chitchat.frontends.presentation import (
    CANDIDATE_HEADINGS,
    CandidateRow,
    candidate_json,
    one_line,
    printable,
    reply_json,
)
from chitchat.sessions.session import Session

CONTINUATION = "   ┊ "
"""Before the second line of a message and those after it."""
_NARROW_COLUMNS = 72
"""Below this tables become lists."""


class Screen(Protocol):
    """What can be shown of a conversation."""

    def reply(self, reply: Reply, session: Session) -> None:
        """What the bot says."""

    def past(self, messages: Sequence[Message]) -> None:
        """What was said before, in a conversation taken up again."""

    def result(self, text: str) -> None:
        """What a command was asked for."""

    def listing(self, rows: Sequence[tuple[str, str]]) -> None:
        """Terms and what there is to say of each."""

    def candidates(self, reply: Reply, rows: Sequence[CandidateRow]) -> None:
        """The candidates of a reply, those of `rows`."""

    def note(self, text: str) -> None:
        """What happened, beside the conversation."""

    def error(self, text: str) -> None:
        """What went wrong, in one line."""

    def thinking(self) -> AbstractContextManager[object]:
        """Shown while the bot looks for a reply."""


class PlainScreen:
    """Results on stdout, a line each; notes and errors on stderr."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.stdout = stdout
        self.stderr = stderr

    def reply(self, reply: Reply, session: Session) -> None:
        self.result(one_line(reply.text))

    def past(self, messages: Sequence[Message]) -> None:
        """Nothing: who pipes wants the replies to what is piped."""

    def result(self, text: str) -> None:
        print(printable(text), file=self.stdout, flush=True)

    def listing(self, rows: Sequence[tuple[str, str]]) -> None:
        for row in rows:
            print("\t".join(map(one_line, row)), file=self.stdout, flush=True)

    def candidates(self, reply: Reply, rows: Sequence[CandidateRow]) -> None:
        for cells in (CANDIDATE_HEADINGS, *(row.cells for row in rows)):
            print("\t".join(cells), file=self.stdout, flush=True)

    def note(self, text: str) -> None:
        print(one_line(text), file=self.stderr, flush=True)

    def error(self, text: str) -> None:
        self.note(f"错误：{text}")

    def thinking(self) -> AbstractContextManager[object]:
        return nullcontext()


class JsonScreen(PlainScreen):
    """One JSON object a line on stdout for each line that asks for something, errors too; notes on stderr.

    Text is as it was said: JSON escapes what a terminal must not see.
    """

    def reply(self, reply: Reply, session: Session) -> None:
        self._print(
            {
                "text": reply.text,
                "session": session.id if session.store.path else None,
                # by role: the page may have changed the conversation meanwhile
                "messages": {m.role: m.id for m in session.messages[-2:]},
                **reply_json(reply),
            }
        )

    def result(self, text: str) -> None:
        self._print({"result": text})

    def listing(self, rows: Sequence[tuple[str, str]]) -> None:
        self._print({"result": rows})

    def candidates(self, reply: Reply, rows: Sequence[CandidateRow]) -> None:
        shown = [{"number": row.number} | candidate_json(reply.candidates[row.number - 1]) for row in rows]
        self._print(reply_json(reply) | {"candidates": shown})

    def error(self, text: str) -> None:
        self._print({"error": text})

    def _print(self, value: dict[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        print("".join(c if printable(c) else f"\\u{ord(c):04x}" for c in text), file=self.stdout, flush=True)


class RichScreen:
    """Everything on the terminal, in colour unless NO_COLOR is set."""

    def __init__(self, stdout: TextIO) -> None:
        from rich.console import Console

        self.console = Console(file=stdout, highlight=False, markup=False, emoji=False)

    def reply(self, reply: Reply, session: Session) -> None:
        self._said(Message("assistant", reply.text), "")

    def past(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._said(message, "dim")

    def _said(self, message: Message, style: str) -> None:
        from rich.text import Text

        colour = "bold magenta" if message.role == "assistant" else "bold cyan"
        text = printable(message.content).replace("\n", f"\n{CONTINUATION}")
        line = Text.assemble((f"{SPEAKERS[message.role]} › ", f"{style} {colour}"), (text, style))
        # The terminal wraps: rich would break between the name and a line of Chinese, which to it is one long word.
        self.console.print(line, soft_wrap=True)

    def result(self, text: str) -> None:
        self.console.print(printable(text), soft_wrap=True)

    def listing(self, rows: Sequence[tuple[str, str]]) -> None:
        if self.console.width < _NARROW_COLUMNS:
            for term, meaning in rows:
                self.console.print(one_line(term), style="bold", soft_wrap=True)
                self.console.print(f"  {one_line(meaning)}", soft_wrap=True)
            return
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*map(one_line, row))
        self.console.print(table)

    def candidates(self, reply: Reply, rows: Sequence[CandidateRow]) -> None:
        if self.console.width < _NARROW_COLUMNS:
            for row in rows:
                self.console.print(f"{row.rank:>2} {row.text}", style=_row_style(row), soft_wrap=True)
                numbers = f"正向 {row.forward} 反向 {row.reverse} 得分 {row.score} "
                remark = row.remark if row.is_rejected else numbers + row.remark
                self.console.print(f"   {remark}", style="dim", soft_wrap=True)
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

    def note(self, text: str) -> None:
        self.console.print(one_line(text), style="dim", soft_wrap=True)

    def error(self, text: str) -> None:
        self.console.print(one_line(text), style="yellow", soft_wrap=True)

    def thinking(self) -> AbstractContextManager[object]:
        return self.console.status(f"{BOT_NAME}在想…", spinner="dots")


def _row_style(row: CandidateRow) -> str:
    return "bold" if row.is_chosen else "dim" if row.is_rejected else ""
