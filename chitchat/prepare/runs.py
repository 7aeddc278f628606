"""A run of dialogues, cleaned, split, tokenised and hashed: the work that is done in parallel, one run a task."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import Rejected, clean_dialogues
from chitchat.corpus.minhash import band_keys, signatures
from chitchat.corpus.reading.records import Messages
from chitchat.corpus.splitting import content_hash, split_of
from chitchat.dialogue import Dialogue
from chitchat.tokenization.tokenizer import DialogueTokenizer

MAX_EXAMPLES = 5
UNREADABLE = "unreadable"
"""The rule that records which no reader can read are counted under."""
_MAX_DIALOGUES = 2000
_MAX_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class RawRun:
    """Dialogues as read, on their way to a worker; plain tuples, for a Dialogue takes six times as long to send."""

    dialogues: list[Messages]
    lines: list[int]
    bad: list[Rejected]
    """Records that could not be read, found on the way."""


@dataclass(slots=True)
class Tally:
    """What is counted while cleaning."""

    read: Counter[str] = field(default_factory=Counter)
    """dialogues, messages, chars, bad"""
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """The first few things each rule dropped."""

    def add(self, other: Tally) -> None:
        self.read.update(other.read)
        self.dropped.update(other.dropped)
        self.changed.update(other.changed)
        for rule, found in other.examples.items():
            for example in found:
                self.show(rule, example)

    def show(self, rule: str, example: dict[str, Any]) -> None:
        """Keeps an example unless there are enough."""
        kept = self.examples.setdefault(rule, [])
        if len(kept) < MAX_EXAMPLES:
            kept.append(example)


@dataclass(frozen=True, slots=True)
class Run:
    """A run done: flat arrays by name (see `spool.ARRAYS`), texts, drops, counts."""

    arrays: dict[str, NDArray[Any]]
    texts: bytes
    """The kept messages, a line each."""
    rejected: bytes
    """gzip of JSON lines: rule, line, text."""
    tally: Tally


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns a `RawRun` into a `Run`; picklable, so that worker processes can have one each."""

    config: PrepareConfig
    words: frozenset[str]
    """Dialogues with one of these are dropped."""
    tokenizer: DialogueTokenizer

    def __call__(self, raw: RawRun) -> Run:
        tally = Tally()
        tally.read.update(
            dialogues=len(raw.dialogues),
            messages=sum(map(len, raw.dialogues)),
            chars=sum(map(len, chain.from_iterable(raw.dialogues))),
            bad=len(raw.bad),
        )
        dialogues = [Dialogue(messages, line) for messages, line in zip(raw.dialogues, raw.lines, strict=True)]
        cleaned = clean_dialogues(dialogues, self.config, self.words)
        rejected = (*raw.bad, *cleaned.rejected)
        if raw.bad:
            tally.dropped[UNREADABLE] += len(raw.bad)
        tally.dropped.update(cleaned.dropped)
        tally.changed.update(cleaned.changed)
        for drop in rejected:
            tally.show(drop.rule, {"line": drop.line, "text": drop.text})
        kept = [dialogue.messages for dialogue in cleaned.dialogues]
        lines = [dialogue.line for dialogue in cleaned.dialogues]
        texts = list(chain.from_iterable(kept))
        if not self.config.normalise:  # a message may hold a line end then; the tokenizer reads it as a space, too
            texts = [text.replace("\n", " ") for text in texts]
        return Run(
            self._arrays(kept, lines),
            "\n".join((*texts, "")).encode("utf-8", "surrogatepass"),
            json_lines({"rule": drop.rule, "line": drop.line, "text": drop.text} for drop in rejected),
            tally,
        )

    def _arrays(self, dialogues: list[Messages], lines: list[int]) -> dict[str, NDArray[Any]]:
        messages = list(chain.from_iterable(dialogues))
        ids, message_tokens = self.tokenizer.encode_all(messages)
        hashes = [content_hash(dialogue) for dialogue in dialogues]
        arrays: dict[str, NDArray[Any]] = {
            "ids": ids,
            "message_tokens": message_tokens,
            "message_chars": np.fromiter(map(len, messages), dtype=np.int64, count=len(messages)),
            "dialogue_messages": np.fromiter(map(len, dialogues), dtype=np.int64, count=len(dialogues)),
            "hashes": np.array(hashes, dtype=np.uint64),
            "splits": np.array(
                [split_of(hash_, self.config.validation_fraction, self.config.test_fraction) for hash_ in hashes], dtype=np.uint8
            ),
            "lines": np.array(lines, dtype=np.int64),
        }
        if self.config.near_duplicates:
            arrays["signatures"], arrays["shingles"] = signatures(dialogues)
            arrays["bands"] = band_keys(arrays["signatures"])
        return arrays


def raw_runs(dialogues: Iterable[Dialogue], bad: list[Rejected]) -> Iterator[RawRun]:
    """Dialogues in runs, cut by their own numbers and lengths alone, so that a restart cuts at the same places.

    `bad` is filled by the reader as it goes, and emptied here into the run that it belongs to.
    """
    run = RawRun([], [], [])
    chars = 0
    for dialogue in dialogues:
        run.dialogues.append(dialogue.messages)
        run.lines.append(dialogue.line)
        chars += sum(map(len, dialogue.messages))
        if len(run.dialogues) == _MAX_DIALOGUES or chars >= _MAX_CHARS:
            run.bad.extend(bad)
            bad.clear()
            yield run
            run, chars = RawRun([], [], []), 0
    if run.dialogues or bad:
        run.bad.extend(bad)
        yield run


def json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """Gzipped JSON lines, the same bytes for the same rows; gzip files put together are one gzip file. Empty for no rows."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return gzip.compress(text.encode("utf-8", "surrogatepass"), mtime=0) if text else b""
