"""What is not talked about, both ways: the user's message that gets a fixed answer, the candidate that is never said.

Knows words and combinations of words (`data/safety.yaml`), found by one pass of an automaton (Aho and Corasick 1975,
https://doi.org/10.1145/360825.360855) over the letters alone. Knows nothing of meaning: irony, other languages and harm told
without a listed word pass.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import ahocorasick
import yaml

from chitchat.dialogue import Message
from chitchat.errors import ConfigError

MAX_TOGETHER = 30
"""Letters between the parts of a `甲 + 乙` rule and the part found least often."""
MAX_BETWEEN = 6
"""Letters between one part and the next of a `甲 > 乙` rule."""
REMEMBERED_TURNS = 10
"""User turns looked at: the present one and those before, as long as each goes on with the last."""

SEPARATED, PUNCTUATED = 1, 2
_CLAUSE_MARKS = frozenset(",，。、!?！？;；:：\n")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A user message that only one of `replies` may answer."""

    category: str
    replies: tuple[str, ...]


class _Reading(NamedTuple):
    """A text's letters in one script, width and case; `gaps[i]` tells what stood before letter i, the last one the end."""

    letters: str
    gaps: bytes


@dataclass(frozen=True, slots=True)
class _FollowUp:
    """How a turn after a verdict is known to go on with it: by its words, or by saying nearly nothing."""

    terms: int
    """Slot of words that go on with it."""
    unless: int | None
    """Slot of words that leave it."""
    max_letters: int
    replies: tuple[str, ...]
    answers: tuple[_FollowUp, ...] = ()
    """What is listened for first, each with replies of its own: danger, help that came, a denial, thanks, good night."""


@dataclass(frozen=True, slots=True)
class _Category:
    name: str
    rank: int
    """Its place in the list; an earlier one is graver."""
    label: str
    replies: tuple[str, ...]
    follow_up: _FollowUp | None


@dataclass(frozen=True, slots=True)
class _Rule:
    category: _Category
    sides: tuple[str, ...]
    chains: tuple[tuple[int, ...], ...]
    """Slots: those of one chain follow each other, the chains stand anywhere."""
    whole: bool
    unless: int | None
    """Slot of words that void what they cover: 杀青 voids 杀."""
    unless_anywhere: int | None
    """Slot of words that void the rule in the whole message."""


class _Judgement(NamedTuple):
    """What a turn is found to be, and what a next one of few letters goes on with."""

    category: _Category
    replies: tuple[str, ...]
    follow_up: _FollowUp | None


