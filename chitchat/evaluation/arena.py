"""Blind votes between two chatbots: questions, the voter, the file of votes.

A contestant is a name and a function from a context to a reply; the voter is whoever can be shown two replies. Where votes are
kept and in which order replies are shown is known here; screens and models are not. What votes add up to: `standings`.
"""

from __future__ import annotations

import json
import os
import random
import typing
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from chitchat.config import DecodingConfig
from chitchat.corpus.normalisation import normalise
from chitchat.corpus.reading.source_file import Line, read_lines
from chitchat.engine.chatbot import Chatbot
from chitchat.engine.decoding import derived_seed
from chitchat.errors import ChitchatError, ConfigError, CorpusError

FIRST, SECOND, TIE, BAD, SKIP, UNDO, QUIT = "12=xsuq"
CHOICES: Mapping[str, str] = {
    FIRST: "前者好",
    SECOND: "后者好",
    TIE: "平",
    BAD: "都不行",
    SKIP: "跳过",
    UNDO: "撤销上一票",
    QUIT: "离开",
}
START_OVER = "/reset"
"""A message that begins a new dialogue instead of being said."""

Verdict = Literal["a", "b", "tie", "identical", "both_bad", "undone"]
_WINNERS: tuple[Verdict, Verdict] = ("a", "b")
_VERDICTS: Mapping[str, Verdict] = {TIE: "tie", BAD: "both_bad"}


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who answers: `reply` takes the messages so far, oldest first and the user's last."""

    name: str
    reply: Callable[[Sequence[str]], str]


def chatbot_contestant(name: str, chatbot: Chatbot, decoding: DecodingConfig, *, seed: int) -> Contestant:
    """A chatbot under one preset that says the same to the same context every time, so that a question can be put again."""

    def reply(context: Sequence[str]) -> str:
        return chatbot.reply(context, decoding=replace(decoding, seed=derived_seed(seed, len(context)))).text

    return Contestant(name, reply)


@dataclass(frozen=True, slots=True)
class Vote:
    """One judged pair of replies, a line of the votes file.

    `contestants` and `replies` go together; `order` says which of them stood first and second on the screen. The verdict "a" is
    for the first contestant and "b" for the second, "identical" for a tie unasked; "undone" takes an earlier vote back.
    """

    context: tuple[str, ...]
    contestants: tuple[str, str]
    replies: tuple[str, str]
    order: tuple[int, int]
    verdict: Verdict
    seed: int
    time: str
    """ISO 8601, UTC."""

    @property
    def question(self) -> tuple[object, ...]:
        """What two votes share when they answer the same question, whichever contestant is called a."""
        return self.context, frozenset(self.contestants), self.seed


