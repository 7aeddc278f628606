"""Small sums, worked out when the user asks for one and for nothing else: 1+1等于几, 三乘以四是多少.

Knows the four operations, brackets and per cent, on numbers of up to twelve digits, and amounts told one after another to be
added up or taken from the first: 机票1280，酒店三晚每晚260，一共多少. Other word problems it does not know.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from chitchat.lazy_pattern import lazily

_OPENING = lazily(
    "^(?:请问|那么?|对了|话说|小叙|嘿|诶|考考你|我?想?问你?|你会算|算一下|算[算下]?|帮我|给我|你?(?:知道|说说?|猜猜?)|[，,:： ])+"
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
_TOTAL = lazily(
    "(?:这样|那么?|我|帮我)*(?:一共|总共|总计|合计|拢共|共计|加起来|加一起|(?P<left>还剩下?|剩下?|还余))(?:是|要|得|花了?|有|能)*"
    r"(?:多少|几)(?P<unit>[^\d，,？?]{0,2}?)[呀啊呢吗吧？?！!。~ ]*$"
)
"""What asks to add up the amounts before it, or for what is left of the first."""
_NUMERALS = "零一二两三四五六七八九十百千万"
_NUMBER = rf"(?:\d+(?:\.\d+)?|[{_NUMERALS}]+)"
_NAME = rf"[^\d{_NUMERALS}每各，,、。;；从到倍折减除乘退亏赔扣省找还优]*?"
"""What is paid, without what may make it less or a range."""
_MONEY = ("", "块", "块钱", "元", "钱")
_PRICE = f"(?P<price>{_NUMBER})(?:块钱?|元)?"
_MEASURE = (
    "晚|天|个月?|公斤|斤|张|杯|人|位|本|瓶|件|次|份|只|盒|包|条|双|碗|顿|月|年|节|趟|箱|袋|串|盘|支|台|间|套|公里|小时|分钟"
)
_COUNT = f"(?P<count>{_NUMBER})(?P<of>{_MEASURE})"
_END = r"(?:[，,、。;；和加+\s]+|$)"
_AMOUNTS = tuple(
    lazily(f"{_NAME}{amount}{_NAME}{_END}")
    for amount in (
        rf"{_COUNT}{_NAME}[，,]?{_NAME}(?:每[^\d{_NUMERALS}，,]{{0,2}}|[各@])(?:是|要)?{_PRICE}",  # 三晚每晚260
        f"{_COUNT}{_NAME}[，,]?{_NAME}{_PRICE}[一每/](?P=of)",  # 三晚260一晚
        f"{_PRICE}[一每/](?P<of>{_MEASURE}){_NAME}[，,]?{_NAME}(?P<count>{_NUMBER})(?P=of)",  # 260一晚，住三晚
        f"[一每](?P<of>{_MEASURE}){_NAME}{_PRICE}[，,]{_NAME}(?P<count>{_NUMBER})(?P=of)?",  # 一斤5块，买3斤
    )
) + (lazily(f"(?:一(?:{_MEASURE}))?{_NAME}{_PRICE}(?P<unit>{_MEASURE})?{_END}"),)
"""What can be told of an amount: so many at so much, or so much."""
_SUM_ASKED = lazily(
    "(?:一共|总共|总计|合计|加起来|等于|剩|找我?|平均|每人|[打减加乘除])[^，。]{0,6}(?:多少|几)|多少钱|得几|算一?[下算]"
)
_NUMBERS = lazily(rf"{_NUMBER}(?=[^\d{_NUMERALS}]).*{_NUMBER}")
_TELLS_NUMBER = lazily(rf"\d|[{_NUMERALS}]{{2,}}|[两三四五六七八九十](?:块|元|个|张|天|人)")
_MAX_DIGITS = 12
_MAX_BITS = 400
"""Of what is told; a product of many factors is no sum for a chat."""
_DIGITS = {d: i for i, d in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000, "万": 10000}


def arithmetic_answer(text: str, turn: int = 0) -> str | None:
    """The result of the sum that `text` asks for, in one of a few phrasings chosen by `turn`; None when it asks for none."""
    asked = _OPENING.sub("", unicodedata.normalize("NFKC", text).strip())
    if (total := _totalled(asked)) is not None:
        return total[turn % len(total)]
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


def guesses_sum(text: str, asked: str) -> bool:
    """Whether a reply that nobody has worked out tells a number to who asks what several come to."""
    return all(p.search(t) for p, t in ((_SUM_ASKED, asked), (_NUMBERS, asked), (_TELLS_NUMBER, text)))


def _totalled(asked: str) -> Sequence[str] | None:
    """What the amounts told one after another come to; None unless all of the text is understood."""
    question = _TOTAL.search(asked)
    amounts = _amounts(asked[: question.start()]) if question else []
    if not question or len({unit for _, unit in amounts}) != 1:
        return None
    (first, unit), *rest = amounts
    if question["unit"] not in (_MONEY if unit == "" else ("", unit)):
        return None
    others = sum(value for value, _ in rest)
    if question["left"]:
        told = _told(first - others)
        return (f"还剩{told}。", f"{told}，按你说的减下来的。") if rest else None
    told = _told(first + others)
    return f"一共{told}，帮你加好了。", f"加起来是{told}。", f"{told}，按你报的数加的。"


def _amounts(text: str) -> list[tuple[Fraction, str]]:
    """Each amount and what it counts, "" for money; none at all when something stands between them that is none."""
    amounts = []
    at = 0
    while at < len(text):
        found = next(filter(None, (pattern.match(text, at) for pattern in _AMOUNTS)), None)
        if found is None:
            return []
        told = found.groupdict()
        amounts.append((_fraction(told["price"]) * _fraction(told.get("count") or "1"), told.get("unit") or ""))
        at = found.end()
    return amounts


def _fraction(number: str) -> Fraction:
    return Fraction(number if number[0].isdecimal() else _number(number))


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
