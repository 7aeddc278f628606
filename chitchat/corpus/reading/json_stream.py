"""The records of a JSON file of any size, one at a time.

`json` parses only whole values, so the outermost list or object is walked by hand and each item in it parsed by the library.
What is held in memory is the item at hand and a piece of what follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from chitchat.corpus.reading.encodings import UNREADABLE
from chitchat.corpus.reading.records import EXPECTED, clipped, is_record
from chitchat.corpus.reading.source_file import MAX_LINE_BYTES, MAX_RAW_CHARS, SourceText

MAX_ITEM_CHARS = MAX_LINE_BYTES
_SMALL_FILE_CHARS = 1 << 20
"""A file up to this length may be one dialogue; a longer one is a collection."""
_RECOVERY_CHARS = 1 << 20
"""How far an item may reach when looking for the next good one."""
_SHAPE = f"文件应为对话的列表，或“划分名: 列表”的对象，每段对话应为 {EXPECTED}"
_SPACES = re.compile(r"[ \t\r\n\ufeff]*")
_NEXT_ITEM = re.compile(r'[\]}]\s*,\s*(?:"(?:[^"\\]|\\.)*"\s*:\s*\[\s*)?([\[{])')
"""The bracket an item begins with, behind the end of another one; a new list, and its key, may begin in between."""
_NO_DIALOGUES = frozenset({"categories"})
"""Lists beside the dialogues that are none: chatterbot's names of topics."""