class VoteFile:
    """A file of votes that grows by one JSON line a vote, on the disk before the next question is asked.

    Raises CorpusError with the line for a damaged one, ConfigError for a file that cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as stream:
                is_new = stream.tell() == 0
        except OSError as error:
            raise ConfigError(f"投票文件 {path} 写不了（{error.strerror}）；请用 --output 换个位置") from None
        self.path = path
        self.votes = read_votes(path)
        self._line_end_is_missing = not is_new and not path.read_bytes().endswith(b"\n")

    def add(self, vote: Vote) -> None:
        """Appends a vote; "undone" is appended too and takes the vote it undoes out of `votes`."""
        line = "\n" * self._line_end_is_missing + json.dumps(asdict(vote), ensure_ascii=False) + "\n"
        with open(self.path, "ab") as stream:
            stream.write(line.encode())
            stream.flush()
            os.fsync(stream.fileno())
        self._line_end_is_missing = False
        _count(self.votes, vote)


def read_votes(path: Path) -> list[Vote]:
    """The votes of a file that stand, oldest first; raises CorpusError naming file and line for a damaged one."""
    votes: list[Vote] = []
    for number, text in _lines(path):
        if not text.strip():
            continue
        try:
            _count(votes, _vote(json.loads(text)))
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(path, number, repr(error)) from None
    return votes


def _lines(path: Path) -> Iterator[Line]:
    """A line that is no text was cut inside a character, as a full disk leaves it: no case for another encoding."""
    try:
        yield from read_lines(path)
    except CorpusError as error:
        if error.line is None:
            raise
        raise _damaged(path, error.line, "有解不出的字节，像是没有写完") from None


def _damaged(path: Path, line: int, fault: str) -> CorpusError:
    return CorpusError(path, line, f"投票记录已损坏（{fault}）；请删去这一行，其余的票不受影响")


def _count(votes: list[Vote], vote: Vote) -> None:
    if vote.verdict != "undone":
        votes.append(vote)
        return
    for i in reversed(range(len(votes))):
        if votes[i].question == vote.question:
            del votes[i]
            return
    raise ValueError("没有可撤销的票")


def _vote(record: Any) -> Vote:
    context, contestants, replies, order = (tuple(record[key]) for key in ("context", "contestants", "replies", "order"))
    if not context or not all(isinstance(text, str) for text in (*context, *contestants, *replies)):
        raise ValueError("context、contestants、replies 应为文字")
    if len(set(contestants)) != 2 or len(replies) != 2 or sorted(order) != [0, 1]:
        raise ValueError("contestants、replies、order 应各有两项")
    if record["verdict"] not in typing.get_args(Verdict):
        raise ValueError(f"未知的 verdict {record['verdict']!r}")
    return Vote(context, contestants, replies, order, record["verdict"], int(record["seed"]), str(record["time"]))


def read_prompts(path: Path) -> list[tuple[str, ...]]:
    """The contexts of a text file: a line each, or, when blank lines part it into blocks, a dialogue each, user first.

    Raises CorpusError for a line without a word and for a dialogue that does not end with the user's message.
    """
    blocks: list[list[tuple[int, str]]] = [[]]
    for number, text in read_lines(path):
        message = text.strip()
        if not message:
            blocks.append([])
        elif normalise(message):
            blocks[-1].append((number, message))
        else:
            raise CorpusError(path, number, "这一行没有可见的文字；请删去它")
    blocks = [block for block in blocks if block]
    if not blocks:
        raise CorpusError(path, None, "文件里没有开场白或对话；请一行写一句")
    if len(blocks) == 1:
        return [(message,) for _, message in blocks[0]]
    for block in blocks:
        if len(block) % 2 == 0:
            advice = "最后一句应是用户说的；若一行是一句开场白，请去掉空行"
            raise CorpusError(path, block[-1][0], f"这段对话有 {len(block)} 句，从用户开始轮流说，{advice}")
    return [tuple(message for _, message in block) for block in blocks]


class Voter(Protocol):
    """Who judges. `None` from either means that there is no more input."""

    def ask(self, title: str, context: Sequence[str], replies: tuple[str, str], choices: Mapping[str, str]) -> str | None:
        """A key of `choices` for two replies to `context`; the values are what the keys mean."""

    def listen(self) -> str | None:
        """The next message of a dialogue that the voter leads, or START_OVER."""

    def note(self, text: str) -> None:
        """What happened, beside the questions."""


class Arena:
    """Puts questions to a voter and keeps the votes.

    Args:
        contestants: two of different names.
        voter: who judges, without being told who wrote what.
        votes: where votes are kept.
        seed: draws which reply stands first, for each context anew.
    """

    def __init__(self, contestants: tuple[Contestant, Contestant], voter: Voter, votes: VoteFile, *, seed: int = 0) -> None:
        if contestants[0].name == contestants[1].name:
            raise ConfigError(f"两位选手是同一位（{contestants[0].name}）：请换一个模型或预设")
        self.contestants = contestants
        self.voter = voter
        self.votes = votes
        self.seed = seed
        self._asked: list[Vote] = []

    def vote_on(self, contexts: Sequence[tuple[str, ...]], *, limit: int | None = None) -> None:
        """Asks about each context that has no vote of these contestants under this seed yet, at most `limit` of them.

        A skipped one is asked again in the next run.
        """
        voted = {vote.question for vote in self.votes.votes}
        names = frozenset(c.name for c in self.contestants)
        waiting = deque(c for c in dict.fromkeys(contexts) if (c, names, self.seed) not in voted)
        if done := len(set(contexts)) - len(waiting):
            self.voter.note(f"接着投：{done} 题已有票，还有 {len(waiting)} 题")
        while waiting and (limit is None or len(self._asked) < limit):
            answer, _ = self._question(waiting[0], f"还有 {len(waiting)} 题")
            if answer == QUIT:
                return
            if answer == UNDO:
                waiting.appendleft(self._take_back())
            else:
                waiting.popleft()

    def vote_live(self) -> None:
        """The voter talks and judges every turn; the better reply goes on, the first one after a tie.

        After "both bad" or a skip the message counts as not said.
        """
        spoken: tuple[str, ...] = ()
        while (message := self.voter.listen()) is not None:
            if message == START_OVER:
                spoken = ()
                continue
            context = (*spoken, message)
            try:
                answer, replies = self._question(context, f"第 {len(self._asked) + 1} 题")
                while answer == UNDO:
                    context = self._take_back()
                    answer, replies = self._question(context, f"第 {len(self._asked) + 1} 题")
            except ChitchatError as error:  # a message the bots cannot answer, such as one without a word
                self.voter.note(str(error))
                continue
            if answer == QUIT:
                return
            if answer in (BAD, SKIP):
                spoken = context[:-1]
                self.voter.note("这句当作没说过")
            else:
                spoken = (*context, replies[answer == SECOND])
                self.voter.note(f"接着聊：{spoken[-1]}")

    def _question(self, context: tuple[str, ...], title: str) -> tuple[str, tuple[str, str]]:
        """The voter's choice and the replies as shown; the vote is kept, if it is one."""
        a, b = self.contestants
        replies = (a.reply(context), b.reply(context))
        order = shown_order(context, self.seed)
        shown = (replies[order[0]], replies[order[1]])
        vote = Vote(context, (a.name, b.name), replies, order, "identical", self.seed, time="")
        if replies[0] == replies[1]:
            self.voter.note(f"“{context[-1]}”：两个回复相同，记作平：{replies[0]}")
            self._keep(vote, "identical")
            return TIE, shown
        choices = {key: label for key, label in CHOICES.items() if key != UNDO or self._asked}
        answer = self.voter.ask(title, context, shown, choices) or QUIT
        if answer in (FIRST, SECOND):
            self._asked.append(self._keep(vote, _WINNERS[order[answer == SECOND]]))
        elif answer in _VERDICTS:
            self._asked.append(self._keep(vote, _VERDICTS[answer]))
        return answer, shown

    def _keep(self, vote: Vote, verdict: Verdict) -> Vote:
        vote = replace(vote, verdict=verdict, time=datetime.now(UTC).isoformat(timespec="seconds"))
        self.votes.add(vote)
        return vote

    def _take_back(self) -> tuple[str, ...]:
        """Undoes the last vote of this run and returns its context."""
        vote = self._asked.pop()
        self._keep(vote, "undone")
        return vote.context


def shown_order(context: Sequence[str], seed: int) -> tuple[int, int]:
    """Which contestant's reply stands first and second: a coin toss that falls the same for the same context and seed."""
    return (0, 1) if random.Random(f"{seed}\n" + "\n".join(context)).random() < 0.5 else (1, 0)
