"""What a prepared corpus is like: the figures of `report.json`, gathered as its dialogues are written."""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import compress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chitchat.corpus.splitting import Split
from chitchat.tokenization.tokenizer import DialogueTokenizer

K = TypeVar("K", int, str)

_MAX_COUNTED = 200_000
_TOP_REPLIES = 30
_COVERAGES = (100, 500, 1000, 2000, 3000, 5000)


class Statistics:
    """Counts over the dialogues kept, a block of them at a time, in bounded memory."""

    def __init__(self, tokenizer: DialogueTokenizer) -> None:
        self._tokenizer = tokenizer
        self._characters = np.zeros(0x110000, dtype=np.int64)
        self._message_chars: Counter[int] = Counter()
        self._dialogue_messages: Counter[int] = Counter()
        self._replies: Counter[str] = Counter()
        self._forgotten = False
        self._unknown_tokens = 0
        self._splits = np.zeros((len(Split), 3), dtype=np.int64)

    def add(self, arrays: dict[str, NDArray[Any]], messages: list[str]) -> None:
        """A block of kept dialogues: arrays as in `spool.ARRAYS`, and the text of every message."""
        lengths = arrays["dialogue_messages"]
        text = np.frombuffer("".join(messages).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        counts = np.bincount(text)
        self._characters[: len(counts)] += counts
        _count(self._message_chars, arrays["message_chars"])
        _count(self._dialogue_messages, lengths)
        self._unknown_tokens += int((arrays["ids"] == self._tokenizer.unk_id).sum())
        self._count_replies(lengths, messages)
        split_of_message = np.repeat(arrays["splits"], lengths)
        self._splits[:, 0] += np.bincount(arrays["splits"], minlength=len(Split))
        self._splits[:, 1] += np.bincount(split_of_message, minlength=len(Split))
        tokens = np.bincount(split_of_message, weights=arrays["message_tokens"], minlength=len(Split))
        self._splits[:, 2] += tokens.astype(np.int64)

    def move(self, dialogue: tuple[int, int, int], old: Split, new: Split) -> None:
        """A dialogue of so many (1, messages, tokens) went from one split to another."""
        self._splits[old] -= dialogue
        self._splits[new] += dialogue

    @property
    def split_dialogues(self) -> dict[Split, int]:
        return {split: int(self._splits[split, 0]) for split in Split}

    def as_dict(self) -> dict[str, Any]:
        """The figures by name, ready for JSON."""
        dialogues, messages, tokens = self._splits.sum(axis=0).tolist()
        chars = sum(length * count for length, count in self._message_chars.items())
        top = most_frequent(self._replies, _TOP_REPLIES)
        return {
            "kept": {
                "dialogues": dialogues,
                "messages": messages,
                "tokens": tokens,
                "chars": chars,
                "replies": messages - dialogues,
            },
            "message_chars_histogram": sorted(self._message_chars.items()),
            "dialogue_messages_histogram": sorted(self._dialogue_messages.items()),
            "characters": self._character_figures(),
            "unknown_tokens": self._unknown_tokens,
            "replies": {"total": messages - dialogues, "exact": not self._forgotten, "top": top},
            "splits": {
                split.name.lower(): dict(zip(("dialogues", "messages", "tokens"), row, strict=True))
                for split, row in zip(Split, self._splits.tolist(), strict=True)
            },
        }

    def _count_replies(self, lengths: NDArray[np.int32], messages: list[str]) -> None:
        """Every message but a dialogue's first answers something."""
        is_reply = np.ones(len(messages), dtype=np.bool_)
        is_reply[np.cumsum(lengths) - lengths] = False
        self._replies.update(compress(messages, is_reply.tolist()))
        self._replies, forgotten = forget_rare(self._replies)
        self._forgotten = self._forgotten or forgotten

    def _character_figures(self) -> dict[str, Any]:
        found = [(chr(code), int(self._characters[code])) for code in np.flatnonzero(self._characters).tolist()]
        counted = sorted(((c, n) for c, n in found if not c.isspace()), key=lambda item: (-item[1], item[0]))
        unknown = [(c, n) for c, n in counted if self._tokenizer.unk_id in self._tokenizer.encode(c)]
        total = sum(n for _, n in counted)
        sums = np.cumsum([n for _, n in counted] or [0])
        return {
            "distinct": len(counted),
            "total": total,
            "unknown_distinct": len(unknown),
            "unknown_total": sum(n for _, n in unknown),
            "worst": unknown[:50],
            "common": counted[:100],
            "coverage": [[k, round(int(sums[min(k, len(sums)) - 1]) / max(total, 1), 6)] for k in _COVERAGES],
        }


def forget_rare(counter: Counter[K]) -> tuple[Counter[K], bool]:
    """The counter, without its rarer half when it has grown too large for bounded memory; and whether that was so.

    What is frequent in the whole is frequent in its parts (Manku & Motwani 2002, "Approximate frequency counts").
    """
    if len(counter) <= _MAX_COUNTED:
        return counter, False
    median = int(np.median(np.fromiter(counter.values(), dtype=np.int64)))
    return Counter({item: count for item, count in counter.items() if count > median}), True


def most_frequent(counter: Counter[K], count: int) -> list[tuple[K, int]]:
    """So many of the most frequent, equal ones in their own order, so that the result is the same every time."""
    return heapq.nsmallest(count, counter.items(), key=lambda item: (-item[1], item[0]))


def _count(counter: Counter[int], values: NDArray[Any]) -> None:
    found, counts = np.unique(values, return_counts=True)
    counter.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
