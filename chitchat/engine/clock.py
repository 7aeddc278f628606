"""Date and time, told from the clock when the user asks for them and for nothing else.

The lunar calendar and the festivals are those of the library borax, from 1900 to 2100.
"""

from __future__ import annotations

import calendar
import re
import unicodedata
from bisect import bisect
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

from chitchat.dialogue import Message
from chitchat.engine.pattern import Pattern

WEEKDAYS = "一二三四五六日"
SATURDAY = 5
_PARTS_OF_DAY = ((5, "凌晨"), (8, "早上"), (11, "上午"), (13, "中午"), (18, "下午"), (24, "晚上"))
"""(first hour after it, name); 0 to 4 o'clock is 凌晨."""
_DAYS = {
    "大前天": -3,
    "大后天": 3,
    "前天": -2,
    "昨天": -1,
    "昨日": -1,
    "今天": 0,
    "今日": 0,
    "今儿": 0,
    "明天": 1,
    "明日": 1,
    "明儿": 1,
    "后天": 2,
}
"""Days from today; what contains another comes first."""
_SEASONS = ((2, 4), (5, 6), (8, 8), (11, 8))
"""立春, 立夏, 立秋 and 立冬, give or take a day."""
_YEARS = {"大前年": -3, "前年": -2, "去年": -1, "明年": 1, "大后年": 3, "后年": 2}
_FESTIVALS = {
    "春节": "春节|过年|过大年|大年初一|年初一|农历新年",
    "除夕": "除夕|大年三十|年三十",
    "元宵节": "元宵",
    "端午节": "端午",
    "七夕": "七夕",
    "中元节": "中元节|鬼节",
    "中秋节": "中秋",
    "重阳节": "重阳",
    "腊八节": "腊八",
    "清明": "清明",
    "冬至": "冬至",
    "元旦": "元旦|跨年",
    "情人节": "情人节",
    "妇女节": "妇女节|女神节|三八节",
    "植树节": "植树节",
    "愚人节": "愚人节",
    "劳动节": "劳动节|五一",
    "青年节": "青年节|五四",
    "母亲节": "母亲节",
    "儿童节": "儿童节|六一",
    "父亲节": "父亲节",
    "建军节": "建军节|八一",
    "教师节": "教师节",
    "国庆节": "国庆|十一(?!月)",
    "感恩节": "感恩节",
    "平安夜": "平安夜",
    "圣诞节": "圣诞",
}
"""borax's name, what people call it."""

_LONG_PAST = 90
"""Days after which 今年过年 means the coming one."""

_DAY = f"(?:{'|'.join(_DAYS)})"
_CALLED = "亲爱的|亲|宝[贝子]?|老铁|兄弟|哥们儿?|姐妹|朋友|小?叙|机器人"
_STATE = (
    "(?:我|好像|好|都|真|又|刚|才|有点)*(?:困|累|饿|忘记?|睡不着|睡?醒|没[带戴]表|没注意|没看手机|[记分搞]不清|过糊涂|懵|急|赶时间|要迟到)"
    "(?:死|着|日子)?"
)
"""What is told beside the question: why it is asked."""
_OPENING = (
    f"(?:请问|那么?|对了|{_CALLED}|{_STATE}|嘿|喂|嗨|哎|诶|[了啦呀啊]|你好|在[吗不]|打扰一?下?|谢谢|话说|麻烦|帮我|快|我?想|能不能|能|可以|可否"
    "|你?(?:知道|告诉我|说说|说一下|报一下|看看|看一下|看下|问一?下|晓得|记得))*"
)
_ENDING = (
    "(?:[了呀啊呢吗么啦吧哦噢嘛的]|来着|你?(?:知道吗|知道不|知道么)|告诉我|帮我看看|谢谢(?:你(?!知道))?|快说|在线等"
    f"|{_CALLED}|{_STATE})*"
)
_WEEK = "(?:星期|礼拜|周)"
_FESTIVAL = f"(?:{'|'.join(_FESTIVALS.values())})节?"

