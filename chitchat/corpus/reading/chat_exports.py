"""What people's own chats become: WeChat's and QQ's exported messages to dialogues of two who take turns.

A dialogue is what two people say without a long pause. What nobody typed (pictures, calls, red packets, notices of the program)
is left out, and names that occur in what they say are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from chitchat.corpus.reading.encodings import UNREADABLE
from chitchat.corpus.reading.records import Messages, joined
from chitchat.corpus.reading.source_file import SourceText

SESSION_GAP = timedelta(minutes=60)
"""A longer silence ends a dialogue: what comes after it is rarely an answer to what was said before."""
MAX_SESSION_TURNS = 1000
SOMEBODY = "某某"
"""In place of a name."""
_MIN_NAME_CHARS = 2
_MAX_PREFACE_LINES = 30


class ChatMessage(NamedTuple):
    """One exported message; `names` are what the speaker is called, `speaker` is what tells speakers apart."""

    line: int
    time: datetime
    speaker: str
    names: tuple[str, ...]
    text: str


# Sessions --------------------------------------------------------------------------------------------------------------------


def sessions(messages: Iterable[ChatMessage | None]) -> Iterator[tuple[int, Messages]]:
    """Dialogues of two who take turns, each with the line it begins on; None among the messages ends one.

    One's messages in a row are one turn. In a group a third voice begins a new dialogue: whom it answers cannot be told.
    """
    names = _Names()
    turns: list[str] = []
    speakers: list[str] = []
    start = 0
    before: datetime | None = None
    for message in messages:
        if message is not None:
            names.add(message.names)
        ends = (
            message is None
            or (before is not None and abs(message.time - before) > SESSION_GAP)
            or (message.speaker not in speakers[-2:] and len(set(speakers)) == 2)
            or len(turns) >= MAX_SESSION_TURNS
        )
        if ends:
            if turns:
                yield start, tuple(turns)
            turns, speakers, before = [], [], None
        if message is None or not (text := names.replaced(spoken(message.text))):
            continue
        before = message.time
        if speakers and speakers[-1] == message.speaker:
            turns[-1] = joined(turns[-1], text)
            continue
        if not turns:
            start = message.line
        turns.append(text)
        speakers.append(message.speaker)
    if turns:
        yield start, tuple(turns)


class _Names:
    """The names met so far, and a text without them."""

    def __init__(self) -> None:
        self._by_first: dict[str, list[str]] = {}

    def add(self, names: tuple[str, ...]) -> None:
        for name in names:
            if len(name) < _MIN_NAME_CHARS or name.isdigit():
                continue
            known = self._by_first.setdefault(name[0], [])
            if name not in known:
                known.append(name)
                # The longest first, or 小明 would be taken out of 小明明.
                known.sort(key=len, reverse=True)

    def replaced(self, text: str) -> str:
        """The text with its @mentions of them removed, and other names of theirs replaced."""
        parts: list[str] = []
        copied = 0
        for place, character in enumerate(text):
            if place < copied or character not in self._by_first:
                continue
            name = next((name for name in self._by_first[character] if _stands_at(text, place, name)), None)
            if name is not None:
                before = text[copied:place]
                copied = place + len(name)
                if before.endswith("@"):
                    parts.append(before[:-1])
                    copied += text[copied : copied + 1].isspace()
                else:
                    parts += before, SOMEBODY
        return ("".join(parts) + text[copied:]).strip() if parts else text


def _stands_at(text: str, place: int, name: str) -> bool:
    """True when a name is at that place; a Latin one as a word, for Al is not in Also."""
    if not text.startswith(name, place):
        return False
    around = text[max(place - 1, 0) : place] + text[place + len(name) : place + len(name) + 1]
    return not (name.isascii() and any(character.isascii() and character.isalpha() for character in around))


# What was said ---------------------------------------------------------------------------------------------------------------

_INLINE = re.compile(r"[\[【](?:图片|照片|表情|动画表情|自定义表情|原创表情|贴纸|闪照|image|photo|sticker)[\]】]", re.IGNORECASE)
_NOT_TYPED = re.compile(
    r"[\[【](?:语音|视频|小视频|短视频|文件|链接|网页|位置|地理位置|实时位置|共享实时位置|名片|个人名片|红包|微信红包|QQ红包|转账|"
    r"微信转账|收款|语音通话|视频通话|通话|聊天记录|合并转发|小程序|音乐|分享|卡片|拍一拍|戳一戳|窗口抖动|群公告|公告|接龙|"
    r"视频号|直播|系统消息|系统提示|撤回|已撤回|未知消息|不支持的消息|voice|video|file|link)(?:消息)?[^\]】]{0,40}[\]】]"
    r"|<\?xml|<(?:msg|sysmsg|appmsg|voipmsg|img|emoji)\b",
    re.IGNORECASE,
)
_NAMED = r"(?:你|我|对方|[\"“「].{1,60}[\"”」]|.{1,24}?)"
_NOTICE = re.compile(
    rf"{_NAMED} ?撤回了一?条.{{0,4}}消息.{{0,40}}|此?消息已被?撤回.{{0,10}}"
    r"|(?:你|我|[\"“].{1,60}[\"”]) ?[拍戳]了[拍戳] ?.{1,60}"
    rf"|{_NAMED} ?(?:邀请.{{1,80}}|通过扫描.{{1,60}}|分享的二维码)?(?:加入|进入|退出)了?(?:本群|群聊|群聊天|该群)[。.]?"
    rf"|{_NAMED} ?被.{{1,40}}(?:移出|踢出)了?(?:本群|群聊)[。.]?|{_NAMED} ?(?:将)?修改?群名(?:改)?为.{{1,60}}"
    rf"|{_NAMED} ?(?:领取了.{{1,40}}红包|成为新?的?群主)[。.]?.{{0,20}}"
    rf"|{_NAMED} ?(?:被.{{0,40}}|已?被?管理员)(?:解除)?禁言.{{0,20}}"
    r"|(?:你)?(?:收到|发出)了?(?:一个)?(?:红包|转账).{0,30}|.{0,10}红包已.{0,10}(?:领完|过期|退还).{0,10}"
    r"|以上是打招呼的内容|你已添加了.{1,60}现在可以开始聊天了.?|我通过了你的朋友验证请求.{0,30}|.{0,20}开启了朋友验证.{0,60}"
    r"|(?:你们|我们)已(?:经)?是好友了?.{0,30}|对方已成功添加你.{0,20}|消息已发出，但被对方拒收了.?|.{0,30}请在手机(?:QQ|微信)?上?查看.?"
    r"|(?:(?:语音|视频)?通话)?(?:时长|已结束|已中断)[ :：]*\d{1,2}:\d{2}.{0,8}|通话(?:时长|结束|中断).{0,20}"
    r"|(?:对方)?(?:已取消|已拒绝|无应答|忙线未接听|忙线中|未接听|未应答|已在其[他它]设备接听)|(?:发起了|未接)(?:语音|视频)通话.{0,10}",
    re.DOTALL,
)
_QUOTE = re.compile(r"「[^」]*」\s*\n ?(?:[-—] ?){4,}\s*\n")
_QUOTE_LINE = re.compile(r"^[ \t]*(?:[\[【]?(?:引用|回复)[\]】]?[:：]|[\[【](?:引用|回复)[\]】]).*$", re.MULTILINE)


_NOTICE_WORD = re.compile(
    "撤回|[拍戳]了|本群|群聊|该群|群名|群主|禁言|红包|转账|招呼|聊天了|验证|好友|拒收|查看|时长|[已未]|忙线|无应答|通话"
)
_MAX_NOTICE_CHARS = 300


def spoken(text: str) -> str:
    """What a message's author typed; empty for a notice, a picture, a call or the like. Quotations of others are left out."""
    text = _QUOTE.sub("", text.strip(), count=1)
    if "引用" in text or "回复" in text:
        text = _QUOTE_LINE.sub("", text)
    text = _INLINE.sub("", text).strip()
    if _NOT_TYPED.match(text):
        return ""
    is_notice = len(text) <= _MAX_NOTICE_CHARS and _NOTICE_WORD.search(text) and _NOTICE.fullmatch(text)
    return "" if is_notice else text


