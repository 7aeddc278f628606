"""Which encoding a text is in: UTF-8, UTF-16, GB18030 (and so GBK and GB2312) or Big5.

Nearly any bytes decode as GB18030, so that they decode proves nothing: a guess is believed only when the characters that come out
are the ones Chinese people write most. Whatever is not believed is taken as UTF-8, where it fails with its line.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable

UNREADABLE = "\0"
"""Stands where bytes could not be decoded; a file that holds it by itself is no text either."""
CODECS = {"UTF-8": "utf-8", "UTF-16LE": "utf-16-le", "UTF-16BE": "utf-16-be", "GB18030": "gb18030", "Big5": "big5hkscs"}
"""Python's codec of each encoding by the name people know it by."""

BYTE_ENCODINGS = frozenset({"GB18030", "Big5"})
"""Those whose lines are told by the bytes of the line end, as UTF-8's are."""

_BOMS = {codecs.BOM_UTF16_LE: "UTF-16LE", codecs.BOM_UTF16_BE: "UTF-16BE"}
_MIN_COMMON_SHARE = 0.4
"""Right guesses give 0.75 and more on any 20 characters of chat, wrong ones below 0.2."""
_MIN_RARE_CHARACTERS = 12
_RARE_SHARE = 0.1
"""A line with so many different rare characters and so few frequent ones (for each rare one) is no Chinese."""
_FIRST_EAST_ASIAN = "\u2e80"
OTHER_ENCODING, NO_CHINESE = "another encoding", "no Chinese"
"""Reasons of a `UnicodeDecodeError` that is not about single bytes."""
# The 500 Han characters most frequent in chat (84 % of what is written there), and the traditional forms of those that have one.
_COMMON = frozenset(
    "的我是你了不一这有好他在么个人很还要们吗可那道呢啊看得知来就会时过也以到最没说天和都能自哈去对多想大年为上什影听电生真她心"
    "谢吧己喜欢歌下里出演点感样奖情小现子中觉呀家作学哦怎气国事些开但力给如哪错首放嗯爱日起发地主间然别解今实意后吃定明方做女行"
    "成让乐当着部太经名回问话理片月再而它只面于男手像获美该高关更果需常找所佳无友法受见之长第快动金次分新正前曲啦种周同张候近特"
    "唱相斯等试老信因谁记应题用持才公加聊确玩比帮其把门音被已导重少先专北安活打合直晚身工何届表员望非难几西东十本票儿全并跟孩边"
    "叫走从风景星两位且建进王度考害克与又挺助提通温白体完每机制华告推业朋思够系亲诉变品您格外求妈早认习岁内或三嘿嘛辑区者尔带京"
    "语希头钱剧节处拜角物号台接代清棒游荐字此德睡请播久啥算结平马支性司元适原干注住总路优办客议师期车午任死哥保达香流困水利兴刚"
    "文神入场收决杰交视买改二光服卡口绪秀式花向艺许世价失离尝怕海观单城始必评选努馆福目超由值园担识立越眼港姐址轻拉市伦低态松厉"
    "哇南步色具压林闻量湾况士五整球虑亚祝校界件强计班类山待远抱历油饭肯婚际座技父房英数准医费容约拿至四较息术型满宝伤幸切反照尼"
    "趣调画空菜笑随愿母续奇战並亞來個們倫傑傷價優兒內兩別剛劇動區厲員問喫單嗎嘗國園場壓夠媽學實寶專對導屆師帶幫幹幾張強後從愛態"
    "慮應戰擔數於時會東業樂樣機歡歲歷氣決沒況準溫滿灣為無爲爾獎獲現畫當發確種節約結給經緒總續習聞聽臺與興華著薦藝處號術裏裡見視"
    "親覺觀計記許訴評試話該認語說誰調請謝識議變讓買費車較輕輯辦這進遊過達遠適選還邊醫錢錯長門開間關際隨離難電頭題願類風飯館馬體"
    "麼點"
)


