"""Small sums are worked out, and nothing else is taken for one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chitchat.engine.arithmetic import arithmetic_answer, guesses_sum


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("1+1等于几", "2"),
        ("1+1", "2"),
        ("1＋1＝？", "2"),
        ("小叙，123乘以45是多少", "5535"),
        ("考考你 17×23=", "391"),
        ("三加五等于多少呀", "8"),
        ("一百零五减七得几", "98"),
        ("两万三千乘以二是多少", "46000"),
        ("请问100除以3等于多少", "约33.3333"),
        ("7/2=?", "3.5"),
        ("（3+4）*2等于几？", "14"),
        ("200的15%是多少", "30"),
        ("百分之二十加1等于多少", "1.2"),
        ("3-5等于几", "-2"),
        ("1-2.5=", "-1.5"),
        ("1/300000等于多少", "约0"),
        ("123456789012*123456789012.5=", "15241578753215212330650"),
        ("0.1+0.2=", "0.3"),
        ("帮我算下 99*99", "9801"),
        ("5除以0等于几", "除数是零"),
    ],
)
def test_a_sum_is_worked_out(question: str, told: str) -> None:
    for turn in range(3):
        answer = arithmetic_answer(question, turn)
        assert answer is not None and told in answer.replace("，", " ").replace("。", " ").split()[0].removeprefix("等于")


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("机票1280，酒店三晚每晚260，一共多少", "2060"),
        ("机票1280 酒店260一晚住三晚 总共多少钱", "2060"),
        ("早饭五块，午饭十八，晚饭三十，一共花了多少", "53"),
        ("帮我算一下，奶茶18，炸鸡35，加起来多少", "53"),
        ("苹果5块一斤买3斤，梨4块一斤买2斤，一共多少钱", "23"),
        ("一斤苹果5块，买3斤，一共多少钱", "15"),
        ("三个人每人120，一共多少", "360"),
        ("两张票各80，停车费20.5，一共多少", "180.5"),
        ("上午3个，下午4个，一共几个", "7"),
        ("跑了3公里，又跑了5公里，一共多少公里", "8"),
        ("我有100，花了35，还剩多少", "65"),
        ("工资8000，房租2000，吃饭1500，还剩多少", "4500"),
    ],
)
def test_amounts_are_added_up_or_taken_from_the_first(question: str, told: str) -> None:
    for turn in range(3):
        assert re.findall(r"[\d.]+", arithmetic_answer(question, turn) or "") == [told]


@pytest.mark.parametrize(
    ("reply", "asked", "guesses"),
    [
        ("125，没有余数。", "机票1280往返，酒店三晚打八折，一共多少", True),
        ("二十三块。", "5块的3个，4块的2个，多少钱", True),
        ("这账我算不清，你按按计算器。", "机票1280往返，酒店三晚打八折，一共多少", False),
        ("三十块钱一斤的最甜。", "草莓多少钱一斤", False),
        ("125，没有余数。", "今天走了8公里，又爬了12楼", False),
    ],
)
def test_a_number_that_nobody_has_worked_out_is_a_guess(reply: str, asked: str, guesses: bool) -> None:
    assert guesses_sum(reply, asked) == guesses


@pytest.mark.parametrize(
    "text",
    [
        "三杯奶茶18，一共多少",
        "我3月花了200，4月花了300，一共多少",
        "苹果3个，梨2个，一共多少钱",
        "三个人一共几只手",
        "一共多少",
        "工资8000还剩多少",
        "给了100，找零23.5，还剩多少",
        "赚了100，亏了30，一共多少",
        "从1加到100一共多少",
        "我有三个哥哥，一共几个人",
        "1995年到现在一共多少年",
        "2026-11-28",
        "3-5天吧",
        "10-20",
        "12/25",
        "138-1234-5678",
        "我加班到十点",
        "一加手机好用吗",
        "你是第几",
        "等于几",
        "7等于几",
        "这个月花了多少",
        "八点半",
        "加一",
        "9" * 30 + "+1等于几",
        "(" * 500 + "1+1" + ")" * 500 + "等于几",
        "2**99999999等于几",
        "1//0等于几",
        "三点一刻",
        "的等于几",
        "1+等于几",
        "",
        "😂",
        "一千零一夜是什么",
        "2+2+什么等于5",
    ],
)
def test_what_asks_for_no_sum(text: str) -> None:
    assert arithmetic_answer(text) is None


@given(st.text(alphabet="0123456789.+-*/()×÷加减乘除以等于几多少的一百万点=？ %", max_size=30))
def test_no_text_makes_it_fail(text: str) -> None:
    arithmetic_answer(text)


@given(st.integers(0, 10**8), st.integers(0, 10**8))
def test_sums_are_right(a: int, b: int) -> None:
    assert str(a + b) in (arithmetic_answer(f"{a}加{b}等于几") or "")
    assert str(a * b) in (arithmetic_answer(f"{a}×{b}=？") or "")


def test_a_product_of_many_factors_is_left_alone() -> None:
    assert arithmetic_answer("*".join(["999999999999"] * 400) + "等于多少", 0) is None
