"""Every number the ranking looks at, from as few calls as can be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from chitchat.backends.base import Vectors
from chitchat.backends.ctranslate2_local import CTranslate2Model
from chitchat.dialogue import Candidate
from chitchat.engine.scoring import matched, scored


@pytest.fixture(scope="module")
def pair(tiny_model: Path) -> tuple[CTranslate2Model, CTranslate2Model]:
    forward = CTranslate2Model(tiny_model / "forward", direction="forward", compute_type="float32")
    return forward, CTranslate2Model(tiny_model / "reverse", direction="reverse", compute_type="float32")


CONTEXT = ["今天好累啊", "辛苦了，早点休息吧。", "睡不着"]


def test_each_value_is_the_scorers_own(pair: tuple[CTranslate2Model, CTranslate2Model]) -> None:
    forward, reverse = pair
    (first, second) = scored(
        [Candidate("听点轻音乐试试？"), Candidate("记得带伞哦。")], [CONTEXT, ["外面下雨了"]], forward, reverse
    )
    assert first.forward_log_prob == pytest.approx(forward.score([(CONTEXT, first.text)])[0].value, abs=1e-4)
    assert first.prior_log_prob == pytest.approx(forward.score([([], first.text)])[0].value, abs=1e-4)
    assert first.reverse_log_prob == pytest.approx(reverse.score([(CONTEXT, first.text)])[0].value, abs=1e-4)
    assert first.reverse_last_log_prob == pytest.approx(reverse.score([(CONTEXT[-1:], first.text)])[0].value, abs=1e-4)
    assert second.reverse_last_log_prob == pytest.approx(second.reverse_log_prob)  # one message is all of it
    assert first.forward_log_prob > first.prior_log_prob + 1  # the context tells


def test_without_context_or_model(pair: tuple[CTranslate2Model, CTranslate2Model]) -> None:
    forward, reverse = pair
    (alone,) = scored([Candidate("你好")], [[]], forward, reverse)
    assert alone.forward_log_prob == pytest.approx(alone.prior_log_prob) and alone.reverse_log_prob is None
    (unscored,) = scored([Candidate("你好")], [CONTEXT], None, None)
    assert unscored == Candidate("你好")


class ByPlace:
    """A reward model that counts what it is asked of."""

    def rewards(self, candidates: Sequence[Candidate], contexts: Sequence[Sequence[str]]) -> list[float]:
        return [float(place) for place, _ in enumerate(candidates)]


def test_rewards_go_to_what_people_wrote_and_that_answers_something() -> None:
    written = [Candidate(text, source="retrieval") for text in ("你好", "好", "嗯")]
    others = [Candidate("写的"), Candidate("设定", source="persona"), Candidate("承接", source="act")]
    found = scored([*written, *others], [CONTEXT, [], *[CONTEXT] * 4], None, None, ByPlace())
    assert [c.reward for c in found] == [0.0, None, 1.0, None, None, 2.0]


def test_what_did_not_fit_is_told(pair: tuple[CTranslate2Model, CTranslate2Model]) -> None:
    (cut,) = scored([Candidate("好")], [["在干嘛"] * 60], *pair)
    assert cut.is_truncated


class Angles:
    """An encoder that turns by five degrees a character of the last message or of the reply, and notes what it read."""

    fingerprint = "angles"

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        self.asked.extend(map(tuple, contexts))
        return self.replies([context[-1] for context in contexts])

    def replies(self, replies: Sequence[str]) -> Vectors:
        angles = np.radians([5.0 * len(reply) for reply in replies])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cosine(degrees: float) -> float:
    return float(np.cos(np.radians(degrees)))


def test_matches_by_hand() -> None:
    encoder = Angles()
    origin = ("早", "十个字的一句话在这里")
    candidates = [
        Candidate("好"),
        Candidate("好呀好呀", source="retrieval", origin=origin),
        Candidate("嗯", source="retrieval", origin=origin),
        Candidate("你好"),
    ]
    other = ["外面下雨了"]
    first, second, third, alone = matched(candidates, [CONTEXT, CONTEXT, other, []], encoder)
    assert first.reply_match == pytest.approx(cosine(10)) and first.context_match is None, "睡不着 and 好"
    assert second.reply_match == pytest.approx(cosine(5))
    assert second.context_match == pytest.approx(cosine(35)), "睡不着 and what it was written to answer"
    assert (third.reply_match, third.context_match) == (pytest.approx(cosine(20)), pytest.approx(cosine(25)))
    assert alone == candidates[3], "a reply to nothing matches nothing"
    assert sorted(encoder.asked) == sorted([tuple(CONTEXT), tuple(other), origin]), "each is read once"
    assert matched([], [], encoder) == []


def test_the_encoder_is_one_more_model(pair: tuple[CTranslate2Model, CTranslate2Model]) -> None:
    plain = scored([Candidate("好"), Candidate("你好")], [CONTEXT, []], *pair)
    assert [c.reply_match for c in plain] == [None, None]
    both = scored([Candidate("好"), Candidate("你好")], [CONTEXT, []], *pair, encoder=Angles())
    assert [c.reply_match for c in both] == [pytest.approx(cosine(10)), None]
    assert [c.forward_log_prob for c in both] == pytest.approx([c.forward_log_prob for c in plain], abs=1e-4)
    assert both[0].reverse_log_prob == pytest.approx(plain[0].reverse_log_prob, abs=1e-4)
