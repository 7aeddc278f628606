"""The clock answers questions about date and time, right and in words, and keeps out of all other talk."""

import re
from datetime import datetime, timedelta

import pytest

from chitchat.dialogue import as_context
from chitchat.engine.clock import clock_answer, clock_reply, disowns_clock, part_of_day

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
        ("刚睡醒，现在几点了", "下午3点20分"),
        ("兄弟，几点了，急", "下午3点20分"),
        ("跑夜车呢 几点了", "下午3点20分"),
        ("过糊涂了，真的。今天星期几啊", "星期三"),
        ("宝子在吗，今天星期几", "星期三"),
        ("我过糊涂了，今天几号来着", "3月4日"),
        ("今天是周五还是周六", "星期三"),
        ("今天是星期四吗", "星期三"),
        ("今天是5号还是6号", "3月4日"),
        ("现在是春天还是秋天", "春天"),
        ("现在什么季节", "春天"),
        ("我是1995年生的，今年多大", "31"),
        ("我95年的 现在几岁了", "31"),
        ("我表姐一九九零年的，明年多少岁", "37"),
        ("我爸05年3月生的今年多大", "21"),
        ("他是2030年的，今年多大", "还没"),
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
        "现在是晚上",
        "今天周六",
        "今天是28号",
        "几点来",
        "什么时候",
        "你是1995年的，今年多大",
        "我是1995年生的，你今年多大",
        "20年没见了，他多大了",
        "我忘了日期",
        "国庆放假几天",
        "明天呢",
        "都几点了，你还没睡",
        "你怎么才来 都几点了",
        "约了他吃饭 几点",
        "你好",
        "",
    ],
)
def test_keeps_out_of_other_talk(text: str) -> None:
    assert clock_answer(text, WEDNESDAY) is None


def test_in_november_this_years_festival_is_the_coming_one() -> None:
    told = {clock_answer("今年过年是几号", datetime(2026, 11, 28, 9, minute)) for minute in range(3)}
    assert all(answer is not None and "2027年2月6日" in answer for answer in told)
    assert "2027年2月6日" in (clock_answer("今年过年还有几天", datetime(2026, 3, 4)) or "")


@pytest.mark.parametrize(
    ("talk", "told"),
    [
        (["今天星期几", "明天呢"], "明天.*星期四"),
        (["今天几号", "那后天呢？"], "后天.*3月6日"),
        (["今天几号", "明天呢", "后天呢"], "后天.*3月6日"),
        (["几号了", "昨天呢"], "昨天.*3月3日"),
        (["今年属什么", "那明年呢"], "明年.*羊"),
        (["春节是几号", "中秋呢"], "9月25日"),
        (["离过年还有几天", "离元宵呢"], "还有353天"),
    ],
)
def test_a_question_goes_on_to_another_day_year_or_festival(talk: list[str], told: str) -> None:
    context = as_context([text for asked in talk for text in (asked, "嗯。")][:-1])
    for minute in range(2):
        assert re.search(told, clock_reply(context, WEDNESDAY.replace(minute=minute)) or "")


@pytest.mark.parametrize(
    "talk", [["今天吃什么", "明天呢"], ["几点了", "明天呢"], ["今天几号", "你呢"], ["今天几号", "明天吃什么"]]
)
def test_what_goes_on_with_something_else_is_left_alone(talk: list[str]) -> None:
    assert clock_reply(as_context([talk[0], "嗯。", talk[1]]), WEDNESDAY) is None


@pytest.mark.parametrize(
    "denial", ["日历我没有，今天明天分不清。", "我活在没有钟的地方。", "我没有表，你看看屏幕角落。", "不知道，我看不到时间。"]
)
def test_a_clock_is_not_denied_to_who_asks_for_the_time(denial: str) -> None:
    assert disowns_clock(denial, "在加班，几点能走啊") or disowns_clock(denial, "这都几号了还没发工资")
    assert not disowns_clock(denial, "你在干嘛")
    assert not disowns_clock("没有时间表，想睡就睡。", "你几点睡")


def test_long_runs_of_openings_and_endings_take_no_time() -> None:
    for run in ("宝宝", "困了", "小叙叙", "谢谢你知道吗", "哎呀", "我好"):
        assert clock_answer(f"{run * 40}几点{run * 40}x", WEDNESDAY) is None