# Text files ------------------------------------------------------------------------------------------------------------------

_TIME = (
    r"[\[(（]?(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[ T,]*(?:星期.|周.)? ?(上午|下午|AM|PM)? ?(\d{1,2}):(\d{2})(?::(\d{2}))?"
    r"(?:\.\d+)? ?(AM|PM)?[\])）]?"
)
_TIME_FIRST = re.compile(rf"{_TIME}[ \t]+(?P<name>\S.{{0,63}})")
_NAME_FIRST = re.compile(rf"(?P<name>\S.{{0,63}}?)[ \t]+{_TIME}[:：]?")
_WITH_TEXT = re.compile(rf"{_TIME}[ \t]+(?P<name>[^:：]{{1,40}})[:：][ \t]?(?P<text>.*)")
_TIME_ALONE = re.compile(_TIME)
_QQ_SEPARATOR = re.compile(r"={10,}|消息(?:分组|对象|记录)[:：（(].*")
_MIN_HEADER_SHARE = 0.2
_SPEAKER_ID = re.compile(r"\s*(?:\((\d{5,12})\)|<([^<>@\s]+@[^<>\s]+)>)$")
_TITLE = re.compile(r"^【[^】]{1,12}】")
_SYSTEM_NAMES = frozenset("系统消息 系统提示 系统 群系统消息 服务通知 微信团队".split())


