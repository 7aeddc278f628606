"""Which messages are not worth learning from."""

from __future__ import annotations

import pytest

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import clean_dialogue
from chitchat.corpus.rules.dropping import DROPPING_RULES
from chitchat.dialogue import Dialogue

DROPPED = [
    ("garbled", "锟斤拷锟斤拷"),
    ("garbled", "你好\ufffd\ufffd吗"),
    ("garbled", "你好啊，今天天气怎么样".encode().decode("gbk", "replace").replace("\ufffd", "")),
    ("garbled", "ä½ å¥½å\x90\x97"),
    ("garbled", "▓▓░░▒▒■□▓▓"),
    ("garbled", "QmFzZTY0IGlzIG5vdCB0YWxrIGF0IGFsbCwgcmVhbGx5"),
    ("not_chinese", "Is this about the other morning?"),
    ("not_chinese", "おやすみなさい"),
    ("not_chinese", "안녕하세요 여러분"),
    ("not_chinese", "Привет, как дела"),
    ("adverts", "诚招代理，一件代发"),
    ("adverts", "兼职日结，轻松在家"),
    ("adverts", "点击下方链接免费领取"),
    ("adverts", "代开发票，加微信 fapiao88"),
    ("contacts", "13812345678"),
    ("contacts", "QQ：12345678"),
    ("insults", "你就是个傻逼"),
    ("insults", "sb吧你"),
    ("sexual", "约炮吗"),
    ("slurs", "那些黑鬼"),
]


def dropped(message: str) -> dict[str, int]:
    result = clean_dialogue(Dialogue(("早上好", "早啊你", message, "好的好的", "再见啦")), PrepareConfig())
    assert [len(piece.messages) for piece in result.dialogues] == ([2, 2] if result.dropped else [5])
    return dict(result.dropped)


@pytest.mark.parametrize(("rule", "message"), DROPPED)
def test_dropped(rule: str, message: str) -> None:
    assert dropped(message) == {rule: 1}


@pytest.mark.parametrize(
    "message",
    [
        "OK",
        "hello你好",
        "I love you",
        "iPhone和Android哪个好",
        "の",
        "安妮の家",
        "联通信号不好",
        "阿锘要回来了",
        "浣熊和洱海",
        "é这个字母怎么读",
        "↑↑楼上说得对",
        "不包邮啊亲",
        "早日结婚，早生贵子",
        "刷单都是骗人的",
        "办证照要排队",
        "我关注了一个公众号",
        "加个微信吧",
        "我电话13812345678，记一下",
        "usb接口坏了",
        "去你的",
        "干你们这行辛苦吗",
    ],
)
def test_good_talk_stays(message: str) -> None:
    assert dropped(message) == {}


def test_every_rule_has_its_own_name() -> None:
    assert len({rule.name for rule in DROPPING_RULES}) == len(DROPPING_RULES)
