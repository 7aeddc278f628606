"""What all cleaning rules share: a name, a description, and a quick way to tell that a text is none of their business."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A named rule and its description for the report.

    A text with none of the characters `signs`, none of `words`, and nothing that `needs` finds, is one the rule has nothing to
    do with. Nearly all text is: the signs of all rules are looked for in one scan, and so are the words. `words` are patterns
    joined by |, each beginning with a character, so that the scan stops at those characters only. Many messages are scanned at
    once, a line each, so that neither `words` nor `needs` may match a line end.
    """

    name: str
    description: str
    signs: str = field(default="", kw_only=True)
    words: str = field(default="", kw_only=True)
    needs: re.Pattern[str] | None = field(default=None, kw_only=True)


@lru_cache
def triggers(rules: tuple[Rule, ...]) -> tuple[re.Pattern[str], ...]:
    """Patterns of which a text must match one for any of the rules to apply; rules that need nothing are not counted."""
    signs = "".join(rule.signs for rule in rules)
    words = "|".join(rule.words for rule in rules if rule.words)
    needs = dict.fromkeys(rule.needs for rule in rules if rule.needs)
    return (*([one_of(signs)] if signs else []), *([re.compile(words)] if words else []), *needs)


@lru_cache
def one_of(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{re.escape(characters)}]")
