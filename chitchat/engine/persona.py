"""Who the bot is: its answers to questions about itself, and the claims it never makes.

Knows the wording of questions and claims (`data/persona.yaml`, whose head tells the format). Knows nothing of meaning: a question
or a claim in words the sheet does not foresee passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import yaml

from chitchat.dialogue import Candidate, Message
from chitchat.engine.rejection import bare, bigrams
from chitchat.errors import ConfigError

SAME_WORDING = 0.62
"""Jaccard index of character bigrams from which two questions are one."""
MAX_CLAUSES = 4
"""Clauses looked at for a question, the last ones: who tells a long story is not asking about the bot at its start."""

_GAP = "[^我他她它咱觉帮给猜看说劝]{0,6}"
"""What `…` stands for: few letters, none of which turns the question to someone else."""
_UNIFIED = (
    (re.compile(r"您|妳|尔等|你们"), "你"),
    (re.compile("你(自己|本人|个人|这家伙|丫|小子|小家伙|这个(?:小)?(?:家伙|机器人|ai))(?=[^的]|$)"), "你"),
    (
        re.compile("请问|到底|究竟|其实|难道|^话说|老实说|说真的|说实话|顺便问|我(?:就)?(?:想|要)?问(?:一下|问|下)?(?=你)|莫非"),
        "",
    ),
    (re.compile("(?<=.)[啊呀嘛哦哈啦呐呗哟喔诶~]+$"), ""),
    (re.compile("啥子|啥"), "什么"),
    (re.compile("咋(?!舌|呼)"), "怎么"),
    (re.compile("哪儿"), "哪里"),
    (re.compile("干(?:嘛|吗|什么|么)"), "干什么"),
    (re.compile("有没有|有木有"), "有"),
    (re.compile("(喜)不喜欢"), "喜欢"),
    (re.compile("(可)不可以"), "可以"),
    (re.compile("(觉)不觉得"), "觉得"),
    (re.compile("(.)不\\1$"), r"\1吗"),
    (re.compile("(.)不\\1"), r"\1"),  # 是不是, 会不会, 累不累
    (re.compile("(?<![什怎这那多])么$"), "吗"),
    (re.compile("(?<=..)(?<![是会能对])不$"), "吗"),
    (re.compile("你你"), "你"),
)
_OPENING = re.compile(
    "^(?:那么?|所以|可是|但是?|不过|而且|然后|哎呀?|诶|嗯+|哦|喔|啊|咦|喂|嘿|哈喽|对了|你好(?=你)|好吧|不是|哈+|话说)+(?=.)"
)
_AS_SUBJECT = {"你": "(?<![帮给替为把跟让带])", "我": "(?<![陪对找等])"}
"""Before a pattern's leading 你 or 我: 我帮你订票 asks nothing, 你陪我去买 claims nothing."""
_PERSONS = re.compile("[你我他她它咱谁]")
_QUOTED_QUESTION = re.compile(
    '^[^你听都有]*(?:(?<!说)[问说骂回催发]|念叨|喊(?!你[什哥姐]))(?:[我了他她道过]|一句){0,2}[:“"]?你|[“"「].*你'
)
"""老师问我你几岁: the bot is not meant. 听说你…, 大家都说你… and 我问你… mean it."""
_ASKING = re.compile(
    "什么|啥|谁|哪|几|多少|多[大高重久远长]|怎么|咋|如何|是否|有没有|(.)[不没]\\1|(?:吗|呢|么|没|没有|不|吧|呗|对吧)[啊呀嘛哦哈啦呐你~]*$"
)
"""What makes a clause a question, before it is unified."""
_TAG = re.compile("(?:是不是|对不对|对吧|对吗|是吧|是吗|没错吧|是也不是)[啊呀呢]?$")
_NOT_ABOUT_BOT = re.compile(
    "[我他她它咱]|觉得|认为|推荐|建议|[帮给替猜教陪祝]|(?<!特)别|知道|听过|你[说看听讲](?![过你见到得])|怎么[办看]|意思|如果|假如|要是|你[一这]个"
)
_SOMEONE_ELSE = re.compile("[他她它]|[妈爸师板事友学婆公姨叔][说问喊]")
"""Who in a message may be the one that says 你."""
_SAYING = re.compile("(?:[说问喊道写回句])[我他她那了着过]?$")
"""What ends a clause after which someone else's words follow: 他问我，你爱我吗."""
_AND_YOU = re.compile(
    "^(?:那|那么|可|嗯|对了)?你(?:呢|的呢|自己呢|怎么样|也(?:是|一样)(?:吗|吧)|又是什么|是什么|喜欢(?:什么|哪个)呢?|有吗|会吗)[?？]*$"
)

