"""The clock answers questions about date and time, right and in words, and keeps out of all other talk."""

import re
from datetime import datetime, timedelta

import pytest

from chitchat.engine.clock import clock_answer, part_of_day

WEDNESDAY = datetime(2026, 3, 4, 15, 20)
SATURDAY = datetime(2026, 3, 7, 0, 0)
NEW_YEARS_EVE = datetime(2027, 12, 31, 23, 59)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("现在几点", "下午3点20分"),
        ("几点了？", "下午3点20分"),
        ("请问现在几点了呀", "下午3点20分"),
        ("你知道现在几点吗", "下午3点20分"),
        ("现在是什么时间", "下午3点20分"),
        ("小叙，报个时", "下午3点20分"),
        ("今天几号", "3月4日"),
        ("今天是几月几号啊", "3月4日"),
        ("今天是什么日子", "3月4日"),
        ("今天星期几", "星期三"),
        ("今天礼拜几呀", "星期三"),
        ("明天周几", "星期四"),
        ("后天几号", "3月6日"),
        ("昨天是几号来着", "3月3日"),
        ("大前天星期几", "星期日"),
        ("今年是哪一年", "2026年"),
        ("今天几号了呀宝", "月"),
        ("亲爱的现在几点了", "点"),
        ("哎现在几点了我好困", "点"),
        ("现在几月了", "3月"),
        ("离周末还有几天", "3天"),
        ("今天是周末吗", "星期三"),
        ("今年是平年还是闰年", "平年"),
        ("现在是早上还是晚上", "下午3点多"),
        ("现在是白天吗", "下午"),
    ],
)
def test_answers_from_the_clock(question: str, told: str) -> None:
    for minute in range(20, 24):
        answer = clock_answer(question, WEDNESDAY.replace(minute=minute))
        assert answer is not None
        assert told.replace("20分", f"{minute}分") in answer


def test_counts_over_the_end_of_a_month_and_a_year() -> None:
    assert "1月1日，星期六" in (clock_answer("明天几号", NEW_YEARS_EVE) or "")
    assert "2月28日" in (clock_answer("昨天几号", datetime(2026, 3, 1, 9)) or "")
    assert "闰年" in (clock_answer("今年闰年吗", datetime(2028, 1, 1)) or "")


def test_tells_midnight_noon_and_the_weekend() -> None:
    assert "凌晨0点整" in (clock_answer("几点了", SATURDAY) or "")
    assert "中午12点5分" in (clock_answer("几点了", datetime(2026, 3, 7, 12, 5)) or "")
    assert "周末" in (clock_answer("离周末还有几天", SATURDAY) or "")
    parts = [part_of_day(SATURDAY + timedelta(hours=h)) for h in (0, 4, 5, 8, 11, 13, 17, 18, 23)]
    assert parts == ["凌晨", "凌晨", "早上", "上午", "中午", "下午", "下午", "晚上", "晚上"]


def test_the_phrasing_changes_with_the_minute_and_only_with_it() -> None:
    answers = {clock_answer("几点了", WEDNESDAY.replace(minute=m)) for m in range(1, 4)}
    assert len({(a or "").split("下午")[0] for a in answers}) == 3
    assert clock_answer("几点了", WEDNESDAY) == clock_answer("几点了", WEDNESDAY)


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("今天农历几号", "正月十六"),
        ("今天阴历初几", "正月十六"),
        ("农历几月几号", "正月十六"),
        ("明天初几", "正月十七"),
        ("今年是什么年", "丙午年，马年|属马"),
        ("明年属什么", "丁未年，羊年|属羊"),
        ("还有几天过年", "还有339天"),  # 6 February 2027
        ("春节是几号", "2027年2月6日，星期六"),
        ("今年春节是几号", "2月17日，星期二"),
        ("中秋节是哪天", "9月25日，星期五"),
        ("离国庆还有多少天", "还有211天"),
        ("冬至是几号", "12月22日"),
        ("端午节几号来着", "6月19日"),
        ("今天是什么节日", "妇女节.*还有4天|再过4天是妇女节"),
        ("明年是哪一年", "明年是2027年|^2027年"),
        ("去年是哪年", "2025年"),
    ],
)
def test_knows_the_lunar_calendar_and_the_festivals(question: str, told: str) -> None:
    for minute in range(2):
        assert re.search(told, clock_answer(question, WEDNESDAY.replace(minute=minute)) or "")


def test_a_festival_is_told_on_its_day_and_after_it() -> None:
    assert "妇女节" in (clock_answer("今天什么节", datetime(2026, 3, 8, 9)) or "")
    assert "今天" in (clock_answer("春节是哪天", datetime(2027, 2, 6, 9)) or "")
    assert "过去15天" in (clock_answer("今年春节是几号", WEDNESDAY.replace(minute=1)) or "")
    assert "除夕" in (clock_answer("明天什么节日", datetime(2027, 2, 4, 9)) or "")


@pytest.mark.parametrize(
    "text",
    [
        "几点了还不睡",
        "过年几天没睡好",
        "国庆去哪玩",
        "中秋吃月饼了吗",
        "明年我就三十了",
        "明天几点的飞机",
        "生日是几号",
        "你几点睡",
        "昨天几号楼",
        "你生日几月几号",
        "今天几点下班",
        "我们几点见",
        "今天星期三了",
        "今天天气怎么样",
        "今天是我生日",
        "周末去哪玩",
        "几号线能到",
        "现在的年轻人",
        "什么时候回来",
        "晚上好",
        "都几点了你还没睡",
        "你是哪一年出生的",
        "你好",
        "",
    ],
)
def test_keeps_out_of_other_talk(text: str) -> None:
    assert clock_answer(text, WEDNESDAY) is None


def test_in_november_this_years_festival_is_the_coming_one() -> None:
    told = {clock_answer("今年过年是几号", datetime(2026, 11, 28, 9, minute)) for minute in range(3)}
    assert all(answer is not None and "2027年2月6日" in answer for answer in told)
