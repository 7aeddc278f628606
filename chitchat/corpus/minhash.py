"""MinHash signatures of dialogues: how alike two texts are, from a hundred bytes each.

A dialogue is the set of its character trigrams; the share of equal slots in two signatures estimates the Jaccard similarity of
the sets (Broder 1997), with one byte a slot as in Li & König 2010 ("b-bit minwise hashing"). Dialogues that agree in a whole
band of slots are candidates (Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

import numpy as np
from numpy.typing import NDArray

SLOTS = 126
BANDS = 28
MIN_SHINGLES = 28
"""Shorter dialogues are alike by chance, and one other word already makes them a paraphrase worth keeping."""
MIN_HELD_OUT_SHINGLES = 12
"""A held-out dialogue is guarded against shorter copies too: one lost paraphrase costs less than a question known beforehand."""
ESTIMATE_MARGIN = 0.065
"""Subtracted from a threshold: 2.5 standard errors, so that 99 % of the pairs exactly at it pass (measured: 0.026 at 0.8)."""

_SHINGLE_CHARS = 3
_ROWS = 9
"""Slots a band: at a similarity of 0.8 one of the bands agrees in 98 of 100 pairs, at 0.5 in 5, at 0.4 in 1."""
_SEED = 1
_ROWS_AT_A_TIME = 200
_ROW = Struct(f"={SLOTS}I")
_MIXER = np.uint64(0x9E3779B97F4A7C15)
_BAND_MIXERS = np.random.Generator(np.random.PCG64(0)).integers(1, 2**63, _ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def signatures(dialogues: Sequence[Sequence[str]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Signatures (dialogues, SLOTS), and how many shingles each dialogue has (dialogues,), 255 for more.

    Rows of dialogues with less than `MIN_HELD_OUT_SHINGLES` are zero and mean nothing.
    """
    from rensa import RMinHash

    texts = ["\n".join(messages) for messages in dialogues]
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    counts = np.maximum(lengths - _SHINGLE_CHARS + 1, 0)
    compared = np.flatnonzero(counts >= MIN_HELD_OUT_SHINGLES)
    found = np.zeros((len(texts), SLOTS), dtype=np.uint8)
    # few at a time, or the numbers that come back as Python objects do not fit the processor's cache
    for start in range(0, len(compared), _ROWS_AT_A_TIME):
        some = compared[start : start + _ROWS_AT_A_TIME]
        hashes = _shingle_hashes("".join([texts[i] for i in some]), lengths[some])
        offsets = np.concatenate([[0], np.cumsum(counts[some])]).astype(np.uint64)
        rows = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, SLOTS, _SEED).to_rows()
        # struct: half the time of np.array over lists of lists
        slots = np.frombuffer(b"".join([_ROW.pack(*row) for row in rows]), dtype=np.uint32)
        found[some] = slots.reshape(-1, SLOTS).astype(np.uint8)
    return found, np.minimum(counts, 255).astype(np.uint8)


def _shingle_hashes(text: str, lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(shingles,) a 64-bit hash of every trigram that lies within one dialogue; `lengths` are the dialogues' characters."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    bits = np.uint64(21)  # of a code point, so three of them fit
    trigrams = (characters[:-2] << bits | characters[1:-1]) << bits | characters[2:]
    within = np.ones(len(characters), dtype=np.bool_)
    ends = np.cumsum(lengths)
    within[ends - 1] = within[ends - 2] = False
    hashes: NDArray[np.uint64] = trigrams[within[:-2]] * _MIXER
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIXER
    return hashes


def band_keys(signatures: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(BANDS, dialogues) a hash of each band, never 0; 0 throughout for a zero signature.

    Every slot stands in two bands, once beside its neighbours and once beside others, which finds more pairs than as many
    slots in half the bands.
    """
    count = len(signatures)
    neighbours = signatures.reshape(count, BANDS // 2, _ROWS)
    others = signatures.reshape(count, _ROWS, BANDS // 2).swapaxes(1, 2)
    bands = np.concatenate([neighbours, others], axis=1).astype(np.uint64)
    keys = np.maximum((bands @ _BAND_MIXERS) >> np.uint64(32), np.uint64(1)).astype(np.uint32)
    keys[~signatures.any(axis=1)] = 0
    return np.ascontiguousarray(keys.T)


def similarity(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(pairs,) the estimated Jaccard similarity of the rows of two (pairs, SLOTS) arrays."""
    shares: NDArray[np.float32] = (a == b).mean(axis=1, dtype=np.float32)
    return shares
