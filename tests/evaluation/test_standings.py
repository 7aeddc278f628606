"""What votes add up to, against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from chitchat.evaluation.arena import Verdict, Vote
from chitchat.evaluation.standings import HEADINGS, bradley_terry, remarks, standings, table, wilson

VOTE = Vote(("你好",), ("A", "B"), ("嗨", "哦"), (0, 1), "a", 0, "2025-01-01T00:00:00+00:00")


def votes(contestants: tuple[str, str] = ("A", "B"), **counts: int) -> list[Vote]:
    verdicts: list[Verdict] = [verdict for verdict, count in counts.items() for _ in range(count)]  # type: ignore[misc]
    return [replace(VOTE, contestants=contestants, verdict=verdict) for verdict in verdicts]


def test_two_players_come_to_the_log_odds() -> None:
    strengths = bradley_terry(np.array([[0.0, 30.0], [10.0, 0.0]]))
    assert math.log(strengths[0] / strengths[1]) == pytest.approx(math.log(3), abs=1e-9)
    a, b = standings(votes(a=30, b=9, tie=2, identical=2, both_bad=5))
    assert a.elo == (0, 0, 0) and b.elo is not None
    assert b.elo.value == pytest.approx(400 * math.log10((9 + 2 + 0.5) / (30 + 2 + 0.5)))  # ties half, half a win each of prior
    assert (a.wins, a.ties, a.losses, a.both_bad) == (30, 4, 9, 5) and (b.wins, b.losses) == (9, 30)
    assert a.win_rate is not None and a.win_rate.value == pytest.approx(32 / 43)


def test_three_players_come_to_the_known_optimum() -> None:
    # Strengths 1 : 2 : 4 meet these expectations exactly, with unlike numbers of games a pair.
    wins = np.array([[0.0, 10.0, 6.0], [20.0, 0.0, 30.0], [24.0, 60.0, 0.0]])
    strengths = bradley_terry(np.stack([wins, wins.T]))
    assert strengths[0] / strengths[0, 0] == pytest.approx([1, 2, 4], rel=1e-6)
    assert strengths[1] / strengths[1, 2] == pytest.approx([4, 2, 1], rel=1e-6)


def test_a_third_player_is_placed_through_a_common_rival() -> None:
    rows = standings([*votes(a=20, b=10), *votes(("C", "B"), a=30, b=10)])
    assert [r.name for r in rows] == ["A", "B", "C"]
    a_to_b, c_to_b = 400 * math.log10(20.5 / 10.5), 400 * math.log10(30.5 / 10.5)
    assert [r.elo.value for r in rows if r.elo] == pytest.approx([0, -a_to_b, c_to_b - a_to_b], abs=1e-3)


def test_the_bootstrap_interval_is_the_large_sample_one() -> None:
    elo = standings(votes(a=450, b=550))[1].elo
    assert elo is not None
    half = 1.96 * math.sqrt(1 / 450 + 1 / 550) * 400 / math.log(10)
    assert elo.low == pytest.approx(elo.value - half, abs=3) and elo.high == pytest.approx(elo.value + half, abs=3)


def test_a_clean_sweep_is_finite_and_its_interval_has_width() -> None:
    elo = standings(votes(b=10))[1].elo
    assert elo is not None
    assert elo.value == pytest.approx(400 * math.log10(21)) and 0 < elo.low < elo.value - 100


def test_wilson_interval() -> None:
    assert wilson(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-4)


def test_no_strength_where_votes_do_not_connect() -> None:
    rows = standings([*votes(a=5), *votes(("C", "D"), a=5)])
    assert [r.elo for r in rows] == [None] * 4 and rows[2].win_rate is not None
    (only_bad, _) = standings(votes(both_bad=3))
    assert only_bad.elo is None and only_bad.win_rate is None and only_bad.both_bad == 3
    assert standings([]) == [] and remarks([])[0].startswith("共 0 票")


def test_the_table_says_it_all() -> None:
    given = votes(a=6, b=2, identical=1, both_bad=1)
    first, second = table(given)
    assert len(first) == len(HEADINGS)
    assert first[:5] == ("A", "6", "1", "2", "1") and first[5].startswith("72.2% [") and first[6] == "0（基准）"
    assert second[6].startswith("-147 [")
    assert "共 10 票" in remarks(given)[0] and "自动记平的 1 票，都不行的 1 票" in remarks(given)[0]
    assert any("不给强度" in line for line in remarks(votes(both_bad=1)))
