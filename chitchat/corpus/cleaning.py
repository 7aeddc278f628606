"""Dialogues worth learning from: each message normalised and rewritten, then judged by rules.

A message that breaks a rule is a break point, for what stood before it is no context for what comes after; a dialogue that
breaks one is dropped whole. Everything dropped is counted and kept under the rule's name. The rules themselves stand in
`rewriting` and `dropping`; here is their order, and what takes more than one message to judge.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from pathlib import Path

from chitchat.config import PrepareConfig
from chitchat.corpus.normalisation import normalise, normalise_all
from chitchat.corpus.reading.source_file import read_head, read_lines
from chitchat.corpus.rules.base import triggers
from chitchat.corpus.rules.dropping import DROPPING_RULES, SAYS_SOMETHING, DroppingRule
from chitchat.corpus.rules.personal_data import redact
from chitchat.corpus.rules.rewriting import REWRITING_RULES, RewritingRule, rewrite
from chitchat.corpus.scanning import JoinedTexts
from chitchat.dialogue import Dialogue

__all__ = ["DESCRIPTIONS", "Cleaned", "Rejected", "clean_dialogue", "clean_dialogues", "normalise", "read_drop_words"]

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
    """What is left of dialogues, how often each rule dropped a message, a run or the whole of one, and what it dropped.

    `changed` counts the messages that each rewriting rule changed.
    """

    dialogues: tuple[Dialogue, ...]
    dropped: Mapping[str, int]
    changed: Mapping[str, int]
    rejected: tuple[Rejected, ...]


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
    """What `clean_dialogues` makes of one dialogue."""
    return clean_dialogues((dialogue,), config, drop_words)


def clean_dialogues(dialogues: Sequence[Dialogue], config: PrepareConfig, drop_words: Collection[str] = ()) -> Cleaned:
    """The runs of good messages that dialogues hold, in order; cleaning them again changes nothing.

    `drop_words` are looked for anywhere in the text, whatever their case; `read_drop_words` reads them from a file. A thousand
    dialogues together take half the time that they take one by one. Raises ConfigError for traditional characters when OpenCC
    is not installed.
    """
    rules = _rules(config.rules_off, config.keep_emoji)
    messages = list(chain.from_iterable(dialogue.messages for dialogue in dialogues))
    messages = normalise_all(messages) if config.normalise else messages
    starts = list(accumulate((len(dialogue.messages) for dialogue in dialogues), initial=0))
    changed = _rewrite(messages, rules, config)
    broken = _broken_rules(messages, starts, rules, config)
    words = _word_index(frozenset(drop_words)) if drop_words else None
    kept: list[Dialogue] = []
    rejected: list[Rejected] = []
    for number, dialogue in enumerate(dialogues):
        written = Dialogue(tuple(messages[starts[number] : starts[number + 1]]), dialogue.line)
        if words is not None and _holds_word("\n".join(written.messages), words):
            rejected.append(_rejected(DROP_WORD, dialogue, slice(None), rules))
        elif number in broken or not _is_right_length(written, config):
            runs, rest = _cut(dialogue, written, broken.get(number, {}), rules, config)
            kept += runs
            rejected += rest
        else:  # nearly every dialogue
            kept.append(written)
    return Cleaned(tuple(kept), Counter(one.rule for one in rejected), changed, tuple(rejected))


def _rewrite(messages: list[str], rules: _Rules, config: PrepareConfig) -> Counter[str]:
    """Rewrites messages in place; how many of them each rule changed."""
    changed: Counter[str] = Counter()
    for index in sorted(JoinedTexts(messages).matching(rules.may_rewrite)):
        messages[index], names = rewrite(messages[index], rules.rewriting, normalised=config.normalise)
        changed.update(names)
    return changed


def _broken_rules(
    messages: Sequence[str], starts: Sequence[int], rules: _Rules, config: PrepareConfig
) -> dict[int, dict[int, str]]:
    """Of dialogues, by number, the messages that break a rule, by index within the dialogue, and the first one each breaks.

    `starts` says which message is the first of each dialogue.
    """
    low, high = config.min_message_chars, config.max_message_chars
    suspects = JoinedTexts(messages).matching((_SAYS_NOTHING_AT_FIRST, *rules.may_drop))
    suspects.update(index for index, message in enumerate(messages) if not low <= len(message) <= high)
    broken: dict[int, str] = {}
    for index in suspects:
        for rule in rules.dropping:
            if rule.breaks(messages[index], config):
                broken[index] = rule.name
                break
    if rules.drops_copies:
        for index in _copies(messages, frozenset(starts)):
            broken.setdefault(index, COPY)
    by_dialogue: dict[int, dict[int, str]] = {}
    for index, name in sorted(broken.items()):
        number = bisect_right(starts, index) - 1
        by_dialogue.setdefault(number, {})[index - starts[number]] = name
    return by_dialogue


_SAYS_NOTHING_AT_FIRST = re.compile(rf"\n(?!{SAYS_SOMETHING.pattern})")
"""Before a message, as `JoinedTexts` has it, that may break a rule without holding any rule's sign."""


def _copies(messages: Sequence[str], starts: Collection[int]) -> Iterator[int]:
    """The messages that are, but for their signs, the one before."""
    for index, (before, message) in enumerate(pairwise(messages), 1):
        # the first character nearly always tells them apart
        if message[:1] == before[:1] and index not in starts:
            letters = _letters(message)
            if len(letters) >= _MIN_COPIED_LETTERS and letters == _letters(before):
                yield index


def _letters(message: str) -> str:
    return _SIGNS.sub("", message)


_SIGNS = re.compile(r"[\W_]+")


def _is_right_length(dialogue: Dialogue, config: PrepareConfig) -> bool:
    length = len(dialogue.messages)
    return config.min_dialogue_messages <= length <= (config.max_dialogue_messages or length)


def _cut(
    dialogue: Dialogue, written: Dialogue, broken: Mapping[int, str], rules: _Rules, config: PrepareConfig
) -> tuple[list[Dialogue], list[Rejected]]:
    """The runs between broken messages, as written, and what is left over, as read."""
    kept, rejected = [], []
    length = len(written.messages)
    for start, end in _runs(broken, length, config.max_dialogue_messages or length):
        if end - start >= config.min_dialogue_messages:
            kept.append(Dialogue(written.messages[start:end], dialogue.line))
        else:
            rejected.append(_rejected(TOO_FEW, dialogue, slice(start, end), rules))
    for index, rule in broken.items():
        rejected.append(_rejected(rule, dialogue, slice(index, index + 1), rules))
    return kept, rejected


def _rejected(rule: str, dialogue: Dialogue, span: slice, rules: _Rules) -> Rejected:
    as_read = "\n".join(dialogue.messages[span])
    return Rejected(rule, dialogue.line, (redact(as_read) if rules.masks else as_read)[:_MAX_REJECTED_CHARS])


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
