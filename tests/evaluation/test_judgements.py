"""Graded candidates: what a reader liked sets the weights that corpora cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from chitchat.backends.base import LogProb, Vectors
from chitchat.dialogue import Candidate
from chitchat.engine.reranking import FITTED, JUDGED, Ranker
from chitchat.errors import ConfigError, CorpusError
from chitchat.evaluation.judgements import Judgement, fit_judged, graded_replies, read_judgements


class ByLength:
    """A scorer to which the longer reply is the likelier."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-20.0 + len(reply), 5, first=-20.0 + len(reply)) for _, reply in pairs]


def judgement(number: int, grades: tuple[int, int, int, int]) -> Judgement:
    """A short and a longer retrieved reply, one of the model's that the scorers prefer, and one that fits a kind of message."""
    candidates = (
        Candidate(f"短{number}", source="retrieval", context_similarity=0.3 + number % 5 / 10),
        Candidate(f"稍长一点{number}", source="retrieval", context_similarity=0.3 + number % 5 / 10),
        Candidate(f"模型写的很长的句子{number}"),
        Candidate(f"承接{number}", source="act", context_similarity=0.5),
    )
    return Judgement((f"问题{number}",), candidates, grades)


def test_the_weights_follow_the_grades_and_leave_the_fitted_ones_alone() -> None:
    before = Ranker({"reverse": 1.0, "human": 0.0, "context_similarity": 0.0, "act": 0.0, "echo": -2.0})
    liked = [judgement(n, (1, 2, 0, 0)) for n in range(30)]
    exceptions = [judgement(n, (0, 0, 1, 0)) for n in range(30, 36)]
    found = fit_judged([*liked, *exceptions], before, ByLength(), ByLength())
    assert found.ranker.weights["human"] > 0
    assert found.ranker.weights["act"] < 0
    assert {n: w for n, w in found.ranker.weights.items() if n not in JUDGED} == {"reverse": 1.0, "echo": -2.0}
    assert found.num_contexts == 36
    assert found.chosen["reverse"].value == pytest.approx(6 / 36)
    assert found.chosen["before"].value == pytest.approx(6 / 36)
    assert found.chosen["fitted"].value == pytest.approx(60 / 36)
    assert found.chosen["best"].value == pytest.approx(66 / 36)
    assert found.chosen["random"].value == pytest.approx((30 * 3 + 6) / 4 / 36)


