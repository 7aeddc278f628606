"""Personal data in a message, found and masked: numbers of people, accounts, e-mail, plates, street addresses.

Knows the forms that Chinese chat writes them in, checks the checksums that exist, and leaves prices, dates, scores and order
numbers alone. It does not know names: no pattern tells 王伟 from 王朝.

The placeholders are plain words (某号码) and not signs such as <PHONE>: each of their characters is in every Chinese vocabulary,
so no text becomes [UNK], and a sentence keeps its form. A bot should still not say them; `PLACEHOLDERS` is for that check.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

NUMBER, ACCOUNT, EMAIL, PLATE, ADDRESS = "某号码", "某账号", "某邮箱", "某车牌", "某地址"
PLACEHOLDERS = (NUMBER, ACCOUNT, EMAIL, PLATE, ADDRESS)


def redact(text: str) -> str:
    """The text with personal data replaced by `PLACEHOLDERS`, the rest untouched; of any length and already masked or not.

    >>> redact("加我微信 abc_123，电话１３８ 1234 5678")
    '加我微信 某账号，电话某号码'
    """
    if MAY_HOLD_PERSONAL_DATA.search(text) is None:
        return text
    folded = _folded(text)
    for kind in _KINDS:
        if (masked := _masked(text, folded, kind)) != text:
            text, folded = masked, _folded(masked)
    return text


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of personal data: what it looks like (group `data`), what is put for it, and what makes it a real one."""

    placeholder: str
    pattern: re.Pattern[str]
    is_real: Callable[[re.Match[str]], bool] = lambda match: True


def _masked(text: str, folded: str, kind: _Kind) -> str:
    kept, end = [], 0
    for match in kind.pattern.finditer(folded):
        if kind.is_real(match):
            kept += [text[end : match.start("data")], kind.placeholder]
            end = match.end("data")
    return "".join(kept) + text[end:]


_NUMERALS = "零〇○一二三四五六七八九幺壹贰叁肆伍陆柒捌玖"
_NUMERAL_DIGITS = "000123456789112345678" + "9"
_TO_DIGITS = str.maketrans(_NUMERALS, _NUMERAL_DIGITS)
_TO_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", ord("–"): "-", ord("—"): "-", ord("➕"): "+"}
_NUMERAL_RUN = re.compile(rf"[{_NUMERALS}\d](?:[ -]?[{_NUMERALS}\d]){{4,}}")


def _folded(text: str) -> str:
    """The text in narrow characters with spelt-out numbers as digits, character for character: places are the same in both."""
    if not text.isascii():
        text = text.translate(_TO_NARROW)
        text = _NUMERAL_RUN.sub(lambda match: match[0].translate(_TO_DIGITS), text)
    return text


# An order or a serial number is nobody's telephone; the word for it stands right before.
_NOT_A_PERSONS = re.compile(
    r"(?:单号|订单|编号|流水号?|货号|学号|工号|批号|款号|序列号|条码|条形码|版本号?|型号|ISBN)\D{0,4}$", re.I
)
# What is counted is no number of a person either.
_UNIT = r"(?! ?(?:[元块万亿个人次件条只张斤克米年岁楼层页章集度级分秒%％]|小时|公里|千米|美|日元|欧))"


def _is_persons(match: re.Match[str]) -> bool:
    before = match.string[max(match.start("data") - 12, 0) : match.start("data")]
    return _NOT_A_PERSONS.search(before) is None


def _is_identity_card(match: re.Match[str]) -> bool:
    """ISO 7064 MOD 11-2 over the first 17 digits, and a date of birth (GB 11643-1999)."""
    number = re.sub(r"[ -]", "", match["data"]).upper()
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    weighted: int = sum(int(digit) * (1 << (17 - place)) for place, digit in enumerate(number[:17]))
    return number[17] == "10X98765432"[weighted % 11]


def _is_bank_card(match: re.Match[str]) -> bool:
    """Luhn's checksum (ISO/IEC 7812-1); only UnionPay and old Chinese cards have more than 16 digits."""
    digits = [int(digit) for digit in reversed(re.sub(r"\D", "", match["data"]))]
    if len(digits) > 16 and digits[-1] not in (6, 9):
        return False
    total = sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return total % 10 == 0 and len(set(digits)) > 2 and _is_persons(match)


def _is_account(match: re.Match[str]) -> bool:
    return not _IS_PRODUCT.match(match["data"])


def _is_wechat_id(match: re.Match[str]) -> bool:
    """Has a digit or a sign in it as made-up ids do, or is plainly said to be an id."""
    if _IS_PRODUCT.match(match["data"]):
        return False
    return re.search(r"[\d_-]", match["data"]) is not None or match["said"] is not None


_IS_PRODUCT = re.compile(
    r"(?:iphone|ipad|ios|android|windows|win\d|mac|macbook|wechat|weixin|app\b|group|http|www|mate\d|huawei)", re.I
)


