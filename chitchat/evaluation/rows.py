"""Tables of (context, reply) rows: JSONL, CSV or TSV, plain or gzipped, from a file or standard input.

Knows how a row is read and how the same row is written back with columns added; knows nothing of models. Nothing is held but
the row at hand. A row that cannot be used is a `BadRow` in the stream, so that the caller may go on; a file that is no such
table is a `CorpusError`.

    JSONL   {"context": ["…", "…"], "reply": "…", …}; context may also be one string, its turns parted by a tab or [SEP]
    CSV     a header with `context` and `reply`; turns parted by a tab, a literal \\t or [SEP]
    TSV     the same; a row that is no valid quoting is read as plain tab-separated text, quotation marks and all

Messages in a list are taken as they are, empty ones too; pieces of a joined string are stripped and empty ones left out.
An empty context is a context. Output has no byte order mark and LF line ends.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from chitchat.corpus.reading.records import RecordFault, clipped
from chitchat.corpus.reading.source_file import GZIP_MAGIC, MAX_LINE_BYTES, read_head
from chitchat.errors import ConfigError, CorpusError

FORMATS = ("jsonl", "csv", "tsv")
STDIN_NAME = "标准输入"
Values: TypeAlias = Mapping[str, "float | int | None"]

_EXPECTED = '应为 {"context": ["…", "…"], "reply": "…"}'
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_JSON_SEPARATORS = re.compile(r"\t|\[SEP\]")
_CELL_SEPARATORS = re.compile(r"\t|\\t|\[SEP\]")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One usable row; `written(values)` is its line for the output, columns of the same name overwritten in place."""

    line: int
    context: tuple[str, ...]
    reply: str
    written: Callable[[Values], str]


class BadRow(NamedTuple):
    """A row that cannot be used: the line it starts on, what is wrong and what was expected."""

    line: int
    fault: str


@dataclass(frozen=True)
class Table:
    """An open table; `format` is one of `FORMATS`, `header` the output's first line, empty for JSONL."""

    name: str
    format: str
    header: str
    rows: Iterator[Row | BadRow]


@contextmanager
def open_table(source: Path | str, columns: tuple[str, ...], format_name: str | None = None) -> Iterator[Table]:
    """The table at `source` ("-" for standard input), to be written back with `columns` added.

    Without `format_name` the first line decides: `{` makes it JSONL, a tab TSV, else CSV; a name ending in .jsonl counts too.

    Raises CorpusError, on opening or later, for what is no such table and for what cannot be read on from.
    """
    if format_name not in (None, *FORMATS):
        raise ConfigError(f"未知的格式 {format_name!r}；可用：{'、'.join(FORMATS)}")
    name = STDIN_NAME if str(source) == "-" else str(source)
    with _opened(source) as stream:
        lines = _lines(name, stream)
        first = next((line for line in lines if line[1].strip()), None)
        if first is None:
            raise CorpusError(name, None, f"没有内容；每行{_EXPECTED}，或以 context、reply 为表头的 CSV/TSV")
        lines = chain([first], lines)
        found = format_name or _sniffed(name, first[1])
        if found == "jsonl":
            yield Table(name, found, "", _json_rows(lines))
        else:
            delimited = _Delimited(name, lines, found, columns)
            yield Table(name, found, delimited.header_with_columns, delimited.rows())


def _sniffed(name: str, first: bytes) -> str:
    if first.lstrip()[:1] in (b"{", b"[") or re.search(r"\.(jsonl|ndjson|json)(\.gz)?$", name, re.IGNORECASE):
        return "jsonl"
    return "tsv" if b"\t" in first else "csv"


@contextmanager
def _opened(source: Path | str) -> Iterator[IO[bytes]]:
    if str(source) == "-":
        if sys.stdin is None:
            raise CorpusError(STDIN_NAME, None, "没有打开；请用管道送入，或写出文件的路径")
        # Left open: it is not ours. A stand-in without `peek` gets one.
        buffer: Any = sys.stdin.buffer
        try:
            stream = _decompressed(buffer if isinstance(buffer, io.BufferedReader) else io.BufferedReader(buffer))
        except OSError as error:
            raise CorpusError(STDIN_NAME, None, f"读不了（{error.strerror}）；请用管道送入，或写出文件的路径") from None
        yield stream
        return
    path = Path(source)
    read_head(path)  # raises for a folder, a pipe, a picture, UTF-16, …
    with open(path, "rb") as stream:
        yield _decompressed(stream)


def _decompressed(stream: io.BufferedReader) -> IO[bytes]:
    if stream.peek(2)[:2] != GZIP_MAGIC:
        return stream
    return io.BufferedReader(gzip.GzipFile(fileobj=stream, mode="rb"), 1 << 18)