class Safety:
    """The screen of both directions; `Safety.load` makes one."""

    def __init__(self, rules: Sequence[_Rule], terms: Mapping[str, Sequence[int]], simplified: Mapping[str, str]) -> None:
        self._rules = tuple(rules)
        self._simplified = dict(simplified)
        self._lengths = list(map(len, terms))
        self._slots_of = list(terms.values())
        self._automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)  # numbers of terms: quicker to build than objects
        for number, term in enumerate(terms):
            self._automaton.add_word(term, number)
        self._automaton.make_automaton()
        # A rule is looked at only when the slot that fewest rules share was found: 炸弹, not 怎么.
        uses: dict[int, int] = {}
        for rule in rules:
            for slot in chain.from_iterable(rule.chains):
                uses[slot] = uses.get(slot, 0) + 1
        self._rules_of: dict[int, list[int]] = {}
        for index, rule in enumerate(rules):
            self._rules_of.setdefault(min(chain.from_iterable(rule.chains), key=uses.__getitem__), []).append(index)

    @classmethod
    def load(cls, path: Path) -> Safety:
        """The screen of a word list; its head tells the format. Raises ConfigError naming file and key."""
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}：读不出安全词表（{error}）；请用仓库里的 data/safety.yaml") from None
        builder = _Builder()
        try:
            builder.build(data)
            return cls(builder.rules, builder.terms(), builder.simplified)
        except ConfigError as error:
            raise ConfigError(f"{path}：{error}") from None

    def screen(self, messages: Sequence[Message]) -> Verdict | None:
        """What the last user message calls for in its context, or None when it may be answered freely."""
        turns = [m.content for m in messages if m.role == "user"][-REMEMBERED_TURNS:]
        found = self._judge(turns) if turns else None
        return None if found is None else Verdict(found.category.name, found.replies)

    def unsafe(self, text: str, messages: Sequence[Message] = ()) -> str | None:
        """Why `text` must not be said, in Chinese, or None when it may be.

        With `messages`, also whatever is not one of the replies their verdict allows.
        """
        category, _ = self._match(_read(text, self._simplified), "bot")
        if category is not None:
            return f"含有{category.label}内容"
        verdict = self.screen(messages)
        if verdict is not None and text not in verdict.replies:
            return "对方的话只能用固定的话回答"
        return None

    def _judge(self, turns: Sequence[str]) -> _Judgement | None:
        """The category of the last user turn and what may be said to it."""
        category, found = self._match(_read(turns[-1], self._simplified), "user")
        before = self._judge(turns[:-1]) if len(turns) > 1 else None
        if before is not None and (category is None or before.category.rank < category.rank):
            follow_up = self._goes_on(before, turns[-1], found)
            if follow_up is not None:
                return _Judgement(before.category, follow_up.replies, follow_up)
        if category is None and len(turns) > 1 and before is None:
            category, _ = self._match(_read("\n".join(turns[-2:]), self._simplified), "user", across_turns=True)
        return None if category is None else _Judgement(category, category.replies, category.follow_up)

    def _goes_on(self, before: _Judgement, text: str, found: Mapping[int, list[Span]]) -> _FollowUp | None:
        """How a turn goes on with the one before; one of few letters stays where that one was."""
        whole = before.category.follow_up
        if whole is None or before.follow_up is None or whole.unless in found:
            return None
        for follow_up in (*whole.answers, whole):
            if follow_up.terms in found and follow_up.unless not in found:
                return follow_up
        few = len(_read(text, self._simplified).letters) <= before.follow_up.max_letters
        return before.follow_up if few else None

    def _match(
        self, reading: _Reading, side: str, *, across_turns: bool = False
    ) -> tuple[_Category | None, Mapping[int, list[Span]]]:
        """The first category, in the list's order, with a rule that holds; and all that was found, by slot.

        `across_turns` leaves out ordered rules: 炸弹 and 怎么做 belong together from two messages, 你 and 笨 seldom.
        """
        found = self._find(reading)
        for index in sorted(i for slot in found for i in self._rules_of.get(slot, ())):
            rule = self._rules[index]
            if side not in rule.sides or (across_turns and any(len(slots) > 1 for slots in rule.chains)):
                continue
            if rule.unless_anywhere is not None and rule.unless_anywhere in found:
                continue
            shields = found.get(rule.unless, ()) if rule.unless is not None else ()
            parts = [_follow(slots, found, shields) for slots in rule.chains]
            if all(parts) and (_near(parts) if not rule.whole else (0, len(reading.letters)) in parts[0]):
                return rule.category, found
        return None, found

    def _find(self, reading: _Reading) -> dict[int, list[Span]]:
        found: dict[int, list[Span]] = {}
        for last, number in self._automaton.iter(reading.letters):
            span = (last + 1 - self._lengths[number], last + 1)
            if _is_one_word(reading, *span):
                for slot in self._slots_of[number]:
                    found.setdefault(slot, []).append(span)
        return found


def _fold(text: str, simplified: Mapping[str, str]) -> str:
    """One width, case and script."""
    text = unicodedata.normalize("NFKD", text).casefold()
    for char in simplified.keys() & set(text):  # few; `str.translate` would look up every character
        text = text.replace(char, simplified[char])
    return text


def _read(text: str, simplified: Mapping[str, str]) -> _Reading:
    letters = []
    gaps = bytearray()
    gap = PUNCTUATED
    for char in _fold(text, simplified):
        if char.isalnum():
            letters.append(char)
            gaps.append(gap)
            gap = 0
        elif char in _CLAUSE_MARKS:
            gap = PUNCTUATED
        elif not gap and unicodedata.category(char) not in ("Cf", "Mn", "Me"):  # zero-width, accents, emoji selectors
            gap = SEPARATED
    gaps.append(PUNCTUATED)
    return _Reading("".join(letters), bytes(gaps))


