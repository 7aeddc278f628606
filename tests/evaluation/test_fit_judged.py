"""What a reader liked sets the weights that corpora cannot, and a reward model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from chitchat.backends.base import LogProb, Vectors
from chitchat.dialogue import Candidate
from chitchat.engine.reranking import FITTED, JUDGED, Ranker
from chitchat.errors import ConfigError
from chitchat.evaluation.fit_judged import _fold, _pairwise, fit_judged
from chitchat.evaluation.judgements import Judgement


class ByLength:
    """A scorer to which the longer reply is the likelier."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-20.0 + len(reply), 5, first=-20.0 + len(reply)) for _, reply in pairs]


def judgement(number: int, grades: tuple[int, int, int, int]) -> Judgement:
    """A short and a longer retrieved reply, one of the model's that the scorers prefer, and one that fits a kind of message.

    No two have a word in common, from which a reward model could learn.
    """
    own = iter(map(chr, range(0x4E00 + number * 30, 0x4E00 + number * 30 + 30)))
    short, longer, models, act = ("".join(next(own) for _ in range(length)) for length in (2, 6, 12, 3))
    candidates = (
        Candidate(short, source="retrieval", context_similarity=0.3 + number % 5 / 10),
        Candidate(longer, source="retrieval", context_similarity=0.3 + number % 5 / 10),
        Candidate(models),
        Candidate(act, source="act", context_similarity=0.5),
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


def test_a_reward_model_is_weighed_by_what_it_says_of_other_talks() -> None:
    """It knows by heart what it was fitted on; there it says nothing of how far to trust it."""
    lucky = random.Random(1)
    by_chance = [judgement(n, (2, 0, 0, 0) if lucky.random() < 0.3 else (0, 2, 0, 0)) for n in range(200)]
    telling = []
    for j in by_chance:
        good = j.grades.index(2)
        marked = [replace(c, text=c.text + "啦") if i == good else c for i, c in enumerate(j.candidates)]
        telling.append(replace(j, candidates=tuple(marked)))
    ranker = Ranker({"reverse": 1.0})
    knows_nothing, knows = (fit_judged(j, ranker, ByLength(), ByLength()) for j in (by_chance, telling))
    assert knows_nothing.chosen["reward"].value < 1.2 and knows.chosen["reward"].value == pytest.approx(2.0)
    assert knows.chosen["fitted"].value > 1.9 and knows_nothing.chosen["fitted"].value < 1.6
    said = knows.reward.rewards([Candidate(f"别的{end}", source="retrieval") for end in ("啦", "")], [["问题"]] * 2)
    assert said[0] > said[1] + 0.3


def test_a_talk_falls_into_one_fold_whole() -> None:
    talk = [Judgement(("在吗", *["嗯"] * n), (Candidate("好"), Candidate("不好")), (2, 0)) for n in range(4)]
    assert len({_fold(j) for j in talk}) == 1
    assert len({_fold(judgement(n, (2, 0, 1, 0))) for n in range(60)}) == 5


def test_too_few_are_told() -> None:
    with pytest.raises(ConfigError, match="评过分的候选太少"):
        fit_judged([judgement(n, (2, 0, 0, 0)) for n in range(4)], Ranker({"reverse": 1.0}), ByLength(), ByLength())


def test_of_many_contexts_the_weights_are_fitted_on_some() -> None:
    judgements = [judgement(n, (1, 2, 0, 0)) for n in range(60)]
    found = fit_judged(judgements, Ranker({"reverse": 1.0}), ByLength(), ByLength(), num_contexts=20)
    assert (found.num_contexts, found.num_learnt) == (20, 60)


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
    found = fit_judged(judgements, ranker, ByLength(), ByLength(), Paged())
    assert found.ranker.weights["context_match"] > 0.1
    assert without.ranker.weights["context_match"] == pytest.approx(0.0, abs=1e-6)
    assert found.chosen["fitted"].value == pytest.approx(1.8) and without.chosen["fitted"].value < 1.6
    assert "encoder" in found.chosen and "encoder" not in without.chosen


def test_a_good_reply_over_a_wrong_one_counts_more_than_over_a_bland_one() -> None:
    one, other = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    weights = _pairwise([one, other] * 20, [np.array([2, 0]), np.array([0, 1])] * 20)
    assert weights[0] > weights[1] + 0.5
