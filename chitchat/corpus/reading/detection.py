"""Which format a text is in, told by its first lines; its name is only a hint.

A file may be cut at the beginning or have a broken line there, so that most lines decide, not the first alone.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from chitchat.corpus.reading.chat_exports import chat_header
from chitchat.corpus.reading.records import is_record
from chitchat.corpus.reading.source_file import SourceText
from chitchat.corpus.reading.tables import is_header

_HINTS = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".conv": "conv",
    ".yml": "yaml",
    ".yaml": "yaml",
}
_MAX_LINES = 400
_MOST = 0.9
_MIN_LABELLED_LINES = 2

_JSON_START = re.compile(r'\[\s*(?:\[\s*["\[\]]|\{\s*["}])|\{\s*"[^"]*"\s*:\s*\[\s*[\[{]')
_JSON_FRAGMENT = re.compile(r'\s*(?:[\[\]{}]+,?|"(?:[^"\\]|\\.)*"(?:,|\s*:.*)|"(?:[^"\\]|\\.)*"|[\]}][\]},\s]*)\s*')
_JSON_ITEMS = re.compile(r'"\s*[\]}]+\s*,\s*[\[{]+\s*"')
"""Between two items on one line; nobody writes so."""
_LABELLED = re.compile(r"[01]\t[^\t]+\t")
_YAML_START = re.compile(r"(?:categories|conversations)\s*:\s*(?:\[.*\]\s*)?(?:#.*)?$")
_CONV_LINE = re.compile(r"E|M(?: .*)?")


def detect(text: SourceText) -> str:
    """The key in `readers.READERS` of the format a text is in."""
    if text.is_parquet:
        return "parquet"
    name = PurePath(text.path.name)
    hint = _HINTS.get(PurePath(name.stem).suffix.lower() if name.suffix.lower() == ".gz" else name.suffix.lower(), "")
    lines = text.head_lines()[:_MAX_LINES]
    if not lines:
        return hint or "text"
    first = lines[0].strip()
    if found := _detect_json(first, hint, is_only=len(lines) == 1) or _detect_broken_json(lines):
        return found
    if hint in ("csv", "tsv"):
        return _detect_table(lines, hint)
    if hint in ("json", "jsonl", "conv", "yaml"):
        # A .json file whose first line is no JSON by itself is one document over many lines.
        return hint
    if any(_YAML_START.match(line) for line in lines[:20] if not line.startswith("#")):
        return "yaml"
    if chat_header(lines) is not None:
        return "chat"
    if _share(lines, _CONV_LINE) >= _MOST and any(line.strip() == "E" for line in lines):
        return "conv"
    for name_, delimiter in (("tsv", "\t"), ("csv", ",")):
        if is_header(first.split(delimiter)):
            return name_
    if (found := _detect_table(lines, "")) in ("labelled", "tsv"):
        return found
    if sum(1 for line in lines if len(parts := line.split(" | ")) == 2 and all(map(str.strip, parts))) >= _MOST * len(lines):
        return "pipe"
    return "text"


def _detect_table(lines: Sequence[str], hint: str) -> str:
    """csv, tsv or labelled, from the lines of a table, or of what may be one when there is no hint."""
    labels = [line[0] for line in lines if _LABELLED.match(line)]
    # 0 and 1 alone, in order, may as well number the rows.
    if len(labels) >= max(_MIN_LABELLED_LINES, _MOST * len(lines)) and labels != ["0", "1"]:
        return "labelled"
    if not hint:
        pairs = sum(1 for line in lines if line.count("\t") == 1 and all(map(str.strip, line.split("\t"))))
        return "tsv" if pairs >= _MOST * len(lines) else ""
    first = lines[0]
    return "tsv" if "\t" in first and "," not in first else "csv" if "," in first and "\t" not in first else hint


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


def _detect_broken_json(lines: Sequence[str]) -> str:
    """json, jsonl or nothing, from lines of which the first is damaged."""
    starts = Counter(line.lstrip()[:1] for line in lines[1:])
    if 2 * (starts["{"] + starts["["]) > len(lines) and 2 * sum(map(_is_json, lines[1:])) > len(lines):
        return "jsonl"
    if len(lines) <= 2:
        return "json" if _JSON_ITEMS.search(lines[0]) else ""
    return "json" if _share(lines[1:], _JSON_FRAGMENT) >= _MOST else ""


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _share(lines: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(1 for line in lines if pattern.fullmatch(line.strip())) / len(lines)