def _is_one_word(reading: _Reading, start: int, end: int) -> bool:
    """False for letters that only meet across a clause (来自，杀鸡) or inside a Latin word (sb in usb)."""
    letters, gaps = reading
    inner = gaps[start + 1 : end]
    if PUNCTUATED in inner and not (all(inner) and (len(inner) > 1 or (gaps[start] and gaps[end]))):  # 杀。了。他 is one
        return False
    if letters[start].isascii() and not gaps[start] and letters[start - 1].isascii():
        return False
    return not (letters[end - 1].isascii() and not gaps[end] and letters[end].isascii())


def _covered(span: Span, shields: Iterable[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in shields)


def _follow(slots: Sequence[int], found: Mapping[int, list[Span]], shields: Iterable[Span]) -> list[Span]:
    """The spans of the last slot that end a chain of all `slots`."""
    ends: list[Span] = []
    for position, slot in enumerate(slots):
        spans = [span for span in found.get(slot, ()) if not _covered(span, shields)]
        if position:
            spans = [span for span in spans if any(0 <= span[0] - end <= MAX_BETWEEN for _, end in ends)]
        if not spans:
            return []
        ends = spans
    return ends


def _near(parts: Sequence[Sequence[Span]]) -> bool:
    rarest = min(parts, key=len)
    return any(all(any(abs(start - anchor) <= MAX_TOGETHER for start, _ in part) for part in parts) for anchor, _ in rarest)


class _Builder:
    """Turns the YAML value into rules; every fault names its key."""

    SIDES: Mapping[str, tuple[str, ...]] = {"both": ("user", "bot"), "user": ("user",), "bot": ("bot",)}
    CATEGORY_KEYS = ("label", "replies", "rules", "follow_up")
    BLOCK_KEYS = (*SIDES, "unless", "unless_anywhere")
    ANSWER_KEYS = ("terms", "unless", "max_letters", "replies")
    FOLLOW_UP_KEYS = (*ANSWER_KEYS, "answers")

    def __init__(self) -> None:
        self.rules: list[_Rule] = []
        self.simplified: dict[str, str] = {}
        self._sets: list[tuple[list[str], tuple[int, ...], str]] = []
        """Words, their slots, and where they stand in the file."""
        self._slots: dict[str, int] = {}
        self._groups: dict[str, list[str]] = {}
        self._slots_of_group: dict[str, list[int]] = {}

    def build(self, data: Any) -> None:
        _check_keys(data, "", ("traditional", "groups", "categories"))
        for entry in _text(data, "traditional").split():
            self.simplified |= dict.fromkeys(entry[1:], entry[0])
        groups = _mapping(data, "groups")
        for name in groups:
            self._groups[name] = _text(groups, name, "groups.").split()
            self._slots_of_group[name] = []
        for rank, (name, value) in enumerate(_mapping(data, "categories").items()):
            self._add_category(name, rank, value)
        if not self.rules:
            raise ConfigError("categories：没有一条规则")
        self._sets += [(words, tuple(self._slots_of_group[name]), f"groups.{name}") for name, words in self._groups.items()]

    def _add_category(self, name: str, rank: int, value: Any) -> None:
        where = f"categories.{name}."
        _check_keys(value, where, self.CATEGORY_KEYS)
        replies = _texts(value, "replies", where)
        follow_up = self._follow_up(value["follow_up"], f"{where}follow_up.", replies) if "follow_up" in value else None
        category = _Category(name, rank, _text(value, "label", where), replies, follow_up)
        if not isinstance(blocks := value.get("rules"), list):
            raise ConfigError(f"{where}rules：应为规则的列表，得到 {blocks!r:.40}")
        for number, block in enumerate(blocks):
            self._add_block(category, block, f"{where}rules[{number}].")

    def _add_block(self, category: _Category, block: Any, where: str) -> None:
        _check_keys(block, where, self.BLOCK_KEYS)
        unless = self._slot_of(block, "unless", where)
        unless_anywhere = self._slot_of(block, "unless_anywhere", where)
        for key, sides in self.SIDES.items():
            for number, entry in enumerate(_texts(block, key, where) if key in block else ()):
                place = f"{where}{key}[{number}]"
                chains = tuple(
                    tuple(self._slot(part.replace(" ", ""), "|", place) for part in parts.split(" > "))
                    for parts in entry.removeprefix("=").split(" + ")
                )
                self.rules.append(_Rule(category, sides, chains, entry.startswith("="), unless, unless_anywhere))

    def _follow_up(self, value: Any, where: str, replies: tuple[str, ...]) -> _FollowUp:
        _check_keys(value, where, self.FOLLOW_UP_KEYS)
        if not isinstance(entries := value.get("answers", []), list):
            raise ConfigError(f"{where}answers：应为列表，得到 {entries!r:.40}")
        answers = []
        for number, entry in enumerate(entries):
            place = f"{where}answers[{number}]."
            _check_keys(entry, place, self.ANSWER_KEYS)
            answers.append(self._heard(entry, place, _texts(entry, "replies", place)))
        if "replies" in value:
            replies = _texts(value, "replies", where)
        return replace(self._heard(value, where, replies), answers=tuple(answers))

    def _heard(self, value: Mapping[str, Any], where: str, replies: tuple[str, ...]) -> _FollowUp:
        max_letters = value.get("max_letters", 0)
        if not isinstance(max_letters, int):
            raise ConfigError(f"{where}max_letters：应为整数（字数），得到 {max_letters!r}")
        terms = self._slot(_text(value, "terms", where), None, f"{where}terms")
        return _FollowUp(terms, self._slot_of(value, "unless", where), max_letters, replies)

    def _slot_of(self, value: Mapping[str, Any], key: str, where: str) -> int | None:
        return self._slot(_text(value, key, where), None, where + key) if key in value else None

    def _slot(self, words: str, separator: str | None, where: str) -> int:
        """The number of a set of words, `$group` standing for the group's; equal sets share one."""
        if words in self._slots:
            return self._slots[words]
        slot = self._slots[words] = len(self._slots)
        entries = words.split(separator)
        for name in [entry[1:] for entry in entries if entry.startswith("$")] if "$" in words else ():
            if name not in self._groups:
                raise ConfigError(f"{where}：没有词组 ${name}；可用：{'、'.join(self._groups)}")
            self._slots_of_group[name].append(slot)
            entries.remove(f"${name}")
        self._sets.append((entries, (slot,), where))
        return slot

    def terms(self) -> dict[str, tuple[int, ...]]:
        """The slots of every word, written as texts are read; all are folded in one go, which halves the time of loading."""
        folded = iter(_fold("\n".join(chain.from_iterable(words for words, _, _ in self._sets)), self.simplified).split("\n"))
        terms: dict[str, tuple[int, ...]] = {}
        for words, slots, where in self._sets:
            for word in islice(folded, len(words)):
                letters = word if word.isalnum() else "".join(filter(str.isalnum, word))
                if not letters:
                    raise ConfigError(f"{where}：有一个空词，请检查竖线")
                others = terms.setdefault(letters, slots)  # one tuple for many words: little for the garbage collector to visit
                if others is not slots:
                    terms[letters] = others + slots
        return terms


def _check_keys(value: Any, where: str, known: Sequence[str]) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{where.rstrip('.') or '文件'}：应为 键: 值，得到 {value!r:.40}")
    if unknown := [key for key in value if key not in known]:
        raise ConfigError(f"{where}{unknown[0]}：未知的键；可用：{'、'.join(known)}")


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not isinstance(value.get(key), dict):
        raise ConfigError(f"{key}：应为 名字: 内容，得到 {value.get(key)!r:.40}")
    return {str(name): content for name, content in value[key].items()}


def _text(value: Mapping[str, Any], key: str, where: str = "") -> str:
    if not isinstance(text := value.get(key), str) or not text.strip():
        raise ConfigError(f"{where}{key}：应为一段文字，得到 {text!r:.40}")
    return text


def _texts(value: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """A list of texts; faults name the item."""
    entries = value.get(key)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{where}{key}：应为文字的列表，至少一项，得到 {entries!r:.40}")
    for number, entry in enumerate(entries):
        if not isinstance(entry, str) or not entry.strip():
            raise ConfigError(f"{where}{key}[{number}]：应为文字，得到 {entry!r:.40}（像数字的词请加引号）")
    return tuple(entries)