def _lines(name: str, stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Numbered lines with their line ends, still bytes: one that is no text spoils its own row only."""
    number = 0
    while True:
        number += 1
        try:
            raw = stream.readline(MAX_LINE_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise CorpusError(name, number, f"读不下去（{error}）；若是 gzip 文件，可用 gzip -t 检查") from None
        if not raw:
            return
        if len(raw) == MAX_LINE_BYTES:
            raise CorpusError(name, number, f"这一行超过 {MAX_LINE_BYTES >> 20} MB，不像对话；请检查文件格式与换行符")
        yield number, raw.removeprefix(_BOM) if number == 1 else raw


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise RecordFault("含有 NUL 字节，像是二进制文件或 UTF-16，应为 UTF-8 文本")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"第 {error.start + 1} 个字节（0x{raw[error.start]:02x}）"
        raise RecordFault(f"{place}不是合法的 UTF-8；请先转换编码，例如：iconv -f GB18030 -t UTF-8 旧文件 > 新文件") from None


# JSONL -----------------------------------------------------------------------------------------------------------------------


def _json_rows(lines: Iterator[tuple[int, bytes]]) -> Iterator[Row | BadRow]:
    for number, raw in lines:
        if raw.strip():
            row: Row | BadRow
            try:
                row = _json_row(number, _parsed(_text(raw)))
            except RecordFault as fault:
                row = BadRow(number, str(fault))
            yield row


def _json_row(number: int, record: Any) -> Row:
    if not isinstance(record, dict):
        hint = "；若整个文件是一个数组，可先用 jq -c '.[]' 拆成每行一个对象" if isinstance(record, list) else ""
        raise RecordFault(f"{_EXPECTED}，得到{_kind(record)}{hint}")
    if missing := [key for key in ("context", "reply") if key not in record]:
        keys = "、".join(clipped(key) for key in list(record)[:6]) or "无"
        raise RecordFault(f"缺少 {'、'.join(missing)}（现有的键：{keys}）；{_EXPECTED}")
    context = record["context"]
    if isinstance(context, str):
        context = _turns(context, _JSON_SEPARATORS)
    elif not isinstance(context, list):
        raise RecordFault(f"context 应为字符串的列表，或以制表符或 [SEP] 连接的字符串，得到{_kind(context)}")
    for position, message in enumerate(context, 1):
        if not isinstance(message, str):
            raise RecordFault(f"context 的第 {position} 句应为字符串，得到{_kind(message)}")
    return Row(number, tuple(context), _checked_reply(record["reply"], context), partial(_json_line, record))


def _json_line(record: dict[str, Any], values: Values) -> str:
    return json.dumps({**record, **values}, ensure_ascii=False, allow_nan=False) + "\n"


def _parsed(text: str) -> Any:
    """The line's value; raises RecordFault also for what could be read but not written back as JSON in UTF-8."""
    try:
        record = json.loads(text, object_pairs_hook=_unique)
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8")
        return record
    except RecordFault:
        raise
    except json.JSONDecodeError as error:
        raise RecordFault(f"不是合法的 JSON（第 {error.colno} 个字符处）；这一行{_EXPECTED}") from None
    except UnicodeEncodeError as error:
        raise RecordFault(f"含有落单的代理字符 \\u{ord(str(error.object)[error.start]):04x}，应为合法的文字") from None
    except RecursionError:
        raise RecordFault(f"JSON 嵌套太深；{_EXPECTED}") from None
    except ValueError as error:
        kind = "NaN 或 Infinity，JSON 里没有这样的数" if "JSON compliant" in str(error) else "过长的整数"
        raise RecordFault(f"含有{kind}；{_EXPECTED}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise RecordFault(f"键 {clipped(next(k for k in keys if keys.count(k) > 1))!r} 出现了不止一次，应只有一个")
    return record


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: " null", True: " true", False: " false"}[value]
    return {int: "数字", float: "数字", str: "字符串", list: "列表"}.get(type(value), "对象")


def _turns(joined: str, separators: re.Pattern[str]) -> list[str]:
    return [turn for piece in separators.split(joined) if (turn := piece.strip())]


def _checked_reply(reply: Any, context: list[str]) -> str:
    if not isinstance(reply, str):
        raise RecordFault(f"reply 应为字符串，得到{_kind(reply)}")
    if not reply.strip():
        raise RecordFault("reply 是空的，应为一句回复")
    if "\0" in reply or any("\0" in message for message in context):
        raise RecordFault("context 或 reply 里有 NUL 字符，应为可读的文字")
    return reply


# CSV and TSV -----------------------------------------------------------------------------------------------------------------


class _Delimited:
    """A table with a header; reads records with recovery: after a broken one it goes on at the very next line.

    csv alone would let an unpaired quotation mark swallow the rows up to the next one.
    """

    def __init__(self, name: str, lines: Iterator[tuple[int, bytes]], format_name: str, columns: tuple[str, ...]) -> None:
        self._lines = lines
        self._returned: deque[tuple[int, bytes]] = deque()
        self._delimiter = _DELIMITERS[format_name]
        number, header = next(self._records())
        if isinstance(header, str):
            raise CorpusError(name, number, f"表头读不了：{header}")
        names = [cell.strip().lower() for cell in header]
        for wanted in ("context", "reply"):
            if names.count(wanted) != 1:
                shown = "、".join(clipped(cell) for cell in header[:8])
                fault = f"{format_name} 的表头应有 context 与 reply 两列，各一个，得到：{shown}"
                raise CorpusError(name, number, f"{fault}；请改正第一行或分隔符，或用 --format 指定格式")
        self._context, self._reply = names.index("context"), names.index("reply")
        self._width = len(header)
        header = header + [column for column in columns if column not in header]
        self._places = {column: header.index(column) for column in columns}
        self._written_width = len(header)
        self.header_with_columns = self._joined(header)

    def rows(self) -> Iterator[Row | BadRow]:
        for number, cells in self._records(self._width):
            if isinstance(cells, str):
                yield BadRow(number, cells)
                continue
            row: Row | BadRow
            try:
                context = _turns(cells[self._context], _CELL_SEPARATORS)
                row = Row(number, tuple(context), _checked_reply(cells[self._reply], context), partial(self._line, cells))
            except RecordFault as fault:
                row = BadRow(number, str(fault))
            yield row

    def _line(self, cells: list[str], values: Values) -> str:
        written = cells + [""] * (self._written_width - len(cells))
        for column, value in values.items():
            written[self._places[column]] = "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
        return self._joined(written)

    def _joined(self, cells: list[str]) -> str:
        # By hand: csv.writer leaves a lone carriage return unquoted, which csv.reader then refuses.
        special = re.compile(f'[{self._delimiter}"\r\n]')
        return self._delimiter.join('"' + c.replace('"', '""') + '"' if special.search(c) else c for c in cells) + "\n"

    def _records(self, width: int = 0) -> Iterator[tuple[int, list[str] | str]]:
        """Each record with the line it starts on; in place of one that cannot be read, the fault."""
        while (first := self._next_line()) is not None:
            if not first[1].strip(b" \r\n"):
                continue
            taken = [first]
            record: list[str] | str
            try:
                record = self._cells(taken, width)
                if width and len(record) != width:
                    span = f"到第 {taken[-1][0]} 行" if len(taken) > 1 else ""
                    record = f"这一行{span}有 {len(record)} 列，应有 {width} 列；请检查分隔符与引号"
            except RecordFault as fault:
                record = str(fault)
            yield first[0], record

    def _cells(self, taken: list[tuple[int, bytes]], width: int) -> list[str]:
        """The record that begins on the one line in `taken`; adds to it the lines the record goes on over."""
        plain = _text(taken[0][1]).rstrip("\r\n").split("\t")
        fault = ""
        try:
            cells = next(csv.reader(self._taking(taken), delimiter=self._delimiter, strict=True))
        except (csv.Error, RecordFault) as error:
            cells, fault = [], _csv_fault(error) if isinstance(error, csv.Error) else str(error)
        if self._delimiter == "\t" and len(plain) == width:
            # In TSV files a message that merely begins with a quotation mark is common. It shows by what a quoted cell would
            # run on over: lines that are rows by themselves.
            runs_over_rows = len(taken) > 1 and all(raw.count(b"\t") == width - 1 for _, raw in taken[1:])
            if len(cells) != width or runs_over_rows:
                self._returned.extendleft(reversed(taken[1:]))
                return plain
        if fault:
            self._returned.extendleft(reversed(taken[1:]))
            raise RecordFault(fault)
        return cells

    def _taking(self, taken: list[tuple[int, bytes]]) -> Iterator[str]:
        yield _text(taken[0][1])
        while (line := self._next_line()) is not None:
            taken.append(line)
            yield _text(line[1])

    def _next_line(self) -> tuple[int, bytes] | None:
        return self._returned.popleft() if self._returned else next(self._lines, None)


def _csv_fault(error: csv.Error) -> str:
    reason = next((chinese for english, chinese in _CSV_FAULTS.items() if english in str(error)), str(error))
    return f"表格读不下去：{reason}；请检查从这一行起的引号，单元格内的引号要写两遍"


_CSV_FAULTS = {
    "unexpected end of data": "引号没有成对，到文件末尾也没有结束",
    "expected after": "结束的引号后面应为分隔符",
    "field limit": "单元格超过 131072 字，多半是引号没有成对",
    "new-line character": "行中有单独的回车符，换行应为 LF 或 CRLF",
}
