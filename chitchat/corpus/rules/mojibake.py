"""Text that was decoded wrongly at some time: 浣犲ソ for 你好, ä½ å¥½ for the same, 锟斤拷."""

from __future__ import annotations

import re

_HAN = re.compile(r"[\u4e00-\u9fff]")
_TRACES = re.compile(r"\ufffd|锟斤|斤拷|烫烫烫|屯屯屯")
_LATIN_1 = re.compile(r"[\u00a1-\u00b6\u00b8-\u00ff]")
# UTF-8 writes a common Han character as a byte of E4-E9 and two of 80-BF; these are the first two read as GBK.
_FROM_UTF_8 = "".join(bytes((lead, trail)).decode("gbk", "ignore") for lead in range(0xE4, 0xEA) for trail in range(0x80, 0xC0))
_READ_AS_GBK = re.compile(f"[{_FROM_UTF_8}]")

MOJIBAKE_SIGNS = "\ufffd锟拷烫屯" + _FROM_UTF_8 + "".join(map(chr, range(0xA1, 0x100)))
"""A text without any of these characters is no mojibake."""


def is_mojibake(message: str) -> bool:
    """Whether a message, or half of it, is no longer what was written."""
    if _TRACES.search(message):
        return True
    if len(_LATIN_1.findall(message)) >= max(3, (len(message) - message.count(" ")) / 2):
        return True
    return len(_READ_AS_GBK.findall(message)) >= 2 and _is_utf_8_read_as_gbk(message)


def _is_utf_8_read_as_gbk(message: str) -> bool:
    """Real Chinese read back gives a Han character here and there among much that cannot be read."""
    again = message.encode("gb18030", "replace").decode("utf-8", "replace")
    han = len(_HAN.findall(again))
    return han >= 2 and han > 2 * again.count("\ufffd")