def _is_plate(match: re.Match[str]) -> bool:
    plate: str = match["data"]
    digits = sum(character.isdigit() for character in plate)
    if re.search(r"[ ·•.-]", plate) or "牌" in match.string[max(match.start() - 8, 0) : match.start()]:
        return digits >= 1 or plate.isupper()
    # 新GLC300 is a new car; a plate of Xinjiang seldom has so many letters.
    return digits >= (4 if plate[0] == "新" else 3)


_MOBILE = (
    r"1[3-9]\d(?:\d{8}|[ .-]\d{4}[ .-]?\d{4}|\d{4}[ .-]\d{4}|[ .-]\d{8}|[ -]\d{3}[ -]\d{5})"
    r"|1[3-9]\d\d[ -]\d{3}[ -]\d{4}|1[3-9]\d{3}[ -]\d{6}|1 [3-9](?: \d){9}|1-[3-9](?:-\d){9}"
)
_LANDLINE = (
    r"\(?(?:010|02\d|0[3-9]\d\d)\)?[ -]{0,2}(?:[1-9]\d{6,7}|[1-9]\d{2,3}[ -]\d{4})"
    r"(?:(?:-|转|分机)\d{1,5})?"
)
_PHONE_SAID = r"(?:电话|座机|固话|热线|致电|拨打|tel)(?:号码|号)?[ :：是为,，打]{0,3}"

# Between the word for an account and the account: nothing that tells of something else (QQ空间访问量123456).
_LINK = (
    r"(?:号码|账号|帐号|群号?|号|id|是|为|换成|换到|改成|改为|换了|加|搜|找|我的?|给你|发你|就是|还是|如下|记一下|记下|一下"
    r"|[哈啊哦吧呀呢了的 :,.;!~=>+(，：。！～“\"'、])"
)
_QQ = r"(?:(?<![a-z])q{1,2}(?![a-z])|扣扣|抠抠|扣(?=[ :号是加\d])|秋秋|企鹅|球球|群号)"
_WECHAT = r"(?:[微威薇维溦徽]信|微芯|卫星号|v[ -]?信|(?<![a-z])(?:vx|wx|wechat|weixin|v(?=[ :号+是]))|加v(?![a-z])|微号|微x)"
_WECHAT_SAID = rf"(?:加我?(?:个|一下)?{_WECHAT}{_LINK}{{0,4}}|{_WECHAT}(?:号码?|id|账号|帐号|搜|:| ?加){_LINK}{{0,4}})"
_ID = r"(?P<data>[a-z][a-z0-9_-]{4,19})"
_MINE = r"[,，]? ?(?:这个?)?(?:是|就是|为)?我的?"

_PLACE = r"[^\W\da-z在是住到往于寄送的址了离我你他她它这那]"
_COUNT = r"[\d一二三四五六七八九十百零〇两]{1,6}"
_REGION = (
    rf"(?:{_PLACE}{{2,7}}?(?:省|自治区) ?)?(?:{_PLACE}{{2,7}}?[市州盟] ?)?(?:{_PLACE}{{1,7}}?[区县旗市] ?)?"
    rf"(?:{_PLACE}{{1,6}}?(?:镇|乡|街道|开发区|工业区) ?)?"
)
_ROAD = (
    rf"{_PLACE}{{1,8}}?(?:(?<![一半上走迷铁思网套线出前后问赶让跑绕引带条])路|(?<![上逛条满沿])大?街|大道|胡同|巷|弄堂|里弄)"
    r"(?:[东西南北中]段|[东西南北一二三四五六七八九十]路|支路)?"
)
_HOUSE = rf"{_COUNT}(?:[-之]\d{{1,4}})?(?:号楼|号院|号|弄|栋|幢)(?![线口出台门舰选机码地乐])"
_COMPLEX = r"(?:小区|花园|苑|公寓|家园|新村|广场|大厦|大楼|中心|城|嘉园|府)"
_ROOM = (
    rf"(?:[ ,]?(?:{_PLACE}{{2,8}}?{_COMPLEX})?[ ,]?(?:{_COUNT}|[a-z])(?:-\d{{1,4}})*(?:号楼|号院|[号弄栋幢座层楼室房铺]|单元))*"
    r"(?: ?\d{2,4}(?!\d|[元块年人个]))?"
)
_FLAT = rf"(?:{_COUNT}单元)?(?:{_COUNT}[层楼])?(?:{_COUNT}[室房号]|\d{{3,4}}(?!\d))"
_ESTATE = rf"{_PLACE}{{2,8}}?{_COMPLEX}(?:{_COUNT}|[a-z])(?:号楼|[栋幢座号]){_FLAT}"
_BUILDING = rf"{_COUNT}(?:号楼|[栋幢]){_FLAT}"
_VILLAGE = rf"{_PLACE}{{1,6}}?[镇乡县区市]{_PLACE}{{1,6}}?[村庄屯]{_COUNT}[号组队](?:{_COUNT}号)?"

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SIGN = "[A-HJ-NP-Za-hj-np-z0-9]"