_CLAUSE_END = re.compile(r"[，。！？；…、～—,!?;~\n]+|(?<![a-z0-9])\s+|\s+(?![a-z0-9])|(?<!\d)\.|\.(?!\d)")
_QUOTES = re.compile(r"“[^”]*”|‘[^’]*’|「[^」]*」|『[^』]*』|《[^》]*》|\"[^\"]*\"")
_RELAYED = re.compile(r"(?:就说|(?<![再来听你])(?:[说回喊写念答问]|回\w{1,2}一?句)[^，。！？,!?]{0,4}[：:，,]).*", re.DOTALL)
"""你就回他：我妈不让: words put in someone's mouth, like quoted ones."""
_OWN_STATEMENT = re.compile(
    "我(?:[也还就都可真其实一直]|现在)*(不|没)?(?:[太很最挺也大怎么]|特别)*(喜欢|会|有|怕|讨厌|能|是|爱)(?!不)(.{1,8})$"
)
_OBJECT_END = re.compile("(?:的|了|呀|啊|哦|呢|啦|嘛|吧|哟)+$")

_TOP_KEYS: dict[str, type] = {
    "name": str,
    "profile": dict,
    "words": dict,
    "not_asked": str,
    "topics": dict,
    "supposing": str,
    "claims": list,
}
_TOPIC_KEYS: dict[str, type] = {"ask": list, "about": str, "talk": str, "replies": list}
_CLAIM_KEYS: dict[str, type] = {"fault": str, "says": list, "unless": str}
_KINDS: dict[type, str] = {str: "一段文字", list: "一个列表", dict: "“名字: 内容”的样子"}

T = TypeVar("T")


@dataclass(frozen=True)
class _Pattern:
    """A regular expression of the sheet, compiled when first needed: 400 of them take 0.2 s."""

    source: str
    place: str

    @cached_property
    def regex(self) -> re.Pattern[str]:
        try:
            return re.compile(self.source)
        except re.error as error:
            raise ConfigError(f"{self.place}：正则表达式写错了（{error}）：{self.source}") from None


@dataclass(frozen=True)
class _Topic:
    patterns: tuple[_Pattern, ...]
    wordings: tuple[str, ...]
    about: _Pattern | None
    talk: _Pattern | None
    replies: tuple[str, ...]

    def is_asked(self, clause: str) -> bool:
        return any(p.regex.search(clause) for p in self.patterns)

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
class _Claim:
    fault: str
    says: tuple[_Pattern, ...]
    unless: _Pattern | None


