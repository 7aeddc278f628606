"""What is taken out of a message or written otherwise, each rule a small function in the table `REWRITING_RULES`.

Knows what Weibo, forums and web pages leave in their text. Every rule gets a normalised message and gives one back, the same
object when it has nothing to do; `rewrite` repeats them until nothing changes, so that cleaning twice is cleaning once.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from chitchat.corpus.normalisation import normalise
from chitchat.corpus.rules.base import Rule, one_of, triggers
from chitchat.corpus.rules.mojibake import is_mojibake
from chitchat.corpus.rules.personal_data import MAY_HOLD_PERSONAL_DATA, redact
from chitchat.errors import ConfigError

MAX_REPEATS = 3
_MAX_PASSES = 8


@dataclass(frozen=True, slots=True, eq=False)
class RewritingRule(Rule):
    """A way to rewrite a message."""

    rewrite: Callable[[str], str]


def rewrite(message: str, rules: tuple[RewritingRule, ...], *, normalised: bool = True) -> tuple[str, tuple[str, ...]]:
    """The message after all rules, and the names of those that changed it."""
    changed: dict[str, None] = {}
    for _ in range(_MAX_PASSES):
        before = message
        for trigger, rule in _with_triggers(rules):
            if trigger.search(message) and (after := rule.rewrite(message)) != message:
                message = after
                changed[rule.name] = None
        if message == before:
            break
        # A word taken out leaves spaces, or a mark at the start that belonged to it.
        message = normalise(message) if normalised else message.strip()
    return message, tuple(changed)


@lru_cache
def _with_triggers(rules: tuple[RewritingRule, ...]) -> tuple[tuple[re.Pattern[str], RewritingRule], ...]:
    return tuple((pattern, rule) for rule in rules for pattern in triggers((rule,)))


def without_markup(message: str) -> str:
    """No HTML: entities as the characters they stand for, tags gone; <天天向上> is a title and stays."""
    return _ENTITY.sub(_character, _TAG.sub(" ", message))


def _character(entity: re.Match[str]) -> str:
    escaped = f"&{entity[1]};"
    character = html.unescape(escaped)
    return entity[0] if character == escaped else character


_ENTITY = re.compile(r"&(#?[A-Za-z0-9]{2,8})[;；]")  # normalisation makes the mark wide before a Han character
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*(?:\s[^<>]{0,500})?/?>")


def without_urls(message: str) -> str:
    return _URL.sub(" ", message)


_URL = re.compile(r"(?:https?://|(?<![a-z0-9])www\.|(?<![a-z0-9@.])t\.cn/)[!-;=?-~]*|网页链接", re.IGNORECASE)


def without_reposts(message: str) -> str:
    """Weibo's chain of reposts //@某某：… gone, for it is what others said before."""
    return _REPOST.sub("", message)


_REPOST = re.compile(r"^转发微博| ?//+ ?@.*", re.DOTALL)


def without_reply_prefix(message: str) -> str:
    return _REPLY_PREFIX.sub("", message)


_REPLY_PREFIX = re.compile(
    r"^(?:回复|回覆|Re|reply)(?![得了我你他她说的一是消])(?: ?@[^：:\s]{1,30}| ?[^\s：:，。！？,.!?@]{1,16}) ?[：:] ?",
    re.IGNORECASE,
)


def without_mentions(message: str) -> str:
    """No @某某; 牛奶@咖啡, @我 and a@b.com stay."""
    return _MENTION.sub(" ", message)


# After a letter the name must end at a space or the line's end: nicknames hold no spaces, sentences that follow no boundary.
_MENTION = re.compile(
    r"(?:(?<!\w)@(?!我|你|他|她|人|大家|所有人|全体)[\w·.-]{1,30}(?:（[^（）]{1,20}）)?[：:]?"
    r"|(?<=[^\W\da-z_])@(?!我|你|他|她|人|大家|所有人|全体)[\w·.-]{2,12}(?=\s|$))",
    re.IGNORECASE,
)


def without_hashtags(message: str) -> str:
    """No #话题#; C#和F# and #1 stay."""
    return _HASHTAG.sub(" ", message)


_HASHTAG = re.compile(r"(?<![A-Za-z0-9#])#(?![\s#])[^#\n]{1,40}(?<!\s)#(?![0-9#])")


def without_bracket_emoticons(message: str) -> str:
    """No [doge], [捂脸]: pictures that only the platform shows; 吃[酸菜鱼]呢, a word in a sentence, stays."""
    return _EMOTICON.sub("", message)


_EMOTICON = re.compile(r"\[(?:[\u4e00-\u9fff]{0,4}[A-Za-z]{1,10}|[\u4e00-\u9fff]{1,4}(?=\](?:$|[^\w])))\]")


def without_kaomoji(message: str) -> str:
    """No faces of signs that no vocabulary holds, (╯°□°)╯ or ⊙▽⊙; those that one types, (^_^) or T_T, are talk and stay."""
    return _KAOMOJI.sub("", message)


