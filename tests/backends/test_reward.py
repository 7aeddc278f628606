"""The linear reward model: what it looks at, that it learns what readers liked, and that a broken one is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chitchat.backends.reward import (
    MET,
    MET_BEFORE,
    MISSING,
    MISSING_BEFORE,
    NOT_TAKEN_UP,
    SAID,
    TAKEN_UP,
    UNMET,
    LinearReward,
    reward_features,
)
from chitchat.dialogue import Candidate
from chitchat.errors import CheckpointError
from chitchat.evaluation.fit_reward import fit_reward
from chitchat.evaluation.judgements import Judgement


def kinds(context: list[str], *candidates: Candidate) -> list[dict[int, int]]:
    """Of each candidate how many n-grams of each kind it has."""
    owners, keys = reward_features(context, candidates)
    found = []
    for owner in range(len(candidates)):
        kind, number = np.unique(keys[owners == owner] & np.uint64(7), return_counts=True)
        found.append(dict(zip(kind.tolist(), number.tolist(), strict=True)))
    return found


def test_kinds_by_hand() -> None:
    retrieved = Candidate("猫好", source="retrieval", origin=("早", "狗猫"))
    act = Candidate("好猫", source="act")
    one, other = kinds(["早", "猫狗"], retrieved, act)
    # 猫 好, ^猫 猫好 好$, ^猫好 猫好$
    assert one[SAID] == 7
    # of 猫 狗 ^猫 猫狗 狗$ the reply has 猫 and ^猫
    assert (one[TAKEN_UP], one[NOT_TAKEN_UP]) == (2, 3)
    # 狗猫 has 狗 and 猫 in common, lacks ^猫 猫狗 狗$ and has ^狗 狗猫 猫$ of its own
    assert (one[MET], one[UNMET], one[MISSING]) == (2, 3, 3)
    assert one[MET_BEFORE] == 3 and MISSING_BEFORE not in one, "早, ^早, 早$"
    assert other == {SAID: 7, TAKEN_UP: 1}, "nothing is compared with a reply that answered nothing else"


def test_one_word_is_one_key_wherever_it_stands() -> None:
    here, there = (reward_features(["在吗"], [Candidate(text, source="act")])[1] for text in ("甲乙丙", "丁甲乙丙戊"))
    shared = set(here.tolist()) & set(there.tolist())
    assert len(shared) == 3 + 2 + 1, "characters, pairs and the triple; no ends"


def graded(number: int) -> Judgement:
    """A reply that imports another talk's word is wrong; one that takes up this talk's is good."""
    thing = "猫狗鱼鸟兔马牛羊"[number % 8]
    return Judgement(
        (f"我家{thing}病了",),
        (
            Candidate(f"{thing}还好吗", source="retrieval", origin=(f"我家{thing}不吃饭",)),
            Candidate("考得如何", source="retrieval", origin=("我考试了",)),
            Candidate("哦", source="act"),
        ),
        (2, 0, 0),
    )


def test_it_learns_what_readers_liked_and_keeps_it_on_disk(tmp_path: Path) -> None:
    reward = fit_reward([graded(n) for n in range(40)])
    reward.save(tmp_path / "reward", judgements=40)
    assert json.loads((tmp_path / "reward" / "reward.json").read_text(encoding="utf-8"))["judgements"] == 40
    unseen = [
        Candidate("龟还好吗", source="retrieval", origin=("我家龟不动了",)),
        Candidate("考得如何", source="retrieval", origin=("我考完试了",)),
        Candidate("哦", source="act"),
    ]
    values = reward.rewards(unseen, [["我家龟病了"]] * 3)
    assert values[0] > max(values[1:]) + 0.5
    assert LinearReward.load(tmp_path / "reward").rewards(unseen, [["我家龟病了"]] * 3) == pytest.approx(values, abs=2e-3)
    apart = [reward.rewards([c], [context])[0] for c, context in zip(unseen, (["我家龟病了"], ["你好"], ["嗯"]), strict=True)]
    together = reward.rewards(unseen, [["我家龟病了"], ["你好"], ["嗯"]])
    assert together == pytest.approx(apart), "each after its own context"


def test_nothing_learnt_likes_all_the_same() -> None:
    assert fit_reward([]).rewards([Candidate("好", source="act")], [["在吗"]]) == [0.0]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "keys.npy").unlink(), "缺少 keys.npy"),
        (lambda folder: (folder / "weights.npy").write_bytes(b"\x93NUMPY"), "已损坏"),
        (lambda folder: (folder / "reward.json").write_text('{"format": 9, "ngrams": 1}'), "请升级"),
        (lambda folder: (folder / "reward.json").write_text('{"format": 1, "ngrams": 1}'), "与清单不符"),
        (lambda folder: (folder / "reward.json").write_text("{"), "已损坏"),
    ],
)
def test_a_broken_one_is_told(tmp_path: Path, damage: object, told: str) -> None:
    fit_reward([graded(n) for n in range(40)]).save(tmp_path / "reward")
    damage(tmp_path / "reward")  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=told):
        LinearReward.load(tmp_path / "reward")
