"""Files to dialogues, one function per format.

Which formats there are stands in `READERS`. A file's content decides its format, its name is only a hint. Files are streamed;
whatever is wrong with one is a `CorpusError` naming file, line, what was expected and what to do.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

from chitchat.corpus.reading.archive import open_texts
from chitchat.corpus.reading.byte_streams import ReadLimit
from chitchat.corpus.reading.chat_exports import read_chat
from chitchat.corpus.reading.detection import detect
from chitchat.corpus.reading.encodings import UNREADABLE
from chitchat.corpus.reading.json_stream import JsonFault, json_items, parsed
from chitchat.corpus.reading.records import EXPECTED, Messages, RecordFault, clipped, messages_of
from chitchat.corpus.reading.source_file import Line, OnBad, SourceText
from chitchat.corpus.reading.spacing import unspaced
from chitchat.corpus.reading.tables import read_csv, read_labelled, read_tsv
from chitchat.dialogue import Dialogue
from chitchat.errors import CorpusError

log = logging.getLogger(__name__)

Reader: TypeAlias = Callable[[SourceText], Iterator[tuple[int, Messages]]]
"""Takes a text; gives each dialogue with the line it starts on, and tells the text of what is bad."""

MAX_TEXT_DIALOGUE_LINES = 10_000
_SAMPLE_LINES = 400


def read_dialogues(
    path: Path,
    *,
    on_bytes: Callable[[int], None] | None = None,
    on_bad: OnBad | None = None,
    limit: ReadLimit | None = None,
) -> Iterator[Dialogue]:
    """Each dialogue of a corpus file, in order; format and encoding are detected.

    Args:
        path: a regular file, plain, gzipped, or a zip archive of such files.
        on_bytes: told now and then how many bytes of the file on disk have been read, for a progress bar.
        on_bad: told of each record that cannot be read, with the error and the beginning of its text; reading then goes on.
        limit: how much of the file to read.

    Raises:
        CorpusError: at the first thing that cannot be read (with `on_bad`: when the file itself cannot be), or at the end when
            there was no dialogue at all.
    """
    path = Path(path)
    is_empty = True
    name = ""
    for text in open_texts(path, on_bytes=on_bytes, on_bad=on_bad, limit=limit):
        name = detect(text)
        if text.encoding != "UTF-8":
            log.info("%s：编码是 %s", text.path, text.encoding)
        for line, messages in READERS[name](text):
            is_empty = False
            yield Dialogue(unspaced(messages), line)
    if is_empty:
        raise CorpusError(path, None, f"没有找到任何对话（按 {name} 格式读取）；请检查文件内容")


class FileKind(NamedTuple):
    """What a corpus file (of an archive: its first text) was taken for: a key in `READERS`, and the encoding's name."""

    format: str
    encoding: str


def file_kind(path: Path) -> FileKind:
    """The format and the encoding of a file; raises CorpusError for what is no text at all."""
    text = next(open_texts(Path(path), tell_unread=False))
    return FileKind(detect(text), text.encoding)


def detect_format(path: Path) -> str:
    """The key in `READERS` of the format a file is in; raises CorpusError for what is no text at all."""
    return file_kind(path).format


