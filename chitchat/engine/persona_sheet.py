"""The sheet of a character as its file holds it: topics, claims and their patterns, every fault named with its place.

Knows the format (the head of `data/persona.yaml` tells it) and the one way of writing its patterns are matched against. Knows no
conversation: `persona.py` asks the questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chitchat.engine.pattern import Pattern
from chitchat.engine.recall import Told, is_of_others, known_as
from chitchat.engine.rejection import bigrams
from chitchat.errors import ConfigError

_GAP = "[^我他她它咱觉帮给猜看说劝]{0,6}"
"""What `…` stands for: few letters, none of which turns the question to someone else."""
_UNIFIED = (
    (re.compile(r"您|妳|尔等|你们"), "你"),
    (re.compile("你(自己|本人|个人|这家伙|丫|小子|小家伙|这个(?:小)?(?:家伙|机器人|ai))(?=[^的]|$)"), "你"),
    (
        re.compile("请问|到底|究竟|其实|难道|^话说|老实说|说真的|说实话|顺便问|我(?:就)?(?:想|要)?问(?:一下|问|下)?(?=你)|莫非"),
        "",
    ),
    (re.compile("(?<=.)(?<!干)[啊呀嘛哦哈啦呐呗哟喔诶~]+$"), ""),
    (re.compile("啥子|啥"), "什么"),
    (re.compile("咋(?!舌|呼)"), "怎么"),
    (re.compile("哪儿"), "哪里"),
    (re.compile("干(?:嘛|吗|什么|么)"), "干什么"),
    (re.compile("有没有|有木有"), "有"),
    (re.compile("(喜)不喜欢"), "喜欢"),
    (re.compile("(可)不可以"), "可以"),
    (re.compile("(觉)不觉得"), "觉得"),
    (re.compile("(.)[不没]\\1$"), r"\1吗"),
    (re.compile("(.)[不没]\\1"), r"\1"),  # 是不是, 会不会, 累不累
    (re.compile("(?<![什怎这那多])么$"), "吗"),
    (re.compile("(?<=..)(?<![是会能对])不$"), "吗"),
    (re.compile("你你"), "你"),
)
_OPENING = re.compile(
    "^(?:那么?(?![边里儿些个天时样种])|所以|可是|但是?|不过|而且|然后|哎呀?|诶|嗯+|哦|喔|啊|咦|喂|嘿|哈喽|对了|你好(?=你)|好吧|不是|哈+|话说)+(?=.)"
)
_NOT_BEFORE = {"你": "帮给替为把跟让带", "我": "陪对找等"}
"""Before a pattern's leading 你 or 我: 我帮你订票 asks nothing, 你陪我去买 claims nothing."""
_PERSONS = re.compile("[你我他她它咱谁]")

_TOP_KEYS: dict[str, type] = {
    "name": str,
    "profile": dict,
    "words": dict,
    "not_asked": str,
    "not_life": str,
    "topics": dict,
    "otherwise": dict,
    "recalled": list,
    "not_told": list,
    "supposing": str,
    "claims": list,
}
_TOPIC_KEYS: dict[str, type] = {
    "ask": list,
    "about": str,
    "talk": str,
    "replies": list,
    "told": list,
    "recalled": list,
    "fact": str,
}
_CLAIM_KEYS: dict[str, type] = {"fault": str, "says": list, "unless": str, "when_asked": bool, "when_told": str}
_KINDS: dict[type, str] = {str: "一段文字", list: "一个列表", dict: "“名字: 内容”的样子", bool: "true 或 false"}


