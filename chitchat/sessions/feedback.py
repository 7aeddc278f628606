"""What users thought of replies, as data to train on.

A thumb, a preferred candidate or a correction says that one reply to a context is better than another. Written in the
conversational forms of TRL (https://huggingface.co/docs/trl/dataset_formats): preference pairs for DPO, single labelled
replies for KTO. And in our own form of judgements, which `chitchat fit-ranking` learns from. Where a user
changed their mind, the later word counts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from chitchat.corpus.rules.personal_data import redact
from chitchat.dialogue import Candidate
from chitchat.errors import ConfigError, StoreError
from chitchat.files import atomic_write
from chitchat.sessions.store import Store
from chitchat.sessions.transcript import Origin, read_candidates

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Reply:
    id: int
    session_id: str
    question: int
    text: str
    replaced_by: int | None
    origin: Origin
    rating: int
    reason: str
    model: str
    decoding: str
    candidates: bytes


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """What an export wrote."""

    num_rows: int
    num_sessions: int


def export_feedback(store: Store, format: str, path: Path) -> FeedbackReport:
    """Writes the feedback of every conversation as JSONL, whole or not at all, oldest first; remembers the file for `forget`.

    Personal data is masked in every text. Raises ConfigError for an unknown format, StoreError when there is no feedback yet.
    """
    if format not in FORMATS:
        raise ConfigError(f"反馈格式应为 {' / '.join(FORMATS)} 之一，得到 {format!r}")
    lines: list[str] = []
    sessions: list[str] = []
    for answers in _judged(store):
        session_id, question = answers[0].session_id, answers[0].question
        if rows := FORMATS[format](_prompt(store, session_id, question), answers):
            lines += [json.dumps(row, ensure_ascii=False) for row in rows]
            sessions.append(session_id)
    if not lines:
        raise StoreError("还没有可以导出的反馈：聊天时给回复评好坏、改选候选或改写回复，就会记下来")
    with atomic_write(path) as stream:
        stream.write("\n".join(lines) + "\n")
    sessions = sorted(set(sessions))
    store.record_export(path, format, sessions)
    return FeedbackReport(len(lines), len(sessions))


def _judged(store: Store) -> list[list[_Reply]]:
    """The replies to each message that has feedback, both oldest first; the message itself still stands."""
    rows = store.database.read(
        "SELECT m.id, m.session_id, m.answers, m.content, m.replaced_by,"
        " origin, rating, reason, model, decoding, candidates FROM messages m JOIN replies ON message_id = m.id"
        " WHERE m.answers IN ("
        "  SELECT a.answers FROM messages a JOIN replies r ON r.message_id = a.id JOIN messages q ON q.id = a.answers"
        "  WHERE (r.rating != 0 OR r.origin != 'bot') AND q.replaced_by IS NULL"
        " ) ORDER BY m.answers, m.id"
    )
    found: dict[int, list[_Reply]] = defaultdict(list)
    for row in rows:
        reply = _Reply(*row)
        found[reply.question].append(reply)
    return list(found.values())


def _prompt(store: Store, session_id: str, question: int) -> list[Row]:
    """What was said up to a user's message, that included."""
    messages = store.transcript(session_id, owner=None).messages()
    last = next(i for i, m in enumerate(messages) if m.id == question)
    return [{"role": m.role, "content": redact(m.content)} for m in messages[: last + 1]]


def _pairs(prompt: list[Row], answers: Sequence[_Reply]) -> list[Row]:
    """DPO: a preferred reply against the one it took the place of, a good one against each bad one."""
    found: dict[frozenset[str], tuple[_Reply, _Reply, str]] = {}
    for good in answers:
        bad_ones = [a for a in answers if good.rating > 0 > a.rating]
        if good.origin != "bot":
            bad_ones += [a for a in answers if a.replaced_by == good.id]
        for bad in bad_ones:
            if good.text != bad.text:
                found[frozenset((good.text, bad.text))] = good, bad, "rating" if good.rating > 0 > bad.rating else good.origin
    return [
        {"prompt": prompt, "chosen": _said(good), "rejected": _said(bad), "origin": origin}
        | {"reason": redact(good.reason or bad.reason)}
        | _made(good)
        for good, bad, origin in found.values()
    ]


def _labelled(prompt: list[Row], answers: Sequence[_Reply]) -> list[Row]:
    """KTO: each reply that was called good or bad, by a thumb or by preferring another to it."""
    return [
        {"prompt": prompt, "completion": _said(answer), "label": label, "origin": origin, "reason": redact(answer.reason)}
        | _made(answer)
        for answer, label, origin in _verdicts(answers)
    ]


def _judgement(prompt: list[Row], answers: Sequence[_Reply]) -> list[Row]:
    """The replies called good or bad with the best and the worst grade, and what the user would have said; one row a message."""
    verdicts = _verdicts(answers)
    written = [redact(answer.text) for answer, is_good, origin in verdicts if is_good and origin == "correction"]
    graded = [_graded(answer, is_good) for answer, is_good, _ in verdicts if redact(answer.text) not in written]
    return [{"context": [m["content"] for m in prompt], "replies": graded, "written": written}] if verdicts else []


def _verdicts(answers: Sequence[_Reply]) -> list[tuple[_Reply, bool, str]]:
    """Each judged reply, whether it is good, and what says so: the origin of the one preferred, or "rating"."""
    found: dict[str, tuple[_Reply, bool, str]] = {}
    for answer in answers:
        if answer.origin != "bot":
            found[answer.text] = answer, True, answer.origin
            found |= {a.text: (a, False, answer.origin) for a in answers if a.replaced_by == answer.id}
        if answer.rating:
            found[answer.text] = answer, answer.rating > 0, "rating"
    return list(found.values())


FORMATS: Mapping[str, Callable[[list[Row], Sequence[_Reply]], list[Row]]] = {
    "dpo": _pairs,
    "kto": _labelled,
    "judgements": _judgement,
}


def _graded(reply: _Reply, is_good: bool) -> Row:
    """A reply as `evaluation.judgements` reads it: graded, and where the bot had it from."""
    own = (c for c in read_candidates(reply.candidates) if c.text == reply.text)
    candidate = next(own, Candidate(reply.text))
    return {
        "text": redact(reply.text),
        "grade": 2 if is_good else 0,
        "source": candidate.source,
        "context_similarity": candidate.context_similarity,
        "origin": list(candidate.origin),
    }


def _said(reply: _Reply) -> list[Row]:
    return [{"role": "assistant", "content": redact(reply.text)}]


def _made(reply: _Reply) -> Row:
    """How a reply came about: which model, which settings, what else it could have been."""
    candidates = [_candidate(c) for c in read_candidates(reply.candidates)]
    return {"model": reply.model, "decoding": json.loads(reply.decoding), "candidates": candidates}


def _candidate(candidate: Candidate) -> Row:
    score = candidate.score if isfinite(candidate.score) else None  # JSON has no infinity
    return asdict(candidate) | {"text": redact(candidate.text), "score": score, "features": dict(candidate.features)}
