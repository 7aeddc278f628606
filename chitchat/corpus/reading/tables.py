"""CSV and TSV: pairs of context and reply, one utterance a row, labelled candidates, or exported messages."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from chitchat.corpus.reading.chat_exports import chat_columns, read_chat_rows
from chitchat.corpus.reading.encodings import UNREADABLE
from chitchat.corpus.reading.records import CONTEXT_NAMES, REPLY_NAMES, Messages, joined
from chitchat.corpus.reading.source_file import Line, SourceText

Rows: TypeAlias = Iterator[tuple[int, list[str]]]

_DIALOGUE_NAMES = (
    "dialogue_id dialog_id dialogueid dialogid conversation_id conv_id session_id 对话id 对话编号 会话id 会话编号".split()
)
_UTTERANCE_NAMES = "utterance text content message sentence 话语 内容 句子 台词".split()
_SPEAKER_NAMES = "speaker role name sender 说话人 角色 发言人".split()


def read_csv(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """Comma-separated values, quoted as spreadsheets do."""
    return _read_table(text, _CsvRows(text).rows(), width=0)


def read_tsv(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """Tab-separated values, as pairs of 贴吧, 微博 and PTT come.

    Read without quoting: in them a message that merely begins with a quotation mark is common, and would swallow the rows up
    to the next one.
    """
    widths = Counter(line.count("\t") + 1 for line in text.head_lines())
    return _read_table(text, _tsv_rows(text), width=max(widths, key=widths.__getitem__, default=0))


def read_labelled(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """豆瓣's label, utterances and response; label 0 marks a response drawn at random, which is left out."""
    for number, line in text.lines():
        label, *cells = line.split("\t")
        if line == UNREADABLE or not line.strip():
            continue
        messages = tuple(cell.strip() for cell in cells)
        if label.strip() not in ("0", "1") or len(messages) < 2 or not any(messages):
            text.bad(number, "应为标签 0 或 1、上文各句与回复，以制表符分隔；请改正或删去这一行", line)
        elif label.strip() == "1":
            yield number, messages


def is_header(row: Sequence[str]) -> bool:
    """True when a first row names columns that dialogues can be read from."""
    return _pair_columns(row) is not None or _utterance_columns(row) is not None or chat_columns(row) is not None


def _read_table(text: SourceText, rows: Rows, width: int) -> Iterator[tuple[int, Messages]]:
    """The dialogues of a table with columns named by a header, or in order; `width` is that of a table without one, if known."""
    for number, row in rows:
        if len(row) < 2:
            text.bad(number, "只有一列，应有两列：问与答，以逗号（csv）或制表符（tsv）分隔；请检查分隔符", "".join(row))
            continue
        if (exported := chat_columns(row)) is not None:
            yield from read_chat_rows(text, _checked(text, rows, len(row), row), exported)
        elif (columns := _pair_columns(row)) is not None:
            yield from _pairs(text, _checked(text, rows, len(row), row), columns)
        elif (utterances := _utterance_columns(row)) is not None:
            yield from _grouped(_checked(text, rows, len(row), row), utterances)
        elif (fault := _headless_fault(row)) is not None:
            text.bad(number, fault, str(row))
            continue
        else:
            width = width if width > 1 else len(row)
            yield from _pairs(text, _checked(text, _chained((number, row), rows), width), None)
        return


def _chained(first: tuple[int, list[str]], rows: Rows) -> Rows:
    yield first
    yield from rows


def _checked(text: SourceText, rows: Rows, width: int, header: list[str] | None = None) -> Rows:
    """The rows that have the table's number of columns; in tables put together from several the header stands again."""
    for number, row in rows:
        if len(row) == width:
            if row != header:
                yield number, row
        else:
            text.bad(number, f"这一行有 {len(row)} 列，应有 {width} 列；请检查分隔符与引号", "\t".join(row))


def _pairs(text: SourceText, rows: Rows, columns: tuple[int, int] | None) -> Iterator[tuple[int, Messages]]:
    """A pair a row, or a dialogue over all columns; `[SEP]` in the first parts several messages."""
    for number, row in rows:
        context, *rest = [row[column] for column in columns] if columns else row
        turns = [turn for turn in context.split("[SEP]") if turn.strip()] or [""]
        messages = tuple(cell.strip() for cell in (*turns, *rest))
        if any(messages):
            yield number, messages
        else:
            text.bad(number, "这一行的问与答都是空的，应至少有一句话；请删去这一行")


class _UtteranceColumns(NamedTuple):
    dialogue: int
    utterance: int
    speaker: int | None


