"""Files to dialogues, one function per format.

Which formats there are stands in `READERS`. A file's content decides its format, its name is only a hint. Text is streamed;
whatever is wrong with a file is a `CorpusError` naming file, line, what was expected and what to do.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from chitchat.corpus.records import EXPECTED, Messages, RecordFault, clipped, is_record, messages_of
from chitchat.corpus.source_file import HEAD_BYTES, Line, read_head, read_lines
from chitchat.corpus.spacing import unspaced
from chitchat.dialogue import Dialogue
from chitchat.errors import CorpusError

Reader: TypeAlias = Callable[[Path, Iterator[Line]], Iterator[tuple[int, Messages]]]
"""Takes the path (for messages only) and the file's lines; gives each dialogue with the line it starts on."""

MAX_TEXT_DIALOGUE_LINES = 10_000
CONTEXT_NAMES = frozenset(
    "context question query post input user human prompt source ask q 问 问题 提问 上文 上句 用户 输入".split()
)
REPLY_NAMES = frozenset(
    "reply response answer output assistant bot target completion a 答 回答 答案 回复 下文 下句 机器人 输出".split()
)


def read_dialogues(path: Path, *, on_bytes: Callable[[int], None] | None = None) -> Iterator[Dialogue]:
    """Each dialogue of a corpus file, in order; the format is detected.

    Args:
        path: a regular file, plain or gzipped.
        on_bytes: told now and then how many bytes of the file on disk have been read, for a progress bar.

    Raises:
        CorpusError: at the first thing that cannot be read, or at the end when there was no dialogue at all.
    """
    path = Path(path)
    name = detect_format(path)
    lines = read_lines(path, on_bytes, limited=name != "json")
    empty = True
    for line, messages in READERS[name](path, lines):
        empty = False
        yield Dialogue(unspaced(messages), line)
    if empty:
        raise CorpusError(path, None, f"没有找到任何对话（按 {name} 格式读取）；请检查文件内容")


def detect_format(path: Path) -> str:
    """The key in `READERS` of the format a file is in; raises CorpusError for what is no text at all."""
    path = Path(path)
    raw = read_head(path)
    head = raw.decode("utf-8", "ignore").removeprefix("\ufeff")
    hint = _HINTS.get(path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower(), "")
    lines = [line for line in re.split(r"[\r\n]+", head) if line.strip()]
    if not lines:
        return hint or "text"
    first = lines[0].strip()
    if found := _detect_json(first, hint, is_only=len(lines) == 1):
        return found
    if hint in ("csv", "tsv"):
        return "tsv" if "\t" in first and "," not in first else "csv" if "," in first and "\t" not in first else hint
    if hint in ("json", "jsonl", "conv"):
        # A .json file whose first line is no JSON by itself is one document over many lines.
        return hint
    if first == "E" and len(lines) > 1 and lines[1].startswith("M "):
        return "conv"
    for name, delimiter in (("tsv", "\t"), ("csv", ",")):
        if _columns(first.split(delimiter)) is not None:
            return name
    whole = lines[:-1] if len(raw) == HEAD_BYTES else lines
    if whole and all(line.count("\t") == 1 and all(map(str.strip, line.split("\t"))) for line in whole):
        return "tsv"
    return "text"


_HINTS = {".txt": "text", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".conv": "conv"}


def _detect_json(first: str, hint: str, *, is_only: bool) -> str:
    """json, jsonl or nothing, from the first line that is not blank (or as much of it as was read)."""
    try:
        value = json.loads(first) if first[0] in "[{" else None
    except (ValueError, RecursionError):
        if first in ("[", "{") or (_JSON_START.match(first) and hint != "jsonl"):
            return "json"
        # Cut or broken; hardly any text begins so, and reading a broken file as text would hide what is wrong with it.
        return (hint if hint == "json" else "jsonl") if re.match(r'[\[{]\s*"', first) else ""
    if value is None:
        return ""
    is_line = is_record(value) if isinstance(value, dict) else bool(value) and all(isinstance(item, str) for item in value)
    return "json" if is_only and not is_line and hint != "jsonl" else "jsonl"


