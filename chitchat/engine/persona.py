"""Who the bot is: its answers to questions about itself, and the claims it never makes.

Knows the wording of questions and claims (`data/persona.yaml`, whose head tells the format). Knows nothing of meaning: a question
or a claim in words the sheet does not foresee passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from chitchat.dialogue import Candidate, Message
from chitchat.engine.persona_sheet import Sheet, Topic, unified
from chitchat.engine.recall import Question, Told, asked_of_user, recalled, same_words, statements
from chitchat.engine.rejection import bare, bigrams, is_question
from chitchat.lazy_pattern import lazily

SAME_WORDING = 0.62
"""Jaccard index of character bigrams from which two questions are one."""
MAX_CLAUSES = 4
"""Clauses looked at for a question, the last ones: who tells a long story is not asking about the bot at its start."""

_QUOTED_QUESTION = re.compile(
    '^[^你听都有]*(?:(?<![说上])[问说骂回催发]|念叨|喊(?!你[什哥姐]))(?:[我了他她道过]|一句){0,2}[:“"]?你|[“"「].*你'
)
"""老师问我你几岁: the bot is not meant. 听说你…, 大家都说你… and 我问你… mean it."""
_ASKING = re.compile(
    "什么|啥|谁|哪|[^我你]还是(?![会要得算想能别早先不没去很有])|几|多少|多[大高重久远长]|怎么|咋|干[嘛吗]|如何|是否|有没有|(.)[不没]\\1|(?:吗|呢|么|没|没有|不|吧|呗|对吧)[啊呀嘛哦哈啦呐你~]*$"
)
"""What makes a clause a question, before it is unified."""
_WITHOUT_YOU = lazily(
    "^(?:还|也|真的|平时|最)*(?:喜欢|爱|讨厌|怕|会(?=[唱跳说讲写画打玩做弹游骑开背算]|下[象围五棋厨跳]))(?!上|[不要人])[^我你他她它]{1,8}(?:吗|么|不)$"
    "|^[^我你他她它谁咱]{1,8}(?:看|听|玩|吃|喝|去|读|用|坐|爬|养)过(?:吗|么|没有?|不)$"
)
"""海贼王看过没, 会唱歌不: who asks so asks the bot."""
_TAG = re.compile("(?:是不是|对不对|对吧|对吗|是吧|是吗|没错吧|是也不是)[啊呀呢]?$")
_NOT_ABOUT_BOT = re.compile(
    "[我他她它咱]|觉得|认为|推荐|建议|[帮给替猜教陪祝]|(?<!特)别(?![人的是])|知道|记得|你[说看听讲](?![过你见到得话])|怎么[办看]|意思|如果|假如|要是|你[一这]个"
)
_SOMEONE_ELSE = re.compile("[他她它]|[妈爸师板事友学婆公姨叔][说问喊]")
"""Who in a message may be the one that says 你, or is meant by what names nobody."""
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
_QUESTION_END = ("?", "？", "来着", "吗", "不", "没", "么")
"""What ends a message that asks for what was told: 在这个家里我是谁啊 does not."""
_RHETORICAL = lazily("^我(?:怕|烦|恨|讨厌|说)(?:什么|啥|谁)$")
"""Nobody need have told an answer to 我怕啥."""
_OBJECT_END = re.compile("(?:的|了|呀|啊|哦|呢|啦|嘛|吧|哟)+$")

_TURNED = str.maketrans("我你", "你我")
_MAX_FACTS = 4
_EITHER = lazily("([^的是说选站投]{1,4})的?还是(?:选|站|投|说)?([^的]{1,4})")
_QUOTED = lazily("“([^“”]*)”")

T = TypeVar("T")


class Persona:
    """The sheet of one character; `Persona.load` makes one."""

    def __init__(self, sheet: Sheet) -> None:
        self.name = sheet.name
        self.profile = dict(sheet.profile)
        self._sheet = sheet
        self._about_user = {name for name, topic in sheet.topics.items() if topic.told}

    @classmethod
    def load(cls, path: Path) -> Persona:
        """The character a YAML file describes; the head of `data/persona.yaml` tells the format.

        Raises ConfigError naming the file and the line or topic. A broken regular expression is found by `check`, or when the
        first message is answered: compiling all of them would take longer than all else at start.
        """
        return cls(Sheet.load(path))

    def check(self) -> None:
        """Compiles every regular expression of the sheet. Raises ConfigError naming the first that is broken."""
        for pattern in self._sheet.patterns():
            _ = pattern.regex

    def topic(self, messages: Sequence[Message]) -> str | None:
        """The topic of the sheet that the last user message asks about, or None when it asks nothing that the sheet answers."""
        return self._topic_and_clause(messages)[0]

    def _topic_and_clause(self, messages: Sequence[Message]) -> tuple[str | None, str]:
        if not messages or messages[-1].role != "user":
            return None, ""
        text = messages[-1].content
        if self._sheet.not_asked is not None and self._sheet.not_asked.search(text):
            return None, ""
        if (question := asked_of_user(text)) is not None:
            if (name := self._recalling(question.text)) is not None:
                return name, unified(question.text)
        of_this_talk = question is not None and question.owes_answer and not question.of_earlier_talk
        told = _SOMEONE_ELSE.search(text) is not None
        clauses = self._clauses(text)[-MAX_CLAUSES:]
        if len(clauses) == 1 and _WITHOUT_YOU.search(clauses[0][0]):
            clauses = [("你" + clauses[0][0], True)]
        for number in range(len(clauses) - 1, -1, -1):
            clause, is_question = clauses[number]
            if _AND_YOU.search(clause) and (name := self._talked_of("".join(c for c, _ in clauses[:number]), messages[:-1])):
                return name, clause
            if number > 0 and _SAYING.search(clauses[number - 1][0]) or told and "你" not in clause:
                continue
            name = self._asked(clause, is_question and not told)
            if name is not None and (
                name not in self._about_user or number == len(clauses) - 1 and (number == 0 or text.endswith(_QUESTION_END))
            ):
                if of_this_talk and (name not in self._sheet.topics or not self._sheet.topics[name].recalled):
                    break  # what the bot tells of its memory is about other talks
                return name, clause
        return None, ""

    def _recalling(self, question: str) -> str | None:
        """The topic of what users tell of themselves that the question is about."""
        question = unified(question)
        return _first(name if topic.recalled and topic.is_asked(question) else None for name, topic in self._sheet.topics.items())

    def answers(self, messages: Sequence[Message], told: Sequence[str] = ()) -> list[Candidate]:
        """The replies that may answer the last user message; empty when it asks nothing about the bot or about what it knows.

        Replies that the bot has given in this conversation are left out, unless it has given them all.

        Args:
            told: what the user has said before, newest first; a question of theirs about themselves is answered from it.
        """
        name, clause = self._topic_and_clause(messages)
        said = {bare(m.content) for m in messages if m.role == "assistant"}
        replies = self._replies(name, clause, messages, told)
        fresh = [r for r in replies if bare(r) not in said] or replies
        return [Candidate(text, source="persona", context_similarity=1.0) for text in fresh]

    def _replies(self, name: str | None, clause: str, messages: Sequence[Message], told: Sequence[str]) -> Sequence[str]:
        """About what the user has told when they ask for it, else the topic's."""
        topic = None if name is None else self._sheet.topics.get(name) or self._sheet.otherwise[name]
        question = asked_of_user(messages[-1].content) if messages and messages[-1].role == "user" else None
        who = "" if topic is None else topic.who(same_words(clause))
        asks_what_was_told = question is not None or topic is not None and topic.recalled
        if told and asks_what_was_told and (replies := self._recalled(topic, who, question, statements(told))):
            return replies
        if topic is None:
            return self._sheet.not_told if question is not None and question.owes_answer else []
        if topic.told and question and not question.is_explicit and _RHETORICAL.search(question.text):
            return []
        replies = _fill(topic.replies, {"{who}": _turned(who), "{said}": _said(clause, messages)})
        if self._has_been_told(topic, clause, messages):
            replies = [r for r in replies if not r.endswith("？")] or replies
        return replies

    def _has_been_told(self, topic: Topic, clause: str, messages: Sequence[Message]) -> bool:
        """Whether the user has just said of themselves what a reply would ask back: 吃了，你呢."""
        if _AND_YOU.search(clause):
            return True
        own = [c for m in messages[-1:-4:-2] for c, is_question in self._clauses(m.content) if not is_question]
        return any(topic.is_talked_of(c) for c in own)

    def _recalled(self, topic: Topic | None, who: str, question: Question | None, told: Sequence[Sequence[Told]]) -> list[str]:
        """The replies that hold what was told, none when nothing was."""
        if topic is not None and topic.recalled:
            it, is_all_they_said = topic.what_was_told(told, who) or ("", False)
            facts = self._facts(told) if any("{facts}" in reply for reply in topic.recalled) else ""
            slots = {"{who}": _turned(who), "{it}": _turned(it), "{facts}": facts}
            if replies := _fill(self._sheet.recalled if is_all_they_said else topic.recalled, slots):
                return replies
        if question is None or not self._sheet.recalled:
            return []
        it_holds = recalled(question, told, strictly=topic is not None and bool(topic.told))
        return [] if it_holds is None else _fill(self._sheet.recalled, {"{it}": _turned(it_holds)})

    def _facts(self, told: Sequence[Sequence[Told]]) -> str:
        """What the user has told of themselves, the first few facts in the order of the sheet, or else their longest words."""
        facts = []
        for topic in self._sheet.topics.values():
            if topic.fact and (found := topic.what_was_told(told)) is not None:
                it, is_quoted = found
                facts += [] if is_quoted else _fill([topic.fact], {"{it}": _turned(it)})
        if not facts:
            own = (part.quoted for message in told for part in message if part.of_user)
            return _turned(max(own, key=len, default="").removeprefix("我"))
        return "，".join(facts[:_MAX_FACTS])

    def contradiction(self, text: str, messages: Sequence[Message] = ()) -> str | None:
        """Why the bot must not say `text`, in Chinese: it claims what the sheet rules out or unsays its own earlier words.

        Claims about the world, not the bot, pass when the user has just said the same (`外面下雨了`). None when it may be said.
        """
        spoken = _spoken(text)
        if self._sheet.supposing is not None and self._sheet.supposing.search(spoken):
            return None
        for clause, mark in _marked_clauses(spoken):
            for claim, found in self._sheet.claimed(clause):
                if claim.unless is not None and claim.unless.search(clause + mark):
                    continue
                shared = bigrams(found.group())
                if claim.when_told is not None:
                    if not messages or claim.when_told.search(messages[-1].content) is None:
                        continue
                elif "我" not in found.group() and any(shared & bigrams(m.content) for m in messages if m.role == "user"):
                    continue
                if claim.when_asked and self.topic(messages) is None:
                    continue
                return claim.fault
        if stated := list(_own_statements([text])):
            earlier = dict(_own_statements(m.content for m in messages if m.role == "assistant"))
            if any(earlier.get(statement, affirmed) != affirmed for statement, affirmed in stated):
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
            (written, mark == "?" or _ASKING.search(clause) is not None or _TAG.match(following) is not None)
            for (clause, mark), (following, _) in pairwise(parts)
            if (written := unified(clause))
        ]

    def _asked(self, clause: str, is_question: bool) -> str | None:
        if _QUOTED_QUESTION.search(clause):
            return None
        topics = self._sheet.topics
        name = _first(name if topic.is_asked(clause) else None for name, topic in topics.items())
        if name is not None:
            return name
        likeness, name = max(((topic.likeness(clause), name) for name, topic in topics.items()), key=lambda found: found[0])
        if likeness >= SAME_WORDING:
            return name
        if not is_question or "你" not in clause or _NOT_ABOUT_BOT.search(clause):
            return None
        # max keeps the first of equals: the order of the sheet decides.
        length, name = max(((topic.words_in(clause), name) for name, topic in topics.items()), key=lambda found: found[0])
        if length:
            return name
        if self._sheet.not_life is not None and self._sheet.not_life.search(clause):
            return None
        return _first(name if topic.is_asked(clause) else None for name, topic in self._sheet.otherwise.items())

    def _talked_of(self, said: str, before: Sequence[Message]) -> str | None:
        """What `你呢` goes on with: the rest of the message, what the bot has just asked, or what the user said before.

        What the bot tells of itself is not what the user talks of.
        """
        texts = [said]
        for message in reversed(before[-2:]):
            if is_question(message.content) if message.role == "assistant" else not said:
                texts.append(bare(message.content))
        for text in filter(None, texts):
            for name, topic in self._sheet.topics.items():
                if topic.is_talked_of(text):
                    return name
        return None


def _said(clause: str, messages: Sequence[Message]) -> str:
    """What the bot has said, its last words; of 甜的还是咸的 the last that name one of the two, empty when none do."""
    own = [m.content for m in reversed(messages) if m.role == "assistant"]
    if (either := _EITHER.search(clause)) is not None:
        own = [text for text in own if any(letter in text for letter in either[1] + either[2])]
    said = next(iter(own), "")
    return quoted[0] if (quoted := _QUOTED.findall(said)) else said  # asked twice, it is still the same


def _turned(text: str) -> str:
    """The user's words in the bot's mouth: 我的猫 → 你的猫."""
    return text.translate(_TURNED)


def _fill(replies: Sequence[str], slots: Mapping[str, str]) -> list[str]:
    """The replies for whose slots there is something."""
    filled = []
    for reply in replies:
        if all(value or slot not in reply for slot, value in slots.items()):
            for slot, value in slots.items():
                reply = reply.replace(slot, value)
            filled.append(reply)
    return filled


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
