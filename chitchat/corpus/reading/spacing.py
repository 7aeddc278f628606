"""Takes out the spaces that tokenised corpora (LCCC) put between characters or words, and leaves the ones people typed."""

from __future__ import annotations

import re

from chitchat.corpus.reading.records import Messages

_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WIDE = _HAN + r"\u2014\u2018-\u201d\u2026\u3001-\u3011\uff01-\uff0f\uff1a-\uff1f\uff5e"
_GAP = re.compile(rf"(?<=[{_HAN}]) +(?=[{_HAN}])")
_TWO_TOGETHER = re.compile(rf"[{_HAN}]{{2}}")
_RUN = re.compile(rf"[{_HAN}]+")
_REMOVED = re.compile(rf"(?<=[{_WIDE}]) +(?=[{_WIDE}0-9])|(?<=[0-9]) +(?=[{_WIDE}])")
_MIN_GAPS = 3
_MAX_WORD_CHARS = 1.9


def unspaced(messages: Messages) -> Messages:
    """The messages with a tokeniser's spaces removed; "好的 再见" and "i love you" keep theirs.

    A message is taken as spaced character by character when no two of its Han characters touch, and a whole dialogue as spaced
    word by word (LCCC on the Hugging Face hub) when its Han runs are on average shorter than a pause would leave them.
    """
    if not any(" " in message for message in messages):
        return messages
    if _is_segmented(messages):
        return tuple(_REMOVED.sub("", message) for message in messages)
    return tuple(_REMOVED.sub("", message) if _is_spaced(message) else message for message in messages)


def _is_spaced(message: str) -> bool:
    return " " in message and _GAP.search(message) is not None and _TWO_TOGETHER.search(message) is None


def _is_segmented(messages: Messages) -> bool:
    if sum(len(_GAP.findall(message)) for message in messages) < _MIN_GAPS:
        return False
    runs = [run for message in messages for run in _RUN.findall(message)]
    return sum(map(len, runs)) <= _MAX_WORD_CHARS * len(runs)