def _grouped(rows: Rows, columns: _UtteranceColumns) -> Iterator[tuple[int, Messages]]:
    """One utterance a row (CPED); rows of one dialogue stand together, and one speaker's in a row are one message."""
    messages: list[str] = []
    dialogue = speaker = None
    start = 0
    for number, row in rows:
        if row[columns.dialogue] != dialogue:
            if any(messages):
                yield start, tuple(messages)
            messages, start, dialogue, speaker = [], number, row[columns.dialogue], None
        utterance = row[columns.utterance].strip()
        who = row[columns.speaker] if columns.speaker is not None else None
        if messages and who is not None and who == speaker:
            messages[-1] = joined(messages[-1], utterance)
        else:
            messages.append(utterance)
        speaker = who
    if any(messages):
        yield start, tuple(messages)


# Rows ------------------------------------------------------------------------------------------------------------------------


def _tsv_rows(text: SourceText) -> Rows:
    for number, line in text.lines():
        if line != UNREADABLE and (line.strip() or "\t" in line):
            yield number, [_unquoted(cell) for cell in line.split("\t")]


def _unquoted(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


class _CsvRows:
    """Rows that are not blank, each with the line it starts on.

    After a broken one reading goes on at the very next line: csv alone would let an unpaired quotation mark swallow the rows up
    to the next one.
    """

    def __init__(self, text: SourceText) -> None:
        self._text = text
        self._lines = text.lines()
        self._returned: deque[Line] = deque()
        self._taken: list[Line] = []

    def rows(self) -> Rows:
        reader = csv.reader(self._feed(), strict=True)
        width = 0
        while True:
            self._taken.clear()
            fault = ""
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = next((chinese for english, chinese in _CSV_FAULTS.items() if english in str(error)), str(error))
                fault = f"表格读不下去：{reason}；请检查从这一行起的引号，单元格内的引号要写两遍"
            else:
                if row and len(self._taken) > 1 and width and len(row) != width:
                    fault = f"这一行到第 {self._taken[-1].number} 行有 {len(row)} 列，应有 {width} 列；请检查分隔符与引号"
            if fault:
                first, *rest = self._taken
                self._text.bad(first.number, fault, "\n".join(line.text for line in self._taken))
                self._returned.extendleft(reversed(rest))
                reader = csv.reader(self._feed(), strict=True)
            elif len(row) > 1 or any(cell.strip() for cell in row):
                width = width or len(row)
                yield self._taken[0].number, row

    def _feed(self) -> Iterator[str]:
        while True:
            line = self._returned.popleft() if self._returned else next(self._lines, None)
            if line is None:
                return
            if line.text != UNREADABLE:
                self._taken.append(line)
                yield line.text + "\n"
            elif self._taken:
                raise csv.Error("unreadable")


_CSV_FAULTS = {
    "unexpected end of data": "引号没有成对，到文件末尾也没有结束",
    "expected after": "结束的引号后面应为分隔符",
    "field limit": "单元格超过 131072 字，多半是引号没有成对",
    "unreadable": "其中有解不出的一行",
}


# Headers ---------------------------------------------------------------------------------------------------------------------


def _names(row: Iterable[str]) -> list[str]:
    return [cell.strip().strip('"').lower() for cell in row]


def _pair_columns(row: Iterable[str]) -> tuple[int, int] | None:
    """Where a header row puts context and reply, or None when it is no header of pairs."""
    names = _names(row)
    context = next((i for i, name in enumerate(names) if name in CONTEXT_NAMES), None)
    reply = next((i for i, name in enumerate(names) if name in REPLY_NAMES), None)
    return None if context is None or reply is None else (context, reply)


def _utterance_columns(row: Iterable[str]) -> _UtteranceColumns | None:
    names = _names(row)

    def place(wanted: list[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    dialogue, utterance = place(_DIALOGUE_NAMES), place(_UTTERANCE_NAMES)
    return None if dialogue is None or utterance is None else _UtteranceColumns(dialogue, utterance, place(_SPEAKER_NAMES))


def _headless_fault(row: Sequence[str]) -> str | None:
    """What is wrong with a first row that looks like a header or like columns that are no messages: better not guess."""
    header = "请在第一行写上表头，例如 context,reply"
    names = [cell.strip().lower() for cell in row]
    # One letter, as in "a,b", is not yet a header.
    known = [name for name in names if len(name) > 1 and (name in CONTEXT_NAMES or name in REPLY_NAMES)]
    if known and all(re.fullmatch(r"\w+", name) for name in names):
        return f"表头只认出一列（{'、'.join(row)[:60]}），应有问与答两列；{header}"
    if len(row) > 2 and any(re.fullmatch(r"[\d.\-]*", name) for name in names):
        return f"有 {len(row)} 列，其中有编号或空列，分不清哪两列是问与答；{header}"
    return None
