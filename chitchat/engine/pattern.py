"""A regular expression tried only on what has the letters that it cannot do without.

The persona sheet has hundreds, and nearly all fail for lack of a letter; those need not even be compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeAlias

from chitchat.errors import ConfigError

Needed: TypeAlias = tuple[frozenset[str], ...]
"""Of each set a match holds one letter at least."""

_letters = lru_cache(maxsize=256)(frozenset[str])

_COMMON = frozenset("你我的是了不有吗")
"""What most texts have one of."""
_TOKEN = re.compile(
    r"""
    \( (?:\?:|\?P<\w+>)? (?P<words> [\w|]+ ) \)   # (早上|晚上): most of what the sheet has in groups
    | (?P<letters> \w+ ) (?! [?*{] )
    | \\. | \[\^?\]? (?:\\.|[^\]])* \]        # \d [^我他]
    | \(\? (?: [:=!] | <[=!] | P<\w+> ) | \(\?
    | [?*+] [?+]? | \{\d*,?\d*\} \??
    | .
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Pattern:
    """A regular expression, compiled when first needed: all of the persona sheet's take 0.2 s."""

    source: str
    place: str
    """Where it is written, for the error that a broken one raises."""
    not_before: str = ""
    """Letters that must not stand before a match; a look-behind would take a sixth longer to compile."""

    def search(self, text: str) -> re.Match[str] | None:
        """The first match that no letter of `not_before` precedes."""
        return next(self.all_in(text), None)

    def all_in(self, text: str) -> Iterator[re.Match[str]]:
        """The matches that no letter of `not_before` precedes, first to last."""
        if self.may_match(text):
            for found in self.regex.finditer(text):
                if found.start() == 0 or text[found.start() - 1] not in self.not_before:
                    yield found

    def about(self, who: str) -> Pattern:
        """This pattern with `who` for its slot `{who}`."""
        return replace(self, source=self.source.replace("{who}", re.escape(who))) if "{who}" in self.source else self

    def may_match(self, text: str) -> bool:
        """False when it lacks a letter that every match has."""
        return not any(map(_letters(text).isdisjoint, self.needed))

    @cached_property
    def needed(self) -> Needed:
        """Letters without which nothing matches; of 692 patterns 22 are left for an average clause."""
        return needed_letters(self.source)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        try:
            return re.compile(self.source)
        except re.error as error:
            raise ConfigError(f"{self.place}：正则表达式写错了（{error}）：{self.source}") from None


def needed_letters(source: str) -> Needed:
    """What every match of a regular expression holds; () when nothing can be told, as of one with flags.

    >>> [sorted(letters) for letters in needed_letters("我(昨|今)天?[吃喝]了")]
    [['我'], ['今', '昨'], ['吃', '喝'], ['了']]
    """
    try:
        return _either(_TOKEN.finditer(source))
    except (_CannotTellError, IndexError):  # IndexError: a quantifier with nothing before it, which compiling will tell
        return ()


class _CannotTellError(Exception):
    """A group that does more than group."""


def _either(tokens: Iterator[re.Match[str]]) -> Needed:
    """What alternatives need, up to the end or the closing parenthesis: what the only one does, else one letter of any."""
    branches: list[list[Needed]] = [[]]  # of each atom of each alternative what it needs
    for found in tokens:
        token, branch = found.group(), branches[-1]
        if found.lastgroup == "letters":
            branch.append(tuple(map(frozenset, token)))
        elif found.lastgroup == "words":
            words = found["words"].split("|")
            branch.append((frozenset(word[0] for word in words),) if all(words) else ())
        elif token == ")":
            break
        elif token == "|":
            branches.append([])
        elif token[0] == "(":
            inner = _either(tokens)
            if token == "(?":
                raise _CannotTellError
            branch.append(inner if token in ("(", "(?:") or token.startswith("(?P") else ())
        elif token[0] in "?*" or token[:2] in ("{0", "{,"):
            branch.pop()
            branch.append(())
        elif token[0] == "[" and token[1:2] != "^" and not {"\\", "-"} & set(token):
            branch.append((frozenset(token[1:-1]),))
        elif token[0] not in "+{":  # which leave one at least
            branch.append((frozenset(token),) if token.isalnum() else ())
    needs = [tuple(letters for atom in branch for letters in atom) for branch in branches]
    if len(needs) == 1:
        return needs[0]
    return (frozenset[str]().union(*(min(n, key=_commonness) for n in needs)),) if all(needs) else ()


def _commonness(letters: frozenset[str]) -> tuple[bool, int]:
    """Less for what fewer texts have a letter of."""
    return not _COMMON.isdisjoint(letters), len(letters)