_FOLLOWED = tuple(re.compile(kind) for kind in (_DAY, "今年|" + "|".join(_YEARS), f"{_FESTIVAL}"))
"""What another of its kind may stand for in a question before: 今天星期几, then 明天呢."""
_AND = re.compile("(?:那么?)?[离到]?(?P<what>.{2,4})呢")
_OF_NOW = re.compile("现在|这会儿|今天|几[点号]了|(?:星期|礼拜|周)几")
_RECENT = 4
"""Questions of the user that one may go on from another: 今天几号, 明天呢, 那后天呢."""
_ABOUT_TIME = re.compile(f"几点|几[号月]|多少号|日期|哪一?天|什么日子|时间|日历|{_WEEK}几|[钟表](?!白|情|示)")
_DISOWNED = re.compile(
    "(?:没有?|看不[到见清]|不带|哪有|哪来的?)(?:戴|带|装)?(?:个|块|什么)?(?:钟|手?表(?!情|白|示)|日历|时间(?!去|来|陪|表))|(?:日历|钟|表)(?:我|这里|这儿)*(?:都|也)?没有?"
    "|[今明]天分不清|分不清.{0,3}(?:[今明]天|几号)|不知道(?:现在)?几[点号]|不看(?:钟|表|日历)"
)

Phrases = Sequence[str]
Answer = Callable[[datetime, str], Phrases]
"""(now, the question without marks) to the ways to say it."""


def clock_answer(text: str, now: datetime) -> str | None:
    """What the clock says to a question about date or time, or None when `text` asks none.

    One of a few phrasings, chosen by the minute of `now`. Only a whole message counts (`明天几点的飞机` asks about a plane),
    or the last clause of one when it asks for the present: `跑夜车呢 几点了`.
    """
    clauses = _clauses(text)
    whole, last = "".join(clauses), next((clause for clause in clauses[-1:] if _OF_NOW.match(clause)), "")
    for asked in filter(None, (whole, last)):
        for pattern, answer in _QUESTIONS:
            if pattern.may_match(asked) and pattern.regex.fullmatch(asked):
                phrases = answer(now, asked)
                return phrases[now.minute % len(phrases)]
    return None


def clock_reply(messages: Sequence[Message], now: datetime) -> str | None:
    """`clock_answer` to the last message, or to what it makes of the question before it: 今天星期几, then 明天呢."""
    asked = ""
    for text in [m.content for m in messages if m.role == "user"][-_RECENT:]:
        asked = _completed(text, asked)
    return clock_answer(asked, now)


def disowns_clock(text: str, asked: str) -> bool:
    """Whether a reply to a question about time denies the clock that the bot tells the time by."""
    return _ABOUT_TIME.search(asked) is not None and _DISOWNED.search(text) is not None


def _clauses(text: str) -> list[str]:
    return re.findall(r"[^\s，,。.？?！!~～…]+", unicodedata.normalize("NFKC", text).lower())


def _completed(text: str, before: str) -> str:
    """The question in full when the text only names another day, year or festival than the one `before`."""
    and_what = _AND.fullmatch("".join(_clauses(text)))
    kind = and_what and next((kind for kind in _FOLLOWED if kind.fullmatch(and_what["what"])), None)
    if not kind or not and_what or not before:
        return text
    return kind.sub(and_what["what"], before, count=1) if kind.search(before) else and_what["what"] + before


def _day(asked: str) -> tuple[int, str]:
    """Days from today, and how the user calls that day."""
    day = next((d for d in _DAYS if d in asked), "今天")
    return _DAYS[day], day


def _time(now: datetime, asked: str) -> Phrases:
    told = f"{part_of_day(now)}{_hour(now)}点" + (f"{now.minute}分" if now.minute else "整")
    return f"电脑上的钟是{told}。", f"现在{told}，接下来有安排吗？", f"看了眼钟，{told}。"


def _date(now: datetime, asked: str) -> Phrases:
    days, day = _day(asked)
    then = now + timedelta(days)
    told = f"{then.month}月{then.day}日，星期{WEEKDAYS[then.weekday()]}"
    return f"{day}是{told}。", f"翻了下日历，{day}{told}。", f"{day}{told}，要记什么事吗？"


def _weekday(now: datetime, asked: str) -> Phrases:
    days, day = _day(asked)
    told = f"星期{WEEKDAYS[(now + timedelta(days)).weekday()]}"
    return f"{day}{told}。", f"看了日历，{day}是{told}。", f"{told}，{day}有什么打算？" if days >= 0 else f"{day}是{told}呀。"


