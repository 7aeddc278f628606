"""A look at the beginning of a corpus file: what it was taken for, what was read, and what cleaning would drop.

It reads a few megabytes at most, so that it answers at once whatever the size of the file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import DESCRIPTIONS, Rejected, clean_dialogue
from chitchat.corpus.reading.byte_streams import ReadLimit
from chitchat.corpus.reading.readers import file_kind, read_dialogues
from chitchat.dialogue import Dialogue
from chitchat.errors import CorpusError

NUM_SHOWN = 5
MAX_BYTES = 4 * 1024 * 1024
MAX_SECONDS = 1.0
MAX_DIALOGUES = 5000
_MAX_EXAMPLES = 3
_MAX_SHOWN_MESSAGES = 12
_MAX_SHOWN_CHARS = 120

FORMAT_NAMES: Mapping[str, str] = {
    "text": "文本，一行一句、空行分段",
    "conv": ".conv，E / M 行（小黄鸡）",
    "pipe": "“问 | 答”（青云）",
    "jsonl": "JSONL，每行一段",
    "json": "JSON",
    "csv": "CSV 表格",
    "tsv": "TSV 表格",
    "labelled": "带标签的 TSV（豆瓣），只取标签 1",
    "chat": "微信或 QQ 聊天记录",
    "yaml": "YAML（chatterbot）",
    "parquet": "Parquet 表",
}


@dataclass(frozen=True)
class Preview:
    """What the beginning of a corpus file holds; the counts are of the dialogues that were looked at."""

    path: Path
    format: str
    """A key in `readers.READERS`."""
    encoding: str
    dialogues: tuple[Dialogue, ...]
    """The first five, as they are read."""
    num_read: int
    num_kept: int
    """Dialogues after cleaning."""
    dropped: Mapping[str, int]
    changed: Mapping[str, int]
    """Counts by the names of cleaning rules."""
    rejected: tuple[Rejected, ...]
    """Examples of what was dropped, a few of each rule."""
    num_bad: int
    bad: tuple[str, ...]
    """Records that cannot be read, and what is said of the first ones."""
    is_whole: bool
    """True when the file ended before the look did."""


def preview(path: Path, config: PrepareConfig, words: Collection[str] = ()) -> Preview:
    """A look at the beginning of a corpus file, within two seconds.

    Raises CorpusError for a file that cannot be read at all. Records that cannot be read are counted, not raised.
    """
    path = Path(path)
    kind = file_kind(path)
    limit = ReadLimit(MAX_BYTES)
    bad: list[str] = []
    dialogues: list[Dialogue] = []
    events: list[list[str] | list[Dialogue]] = []
    deadline = time.monotonic() + MAX_SECONDS
    is_whole = True

    def on_bad(error: CorpusError, raw: str) -> None:
        bad.append(str(error))
        events.append(bad)

    try:
        for dialogue in read_dialogues(path, on_bad=on_bad, limit=limit):
            dialogues.append(dialogue)
            events.append(dialogues)
            if len(dialogues) >= MAX_DIALOGUES or time.monotonic() > deadline:
                is_whole = False
                break
    except CorpusError:
        if not bad:
            raise
    if is_whole and limit.is_reached:
        # What came last was cut by the look's end, not by a fault of the file.
        is_whole = False
        if len(events) > 1:
            events[-1].pop()
    return _cleaned(path, kind.format, kind.encoding, dialogues, bad, is_whole, config, words)


def _cleaned(
    path: Path,
    format_name: str,
    encoding: str,
    dialogues: list[Dialogue],
    bad: list[str],
    is_whole: bool,
    config: PrepareConfig,
    words: Collection[str],
) -> Preview:
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    examples: dict[str, list[Rejected]] = {}
    num_kept = 0
    for dialogue in dialogues:
        cleaned = clean_dialogue(dialogue, config, words)
        num_kept += len(cleaned.dialogues)
        dropped.update(cleaned.dropped)
        changed.update(cleaned.changed)
        for rejected in cleaned.rejected:
            of_rule = examples.setdefault(rejected.rule, [])
            if len(of_rule) < _MAX_EXAMPLES:
                of_rule.append(rejected)
    return Preview(
        path,
        format_name,
        encoding,
        tuple(dialogues[:NUM_SHOWN]),
        len(dialogues),
        num_kept,
        dropped,
        changed,
        tuple(rejected for of_rule in examples.values() for rejected in of_rule),
        len(bad),
        tuple(bad[:_MAX_EXAMPLES]),
        is_whole,
    )


def described(look: Preview) -> str:
    """A preview as lines for a terminal."""
    lines = [f"{look.path}：{FORMAT_NAMES[look.format]}" + (f"，编码 {look.encoding}" if look.format != "parquet" else "")]
    for number, dialogue in enumerate(look.dialogues, 1):
        lines += ["", f"第 {number} 段（{'第 %d 项' if look.format in ('json', 'parquet') else '第 %d 行'}）" % dialogue.line]
        lines += [f"  {_clipped(message)}" for message in dialogue.messages[:_MAX_SHOWN_MESSAGES]]
        if (more := len(dialogue.messages) - _MAX_SHOWN_MESSAGES) > 0:
            lines.append(f"  ……还有 {more} 句")
    scope = "整个文件" if look.is_whole else "只看了开头"
    lines += ["", f"{scope}：读到 {look.num_read} 段，清洗后 {look.num_kept} 段"]
    for title, counts in (("会丢弃", look.dropped), ("会改写", look.changed)):
        if counts:
            ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            lines.append(f"{title}：" + "，".join(f"{DESCRIPTIONS.get(rule, rule)} {count}" for rule, count in ordered))
    lines += [f"  [{DESCRIPTIONS.get(r.rule, r.rule)}] 第 {r.line} 行：{_clipped(r.text)}" for r in look.rejected]
    if look.num_bad:
        lines.append(f"读不了的记录 {look.num_bad} 处：")
        lines += [f"  {fault}" for fault in look.bad]
    return "\n".join(lines)


def _clipped(text: str) -> str:
    text = " / ".join(text.split("\n"))
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "……"
