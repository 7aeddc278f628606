from __future__ import annotations

import re

import pytest

from chitchat.corpus import normalisation
from chitchat.lazy_pattern import lazily


def test_a_lazy_pattern_does_what_a_compiled_one_does() -> None:
    lazy, compiled = lazily("(好)+"), re.compile("(好)+")
    assert lazy.sub("棒", "好好学") == lazy.sub("棒", "好好学") == compiled.sub("棒", "好好学")
    assert lazy.pattern == compiled.pattern and lazy.groups == 1


def test_its_fault_shows_at_the_first_use() -> None:
    broken = lazily("(好")
    with pytest.raises(re.error):
        broken.search("好")


def test_normalising_plain_chat_needs_no_table_and_every_entry_of_the_table_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped, odd = normalisation._mapping()
    assert all(normalisation._UNUSUAL.search(character) and odd.search(character) for character in mapped)
    monkeypatch.setattr(normalisation, "_mapping", None)
    assert normalisation.normalise("真的吗?我 也觉得...OK  那好,再见!!!!!") == "真的吗？我 也觉得……OK 那好，再见！！！"
