"""Presets and derived seeds."""

from __future__ import annotations

from chitchat.config import DecodingConfig
from chitchat.engine.decoding import PRESET_LABELS, PRESETS, bolder, derived_seed


def test_presets_grow_wilder() -> None:
    assert list(PRESETS) == list(PRESET_LABELS) == ["steady", "lively", "wild"]
    temperatures = [p.temperature for p in PRESETS.values()]
    assert temperatures == sorted(temperatures)


def test_derived_seeds_differ_and_repeat() -> None:
    seeds = {derived_seed(seed, turn, attempt) for seed in range(20) for turn in range(20) for attempt in range(5)}
    assert len(seeds) == 2000
    assert derived_seed(1, 2, 3) == derived_seed(1, 2, 3)
    DecodingConfig(seed=max(seeds))


def test_further_rounds_are_hotter_and_sampled() -> None:
    beam = DecodingConfig(strategy="beam", temperature=4.5, seed=3)
    assert bolder(beam, 0) is beam
    second, third = bolder(beam, 1), bolder(beam, 2)
    assert second.strategy == third.strategy == "sample"
    assert second.temperature == third.temperature == 5.0
    assert len({beam.seed, second.seed, third.seed}) == 3
    assert bolder(DecodingConfig(), 1).seed is None
