"""Dialogues worth learning from: each message normalised, each rule a small function in the table `RULES`.

A message that breaks a rule is a break point, for what stood before it is no context for what comes after; a dialogue that
breaks one is dropped whole. Everything dropped is counted under the rule's name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chitchat.config import PrepareConfig
from chitchat.corpus.normalisation import normalise
from chitchat.corpus.source_file import read_head, read_lines
from chitchat.dialogue import Dialogue

__all__ = ["MIN_DIALOGUE_MESSAGES", "RULES", "Cleaned", "Rule", "clean_dialogue", "normalise", "read_drop_words"]

MIN_DIALOGUE_MESSAGES = 2
"""A message alone answers nothing and is answered by nothing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A named reason to drop a message (`breaks` is asked about each) and its description for the report."""

    name: str
    description: str
    breaks: Callable[[str, PrepareConfig], bool]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left of a dialogue, and how often each rule dropped a message, a run or the whole of it."""

    dialogues: tuple[Dialogue, ...]
    dropped: Mapping[str, int]


def is_empty(message: str, config: PrepareConfig) -> bool:
    return not message


def is_too_short(message: str, config: PrepareConfig) -> bool:
    return len(message) < config.min_message_chars


def is_too_long(message: str, config: PrepareConfig) -> bool:
    return len(message) > config.max_message_chars


def has_no_content(message: str, config: PrepareConfig) -> bool:
    """True for rulers and stray signs (----, |, ，); ？？？, …… and faces such as ^_^ or :) are talk."""
    if _SAYS_SOMETHING.search(message):
        return False
    return len(set(message)) < 2 and not any(unicodedata.category(character) == "So" for character in message)


_SAYS_SOMETHING = re.compile(r"[^\W_]|[？！。…～~?!\U0001f000-\U0001faff]")

RULES: tuple[Rule, ...] = (
    Rule("empty", "空消息", is_empty),
    Rule("too_short", "消息太短", is_too_short),
    Rule("too_long", "消息太长", is_too_long),
    Rule("no_content", "消息里没有文字或表情", has_no_content),
)
DROP_WORD = "drop_word"
ALONE = "alone"
DESCRIPTIONS: Mapping[str, str] = {rule.name: rule.description for rule in RULES} | {
    DROP_WORD: "对话含有要丢弃的词",
    ALONE: "切开后只剩一句",
}


def clean_dialogue(dialogue: Dialogue, config: PrepareConfig, drop_words: Collection[str] = ()) -> Cleaned:
    """The runs of at least two good messages a dialogue holds, in order.

    `drop_words` are looked for anywhere in the text, whatever their case; `read_drop_words` reads them from a file.
    """
    messages = tuple(map(normalise, dialogue.messages)) if config.normalise else dialogue.messages
    if drop_words and _holds_word(messages, _word_index(frozenset(drop_words))):
        return Cleaned((), {DROP_WORD: 1})
    dropped: dict[str, int] = {}
    kept: list[Dialogue] = []
    for run in _runs(messages, config, dropped):
        if len(run) < MIN_DIALOGUE_MESSAGES:
            dropped[ALONE] = dropped.get(ALONE, 0) + 1
        else:
            kept.append(Dialogue(run, dialogue.line))
    return Cleaned(tuple(kept), dropped)


def _runs(messages: tuple[str, ...], config: PrepareConfig, dropped: dict[str, int]) -> Iterator[tuple[str, ...]]:
    """The messages between those that break a rule."""
    start = 0
    for end, message in enumerate(messages):
        if broken := _broken_rule(message, config):
            dropped[broken] = dropped.get(broken, 0) + 1
            if start < end:
                yield messages[start:end]
            start = end + 1
    if start < len(messages):
        yield messages[start:]


def _broken_rule(message: str, config: PrepareConfig) -> str | None:
    for rule in RULES:
        if rule.breaks(message, config):
            return rule.name
    return None


def read_drop_words(path: Path) -> frozenset[str]:
    """The words of a file, one a line, `#` starting a comment line; raises CorpusError for a file that is no UTF-8 text."""
    read_head(path)
    words = (line.text.strip() for line in read_lines(path))
    return frozenset(word for word in words if word and not word.startswith("#"))


@lru_cache(maxsize=8)
def _word_index(words: frozenset[str]) -> tuple[re.Pattern[str], dict[str, tuple[str, ...]]] | None:
    """Words by their first character, and a pattern that finds such characters: ten thousand words cost as little as ten."""
    index: dict[str, tuple[str, ...]] = {}
    for word in sorted({normalise(word).casefold() for word in words} - {""}):
        index[word[0]] = (*index.get(word[0], ()), word)
    return (re.compile("[" + "".join(map(re.escape, index)) + "]"), index) if index else None


def _holds_word(messages: Sequence[str], words: tuple[re.Pattern[str], dict[str, tuple[str, ...]]] | None) -> bool:
    if words is None:
        return False
    first, index = words
    text = "\n".join(messages).casefold()
    return any(text.startswith(index[match[0]], match.start()) for match in first.finditer(text))
