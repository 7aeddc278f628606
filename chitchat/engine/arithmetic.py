"""Small sums, worked out when the user asks for one and for nothing else: 1+1等于几, 三乘以四是多少.

Knows the four operations, brackets and per cent, on numbers of up to twelve digits. Word problems it does not know.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from fractions import Fraction

from chitchat.lazy_pattern import lazily

_OPENING = lazily(
    "^(?:请问|那么?|对了|话说|小叙|嘿|诶|考考你|我?想?问你?|你会算|算[算下]?|算一下|帮我|给我|你?(?:知道|说说?|猜猜?)|[，,:： ])+"
)
_ASKED = lazily(
    "(?:[=＝]+[?？]*|(?:等于|得|是|一共是?|结果是?)(?:几|多少|啥|什么|多大))(?:[呀啊呢吗嘛来着吧？?！!。~～ ]|你知道吗|你会吗)*$"
)
_CLOSING = lazily("[呀啊呢吗嘛吧？?！!。~～ ]+$")
_WORDS = (
    ("除以", "/"),
    ("乘以", "*"),
    ("乘上", "*"),
    ("乘", "*"),
    ("加上", "+"),
    ("加", "+"),
    ("减去", "-"),
    ("减", "-"),
    ("的", "*"),
)
_SIGNS = str.maketrans({"×": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "（": "(", "）": ")"})
_NUMERAL = lazily("[零〇一二两三四五六七八九十百千万点]+")
_PERCENT = lazily(r"百分之([\d.]+|[零一二两三四五六七八九十百点]+)|(\d+(?:\.\d+)?)%")
_EXPRESSION = lazily(r"[\d.+\-*/() ]*\d[\d.+\-*/() ]*")
_BARE = lazily(r"[\d.()]+(?:[+*][\d.()]+)+|[\d.()]+/[\d.()]+[+*/][\d.()+*/]+")
"""An expression that asks without a word: 1+1. What else has signs may be a date, a range or a phone number."""
_MAX_DIGITS = 12
_MAX_BITS = 400
"""Of what is told; a product of many factors is no sum for a chat."""
_DIGITS = {d: i for i, d in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10000}


def arithmetic_answer(text: str, turn: int = 0) -> str | None:
    """The result of the sum that `text` asks for, in one of a few phrasings chosen by `turn`; None when it asks for none."""
    asked = _OPENING.sub("", unicodedata.normalize("NFKC", text).strip())
    expression = _ASKED.sub("", asked)
    has_asked = expression != asked
    expression = _written(_CLOSING.sub("", expression))
    if not _EXPRESSION.fullmatch(expression) or not (has_asked or _BARE.fullmatch(expression)):
        return None
    if max(map(len, re.findall(r"\d+", expression))) > _MAX_DIGITS:
        return None
    try:
        parsed = ast.parse(expression.replace(" ", ""), mode="eval").body
        value = _value(parsed)
    except ZeroDivisionError:
        return "除数是零，这题谁也算不出来。"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(parsed, ast.Constant) or max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        return None
    told = _told(value)
    phrasings = (f"{told}，这个我还算得来。", f"等于{told}。", f"{told}，没难住我。")
    return phrasings[turn % len(phrasings)]


def _written(text: str) -> str:
    """The expression in digits and signs."""
    text = _PERCENT.sub(lambda m: f"({m[1] or m[2]}/100)", text)
    for word, sign in _WORDS:
        text = text.replace(word, sign)
    return _NUMERAL.sub(lambda m: _number(m[0]), text.translate(_SIGNS))


def _number(numeral: str) -> str:
    """Digits for a Chinese numeral below a hundred million: 一百零五 is 105, 三点一四 is 3.14."""
    whole, point, decimals = numeral.partition("点")
    total = section = digit = 0
    for letter in whole:
        if letter in _DIGITS:
            digit = _DIGITS[letter]
        elif letter == "万":
            total, section, digit = (section + digit) * 10000, 0, 0
        else:
            section, digit = section + (digit or 1) * _UNITS[letter], 0
    written = str(total + section + digit)
    return written + ("." + "".join(str(_DIGITS.get(d, "")) for d in decimals) if point else "")


def _value(node: ast.expr) -> Fraction:
    """Raises ValueError for what is no sum, ZeroDivisionError for a division by zero."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left) + _value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return _value(left) - _value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _value(left) * _value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _value(left) / _value(right)
    raise ValueError


def _told(value: Fraction) -> str:
    """A whole number whole, another with four decimals at most, and 约 before it when these are not all."""
    rounded = round(value, 4)
    whole, decimals = divmod(abs(rounded), 1)
    written = f"{whole}.{int(decimals * 10_000):04d}".rstrip("0").rstrip(".")
    return ("" if rounded == value else "约") + ("-" if rounded < 0 else "") + written