def chat_header(lines: Sequence[str]) -> re.Pattern[str] | None:
    """How the messages of an exported chat are headed, from its first lines; None when they are no such thing."""
    counts = {
        pattern: sum(1 for line in lines if pattern.fullmatch(line.strip())) for pattern in (_TIME_FIRST, _NAME_FIRST, _WITH_TEXT)
    }
    best = _TIME_FIRST if counts[_TIME_FIRST] >= counts[_NAME_FIRST] else _NAME_FIRST
    found = [number for number, line in enumerate(lines) if best.fullmatch(line.strip())]
    is_one_by_chance = len(found) == 1 and found[0] > 0
    if not found or is_one_by_chance or found[0] > _MAX_PREFACE_LINES or len(found) < _MIN_HEADER_SHARE * (len(lines) - found[0]):
        return None
    # Text stands behind the name, not below it, when nearly every header has a colon there.
    return _WITH_TEXT if best is _TIME_FIRST and counts[_WITH_TEXT] > 0.9 * counts[_TIME_FIRST] else best


def read_chat(text: SourceText) -> Iterator[tuple[int, Messages]]:
    """WeChat's and QQ's text exports: time and name above a message, or the name first, or all on one line."""
    return sessions(_text_messages(text, chat_header(text.head_lines()) or _TIME_FIRST))


def _text_messages(text: SourceText, header: re.Pattern[str]) -> Iterator[ChatMessage | None]:
    current: ChatMessage | None = None
    body: list[str] = []
    for number, line in text.lines():
        stripped = line.strip()
        found = header.fullmatch(stripped) if _TIME_ALONE.search(stripped) else None
        is_separator = line == UNREADABLE or _QQ_SEPARATOR.fullmatch(stripped) is not None
        if found is None and not is_separator:
            body.append(stripped)
            continue
        if current is not None:
            yield current._replace(text="\n".join(body).strip())
        current, body = None, []
        if found is None:
            yield None
        elif (time := _time(found)) is None:
            text.bad(number, "没有这样的日期或时间；请改正或删去这条消息", line)
            yield None
        else:
            speaker, name = _speaker(found["name"])
            if speaker not in _SYSTEM_NAMES:
                current = ChatMessage(number, time, speaker, (name,), "")
                body = [found["text"]] if header is _WITH_TEXT else []
    if current is not None:
        yield current._replace(text="\n".join(body).strip())


def _time(match: re.Match[str]) -> datetime | None:
    year, month, day, half, hour, minute, second, half_after = (
        match.groups()[:8] if match.re is not _NAME_FIRST else match.groups()[1:9]
    )
    hours = int(hour)
    if (half or half_after) in ("下午", "PM"):
        hours = hours % 12 + 12
    try:
        return datetime(int(year), int(month), int(day), hours, int(minute), int(second or 0))
    except ValueError:
        return None


