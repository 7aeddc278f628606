"""Messages to the id sequence a model reads, the same in training, talking and scoring.

    forward   [CLS] u1 [SEP] u2 [SEP] … un [SEP] | reply [SEP]
    reverse   [CLS] reply [SEP] | un [SEP] … u2 [SEP] u1 [SEP]

What stands right of the bar is what is scored. Each message is encoded without special tokens and closed with `[SEP]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chitchat.tokenization.tokenizer import DialogueTokenizer


@dataclass(frozen=True, slots=True)
class ScoredSequence:
    """Ids of which those from `start` on are the target; `truncated` tells whether anything did not fit.

    The target's first message ends before `first_end`.
    """

    ids: list[int]
    start: int
    first_end: int
    truncated: bool = False


@dataclass(frozen=True)
class DialogueFormat:
    """How messages become ids for one model.

    Args:
        tokenizer: the model's own.
        max_tokens: the longest sequence the model takes (`n_positions`).
    """

    tokenizer: DialogueTokenizer
    max_tokens: int

    def prompt(self, context: Sequence[str], *, reserve: int) -> list[int]:
        """`[CLS] u1 [SEP] … un [SEP]`, leaving room for `reserve` tokens; the oldest messages are left out whole."""
        return self._prompt([self.tokenizer.encode(m) for m in context], self.max_tokens - reserve)[0]

    def forward(self, context: Sequence[str], reply: str) -> ScoredSequence:
        """The sequence whose target's log-probability is log P(reply | context)."""
        target, cut = self._closed(reply, self.max_tokens - 2)
        prompt, truncated = self._prompt([self.tokenizer.encode(m) for m in context], self.max_tokens - len(target))
        return ScoredSequence(prompt + target, len(prompt), len(prompt) + len(target), truncated or cut)

    def reverse(self, context: Sequence[str], reply: str) -> ScoredSequence:
        """The sequence whose target's log-probability is log P(context | reply), last message first."""
        messages = [self.tokenizer.encode(m) for m in context]
        # a long reply may take what the context leaves free, and half of all tokens in any case
        room = max(self.max_tokens // 2, self.max_tokens - sum(len(ids) + 1 for ids in messages)) - 1
        given, cut = self._closed(reply, room)
        given = [self.tokenizer.cls_id, *given]
        target, truncated = reversed_messages(messages, self.max_tokens - len(given), self.tokenizer.sep_id)
        first = target.index(self.tokenizer.sep_id) + 1 if target else 0
        return ScoredSequence(given + target, len(given), len(given) + first, truncated or cut)

    def _closed(self, message: str, room: int) -> tuple[list[int], bool]:
        """The message's ids with `[SEP]`, within `room` tokens; and whether its end had to be cut off."""
        ids = self.tokenizer.encode(message)
        return [*ids[: room - 1], self.tokenizer.sep_id], len(ids) > room - 1

    def _prompt(self, messages: list[list[int]], room: int) -> tuple[list[int], bool]:
        kept: list[int] = []
        truncated = False
        for position, ids in enumerate(reversed(messages)):
            closed = [*ids, self.tokenizer.sep_id]
            if len(kept) + len(closed) > room - 1:
                truncated = True
                if position == 0 and room > 2:  # the last message alone is too long: its end says most
                    kept = closed[-(room - 1) :]
                break
            kept = closed + kept
        return [self.tokenizer.cls_id, *kept], truncated


def reversed_messages(messages: Sequence[Sequence[int]], room: int, sep_id: int) -> tuple[list[int], bool]:
    """`un [SEP] … u1 [SEP]` within `room` tokens, oldest messages left out whole; and whether any was.

    When not even the last message fits, its beginning is kept, closed with `[SEP]`.
    """
    ids: list[int] = []
    for message in reversed(messages):
        if len(ids) + len(message) + 1 > room:
            if not ids and room > 1:
                ids = [*message[: room - 1], sep_id]
            return ids, True
        ids.extend(message)
        ids.append(sep_id)
    return ids, False
