"""Which split a dialogue belongs to, decided by its own words alone.

The same dialogue lands in the same split whatever file it comes from, whatever its place there and whatever was added later;
the head of an unshuffled file would be no validation set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import clean_dialogues
from chitchat.corpus.reading.readers import read_dialogues
from chitchat.dialogue import Dialogue

_SEPARATOR = b"\xff"
"""A byte that UTF-8 never contains, so ["ab", "c"] and ["a", "bc"] differ."""
_DIALOGUES_AT_A_TIME = 1000


class Split(IntEnum):
    """A part of the corpus; the values are stored on disk."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


def content_hash(messages: Sequence[str]) -> int:
    """An unsigned 64-bit hash of a dialogue's messages, the same on every run and machine."""
    # Every message is closed by the separator: joined only between, () and ("",) would be one.
    content = b"".join([message.encode("utf-8", "surrogatepass") + _SEPARATOR for message in messages])
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big")


def split_of(hash_: int, validation_fraction: float, test_fraction: float) -> Split:
    """The split of a content hash: the lowest hashes are the test set, the next ones the validation set.

    The test set depends on `test_fraction` only, so that a changed validation share never moves a dialogue from test into
    training.
    """
    # 53 bits are what a float holds: the whole hash would round the last ones up to 1.0, outside every fraction.
    position = (hash_ >> 11) / 2**53
    if position < test_fraction:
        return Split.TEST
    if position < test_fraction + validation_fraction:
        return Split.VALIDATION
    return Split.TRAIN


def split_dialogues(path: Path) -> Iterator[tuple[Split, Dialogue]]:
    """The dialogues of a corpus file, cleaned and split as training does by default.

    Raises CorpusError for a file that cannot be read.
    """
    options = PrepareConfig()
    dialogues = read_dialogues(path)
    while some := list(islice(dialogues, _DIALOGUES_AT_A_TIME)):
        for piece in clean_dialogues(some, options).dialogues:
            yield split_of(content_hash(piece.messages), options.validation_fraction, options.test_fraction), piece
