"""The processors a program may use are counted on Linux as on macOS, which has no `sched_getaffinity`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chitchat.processors import usable_cpus

PACKAGE = Path(__file__).parents[1] / "chitchat"


def test_only_those_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cpus() == 3


@pytest.mark.parametrize(("known", "usable"), [(8, 8), (None, 1)])
def test_without_affinity_the_machine_counts(monkeypatch: pytest.MonkeyPatch, known: int | None, usable: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: known)
    assert usable_cpus() == usable


def test_nothing_else_asks_the_system() -> None:
    """What asks `os` itself ends in a traceback on a Mac."""
    asking = {p.name for p in PACKAGE.rglob("*.py") if "sched_getaffinity" in p.read_text(encoding="utf-8")}
    assert asking == {"processors.py"}
