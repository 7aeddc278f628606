"""Named sampling presets, and how one seed becomes many."""

from __future__ import annotations

import zlib
from dataclasses import replace

from chitchat.config import DecodingConfig

PRESETS: dict[str, DecodingConfig] = {
    "steady": DecodingConfig(temperature=0.6, top_k=10, top_p=0.8),
    "lively": DecodingConfig(),
    "wild": DecodingConfig(temperature=1.1, top_k=60, top_p=0.95, repetition_penalty=1.15),
}
PRESET_LABELS: dict[str, str] = {"steady": "稳妥", "lively": "活泼", "wild": "天马行空"}

MAX_TEMPERATURE = 5.0


def derived_seed(seed: int, *parts: int) -> int:
    """A seed for one part of what `seed` governs (a turn, an attempt, a round): the same every time, unlike its neighbours."""
    return zlib.crc32(",".join(map(str, (seed, *parts))).encode())


def bolder(decoding: DecodingConfig, round_number: int) -> DecodingConfig:
    """The settings of a further round: hotter, sampled, with another seed; round 0 is as given.

    Beam and greedy search would only write the same replies again.
    """
    if round_number == 0:
        return decoding
    return replace(
        decoding,
        strategy="sample",
        temperature=min(decoding.temperature * (1 + 0.25 * round_number), MAX_TEMPERATURE),
        seed=None if decoding.seed is None else derived_seed(decoding.seed, round_number),
    )
