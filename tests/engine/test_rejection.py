"""What the bot never says, and what it may."""

from __future__ import annotations

import pytest

from chitchat.corpus.rules.personal_data import PLACEHOLDERS
from chitchat.dialogue import Message, as_context
from chitchat.engine.rejection import rejection, similarity, without_loops

CONTEXT = as_context(["我今天去爬山了", "哇，爬山很累吧，腿酸不酸？", "还好啦"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "空回复"),
        (" \u3000", "空回复"),
        ("。。。", "只有标点"),
        ("？", "只有标点"),
        ("我喜欢[UNK]", "含有无法显示的字符"),
        ("我喜欢\ufffd", "含有无法显示的字符"),
        ("哈" * 20, "循环重复"),
        ("好的好的好的好的好的", "循环重复"),
        ("是啊，" * 8, "循环重复"),
        ("我也是，我也是，我也是", "循环重复"),
        ("我不知道我不知道我不知道", "循环重复"),
        ("我觉得你说得对，我觉得你说得对。", "循环重复"),
        ("你好你好啊你好你好呀你好你好啊你好", "循环重复"),
        ("abcabcabcabc", "循环重复"),
        ("好的 好的 好的 好的", "循环重复"),
        ("哇，爬山很累吧，腿酸不酸？", "和前面的回复重复"),
        ("哇！爬山很累吧！腿酸不酸", "和前面的回复重复"),
        ("哇，爬山很累吧，腿酸不酸呀？", "和前面的回复重复"),
        ("还好啦", "照抄对方的话"),
        ("还好啦。", "照抄对方的话"),
    ],
)
def test_rejected(text: str, reason: str) -> None:
    assert rejection(text, CONTEXT) == reason


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_masked_personal_data_is_not_said(placeholder: str) -> None:
    assert rejection(f"加我吧，{placeholder}", CONTEXT) == "是打了码的个人信息"


@pytest.mark.parametrize(
    "text",
    [
        "哈哈哈",
        "哈哈哈哈哈哈你太搞笑了吧",
        "嗯嗯",
        "好的好的",
        "对，对，对！",
        "😂😂",
        "那就好，下次带上我呗",
        "6",
        "ok",
        "还好啦，比上班轻松",
        "爬山好呀",
        "I like the cat and the dog and the bird, and then the rest of them in the other room of the house there",
    ],
)
def test_allowed(text: str) -> None:
    assert rejection(text, CONTEXT) is None


def test_greetings_are_answered_in_kind() -> None:
    assert rejection("你好！", as_context("你好")) is None
    assert rejection("晚安", as_context("晚安。")) is None
    assert rejection("你好", as_context(["你好", "你好", "你好"])) == "和前面的回复重复"


@pytest.mark.parametrize(
    ("told", "text", "reason"),
    [
        (("我家狗今天走了", "我签的字"), "都有名字了，今天该放假。", "不说笑"),
        (("我妈查出来癌症", "我才三十二"), "哈哈，羡慕你们有刻度。", "不说笑"),
        (("我爸去世了", "是我没照顾好他"), "能陪到老，已经是它的福气。", "说成了它"),
        (("孩子没了",), "它就是家人。", "说成了它"),
    ],
)
def test_who_has_lost_somebody_hears_no_jokes(told: tuple[str, ...], text: str, reason: str) -> None:
    context = [message for line in told for message in (Message("user", line), Message("assistant", "我在听。"))][:-1]
    assert reason in (rejection(text, context) or "")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ("我家狗今天走了", "它等你回家的样子，你都记得。"),
        ("我爸去世了", "他教你的，你都还留着。"),
        ("压岁钱被我妈拿走了", "哈哈，年年如此。"),
        ("今天加薪了", "恭喜恭喜。"),
    ],
)
def test_others_may_be_joked_with_and_animals_are_it(told: str, text: str) -> None:
    assert rejection(text, as_context([told])) is None


def test_only_the_last_three_replies_count() -> None:
    talk = ["早", "我在看书呢", "什么书", "一本小说", "好看吗", "挺好看的", "讲什么", "讲一个侦探", "你在干嘛"]
    assert rejection("我在看书呢", as_context(talk)) is None
    assert rejection("一本小说", as_context(talk)) == "和前面的回复重复"


def test_similarity() -> None:
    assert similarity("我喜欢猫", "我喜欢猫。") == 1.0
    assert similarity("嗯", "哦") == 0.0
    assert 0.0 < similarity("我喜欢猫", "我喜欢狗") < 0.8


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("啊哈哈啊哈哈啊哈哈啊哈哈救命", "啊哈哈啊哈哈救命"),
        ("哈" * 40 + "笑死", "哈哈哈哈笑死"),
        ("好好好，嗯嗯嗯", "好好好，嗯嗯嗯"),
        ("哈啊啊哈哈啊哈啊哈哈啊啊哈哈啊", "哈啊啊哈哈啊"),
        ("你老是老是老是老是笨吗", "你老是老是笨吗"),
        ("1000000*3等于多少", "1000000*3等于多少"),
        ("好好休息，天天向上", "好好休息，天天向上"),
    ],
)
def test_what_is_said_over_and_over_is_said_twice(text: str, left: str) -> None:
    assert without_loops(text) == left
