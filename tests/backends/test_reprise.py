"""What of a message can be said back, and what not."""

from __future__ import annotations

import pytest

from chitchat.backends.reprise import is_grave, own_clauses


@pytest.mark.parametrize(
    ("message", "clauses"),
    [
        ("刚才他把枕头拿走了 说利息都免了 嘿嘿", ["刚才他把枕头拿走了", "利息都免了"]),
        ("捂着鼻子呗 可是老师还让我举起来拍照啊", ["老师还让你举起来拍照"]),
        ("是裤子裂开了，咱们都笑疯了！", ["裤子裂开了", "你们都笑疯了"]),
        ("体温升到了38.5度，头疼得厉害", ["体温升到了38.5度"]),
        ("钥匙又丢了 钥匙又丢了", ["钥匙又丢了"]),
    ],
)
def test_what_is_told_comes_back_in_the_bots_mouth(message: str, clauses: list[str]) -> None:
    assert own_clauses(message) == clauses


@pytest.mark.parametrize(
    "message",
    [
        "你说得对",  # said to the bot
        "这是谁干的",  # asked
        "他到底来没来",
        "要不要去",
        "没有",  # denied
        "我不知道",
        "谢谢 晚安",
        "嗯",
        "哈哈哈哈",
        "我一个人拎着三大袋东西爬了整整十二层楼",  # a parrot's length
        "他那天跟我说",  # broken off
        "我把快递扔了 你说我做错了吗",  # wants an answer
        "我妹妹叫林小南",
        "她是四川人，特别能吃辣",  # nothing has happened
        "陪了我十四年",
        "我叫陈默，在杭州做后端开发",
    ],
)
def test_what_is_asked_denied_or_empty_does_not(message: str) -> None:
    assert own_clauses(message) == []


def test_what_answers_the_bot_is_not_told() -> None:
    assert own_clauses("鼻子不痒啊 他把扶手磨光滑了", "越不让动越痒，鼻子专挑这时候捣乱。") == ["他把扶手磨光滑了"]


@pytest.mark.parametrize(
    ("message", "grave"),
    [
        ("我爸今天住院了", True),
        ("姥姥上个月走了", True),
        ("他把枕头拿走了", False),
        ("电脑真是气死我了", False),
        ("今天吃了排骨", False),
    ],
)
def test_what_must_not_be_exclaimed_over(message: str, grave: bool) -> None:
    assert is_grave(message) is grave
