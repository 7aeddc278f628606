"""What a reward model learns from: replies to one context, some better than others.

A group is a context and several replies with a grade each. Graded replies come from readers; from corpora come the true reply
(grade 1) and others that were said elsewhere (grade 0), some of them chosen for sharing words with the last message, since that
is what a reply off the point looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chitchat.tokenization.batching import StreamPosition, pack
from chitchat.tokenization.dialogue_format import REWARD_MESSAGES, DialogueFormat
from chitchat.tokenization.token_store import TokenStore

RANDOM_REPLIES = 4
NEAR_REPLIES = 2
"""Other replies of a corpus group: drawn at random, and drawn as the likest of `_POOL` to the last message."""
_POOL = 24
_LONGEST_REPLY = 40
_GROUPS_AT_A_TIME = 512
_UNGRADED = -1

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ReplyGroup:
    """A context, replies to it and how good each is.

    Attributes:
        context: ids of `[CLS]` and whole messages, each closed with `[SEP]`.
        replies: ids of each reply, closed with `[SEP]`.
        grades: (replies,) of each; only which of two is higher matters.
    """

    context: Ids
    replies: tuple[Ids, ...]
    grades: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        return len(self.context) + sum(map(len, self.replies))

    def drawn(self, max_tokens: int, random: np.random.Generator) -> ReplyGroup:
        """As many of the replies as fit into `max_tokens`, drawn at random; the first, a corpus's true one, stays."""
        kept = [0]
        room = max_tokens - len(self.context) - len(self.replies[0])
        for i in (1 + random.permutation(len(self.replies) - 1)).tolist():
            if len(self.replies[i]) <= room:
                kept.append(i)
                room -= len(self.replies[i])
        return ReplyGroup(self.context, tuple(self.replies[i] for i in kept), tuple(self.grades[i] for i in kept))


@dataclass(frozen=True)
class GroupBatch:
    """Packed rows of groups, each array of shape (rows, tokens) unless said otherwise.

    A context stands once before all its replies, which see it and themselves but not each other, and whose positions go on from
    it: each is computed as if it stood there alone.
    """

    input_ids: Ids
    position_ids: Ids
    group_ids: Ids
    """Which group of its row a token belongs to, from 1; 0 is padding."""
    reply_ids: Ids
    """Which reply of its group, from 1; 0 is the context."""
    ends: Ids
    """(groups, replies) where each reply's last token is in the flattened rows; 0 where a group has fewer."""
    grades: Ids
    """(groups, replies), -1 where a group has fewer."""

    @property
    def num_targets(self) -> int:
        return len(self.grades)

    @property
    def num_tokens(self) -> int:
        return int((self.group_ids > 0).sum())

    @property
    def arrays(self) -> tuple[Ids, ...]:
        return self.input_ids, self.position_ids, self.group_ids, self.reply_ids, self.ends, self.grades


