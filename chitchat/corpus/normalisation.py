"""One way to write a line of Chinese chat: punctuation, widths, ellipses, spaces, repeats.

A selective NFKC: whole-text NFKC turns ，！ into ,! and ℃ ① ² into letters and digits. `normalise` is idempotent, so that a
model's output, a user's line and the corpus can all be passed through it in any order.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from itertools import chain

from chitchat.corpus.scanning import JoinedTexts
from chitchat.lazy_pattern import lazily

MAX_REPEATED_CHARACTERS = 6
MAX_REPEATED_PUNCTUATION = 3
_MAX_PASSES = 8

_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WIDE_MARKS = "，。！？：；、…—“”‘’（）《》「」『』【】～"
_CHINESE = _HAN + _WIDE_MARKS
"""What makes a half-width mark beside it a Chinese one."""


def normalise(text: str) -> str:
    """The line written the one way; empty when nothing visible is left.

    >>> normalise("真的吗?我 也觉得...ＯＫ  那好,再见!!!!!")
    '真的吗？我 也觉得……OK 那好，再见！！！'
    """
    return text if _is_right(text) else _made_right(text)


def normalise_all(texts: Sequence[str]) -> list[str]:
    """What `normalise` makes of each line; one scan passes over all that are right."""
    found = list(texts)
    for index in _wrong_lines(texts):
        found[index] = _made_right(found[index])
    return found


def _wrong_lines(texts: Sequence[str]) -> set[int]:
    """The lines, by index, that `_is_right` is False for."""
    joined = JoinedTexts(texts)
    wrong = joined.matching((_REPEATS,))
    if joined.text.count("\n") > len(texts):
        wrong.update(index for index, text in enumerate(texts) if "\n" in text)
    place = 0
    while (right := _RIGHT_LINES.match(joined.text, place)) and right.end() < len(joined.text):
        wrong.add(index := joined.index_at(right.end()))
        place = joined.starts[index + 1]
    return wrong


def _made_right(text: str) -> str:
    # The loop is what makes the result idempotent: a comma made wide may be what the next mark needed beside it.
    for _ in range(_MAX_PASSES):
        before, text = text, _one_pass(text)
        if text == before or _is_right(text):
            break
    return text


def _is_right(text: str) -> bool:
    """True for what needs nothing, as most lines of a clean corpus; one scan says so."""
    right = _ALREADY_RIGHT.match(text)
    return right is not None and right.end() == len(text) and _REPEATS.search(text) is None


def _one_pass(text: str) -> str:
    if _UNUSUAL.search(text):
        mapped, odd = _mapping()
        text = odd.sub(lambda match: mapped.get(match[0], ""), text)
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    text = " ".join(text.split())
    if "(" in text or ")" in text:
        text = _BRACKETS.sub(_wide_brackets, text)
    if '"' in text:
        text = _QUOTED.sub(_wide_quotes, text)
    # Each search only where a mark it cannot do without is found: most of the lines that come here have one thing to mend.
    if _DOT.search(text):
        text = _ELLIPSIS.sub("……", text)
        text = _FULL_STOP.sub("。", text)
    if _HALF_MARK.search(text):
        text = _HALF_MARKS.sub(_wide_marks, text)
    if "-" in text or "—" in text:
        text = _DASHES.sub("——", text)
    if " " in text:
        text = _SPACE_AT_MARK.sub("", text)
    if _REPEATS.search(text):
        text = _REPEATED_MARK.sub(r"\1" * MAX_REPEATED_PUNCTUATION, text)
        text = _REPEATED.sub(r"\1" * MAX_REPEATED_CHARACTERS, text)
    return text


@cache
def _mapping() -> tuple[dict[str, str], re.Pattern[str]]:
    """Characters replaced wherever they stand, and by what; and what finds them and those that are deleted.

    Takes 40 ms, hence only for a text that may have one.
    """
    mapped = {}
    for code in chain(
        range(0x3400), range(0xF900, 0x10000), range(0x1D173, 0x1D17B), range(0x1D400, 0x1D800), range(0xE0000, 0xE0200)
    ):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Zs", "Zl", "Zp") or character in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85":
            new = " "
        elif category in ("Cc", "Cf") or _is_variation_selector(code) or code & 0xFFFE == 0xFFFE:
            new = ""
        else:
            new = _REWRITTEN.get(character) or _compatible(character, code)
        if new != character:
            mapped[character] = new
    return mapped, re.compile(f"[{_DELETED}{_character_class(list(mapped))}]")


_REWRITTEN = {"―": "—", "⋯": "…", "〝": "“", "〞": "”", "＂": '"', "｡": "。", "､": "、", "﹒": ".", "．": ".", "￼": " "}
_STAY_WIDE = frozenset("，！？：；（）～")


def _compatible(character: str, code: int) -> str:
    """NFKC of the ranges where it only undoes a width or a font; ①, ², ℃, ™, ㎏ and the like stay."""
    if character in _STAY_WIDE:
        return character
    is_width = 0xFF01 <= code <= 0xFFDC or 0xFE50 <= code <= 0xFE6B or 0xFB00 <= code <= 0xFB06
    is_font = 0x1D400 <= code <= 0x1D7FF or 0x2F00 <= code <= 0x2FD5
    return unicodedata.normalize("NFKC", character) if is_width or is_font else character


def _is_variation_selector(code: int) -> bool:
    return 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180D


def _character_class(characters: list[str]) -> str:
    """The characters as the inside of a regex class, in ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)