_FACE_SIGNS = "▽∇ωΩДд益皿□◇◡◕◠‿ᴗ´｀˘≧≦⊙◎❛❀￣ノ゜ﾟ∩∪ﾉεэಠ╥﹏╭╮╯╰┻━┐┌→←°•̀́⌒∀◉●○◑ºóòÒÓ＾︶︿ˊˋ﹃｡∂☉♡✧✿ヘ・ヮ눈ω"
_ARM = "[ヾヽ╮╭╰╯ᕙᕗ٩و۶ノﾉ୨୧づっ彡シ┻━┴┬☆★✧♡゜ﾟ～~〜Σ]"
_EYE = "[￣≧≦⊙◎→←◕ಠ╥•⌒◉눈︶︿☉°]"
_KAOMOJI = re.compile(
    rf"[oOdm\\]?{_ARM}*[(（](?=[^()（）\u4e00-\u9fff]{{0,14}}[{_FACE_SIGNS}])(?=[^()（）\u4e00-\u9fff]{{3,16}}[)）])"
    rf"(?![\d .]*°[\d .CF]*[)）])[^()（）\u4e00-\u9fff]{{3,16}}[)）][ob/\\]?{_ARM}*"
    rf"|=?{_ARM}?{_EYE} ?[_ωдД▽∀﹏︿.oO□〇3-]{{1,3}} ?{_EYE}=?{_ARM}?"
)


def without_emoji(message: str) -> str:
    return _EMOJI.sub("", message)


_EMOJI = re.compile("[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55\u200d\ufe0f\u20e3]+")


def with_three_repeats(message: str) -> str:
    """哈哈哈哈哈哈 as 哈哈哈; of digits only those that laugh or cry (666666, 23333, 5555)."""
    message = _REPEATED.sub(r"\1" * MAX_REPEATS, message)
    return _LAUGHING_DIGITS.sub(r"\1" + r"\2" * MAX_REPEATS, message)


_REPEATED = re.compile(r"(?!A{4,5}级)([^\W\d]|[^\w\s…—])\1{3,}")
_LAUGHING_DIGITS = re.compile(r"(?<![\d.])(2?)([356])\2{3,}(?![\d.%]| ?[元块万亿年次个人岁号米])")


def simplified(message: str) -> str:
    """Traditional characters and Taiwan's words as the mainland writes them (OpenCC tw2sp): 軟體 as 软件; 乾隆 and 著名 stay.

    A message without a single character that only traditional text uses is left alone, and so is mojibake. Raises ConfigError
    without OpenCC.
    """
    if one_of(_TRADITIONAL).search(message) is None or is_mojibake(message):
        return message
    return _opencc().convert(message).replace("妳", "你")


class _Converter(Protocol):
    def convert(self, text: str) -> str: ...


@lru_cache(maxsize=1)
def _opencc() -> _Converter:
    try:
        from opencc import OpenCC
    except ImportError:
        raise ConfigError(
            "语料里有繁体字，转成简体需要 OpenCC：pip install OpenCC；或用 --rules-off traditional 保留繁体"
        ) from None
    converter: _Converter = OpenCC("tw2sp")
    return converter


def _is_traditional(character: str) -> bool:
    """In Taiwan's character set and not in the mainland's; 著 and 乾, which simplified text uses too, are in both."""
    return bool(character.encode("big5", "ignore")) and not character.encode("gb2312", "ignore")


_SIMPLIFIED_TOO = frozenset("囧喆堃煊玥琪璟珺祎镕")
"""What simplified text uses beyond GB 2312, and OpenCC leaves as it is."""
_TRADITIONAL = "妳" + "".join(c for c in map(chr, range(0x4E00, 0xA000)) if _is_traditional(c) and c not in _SIMPLIFIED_TOO)

REWRITING_RULES: tuple[RewritingRule, ...] = (
    RewritingRule("markup", "去掉 HTML 标签与实体", without_markup, signs="<&"),
    RewritingRule("urls", "去掉网址", without_urls, signs="./链"),
    RewritingRule("personal_data", "遮盖个人信息", redact, needs=MAY_HOLD_PERSONAL_DATA),
    RewritingRule("reposts", "去掉微博转发链（//@某某：…）", without_reposts, signs="/博"),
    RewritingRule("reply_prefixes", "去掉“回复 某某：”", without_reply_prefix, signs=":："),
    RewritingRule("mentions", "去掉 @某某", without_mentions, signs="@"),
    RewritingRule("hashtags", "去掉 #话题#", without_hashtags, signs="#"),
    RewritingRule("bracket_emoticons", "去掉 [doge] 一类的表情", without_bracket_emoticons, signs="["),
    RewritingRule("kaomoji", "去掉颜文字", without_kaomoji, signs=_FACE_SIGNS),
    RewritingRule("emoji", "去掉 emoji", without_emoji, needs=_EMOJI),
    RewritingRule("repeats", "重复的字缩到三个", with_three_repeats, needs=re.compile(r"(.)\1\1\1")),
    RewritingRule("traditional", "繁体转简体", simplified, signs=_TRADITIONAL),
)