class Persona:
    """The sheet of one character; `Persona.load` makes one."""

    def __init__(
        self,
        name: str,
        profile: Mapping[str, Any],
        topics: Mapping[str, _Topic],
        claims: Sequence[_Claim],
        not_asked: _Pattern | None,
        supposing: _Pattern | None,
    ) -> None:
        self.name = name
        self.profile = dict(profile)
        self._topics = dict(topics)
        self._claims = tuple(claims)
        self._not_asked = not_asked
        self._supposing = supposing

    @classmethod
    def load(cls, path: Path) -> Persona:
        """The character a YAML file describes; the head of `data/persona.yaml` tells the format.

        Raises ConfigError naming the file and the line or topic. A broken regular expression is found by `check`, or when the
        first message is answered: compiling all of them would take longer than all else at start.
        """
        try:
            data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
            raise ConfigError(f"{path}{line}：角色设定不是合法的 YAML（{error.problem}）；检查这一行的缩进和引号") from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{path}：读不出角色设定（{error}）；请照仓库里的 data/persona.yaml 写") from None
        return _Sheet(path).build(data)

    def check(self) -> None:
        """Compiles every regular expression of the sheet. Raises ConfigError naming the first that is broken."""
        for topic in self._topics.values():
            for pattern in (*topic.patterns, topic.about, topic.talk):
                _ = pattern and pattern.regex
        for claim in self._claims:
            for pattern in (*claim.says, claim.unless):
                _ = pattern and pattern.regex
        for pattern in (self._not_asked, self._supposing):
            _ = pattern and pattern.regex

    def topic(self, messages: Sequence[Message]) -> str | None:
        """The topic of the sheet that the last user message asks about, or None when it asks nothing about the bot."""
        if not messages or messages[-1].role != "user":
            return None
        text = messages[-1].content
        if self._not_asked is not None and self._not_asked.regex.search(text):
            return None
        clauses = self._clauses(text)[-MAX_CLAUSES:]
        for number in range(len(clauses) - 1, -1, -1):
            clause, is_question = clauses[number]
            if _AND_YOU.search(clause):
                if (name := self._talked_of("".join(c for c, _ in clauses[:number]), messages[:-1])) is not None:
                    return name
            elif number > 0 and _SAYING.search(clauses[number - 1][0]):
                continue
            elif (name := self._asked(clause, is_question and not _SOMEONE_ELSE.search(text))) is not None:
                return name
        return None

    def answers(self, messages: Sequence[Message]) -> list[Candidate]:
        """The replies that may answer the last user message; empty when it asks nothing about the bot.

        Replies that the bot has given in this conversation are left out, unless it has given them all.
        """
        name = self.topic(messages)
        if name is None:
            return []
        said = {bare(m.content) for m in messages if m.role == "assistant"}
        replies = self._topics[name].replies
        fresh = [r for r in replies if bare(r) not in said] or replies
        return [Candidate(text, source="persona", context_similarity=1.0) for text in fresh]

    def contradiction(self, text: str, messages: Sequence[Message] = ()) -> str | None:
        """Why the bot must not say `text`, in Chinese: it claims what the sheet rules out or unsays its own earlier words.

        Claims about the world, not the bot, pass when the user has just said the same (`外面下雨了`). None when it may be said.
        """
        spoken = _spoken(text)
        if self._supposing is not None and self._supposing.regex.search(spoken):
            return None
        known = {pair for m in messages if m.role == "user" for pair in bigrams(m.content)}
        for clause, mark in _marked_clauses(spoken):
            for claim in self._claims:
                if (found := _first(p.regex.search(clause) for p in claim.says)) is None:
                    continue
                if claim.unless is not None and claim.unless.regex.search(clause + mark):
                    continue
                if "我" not in found.group() and bigrams(found.group()) & known:
                    continue
                return claim.fault
        earlier = dict(_own_statements(m.content for m in messages if m.role == "assistant"))
        for statement, affirmed in _own_statements([text]):
            if earlier.get(statement, affirmed) != affirmed:
                return "和自己前面说的相反"
        return None

    def _clauses(self, text: str) -> list[tuple[str, bool]]:
        """Each clause in the sheet's writing, and whether it asks."""
        text = unicodedata.normalize("NFKC", text).lower()
        name = re.escape(self.name.lower())
        text = re.sub(f"{name}[,，、:：! ]*(?=[你您]|$)|(?<=[你您]){name}", "", text)
        text = text.replace(self.name.lower(), "你")
        parts = [*_marked_clauses(text), ("", "")]
        return [
            (unified, mark == "?" or _ASKING.search(clause) is not None or _TAG.match(following) is not None)
            for (clause, mark), (following, _) in pairwise(parts)
            if (unified := _unified(clause))
        ]

    def _asked(self, clause: str, is_question: bool) -> str | None:
        if _QUOTED_QUESTION.search(clause):
            return None
        name = _first(name if topic.is_asked(clause) else None for name, topic in self._topics.items())
        if name is not None:
            return name
        likeness, name = max(((topic.likeness(clause), name) for name, topic in self._topics.items()), key=lambda found: found[0])
        if likeness >= SAME_WORDING:
            return name
        if not is_question or "你" not in clause or _NOT_ABOUT_BOT.search(clause):
            return None
        # max keeps the first of equals: the order of the sheet decides.
        length, name = max(((topic.words_in(clause), name) for name, topic in self._topics.items()), key=lambda found: found[0])
        return name if length else None

    def _talked_of(self, said: str, before: Sequence[Message]) -> str | None:
        """What `你呢` goes on with: the rest of the message, else what was said just before it, newest first."""
        texts = [said, *(bare(m.content) for m in reversed(before[-2:]))]
        for text in filter(None, texts):
            for name, topic in self._topics.items():
                if topic.talk is not None and topic.talk.regex.search(text):
                    return name
        return None