def _season(now: datetime, asked: str) -> Phrases:
    season = "冬春夏秋冬"[bisect(_SEASONS, (now.month, now.day))]
    return f"按节气算是{season}天，今天{now.month}月{now.day}日。", f"{now.month}月{now.day}日，节气上是{season}天。"


def _month(now: datetime, asked: str) -> Phrases:
    return f"现在是{now.month}月，{now.day}号了。", f"{now.month}月，日历翻到第{now.month}张了。"


def _year(now: datetime, asked: str) -> Phrases:
    if (year := next((y for y in _YEARS if y in asked), None)) is not None:
        return f"{year}是{now.year + _YEARS[year]}年。", f"{now.year + _YEARS[year]}年。"
    return f"今年是{now.year}年。", f"{now.year}年，电脑的日历这么写着。"


def _leap_year(now: datetime, asked: str) -> Phrases:
    kind, length = ("闰年", "二月有29天") if calendar.isleap(now.year) else ("平年", "二月只有28天")
    return f"{now.year}年是{kind}，{length}。", f"今年是{kind}，{length}。"


def _weekend(now: datetime, asked: str) -> Phrases:
    left = SATURDAY - now.weekday()
    if left <= 0:
        return "今天就是周末，好好歇着。", "不用等，已经是周末了，想怎么过？"
    return f"离周六还有{left}天，再撑一撑。", f"今天星期{WEEKDAYS[now.weekday()]}，还有{left}天到周末。"


def _is_weekend(now: datetime, asked: str) -> Phrases:
    days, day = _day(asked)
    then = now + timedelta(days)
    told = f"星期{WEEKDAYS[then.weekday()]}"
    if then.weekday() >= SATURDAY:
        return f"是，{day}{told}，正是周末。", f"对，{told}，可以歇歇。"
    return f"还不是，{day}{told}。", f"{day}{told}，离周末还有{SATURDAY - then.weekday()}天。"


def _part_of_day(now: datetime, asked: str) -> Phrases:
    told = f"{part_of_day(now)}{_hour(now)}点" + ("多" if now.minute else "")
    return f"现在是{told}。", f"看钟是{told}，你那边的窗外也这么说吧？"


def _lunar(now: datetime, asked: str) -> Phrases:
    from borax.calendars.lunardate import LunarDate  # only here: ten milliseconds of every start

    days, day = _day(asked)
    then = LunarDate.from_solar((now + timedelta(days)).date())
    told = f"{then.cn_leap}{then.cn_month}月{then.cn_day_calendar if then.day == 1 else then.cn_day}"
    return f"{day}是农历{told}。", f"翻了老黄历，{day}{told}。"


def _lunar_year(now: datetime, asked: str) -> Phrases:
    from borax.calendars.lunardate import LunarDate

    year = next((y for y in _YEARS if y in asked), "今年")
    # the middle of the year: before the Spring Festival it is still the old animal's
    then = LunarDate.from_solar(date(now.year + _YEARS.get(year, 0), 7, 1))
    return f"{year}是{then.gz_year}年，{then.animal}年。", f"{year}属{then.animal}。"


def _holiday(now: datetime, asked: str) -> Phrases:
    from borax.calendars.festivals2 import FestivalLibrary

    days, day = _day(asked)
    festivals = FestivalLibrary.load_builtin()
    if names := festivals.get_festival_names((now + timedelta(days)).date()):
        return (
            f"{day}是{'、'.join(names)}。",
            f"{'、'.join(names)}，打算怎么过？" if days >= 0 else f"{day}是{'、'.join(names)}。",
        )
    left, then, festival = min((*f.countdown(now.date()), f.name) for f in festivals)
    return f"{day}不是什么节，最近的是{festival}，还有{left}天。", f"日历上{day}空着，再过{left}天是{festival}。"


