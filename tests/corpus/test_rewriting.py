"""What the rewriting rules take out of a message, and what they leave."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chitchat.corpus.normalisation import normalise
from chitchat.corpus.rules import rewriting
from chitchat.corpus.rules.base import triggers
from chitchat.corpus.rules.rewriting import REWRITING_RULES, rewrite
from chitchat.errors import ConfigError

RULES = tuple(rule for rule in REWRITING_RULES if rule.name != "emoji")

CHANGED = [
    ("markup", "&lt;b&gt;你好&lt;/b&gt;&nbsp;吗", "你好 吗"),
    ("markup", "&amp;lt;b&amp;gt;你好", "你好"),
    ("markup", "<br/>你好<a href='x'>朋友</a>", "你好 朋友"),
    ("urls", "看这个 http://t.cn/Abc12，好笑", "看这个，好笑"),
    ("urls", "www.example.com/a?b=1", ""),
    ("urls", "好看 网页链接", "好看"),
    ("personal_data", "打13812345678给我", "打某号码给我"),
    ("reposts", "笑死//@小红：哈哈//@小明：嗯", "笑死"),
    ("reply_prefixes", "回复@小明:你说得对", "你说得对"),
    ("reply_prefixes", "回复 小明：好的", "好的"),
    ("reply_prefixes", "回复小明：好的", "好的"),
    ("mentions", "这个好玩@小明 @小红", "这个好玩"),
    ("mentions", "@小明 你看", "你看"),
    ("hashtags", "#早安#今天天气好", "今天天气好"),
    ("bracket_emoticons", "哈哈[doge][笑cry]好[捂脸]，真的[允悲]", "哈哈好，真的"),
    ("kaomoji", "真的吗(╯°□°)╯", "真的吗"),
    ("kaomoji", "到家了 ╰（￣▽￣）╭", "到家了"),
    ("kaomoji", "发新书了⊙ ∀ ⊙！", "发新书了！"),
    ("repeats", "哈哈哈哈哈哈哈，等等等等", "哈哈哈，等等等"),
    ("repeats", "66666 2333333 5555555", "666 2333 555"),
    ("repeats", "😂😂😂😂😂", "😂😂😂"),
    ("traditional", "我們的軟體很好，妳說呢", "我们的软件很好，你说呢"),
    ("traditional", "乾隆皇帝說", "乾隆皇帝说"),
]


@pytest.mark.parametrize(("name", "before", "after"), CHANGED)
def test_rule(name: str, before: str, after: str) -> None:
    text, names = rewrite(normalise(before), RULES)
    assert text == after
    assert name in names


@pytest.mark.parametrize(
    "text",
    [
        "<天天向上>好看",
        "R&B和AT&T",
        "牛奶@咖啡演唱的，好听",
        "在群里@我 说请注意态度",
        "C#和F#",
        "#1和#2哪个好",
        "数组a[0]",
        "很适合吃[酸菜鱼]呢",
        "国家AAAA级景区",
        "回复得很快：真的",
        "回复我一下",
        "(^_^) T_T :) -_-",
        "上海（24°）",
        "来→去←",
        "56666元",
        "10000000",
        "著名的乾隆",
        "囧",
        "……——",
        "和/或",
        "3.5分",
        "OK，好的",
    ],
)
def test_rules_leave_alone(text: str) -> None:
    assert rewrite(normalise(text), RULES) == (normalise(text), ())


def test_emoji_are_taken_out_when_asked() -> None:
    assert rewrite("好的👍🏻❤，走🚗", REWRITING_RULES)[0] == "好的，走"


_PIECES = [
    "<b>",
    "&gt;",
    "http://a.b",
    "www.",
    "t.cn/x",
    "@某人",
    "#题#",
    "[doge]",
    "//@a",
    "回复b：",
    "转发微博",
    "(≧▽≦)",
    "⊙_⊙",
]


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from([*_PIECES, "哈哈哈哈", "說", "1381234", "5678", "微信abc12", " ", "好", "a"]), max_size=6).map(
        "".join
    )
)
def test_a_text_without_a_rules_signs_is_not_its_business(text: str) -> None:
    for rule in REWRITING_RULES:
        if not any(trigger.search(text) for trigger in triggers((rule,))):
            assert rule.rewrite(text) == text, rule.name


def test_missing_opencc_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **keywords: Any) -> Any:
        if name == "opencc":
            raise ImportError(name)
        return real(name, *args, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    rewriting._opencc.cache_clear()
    assert rewrite("简体不需要它", RULES)[0] == "简体不需要它"
    with pytest.raises(ConfigError, match="pip install OpenCC.*--rules-off traditional"):
        rewrite("這個需要", RULES)