def test_contexts_whose_candidates_are_all_alike_tell_nothing() -> None:
    mixed = [judgement(n, (n % 2, 2, n % 3 // 2, 0)) for n in range(30)]
    same = [judgement(n, (0, 0, 0, 0)) for n in range(5)]
    ranker = Ranker({"reverse": 1.0})
    with_same, without = (fit_judged(j, ranker, ByLength(), ByLength()) for j in ([*mixed, *same], mixed))
    assert with_same.ranker.weights == without.ranker.weights
    assert with_same.num_contexts == 30


def test_judgements_against_the_scores_are_an_error() -> None:
    backwards = [Judgement((f"问{n}",), (Candidate("短"), Candidate("长得多的一句")), (2, 0)) for n in range(20)]
    with pytest.raises(ConfigError, match="相反"):
        fit_judged(backwards, Ranker({name: float(name == "reverse") for name in FITTED}), ByLength(), ByLength())


class Liking:
    """A reward model that likes what is among `good`."""

    def __init__(self, good: set[str]) -> None:
        self.good = good

    def rewards(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[float]:
        return [float(reply in self.good) for _, reply in pairs]


def test_a_reward_model_is_weighed_by_what_it_has_not_learnt_from() -> None:
    """It may know by heart what it was trained on; there it says nothing of how far to trust it."""
    judgements = [judgement(n, (0, 2, 1, 0) if n % 3 else (2, 0, 1, 0)) for n in range(200)]
    best = {c.text for j in judgements if not j.is_held_out for c, g in zip(j.candidates, j.grades, strict=True) if g == 2}
    ranker = Ranker({"reverse": 1.0})
    learnt_by_heart = fit_judged(judgements, ranker, ByLength(), ByLength(), Liking(best))
    assert learnt_by_heart.num_contexts == sum(j.is_held_out for j in judgements) > 20
    assert learnt_by_heart.ranker.weights["reward"] == pytest.approx(0.0, abs=1e-6)
    assert learnt_by_heart.chosen["reward"].value == pytest.approx(
        sum(j.grades[0] for j in judgements if j.is_held_out) / learnt_by_heart.num_contexts
    )
    knows = {c.text for j in judgements for c, g in zip(j.candidates, j.grades, strict=True) if g == 2}
    assert fit_judged(judgements, ranker, ByLength(), ByLength(), Liking(knows)).ranker.weights["reward"] > 1


class Paged:
    """An encoder to which texts are near whose last characters have the same number on their pages."""

    fingerprint = "paged"

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        return self.replies([context[-1] for context in contexts])

    def replies(self, replies: Sequence[str]) -> Vectors:
        return np.eye(256, dtype=np.float32)[[ord(reply[-1]) % 256 for reply in replies]]


def test_the_encoder_tells_which_contexts_are_alike() -> None:
    """The reply that was given in a like context is the better one, nine times in ten."""

    def pair(number: int) -> Judgement:
        texts = ("回得长些", "回") if number % 3 else ("回", "回得长些")
        here, there = (
            Candidate(text, source="retrieval", origin=(f"说起{chr(0x6000 + of)}",))
            for text, of in zip(texts, (number, number + 50), strict=True)
        )
        return Judgement((f"问题{chr(0x5000 + number)}",), (there, here), (0, 2) if number % 12 else (2, 0))

    judgements = [pair(number) for number in range(10, 50)]
    ranker = Ranker({"reverse": 1.0})
    without = fit_judged(judgements, ranker, ByLength(), ByLength())
    found = fit_judged(judgements, ranker, ByLength(), ByLength(), None, Paged())
    assert found.ranker.weights["context_match"] > 0.1
    assert without.ranker.weights["context_match"] == pytest.approx(0.0, abs=1e-6)
    assert found.chosen["fitted"].value == pytest.approx(1.8) and without.chosen["fitted"].value < 1.6
    assert "encoder" in found.chosen and "encoder" not in without.chosen


def test_a_talk_is_learnt_from_or_held_out_whole() -> None:
    talk = [Judgement(("在吗", *["嗯"] * n), (Candidate("好"), Candidate("不好")), (2, 0), written=("好呀",)) for n in range(4)]
    others = [Judgement((f"问{n}",), (Candidate("好"), Candidate("不好")), (2, 0), written=("好呀",)) for n in range(80)]
    assert len({j.is_held_out for j in talk}) == 1
    learnt, measured = (graded_replies([*talk, *others], held_out=held_out) for held_out in (False, True))
    assert len(learnt) + len(measured) == 84 and 8 <= len(measured) <= 40
    assert all(replies == ["好", "不好", "好呀"] and grades == [2, 0, 2] for _, replies, grades in learnt)
    assert all(replies == ["好", "不好"] for _, replies, _ in measured), "what the reader wrote would always win"


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    reply = {"text": "好", "grade": 2, "source": "retrieval", "context_similarity": 0.4}
    path.write_text(json.dumps({"context": ["在吗", "在"], "replies": [reply]}, ensure_ascii=False) + "\n\n", encoding="utf-8")
    (found,) = read_judgements(path)
    assert found == Judgement(("在吗", "在"), (Candidate("好", source="retrieval", context_similarity=0.4),), (2,))
    path.write_text(json.dumps({"context": ["在吗"], "replies": [reply], "written": ["在呢"]}), encoding="utf-8")
    assert read_judgements(path)[0].written == ("在呢",)


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "好", "grade": 3, "source": "act", "context_similarity": 0.4},
        {"text": "好", "source": "act", "context_similarity": 0.4},
        {"text": "好", "grade": 1, "source": "act", "context_similarity": "近"},
        "好",
    ],
)
def test_a_faulty_line_is_told_with_its_number(tmp_path: Path, reply: object) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text("\n" + json.dumps({"context": ["在吗"], "replies": [reply]}, ensure_ascii=False) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="不是一条评判") as caught:
        read_judgements(path)
    assert caught.value.line == 2


def test_our_own_judgements_are_read_and_never_by_the_same_words_twice() -> None:
    found = read_judgements(Path(__file__).parents[2] / "data" / "evaluation" / "judgements.jsonl")
    assert len(found) > 3000
    for judgement in found:
        texts = [c.text for c in judgement.candidates]
        assert len(set(texts)) == len(texts), judgement.context
        assert {c.source for c in judgement.candidates} <= {"model", "retrieval", "act"}