def _read_text(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """Blank lines between dialogues, one utterance a line (GPT2-chitchat's train.txt)."""
    messages: list[str] = []
    start = 0
    for number, line in text.lines():
        # A line that cannot be read parts dialogues too: what stood before it is no context for what comes after.
        if (line := line.strip()) and line != UNREADABLE:
            if not messages:
                start = number
            messages.append(line)
            if len(messages) > MAX_TEXT_DIALOGUE_LINES:
                fault = f"从这一行起 {MAX_TEXT_DIALOGUE_LINES} 行没有空行；应每行一句，对话之间空一行"
                text.bad(start, f"{fault}，请补上空行，或检查格式", messages[0])
                messages = []
        elif messages:
            yield start, tuple(messages)
            messages = []
    if messages:
        yield start, tuple(messages)


def _read_conv(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """`E` begins a dialogue and `M ` an utterance (the .conv files of xiaohuangji and dgk_shooter)."""
    lines = text.lines()
    sample = list(islice(lines, _SAMPLE_LINES))
    is_slashed = _is_slashed(sample)
    messages: list[str] = []
    start = 0
    for number, line in chain(sample, lines):
        if line == UNREADABLE or line.strip() == "E":
            if any(messages):
                yield start, tuple(messages)
            messages, start = [], number
        elif line.startswith("M ") or line.strip() == "M":
            message = line[2:].strip()
            messages.append(_SLASH.sub("", message) if is_slashed else message)
        elif line.strip():
            text.bad(number, f"应为 E 或以 M 加空格开头的一行，得到 {clipped(line)!r}；请改正或删去这一行", line)
            if any(messages):
                yield start, tuple(messages)
            messages, start = [], number
    if any(messages):
        yield start, tuple(messages)


_SLASH = re.compile(r"(?<!/)/(?!/)|(?<=[^/])/(?=//(?!/))|(?<=//)/(?!/)")
"""A slash between two characters or words; of three, the one in the middle was typed."""
_SLASHED = re.compile(r"(?:[^/]{1,6}/)+[^/]{0,6}")


def _is_slashed(sample: list[Line]) -> bool:
    """True for a file whose utterances are parted into characters or words by slashes."""
    long = [line.text[2:].strip() for line in sample if line.text.startswith("M ") and len(line.text) > 6]
    return 2 * sum(1 for message in long if _SLASHED.fullmatch(message)) > len(long)


def _read_pipe(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """A pair a line, parted by ` | ` (青云)."""
    for number, line in text.lines():
        if line == UNREADABLE or not line.strip():
            continue
        question, bar, answer = (part.strip() for part in line.partition(" | "))
        if bar and question and answer:
            yield number, (question, answer)
        else:
            text.bad(number, f"应为“问 | 答”，得到 {clipped(line)!r}；请改正或删去这一行", line)


def _read_jsonl(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """One JSON value a line, each a record."""
    for number, line in text.lines():
        if line == UNREADABLE or not line.strip():
            continue
        try:
            record = parsed(line)
        except JsonFault as fault:
            place = f"不是合法的 JSON：第 {fault.position + 1} 个字符处" if fault.position is not None else ""
            text.bad(number, f"{place}{fault}；这一行应为 {EXPECTED}，请改正这一行", line)
            continue
        try:
            for messages in messages_of(record):
                yield number, messages
        except RecordFault as fault:
            text.bad(number, f"{fault}；请改正或删去这一行", line)


def _read_json(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """A list of records, or a mapping of names to such lists or to records (all of them are read)."""
    for key, position, value in json_items(text):
        try:
            for messages in messages_of(value):
                yield position, messages
        except RecordFault as fault:
            where = f"{key and clipped(key) + ' 的'}第 {position} 项："
            text.bad(position, f"{where}{fault}；请改正或删去这一项", str(value))


def _read_yaml(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """chatterbot's corpus: under `conversations`, lists of what is said in turn.

    Each is parsed by itself, so that one that is broken costs no other, and a file of any size is read.
    """
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # BaseLoader: every scalar stays the string it is, 是 and 1 and yes
    for number, chunk in _yaml_items(text):
        try:
            for item in yaml.load(chunk, loader) or []:
                for messages in messages_of(item if isinstance(item, list) else None):
                    yield number, messages
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            text.bad(number + (mark.line if mark else 0), "不是合法的 YAML；请检查这一行附近的缩进、引号与冒号", chunk)
        except (RecursionError, RecordFault, TypeError, ValueError):
            text.bad(number, "应为一段对话：以“- - ”开头的一句，接着每句一行、以“  - ”开头；请改正", chunk)


def _yaml_items(text: SourceText) -> Iterator[tuple[int, str]]:
    """The text of each item under `conversations`, with its first line; one ends where the next begins."""
    indent: int | None = None
    chunk: list[str] = []
    start = 0
    for number, line in text.lines():
        if indent is None:
            if line.startswith("conversations"):
                indent = -1
            continue
        is_item = line.lstrip(" ").startswith("-") and (indent == -1 or len(line) - len(line.lstrip(" ")) == indent)
        if is_item or line == UNREADABLE or len(chunk) > MAX_TEXT_DIALOGUE_LINES:
            if chunk:
                yield start, "\n".join(chunk)
            chunk, start = [], number
            if is_item:
                indent = len(line) - len(line.lstrip(" "))
        if chunk or is_item:
            chunk.append(line)
    if chunk:
        yield start, "\n".join(chunk)


def _read_parquet(text: SourceText) -> Iterator[tuple[int, Messages]]:
    from chitchat.corpus.reading.parquet import read_rows

    for number, row in read_rows(text):
        try:
            for messages in messages_of(row):
                yield number, messages
        except RecordFault as fault:
            text.bad(number, f"第 {number} 行：{fault}；请检查列名与内容", str(row))


READERS: dict[str, Reader] = {
    "text": _read_text,
    "conv": _read_conv,
    "pipe": _read_pipe,
    "jsonl": _read_jsonl,
    "json": _read_json,
    "csv": read_csv,
    "tsv": read_tsv,
    "labelled": read_labelled,
    "chat": read_chat,
    "yaml": _read_yaml,
    "parquet": _read_parquet,
}