def judged_group(format_: DialogueFormat, context: Sequence[str], replies: Sequence[str], grades: Sequence[int]) -> ReplyGroup:
    """The group of a context whose replies a reader graded."""
    given = [str(m) for m in context[-REWARD_MESSAGES:]]
    prompt = format_.prompt(given, reserve=format_.max_tokens // 2)
    sep = format_.tokenizer.sep_id
    closed = [np.array([*format_.tokenizer.encode(r)[: _LONGEST_REPLY - 1], sep], dtype=np.int64) for r in replies]
    return ReplyGroup(np.array(prompt, dtype=np.int64), tuple(closed), tuple(grades))


class CorpusReplies:
    """Groups made of one split of a corpus: what was said next, against what was said elsewhere."""

    def __init__(self, store: TokenStore, dialogues: Sequence[int], *, max_tokens: int, cls_id: int) -> None:
        self.store, self.max_tokens, self.cls_id = store, max_tokens, cls_id
        sizes = np.diff(np.asarray(store.message_ends), prepend=0)
        places = [(m, d.start, d.stop) for d in map(store.dialogue, dialogues) for m in d[1:] if sizes[m] <= _LONGEST_REPLY]
        self._places = np.array(places, dtype=np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._places)

    def group(self, index: int, random: np.random.Generator) -> ReplyGroup:
        """The group of one reply; the others are drawn with `random`."""
        message, first, end = self._places[index].tolist()
        true, last = self._message(message), self._message(message - 1)
        drawn = [self._message(int(m)) for m in self._places[random.integers(0, len(self), RANDOM_REPLIES + _POOL), 0]]
        pool, words = drawn[RANDOM_REPLIES:], set(last[:-1].tolist())
        likeness = [len(words & set(ids[:-1].tolist())) / (2 + len(ids)) ** 0.5 for ids in pool]
        others = drawn[:RANDOM_REPLIES] + [pool[i] for i in np.argsort(likeness)[-NEAR_REPLIES:]]
        # what the same speaker says elsewhere in the dialogue keeps to the topic and still does not answer this
        own = [m for m in range(first + (message - first) % 2, end, 2) if m != message]
        if own:
            others.append(self._message(own[int(random.integers(0, len(own)))])[-_LONGEST_REPLY:])
        wrong = [ids for ids in others if not np.array_equal(ids, true)]
        return ReplyGroup(self._context(message, first), (true, *wrong), (1, *[0] * len(wrong)))

    def _context(self, message: int, first: int) -> Ids:
        kept: list[Ids] = []
        room = self.max_tokens // 2 - 1
        for m in range(message - 1, max(first, message - REWARD_MESSAGES) - 1, -1):
            ids = self._message(m)
            if len(ids) > room:
                if not kept:
                    kept.append(ids[-room:])
                break
            kept.append(ids)
            room -= len(ids)
        return np.concatenate([[self.cls_id], *reversed(kept)])

    def _message(self, index: int) -> Ids:
        return self.store.message(index).astype(np.int64)


class GroupStream:
    """Endless batches of groups from weighted corpora and graded replies; a pure function of seed and position.

    Args:
        corpora: each with the share of its replies that an epoch takes, as in training the other models.
        judged: graded groups.
        judged_share: of all groups, those that are graded ones; the rest comes from the corpora.
        start: where to begin; an "epoch" of the position is a run of `_GROUPS_AT_A_TIME` groups, drawn together.
    """

    def __init__(
        self,
        corpora: Sequence[tuple[CorpusReplies, float]],
        judged: Sequence[ReplyGroup],
        *,
        judged_share: float,
        rows_per_batch: int,
        row_tokens: int,
        pad_id: int,
        seed: int,
        start: StreamPosition | None = None,
    ) -> None:
        self.corpora, self.judged = corpora, judged
        self.judged_share = judged_share if corpora else 1.0
        self.rows_per_batch, self.row_tokens, self.pad_id, self.seed = rows_per_batch, row_tokens, pad_id, seed
        self.position = start or StreamPosition()
        self._drawn = self._draw(self.position.epoch)

    @property
    def epoch_tokens(self) -> int:
        """Tokens until every graded reply has been seen once, about."""
        tokens = sum(group.num_tokens for group in self.judged)
        return int(tokens / self.judged_share)

    def __iter__(self) -> GroupStream:
        return self

    def __next__(self) -> GroupBatch:
        epoch, row = self.position.epoch, self.position.row
        groups, rows = self._drawn
        if row + self.rows_per_batch > len(rows):  # what is left of a run would be no full batch
            epoch, row = epoch + 1, 0
            groups, rows = self._drawn = self._draw(epoch)
        taken = rows[row : row + self.rows_per_batch]
        self.position = StreamPosition(epoch, row + len(taken))
        return collate_groups([[groups[i] for i in members] for members in taken], self.row_tokens, self.pad_id)

    def _draw(self, epoch: int) -> tuple[list[ReplyGroup], list[list[int]]]:
        random = np.random.default_rng((self.seed, epoch))
        num_judged = round(self.judged_share * _GROUPS_AT_A_TIME)
        groups = [self.judged[i].drawn(self.row_tokens, random) for i in self._judged_turn(epoch * num_judged, num_judged)]
        if self.corpora:
            sizes = np.array([len(replies) * weight for replies, weight in self.corpora])
            for source in random.choice(len(sizes), _GROUPS_AT_A_TIME - num_judged, p=sizes / sizes.sum()):
                replies = self.corpora[source][0]
                group = replies.group(int(random.integers(0, len(replies))), random)
                groups.append(group.drawn(self.row_tokens, random))
        order = random.permutation(len(groups))
        rows = pack(np.array([group.num_tokens for group in groups]), order, self.row_tokens)
        random.shuffle(rows)
        return groups, rows

    def _judged_turn(self, first: int, number: int) -> list[int]:
        """Graded groups in an order that comes to every one before it comes to any again."""
        turns: list[int] = []
        while len(turns) < number:
            turn, at = divmod(first + len(turns), len(self.judged))
            order = np.random.default_rng((self.seed, turn, 1)).permutation(len(self.judged))
            turns.extend(order[at : at + number - len(turns)].tolist())
        return turns


def packed_groups(groups: Sequence[ReplyGroup], *, rows_per_batch: int, row_tokens: int, pad_id: int) -> list[GroupBatch]:
    """All groups once, in batches of full size; of a group that fits no row, the replies that do."""
    random = np.random.default_rng(0)
    fitting = [group.drawn(row_tokens, random) for group in groups]
    rows = pack(np.array([group.num_tokens for group in fitting]), np.arange(len(fitting)), row_tokens)
    rows.extend([[]] * (-len(rows) % rows_per_batch))  # compiled models want one shape
    return [
        collate_groups([[fitting[i] for i in row] for row in rows[at : at + rows_per_batch]], row_tokens, pad_id)
        for at in range(0, len(rows), rows_per_batch)
    ]


def collate_groups(rows: Sequence[Sequence[ReplyGroup]], row_tokens: int, pad_id: int) -> GroupBatch:
    """One batch from rows of groups."""
    shape = (len(rows), row_tokens)
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    position_ids, group_ids, reply_ids = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    groups = [group for row in rows for group in row]
    width = max((len(group.replies) for group in groups), default=0)
    ends = np.zeros((len(groups), width), dtype=np.int64)
    grades = np.full((len(groups), width), _UNGRADED, dtype=np.int64)
    index = 0
    for r, row in enumerate(rows):
        at = 0
        for number, group in enumerate(row, start=1):
            after_context = len(group.context)
            for reply, ids in enumerate([group.context, *group.replies]):
                end = at + len(ids)
                start = after_context if reply else 0
                input_ids[r, at:end] = ids
                position_ids[r, at:end] = np.arange(start, start + len(ids))
                group_ids[r, at:end] = number
                reply_ids[r, at:end] = reply
                if reply:
                    ends[index, reply - 1] = r * row_tokens + end - 1
                at = end
            grades[index, : len(group.grades)] = group.grades
            index += 1
    return GroupBatch(input_ids, position_ids, group_ids, reply_ids, ends, grades)
