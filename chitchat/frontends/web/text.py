"""The page's words in English, by the Chinese ones that stand in the code; Chinese stays as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

import yaml

Translate: TypeAlias = Callable[[str], str]
"""The words of the page's language, from the Chinese ones."""

ENGLISH: Mapping[str, str] = yaml.safe_load(Path(__file__).with_name("english.yaml").read_text(encoding="utf-8"))


def translator(language: str) -> Translate:
    """For "en" the English words, where there are any; for anything else the Chinese ones."""
    return _english if language == "en" else (lambda chinese: chinese)


def _english(chinese: str) -> str:
    if chinese in ENGLISH:
        return ENGLISH[chinese]
    for pattern, template in _templates():
        if found := pattern.fullmatch(chinese):  # a fault comes with its values in it, and they may be words too
            return template.format(**{name: _english(value) for name, value in found.groupdict().items()})
    place, colon, fault = chinese.partition(": ")  # a fault of a file begins with its name and line
    return f"{place}{colon}{_english(fault)}" if colon else chinese


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """The words with values in them, as what matches them in Chinese and says them in English."""
    return [
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+?)", re.escape(chinese)), re.DOTALL), english)
        for chinese, english in ENGLISH.items()
        if re.search(r"{\w+}", chinese)
    ]