def _festival(now: datetime, asked: str) -> Phrases:
    from borax.calendars.festivals2 import FestivalLibrary

    name = next(name for name, called in _FESTIVALS.items() if re.search(called, asked))
    year = now.year + next((_YEARS[y] for y in _YEARS if y in asked), 0)
    festival = FestivalLibrary.load_builtin().get_festival(name)
    assert festival is not None, name
    solar = [wrapped.solar for wrapped in festival.list_days(date(year, 1, 1), date(year, 12, 31))]
    if year == now.year and "今年" not in asked:  # the coming one
        solar = [wrapped.solar for wrapped in festival.list_days(now.date(), date(year + 1, 12, 31))]
    is_to_come = re.search("还[有剩差]|^[离距到]", asked) is not None
    if (past := (now.date() - solar[0]).days) > _LONG_PAST or past > 0 and is_to_come:
        solar = [wrapped.solar for wrapped in festival.list_days(now.date(), date(year + 2, 1, 1))]
    then = solar[0]
    left = (then - now.date()).days
    told = f"{'' if then.year == now.year else f'{then.year}年'}{then.month}月{then.day}日，星期{WEEKDAYS[then.weekday()]}"
    if left == 0:
        return f"就是今天呀，{name}快乐。" if name not in ("清明", "中元节") else "就是今天。", f"今天就是{name}。"
    if left < 0:
        return f"{name}是{told}，已经过了{-left}天。", f"{told}，过去{-left}天了。"
    return f"{name}是{told}，还有{left}天。", f"还有{left}天，{told}。"


def _age(now: datetime, asked: str) -> Phrases:
    born = re.search(_BIRTH_YEAR, asked)
    assert born is not None, asked
    year = int("".join(str(_DIGITS.index(d)) if d in _DIGITS else d for d in born["year"].replace("〇", "零")))
    if year < 100:
        year += 2000 if year <= now.year % 100 else 1900
    named = next((y for y in _YEARS if y in asked[born.end() :]), "今年")
    if (age := now.year + _YEARS.get(named, 0) - year) < 0:
        return f"{year}年的，{named}还没出生呢。", f"{named}还没有{year}年的人。"
    return f"{year}年的，{named}满{age}岁，虚岁{age + 1}。", f"{named}满{age}，生日没过就还是{max(age - 1, 0)}。"


def part_of_day(now: datetime) -> str:
    """凌晨 (0-4), 早上 (5-7), 上午 (8-10), 中午 (11-12), 下午 (13-17) or 晚上 (18-23)."""
    return next(name for end, name in _PARTS_OF_DAY if now.hour < end)


def _hour(now: datetime) -> int:
    """The hour as it is said: 1 to 12, and 0 at midnight."""
    return now.hour if now.hour <= 12 else now.hour - 12


def _question(body: str, answer: Answer) -> tuple[Pattern, Answer]:
    return Pattern(f"{_OPENING}(?:{body}){_ENDING}", __name__), answer


