"""Messages as bags: the tokens of each and its pairs of neighbours, in no order, for the dual encoder.

A pair is a number below `buckets` that its two tokens hash to; pairs that share one are told apart by their tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS = 64
"""Of a message; what a longer one says further on is left out."""
_MULTIPLIERS = (np.int64(7919), np.int64(2654435761))
_SHIFT = np.int64(13)


@dataclass(frozen=True)
class Bags:
    """Bags in one flat array, as `torch.nn.EmbeddingBag` wants them.

    Attributes:
        ids: of every bag in turn: tokens below `vocab_size`, then pairs above.
        offsets: (bags,) where each begins in `ids`.
        sizes: (bags,) how many ids each has; a message that is not there has none.
    """

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]


def bags(
    ids: NDArray[np.integer], starts: NDArray[np.int64], lengths: NDArray[np.int64], *, vocab_size: int, buckets: int
) -> Bags:
    """The bags of messages.

    Args:
        ids: tokens that the messages are pieces of.
        starts: (messages,) where each begins in `ids`.
        lengths: (messages,) its tokens without `[SEP]`; 0 for a message that is not there.
    """
    lengths = np.minimum(lengths, MAX_TOKENS)
    sizes = np.maximum(2 * lengths - 1, 0)
    offsets = np.cumsum(sizes) - sizes
    within = np.arange(int(sizes.sum())) - np.repeat(offsets, sizes)
    tokens = np.repeat(lengths, sizes)
    is_pair = within >= tokens
    places = np.repeat(starts, sizes) + np.where(is_pair, within - tokens, within)
    found = np.asarray(ids)[places].astype(np.int64)
    firsts = found[is_pair]
    seconds = np.asarray(ids)[places[is_pair] + 1].astype(np.int64)
    found[is_pair] = vocab_size + (((firsts * _MULTIPLIERS[0] + seconds) * _MULTIPLIERS[1]) >> _SHIFT) % buckets
    return Bags(found, offsets, sizes)
