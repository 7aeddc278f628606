from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chitchat.engine.pattern import Pattern, needed_letters


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        ("你叫什么", "你 叫 什 么"),
        ("你(?:叫|是)什么名?", "你 叫是 什 么"),
        ("叫[什啥]+", "叫 什啥"),
        ("你好|您好", "好您"),
        ("(?:你|您|)好", "好"),
        ("你((是|叫)不)?在{1,2}", "你 在"),
        ("你((是|叫)不|会[吗么])", "你 不会"),
        (r"你\\(好", "你 好"),
        ("你(?!们)真*棒", "你 棒"),
        ("(?<!不)是(?=的)", "是"),
        (r"(.)[不没]\1", "不没"),
        (r"\d+岁|[^我]", ""),
        ("[a-z]点{0,3}钟{,2}", ""),
        ("(?i)ok", ""),
        ("(?P<name>你|我们)(?P<rest>[吃喝].)好", "你我 吃喝 好"),
        ("(?P<name>你)(?P=name)好", ""),
        ("*你", ""),
    ],
)
def test_what_a_pattern_cannot_do_without(source: str, needed: str) -> None:
    assert [set(letters) for letters in needed_letters(source)] == [set(word) for word in needed.split()]


@given(st.data())
def test_every_match_holds_what_is_needed(data: st.DataObject) -> None:
    atom = st.sampled_from(["你", "我们", "[吃喝]", "[^他]", r"\d", "(好|不错)", "(?:来|)", "(?!去)", "."])
    quantifier = st.sampled_from(["", "", "?", "*", "+", "{0,2}", "{1,2}", "??"])
    branch = st.lists(st.tuples(atom, quantifier).map("".join), max_size=4).map("".join)
    group = st.lists(branch, min_size=1, max_size=3).map(lambda found: f"({'|'.join(found)})")
    source = "".join(data.draw(st.lists(st.tuples(group | branch, st.sampled_from(["", "?", "+"])).map("".join), max_size=3)))
    try:
        re.compile(source)
    except re.error:
        return
    text = data.draw(st.text(alphabet="你我们吃喝他好不错来去1", max_size=8))
    if re.search(source, text):
        assert all(not letters.isdisjoint(text) for letters in needed_letters(source)), source


def test_a_letter_that_must_not_stand_before() -> None:
    pattern = Pattern("你好", "here", not_before="跟")
    assert pattern.search("跟你好") is None
    found = pattern.search("跟你好，你好")
    assert found is not None and found.start() == 4