def _speaker(name: str) -> tuple[str, str]:
    """What tells a speaker apart (the number or address behind a QQ name, else the name), and the name."""
    name = name.strip().rstrip(":：")
    found = _SPEAKER_ID.search(name)
    bare = _TITLE.sub("", name[: found.start()] if found else name).strip()
    identity = (found[1] or found[2]) if found else bare
    return ("系统消息" if bare in _SYSTEM_NAMES else identity), bare


# Tables ----------------------------------------------------------------------------------------------------------------------

_TIME_NAMES = "strtime 时间 发送时间 日期 消息时间 datetime time timestamp createtime create_time msgtime".split()
_TEXT_NAMES = "strcontent 内容 消息内容 消息 content msg message text".split()
_SENDER_NAMES = "sender senderid sender_id wxid 发送者id 发送人id talker".split()
_NAME_NAMES = "remark 备注 nickname nick_name 昵称 发送人 发送者 发言人 说话人 sendername sender_name name sender".split()
_IS_SENDER_NAMES = "issender is_sender issend is_send 是否发送 是否本人".split()
_TYPE_NAMES = "type type_name typename msgtype msg_type 类型 消息类型".split()
_CHAT_NAMES = "strtalker talkerid talker_id room_name roomname chatroom session 会话 会话名称 聊天对象 群名".split()
_TEXT_TYPES = frozenset("1 文本 文本消息 文字 text 引用 引用消息 quote".split())
_YES = frozenset("1 true yes 是".split())


class ChatColumns(NamedTuple):
    """Where a table of exported messages has what; None for a column it lacks."""

    time: int
    text: int
    names: tuple[int, ...]
    sender: int | None
    is_sender: int | None
    type: int | None
    chat: int | None


def chat_columns(header: Sequence[str]) -> ChatColumns | None:
    """The columns of a WeChat export, or None when the header is of another table."""
    names = [cell.strip().strip('"').lower() for cell in header]

    def place(wanted: list[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    time, text, is_sender = place(_TIME_NAMES), place(_TEXT_NAMES), place(_IS_SENDER_NAMES)
    called = tuple(names.index(name) for name in _NAME_NAMES if name in names)
    if time is None or text is None or (not called and is_sender is None):
        return None
    return ChatColumns(time, text, called, place(_SENDER_NAMES), is_sender, place(_TYPE_NAMES), place(_CHAT_NAMES))


def read_chat_rows(
    text: SourceText, rows: Iterable[tuple[int, list[str]]], columns: ChatColumns
) -> Iterator[tuple[int, Messages]]:
    """The dialogues of a table of exported messages, in the order of its rows."""
    return sessions(_row_messages(text, rows, columns))


def _row_messages(text: SourceText, rows: Iterable[tuple[int, list[str]]], columns: ChatColumns) -> Iterator[ChatMessage | None]:
    chat = None
    for number, row in rows:
        if columns.chat is not None and row[columns.chat] != chat:
            chat = row[columns.chat]
            yield None
        if columns.type is not None and row[columns.type].strip().lower() not in _TEXT_TYPES:
            continue
        if (time := _cell_time(row[columns.time])) is None:
            text.bad(
                number,
                f"时间应如 2023-05-01 12:30:45，或是 Unix 时间，得到 {row[columns.time][:30]!r}；请改正或删去这一行",
                str(row),
            )
            continue
        called = tuple(name for column in columns.names if (name := row[column].strip()))
        speaker = row[columns.sender].strip() if columns.sender is not None else ""
        if columns.is_sender is not None and row[columns.is_sender].strip().lower() in _YES:
            speaker = "我"
        if not _SYSTEM_NAMES.intersection(called):
            yield ChatMessage(number, time, speaker or (called[0] if called else "对方"), called, row[columns.text])


def _cell_time(cell: str) -> datetime | None:
    cell = cell.strip()
    if re.fullmatch(r"\d{10}|\d{13}", cell):
        return datetime(1970, 1, 1) + timedelta(seconds=int(cell[:10]))
    found = _TIME_ALONE.match(cell)
    return _time(found) if found else None