@dataclass(frozen=True)
class Topic:
    patterns: tuple[Pattern, ...]
    wordings: tuple[str, ...]
    about: Pattern | None
    talk: Pattern | None
    replies: tuple[str, ...]
    told: tuple[Pattern, ...] = ()
    """What users say of themselves that answers the question: group `it`, or the whole clause; `{who}` stands for that group of
    the question."""
    recalled: tuple[str, ...] = ()
    """The replies when the user has told, with slots `{it}`, `{who}` and `{facts}`."""
    fact: str = ""
    """What was told in a word or two, for `{facts}`, the list of all that was told; with slot `{it}`."""

    def is_asked(self, clause: str) -> bool:
        return any(p.search(clause) for p in self.patterns)

    def is_talked_of(self, text: str) -> bool:
        """Whether users say this of themselves, 我 in it or left out: 吃了."""
        return self.talk is not None and (self.talk.search(text) is not None or self.talk.search("我" + text) is not None)

    def who(self, clause: str) -> str:
        """Whom the question is about, where a pattern says: `我的猫叫什么` is about 猫; else empty."""
        found = filter(None, (p.search(clause) for p in self.patterns))
        return next((who for match in found if (who := match.groupdict().get("who"))), "")

    def what_was_told(self, told: Sequence[Sequence[Told]], who: str = "") -> tuple[str, bool] | None:
        """The first answer in `told`, the user's earlier messages, to the question about `who`, and whether it is all they said.

        None when there is none.
        """
        return next(filter(None, (self._told_about(told, name) for name in known_as(who))), None)

    def _told_about(self, told: Sequence[Sequence[Told]], who: str) -> tuple[str, bool] | None:
        patterns = [p.about(who) for p in self.told]
        own_only = ["{who}" not in p.source and "我" in p.source for p in self.told]
        for message in told:
            every = [part for part in message if not is_of_others(part.clause, who)]
            own = [part for part in every if part.of_user]
            for pattern, is_own in zip(patterns, own_only, strict=True):
                parts = own if is_own else every
                text = "，".join(part.clause for part in parts)
                for match in pattern.all_in(text) if parts else ():
                    if "it" in match.re.groupindex:
                        return match["it"], False
                    number = text.count("，", 0, match.end() - 1)
                    return parts[number].quoted, True
        return None

    def words_in(self, clause: str) -> int:
        """Letters of the longest of its words that the clause holds."""
        if self.about is None:
            return 0
        return max((len(found.group()) for found in self.about.regex.finditer(clause)), default=0)

    def likeness(self, clause: str) -> float:
        """Jaccard index with the likest wording that speaks of the same persons, 0 to 1."""
        persons = _PERSONS.findall(clause)
        return max((_jaccard(clause, w) for w in self.wordings if _PERSONS.findall(w) == persons), default=0.0)


@dataclass(frozen=True)
class Claim:
    fault: str
    says: tuple[Pattern, ...]
    unless: Pattern | None
    when_asked: bool
    """Only held against an answer to a question about the bot."""
    when_told: Pattern | None = None
    """Only held against an answer to a message with this, whose words it may then not share either."""


@dataclass(frozen=True)
class Sheet:
    """One character: who it is, what it answers and what it never says."""

    name: str
    profile: Mapping[str, Any]
    topics: Mapping[str, Topic]
    otherwise: Mapping[str, Topic]
    recalled: tuple[str, ...]
    """The replies to a question that something the user has told answers, `{it}`, and that no topic foresees."""
    not_told: tuple[str, ...]
    """The replies to a question about what they have said in this conversation, when they have not."""
    claims: tuple[Claim, ...]
    not_asked: Pattern | None
    not_life: Pattern | None
    supposing: Pattern | None

    @classmethod
    def load(cls, path: Path) -> Sheet:
        """What a YAML file holds. Raises ConfigError naming the file and the line or topic; expressions are compiled later."""
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise ConfigError(f"{path}{line}：角色设定不是合法的 YAML（{error.problem}）；检查这一行的缩进和引号") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}：读不出角色设定（{error}）；请照仓库里的 data/persona.yaml 写") from None
        return _Reader(path).sheet(data)

    def claimed(self, clause: str) -> Iterator[tuple[Claim, re.Match[str]]]:
        """Every claim that the clause makes, and its words."""
        for claim in self.claims:
            for pattern in claim.says:
                if (found := pattern.search(clause)) is not None:
                    yield claim, found
                    break

    def patterns(self) -> Iterator[Pattern]:
        """Every regular expression of the sheet."""
        for topic in (*self.topics.values(), *self.otherwise.values()):
            yield from filter(None, (*topic.patterns, topic.about, topic.talk, *topic.told))
        for claim in self.claims:
            yield from filter(None, (*claim.says, claim.unless, claim.when_told))
        yield from filter(None, (self.not_asked, self.not_life, self.supposing))