def detect_encoding(sample: bytes) -> str:
    """The key in `CODECS` of the encoding of a text's beginning; UTF-8 when nothing else is likely.

    Each line has a vote, for in a file put together from several, or damaged, no encoding fits all of them: those that do not
    fit are faults of their own lines.
    """
    for bom, name in _BOMS.items():
        if sample.startswith(bom):
            return name
    if sample.isascii() and UNREADABLE.encode() not in sample:
        return "UTF-8"
    if (wide := _detect_utf16(sample)) is not None:
        return wide
    lines = [line for line in sample.splitlines() if not line.isascii()]
    # The last one may end within a character.
    lines = lines[:-1] if len(lines) > 1 and not sample.endswith((b"\n", b"\r")) else lines
    if not lines or 2 * sum(map(_is_likely_utf8, lines)) >= len(lines) or _is_cut_utf8(sample):
        return "UTF-8"
    shares = {name: common_share(b"\n".join(lines).decode(CODECS[name], "replace")) for name in sorted(BYTE_ENCODINGS)}
    second, best = sorted(shares, key=lambda name: shares[name])
    return best if shares[best] >= max(_MIN_COMMON_SHARE, 2 * shares[second]) else "UTF-8"


def common_share(text: str) -> float:
    """The share of frequent ones among the Han characters of a text, 0 to 1; 0 when there are none.

    What a wrong guess yields besides rare Han characters counts as such: private, unassigned and replacement characters.
    """
    common, rare = _counted(text)
    return common / (common + rare) if common else 0.0


def _counted(characters: Iterable[str]) -> tuple[int, int]:
    common = rare = 0
    for character in characters:
        if character in _COMMON:
            common += 1
        elif character >= "\u3400" and (character < "\ua000" or _is_odd(character)):
            rare += 1
    return common, rare


def _is_odd(character: str) -> bool:
    return character == "\ufffd" or unicodedata.category(character) in ("Co", "Cn", "Lo")


def decode_line(raw: bytes, encoding: str) -> str:
    """A line of a GB18030 or Big5 text; raises UnicodeDecodeError when it is none, also when another encoding fits it better."""
    text = raw.decode(CODECS[encoding])
    if raw.isascii():
        return text
    if _is_likely_utf8(raw) and common_share(raw.decode("utf-8")) > common_share(text):
        raise UnicodeDecodeError(CODECS[encoding], raw, 0, len(raw), OTHER_ENCODING)
    # Of each character one: 囧囧囧囧囧囧囧囧囧囧 is talk.
    common, rare = _counted(set(text))
    is_private = any("\ue000" <= character <= "\uf8ff" for character in text)
    if (is_private and common <= rare) or (rare >= _MIN_RARE_CHARACTERS and common < _RARE_SHARE * rare):
        raise UnicodeDecodeError(CODECS[encoding], raw, 0, len(raw), NO_CHINESE)
    return text


def _detect_utf16(sample: bytes) -> str | None:
    """UTF-16 without a byte order mark; it has zero bytes, for its line ends and spaces are ASCII, and other texts have none."""
    if 0 not in sample:
        return None
    texts = {name: sample[: len(sample) & ~1].decode(CODECS[name], "replace") for name in ("UTF-16LE", "UTF-16BE")}
    best = max(texts, key=lambda name: (texts[name].isascii(), common_share(texts[name])))
    is_ascii = texts[best].isascii() and UNREADABLE not in texts[best]
    return best if is_ascii or common_share(texts[best]) >= _MIN_COMMON_SHARE else None


def _is_likely_utf8(raw: bytes) -> bool:
    """True for UTF-8, but not for what is so by chance: 谢谢 in GB18030 is лл in UTF-8."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return max(text) >= _FIRST_EAST_ASIAN or common_share(raw.decode("gb18030", "replace")) < _MIN_COMMON_SHARE


def _is_cut_utf8(sample: bytes) -> bool:
    """True for UTF-8 that ends within a character, as the beginning of a file on one line does."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(sample)
    except UnicodeDecodeError:
        return False
    return decoder.getstate()[0] != b""


def _unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNREADABLE, error.end


MARK_UNREADABLE = "chitchat.unreadable"
"""A codec error handler that puts `UNREADABLE` where bytes cannot be decoded."""
codecs.register_error(MARK_UNREADABLE, _unreadable)