def _kind(placeholder: str, pattern: str, is_real: Callable[[re.Match[str]], bool] = lambda match: True) -> _Kind:
    return _Kind(placeholder, re.compile(pattern, re.IGNORECASE), is_real)


_KINDS = (
    _kind(
        EMAIL,
        r"(?<![a-z0-9_.+-])(?P<data>[a-z0-9][a-z0-9_.+-]{0,63} ?(?:@|#(?=[a-z0-9-]+\.)) ?"
        r"[a-z0-9-]+(?:\.[a-z0-9-]+){0,3}\.[a-z]{2,6})"
        r"(?![a-z0-9@])",
    ),
    _kind(
        NUMBER,
        r"(?<!\d)(?P<data>[1-9]\d{5}[ -]?(?:18|19|20)\d\d[ -]?\d\d[ -]?\d\d[ -]?\d{3}[ -]?[\dx]"
        r"|[1-9]\d{3}([ -])\d{4}\2\d{4}\2\d{4}\2\d[\dx])(?![\da-z])",
        _is_identity_card,
    ),
    _kind(
        NUMBER,
        r"(?<![\d.-])(?P<data>[3-69]\d{15,18}|[3-69]\d{3}([ -])\d{4}\2\d{4}\2\d{4}(?:\2\d{1,3})?|[3-69]\d{5}[ -]\d{10,13})(?!\d)",
        _is_bank_card,
    ),
    _kind(
        NUMBER,
        rf"(?:(?<![\da-z.])|(?<=tel))(?P<data>(?:(?:\+|00)?86[ -]?|\(\+?86\) ?)?(?:{_MOBILE}))(?!\.?\d){_UNIT}",
        _is_persons,
    ),
    _kind(NUMBER, rf"(?:(?<![\da-z.-])|(?<=tel))(?P<data>{_LANDLINE})(?!\d){_UNIT}", _is_persons),
    _kind(NUMBER, rf"{_PHONE_SAID}(?P<data>[2-8]\d{{2,3}}[ -]?\d{{4}})(?!\d){_UNIT}"),
    _kind(ACCOUNT, rf"{_QQ}{_LINK}{{0,6}}(?P<data>[1-9](?:\d{{4,10}}|\d{{2,3}}(?:[ -]\d{{3,4}}){{1,2}}))(?!\.?\d){_UNIT}"),
    _kind(ACCOUNT, rf"(?<![\d.])(?P<data>[1-9]\d{{4,10}}){_MINE}{_QQ}"),
    _kind(ACCOUNT, rf"(?:(?P<said>{_WECHAT_SAID})|{_WECHAT}{_LINK}{{0,6}}){_ID}(?![a-z0-9])", _is_wechat_id),
    _kind(ACCOUNT, rf"(?<![a-z0-9]){_ID}{_MINE}{_WECHAT}(?:号|$|[,，。！])", _is_account),
    _kind(ACCOUNT, rf"{_WECHAT}{_LINK}{{0,6}}(?P<data>[1-9]\d{{5,10}})(?!\.?\d){_UNIT}"),
    _kind(
        PLATE,
        rf"(?P<data>[{_PROVINCES}][A-HJ-Z][ ·•.-]?"
        rf"(?:[DF]{_SIGN}\d{{4}}|\d{{5}}[DF]|{_SIGN}{{4}}(?:{_SIGN}|[挂学警港澳])))(?![a-z0-9])",
        _is_plate,
    ),
    _kind(ADDRESS, rf"(?P<data>{_REGION}(?:{_ROAD}{_HOUSE}{_ROOM}|{_ESTATE}|{_VILLAGE})|{_BUILDING})"),
)

# One scan decides for nearly every message: first a character that nothing personal can do without, then what it must stand
# beside. Without it the patterns above cost ten times the rest of cleaning.
_DIGIT = rf"\d{_NUMERALS}"
MAY_HOLD_PERSONAL_DATA = re.compile(
    rf"[{_DIGIT}十百@＠#A-Za-zＡ-Ｚａ-ｚ微威薇维溦徽卫]"
    rf"(?:(?<=[{_DIGIT}])(?:[ .　–—－-]?[{_DIGIT}]){{4}}"
    rf"|(?<=[{_DIGIT}十百])[号栋幢弄座组队]"
    r"|(?<=[@＠])|(?<=#)[A-Za-z0-9-]+\."
    r"|(?<=[微威薇维溦徽卫])[信芯星号XxＸｘ]|(?<=[VvＶｖWwＷｗ])[ -]?(?:[Xx信:：＋+是加号Ｘｘ]|echat|eixin)|(?<=加[VvＶｖ])"
    rf"|(?<=[{_PROVINCES}][A-Za-zＡ-Ｚａ-ｚ])[ ·•.-]?[A-Za-z0-9Ａ-Ｚａ-ｚ０-９])"
)
