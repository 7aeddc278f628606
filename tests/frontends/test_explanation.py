"""Why a reply was said, in the words a user reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chitchat.dialogue import Candidate, Reply
from chitchat.engine.chatbot import OUTRANKED, Chatbot
from chitchat.engine.reranking import FEATURES, GENERIC, Ranker
from chitchat.frontends.explanation import FEATURE_LABELS, explanation, reasons, rival_of

WEIGHTS = {"forward": 2.0, "overlap": 1.0, "echo": -10.0}


def candidate(text: str, **features: float) -> Candidate:
    return Candidate(text, source="retrieval", features=features, score=sum(WEIGHTS[n] * v for n, v in features.items()))


FIRST = candidate("记得带伞哦。", forward=-1.0, overlap=1.5, echo=0.0)
SECOND = candidate("外面下雨了。", forward=-0.5, overlap=2.0, echo=0.1)
REPLY = Reply(FIRST.text, (FIRST, SECOND, Candidate("哈", rejected="太短"), Candidate("呵", rejected=OUTRANKED)), 0.1)


def test_every_feature_of_the_ranking_has_a_label() -> None:
    assert set(FEATURE_LABELS) == {*FEATURES, GENERIC}


def test_the_points_add_up_to_the_lead(tiny_chatbot: Chatbot) -> None:
    reply = tiny_chatbot.reply("我养了一只猫", decoding=replace(tiny_chatbot.decoding, temperature=3.0, seed=1))
    pair = rival_of(reply)
    assert pair is not None
    said, rival = pair
    points = [r.points for r in reasons(said, rival, tiny_chatbot.ranker.weights)]
    assert sum(points) == pytest.approx(said.score - rival.score) and said.score > rival.score
    assert [abs(p) for p in points] == sorted((abs(p) for p in points), reverse=True)


def test_winner_rival_lead_and_its_parts_are_told() -> None:
    text = explanation(REPLY, WEIGHTS)
    assert text.splitlines() == [
        "这句：记得带伞哦。（检索，-0.50 分）",
        "次选：外面下雨了。（检索，0.00 分）",
        "得分低 0.50，差不多一样好，其中：",
        "    -1.00  通顺（正向）",
        "    +1.00  照搬对方的话",
        "    -0.50  接住了对方的用词",
    ]
    assert "高出 0.50 分" in explanation(replace(REPLY, text=SECOND.text), WEIGHTS)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            Reply("换个说法？", (Candidate("哈", rejected="太短"), Candidate("呵", rejected="太短")), 0.1),
            "没有一个候选能说.*太短 2 个",
        ),
        (Reply("换个说法？", (), 0.1), "没有一个候选能说，只好请你换个说法$"),
        (Reply("三点", (Candidate("三点", source="clock"),), 0.1), "定好的答法（时钟）"),
        (Reply("好", (Candidate("好"), Candidate("哈", rejected="太短")), 0.1), "只有这一个（模型）.*太短 1 个"),
        (replace(REPLY, text="呵"), "你挑的"),
        (replace(REPLY, text="我自己写的"), "你写的"),
    ],
)
def test_replies_without_a_contest_are_explained_too(reply: Reply, words: str) -> None:
    import re

    assert re.search(words, explanation(reply, Ranker().weights))
