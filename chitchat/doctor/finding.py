"""What an examination says of one thing, and how figures are written in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["fatal", "warning", "ok"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, how bad, a sentence with the figures, and what to do about it (empty when all is well)."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def size_text(num_bytes: float) -> str:
    """Bytes as people say them."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def count_text(number: int) -> str:
    """A count to stand before its Chinese unit."""
    return f"{number / 10_000:.1f} 万" if number >= 10_000 else f"{number} "


def duration_text(hours: float) -> str:
    """Hours as people say them."""
    if hours < 1 / 60:
        return "不到一分钟"
    return f"{hours / 24:.1f} 天" if hours >= 48 else f"{hours:.1f} 小时" if hours >= 1 else f"{hours * 60:.0f} 分钟"
