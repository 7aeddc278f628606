"""The page's words in English, by the Chinese ones that stand in the code; Chinese stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import yaml

Translate: TypeAlias = Callable[[str], str]
"""The words of the page's language, from the Chinese ones."""

ENGLISH: Mapping[str, str] = yaml.safe_load(Path(__file__).with_name("english.yaml").read_text(encoding="utf-8"))


def translator(language: str) -> Translate:
    """For "en" the English words, where there are any; for anything else the Chinese ones."""
    return (lambda chinese: ENGLISH.get(chinese, chinese)) if language == "en" else (lambda chinese: chinese)