_JSON_START = re.compile(r'\[\s*(?:\[\s*["\[\]]|\{\s*["}])|\{\s*"[^"]*"\s*:\s*\[\s*[\[{]')


def _read_text(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Messages]]:
    """Blank lines between dialogues, one utterance a line (GPT2-chitchat's train.txt)."""
    messages: list[str] = []
    start = 0
    for number, text in lines:
        if text := text.strip():
            if not messages:
                start = number
            messages.append(text)
            if len(messages) > MAX_TEXT_DIALOGUE_LINES:
                fault = f"从这一行起 {MAX_TEXT_DIALOGUE_LINES} 行没有空行；应每行一句，对话之间空一行"
                raise CorpusError(path, start, f"{fault}，请补上空行，或检查格式")
        elif messages:
            yield start, tuple(messages)
            messages = []
    if messages:
        yield start, tuple(messages)


def _read_conv(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Messages]]:
    """`E` begins a dialogue and `M ` an utterance (the .conv files of xiaohuangji and dgk_shooter)."""
    messages: list[str] = []
    start = 0
    for number, text in lines:
        if text.strip() == "E":
            if any(messages):
                yield start, tuple(messages)
            messages, start = [], number
        elif text.startswith("M ") or text.strip() == "M":
            messages.append(text[2:].strip())
        elif text.strip():
            raise CorpusError(path, number, f"应为 E 或以 M 加空格开头的一行，得到 {clipped(text)!r}；请改正或删去这一行")
    if any(messages):
        yield start, tuple(messages)


def _read_jsonl(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Messages]]:
    """One JSON value a line, each a record."""
    for number, text in lines:
        if text.strip():
            yield from _read_record(path, number, _parse(path, text, f"这一行应为 {EXPECTED}", number), "")


def _read_json(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Messages]]:
    """A list of records, or a mapping of split names to such lists (all of them are read).

    The file is loaded whole: json has no streaming parser, and LCCC's 0.7 GB still fit. Convert to JSONL what does not.
    """
    text = "\n".join(line.text for line in lines)
    data = _parse(path, text, f"文件应为对话的列表，或“划分名: 列表”的对象，每段对话应为 {EXPECTED}")
    if isinstance(data, dict) and is_record(data):
        data = [data]
    splits = data if isinstance(data, dict) else {"": data}
    for split, items in splits.items():
        if not isinstance(items, list):
            name = clipped(split) + " " if split else "文件"
            raise CorpusError(path, None, f"{name}应为对话的列表，每段对话应为 {EXPECTED}；请改成这样")
        for position, item in enumerate(items, 1):
            yield from _read_record(path, position, item, f"{split and clipped(split) + ' 的'}第 {position} 项：")


def _read_delimited(delimiter: str) -> Reader:
    def read(path: Path, lines: Iterator[Line]) -> Iterator[tuple[int, Messages]]:
        """A pair a row, columns named by a header or in order; `[SEP]` in the first parts several messages."""
        columns: tuple[int, int] | None = None
        width = 0
        for number, row in _rows(path, lines, delimiter):
            if not width:
                width = len(row)
                _check_width(path, number, row)
                if columns := _columns(row):
                    continue
                _check_headless(path, number, row)
            if len(row) != width:
                raise CorpusError(path, number, f"这一行有 {len(row)} 列，应有 {width} 列；请检查分隔符与引号")
            context, *rest = [row[column] for column in columns] if columns else row
            turns = [turn for turn in context.split("[SEP]") if turn.strip()] or [""]
            messages = tuple(cell.strip() for cell in (*turns, *rest))
            if not any(messages):
                raise CorpusError(path, number, "这一行的问与答都是空的，应至少有一句话；请删去这一行")
            yield number, messages

    return read