JSON_FAULTS = {
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


class Item(NamedTuple):
    """A value with its 1-based position in the list it stands in, and the key that list (or the value) has."""

    key: str
    position: int
    value: Any


class JsonFault(ValueError):
    """Text that is no JSON: what is wrong, and where in the text (None when it cannot be told)."""

    def __init__(self, fault: str, position: int | None = None) -> None:
        super().__init__(fault)
        self.position = position


def parsed(text: str) -> Any:
    """The value of a JSON text; raises JsonFault."""
    value, end = _decoded(text, _SPACES.match(text).end())  # type: ignore[union-attr]
    if end < len(text) and not text[end:].isspace():
        raise JsonFault("有多余的内容", end)
    return value


_DECODER = json.JSONDecoder()


def _decoded(text: str, start: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        reason = next((chinese for english, chinese in JSON_FAULTS.items() if error.msg.startswith(english)), error.msg)
        if text[error.pos : error.pos + 1] == UNREADABLE:
            reason = "有解不出的字节或 NUL"
        raise JsonFault(reason, error.pos) from None
    except RecursionError:
        raise JsonFault("JSON 嵌套太深") from None
    except ValueError:  # an integer of more than 4300 digits
        raise JsonFault("JSON 里有过长的整数") from None


def json_items(text: SourceText) -> Iterator[Item]:
    """Each record of a list of records, of a mapping of names to such lists, or of names to records; or the one there is.

    Damage is reported once, and reading goes on at the next item that is a record.
    """
    return _Walk(text).items()


class _Walk:
    def __init__(self, text: SourceText) -> None:
        self.source = text
        self.pieces = text.pieces()
        self.text = ""
        self.at = 0
        self.line, self.column = 1, 0
        """Of the first character in `text`, 1- and 0-based."""
        self.is_all = False
        self.is_recovered = False

    def items(self) -> Iterator[Item]:
        while len(self.text) < _SMALL_FILE_CHARS and self.read_on():
            pass
        if self.is_all and (value := self.whole_record()) is not None:
            yield Item("", 1, value)
            return
        opening = self.next_character()
        if opening == "[":
            self.at += 1
            yield from self.list_items("", 0)
        elif opening == "{":
            self.at += 1
            yield from self.members()
        else:
            start = self.at
            try:
                self.value(MAX_ITEM_CHARS)
            except JsonFault as fault:
                self.report(fault)
            else:
                self.source.bad(
                    None, f"文件应为对话的列表，每段对话应为 {EXPECTED}；请改成这样", self.text[start:][:MAX_RAW_CHARS]
                )
            yield from self.recovered("", 0, "[{")
        if self.next_character():
            self.report(JsonFault("有多余的内容", self.at))
            yield from self.recovered("", 0, "[{")

    def whole_record(self) -> Any:
        """The value of a small file when it is one dialogue; None otherwise, also when it is damaged."""
        try:
            value = parsed(self.text)
        except JsonFault:
            return None
        is_messages = isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))
        return value if is_messages and is_record(value) else None

    def members(self) -> Iterator[Item]:
        """What an object holds: lists of records, or records, by name; numbers and strings about the corpus are passed over."""
        position = 0
        while True:
            try:
                if self.next_character() == "}" and not position:
                    break
                key = self.value(MAX_ITEM_CHARS)
                if not isinstance(key, str) or self.next_character() != ":":
                    raise JsonFault("应为“名字: 列表”", self.at)
                self.at += 1
                position += 1
                if self.next_character() == "[" and key not in _NO_DIALOGUES:
                    self.at += 1
                    yield from self.list_items(key, 0)
                    if self.is_recovered:
                        return
                else:
                    value = self.value(MAX_ITEM_CHARS)
                    if isinstance(value, dict):
                        yield Item(key, position, value)
                    elif key not in _NO_DIALOGUES:
                        self.other_value(key, value)
                if (character := self.next_character()) == "}":
                    break
                self.comma(character)
            except JsonFault as fault:
                self.report(fault)
                yield from self.recovered("", position, "[{")
                return
        self.at += 1

    def comma(self, character: str) -> None:
        """Passes the comma between two items, `character` being what stands there."""
        if character != ",":
            raise JsonFault("缺少逗号" if character else "没有结束，文件可能被截断", self.at)
        self.at += 1

    def other_value(self, key: str, value: Any) -> None:
        if key in ("train", "valid", "validation", "dev", "test", "data"):
            self.source.bad(None, f"{clipped(key)} 应为对话的列表，每段对话应为 {EXPECTED}；请改成这样", str(value))

    def list_items(self, key: str, position: int) -> Iterator[Item]:
        """The items of a list, its bracket behind us."""
        kinds = ""
        while True:
            try:
                character = self.next_character()
                if character == "]" and not position:
                    break
                position += 1
                value = self.value(MAX_ITEM_CHARS)
                kinds = kinds or (character if character in "[{" else "")
                yield Item(key, position, value)
                if (character := self.next_character()) == "]":
                    break
                self.comma(character)
            except JsonFault as fault:
                self.report(fault)
                yield from self.recovered(key, position, kinds or "[{")
                return
        self.at += 1

    def recovered(self, key: str, position: int, kinds: str) -> Iterator[Item]:
        """The good records after damage, to the end of the text, looked for behind every comma between brackets.

        `kinds` are the brackets they may begin with: within a damaged object a list may stand that only looks like one.
        """
        self.is_recovered = True
        while True:
            while not (found := _NEXT_ITEM.search(self.text, self.at)):
                self.at = max(self.at, len(self.text) - MAX_RAW_CHARS)
                if not self.read_on():
                    self.at = len(self.text)
                    return
            self.at = found.end() - 1
            if found[1] not in kinds:
                continue
            try:
                value = self.value(_RECOVERY_CHARS)
            except JsonFault:
                self.at += 1
                continue
            if is_record(value):
                position += 1
                yield Item(key, position, value)
            # Back onto its last bracket, where the next search begins.
            self.at -= 1

    def value(self, max_chars: int) -> Any:
        """The value that begins here; more is read for as long as that may complete it. Raises JsonFault."""
        self.next_character()
        while True:
            fault = None
            try:
                value, end = _decoded(self.text, self.at)
            except JsonFault as error:
                fault = error
            else:
                # A number at the very end may go on.
                if end < len(self.text) or self.is_all:
                    self.at = end
                    return value
            if len(self.text) - self.at > max_chars or not self.grow():
                if fault is not None:
                    raise fault
                self.at = end
                return value

    def grow(self) -> bool:
        """Doubles what is held, so that an item of any length is parsed a few times only; False at the end of the text."""
        wanted = 2 * (len(self.text) - self.at)
        grown = False
        while len(self.text) - self.at <= wanted and self.read_on():
            grown = True
        return grown

    def read_on(self) -> bool:
        """Drops what is behind us and adds a piece; False at the end of the text."""
        piece = next(self.pieces, "")
        if not piece:
            self.is_all = True
            return False
        if self.at:
            behind = self.text[: self.at]
            lines = behind.count("\n")
            self.column = len(behind) - behind.rfind("\n") - 1 if lines else self.column + len(behind)
            self.line += lines
        self.text = self.text[self.at :] + piece
        self.at = 0
        return True

    def next_character(self) -> str:
        """The next character that is no space, which we then stand at; empty at the end of the text."""
        while True:
            self.at = _SPACES.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.read_on():
                return ""

    def report(self, fault: JsonFault) -> None:
        raw = self.text[self.at : self.at + MAX_RAW_CHARS]
        if fault.position is None:
            self.source.bad(None, f"{fault}；{_SHAPE}，请改正或删去", raw)
            return
        before = self.text[: fault.position].rstrip("\r\n") if fault.position >= len(self.text) else self.text[: fault.position]
        lines = before.count("\n")
        column = len(before) - before.rfind("\n") if lines else self.column + len(before) + 1
        self.source.bad(self.line + lines, f"不是合法的 JSON：第 {column} 个字符处{fault}；{_SHAPE}，请改正这一行", raw)