_DELETED = r"\ud800-\uf8ff\U000f0000-\U0010ffff"
"""Surrogates and private use: 140,000 characters, too many to list in a table."""
_UNUSUAL = lazily(rf"[^ -~\u4e00-\u9fff{_WIDE_MARKS}]")
"""What the table may have an entry for."""

# A pair of brackets, either width, around plain words: a kaomoji's (≧∇≦) holds other signs and is left alone.
_BRACKETS = lazily(r"([(（])([\w，。！？：；、…—“”·,.!?:;~～ -]*)([)）])")
_A_HAN = lazily(rf"[{_HAN}]")


def _wide_brackets(match: re.Match[str]) -> str:
    inside = match[2]
    is_chinese = _A_HAN.search(inside) or (inside and any(_A_HAN.match(c) for c in _neighbours(match)))
    return f"（{inside}）" if is_chinese and not _IS_FACE.fullmatch(match[0]) else match[0]


# A pair with at least one straight mark; one after a digit may stand for inches.
_QUOTED = lazily(r'(?<![0-9])"([^"“”]*)["”]|“([^"“”]*)"')


def _wide_quotes(match: re.Match[str]) -> str:
    inside = match[1] or match[2] or ""
    is_chinese = _A_HAN.search(inside) or (inside.strip() and any(_A_HAN.match(c) for c in _neighbours(match)))
    return f"“{inside}”" if is_chinese else match[0]


def _neighbours(match: re.Match[str]) -> str:
    text, start, end = match.string, match.start(), match.end()
    return text[max(start - 1, 0) : start] + text[end : end + 1]


_DOT = lazily("[.。…·・‧]")
_ELLIPSIS = lazily(
    r"[.。]*…[.。…]*|\.*。[.。]+|\.+。[.。]*|\.{3,}|[·・‧]{3,}"  # dots of any mixture; two full stops are one too
    rf"|(?<=[{_CHINESE}])\.\.(?!/)|\.\.(?=[{_HAN}])"
)
_FULL_STOP = lazily(rf"(?<=[{_HAN}”’）》」』】])\.(?=$|[ ”’）」』])")
_DASHES = lazily(rf"(?<=[{_HAN}，。！？…”）》]) ?(?:--+|—+) ?(?=[{_HAN}，。！？“（《]|$)")

# Weibo text often has a space inside: ": )".
_FACE = r"[:;] (?:\)|[(DP](?!\w))|[:;=][-'^o]?(?:[)(\[\]|/\\*]|[DPpOo](?!\w))"
_IS_FACE = lazily(r"\([oO0TQxX;vu.^ -]?[_.w^ -][oO0TQxX;vu.^ -]?\)")
_URL = r"(?:https?://|www\.)[!-~]*[A-Za-z0-9/#=&_-]"
_HALF_MARK = lazily("[,!?:;]")
_HALF_MARKS = lazily(rf"{_URL}|{_FACE}|(?: ?(?!{_FACE})[,!?:;])+")


def _wide_marks(match: re.Match[str]) -> str:
    """A run of half-width marks made wide when Chinese stands directly before it (one space allowed) or directly after."""
    found = match[0]
    marks = found.lstrip(" ")
    if marks.strip(" ,!?:;"):  # a URL or a face
        return found
    before, after = _neighbours(match)[: match.start() > 0], match.string[match.end() : match.end() + 1]
    if _BESIDE.match(before):
        return marks.translate(_TO_WIDE)
    if _BESIDE.match(after):
        return found.translate(_TO_WIDE)
    return found


_BESIDE = lazily(f"[{_CHINESE}]")
_TO_WIDE = str.maketrans(",!?:;", "，！？：；")

_SPACE_AT_MARK = lazily(
    r" +(?=[，。！？：；、）》」』】”])|(?<=[，。：；、（《「『【“]) +|"
    rf"(?<=[！？…]) +(?=[{_HAN}“《（])"
)
_PUNCTUATION = r"!-/:-@\[-`{-~\u00b7\u2014\u3001-\u3003\u3008-\u3020\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_REPEATED_MARK = lazily(rf"([{_PUNCTUATION}])\1{{{MAX_REPEATED_PUNCTUATION},}}")
# Digits are left alone, 10000000 is a number; only those that people laugh with are cut (666…, 2333…).
_REPEATED = lazily(rf"([^\W0-9]|[^\w\s{_PUNCTUATION}…]|[36])\1{{{MAX_REPEATED_CHARACTERS},}}")

# What a line may be made of to be left as it is: plain characters in bulk, and marks and spaces each where it may stand.
# Unrolled, with nothing required at the end, so that it never backtracks; 2-4 times as fast as searching for what is wrong.
_PLAIN = r"[A-Za-z0-9\u4e00-\u9fff]*"
_MARK = (
    rf"[，：；、（《“](?! )|。(?![ .。…])|[！？](?! [{_HAN}“《（])|[）》”～~](?! ?\.)"
    rf"| (?=[A-Za-z0-9\u4e00-\u9fff“《（])|·(?![·・‧])|……(?![.。…]| [{_HAN}“《（])"
)
_ALREADY_RIGHT = lazily(rf"(?! ){_PLAIN}(?:(?:{_MARK}){_PLAIN})*")
_RIGHT_LINES = lazily(rf"(?:(?:\n(?! )|{_MARK}){_PLAIN})*+")
_REPEATS = lazily(rf"(.)\1\1\1(?:(?<=[{_PUNCTUATION}])|\1\1\1)")
