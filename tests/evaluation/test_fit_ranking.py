"""The fitted ranking leans on what tells true replies from random ones, and says how well it does."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from chitchat.backends.base import LogProb, Vectors
from chitchat.config import DecodingConfig
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.dialogue import Candidate
from chitchat.engine.reranking import Ranker
from chitchat.errors import CorpusError
from chitchat.evaluation.conditional_logit import conditional_logit
from chitchat.evaluation.fit_ranking import fit_ranking, mine_generic, save_report, split_pairs


class Noise:
    """Tells nothing: a value from the text alone."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-(zlib.crc32("".join([*context, reply]).encode()) % 1000) / 100, 5) for context, reply in pairs]


class Knowing:
    """Tells mostly right: replies carry the number of their question."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        noise = Noise().score([(["another"], reply[::-1]) for _, reply in pairs])
        return [
            LogProb(n.value - (0.0 if context and reply[1:-1] == context[-1][1:-1] else 8.0), 5)
            for n, (context, reply) in zip(noise, pairs, strict=True)
        ]


class Writing(Noise):
    """Writes replies that `Knowing` takes for true ones."""

    def generate(self, context: Sequence[str], decoding: DecodingConfig) -> list[Candidate]:
        return [Candidate(f"回{context[-1][1:-1]}了") for _ in range(decoding.num_candidates)]


class Matching:
    """An encoder that puts a question next to its answer, by the number in both."""

    fingerprint = "matching"

    def contexts(self, contexts: Sequence[Sequence[str]]) -> Vectors:
        return self.replies([context[-1] for context in contexts])

    def replies(self, replies: Sequence[str]) -> Vectors:
        found = [np.random.default_rng(int(reply[1:-1])).choice((-1, 1), 64) / 8 for reply in replies]
        return np.array(found, np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The held-out dialogues of twenty thousand, and a twentieth of the others, which would only be read over."""
    path = tmp_path_factory.mktemp("fit") / "a.txt"
    dialogues = [(f"问{n}号", f"答{n}号") for n in range(20_000)]
    kept = [d for n, d in enumerate(dialogues) if n % 20 == 0 or split_of(content_hash(d), 0.01, 0.01) != Split.TRAIN]
    path.write_text("\n\n".join("\n".join(d) for d in kept), encoding="utf-8")
    return path


def test_only_the_asked_for_split_is_used(corpus: Path) -> None:
    pairs = list(split_pairs(corpus, Split.VALIDATION, 8))
    assert 100 < len(pairs) < 300
    assert all(split_of(content_hash([*context, reply]), 0.01, 0.01) == Split.VALIDATION for context, reply in pairs)


def test_the_telling_scorer_gets_the_weight(corpus: Path, tmp_path: Path) -> None:
    report = fit_ranking([corpus], Noise(), Knowing(), num_contexts=160)
    assert report.ranker.weights["reverse"] > 10 * abs(report.ranker.weights["forward"])
    hits = report.hits["a.txt"]
    assert hits["fitted"].value >= hits["reverse"].value - 0.05 > 0.5 > hits["forward"].value
    assert all(i.low <= i.value <= i.high for i in hits.values())
    assert hits["fitted − forward"].value == pytest.approx(hits["fitted"].value - hits["forward"].value)
    assert hits["fitted without overlap"].value < hits["fitted"].value  # the number that question and answer share
    save_report(report, tmp_path)
    assert Ranker.load(tmp_path).weights["reverse"] == pytest.approx(report.ranker.weights["reverse"], abs=1e-3)
    assert json.loads((tmp_path / "ranker.json").read_text())["num_contexts"] == report.num_contexts == {"a.txt": 80}


def test_so_does_a_telling_encoder(tmp_path: Path) -> None:
    file = tmp_path / "b.txt"
    file.write_text("\n\n".join(f"问{n}号\n答{n}号" for n in range(6000)), encoding="utf-8")
    report = fit_ranking([file], Noise(), None, Matching(), num_contexts=60)
    assert report.ranker.weights["reply_match"] > 3
    hits = report.hits["b.txt"]
    assert hits["reply_match"].value == 1.0 and hits["fitted"].value > 0.9 > hits["forward"].value
    assert hits["fitted − reply_match"].value == pytest.approx(hits["fitted"].value - 1)


def test_own_replies_to_beat_take_weight_away(corpus: Path) -> None:
    without = fit_ranking([corpus], Writing(), Knowing(), num_contexts=90)
    against = fit_ranking([corpus], Writing(), Knowing(), num_contexts=90, num_sampled=3)
    assert against.ranker.weights["reverse"] < 0.8 * without.ranker.weights["reverse"]


def test_weights_are_those_of_a_conditional_logit() -> None:
    """Choices drawn from a softmax with known weights give them back."""
    random = np.random.default_rng(0)
    features = random.normal(size=(4000, 5, 3))
    wanted = np.array([1.5, -0.5, 0.0])
    chosen = (features @ wanted + random.gumbel(size=(4000, 5))).argmax(axis=1)
    for row, place in zip(features, chosen, strict=True):
        row[[0, place]] = row[[place, 0]]
    assert conditional_logit([features[:2000], features[2000:]]) == pytest.approx(wanted, abs=0.08)
    assert conditional_logit([features], without=0)[0] == 0.0


def test_replies_to_anything_are_mined(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    lines = [f"话题{n}\n哈哈！" for n in range(12)] + [f"话题{n}\n这是一句被许多人引用的诗" for n in range(12)]
    lines += ["话题\n一样"] * 12 + [f"话题{n}\n回答{n}" for n in range(12)]
    path.write_text("\n\n".join(lines), encoding="utf-8")
    assert list(mine_generic([path])) == ["哈哈"]
    assert 5 <= mine_generic([path])["哈哈"] <= 12


def test_too_few_held_out_dialogues_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("你好\n在的\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="40"):
        fit_ranking([path], Noise(), None)