class _Reader:
    """Builds a Sheet from what the YAML holds, naming the place of every fault."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = ""
        self.words: dict[str, str] = {}

    def sheet(self, data: Any) -> Sheet:
        self._expect(data, _TOP_KEYS, "", required=("name", "topics"))
        self.name = data["name"]
        self.words = {name: self._text(word, f"words.{name}") for name, word in (data.get("words") or {}).items()}
        return Sheet(
            self.name,
            data.get("profile") or {},
            self._topics(data, "topics"),
            self._topics(data, "otherwise"),
            tuple(self._text(r, "recalled") for r in data.get("recalled") or []),
            tuple(self._text(r, "not_told") for r in data.get("not_told") or []),
            tuple(self._claim(claim, f"claims[{number}]") for number, claim in enumerate(data.get("claims") or [], 1)),
            self._pattern(data.get("not_asked"), "not_asked"),
            self._pattern(data.get("not_life"), "not_life"),
            self._pattern(data.get("supposing"), "supposing"),
        )

    def _topics(self, data: Mapping[str, Any], key: str) -> dict[str, Topic]:
        return {str(name): self._topic(topic, f"{key}.{name}") for name, topic in (data.get(key) or {}).items()}

    def _topic(self, data: Any, place: str) -> Topic:
        self._expect(data, _TOPIC_KEYS, place, required=("ask", "replies"))
        asks = [self._text(ask, f"{place}.ask") for ask in data["ask"]]
        replies = tuple(self._text(r, f"{place}.replies").replace("{name}", self.name) for r in data["replies"])
        if not replies:
            raise self._error(f"{place}.replies", "至少要有一句回复")
        patterns = [a for a in asks if a.startswith("/") and a.endswith("/") and len(a) > 2]
        told = [self._text(t, f"{place}.told").strip("/") for t in data.get("told") or []]
        recalled = tuple(self._text(r, f"{place}.recalled") for r in data.get("recalled") or [])
        if bool(told) != bool(recalled) and not any("{facts}" in r for r in recalled):
            raise self._error(place, "told（对方怎样说起）与 recalled（记得时怎样答）要一起写")
        return Topic(
            tuple(p for a in patterns if (p := self._pattern(a[1:-1], f"{place}.ask")) is not None),
            tuple(unified(a.replace("{name}", "你").lower()) for a in asks if a not in patterns),
            self._pattern(data.get("about"), f"{place}.about"),
            self._pattern(data.get("talk"), f"{place}.talk"),
            replies,
            tuple(p for t in told if (p := self._pattern(t, f"{place}.told")) is not None),
            recalled,
            data.get("fact", ""),
        )

    def _claim(self, data: Any, place: str) -> Claim:
        self._expect(data, _CLAIM_KEYS, place, required=("fault", "says"))
        says = [self._text(s, f"{place}.says").strip("/") for s in data["says"]]
        return Claim(
            data["fault"],
            tuple(p for s in says if (p := self._pattern(s, f"{place}（{data['fault']}）")) is not None),
            self._pattern(data.get("unless"), f"{place}（{data['fault']}）.unless"),
            data.get("when_asked", False),
            self._pattern(data.get("when_told"), f"{place}（{data['fault']}）.when_told"),
        )

    def _pattern(self, source: str | None, place: str) -> Pattern | None:
        if source is None:
            return None
        not_before = _NOT_BEFORE.get(source[:1], "")
        source = re.sub(r"<(\w+)>", lambda m: self.words.get(m[1], m[0]), source)
        return Pattern(source.replace("…", _GAP).replace("{name}", re.escape(self.name)), f"{self.path}：{place}", not_before)

    def _expect(self, data: Any, keys: Mapping[str, type], place: str, required: Sequence[str]) -> None:
        if not isinstance(data, dict):
            raise self._error(place, f"应写成“名字: 内容”的样子，可用的名字是 {'、'.join(keys)}")
        for key, value in data.items():
            if key not in keys:
                raise self._error(f"{place}.{key}".strip("."), f"没有这个键；可用的是 {'、'.join(keys)}")
            if not isinstance(value, keys[key]):
                raise self._error(f"{place}.{key}".strip("."), f"应是{_KINDS[keys[key]]}")
        for key in required:
            if not data.get(key):
                raise self._error(place, f"缺少 {key}")

    def _text(self, value: Any, place: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self._error(place, f"应是一段文字，而不是 {value!r}；含冒号、以符号开头的请加引号")
        return value.strip()

    def _error(self, place: str, fault: str) -> ConfigError:
        return ConfigError(f"{self.path}：{place + ' ' if place else ''}{fault}")


def unified(clause: str) -> str:
    """A clause in the one way to write it that the sheet's patterns expect, without marks."""
    clause = re.sub(r"[^\w+*/×÷=\-.“\"「:]", "", clause)
    for pattern, replacement in _UNIFIED:
        clause = pattern.sub(replacement, clause)
    return _OPENING.sub("", clause)


def _jaccard(a: str, b: str) -> float:
    if a == b:
        return 1.0
    first, second = bigrams(a), bigrams(b)
    union = first | second
    return len(first & second) / len(union) if union else 0.0