def _rows(path: Path, lines: Iterator[Line], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the line it starts on.

    Tab-separated files are read without quoting: in them a message that merely begins with a quotation mark is common, and
    would swallow the rows up to the next one.
    """
    quoted = delimiter == ","
    reader = csv.reader(
        (line.text + "\n" for line in lines),
        delimiter=delimiter,
        strict=True,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = next((chinese for english, chinese in _CSV_FAULTS.items() if english in str(error)), str(error))
            raise CorpusError(path, start, f"表格读不下去：{reason}；请检查从这一行起的引号，单元格内的引号要写两遍") from None
        if any(cell.strip() for cell in row):
            yield start, row if quoted else [_unquoted(cell) for cell in row]
        elif len(row) > 1:
            yield start, row


_CSV_FAULTS = {
    "unexpected end of data": "引号没有成对，到文件末尾也没有结束",
    "expected after": "结束的引号后面应为分隔符",
    "field limit": "单元格超过 131072 字，多半是引号没有成对",
}


def _unquoted(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _columns(row: Iterable[str]) -> tuple[int, int] | None:
    """Where a header row puts context and reply, or None when it is no header."""
    names = [cell.strip().strip('"').lower() for cell in row]
    context = next((i for i, name in enumerate(names) if name in CONTEXT_NAMES), None)
    reply = next((i for i, name in enumerate(names) if name in REPLY_NAMES), None)
    return None if context is None or reply is None else (context, reply)


def _check_width(path: Path, number: int, row: list[str]) -> None:
    if len(row) < 2:
        raise CorpusError(path, number, "只有一列，应有两列：问与答，以逗号（csv）或制表符（tsv）分隔；请检查分隔符")


def _check_headless(path: Path, number: int, row: list[str]) -> None:
    """Refuses a first row that looks like a header or like columns that are no messages, rather than guess."""
    header = "请在第一行写上表头，例如 context,reply"
    names = [cell.strip().lower() for cell in row]
    # One letter, as in "a,b", is not yet a header.
    known = [name for name in names if len(name) > 1 and (name in CONTEXT_NAMES or name in REPLY_NAMES)]
    if known and all(re.fullmatch(r"\w+", name) for name in names):
        raise CorpusError(path, number, f"表头只认出一列（{'、'.join(row)[:60]}），应有问与答两列；{header}")
    if len(row) > 2 and any(re.fullmatch(r"[\d.\-]*", name) for name in names):
        raise CorpusError(path, number, f"有 {len(row)} 列，其中有编号或空列，分不清哪两列是问与答；{header}")


def _parse(path: Path, text: str, expected: str, number: int | None = None) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = next((chinese for english, chinese in _JSON_FAULTS.items() if error.msg.startswith(english)), error.msg)
        line = number or error.lineno
        raise CorpusError(path, line, f"不是合法的 JSON：第 {error.colno} 个字符处{reason}；{expected}，请改正这一行") from None
    except RecursionError:
        raise CorpusError(path, number, f"JSON 嵌套太深；{expected}，请改正或删去") from None
    except ValueError:  # an integer of more than 4300 digits
        raise CorpusError(path, number, f"JSON 里有过长的整数；{expected}，请改正或删去") from None


_JSON_FAULTS = {
    "Expecting value": "缺少值",
    "Expecting ',' delimiter": "缺少逗号",
    "Expecting ':' delimiter": "缺少冒号",
    "Expecting property name": "键应为双引号括起的字符串",
    "Unterminated string": "开始的字符串没有结束",
    "Invalid control character": "有未转义的控制字符",
    "Invalid \\escape": "反斜杠转义不合法",
    "Invalid \\uXXXX escape": "\\u 转义不合法",
    "Extra data": "有多余的内容",
    "Illegal trailing comma": "有多余的逗号",
}


def _read_record(path: Path, number: int, record: Any, where: str) -> Iterator[tuple[int, Messages]]:
    try:
        for messages in messages_of(record):
            yield number, messages
    except RecordFault as fault:
        raise CorpusError(path, number, f"{where}{fault}；请改正或删去这一{'项' if where else '行'}") from None


READERS: dict[str, Reader] = {
    "text": _read_text,
    "conv": _read_conv,
    "jsonl": _read_jsonl,
    "json": _read_json,
    "csv": _read_delimited(","),
    "tsv": _read_delimited("\t"),
}
