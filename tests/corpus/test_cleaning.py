"""What a line looks like after cleaning, and which dialogues are left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import RULES, clean_dialogue, normalise, read_drop_words
from chitchat.dialogue import Dialogue
from chitchat.errors import CorpusError

CHANGED = [
    ("ＡＢＣ１２３", "ABC123"),
    ("ｶﾞﾝﾊﾞﾚ", "ガンバレ"),
    ("你好,朋友", "你好，朋友"),
    ("真的吗?", "真的吗？"),
    ("真的吗?!", "真的吗？！"),
    ("太好了!再见", "太好了！再见"),
    ("时间:12:30", "时间：12:30"),
    ("好;行", "好；行"),
    ("你好.", "你好。"),
    ("你好 , 我是小叙", "你好，我是小叙"),
    ("你好, hello", "你好，hello"),
    ("北京(中国)", "北京（中国）"),
    ("（笑)", "（笑）"),
    ("用iPhone(128G)拍的", "用iPhone（128G）拍的"),
    ('他说"好"', "他说“好”"),
    ('我说"ok"吧', "我说“ok”吧"),
    ("好...", "好……"),
    ("好。。。。", "好……"),
    ("好。。", "好……"),
    ("好…", "好……"),
    ("好···", "好……"),
    ("好...。", "好……"),
    ("等等..我", "等等……我"),
    ("我--他", "我——他"),
    ("我—他", "我——他"),
    ("我――他", "我——他"),
    ("我---", "我——"),
    ("好的　再见", "好的 再见"),
    ("好的   再见", "好的 再见"),
    ("好的\t\n再见", "好的 再见"),
    ("好的。 再见", "好的。再见"),
    (" \u200b你\ufeff好\ufe0f\ue000 ", "你好"),
    ("❤️", "❤"),
    ("！！！！！", "！！！"),
    ("哈" * 9, "哈" * 6),
    ("6" * 12, "666666"),
    ("😂" * 9, "😂" * 6),
    ("你好:) 在吗?", "你好:) 在吗？"),
    ("你好!:)", "你好！:)"),
    ("看https://a.com/b?c=1,2,好", "看https://a.com/b?c=1,2，好"),
    ("好: )", "好: )"),
    ('说"好”', "说“好”"),
    ("..好", "……好"),
    ("e\u0301", "é"),
    ("⼀⼆", "一二"),
]


@pytest.mark.parametrize(("before", "after"), CHANGED)
def test_normalise(before: str, after: str) -> None:
    assert normalise(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "好的 再见",
        "，！？：；（）～",
        "……",
        "？？？",
        "①②³²℃™Ⅳ㎏½",
        "3,000 3.5 12:30 比分3:2",
        "hello, world! ok? (yes) it's 5:30.",
        '"quoted" text',
        "https://example.com/a?b=1&c=(2)",
        ":) ;) :D =) :-(",
        "(≧∇≦) (^_^) (T_T) (╯°□°)╯",
        "1)买菜",
        "尼古拉斯·斯帕克斯",
        "10000000元",
        "13888888888",
        "哈哈哈哈哈哈",
        "一只——两只",
        "～～～",
        "😂❤👍",
        "",
    ],
)
def test_normalise_leaves_alone(text: str) -> None:
    assert normalise(text) == text


_SIGNS = st.sampled_from(
    list("你好他a1 3oDP,!?:;.\"()（）“”。…，！？：；、-—―·・~～'^_=　\t\u200b\ufe0fＡｶﾞ．＂哈《》「」/e\u0301😂\ue000①℃")
    + ["http://"]
)


@settings(max_examples=1500, deadline=None)
@given(st.lists(_SIGNS, max_size=14).map("".join) | st.text(max_size=20))
def test_normalise_is_idempotent(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert once == once.strip() and "  " not in once and "\n" not in once


@pytest.mark.parametrize("unit", [" ,", "(", '"', '“"', "。", ". ", "www.!", "http://", ": ", "好-", "哈", "e\u0301", "?你"])
def test_normalise_of_a_long_line_is_fast_and_settles(unit: str) -> None:
    once = normalise("好" + unit * 20000)
    assert normalise(once) == once


def cleaned(*messages: str, words: tuple[str, ...] = (), **options: object) -> tuple[list[tuple[str, ...]], dict[str, int]]:
    result = clean_dialogue(Dialogue(messages, 7), PrepareConfig(**options), words)  # type: ignore[arg-type]
    assert all(dialogue.line == 7 for dialogue in result.dialogues)
    return [dialogue.messages for dialogue in result.dialogues], dict(result.dropped)


def test_good_dialogue_passes_normalised() -> None:
    assert cleaned("在吗?", "在") == ([("在吗？", "在")], {})
    assert cleaned("在吗?", "在", normalise=False) == ([("在吗?", "在")], {})


def test_dialogue_is_cut_at_a_bad_message() -> None:
    assert cleaned("一", "二", "一二三四五六七八九十一", "三", "四", "五", max_message_chars=10) == (
        [("一", "二"), ("三", "四", "五")],
        {"too_long": 1},
    )
    assert cleaned("一", "二", " \u200b", "三") == ([("一", "二")], {"empty": 1, "alone": 1})
    assert cleaned("你好", "嗯", "早", "你好", "再见", min_message_chars=2) == ([("你好", "再见")], {"too_short": 2, "alone": 1})
    assert cleaned("", "") == ([], {"empty": 2})
    assert cleaned("你好") == ([], {"alone": 1})


@pytest.mark.parametrize("message", ["？？？", "……", "!", "。", "😂", "❤", "1", "嗯", "^_^", ":)", "-_-", "～"])
def test_signs_that_are_talk_stay(message: str) -> None:
    assert cleaned("你好", message)[1] == {}


@pytest.mark.parametrize("message", ["------", "|", "，", "====", "///"])
def test_signs_that_are_no_talk_go(message: str) -> None:
    assert cleaned("你好", message, "早", "早啊") == ([("早", "早啊")], {"no_content": 1, "alone": 1})


def test_drop_word_drops_the_whole_dialogue() -> None:
    assert cleaned("你好", "坏ＷＯＲＤ啊", words=("坏word", "另一个")) == ([], {"drop_word": 1})
    assert cleaned("你好", "坏", words=("坏人", "")) == ([("你好", "坏")], {})
    # A word is in one message, never across two.
    assert cleaned("坏", "人", words=("坏人",)) == ([("坏", "人")], {})


def test_drop_words_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# 词表\n坏人\n\n 坏事 \n", encoding="utf-8")
    assert read_drop_words(path) == {"坏人", "坏事"}
    with pytest.raises(CorpusError):
        read_drop_words(tmp_path / "missing.txt")


def test_every_rule_has_its_own_name() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