class _Sheet:
    """Builds a Persona from what the YAML holds, naming the place of every fault."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = ""
        self.words: dict[str, str] = {}

    def build(self, data: Any) -> Persona:
        self._expect(data, _TOP_KEYS, "", required=("name", "topics"))
        self.name = data["name"]
        self.words = {name: self._text(word, f"words.{name}") for name, word in (data.get("words") or {}).items()}
        return Persona(
            self.name,
            data.get("profile") or {},
            {str(name): self._topic(topic, f"topics.{name}") for name, topic in data["topics"].items()},
            [self._claim(claim, f"claims[{number}]") for number, claim in enumerate(data.get("claims") or [], 1)],
            self._pattern(data.get("not_asked"), "not_asked"),
            self._pattern(data.get("supposing"), "supposing"),
        )

    def _topic(self, data: Any, place: str) -> _Topic:
        self._expect(data, _TOPIC_KEYS, place, required=("ask", "replies"))
        asks = [self._text(ask, f"{place}.ask") for ask in data["ask"]]
        replies = tuple(self._text(r, f"{place}.replies").replace("{name}", self.name) for r in data["replies"])
        if not replies:
            raise self._error(f"{place}.replies", "至少要有一句回复")
        patterns = [a for a in asks if a.startswith("/") and a.endswith("/") and len(a) > 2]
        return _Topic(
            tuple(p for a in patterns if (p := self._pattern(a[1:-1], f"{place}.ask")) is not None),
            tuple(_unified(a.replace("{name}", "你").lower()) for a in asks if a not in patterns),
            self._pattern(data.get("about"), f"{place}.about"),
            self._pattern(data.get("talk"), f"{place}.talk"),
            replies,
        )

    def _claim(self, data: Any, place: str) -> _Claim:
        self._expect(data, _CLAIM_KEYS, place, required=("fault", "says"))
        says = [self._text(s, f"{place}.says").strip("/") for s in data["says"]]
        return _Claim(
            data["fault"],
            tuple(p for s in says if (p := self._pattern(s, f"{place}（{data['fault']}）")) is not None),
            self._pattern(data.get("unless"), f"{place}（{data['fault']}）.unless"),
        )

    def _pattern(self, source: str | None, place: str) -> _Pattern | None:
        if source is None:
            return None
        source = _AS_SUBJECT.get(source[:1], "") + source
        source = re.sub(r"<(\w+)>", lambda m: self.words.get(m[1], m[0]), source)
        return _Pattern(source.replace("…", _GAP).replace("{name}", re.escape(self.name)), f"{self.path}：{place}")

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


def _unified(clause: str) -> str:
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


def _spoken(text: str) -> str:
    """The text in one width and case, without what it only quotes."""
    return _RELAYED.sub("", _QUOTES.sub("", unicodedata.normalize("NFKC", text).lower()))


def _marked_clauses(text: str) -> Iterator[tuple[str, str]]:
    """Each clause and the first mark after it; a question is told by its mark."""
    start = 0
    for mark in _CLAUSE_END.finditer(text):
        if clause := text[start : mark.start()].strip():
            yield clause, mark.group()[0]
        start = mark.end()
    if clause := text[start:].strip():
        yield clause, ""


def _own_statements(texts: Iterable[str]) -> Iterator[tuple[tuple[str, str], bool]]:
    """((verb, object), affirmed) of each 我(不)喜欢X, 我(不)会X, 我(没)有X that is neither asked nor quoted."""
    for text in texts:
        for clause, mark in _marked_clauses(_spoken(text)):
            found = _OWN_STATEMENT.search(clause)
            if found is None or mark in "?？" and mark or clause.endswith(("吗", "呢")):
                continue
            yield (found[2], _OBJECT_END.sub("", found[3])), found[1] is None


def _first(found: Iterable[T | None]) -> T | None:
    return next((f for f in found if f is not None), None)