_PART = "(?:早上|上午|白天|中午|下午|傍晚|凌晨|半夜|夜里|晚上|黑夜)"
_NUMBER = r"(?:\d+|[一二三四五六七八九十日天]+)"
_DIGITS = "零一二三四五六七八九"
_BIRTH_YEAR = rf"(?P<year>(?:19|20)\d\d|\d\d|[一二][{_DIGITS}〇]{{3}}|[{_DIGITS}〇]{{2}})年"
_NOW = "(?:现在|这会儿|此刻|眼下|当前|目前|你那边?|你那里|北京时间)*(?:是|都|已经|到)*"
_QUESTIONS = (
    _question(
        f"{_NOW}(?:几点钟?(?:几分)?|什么时间|多少点|什么钟点)|(?:现在|这会儿|此刻|眼下)(?:是|都|已经|到)*(?:什么|啥)时候|(?:现在|当前|北京)(?:的)?时间(?:是(?:多少|几点|什么))?"
        "|(?:报时|报个时|看看表|看看时间|看下时间|看一下时间|时间是?多少|到几点)|(?:现在)?什么时间",
        _time,
    ),
    _question(
        f"{_DAY}?的?(?:是|到)?(?:农历|阴历|旧历)(?:的)?(?:是)?(?:几月初几|几月几号?|初几|几号|多少号?|什么日子|什么日期|日期|哪天|十几)?"
        f"|{_DAY}(?:是)?(?:初几|十几)|(?:现在)(?:是)?(?:农历|阴历)几月",
        _lunar,
    ),
    _question(
        f"(?:今年|现在|{'|'.join(_YEARS)})(?:是|算)*(?:(?:农历|阴历)?(?:的)?(?:什么年|啥年)|(?:农历|阴历)哪年|属什么|属啥|(?:什么|啥|哪个)(?:生肖|属相)(?:年)?)",
        _lunar_year,
    ),
    _question(
        f"(?:今年|离|距离?|到|{'|'.join(_YEARS)}|下一?个|还有|多久|多少天|几天|才|就)*(?:的)?{_FESTIVAL}"
        f"(?:是|还有|还剩|还差|在|到|要|那天)*(?:几月几[号日]|几[号日]|哪一?天|多少天|几天|多久|什么时候|啥时候|{_WEEK}几|多长时间)"
        f"|(?:还有|还差|再过)(?:几|多少)天(?:才|就|能)*(?:到|是|过)*{_FESTIVAL}|{_FESTIVAL}(?:快到了|到了|过了)(?:吗|没|没有)",
        _festival,
    ),
    _question(f"{_DAY}?(?:是|有|过|算)*(?:什么|啥|哪个)(?:节日|节|节气)|{_DAY}(?:是|有)*(?:过节|节日)(?:吗)?", _holiday),
    _question(
        f"{_DAY}?个?的?(?:是|到)*(?:几月几[号日]|几[号日]|多少号|什么日期|哪一?天|日期是?(?:几号|多少|什么)|几月几|个?(?:什么|啥)日子)"
        f"|{_DAY}的?日期|{_DAY}(?:是)?(?:{_NUMBER}月)?{_NUMBER}[号日](?:还是{_NUMBER}[号日]|[吗么])",
        _date,
    ),
    _question("现在(?:是|算)*(?:(?:什么|啥|哪个)季节?|[春夏秋冬][天季](?:还是[春夏秋冬][天季]|了?[吗么]))", _season),
    _question(
        f"{_DAY}?(?:是|该是|到)*{_WEEK}(?:几|多少)|{_DAY}(?:是|该是)?{_WEEK}{_NUMBER}(?:还是(?:{_WEEK})?{_NUMBER}|[吗么])",
        _weekday,
    ),
    _question("(?:现在|今天|这个月|本月|眼下)?(?:是|都)*(?:几月份?|哪个月份?|什么月份?)|这个月(?:是)?几月", _month),
    _question(
        "(?:今年|现在|今天|如今)(?:是|都)*(?:哪一?年|几几年|什么年份?|公元多少年|多少年|二零几几年|二十几年|哪个年份)|(?:是)?(?:哪一年|几几年)"
        f"|(?:{'|'.join(_YEARS)})(?:是|呢)*(?:哪一?年|几几年|公元多少年|多少年|二零几几年|哪个年份)",
        _year,
    ),
    _question("(?:今年|现在)?(?:是)*(?:不是)?(?:平年|闰年)(?:还是)?(?:平年|闰年)?", _leap_year),
    _question(
        "(?:现在|今天)?(?:离|距离|距|到)(?:周末|星期六|周六|礼拜六|双休日)(?:还有|还差|还要|还剩)?(?:多少|几)天|(?:还有|还差|还要)(?:几|多少)天(?:才)?(?:到|是|就到|就是)?周末"
        "|周末还有(?:几|多少)天|(?:还有)?(?:几|多少)天(?:到|才到)周末",
        _weekend,
    ),
    _question(f"{_DAY}?(?:是不是|算不算|是|算)周末|{_DAY}(?:是不是|是)(?:星期[六日天]|周[六日])", _is_weekend),
    _question(
        f"(?:现在|这会儿|此刻)(?:是|算)*{_PART}了?(?:[吗么]|(?:还是|或者)是?{_PART})|现在是?(?:早晚|什么时段|哪个时段)",
        _part_of_day,
    ),
    _question(
        rf"[^你\d]{{0,6}}?{_BIRTH_YEAR}(?:\d+月)?(?:\d+[号日])?(?:出?生)?(?:的|人)*[那我他她]*(?:今年|现在|到|{'|'.join(_YEARS)})*(?:应该|该|是|算|有)*"
        "(?:多大|几岁|多少岁)",
        _age,
    ),
)
