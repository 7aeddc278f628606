"""Dialogues worth learning from: each message normalised and rewritten, then judged by rules.

A message that breaks a rule is a break point, for what stood before it is no context for what comes after; a dialogue that
breaks one is dropped whole. Everything dropped is counted and kept under the rule's name. The rules themselves stand in
`rewriting` and `dropping`; here is their order, and what takes more than one message to judge.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from chitchat.config import PrepareConfig
from chitchat.corpus.normalisation import normalise
from chitchat.corpus.reading.source_file import read_head, read_lines
from chitchat.corpus.rules.base import matches_any, triggers
from chitchat.corpus.rules.dropping import DROPPING_RULES, SAYS_SOMETHING, DroppingRule
from chitchat.corpus.rules.personal_data import redact
from chitchat.corpus.rules.rewriting import REWRITING_RULES, RewritingRule, rewrite
from chitchat.dialogue import Dialogue

__all__ = ["DESCRIPTIONS", "Cleaned", "Rejected", "clean_dialogue", "normalise", "read_drop_words"]

DROP_WORD = "drop_word"
COPY = "copies"
TOO_FEW = "too_few_messages"
DESCRIPTIONS: Mapping[str, str] = {rule.name: rule.description for rule in (*REWRITING_RULES, *DROPPING_RULES)} | {
    DROP_WORD: "对话含有要丢弃的词",
    COPY: "照抄上一句",
    TOO_FEW: "切开后剩下的消息太少",
}
"""What each rule does, for a report in Chinese."""

_MIN_COPIED_LETTERS = 6
"""生日快乐 answers 生日快乐; a whole sentence said again is a slip of the collection."""
_MAX_REJECTED_CHARS = 500


@dataclass(frozen=True, slots=True)
class Rejected:
    """What one rule dropped: its name, the dialogue's line in the file, the text (a dialogue's messages by newlines).

    Personal data is masked in the text, unless that rule is off; text over 500 characters is cut.
    """

    rule: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left of a dialogue, how often each rule dropped a message, a run or the whole of it, and what it dropped.

    `changed` counts the messages that each rewriting rule changed.
    """

    dialogues: tuple[Dialogue, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules that are on, and what a text must match for them to have anything to do with it."""

    rewriting: tuple[RewritingRule, ...]
    dropping: tuple[DroppingRule, ...]
    may_rewrite: tuple[re.Pattern[str], ...]
    may_drop: tuple[re.Pattern[str], ...]
    masks: bool
    drops_copies: bool


@lru_cache(maxsize=8)
def _rules(off: tuple[str, ...], keeps_emoji: bool) -> _Rules:
    off = (*off, "emoji") if keeps_emoji else off
    rewriting = tuple(rule for rule in REWRITING_RULES if rule.name not in off)
    dropping = tuple(rule for rule in DROPPING_RULES if rule.name not in off)
    return _Rules(
        rewriting,
        dropping,
        may_rewrite=triggers(rewriting),
        may_drop=triggers(dropping),
        masks="personal_data" not in off,
        drops_copies=COPY not in off,
    )


def clean_dialogue(dialogue: Dialogue, config: PrepareConfig, drop_words: Collection[str] = ()) -> Cleaned:
    """The runs of good messages a dialogue holds, in order; cleaning them again changes nothing.

    `drop_words` are looked for anywhere in the text, whatever their case; `read_drop_words` reads them from a file. Raises
    ConfigError for traditional characters when OpenCC is not installed.
    """
    rules = _rules(config.rules_off, config.keep_emoji)
    messages = tuple(map(normalise, dialogue.messages)) if config.normalise else dialogue.messages
    text = "\n".join(messages)
    changed: dict[str, int] = {}
    if matches_any(rules.may_rewrite, text):
        messages = _rewritten(messages, rules, config, changed)
        text = "\n".join(messages)
    holds_word = bool(drop_words) and _holds_word(text, _word_index(frozenset(drop_words)))
    broken = {} if holds_word else _broken_rules(messages, text, rules, config)
    longest = config.max_dialogue_messages or len(messages)
    if not (holds_word or broken) and config.min_dialogue_messages <= len(messages) <= longest:  # nearly every dialogue
        return Cleaned((Dialogue(messages, dialogue.line),), {}, changed)
    kept: list[Dialogue] = []
    rejected: list[Rejected] = []

    def reject(rule: str, dropped: Sequence[str]) -> None:
        as_read = "\n".join(dropped)
        rejected.append(Rejected(rule, dialogue.line, (redact(as_read) if rules.masks else as_read)[:_MAX_REJECTED_CHARS]))

    if holds_word:
        reject(DROP_WORD, dialogue.messages)
    else:
        for start, end in _runs(broken, len(messages), longest):
            if end - start >= config.min_dialogue_messages:
                kept.append(Dialogue(messages[start:end], dialogue.line))
            else:
                reject(TOO_FEW, dialogue.messages[start:end])
        for index, rule in broken.items():
            reject(rule, dialogue.messages[index : index + 1])
    dropped: dict[str, int] = {}
    for one in rejected:
        dropped[one.rule] = dropped.get(one.rule, 0) + 1
    return Cleaned(tuple(kept), dropped, changed, tuple(rejected))


def _rewritten(messages: Sequence[str], rules: _Rules, config: PrepareConfig, changed: dict[str, int]) -> tuple[str, ...]:
    new = []
    for message in messages:
        if matches_any(rules.may_rewrite, message):
            message, names = rewrite(message, rules.rewriting, normalised=config.normalise)
            for name in names:
                changed[name] = changed.get(name, 0) + 1
        new.append(message)
    return tuple(new)


def _broken_rules(messages: Sequence[str], text: str, rules: _Rules, config: PrepareConfig) -> dict[int, str]:
    """The messages, by index, that break a rule, and the first one each breaks."""
    broken: dict[int, str] = {}
    is_suspect = matches_any(rules.may_drop, text)
    low, high = config.min_message_chars, config.max_message_chars
    before = ""
    for index, message in enumerate(messages):
        # The first lines pass nearly every message: it breaks none of the rules that need no sign.
        is_right = low <= len(message) <= high and SAYS_SOMETHING.search(message)
        if not is_right or (is_suspect and matches_any(rules.may_drop, message)):
            for rule in rules.dropping:
                if rule.breaks(message, config):
                    broken[index] = rule.name
                    break
        if message[:1] == before[:1] and rules.drops_copies and index not in broken:
            # Compared without their signs; the first character nearly always tells them apart.
            if len(_letters(message)) >= _MIN_COPIED_LETTERS and _letters(message) == _letters(before):
                broken[index] = COPY
        before = message
    return broken


def _letters(message: str) -> str:
    return _SIGNS.sub("", message)


_SIGNS = re.compile(r"[\W_]+")


def _runs(broken: Collection[int], length: int, longest: int) -> Iterator[tuple[int, int]]:
    """Start and end of the runs between broken messages, each cut into pieces of at most `longest`."""
    start = 0
    for end in (*broken, length):
        for first in range(start, end, max(longest, 1)):
            yield first, min(first + longest, end)
        start = end + 1


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


def _holds_word(text: str, words: tuple[re.Pattern[str], dict[str, tuple[str, ...]]] | None) -> bool:
    if words is None:
        return False
    first, index = words
    text = text.casefold()
    return any(text.startswith(index[match[0]], match.start()) for match in first.finditer(text))
