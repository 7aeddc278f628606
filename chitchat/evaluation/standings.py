"""What votes add up to: wins and losses, win rates, Bradley–Terry strengths, each with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from chitchat.evaluation.arena import Vote

PRIOR = 0.5
"""Wins added to both sides of every pair that met (Haldane 1956; Anscombe 1956), so that a clean sweep stays finite.

It moves 60 : 40 by less than one point.
"""
HEADINGS = ("选手", "胜", "平", "负", "都不行", "胜率", "强度")

_ROUNDS = 2000
_MAX_ITERATIONS = 10_000
_NORMAL_95 = 1.959964


class Interval(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What the votes say of one contestant; `elo` is None when they do not connect all contestants."""

    name: str
    wins: int
    ties: int
    losses: int
    both_bad: int
    win_rate: Interval | None
    """Ties count half, "both bad" not at all; None without a decided vote."""
    elo: Interval | None
    """Bradley–Terry strength in points, 400 · log10 of the odds against the first contestant, whose own is 0."""


def standings(votes: Sequence[Vote], *, seed: int = 0) -> list[Standing]:
    """Every contestant's results, in the order of their first vote."""
    names = list(dict.fromkeys(name for vote in votes for name in vote.contestants))
    elo = _elo(votes, names, seed)
    rows = []
    for name in names:
        results = Counter(_result(vote, name) for vote in votes if name in vote.contestants)
        wins, ties, losses = results["win"], results["tie"], results["loss"]
        decided = wins + ties + losses
        rate = wilson(wins + ties / 2, decided) if decided else None
        rows.append(Standing(name, wins, ties, losses, results["both_bad"], rate, elo.get(name)))
    return rows


def _result(vote: Vote, name: str) -> str:
    if vote.verdict in ("a", "b"):
        return "win" if vote.contestants["ab".index(vote.verdict)] == name else "loss"
    return "both_bad" if vote.verdict == "both_bad" else "tie"


def wilson(wins: float, games: int) -> Interval:
    """A rate with its 95 % score interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    rate, z2 = wins / games, _NORMAL_95**2
    centre = (rate + z2 / (2 * games)) / (1 + z2 / games)
    half = _NORMAL_95 * (rate * (1 - rate) / games + z2 / (4 * games**2)) ** 0.5 / (1 + z2 / games)
    return Interval(rate, centre - half, centre + half)


def bradley_terry(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strengths (…, players) of geometric mean 1 from wins (…, players, players), row over column.

    The MM algorithm (Hunter 2004, doi:10.1214/aos/1079120141, equation 3). Every player must have won, and the games connect all.
    """
    games = wins + wins.swapaxes(-1, -2)
    won = wins.sum(axis=-1)
    strengths: NDArray[np.float64] = np.ones_like(won)
    for _ in range(_MAX_ITERATIONS):
        before = strengths
        strengths = won / (games / (before[..., :, None] + before[..., None, :])).sum(axis=-1)
        strengths = strengths / np.exp(np.log(strengths).mean(axis=-1, keepdims=True))
        if np.allclose(strengths, before, rtol=1e-9, atol=0.0):
            break
    return strengths


def _elo(votes: Sequence[Vote], names: Sequence[str], seed: int) -> dict[str, Interval]:
    """Strengths with bootstrap intervals over votes; empty when the votes do not connect all contestants.

    The bootstrap draws from the votes with the prior's added: resampling a clean sweep alone would only ever give a clean sweep,
    and an interval of no width. (Its upper end is then the estimate itself.)
    """
    cells: Counter[tuple[int, int, float]] = Counter()  # (player, other, the player's share of the win)
    for vote in votes:
        if vote.verdict != "both_bad":
            a, b = (names.index(name) for name in vote.contestants)
            cells[a, b, {"a": 1.0, "b": 0.0}.get(vote.verdict, 0.5)] += 1
    prior = np.zeros((len(names), len(names)))
    for a, b, _ in cells:
        prior[a, b] = prior[b, a] = PRIOR
    if not names or not np.linalg.matrix_power(prior + np.eye(len(names)), len(names)).all():
        return {}
    fitted = _points(_wins(cells, np.array([list(cells.values())], dtype=float), len(names)) + prior)[0]
    smoothed = Counter({(int(a), int(b), 1.0): PRIOR for a, b in np.argwhere(prior)})
    smoothed.update(cells)
    weights = np.array(list(smoothed.values()), dtype=float)
    counts = np.random.default_rng(seed).multinomial(cells.total(), weights / weights.sum(), size=_ROUNDS)
    low, high = np.quantile(_points(_wins(smoothed, counts, len(names)) + prior), [0.025, 0.975], axis=0)
    return {name: Interval(float(fitted[i]), float(low[i]), float(high[i])) for i, name in enumerate(names)}


def _wins(cells: Mapping[tuple[int, int, float], float], counts: NDArray[Any], players: int) -> NDArray[np.float64]:
    """(rounds, players, players) from how often each of `cells` was drawn, (rounds, cells)."""
    wins = np.zeros((len(counts), players, players))
    for (player, other, share), drawn in zip(cells, counts.T, strict=True):
        wins[:, player, other] += share * drawn
        wins[:, other, player] += (1 - share) * drawn
    return wins


def _points(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rounds, players) in points against player 0."""
    strengths = bradley_terry(wins)
    return 400 * np.log10(strengths / strengths[..., :1])


def table(votes: Sequence[Vote]) -> list[tuple[str, ...]]:
    """The standings as rows of text, under HEADINGS."""
    rows = standings(votes)
    cells: list[tuple[str, ...]] = []
    for i, s in enumerate(rows):
        rate = f"{s.win_rate.value:.1%} [{s.win_rate.low:.1%}, {s.win_rate.high:.1%}]" if s.win_rate else "—"
        elo = "—" if s.elo is None else f"{s.elo.value:+.0f} [{s.elo.low:+.0f}, {s.elo.high:+.0f}]" if i else "0（基准）"
        cells.append((s.name, f"{s.wins}", f"{s.ties}", f"{s.losses}", f"{s.both_bad}", rate, elo))
    return cells


def remarks(votes: Sequence[Vote]) -> list[str]:
    """What the table's reader must know, in sentences."""
    verdicts = Counter(vote.verdict for vote in votes)
    lines = [f"共 {len(votes)} 票；其中两个回复相同、自动记平的 {verdicts['identical']} 票，都不行的 {verdicts['both_bad']} 票"]
    if votes:
        lines.append("胜率：平算半胜，都不行不计；括号内为 95% 区间（Wilson）")
        lines.append(f"强度：Bradley–Terry，400·log10；先给交过手的每对各加 {PRIOR} 胜，全胜也有限；括号内为 95% 自助法区间")
        if any(s.elo is None for s in standings(votes)):
            lines.append("选手之间还没有足够的胜负把他们连起来，所以不给强度")
    return lines
