"""What a line looks like after cleaning, and which dialogues are left."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chitchat.config import CLEANING_RULES, PrepareConfig
from chitchat.corpus.cleaning import (
    COPY,
    DESCRIPTIONS,
    Rejected,
    clean_dialogue,
    clean_dialogues,
    normalise,
    read_drop_words,
)
from chitchat.corpus.normalisation import normalise_all
from chitchat.dialogue import Dialogue
from chitchat.errors import ConfigError, CorpusError

ROOT = Path(__file__).parents[2]

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


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_SIGNS | st.just("\n"), max_size=8).map("".join) | st.text(max_size=8), max_size=8))
@example(["好", " 你好", "好 ", "……", "…", "。", "哈" * 7, "", " ", "好"])
@example([before for before, _ in CHANGED])
def test_lines_normalised_together_are_what_they_are_alone(texts: list[str]) -> None:
    assert normalise_all(texts) == [normalise(text) for text in texts]


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
    assert cleaned("一", "二", " \u200b", "三") == ([("一", "二")], {"empty": 1, "too_few_messages": 1})
    assert cleaned("你好", "嗯", "早", "你好", "再见", min_message_chars=2) == (
        [("你好", "再见")],
        {"too_short": 2, "too_few_messages": 1},
    )
    assert cleaned("", "") == ([], {"empty": 2})
    assert cleaned("你好") == ([], {"too_few_messages": 1})


@pytest.mark.parametrize("message", ["？？？", "……", "!", "。", "😂", "❤", "1", "嗯", "^_^", ":)", "-_-", "～"])
def test_signs_that_are_talk_stay(message: str) -> None:
    assert cleaned("你好", message)[1] == {}


@pytest.mark.parametrize("message", ["------", "|", "，", "====", "///"])
def test_signs_that_are_no_talk_go(message: str) -> None:
    assert cleaned("你好", message, "早", "早啊") == ([("早", "早啊")], {"no_content": 1, "too_few_messages": 1})


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


def test_what_was_changed_and_dropped_is_told() -> None:
    dialogue = Dialogue(("@小明 在吗哈哈哈哈哈", "在，我电话13812345678", "日结工资，加我微信abc123", "好的", "再见"), 7)
    result = clean_dialogue(dialogue, PrepareConfig())
    assert [kept.messages for kept in result.dialogues] == [("在吗哈哈哈", "在，我电话某号码"), ("好的", "再见")]
    assert result.changed == {"mentions": 1, "repeats": 1, "personal_data": 2}
    assert result.dropped == {"adverts": 1}
    assert result.rejected == (Rejected("adverts", 7, "日结工资，加我微信某账号"),), "not even there is the account told"


def test_what_is_dropped_is_shown_as_it_was_read() -> None:
    result = clean_dialogue(Dialogue(("http://t.cn/Abc", "好", "啊呀" * 450), 3), PrepareConfig())
    assert result.rejected == (
        Rejected("too_few_messages", 3, "好"),
        Rejected("empty", 3, "http://t.cn/Abc"),
        Rejected("too_long", 3, "啊呀" * 250),
    )
    assert result.dropped == {"too_few_messages": 1, "empty": 1, "too_long": 1}


def test_copy_of_the_message_before_is_dropped() -> None:
    assert cleaned("今天下午去哪里玩", "今天下午，去哪里玩？", "去公园", "好啊") == (
        [("去公园", "好啊")],
        {COPY: 1, "too_few_messages": 1},
    )
    assert cleaned("生日快乐", "生日快乐！") == ([("生日快乐", "生日快乐！")], {})
    assert cleaned("今天下午去哪里玩", "今天下午去哪里玩", rules_off=(COPY,))[1] == {}


def test_number_of_messages() -> None:
    assert cleaned("一", "二", "三", min_dialogue_messages=4) == ([], {"too_few_messages": 1})
    assert cleaned("一", "二", "三", "四", "五", "六", max_dialogue_messages=2)[0] == [("一", "二"), ("三", "四"), ("五", "六")]
    assert cleaned("一", "二", "三", max_dialogue_messages=2) == ([("一", "二")], {"too_few_messages": 1})
    with pytest.raises(ConfigError, match="max_dialogue_messages"):
        PrepareConfig(max_dialogue_messages=1)


def test_rules_can_be_turned_off_by_name() -> None:
    assert cleaned("@小明 看", "好", rules_off=("mentions",))[0] == [("@小明 看", "好")]
    assert cleaned("诚招代理", "好", rules_off=("adverts",))[0] == [("诚招代理", "好")]
    assert cleaned("你好😂", "好", keep_emoji=False)[0] == [("你好", "好")]
    with pytest.raises(ConfigError, match="'mention'.*'mentions'"):
        PrepareConfig(rules_off=("mention",))
    with pytest.raises(ConfigError, match="列表"):
        PrepareConfig(rules_off="mentions")  # type: ignore[arg-type]


def test_every_rule_that_can_be_turned_off_exists() -> None:
    by_number = {"empty", "too_short", "too_long", "too_few_messages", "drop_word", "emoji"}
    assert set(CLEANING_RULES) == set(DESCRIPTIONS) - by_number


def test_our_own_dialogues_pass_almost_untouched() -> None:
    blocks = (ROOT / "data" / "dialogues.txt").read_text(encoding="utf-8").strip().split("\n\n")[::20]
    dialogues = [Dialogue(tuple(block.split("\n"))) for block in blocks]
    total = sum(len(dialogue.messages) for dialogue in dialogues)
    results = [clean_dialogue(dialogue, PrepareConfig()) for dialogue in dialogues]
    assert sum(sum(result.dropped.values()) for result in results) < total * 0.001
    assert sum(sum(result.changed.values()) for result in results) < total * 0.005


_PIECES = st.sampled_from(
    [
        "http://t.cn/Ab ",
        "@小明",
        "@我",
        "#",
        "#话题#",
        "[doge]",
        "[",
        "]",
        "//@",
        "回复",
        "：",
        ":",
        "&lt;",
        "&amp;",
        "b>",
        "；",
        "<br>",
    ]
    + [
        "13812345678",
        "138 1234",
        " 5678",
        "微信",
        "abc123",
        "QQ",
        "12345",
        "北京路",
        "12号",
        "3栋",
        "502",
        "京A",
        "1234F",
        "某号码",
    ]
    + [
        "哈哈哈哈",
        "哈",
        "666",
        "2333",
        "(",
        "≧▽≦",
        ")",
        "╯°□°",
        "們",
        "說",
        "妳",
        "我",
        "你好",
        " ",
        "，",
        "。",
        "a",
        "OK",
        "や",
        "锟斤拷",
        "傻逼",
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.lists(_PIECES, max_size=7).map("".join) | st.text(max_size=8), min_size=2, max_size=4), st.sampled_from([0, 3])
)
def test_cleaning_twice_is_cleaning_once(messages: list[str], longest: int) -> None:
    config = PrepareConfig(max_dialogue_messages=longest)
    for kept in clean_dialogue(Dialogue(tuple(messages)), config).dialogues:
        again = clean_dialogue(kept, config)
        assert (again.dialogues, again.changed, again.dropped) == ((kept,), {}, {})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=5))
def test_counts_agree_with_what_was_dropped(messages: list[str]) -> None:
    result = clean_dialogue(Dialogue(tuple(messages)), PrepareConfig())
    assert sum(result.dropped.values()) == len(result.rejected)


_MESSAGES = st.lists(_PIECES | st.sampled_from(["今天下午去哪里玩", "13812345678", "\n", "哈哈哈哈哈"]), max_size=4).map("".join)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(_MESSAGES | st.text(max_size=8), max_size=4), max_size=5),
    st.sampled_from([{}, {"normalise": False}, {"min_message_chars": 2, "max_dialogue_messages": 2}]),
    st.sampled_from([(), ("你好", "ok")]),
)
def test_dialogues_cleaned_together_are_what_they_are_alone(
    messages: list[list[str]], options: dict[str, bool | int], words: tuple[str, ...]
) -> None:
    dialogues = [Dialogue(tuple(turns), line) for line, turns in enumerate(messages)]
    config = PrepareConfig(**options)  # type: ignore[arg-type]
    together = clean_dialogues(dialogues, config, words)
    alone = [clean_dialogue(dialogue, config, words) for dialogue in dialogues]
    assert together.dialogues == tuple(kept for one in alone for kept in one.dialogues)
    assert together.rejected == tuple(rejected for one in alone for rejected in one.rejected)
    assert together.changed == sum((Counter(one.changed) for one in alone), Counter())
    assert together.dropped == sum((Counter(one.dropped) for one in alone), Counter())
