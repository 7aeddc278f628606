"""Reasons to drop a message, each a small function in the table `DROPPING_RULES`; all look at one normalised, rewritten message.

The words that rules look for are few and plain on purpose: a rule that drops good talk costs more than one that misses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chitchat.config import PrepareConfig
from chitchat.corpus.rules.base import Rule, one_of
from chitchat.corpus.rules.mojibake import MOJIBAKE_SIGNS, is_mojibake
from chitchat.corpus.rules.personal_data import PLACEHOLDERS


@dataclass(frozen=True, slots=True, eq=False)
class DroppingRule(Rule):
    """A reason to drop a message; `breaks` is asked about each."""

    breaks: Callable[[str, PrepareConfig], bool]


def is_empty(message: str, config: PrepareConfig) -> bool:
    return not message


def is_too_short(message: str, config: PrepareConfig) -> bool:
    return len(message) < config.min_message_chars


def is_too_long(message: str, config: PrepareConfig) -> bool:
    return len(message) > config.max_message_chars


def has_no_content(message: str, config: PrepareConfig) -> bool:
    """True for rulers and stray signs (----, |, ，); ？？？, …… and faces such as ^_^ or :) are talk."""
    if SAYS_SOMETHING.search(message):
        return False
    return len(set(message)) < 2 and not any(unicodedata.category(character) == "So" for character in message)


SAYS_SOMETHING = re.compile(r"[^\W_]|[？！。…～~?!\U0001f000-\U0001faff]")


def is_garbled(message: str, config: PrepareConfig) -> bool:
    """True for text decoded wrongly at some time, for drawings, and for codes of forty letters and digits."""
    if is_mojibake(message) or _CODE.search(message):
        return True
    return len(_DRAWING.findall(message)) >= max(6, (len(message) - message.count(" ")) / 2)


_CODE = re.compile(r"[A-Za-z][A-Za-z0-9+/=_-]{39}")
_DRAWING_SIGNS = "".join(map(chr, (*range(0x2190, 0x2400), *range(0x2500, 0x2600))))
_DRAWING = one_of(_DRAWING_SIGNS)
_HAN = re.compile(r"[\u4e00-\u9fff]")


def is_not_chinese(message: str, config: PrepareConfig) -> bool:
    """True for a sentence in another script; a word or a name in one (OK, の, iPhone) is part of Chinese talk."""
    han = len(_HAN.findall(message))
    other = len(_OTHER_SCRIPT.findall(message))
    return (other >= 4 and other > han) or (_MUCH_LATIN.search(message) is not None and len(_LATIN.findall(message)) >= 4 * han)


_OTHER_LETTERS = "".join(  # Cyrillic, Hebrew and Arabic, India's, Thai and Lao, Hangul, kana
    map(chr, (*range(0x400, 0x530), *range(0x590, 0x700), *range(0x900, 0xF00), *range(0x1100, 0x1200), *range(0xAC00, 0xD7B0)))
) + "".join(map(chr, range(0x3041, 0x30FB)))
_OTHER_SCRIPT = one_of(_OTHER_LETTERS)
_LATIN = re.compile(r"[A-Za-z]")
# Forty letters and digits on end, or twenty letters with no long pause between.
_MUCH_LATIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9+/=_-]{39}|(?:[^A-Za-z\n]{0,40}[A-Za-z]){19})")


def is_advert(message: str, config: PrepareConfig) -> bool:
    return _ADVERT.search(message) is not None


# Each begins with a character and not a group, so that one scan for the first characters passes over nearly all text.
_ADVERT = re.compile(
    "诚招|招代理|招加盟|诚信(?:代购|经营)|日赚|日结(?:工资|兼职|[，。！0-9])|刷[单钻粉].{0,10}(?:[0-9]元|日结|兼职|佣金|某[号账])|代开发票|无抵押|低息贷"
    "|兼职.{0,12}(?:日结|[0-9]元?[/每一]|某[号账])|办证.{0,8}(?:刻章|某[号账])|贷款.{0,8}(?:秒批|放款|当天|下款)"
    "|高仿.{0,6}(?:包包|手表|A货|某[号账])|厂家直销|包邮.{0,6}(?:链接|私信|某[号账])|淘宝.{0,6}(?:店铺|链接|网址)"
    "|店铺(?:地址|链接|优惠)|点击.{0,6}(?:链接|下方|领取|下载)|扫码.{0,4}(?:领|关注|加|进群)|关注.{0,4}(?:公众号|微信号).{0,12}(?:领|送|回复)"
    "|免费(?:领取|试用)|限时(?:特价|优惠|抢购|秒杀)|欢迎(?:选购|订购|来电|拨打|光临本店|新老|咨询)|咨询(?:电话|热线|微信)?[：:]?某[号账]|订购(?:电话|热线)"
    "|加盟(?:电话|热线|费)|转发.{0,10}(?:抽奖|抽取|送出|有机会获)|互粉|求互关|涨粉|六合彩|时时彩|网赚|代购.{0,6}(?:联系|私信|某[号账])|私信(?:下单|购买|领取)"
)


def is_contact(message: str, config: PrepareConfig) -> bool:
    """True for a message that says hardly more than masked personal data."""
    rest, masks = _PLACEHOLDER.subn("", message)
    return masks > 0 and len(_LETTER.findall(rest)) <= 3


_PLACEHOLDER = re.compile("|".join(PLACEHOLDERS))
_LETTER = re.compile(r"[^\W_]")

ABUSIVE_WORDS: Mapping[str, str] = {
    "insults": (
        "傻[逼比Bb屄]|煞笔|操你|肏|艹你|日你[妈娘]|草你[妈娘]|妈了?个?[逼屄]|狗日的|狗娘养|婊子|贱[人货]|骚货|滚你妈|你妈死|死全家|全家死|王八蛋|杂种"
        "|臭[婊傻]|死妈|尼玛[逼比]|cnm|nmsl|SB(?<![A-Za-z]SB)(?![A-Za-z])|sb(?<![A-Za-z]sb)(?![A-Za-z])"
    ),
    "sexual": "约炮|卖淫|嫖娼|强奸|轮奸|口交|肛交|鸡巴|阴茎|阴道|射精|自慰|手淫|裸聊|做爱|A片|黄片|幼女|乱伦",
    "slurs": "支那|黑鬼|尼哥|高丽棒子|印度阿三|死基佬|死娘炮|外地狗|乡下狗",
}
"""Categories of words nobody should learn to say, as patterns."""
_CATEGORIES = {"insults": "辱骂", "sexual": "色情", "slurs": "歧视"}


def _abusive(category: str) -> DroppingRule:
    words = re.compile(ABUSIVE_WORDS[category])
    return DroppingRule(
        category, f"含{_CATEGORIES[category]}词语", lambda message, config: words.search(message) is not None, words=words.pattern
    )


DROPPING_RULES: tuple[DroppingRule, ...] = (
    DroppingRule("empty", "空消息", is_empty),
    DroppingRule("too_short", "消息太短", is_too_short),
    DroppingRule("too_long", "消息太长", is_too_long),
    DroppingRule("no_content", "消息里没有文字或表情", has_no_content),
    DroppingRule("garbled", "乱码", is_garbled, signs=MOJIBAKE_SIGNS + _DRAWING_SIGNS, needs=_MUCH_LATIN),
    DroppingRule("not_chinese", "不是中文", is_not_chinese, signs=_OTHER_LETTERS, needs=_MUCH_LATIN),
    DroppingRule("adverts", "广告", is_advert, words=_ADVERT.pattern),
    DroppingRule("contacts", "只有联系方式", is_contact, words=_PLACEHOLDER.pattern),
    *map(_abusive, ABUSIVE_WORDS),
)
