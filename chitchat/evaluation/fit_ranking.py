"""The ranking's weights, fitted on held-out dialogues: which of twenty replies is the one that was really given?"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chitchat.backends.base import Scorer
from chitchat.config import PrepareConfig
from chitchat.corpus.cleaning import clean_dialogue
from chitchat.corpus.readers import read_dialogues
from chitchat.corpus.splitting import Split, content_hash, split_of
from chitchat.dialogue import Candidate, as_context
from chitchat.engine.reranking import FORMAT, RANKER, Ranker
from chitchat.errors import CorpusError
from chitchat.files import atomic_write

NUM_CANDIDATES = 20
_BOOTSTRAP_ROUNDS = 1000
_FITTED = ("forward", "reverse", "length")
"""`repetition` is left at its default: random replies never repeat the bot, so there is nothing to fit it on."""


@dataclass(frozen=True)
class RankingReport:
    """Fitted weights and, on the half of the contexts that was not fitted on, how often the true reply came first.

    `hits` maps a ranking's name to (Hits@1, lower, upper) with a 95 % bootstrap interval over contexts.
    """

    weights: dict[str, float]
    hits: dict[str, tuple[float, float, float]]
    num_contexts: int


def fit_ranking(
    files: Sequence[Path],
    forward: Scorer,
    reverse: Scorer | None,
    *,
    num_contexts: int = 400,
    seed: int = 0,
    max_history_messages: int = 8,
) -> RankingReport:
    """Fits a linear ranking by logistic regression on differences between the true reply and 19 random ones.

    Only dialogues that training with the default split fractions held out are used; half of the contexts fit the weights, the
    other half measures them. Raises CorpusError when there are fewer than 40 held-out contexts.
    """
    random_ = random.Random(seed)
    pairs = [pair for path in files for pair in held_out_pairs(path, max_history_messages)]
    if len(pairs) < 2 * NUM_CANDIDATES:
        raise CorpusError(
            files[0], None, f"只有 {len(pairs)} 个验证上下文，拟合排序权重至少要 {2 * NUM_CANDIDATES} 个；请给更大的语料"
        )
    random_.shuffle(pairs)
    replies = [reply for _, reply in pairs]
    table = []
    for context, reply in pairs[:num_contexts]:
        others = [r for r in random_.sample(replies, min(len(replies), 3 * NUM_CANDIDATES)) if r != reply]
        table.append(_features(context, [reply, *others[: NUM_CANDIDATES - 1]], forward, reverse))
    features = np.stack(table)
    half = len(features) // 2
    weights = {**Ranker().weights, **_logistic_weights(features[:half])}
    names = [*_FITTED, "fitted"] if reverse else ["forward", "length", "fitted"]
    columns = {name: features[half:, :, i] for i, name in enumerate(_FITTED)}
    columns["fitted"] = features[half:] @ np.array([weights[name] for name in _FITTED])
    return RankingReport(weights, {name: _hits_at_1(columns[name], seed) for name in names}, len(features) - half)


def held_out_pairs(path: Path, max_history_messages: int) -> Iterator[tuple[list[str], str]]:
    """(context, reply) at every turn of the dialogues that are in no training split."""
    options = PrepareConfig()
    for dialogue in read_dialogues(path):
        for piece in clean_dialogue(dialogue, options).dialogues:
            if split_of(content_hash(piece.messages), options.validation_fraction, options.test_fraction) == Split.TRAIN:
                continue
            for end in range(1, len(piece.messages)):
                yield list(piece.messages[max(0, end - max_history_messages) : end]), piece.messages[end]


def save_report(report: RankingReport, model: Path) -> None:
    """Writes `ranker.json` into the model's folder, with what was measured beside the weights."""
    data: dict[str, Any] = {
        "format": FORMAT,
        "weights": {name: round(value, 4) for name, value in report.weights.items()},
        "hits_at_1_of_20": {name: [round(v, 4) for v in values] for name, values in report.hits.items()},
        "num_contexts": report.num_contexts,
    }
    with atomic_write(model / RANKER) as stream:
        json.dump(data, stream, ensure_ascii=False, indent=2)
        stream.write("\n")


def _features(context: list[str], replies: list[str], forward: Scorer, reverse: Scorer | None) -> NDArray[np.float64]:
    """(candidates, features), the true reply first."""
    pairs = [(context, reply) for reply in replies]
    ahead = forward.score(pairs)
    back = reverse.score(pairs) if reverse else None
    candidates = [
        Candidate(
            str(i), forward_log_prob=a.value, num_tokens=a.num_tokens,
            reverse_log_prob=back[i].value if back else None, num_context_tokens=back[i].num_tokens if back else 0,
        )
        for i, a in enumerate(ahead)
    ]  # fmt: skip
    ranked = sorted(Ranker().rank(candidates, as_context(context)), key=lambda c: int(c.text))
    return np.array([[c.features.get(name, 0.0) for name in _FITTED] for c in ranked])


def _logistic_weights(features: NDArray[np.float64]) -> dict[str, float]:
    """Weights that put the first candidate of each context before the others."""
    from sklearn.linear_model import LogisticRegression

    differences = (features[:, :1] - features[:, 1:]).reshape(-1, features.shape[-1])
    scale = differences.std(axis=0)
    scale[scale == 0] = 1.0
    both_ways = np.concatenate([differences, -differences]) / scale
    labels = np.repeat([1, 0], len(differences))
    fitted = LogisticRegression(fit_intercept=False).fit(both_ways, labels)
    return dict(zip(_FITTED, (fitted.coef_[0] / scale).tolist(), strict=True))


def _hits_at_1(scores: NDArray[np.float64], seed: int) -> tuple[float, float, float]:
    """Share of contexts whose first candidate scores highest, with its 95 % bootstrap interval; a tie counts as a miss."""
    hits = scores[:, 0] > scores[:, 1:].max(axis=1)
    draws = np.random.default_rng(seed).choice(hits, size=(_BOOTSTRAP_ROUNDS, len(hits))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(hits.mean()), float(low), float(high)
