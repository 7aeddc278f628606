"""The fitted ranking leans on what tells true replies from random ones, and says how well it does."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from chitchat.backends.base import LogProb
from chitchat.corpus.splitting import content_hash
from chitchat.engine.reranking import Ranker
from chitchat.errors import CorpusError
from chitchat.evaluation.fit_ranking import fit_ranking, held_out_pairs, save_report


class Noise:
    """Tells nothing: a value from the text alone."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        return [LogProb(-(zlib.crc32("".join([*context, reply]).encode()) % 1000) / 100, 5) for context, reply in pairs]


class Knowing:
    """Tells mostly right: replies carry the number of their question."""

    def score(self, pairs: Sequence[tuple[Sequence[str], str]]) -> list[LogProb]:
        noise = Noise().score([(["another"], reply[::-1]) for _, reply in pairs])
        return [
            LogProb(n.value - (0.0 if reply[1:-1] == context[-1][1:-1] else 8.0), 5)
            for n, (context, reply) in zip(noise, pairs, strict=True)
        ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "a.txt"
    path.write_text("\n\n".join(f"问{n}号\n答{n}号" for n in range(10_000)), encoding="utf-8")
    return path


def test_only_held_out_dialogues_are_used(corpus: Path) -> None:
    pairs = list(held_out_pairs(corpus, 8))
    assert 100 < len(pairs) < 300
    assert all(content_hash([*context, reply]) / 2**64 < 0.02 for context, reply in pairs)


def test_the_telling_scorer_gets_the_weight(corpus: Path, tmp_path: Path) -> None:
    report = fit_ranking([corpus], Noise(), Knowing(), num_contexts=160)
    assert report.weights["reverse"] > 10 * abs(report.weights["forward"])
    assert report.hits["fitted"][0] >= report.hits["reverse"][0] - 0.05 > 0.5 > report.hits["forward"][0]
    assert all(low <= hits <= high for hits, low, high in report.hits.values())
    save_report(report, tmp_path)
    assert Ranker.load(tmp_path).weights["reverse"] == pytest.approx(report.weights["reverse"], abs=1e-3)
    assert json.loads((tmp_path / "ranker.json").read_text())["num_contexts"] == report.num_contexts == 80


def test_too_few_held_out_dialogues_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("你好\n在的\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="40"):
        fit_ranking([path], Noise(), None)
